"""Dynamics: a feed-forward soft-knee compressor."""

from libc.stdint cimport int16_t

cdef class Compressor:
    cdef readonly object config             #: gcmedia.CompressorConfig
    cdef readonly int sample_rate           # Hz
    cdef readonly int delay_samples         # look-ahead; 0 unless asked for
    # src and dst may be the same memory.
    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil
