"""Noise gates: spectral and per sample."""

from libc.stdint cimport int16_t

from gcmedia._core.cpu cimport GateFraming, GateLevels, GateState
from gcmedia._core.fft cimport RealFFT

cdef class _Framing:
    """What is the same for all gates of a rate and delay: frame, hop, windows, transform.  Constant once made."""

    cdef GateFraming framing
    cdef float *windows                     # memory for them
    cdef float full_scale                   # power of a bin in which a full-scale sine is centred
    cdef RealFFT fft

cdef Py_ssize_t lay_out(GateState *state, const GateFraming *framing, int n_streams, float *memory) noexcept nogil

cdef class SpectralGate:
    cdef readonly object config             #: gcmedia.GateConfig
    cdef readonly int sample_rate           # Hz
    cdef readonly int delay_samples         # exact; 0 for kind="sample"
    # As many samples out as in, delay_samples later; any n_samples; src and dst may be the same memory.
    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil

    cdef bint _spectral
    cdef int _sample_size                   # octets of the last sample that came, for flush
    cdef _Framing _framing                  # None for kind="sample"
    cdef GateLevels _levels
    cdef GateState _state
    cdef float _sample_floor                # share of full scale
    cdef float *_memory                     # all arrays of the state, from the first line of the cache on
    cdef Py_ssize_t _memory_size            # floats of the arrays
    cdef _lay_out(self)
    cdef void _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil
    cdef void _run_held(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept
