"""Concealment: fill what never came."""

from libc.stdint cimport int16_t

cdef class Concealer:
    cdef readonly str method                # "silence" or "repeat"
    cdef readonly int sample_rate           # Hz
    # Remember good audio; may smooth its first samples in place when it follows a filled span.
    cdef void good(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    # Fill the next n_samples that are missing.  True when the fill is plain silence.
    cdef bint fill(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil
