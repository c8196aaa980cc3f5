"""Audio that comes in order and without headers, as over TCP: octets in, blocks of whole frames out.

Nothing is reordered, lost or late here.  What the sender says that it left out is a hole, and takes its exact length.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int64_t, uint8_t
from libc.string cimport memcpy

from gcmedia._core.buffer cimport borrow_octets
from gcmedia._core.frame cimport Frame
from gcmedia._core.processor cimport Channel, Processor
from gcmedia._core.silence cimport level_from

from gcmedia.errors import StateError
from gcmedia.types import Hole, Stats

cdef enum:
    SLICE = 320         # samples per channel that are decoded at a time: what a channel holds stays small
    MAX_HOLES = 1000    # that nobody takes


@cython.final
@cython.freelist(16)
cdef class Block:
    """Whole frames of all channels, side by side: what one message completed.

    Attributes
    ----------
    position, n_samples : int
        First sample, counted from the start of the call with all holes, and length per channel.
    n_frames, n_channels : int
        Frames per channel, and channels.
    frame_samples, sample_rate : int
        Samples of a frame, of which only the last one may have fewer; Hz.
    silent_frames, concealed_frames : int
        Frames, counted over all channels, that are silent, and that hold samples that were not received.
    """

    cdef inline FrameNote *_note(self, int frame, int channel) noexcept:
        return <FrameNote *>PyBytes_AS_STRING(self.notes) + frame * self.n_channels + channel

    def raw(self, int channel):
        """Samples of a channel as decoded: a read-only memoryview of int16."""
        return memoryview(self.raw_octets[channel]).cast("h")

    def pcm(self, int channel):
        """The same after gate and compressor, where there are any."""
        return memoryview(self.pcm_octets[channel]).cast("h")

    def raw_bytes(self, int channel):
        """What `raw` shows, as bytes that may be kept; no copy."""
        return self.raw_octets[channel]

    def pcm_bytes(self, int channel):
        """What `pcm` shows, as bytes that may be kept; no copy."""
        return self.pcm_octets[channel]

    def level_dbov(self, int channel):
        """RMS of the last frame's raw samples; minus infinity for digital silence."""
        cdef int n = self.n_samples - (self.n_frames - 1) * self.frame_samples
        if not 0 <= channel < self.n_channels:
            raise IndexError(f"channel is {channel}, there are {self.n_channels}")
        return level_from(self._note(self.n_frames - 1, channel).squares, n)

    def silent_runs(self, int channel):
        """Runs of silent frames of a channel: a list of (position, n_samples)."""
        return self._runs(channel, True) if self.silent_frames else []

    def concealed_runs(self, int channel):
        """Runs of frames that hold samples which were not received: a list of (position, n_samples)."""
        return self._runs(channel, False) if self.concealed_frames else []

    cdef list _runs(self, int channel, bint of_silence):
        cdef list runs = []
        cdef int64_t start = -1, position = self.position
        cdef int i
        cdef FrameNote *note
        if not 0 <= channel < self.n_channels:
            raise IndexError(f"channel is {channel}, there are {self.n_channels}")
        for i in range(self.n_frames):
            note = self._note(i, channel)
            if note.silent if of_silence else note.made_up > 0:
                if start < 0:
                    start = position
            elif start >= 0:
                runs.append((start, position - start))
                start = -1
            position += self.frame_samples
        if start >= 0:
            runs.append((start, self.position + self.n_samples - start))
        return runs

    def frames(self):
        """The frames, as a list of `Frame`: by position, the channels of each moment in their order."""
        cdef list frames = []
        cdef Frame frame
        cdef FrameNote *note
        cdef bint cleaned = self.pcm_octets is not self.raw_octets
        cdef Py_ssize_t at = 0
        cdef int i, channel, n = self.frame_samples
        for i in range(self.n_frames):
            n = min(n, self.n_samples - i * self.frame_samples)
            for channel in range(self.n_channels):
                note = self._note(i, channel)
                frame = Frame.__new__(Frame)
                frame.channel = channel
                frame.position = self.position + i * self.frame_samples
                frame.n_samples = n
                frame.sample_rate = self.sample_rate
                frame.silent = note.silent
                frame.squares = note.squares
                frame.concealed_samples = note.made_up
                frame.raw_octets = PyBytes_FromStringAndSize(
                    PyBytes_AS_STRING(<bytes>self.raw_octets[channel]) + at, n * sizeof(int16_t)
                )
                frame.pcm_octets = frame.raw_octets
                if cleaned:
                    frame.pcm_octets = PyBytes_FromStringAndSize(
                        PyBytes_AS_STRING(<bytes>self.pcm_octets[channel]) + at, n * sizeof(int16_t)
                    )
                frames.append(frame)
            at += n * sizeof(int16_t)
        return frames

    def __len__(self):
        return self.n_frames * self.n_channels


@cython.final
cdef class OrderedReceiver:
    """One stream whose audio comes in order, from octets to blocks of frames.

    Parameters
    ----------
    encoding, sample_rate, n_channels : str, int, int
        As for `Receiver`; channels are interleaved sample by sample.
    frame_ms : int
        Length of the frames.
    gate, compressor, silence : configuration, optional
        See each.
    fill_s : float
        A hole up to this long is filled with silent, concealed frames; a longer one is jumped over: the next frame is
        behind it, and the one before it may be short.
    max_octets : int
        A longer payload is refused.

    Attributes
    ----------
    position : int
        Samples of the timeline handed out so far, per channel.
    received_position : int
        Samples of the timeline received so far, holes included: where the next payload begins.
    last_refusal : str or None
        Why a payload was refused.

    Notes
    -----
    The accounting of `stats` counts payloads as packets.  None of them is late, lost or duplicate.
    """

    def __cinit__(self, str encoding="PCMU", int sample_rate=8000, *, int n_channels=1, int frame_ms=20, gate=None,
                  compressor=None, silence=None, double fill_s=10.0, int64_t max_octets=1 << 20):
        self.processor = Processor(
            encoding, sample_rate, n_channels, frame_ms=frame_ms, conceal="silence", silence=silence, gate=gate,
            compressor=compressor,
        )
        if not 0.0 <= fill_s <= 3600.0:
            raise ValueError(f"fill_s is {fill_s} s, not in [0, 3600]")
        if max_octets < 1:
            raise ValueError(f"max_octets is {max_octets}, less than 1")
        self.encoding = encoding
        self.fill_s = fill_s
        self.max_octets = max_octets
        self.noted = []

    @property
    def sample_rate(self):
        """Hz."""
        return self.processor.sample_rate

    @property
    def n_channels(self):
        """Channels."""
        return self.processor.n_channels

    @property
    def frame_samples(self):
        """Samples of a frame, per channel."""
        return self.processor.frame_samples

    @property
    def delay_samples(self):
        """Delay of gate and compressor together."""
        return self.processor.delay_samples

    @property
    def position(self):
        return self.processor.n_out

    @property
    def received_position(self):
        return self.processor.n_in

    def begin(self, int64_t position):
        """Let the timeline begin at this sample, before any audio.

        Raises
        ------
        ValueError
            If it is negative.
        StateError
            If there has been audio.
        """
        if position < 0:
            raise ValueError(f"position is {position} samples, less than 0")
        if self.processor.n_in or self.received:
            raise StateError("the timeline has begun; its origin cannot be set any more")
        self.processor.n_in = self.processor.n_out = position

    def push(self, payload):
        """Take the next audio, any number of whole samples of all channels.

        Parameters
        ----------
        payload : buffer of uint8
            Borrowed for the call.  Octets that do not make up a sample of each channel at its end are left out and
            counted as ``ragged``.

        Returns
        -------
        Block or None
            The frames that are whole now.

        Raises
        ------
        StateError
            If the stream has been flushed.
        """
        cdef Py_buffer view
        cdef int64_t n_samples
        cdef Block block
        if self.ended:
            raise StateError("the receiver was flushed; audio of a new stream needs a new one")
        borrow_octets(payload, &view, "payload")
        try:
            self.received += 1
            self.octets += view.len
            n_samples = view.len // self.processor.block_octets
            if n_samples == 0:
                self.refused_empty += 1
                self.last_refusal = f"{view.len} octets of audio are less than one sample"
                return None
            if view.len > self.max_octets:
                self.refused_long += 1
                self.last_refusal = f"{view.len} octets of audio, {self.max_octets} are allowed"
                return None
            if view.len % self.processor.block_octets:
                self.ragged += 1
            if self.paused:
                self.discarded += 1
                return self._jump_or_fill(n_samples, "paused")
            block = self._run(<const uint8_t *>view.buf, n_samples)
            self.played += 1
            return block
        finally:
            PyBuffer_Release(&view)

    def skip(self, int64_t n_samples, str cause):
        """Leave a hole of this length: the sender says that it left out so much.

        Parameters
        ----------
        n_samples : int
            Per channel.
        cause : str
            For `holes`.

        Returns
        -------
        Block or None
            Frames that are whole now: those of the hole, or the short ones before it.
        """
        if self.ended:
            raise StateError("the receiver was flushed; a new stream needs a new one")
        if n_samples < 0:
            raise ValueError(f"n_samples is {n_samples}, less than 0")
        if n_samples == 0:
            return None
        return self._jump_or_fill(n_samples, cause)

    def refuse(self, str reason):
        """Count a payload that could not be read."""
        self.received += 1
        self.refused_empty += 1
        self.last_refusal = reason

    def pause(self):
        """Take no audio: what comes is a hole of its exact length."""
        self.paused = True

    def resume(self):
        """Take audio again."""
        self.paused = False

    def flush(self):
        """No more will come; return the last frames, of which the very last may be short, or None."""
        if self.ended:
            return None
        self.ended = True
        return self._drain()

    def holes(self):
        """The holes noted since the last call, as a list of `gcmedia.types.Hole`."""
        cdef list noted = self.noted
        if not noted:
            return noted
        self.noted = []
        return [Hole(position, n_samples, cause) for position, n_samples, cause in noted]

    def stats(self):
        """Counters since the start, as `gcmedia.types.Stats`; packets are payloads."""
        cdef int64_t refused = self.refused_empty + self.refused_long
        cdef int64_t unique = self.received - refused
        return Stats(
            packets_received=self.received, packets_played=self.played, packets_late=0, packets_duplicate=0,
            packets_discarded=self.discarded, packets_refused=refused, packets_buffered=0,
            packets_expected=unique, packets_lost=0, packets_reordered=0, gaps=0, resets=0, flushes=0, underruns=0,
            overruns=0, timestamp_jumps=0, bytes_received=self.octets, jitter=0.0, interval_ms=0.0, loss_rate=0.0,
            buffer_depth=0, buffer_target=0, playout_delay_ms=0.0, total_samples=self.processor.n_in,
            concealed_samples=self.made_up_samples, silent_concealed_samples=self.made_up_samples,
            concealment_events=self.n_skipped,
            malformed={
                reason: count
                for reason, count in (
                    ("empty", self.refused_empty), ("oversized", self.refused_long), ("ragged", self.ragged)
                )
                if count
            },
        )

    cdef int _note_hole(self, int64_t n_samples, str cause) except -1:
        """Note a hole that begins where the audio ends; one that follows its like makes it longer."""
        cdef int64_t position = self.processor.n_in
        cdef tuple last
        self.made_up_samples += n_samples
        if self.noted:
            last = self.noted[len(self.noted) - 1]
            if last[2] == cause and last[0] + last[1] == position:
                self.noted[len(self.noted) - 1] = (last[0], last[1] + n_samples, cause)
                return 0
            if len(self.noted) == MAX_HOLES:
                del self.noted[0]                       # nobody takes them: the oldest gives way
        self.n_skipped += 1
        self.noted.append((position, n_samples, cause))
        return 0

    cdef Block _jump_or_fill(self, int64_t n_samples, str cause):
        self._note_hole(n_samples, cause)
        if n_samples > self.fill_s * self.processor.sample_rate:
            return self._jump(n_samples)
        return self._run(NULL, n_samples)

    cdef Block _drain(self):
        """Hand out all that is held; afterwards the gate holds nothing of it."""
        cdef Processor processor = self.processor
        cdef int64_t held
        cdef Block block
        if processor.end() < 0:
            raise MemoryError()
        held = processor.n_in - processor.n_out
        if held == 0:
            return None
        block = self._block((held + processor.frame_samples - 1) // processor.frame_samples, held)
        self._take(block)
        return block

    cdef Block _jump(self, int64_t n_samples):
        cdef Processor processor = self.processor
        cdef Block block = self._drain()
        processor.ending = False
        processor.to_drop = processor.delay_samples      # what the gate draws next belongs to what drained it
        processor.n_in += n_samples
        processor.n_out = processor.n_in
        return block

    cdef Block _block(self, int64_t n_frames, int64_t n_samples):
        """Room for so many frames from here on."""
        cdef Processor processor = self.processor
        cdef Block block = Block.__new__(Block)
        cdef int i
        block.position = processor.n_out
        block.n_samples = <int>n_samples
        block.n_channels = processor.n_channels
        block.frame_samples = processor.frame_samples
        block.sample_rate = processor.sample_rate
        block.notes = PyBytes_FromStringAndSize(NULL, n_frames * processor.n_channels * sizeof(FrameNote))
        block.raw_octets = [
            PyBytes_FromStringAndSize(NULL, n_samples * sizeof(int16_t)) for i in range(processor.n_channels)
        ]
        block.pcm_octets = block.raw_octets
        if not processor.plain:
            block.pcm_octets = [
                PyBytes_FromStringAndSize(NULL, n_samples * sizeof(int16_t)) for i in range(processor.n_channels)
            ]
        return block

    cdef Block _run(self, const uint8_t *octets, int64_t n_samples):
        """Take samples, or silence where there are none; return the whole frames."""
        cdef Processor processor = self.processor
        cdef int64_t held = processor.n_in - processor.n_out + n_samples - processor.delay_samples
        cdef int64_t n_frames = held // processor.frame_samples if held > 0 else 0
        cdef Block block = None
        cdef int64_t done = 0, n
        cdef int status = 0
        if n_frames:
            block = self._block(n_frames, n_frames * processor.frame_samples)
        while done < n_samples and status == 0:
            n = min(<int64_t>SLICE, n_samples - done)
            if octets == NULL:
                status = processor.fill(n, False)
            else:
                status = processor.decode(octets + done * processor.block_octets, n)
            done += n
            if status == 0 and block is not None:
                self._take(block)
        if status < 0:
            raise MemoryError()
        return block

    cdef int _take(self, Block block) except -1:
        """Move the frames that are whole into the block, behind those that it has."""
        cdef Processor processor = self.processor
        cdef Channel channel
        cdef FrameNote *note
        cdef Py_ssize_t n, j
        cdef int64_t at
        cdef const int16_t *raw
        cdef const uint8_t *made_up
        cdef int i
        while processor.has_frame():
            n = processor.next_length()
            at = processor.n_out - block.position
            for i in range(processor.n_channels):
                channel = <Channel>processor.channels[i]
                note = block._note(block.n_frames, i)
                raw = channel.raw + channel.raw_start
                made_up = channel.made_up + channel.raw_start
                memcpy(
                    PyBytes_AS_STRING(<bytes>block.raw_octets[i]) + at * sizeof(int16_t), raw, n * sizeof(int16_t)
                )
                if channel.clean != NULL:
                    memcpy(
                        PyBytes_AS_STRING(<bytes>block.pcm_octets[i]) + at * sizeof(int16_t),
                        channel.clean + channel.clean_start, n * sizeof(int16_t),
                    )
                note.silent = channel.silence.push_frame(raw, n)
                note.squares = channel.silence.last_squares
                note.made_up = 0
                for j in range(n):
                    note.made_up += made_up[j]
                block.silent_frames += note.silent
                block.concealed_frames += note.made_up > 0
                channel._drop(n)
            block.n_frames += 1
            processor.n_out += n
        return 0
