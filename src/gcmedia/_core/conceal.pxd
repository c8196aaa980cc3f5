"""Concealment: fill what never came."""

from libc.stdint cimport int16_t
from libc.string cimport memcpy

cdef class Concealer:
    cdef readonly str method                # "silence" or "repeat"
    cdef readonly int sample_rate           # Hz
    # Remember good audio; it is never altered.
    cdef void good(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    # Fill the next n_samples that are missing.  True when the fill is plain silence.
    cdef bint fill(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil

    cdef bint _repeats
    cdef int _period, _fade                 # samples: what is repeated, and until it has died away
    cdef int _known                         # samples of good audio remembered, at most _period
    cdef int _filled                        # samples filled in this hole, at most _fade
    cdef int16_t *_last                     # the _known last samples, oldest first


cdef inline void remember(Concealer concealer, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    """`Concealer.good`, where a frame is as long as what is kept, and anything is."""
    if not concealer._repeats:
        return
    if n_samples == concealer._period:
        memcpy(concealer._last, pcm, n_samples * sizeof(int16_t))
        concealer._known = concealer._period
        concealer._filled = 0
    else:
        concealer.good(pcm, n_samples)
