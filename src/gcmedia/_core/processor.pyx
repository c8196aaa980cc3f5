"""Encoded audio in, frames out: decode, conceal, level and silence, gate, compressor.

Raw and cleaned samples of a frame are of the same moment: raw ones wait for the delay of the gate.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int64_t, uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

from gcmedia._core.frame cimport Frame
from gcmedia._core.g711 cimport alaw_to_int16, ulaw_to_int16
from gcmedia._core.pcm cimport deinterleave, l16be_to_int16, l16le_to_int16

from gcmedia.errors import FormatError

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
        if self.gate is not None:
            self.gate.run(src, dst, n_new)
            src = dst
        if self.compressor is not None:
            self.compressor.run(src, dst, n_new)
        self.n_clean += n_new


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
        ``"repeat"`` or ``"silence"``.
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
                  str conceal="repeat", silence=None, gate=None, compressor=None):
        if encoding not in ENCODINGS:
            raise FormatError(f"encoding is {encoding!r}, not one of {', '.join(ENCODINGS)}")
        if not 8000 <= sample_rate <= 48000 or sample_rate % 1000:
            raise ValueError(f"sample_rate is {sample_rate} Hz, not a multiple of 1000 in [8000, 48000]")
        if not 1 <= n_channels <= 8:
            raise ValueError(f"n_channels is {n_channels}, not in [1, 8]")
        if not 1 <= frame_ms <= 1000:
            raise ValueError(f"frame_ms is {frame_ms}, not in [1, 1000]")
        self.encoding = encoding
        self.code = <Encoding>(<int>ENCODINGS.index(encoding))
        self.sample_octets = 1 if self.code <= PCMA else 2
        self.sample_rate = sample_rate
        self.n_channels = n_channels
        self.frame_samples = sample_rate // 1000 * frame_ms
        self.channels = tuple(
            [Channel(sample_rate, conceal, silence, gate, compressor) for _ in range(n_channels)]
        )
        cdef Channel first = self.channels[0]
        if first.gate is not None:
            self.delay_samples += first.gate.delay_samples
        if first.compressor is not None:
            self.delay_samples += first.compressor.delay_samples
        self.to_drop = self.delay_samples

    def __dealloc__(self):
        free(self.scratch)

    cdef Py_ssize_t samples_in(self, Py_ssize_t n_octets) noexcept nogil:
        """Whole samples per channel in so many octets."""
        return n_octets // (self.sample_octets * self.n_channels)

    cdef int decode(self, const uint8_t *octets, Py_ssize_t n_samples) except -1:
        """Take the next samples that were received."""
        cdef Py_ssize_t n_all = n_samples * self.n_channels
        cdef Channel channel
        cdef int16_t *pcm
        cdef void *larger
        cdef int i
        if self.n_channels > 1 and self.scratch_room < n_all:
            larger = realloc(self.scratch, n_all * sizeof(int16_t))
            if larger == NULL:
                raise MemoryError()
            self.scratch = <int16_t *>larger
            self.scratch_room = n_all
        for i in range(self.n_channels):
            channel = <Channel>self.channels[i]
            if not channel._ensure_room(n_samples):
                raise MemoryError()
            pcm = self.scratch if self.n_channels > 1 else channel.raw_end()
            if i == 0:
                if self.code == PCMU:
                    ulaw_to_int16(octets, pcm, n_all)
                elif self.code == PCMA:
                    alaw_to_int16(octets, pcm, n_all)
                elif self.code == L16:
                    l16be_to_int16(octets, pcm, n_all)
                else:
                    l16le_to_int16(octets, pcm, n_all)
            if self.n_channels > 1:
                pcm = channel.raw_end()
                deinterleave(self.scratch, pcm, n_samples, i, self.n_channels)
            channel.concealer.good(pcm, n_samples)
            channel._append(n_samples, False)
        self.concealing = False
        self._taken(n_samples)
        return 0

    cdef int fill(self, Py_ssize_t n_samples, bint conceal) except -1:
        """Take so many samples that were not received: concealed, or plain silence."""
        cdef Channel channel
        cdef int16_t *pcm
        cdef bint silent = True
        cdef int i
        for i in range(self.n_channels):
            channel = <Channel>self.channels[i]
            if not channel._ensure_room(n_samples):
                raise MemoryError()
            pcm = channel.raw_end()
            if conceal:
                silent &= channel.concealer.fill(pcm, n_samples)
            else:
                memset(pcm, 0, n_samples * sizeof(int16_t))
                channel.concealer.clear()
            channel._append(n_samples, True)
        if conceal:
            self.concealed_samples += n_samples
            self.silent_concealed_samples += n_samples if silent else 0
            self.concealment_events += not self.concealing
            self.concealing = True
        self._taken(n_samples)
        return 0

    cdef void _taken(self, Py_ssize_t n_samples) noexcept:
        """Account for new samples in all channels; the first clean ones are the delay and go."""
        cdef Py_ssize_t drop = min(self.to_drop, n_samples)
        cdef Channel channel
        cdef int i
        self.n_in += n_samples
        if drop:
            self.to_drop -= drop
            for i in range(self.n_channels):
                channel = <Channel>self.channels[i]
                channel.clean_start += drop
                channel.n_clean -= drop

    cdef int end(self) except -1:
        """No more will come: draw what the gate still holds; the last frame may be short."""
        cdef Channel channel
        cdef int i
        if self.ending:
            return 0
        self.ending = True
        if self.delay_samples and self.n_in:
            self.fill(self.delay_samples, False)
            self.n_in -= self.delay_samples
            for i in range(self.n_channels):
                channel = <Channel>self.channels[i]
                channel.n_raw -= self.delay_samples
        return 0

    cdef bint has_frame(self) noexcept:
        cdef int64_t held = self.n_in - self.n_out
        if self.ending:
            return held > 0
        return held >= self.frame_samples + self.delay_samples

    cdef Frame take(self):
        """The next frame; `has_frame` has said that there is one."""
        cdef Channel channel = <Channel>self.channels[self.next_channel]
        cdef int n = <int>min(<int64_t>self.frame_samples, self.n_in - self.n_out)
        cdef Frame frame = Frame.__new__(Frame)
        cdef const int16_t *raw = channel.raw + channel.raw_start
        cdef const uint8_t *made_up = channel.made_up + channel.raw_start
        cdef int i
        frame.channel = self.next_channel
        frame.position = self.n_out
        frame.n_samples = n
        frame.sample_rate = self.sample_rate
        frame.silent = channel.silence.push_frame(raw, n)
        frame.level_dbov = channel.silence.level_dbov
        for i in range(n):
            frame.concealed_samples += made_up[i]
        frame.raw_octets = PyBytes_FromStringAndSize(<const char *>raw, n * sizeof(int16_t))
        channel.raw_start += n
        channel.n_raw -= n
        if channel.clean == NULL:
            frame.pcm_octets = frame.raw_octets
        else:
            frame.pcm_octets = PyBytes_FromStringAndSize(
                <const char *>(channel.clean + channel.clean_start), n * sizeof(int16_t)
            )
            channel.clean_start += n
            channel.n_clean -= n
        self.next_channel += 1
        if self.next_channel == self.n_channels:
            self.next_channel = 0
            self.n_out += n
        return frame
