"""Encoded audio in, frames out: decode, conceal, level and silence, gate, compressor.

Raw and cleaned samples of a frame are of the same moment: raw ones wait for the delay of the gate.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport PyObject
from libc.stdint cimport int16_t, int64_t, uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy, memmove, memset

from gcmedia._core.conceal cimport remember
from gcmedia._core.frame cimport Frame
from gcmedia._core.g711 cimport (
    alaw_channel_to_int16, alaw_to_int16, ulaw_channel_to_int16, ulaw_to_int16,
)
from gcmedia._core.meter cimport Meter, note_concealed
from gcmedia._core.pcm cimport (
    l16be_channel_to_int16, l16be_to_int16, l16le_channel_to_int16, l16le_to_int16,
)

from gcmedia.errors import FormatError

cdef enum:
    MAX_AHEAD = 960                     # samples: 20 ms at 48 kHz

cdef tuple ENCODINGS = ("PCMU", "PCMA", "L16", "L16LE")


@cython.final
cdef class Channel:
    """One channel: samples decoded but not yet framed, and the stages they pass."""

    def __cinit__(self, int sample_rate, str conceal, silence, gate, compressor):
        self.concealer = Concealer(conceal, sample_rate)
        self.silence = SilenceDetector(silence)
        self.gate = None if gate is None else SpectralGate(sample_rate, gate)
        self.compressor = None if compressor is None else Compressor(sample_rate, compressor)

    def __dealloc__(self):
        free(self.raw)
        free(self.clean)
        free(self.made_up)

    cdef inline int16_t *raw_end(self) noexcept nogil:
        return self.raw + self.raw_start + self.n_raw

    cdef bint _ensure_room(self, Py_ssize_t n_samples) noexcept nogil:
        """Make room for so many samples more; False when memory is out."""
        cdef Py_ssize_t needed = self.n_raw + n_samples
        cdef void *larger
        if self.raw_start + needed <= self.room and self.clean_start + self.n_clean + n_samples <= self.room:
            return True
        if self.raw_start:
            memmove(self.raw, self.raw + self.raw_start, self.n_raw * sizeof(int16_t))
            memmove(self.made_up, self.made_up + self.raw_start, self.n_raw)
            self.raw_start = 0
        if self.clean_start:
            memmove(self.clean, self.clean + self.clean_start, self.n_clean * sizeof(int16_t))
            self.clean_start = 0
        if needed <= self.room:
            return True
        needed += needed // 2
        larger = realloc(self.raw, needed * sizeof(int16_t))
        if larger == NULL:
            return False
        self.raw = <int16_t *>larger
        larger = realloc(self.made_up, needed)
        if larger == NULL:
            return False
        self.made_up = <uint8_t *>larger
        if self.gate is not None or self.compressor is not None:
            larger = realloc(self.clean, needed * sizeof(int16_t))
            if larger == NULL:
                return False
            self.clean = <int16_t *>larger
        self.room = needed
        return True

    cdef void _append(self, Py_ssize_t n_new, bint made_up) noexcept nogil:
        """Take the samples written at `raw_end`: mark them, and pass them through gate and compressor."""
        cdef const int16_t *src = self.raw_end()
        cdef int16_t *dst = self.clean + self.clean_start + self.n_clean
        memset(self.made_up + self.raw_start + self.n_raw, made_up, n_new)
        self.n_raw += n_new
        if self.clean == NULL:
            return
        self._clean(src, dst, n_new)
        self.n_clean += n_new

    cdef void _clean(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil:
        """Pass the next samples through gate and compressor, of which there is one at least."""
        if self.gate is not None:
            self.gate.run(src, dst, n_samples)
            src = dst
        if self.compressor is not None:
            self.compressor.run(src, dst, n_samples)

    cdef void _drop(self, Py_ssize_t n_samples) noexcept nogil:
        """The first samples have been handed out."""
        self.raw_start += n_samples
        self.n_raw -= n_samples
        if self.clean != NULL:
            self._drop_clean(n_samples)

    cdef void _drop_clean(self, Py_ssize_t n_samples) noexcept nogil:
        self.clean_start += n_samples
        self.n_clean -= n_samples

    cdef void _take_back(self, Py_ssize_t n_samples) noexcept nogil:
        """The last raw samples only drew clean ones out and belong to no frame."""
        self.n_raw -= n_samples

    cdef void _take_into(self, int16_t *out, Py_ssize_t n_samples) noexcept nogil:
        """Judge the first samples and hand them out, cleaned where anything cleans."""
        self.silence.push_frame(self.raw + self.raw_start, n_samples)
        if self.silence.ring != NULL and memchr(self.made_up + self.raw_start, 1, n_samples) != NULL:
            note_concealed(self.silence.ring)
        memcpy(
            out, self.raw + self.raw_start if self.clean == NULL else self.clean + self.clean_start,
            n_samples * sizeof(int16_t),
        )
        self._drop(n_samples)


@cython.final
cdef class Processor:
    """Turn encoded audio into frames.

    Parameters
    ----------
    encoding : str
        ``"PCMU"``, ``"PCMA"``, ``"L16"`` (big-endian) or ``"L16LE"``.
    sample_rate, n_channels : int
        Hz; channels interleaved sample by sample.
    frame_ms : int
        Length of the frames.
    conceal : str
        ``"pitch"``, ``"repeat"`` or ``"silence"``.
    silence, gate, compressor : configuration or None
        None is the default for ``silence`` and off for the others.

    Raises
    ------
    FormatError
        If the encoding is not known.
    ValueError
        If a number is out of its range.
    """

    def __cinit__(self, str encoding="PCMU", int sample_rate=8000, int n_channels=1, *, int frame_ms=20,
                  str conceal="pitch", silence=None, gate=None, compressor=None):
        if encoding not in ENCODINGS:
            raise FormatError(f"encoding is {encoding!r}, not one of {', '.join(ENCODINGS)}")
        if not 8000 <= sample_rate <= 48000 or sample_rate % 1000:
            raise ValueError(f"sample_rate is {sample_rate} Hz, not a multiple of 1000 in [8000, 48000]")
        if not 1 <= n_channels <= MAX_CHANNELS:
            raise ValueError(f"n_channels is {n_channels}, not in [1, {MAX_CHANNELS}]")
        if not 1 <= frame_ms <= 1000:
            raise ValueError(f"frame_ms is {frame_ms}, not in [1, 1000]")
        self.encoding = encoding
        self.code = <Encoding>(<int>ENCODINGS.index(encoding))
        self.sample_octets = 1 if self.code <= PCMA else 2
        self.sample_rate = sample_rate
        self.n_channels = n_channels
        self.block_octets = self.sample_octets * n_channels
        self.frame_samples = sample_rate // 1000 * frame_ms
        self.frame_block = self.frame_samples * n_channels
        self.channels = tuple(
            [Channel(sample_rate, conceal, silence, gate, compressor) for _ in range(n_channels)]
        )
        cdef int i
        for i in range(n_channels):
            self.channel_at[i] = <PyObject *>self.channels[i]
        cdef Channel first = self.channels[0]
        self.plain = first.gate is None and first.compressor is None
        if first.gate is not None:
            self.delay_samples += first.gate.delay_samples
        if first.compressor is not None:
            self.delay_samples += first.compressor.delay_samples
        self.to_drop = self.delay_samples

    # The channels are borrowed from a tuple that lives as long as the processor.

    cdef bint _ensure_room(self, Py_ssize_t n_samples) noexcept nogil:
        cdef int i
        for i in range(self.n_channels):
            if not (<Channel>self.channel_at[i])._ensure_room(n_samples):
                return False
        return True

    cdef inline void _decode_channel(self, const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples,
                                     int i) noexcept nogil:
        if self.n_channels == 1:
            if self.code == PCMU:
                ulaw_to_int16(octets, pcm, n_samples)
            elif self.code == PCMA:
                alaw_to_int16(octets, pcm, n_samples)
            elif self.code == L16:
                l16be_to_int16(octets, pcm, n_samples)
            else:
                l16le_to_int16(octets, pcm, n_samples)
        elif self.code == PCMU:
            ulaw_channel_to_int16(octets, pcm, n_samples, i, self.n_channels)
        elif self.code == PCMA:
            alaw_channel_to_int16(octets, pcm, n_samples, i, self.n_channels)
        elif self.code == L16:
            l16be_channel_to_int16(octets, pcm, n_samples, i, self.n_channels)
        else:
            l16le_channel_to_int16(octets, pcm, n_samples, i, self.n_channels)

    cdef int decode(self, const uint8_t *octets, Py_ssize_t n_samples) noexcept nogil:
        """Take the next samples that were received."""
        cdef int16_t *pcm
        cdef int i
        if not self._ensure_room(n_samples):
            return -1
        for i in range(self.n_channels):
            pcm = (<Channel>self.channel_at[i]).raw_end()
            self._decode_channel(octets, pcm, n_samples, i)
            remember((<Channel>self.channel_at[i]).concealer, pcm, n_samples, -1)
            (<Channel>self.channel_at[i])._append(n_samples, False)
        self.concealing = False
        self._taken(n_samples)
        return 0

    cdef void look_ahead(self, int64_t n_left, const uint8_t *octets, Py_ssize_t n_samples) noexcept nogil:
        """Let the concealers know what follows the hole of ``n_left`` samples that is about to be filled."""
        cdef int16_t[MAX_AHEAD] pcm
        cdef int i
        n_samples = min(n_samples, <Py_ssize_t>MAX_AHEAD)
        for i in range(self.n_channels):
            self._decode_channel(octets, pcm, n_samples, i)
            (<Channel>self.channel_at[i]).concealer.look_ahead(n_left, pcm, n_samples)

    cdef int fill(self, Py_ssize_t n_samples, bint conceal) noexcept nogil:
        """Take so many samples that were not received: concealed, or plain silence."""
        cdef int16_t *pcm
        cdef bint silent = True
        cdef int i
        if not self._ensure_room(n_samples):
            return -1
        for i in range(self.n_channels):
            pcm = (<Channel>self.channel_at[i]).raw_end()
            if conceal:
                silent &= (<Channel>self.channel_at[i]).concealer.fill(pcm, n_samples)
            else:
                memset(pcm, 0, n_samples * sizeof(int16_t))
                (<Channel>self.channel_at[i]).concealer.clear()
            (<Channel>self.channel_at[i])._append(n_samples, True)
        if conceal:
            self.concealed_samples += n_samples
            self.silent_concealed_samples += n_samples if silent else 0
            self.concealment_events += not self.concealing
            self.concealing = True
        self._taken(n_samples)
        return 0

    cdef void _taken(self, Py_ssize_t n_samples) noexcept nogil:
        """Account for new samples in all channels; the first clean ones are the delay and go."""
        cdef Py_ssize_t drop = min(self.to_drop, n_samples)
        cdef int i
        self.n_in += n_samples
        if drop:
            self.to_drop -= drop
            for i in range(self.n_channels):
                (<Channel>self.channel_at[i])._drop_clean(drop)

    cdef int end(self) noexcept nogil:
        """No more will come: draw what the gate still holds; the last frame may be short."""
        cdef int i
        if self.ending:
            return 0
        if self.delay_samples and self.n_in:
            if self.fill(self.delay_samples, False) < 0:
                return -1
            self.n_in -= self.delay_samples
            for i in range(self.n_channels):
                (<Channel>self.channel_at[i])._take_back(self.delay_samples)
        self.ending = True
        return 0

    cdef bint has_frame(self) noexcept nogil:
        cdef int64_t held = self.n_in - self.n_out
        if self.ending:
            return held > 0
        return held >= self.frame_samples + self.delay_samples

    cdef Py_ssize_t next_length(self) noexcept nogil:
        """Samples per channel of the next frame."""
        return min(<int64_t>self.frame_samples, self.n_in - self.n_out)

    cdef Frame take(self):
        """The next frame; `has_frame` has said that there is one."""
        if self.held:
            return self._take_held()
        cdef Channel channel = <Channel>self.channels[self.next_channel]
        cdef int n = <int>self.next_length()
        cdef Frame frame = Frame.__new__(Frame)
        cdef const int16_t *raw = channel.raw + channel.raw_start
        cdef const uint8_t *made_up = channel.made_up + channel.raw_start
        cdef int i, n_made_up = 0
        for i in range(n):
            n_made_up += made_up[i]
        frame.channel = self.next_channel
        frame.position = self.n_out
        frame.n_samples = n
        frame.sample_rate = self.sample_rate
        frame.silent = channel.silence.push_frame(raw, n)
        if n_made_up and channel.silence.ring != NULL:
            note_concealed(channel.silence.ring)
        frame.squares = channel.silence.last_squares
        frame.concealed_samples = n_made_up
        frame.raw_octets = PyBytes_FromStringAndSize(<const char *>raw, n * sizeof(int16_t))
        if channel.clean == NULL:
            frame.pcm_octets = frame.raw_octets
        else:
            frame.pcm_octets = PyBytes_FromStringAndSize(
                <const char *>(channel.clean + channel.clean_start), n * sizeof(int16_t)
            )
        channel._drop(n)
        self.next_channel += 1
        if self.next_channel == self.n_channels:
            self.next_channel = 0
            self.n_out += n
        return frame

    cdef Py_ssize_t take_into(self, int16_t *out) noexcept nogil:
        """The next frame of every channel, one behind the other; return its length per channel."""
        cdef Py_ssize_t n = self.next_length()
        cdef int i
        for i in range(self.n_channels):
            (<Channel>self.channel_at[i])._take_into(out + i * n, n)
        self.n_out += n
        return n

    cdef void note_in(self, Meter meter):
        cdef Channel channel
        cdef int i
        for i in range(self.n_channels):
            channel = self.channels[i]
            channel.silence.meter = meter
            channel.silence.ring = &meter.rings[i]

    cdef Frame _whole_frame(self, int i, const uint8_t *octets):
        cdef Frame frame = Frame.__new__(Frame)
        frame.raw_octets = PyBytes_FromStringAndSize(NULL, self.frame_samples * sizeof(int16_t))
        frame.pcm_octets = frame.raw_octets
        frame.position = self.n_out
        frame.n_samples = self.frame_samples
        frame.sample_rate = self.sample_rate
        frame.channel = i
        frame.concealed_samples = 0
        hear(self, i, octets, <int16_t *>PyBytes_AS_STRING(frame.raw_octets))
        frame.silent = (<Channel>self.channel_at[i]).silence.silent
        frame.squares = (<Channel>self.channel_at[i]).silence.last_squares
        return frame

    cdef Frame whole(self, const uint8_t *octets):
        cdef Frame frame = self._whole_frame(0, octets)
        cdef int i
        self.concealing = False
        self.n_in += self.frame_samples
        if self.n_channels == 1:
            self.n_out += self.frame_samples
            return frame
        self.held = [self._whole_frame(i, octets) for i in range(self.n_channels - 1, 0, -1)]
        self.next_channel = 1
        return frame

    cdef Frame _take_held(self):
        cdef Frame frame = self.held.pop()
        self.next_channel += 1
        if self.next_channel == self.n_channels:
            self.next_channel = 0
            self.n_out += self.frame_samples
        return frame
