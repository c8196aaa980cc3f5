"""What the frames of a stream looked like lately, in rings of fixed size."""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free

from gcmedia._core.buffer cimport borrow_int16
from gcmedia._core.g711 cimport int16_to_ulaw
from gcmedia._core.pcm cimport sum_of_squares

cdef enum:
    MAX_CHANNELS = 8
    FULL_SCALE = 32124          # the largest value of PCMU; a little under that of PCMA and of 16 bits
    MARGIN = 16                 # frames of a ring that may be overwritten while the rest is read


cdef void note_peak(Ring *ring, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    cdef Peak *peak = &ring.peaks[ring.n & ring.mask]
    cdef int16_t low = pcm[0], high = pcm[0]
    cdef Py_ssize_t i
    for i in range(n_samples):
        low = pcm[i] if pcm[i] < low else low
        high = pcm[i] if pcm[i] > high else high
    peak.low = low
    peak.high = high
    ring.marks[ring.n & ring.mask].flags |= MARK_PEAKS
    if high >= FULL_SCALE or low <= -FULL_SCALE:
        ring.marks[ring.n & ring.mask].flags |= MARK_CLIPPED


@cython.final
cdef class Meter:
    """The last frames of a stream as a picture needs them; made by `Receiver.meter`.

    Attributes
    ----------
    n_channels : int
        Of the stream.
    n_frames : int
        Frames that are remembered, per channel; then the oldest give way.
    frame_samples, sample_rate : int
        Samples of a frame; Hz.
    start : int
        Position of the first sample noted; columns are counted from there.

    Notes
    -----
    A column is two frames of all channels.  It may be read from another thread than the one that pushes packets.
    """

    def __cinit__(self, int n_channels, int frame_samples, int sample_rate, *, int n_frames=2048, int64_t start=0):
        if not 1 <= n_channels <= MAX_CHANNELS:
            raise ValueError(f"n_channels is {n_channels}, not in [1, {MAX_CHANNELS}]")
        if not 64 <= n_frames <= 1 << 20 or n_frames & (n_frames - 1):
            raise ValueError(f"n_frames is {n_frames}, not a power of two in [64, {1 << 20}]")
        if frame_samples < 1 or sample_rate < 1:
            raise ValueError(f"frame_samples is {frame_samples} and sample_rate {sample_rate} Hz, not both 1 or more")
        self.n_channels = n_channels
        self.n_frames = n_frames
        self.frame_samples = frame_samples
        self.sample_rate = sample_rate
        self.start = start
        self.rings = <Ring *>calloc(n_channels, sizeof(Ring))
        if self.rings == NULL:
            raise MemoryError()
        cdef int i
        for i in range(n_channels):
            self.rings[i].mask = n_frames - 1
            self.rings[i].base = power_code(<int64_t>frame_samples << 30) - 255
            self.rings[i].marks = <Mark *>calloc(n_frames, sizeof(Mark))
            if self.rings[i].marks == NULL:
                raise MemoryError()

    def __dealloc__(self):
        cdef int i
        if self.rings != NULL:
            for i in range(self.n_channels):
                free(self.rings[i].marks)
                free(self.rings[i].peaks)
            free(self.rings)

    cdef int64_t n_columns(self) noexcept nogil:
        cdef int64_t least = self.rings[0].n
        cdef int i
        for i in range(1, self.n_channels):
            least = min(least, self.rings[i].n)
        return least // 2

    cdef int loudest(self, int channel, int64_t n_frames) noexcept nogil:
        """The highest level of the last frames, 0 to 255."""
        cdef Ring *ring = &self.rings[channel]
        cdef int64_t end = ring.n
        cdef int64_t place = max(<int64_t>0, end - min(n_frames, <int64_t>self.n_frames))
        cdef int found = 0
        while place < end:
            found = max(found, <int>ring.marks[place & ring.mask].level)
            place += 1
        return found

    cdef void skip_to(self, int64_t position) noexcept nogil:
        """The next frame begins there, to the nearest frame; those between are as silent as a hole that is filled."""
        cdef int64_t n = (position - self.start + self.frame_samples // 2) // self.frame_samples
        cdef Ring *ring
        cdef Mark *mark
        cdef int64_t place
        cdef int i
        for i in range(self.n_channels):
            ring = &self.rings[i]
            for place in range(max(ring.n, n - self.n_frames), n):
                mark = &ring.marks[place & ring.mask]
                mark.level = 0
                mark.flags = MARK_SILENT | MARK_CONCEALED
            ring.n = max(ring.n, n)

    def watch(self):
        """From now on note the lowest and highest sample of each frame too; until as many times `unwatch`.

        Raises
        ------
        MemoryError
            If there is no room for them.
        """
        cdef int i
        for i in range(self.n_channels):
            if self.rings[i].peaks == NULL:
                self.rings[i].peaks = <Peak *>calloc(self.n_frames, sizeof(Peak))
                if self.rings[i].peaks == NULL:
                    raise MemoryError()
        self.watchers += 1
        for i in range(self.n_channels):
            self.rings[i].watched = True

    def unwatch(self):
        """One watcher has gone; the last one saves the work."""
        cdef int i
        self.watchers = max(0, self.watchers - 1)
        if self.watchers == 0:
            for i in range(self.n_channels):
                self.rings[i].watched = False

    @property
    def watched(self):
        """Whether anyone watches."""
        return self.watchers > 0

    @property
    def columns(self):
        """Columns noted so far."""
        return self.n_columns()

    def note(self, int channel, pcm, *, bint silent=False, bint concealed=False):
        """Take frames of one channel that no receiver has, from a recording for example.

        Parameters
        ----------
        channel : int
            Whose.
        pcm : buffer of int16, or its octets
            Whole frames, one behind the other; a last, shorter one counts as a frame.
        silent, concealed : bool
            What they all are.

        Raises
        ------
        IndexError
            If there is no such channel.
        TypeError, ValueError
            If ``pcm`` is no buffer of int16, or ends within a sample.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n, at = 0
        cdef const int16_t *samples
        if not 0 <= channel < self.n_channels:
            raise IndexError(f"channel is {channel}, not in [0, {self.n_channels})")
        borrow_int16(pcm, &view, "pcm")
        samples = <const int16_t *>view.buf
        while at < view.len // 2:
            n = min(<Py_ssize_t>self.frame_samples, view.len // 2 - at)
            note(&self.rings[channel], samples + at, n, sum_of_squares(samples + at, n), silent)
            if concealed:
                note_concealed(&self.rings[channel])
            at += n
        PyBuffer_Release(&view)

    def read(self, int64_t first, int64_t max_columns=1500):
        """Columns from ``first`` on, as far as they are still there.

        Parameters
        ----------
        first : int
            The next column wanted.
        max_columns : int
            At most so many, the oldest of them.

        Returns
        -------
        first : int
            The first column of those that follow: later than asked for when older ones have given way.
        octets : bytes, shape (n_columns, n_channels, 4)
            Level (255 is 0 dBov, a step 0.38 dB, the louder frame of the two, within 1 dB), flags (1 silent, both of
            them; 2 concealed; 4 the next two are known; 8 clipped), lowest and highest sample as PCMU octets.
        """
        cdef int64_t end = self.n_columns()
        cdef int64_t oldest = max(<int64_t>0, (2 * end - self.n_frames + MARGIN + 1) // 2)
        cdef int64_t n, column, place
        cdef bytes octets
        cdef uint8_t *out
        cdef int channel, i
        cdef uint8_t level, flags, silent
        cdef int16_t[2] ends
        cdef Ring *ring
        cdef Mark mark
        first = min(max(first, oldest), end)
        n = max(<int64_t>0, min(end - first, max_columns))
        octets = PyBytes_FromStringAndSize(NULL, n * self.n_channels * 4)
        out = <uint8_t *>PyBytes_AS_STRING(octets)
        for column in range(first, first + n):
            for channel in range(self.n_channels):
                ring = &self.rings[channel]
                level = flags = 0
                silent = MARK_SILENT
                ends[0] = ends[1] = 0
                for i in range(2):
                    place = (2 * column + i) & ring.mask
                    mark = ring.marks[place]
                    level = max(level, mark.level)
                    silent &= mark.flags
                    if mark.flags & MARK_PEAKS:
                        ends[0] = min(ends[0], ring.peaks[place].low)
                        ends[1] = max(ends[1], ring.peaks[place].high)
                    flags |= mark.flags & ~MARK_SILENT
                out[0] = level
                out[1] = flags | silent
                int16_to_ulaw(ends, out + 2, 2)
                out += 4
        return first, octets
