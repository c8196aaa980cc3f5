"""Noise gates for many streams that advance together.

Streams lie side by side, GATE_LANES to a group, and each lane of a vector does for its stream what `SpectralGate` does
for one; see kernels/gate_bank_isa.h.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from gcmedia._core.buffer cimport borrow_samples, borrow_samples_out
from gcmedia._core.cpu cimport GATE_LANES, GateGroup, GateState, Source, Target, kernels
from gcmedia._core.fft cimport LINE, at_line
from gcmedia._core.gate cimport SpectralGate, lay_out

from gcmedia.errors import ConfigError


@cython.final
cdef class SpectralGateBank:
    """Noise gates with the same settings for many streams, worked on together.

    For streams whose samples come in step, as those of a bridge or of a batch do.  Each stream gets, to the bit, what
    a `SpectralGate` of its own would give it, for somewhat less time when there are 8 or more.

    Parameters
    ----------
    n : int
        How many streams, 1 to 1,000,000.
    sample_rate : int
        Hz, 4000 to 96000.
    config : gcmedia.GateConfig, optional
        Its fields can also be given as keywords, which override it.

    Attributes
    ----------
    config : gcmedia.GateConfig
    sample_rate : int
        Hz.
    delay_samples : int
        As of `SpectralGate`.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    Some 4 KB of state for a stream at 8 kHz, and as much for those that are missing to a multiple of 8.  The GIL is
    released meanwhile; one bank serves one thread at a time.
    """

    def __cinit__(self, Py_ssize_t n, int sample_rate=8000, config=None, **settings):
        cdef Py_ssize_t g, n_scratch
        cdef GateState layout
        cdef float *memory
        cdef float *scratch
        if not 1 <= n <= 1_000_000:
            raise ConfigError(f"n is {n} streams, not in [1, 1000000]")
        self.n = n
        self._sample_size = 2
        self._gate = SpectralGate(sample_rate, config, **settings)
        self.delay_samples = self._gate.delay_samples
        if not self._gate._spectral:
            return
        self._n_groups = (n + GATE_LANES - 1) // GATE_LANES
        # Whole lines of the cache for each group.
        self._group_size = (lay_out(&layout, &self._gate._framing.framing, GATE_LANES, NULL) + LINE - 1) // LINE * LINE
        n_scratch = GATE_LANES * 4 * (self._gate._framing.framing.n_bins + 1)
        self._groups = <GateGroup *>calloc(self._n_groups, sizeof(GateGroup))
        self._memory = <float *>calloc(self._n_groups * self._group_size + n_scratch + LINE, sizeof(float))
        if self._groups == NULL or self._memory == NULL:
            raise MemoryError
        memory = at_line(self._memory)
        scratch = memory + self._n_groups * self._group_size
        for g in range(self._n_groups):
            lay_out(&self._groups[g].state, &self._gate._framing.framing, GATE_LANES, memory + g * self._group_size)
            self._groups[g].scratch = scratch

    def __dealloc__(self):
        free(self._groups)
        free(self._memory)

    def __len__(self):
        return self.n

    @property
    def config(self):
        return self._gate.config

    @property
    def sample_rate(self):
        return self._gate.sample_rate

    cdef void _run(self, const char *src, char *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil:
        cdef Source[8] sources
        cdef Target[8] targets
        cdef Py_ssize_t g, i, lane, row = n_samples * sample_size
        if self._groups == NULL:            # the tutorials' gate keeps nothing of a stream
            if sample_size == 2:
                self._gate.run(<const int16_t *>src, <int16_t *>dst, self.n * n_samples)
            else:
                self._gate.run_float(<const float *>src, <float *>dst, self.n * n_samples)
            return
        for g in range(self._n_groups):
            for lane in range(GATE_LANES):
                i = g * GATE_LANES + lane
                sources[lane] = src + i * row if i < self.n else NULL
                targets[lane] = dst + i * row if i < self.n else NULL
            if sample_size == 2:
                kernels.gate_group_int16(
                    &self._gate._framing.framing, &self._gate._levels, &self._groups[g], sources, targets, n_samples
                )
            else:
                kernels.gate_group_float32(
                    &self._gate._framing.framing, &self._gate._levels, &self._groups[g], sources, targets, n_samples
                )

    cdef _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size):
        with nogil:
            self._run(<const char *>src, <char *>dst, n_samples, sample_size)

    cdef void _clear(self) noexcept nogil:
        cdef Py_ssize_t g
        if self._groups == NULL:
            return
        memset(at_line(self._memory), 0, self._n_groups * self._group_size * sizeof(float))
        for g in range(self._n_groups):
            self._groups[g].state.position = self._groups[g].state.start = 0
            memset(self._groups[g].n_warm, 0, sizeof(self._groups[g].n_warm))
            memset(self._groups[g].n_sounding, 0, sizeof(self._groups[g].n_sounding))
            memset(self._groups[g].n_silent, 0, sizeof(self._groups[g].n_silent))

    def process(self, pcm, out=None):
        """Gate the next samples of all streams.

        Parameters
        ----------
        pcm : buffer of int16 or float32, shape (n, n_samples)
            Any number of samples, the same for each stream; a flat buffer or plain octets will do as well, one stream
            behind the other.  Values as for `SpectralGate.process`.
        out : writable buffer of the same type and size, optional
            Filled and returned when given; it may be ``pcm`` itself, but not overlap it otherwise.

        Returns
        -------
        bytes or out
            As many samples in the same order: those that came ``delay_samples`` earlier, zeros at the beginning.

        Raises
        ------
        TypeError, ValueError
            If ``pcm`` or ``out`` is no buffer of the right kind or size; no sample has been taken then.
        """
        cdef Py_buffer source, target
        cdef Py_ssize_t n_all
        cdef int sample_size = borrow_samples(pcm, &source, "pcm")
        try:
            n_all = source.len // sample_size
            if source.ndim > 1 and source.shape != NULL and source.shape[0] != self.n:
                raise ValueError(f"pcm has {source.shape[0]} rows, the bank {self.n} streams")
            if n_all % self.n:
                raise ValueError(f"pcm has {n_all} samples, not as many for each of {self.n} streams")
            if out is None:
                result = PyBytes_FromStringAndSize(NULL, source.len)
                self._sample_size = sample_size
                self._run_any(source.buf, PyBytes_AS_STRING(result), n_all // self.n, sample_size)
                return result
            borrow_samples_out(out, &target, n_all, sample_size)
            self._sample_size = sample_size
            self._run_any(source.buf, target.buf, n_all // self.n, sample_size)
            PyBuffer_Release(&target)
            return out
        finally:
            PyBuffer_Release(&source)

    def flush(self):
        """End all streams: the last ``delay_samples`` of each that are still to come, and a fresh start.

        Returns
        -------
        bytes
            Samples of shape (n, delay_samples), of the type that `process` was last given, int16 if there was none.
        """
        zeros = bytes(self.n * self.delay_samples * self._sample_size)
        result = PyBytes_FromStringAndSize(NULL, len(zeros))
        self._run_any(<const char *>zeros, PyBytes_AS_STRING(result), self.delay_samples, self._sample_size)
        self._clear()
        return result

    def reset(self, index=None):
        """Forget one stream and its noise, or all of them; what has not come out yet is dropped.

        Parameters
        ----------
        index : int, optional
            Which stream, for another call in its place.  Its frames begin with those of the others, so it gets what
            a gate of its own would give it that had first taken digital silence since the last of these, less than
            18 ms of it.

        Raises
        ------
        IndexError
            If there is no such stream.
        """
        cdef Py_ssize_t i, at, lane
        cdef GateGroup *group
        cdef float *memory
        if index is None:
            self._clear()
            return
        i = index
        if not 0 <= i < self.n:
            raise IndexError(f"index is {i}, not in [0, {self.n - 1}]")
        if self._groups == NULL:
            return
        group = &self._groups[i // GATE_LANES]
        memory = group.state.noise
        lane = i % GATE_LANES
        for at in range(lane, self._group_size, GATE_LANES):
            memory[at] = 0.0
        group.n_warm[lane] = group.n_sounding[lane] = group.n_silent[lane] = 0
