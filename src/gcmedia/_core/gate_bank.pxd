"""Noise gates for many streams that advance together."""

from gcmedia._core.cpu cimport GateGroup
from gcmedia._core.gate cimport SpectralGate

cdef class SpectralGateBank:
    cdef readonly int delay_samples         # exact; 0 for kind="sample"
    cdef Py_ssize_t n                       # streams
    cdef SpectralGate _gate                 # has the settings of all; a spectral one sees no samples
    cdef int _sample_size                   # octets of the last sample that came, for flush
    cdef Py_ssize_t _n_groups
    cdef GateGroup *_groups                 # NULL for kind="sample"
    cdef Py_ssize_t _group_size             # floats of a group's state
    cdef float *_memory                     # all states, then scratch that the groups share
    cdef void _run(self, const char *src, char *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil
    cdef _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size)
    cdef void _clear(self) noexcept nogil
