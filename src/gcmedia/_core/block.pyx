"""Whole frames of all channels side by side: what whoever records or measures takes in one piece."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.string cimport memchr, memcpy

from gcmedia._core.frame cimport Frame
from gcmedia._core.meter cimport note_concealed
from gcmedia._core.processor cimport Channel, Processor, hear
from gcmedia._core.silence cimport level_from


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

    cdef inline FrameNote *_note(self, int frame, int channel) noexcept nogil:
        return self.notes_at + frame * self.n_channels + channel

    cdef int _check(self, int channel) except -1:
        if not 0 <= channel < self.n_channels:
            raise IndexError(f"channel is {channel}, there are {self.n_channels}")
        return 0

    def raw(self, int channel):
        """Samples of a channel as decoded: a read-only memoryview of int16."""
        self._check(channel)
        return memoryview(self.raw_octets[channel]).cast("h")

    def pcm(self, int channel):
        """The same after gate and compressor, where there are any."""
        self._check(channel)
        return memoryview(self.pcm_octets[channel]).cast("h")

    def raw_bytes(self, int channel):
        """What `raw` shows, as bytes that may be kept; no copy."""
        self._check(channel)
        return self.raw_octets[channel]

    def pcm_bytes(self, int channel):
        """What `pcm` shows, as bytes that may be kept; no copy."""
        self._check(channel)
        return self.pcm_octets[channel]

    def level_dbov(self, int channel):
        """RMS of the last frame's raw samples; minus infinity for digital silence."""
        cdef int n = self.n_samples - (self.n_frames - 1) * self.frame_samples
        self._check(channel)
        return level_from(self._note(self.n_frames - 1, channel).squares, n)

    def silent_runs(self, int channel):
        """Runs of silent frames of a channel: a list of (position, n_samples)."""
        self._check(channel)
        return self._runs(channel, True) if self.silent_frames else []

    def concealed_runs(self, int channel):
        """Runs of frames that hold samples which were not received: a list of (position, n_samples)."""
        self._check(channel)
        return self._runs(channel, False) if self.concealed_frames else []

    cdef list _runs(self, int channel, bint of_silence):
        cdef list runs = []
        cdef int64_t start = -1, position = self.position
        cdef int i
        cdef FrameNote *note
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

    def masked(self, int n_frames, const int16_t[::1] pcm not None):
        """The same block with other samples in its first frames, of all channels, raw and cleaned alike.

        Parameters
        ----------
        n_frames : int
            How many frames of each channel; nothing of what was said is left in them.
        pcm : buffer of int16
            As many samples as those frames have; copied.

        Raises
        ------
        ValueError
            If the block has fewer frames, or the samples are not so many.
        """
        cdef Py_ssize_t n = min(<Py_ssize_t>n_frames * self.frame_samples, <Py_ssize_t>self.n_samples)
        cdef Py_ssize_t size = n * <Py_ssize_t>sizeof(int16_t), i, j, end
        cdef int channel
        cdef int64_t squares
        cdef Block block
        cdef FrameNote *note
        if not 0 <= n_frames <= self.n_frames:
            raise ValueError(f"n_frames is {n_frames}, not in [0, {self.n_frames}]")
        if pcm.shape[0] != n:
            raise ValueError(f"pcm has {pcm.shape[0]} samples, {n_frames} frames have {n}")
        block = Block.__new__(Block)
        block.position, block.n_samples, block.n_frames = self.position, self.n_samples, self.n_frames
        block.n_channels, block.frame_samples = self.n_channels, self.frame_samples
        block.sample_rate = self.sample_rate
        block.silent_frames, block.concealed_frames = self.silent_frames, self.concealed_frames
        block.notes = PyBytes_FromStringAndSize(
            PyBytes_AS_STRING(self.notes), self.n_frames * self.n_channels * <Py_ssize_t>sizeof(FrameNote)
        )
        block.notes_at = <FrameNote *>PyBytes_AS_STRING(block.notes)
        other = bytes(pcm)
        block.raw_octets = [other + (<bytes>octets)[size:] for octets in self.raw_octets]
        block.pcm_octets = block.raw_octets
        if self.pcm_octets is not self.raw_octets:
            block.pcm_octets = [other + (<bytes>octets)[size:] for octets in self.pcm_octets]
        for i in range(n_frames):
            squares = 0
            end = min((i + 1) * self.frame_samples, n)
            for j in range(i * self.frame_samples, end):
                squares += <int32_t>pcm[j] * pcm[j]
            for channel in range(self.n_channels):
                note = block._note(<int>i, channel)
                block.silent_frames += (squares == 0) - note.silent
                block.concealed_frames -= note.made_up > 0
                note.squares = squares
                note.silent = squares == 0
                note.made_up = 0
        return block

    def __len__(self):
        return self.n_frames * self.n_channels


cdef Block new_block(Processor processor, int64_t n_frames, int64_t n_samples):
    """Room for so many frames from where the processor stands."""
    cdef Block block = Block.__new__(Block)
    cdef int i
    block.position = processor.n_out
    block.n_samples = <int>n_samples
    block.n_channels = processor.n_channels
    block.frame_samples = processor.frame_samples
    block.sample_rate = processor.sample_rate
    block.notes = PyBytes_FromStringAndSize(NULL, n_frames * processor.n_channels * sizeof(FrameNote))
    block.raw_octets = [
        PyBytes_FromStringAndSize(NULL, n_samples * sizeof(int16_t)) for _ in range(processor.n_channels)
    ]
    block.pcm_octets = block.raw_octets
    if not processor.plain:
        block.pcm_octets = [
            PyBytes_FromStringAndSize(NULL, n_samples * sizeof(int16_t)) for _ in range(processor.n_channels)
        ]
    block.notes_at = <FrameNote *>PyBytes_AS_STRING(block.notes)
    for i in range(processor.n_channels):
        block.raw_at[i] = <int16_t *>PyBytes_AS_STRING(<bytes>block.raw_octets[i])
        block.pcm_at[i] = <int16_t *>PyBytes_AS_STRING(<bytes>block.pcm_octets[i])
    return block


cdef void move_frame(Processor processor, Block block) noexcept nogil:
    """Move the frame that the processor has, of all channels, behind those of the block, which has room for it."""
    cdef FrameNote *note
    cdef Py_ssize_t n = processor.next_length(), j
    cdef Py_ssize_t at = processor.n_out - block.position
    cdef const int16_t *raw
    cdef const uint8_t *made_up
    cdef int i
    for i in range(processor.n_channels):
        note = block._note(block.n_frames, i)
        raw = (<Channel>processor.channel_at[i]).raw + (<Channel>processor.channel_at[i]).raw_start
        made_up = (<Channel>processor.channel_at[i]).made_up + (<Channel>processor.channel_at[i]).raw_start
        memcpy(block.raw_at[i] + at, raw, n * sizeof(int16_t))
        if (<Channel>processor.channel_at[i]).clean != NULL:
            memcpy(
                block.pcm_at[i] + at,
                (<Channel>processor.channel_at[i]).clean + (<Channel>processor.channel_at[i]).clean_start,
                n * sizeof(int16_t),
            )
        note.silent = (<Channel>processor.channel_at[i]).silence.push_frame(raw, n)
        note.squares = (<Channel>processor.channel_at[i]).silence.last_squares
        note.made_up = 0
        if memchr(made_up, 1, n) != NULL:
            for j in range(n):
                note.made_up += made_up[j]
        if note.made_up and (<Channel>processor.channel_at[i]).silence.ring != NULL:
            note_concealed((<Channel>processor.channel_at[i]).silence.ring)
        block.silent_frames += note.silent
        block.concealed_frames += note.made_up > 0
        (<Channel>processor.channel_at[i])._drop(n)
    block.n_frames += 1
    processor.n_out += n


cdef void decode_frames(Processor processor, Block block, const uint8_t *octets, int64_t n_frames) noexcept nogil:
    """Decode so many frames from octets that hold them whole, straight to their place in the block."""
    cdef FrameNote *note
    cdef Py_ssize_t at = processor.n_out - block.position
    cdef int64_t _j
    cdef int i
    for _j in range(n_frames):
        for i in range(processor.n_channels):
            hear(processor, i, octets, block.raw_at[i] + at)
            note = block._note(block.n_frames, i)
            note.silent = (<Channel>processor.channel_at[i]).silence.silent
            note.squares = (<Channel>processor.channel_at[i]).silence.last_squares
            note.made_up = 0
            block.silent_frames += note.silent
        octets += processor.frame_samples * processor.block_octets
        at += processor.frame_samples
        block.n_frames += 1
    processor.concealing = False
    processor.n_in += n_frames * processor.frame_samples
    processor.n_out += n_frames * processor.frame_samples


cdef Py_ssize_t run_through(Processor processor, Block block, int64_t n_frames, const uint8_t *octets,
                            Py_ssize_t n_samples) noexcept nogil:
    """Move the frame that is there; feed a frame at a time, and move, as far as octets go and the block has room."""
    cdef Py_ssize_t taken = 0, n
    move_frame(processor, block)
    while block.n_frames < n_frames:
        if processor.has_frame():
            move_frame(processor, block)
            continue
        n = min(n_samples - taken, <Py_ssize_t>processor.frame_samples)
        if n == 0:
            break
        if processor.decode(octets + taken * processor.block_octets, n) < 0:
            return -1
        taken += n
    return taken
