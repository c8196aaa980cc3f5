"""Noise gates: spectral and per sample."""

from libc.stdint cimport int16_t

cdef class SpectralGate:
    cdef readonly object config             #: gcmedia.GateConfig
    cdef readonly int sample_rate           # Hz
    cdef readonly int delay_samples         # exact; 0 for kind="sample"
    # As many samples out as in, delay_samples later; any n_samples; src and dst may be the same memory.
    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil
