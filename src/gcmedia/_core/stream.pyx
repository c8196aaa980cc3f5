"""One stream whose audio comes without headers, as over AudioHook: payloads in order, holes told in words.

Nothing waits for anything here, as nothing can come late or twice; payloads are kept as they are and decoded as frames
are taken, so that a burst costs its octets and no more.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from libc.stdint cimport int16_t, int64_t, uint8_t

from gcmedia._core.block cimport Block, decode_frames, new_block, run_through
from gcmedia._core.buffer cimport borrow_octets, borrow_samples_into
from gcmedia._core.frame cimport Frame
from gcmedia._core.meter cimport Meter
from gcmedia._core.processor cimport Channel, takes_whole, whole_into

from collections import deque

from gcmedia.errors import StateError
from gcmedia.types import Hole, Stats


cdef object _flushed():
    return StateError("the receiver was flushed; audio of a new stream needs a new one")


@cython.final
cdef class StreamReceiver:
    """Turn the payloads of one stream into frames of 20 ms on an exact timeline.

    Parameters
    ----------
    encoding : str
        ``"PCMU"``, ``"PCMA"``, ``"L16"`` (big-endian) or ``"L16LE"``.
    sample_rate : int
        Hz, a multiple of 1000 from 8000 to 48000.
    n_channels : int
        Channels, interleaved sample by sample; each has frames of its own.
    gate, compressor, silence : configuration, optional
        As of `Receiver`.
    frame_ms : int
        Length of the frames.
    position : int
        Where on its timeline the stream begins, in samples.
    max_ready_s : float
        Audio that may wait for `frames`; when nobody takes it, later payloads are discarded, counted, and a hole of
        cause ``"overrun"``.
    after : StreamReceiver, optional
        One of the same form that has been flushed and its frames taken: its counters and its meter go on here, where
        the stream leaves out more than is to be filled.

    Attributes
    ----------
    end : int
        First sample behind all that was pushed, holes included.

    Raises
    ------
    FormatError
        If the encoding is not known.
    StateError
        If the stream before is not over.
    ValueError
        If a setting is out of its range, or of another form than the stream before.

    Notes
    -----
    A receiver serves one stream and one thread.  The places of holes are filled with silence.
    """

    def __cinit__(self, str encoding="PCMU", int sample_rate=8000, int n_channels=1, *, gate=None, compressor=None,
                  silence=None, int frame_ms=20, long long position=0, double max_ready_s=60.0,
                  StreamReceiver after=None):
        if not 0 <= position < 1 << 62:
            raise ValueError(f"position is {position} samples, not in [0, 2**62)")
        if not 0 <= max_ready_s <= 86_400:
            raise ValueError(f"max_ready_s is {max_ready_s} s, not in [0, 86400]")
        self.processor = Processor(
            encoding, sample_rate, n_channels, frame_ms=frame_ms, conceal="silence", silence=silence, gate=gate,
            compressor=compressor,
        )
        self.processor.n_in = self.processor.n_out = self.end = position
        self.max_ready = <int64_t>(max_ready_s * sample_rate)
        self.pieces = deque()
        self.told = []
        if after is not None:
            self._carry_on(after)

    cdef int _carry_on(self, StreamReceiver after) except -1:
        cdef Processor here = self.processor, there = after.processor
        if not after.ended or after._ready():
            raise StateError("the stream before is not over: flush it, and take its frames")
        if (here.sample_rate, here.n_channels, here.frame_samples) != (
            there.sample_rate, there.n_channels, there.frame_samples
        ):
            raise ValueError(
                f"the stream has {here.n_channels} channels at {here.sample_rate} Hz in frames of "
                f"{here.frame_samples} samples, the one before {there.n_channels} at {there.sample_rate} Hz in frames "
                f"of {there.frame_samples}"
            )
        if self.end < after.end:
            raise ValueError(f"position is {self.end}, the stream before ends at {after.end}")
        self.received, self.refused, self.discarded = after.received, after.refused, after.discarded
        self.octets, self.overruns = after.octets, after.overruns
        self.ragged, self.empty, self.unreadable = after.ragged, after.empty, after.unreadable
        self.refusal = after.refusal
        self.noted = after.noted
        if self.noted is not None:
            self.noted.skip_to(self.end)
            here.note_in(self.noted)
        return 0

    # Audio in

    def push(self, payload):
        """Take the next audio.

        Parameters
        ----------
        payload : buffer of uint8
            Encoded samples of all channels.  Bytes are kept until their frames are taken, anything else is copied.

        Returns
        -------
        int
            Frames that `frames` has ready now.

        Raises
        ------
        StateError
            If the stream has been flushed.
        """
        cdef Py_buffer view
        if PyBytes_CheckExact(payload):
            return self.take(payload)
        if self.ended:
            raise _flushed()
        borrow_octets(payload, &view, "payload")
        try:
            return self.take(PyBytes_FromStringAndSize(<const char *>view.buf, view.len))
        finally:
            PyBuffer_Release(&view)

    cdef int64_t take(self, bytes octets) except? -1:
        cdef Py_ssize_t n_samples
        if self.ended:
            raise _flushed()
        self.received += 1
        self.octets += PyBytes_GET_SIZE(octets)
        n_samples = PyBytes_GET_SIZE(octets) // self.processor.block_octets
        if n_samples == 0:
            self.empty += 1
            self.refused += 1
            self.refusal = (
                f"payload has {PyBytes_GET_SIZE(octets)} octets, one sample takes {self.processor.block_octets}"
            )
            return self._ready()
        if n_samples * self.processor.block_octets != PyBytes_GET_SIZE(octets):
            self.ragged += 1
        if self.end - self.processor.n_out + n_samples > self.max_ready:
            self.discarded += 1
            self.overruns += 1
            self._lay_hole(n_samples, "overrun")
        else:
            self.pieces.append(octets)
            self.end += n_samples
        return self._ready()

    def hole(self, long long n_samples, str cause):
        """Go on by samples that were not received; `holes` tells of them.

        Parameters
        ----------
        n_samples : int
            Exact length, per channel.
        cause : str
            Such as ``"paused"`` or ``"discarded"``.

        Returns
        -------
        int
            Frames that `frames` has ready now.

        Raises
        ------
        StateError
            If the stream has been flushed.
        ValueError
            If the length is negative, or beyond 2**62.
        """
        if self.ended:
            raise StateError("the receiver was flushed; a hole cannot follow")
        if not 0 <= n_samples < (1 << 62) - self.end:
            raise ValueError(f"n_samples is {n_samples}, less than 0 or beyond 2**62 samples")
        self._lay_hole(n_samples, cause)
        return self._ready()

    cdef int _lay_hole(self, int64_t n_samples, str cause) except -1:
        if n_samples == 0:
            return 0
        cdef Py_ssize_t newest = len(self.told) - 1, last = len(self.pieces) - 1
        if newest >= 0 and self.told[newest].cause == cause and self._ends_here(self.told[newest]):
            self.told[newest] = Hole(self.told[newest].position, self.told[newest].n_samples + n_samples, cause)
        else:
            self.told.append(Hole(self.end, n_samples, cause))
            if len(self.told) > MAX_TOLD:
                del self.told[0]
        if last >= 0 and type(self.pieces[last]) is int:
            self.pieces[last] += n_samples          # so that a paused stream costs no memory
        else:
            self.pieces.append(n_samples)
        self.end += n_samples
        return 0

    cdef bint _ends_here(self, hole) except -1:
        return hole.position + hole.n_samples == self.end

    def refuse(self, str reason):
        """Count a message that was no audio at all, with its reason."""
        self.received += 1
        self.refused += 1
        self.unreadable += 1
        self.refusal = reason

    def flush(self):
        """End the stream; return the frames that `frames` has ready now, of which the last may be short."""
        self.ended = True
        return self._ready()

    # Frames out

    cdef int64_t _ready(self):
        cdef int64_t held = self.end - self.processor.n_out
        cdef int64_t size = self.processor.frame_samples
        if self.ended:
            held += size - 1
        else:
            held = max(<int64_t>0, held - self.processor.delay_samples)
        return held // size * self.processor.n_channels - self.processor.next_channel

    cdef void _advance(self):
        """Let go of a payload that is all taken."""
        if self.offset + self.processor.block_octets > PyBytes_GET_SIZE(self.payload):
            self.payload = None
            self.offset = 0

    cdef int _feed(self) except -2:
        """Give the processor the next piece, a frame at most: 1, or 0 when there is none, -1 when memory is out."""
        cdef Py_ssize_t n
        cdef const uint8_t *octets
        if self.payload is None and not self.hole_left:
            if not self.pieces:
                return 0
            piece = self.pieces.popleft()
            if type(piece) is int:
                self.hole_left = piece
            else:
                self.payload = piece
        if self.hole_left:
            n = <Py_ssize_t>min(self.hole_left, <int64_t>self.processor.frame_samples)
            if self.processor.fill(n, False) < 0:
                return -1
            self.hole_left -= n
            return 1
        n = (PyBytes_GET_SIZE(self.payload) - self.offset) // self.processor.block_octets
        n = min(n, <Py_ssize_t>self.processor.frame_samples)
        octets = <const uint8_t *>PyBytes_AS_STRING(self.payload) + self.offset
        if self.processor.decode(octets, n) < 0:
            return -1
        self.offset += n * self.processor.block_octets
        self._advance()
        return 1

    cdef int _fill_up(self) except -2:
        """Feed the processor until it has a frame: 1, or 0 when there is not enough, -1 when memory is out."""
        cdef int fed
        while self.processor.next_channel == 0 and not self.processor.has_frame():
            fed = self._feed()
            if fed == 0 and self.ended and not self.processor.ending:
                fed = 1 if self.processor.end() == 0 else -1
            if fed <= 0:
                return fed
        return 1

    cdef const uint8_t *_whole_frame(self) except? NULL:
        """Where the next frame lies in one payload as it is, with nothing before it; NULL where there is more to do."""
        if not takes_whole(self.processor) or self.hole_left:
            return NULL
        if self.payload is None:
            if not self.pieces or type(self.pieces[0]) is int:
                return NULL
            self.payload = self.pieces.popleft()
        if PyBytes_GET_SIZE(self.payload) - self.offset < self.processor.frame_samples * self.processor.block_octets:
            return NULL
        return <const uint8_t *>PyBytes_AS_STRING(self.payload) + self.offset

    cdef Frame _next_frame(self):
        cdef Frame frame
        cdef int there
        cdef const uint8_t *octets = NULL
        if self.processor.next_channel == 0:
            octets = self._whole_frame()
        if octets != NULL:
            frame = self.processor.whole(octets)
            self.offset += self.processor.frame_samples * self.processor.block_octets
            self._advance()
            return frame
        there = self._fill_up()
        if there < 0:
            raise MemoryError()
        return self.processor.take() if there else None

    cdef Py_ssize_t _read_into(self, int16_t *out, Py_ssize_t room) except -1:
        """Write whole frames while they fit; return samples per channel."""
        cdef int16_t *at = out
        cdef Py_ssize_t left = room, n
        cdef int there
        cdef const uint8_t *octets
        while left >= self.processor.frame_block:
            octets = self._whole_frame()
            if octets != NULL:
                whole_into(self.processor, octets, at)
                self.offset += self.processor.frame_samples * self.processor.block_octets
                self._advance()
                n = self.processor.frame_block
            else:
                there = self._fill_up()
                if there < 0:
                    raise MemoryError()
                if not there:
                    break
                n = self.processor.take_into(at) * self.processor.n_channels
            at += n
            left -= n
        return (room - left) // self.processor.n_channels

    def read_into(self, out, now=None):
        """Write the frames that are due into ``out``, each once.

        Parameters
        ----------
        out : writable buffer of int16, or of octets
            As of `Receiver.read_into`.
        now : float, optional
            Taken for the sake of `Receiver`'s form; nothing waits for a time here.

        Returns
        -------
        int
            Samples per channel that have been written.

        Raises
        ------
        StateError
            If frames of some channels have been taken from `frames`, and those of others for the same time not.
        TypeError, ValueError
            If ``out`` is no writable buffer of int16, or too small for a frame of all channels.
        """
        cdef Py_buffer view
        borrow_samples_into(out, &view, "out")
        try:
            if view.len // 2 < self.processor.frame_block:
                raise ValueError(
                    f"out has room for {view.len // 2} samples, one frame takes {self.processor.frame_block}"
                )
            if self.processor.next_channel:
                raise StateError(
                    f"frames were taken up to channel {self.processor.next_channel} of {self.processor.n_channels}; "
                    "take the others of the same time first"
                )
            return self._read_into(<int16_t *>view.buf, view.len // 2)
        finally:
            PyBuffer_Release(&view)

    def frames(self, now=0.0):
        """Iterate over the frames that are due, each once, in order of time, then channel.

        Parameters
        ----------
        now : float, optional
            Taken for the sake of `Receiver`'s form; nothing waits for a time here.
        """
        cdef Frame frame = self._next_frame()
        while frame is not None:
            yield frame
            frame = self._next_frame()

    def block(self):
        """Take all frames that are due in one piece.

        Returns
        -------
        Block or None
            Frames of all channels side by side; None when none is due.

        Raises
        ------
        StateError
            If frames of some channels have been taken from `frames`, and those of others for the same time not.
        """
        cdef Block block
        cdef int64_t n_frames, n_samples
        cdef int there
        if self.processor.next_channel:
            raise StateError(
                f"frames were taken up to channel {self.processor.next_channel} of {self.processor.n_channels}; "
                "take the others of the same time first"
            )
        n_frames = self._ready() // self.processor.n_channels
        if n_frames == 0:
            return None
        n_samples = min(n_frames * self.processor.frame_samples, self.end - self.processor.n_out)
        block = new_block(self.processor, n_frames, n_samples)
        while block.n_frames < n_frames:
            if self._decode_frames(block, n_frames):
                continue
            there = self._fill_up()
            if there <= 0:
                raise MemoryError()
            self._run_through(block, n_frames)
        return block

    cdef bint _decode_frames(self, Block block, int64_t n_frames) except? False:
        """Decode the frames that lie whole in one payload, where there is no more to do; False where none does."""
        cdef Processor processor = self.processor
        cdef const uint8_t *octets = self._whole_frame()
        cdef bytes payload = self.payload           # held: another thread may run meanwhile
        cdef Py_ssize_t size = processor.frame_samples * processor.block_octets
        cdef int64_t n
        if octets == NULL:
            return False
        n = min(<int64_t>((PyBytes_GET_SIZE(payload) - self.offset) // size), n_frames - block.n_frames)
        if n < LONG_FRAMES:
            decode_frames(processor, block, octets, n)
        else:
            with nogil:
                decode_frames(processor, block, octets, n)
        self.offset += <Py_ssize_t>n * size
        self._advance()
        return True

    cdef int _run_through(self, Block block, int64_t n_frames) except -1:
        """Move frames into the block as far as the payload goes, of which the first one is there."""
        cdef Processor processor = self.processor
        cdef bytes payload = self.payload           # held: another thread may run meanwhile
        cdef const uint8_t *octets = NULL
        cdef Py_ssize_t n = 0
        if payload is not None:
            octets = <const uint8_t *>PyBytes_AS_STRING(payload) + self.offset
            n = (PyBytes_GET_SIZE(payload) - self.offset) // processor.block_octets
        if n < LONG_FRAMES * processor.frame_samples:
            n = run_through(processor, block, n_frames, octets, n)
        else:
            with nogil:
                n = run_through(processor, block, n_frames, octets, n)
        if n < 0:
            raise MemoryError()
        if payload is not None:
            self.offset += n * processor.block_octets
            self._advance()
        return 0

    def holes(self):
        """Holes since the last call, oldest first; at most 64 wait, then the oldest give way."""
        found, self.told = self.told, []
        return found

    def meter(self, int n_frames=2048):
        """Note from now on what the frames look like; as of `Receiver`."""
        if self.noted is not None:
            return self.noted
        if self.processor.next_channel:
            raise StateError(
                f"frames were taken up to channel {self.processor.next_channel} of {self.processor.n_channels}; "
                "take the others of the same time first"
            )
        self.noted = Meter(
            self.processor.n_channels, self.processor.frame_samples, self.processor.sample_rate,
            n_frames=n_frames, start=self.processor.n_out,
        )
        self.processor.note_in(self.noted)
        return self.noted

    # What is known

    @property
    def encoding(self):
        """Encoding of the payload."""
        return self.processor.encoding

    @property
    def sample_rate(self):
        """Hz."""
        return self.processor.sample_rate

    @property
    def n_channels(self):
        """Channels, each with frames of its own."""
        return self.processor.n_channels

    @property
    def frame_samples(self):
        """Samples of a frame, per channel."""
        return self.processor.frame_samples

    @property
    def delay_samples(self):
        """Samples that gate and compressor hold back."""
        return self.processor.delay_samples

    @property
    def position(self):
        """Samples of the timeline that have been handed out as frames."""
        return self.processor.n_out

    @property
    def silent(self):
        """Whether the last frame handed out was silent, in every channel; True before the first."""
        cdef Channel channel
        for channel in self.processor.channels:
            if not channel.silence.silent:
                return False
        return True

    @property
    def level_dbov(self):
        """Level of the last frame handed out, of its loudest channel; minus infinity before the first."""
        return max([(<Channel>channel).silence.level_dbov for channel in self.processor.channels])

    @property
    def last_refusal(self):
        """What was wrong with the payload refused last; None when there was none."""
        return self.refusal

    cdef int64_t _n_waiting(self):
        """Payloads of which something has not been taken yet."""
        cdef int64_t waiting = self.payload is not None
        for piece in self.pieces:
            waiting += type(piece) is bytes
        return waiting

    def stats(self):
        """Counters since the start, as `gcmedia.types.Stats`; a packet is one payload, and none can be lost."""
        cdef int64_t waiting = self._n_waiting()
        malformed = {
            reason: count
            for reason, count in (("empty", self.empty), ("ragged", self.ragged), ("unreadable", self.unreadable))
            if count
        }
        return Stats(
            packets_received=self.received,
            packets_played=self.received - self.refused - self.discarded - waiting,
            packets_late=0,
            packets_duplicate=0,
            packets_discarded=self.discarded,
            packets_refused=self.refused,
            packets_buffered=waiting,
            packets_expected=self.received - self.refused,
            packets_lost=0,
            packets_reordered=0,
            gaps=0,
            resets=0,
            flushes=0,
            underruns=0,
            overruns=self.overruns,
            timestamp_jumps=0,
            bytes_received=self.octets,
            jitter=0.0,
            interval_ms=0.0,
            loss_rate=0.0,
            buffer_depth=waiting,
            buffer_target=0,
            playout_delay_ms=0.0,
            total_samples=self.end,
            concealed_samples=self.processor.concealed_samples,
            silent_concealed_samples=self.processor.silent_concealed_samples,
            concealment_events=self.processor.concealment_events,
            malformed=malformed,
        )
