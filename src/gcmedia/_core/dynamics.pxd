"""Dynamics: a feed-forward soft-knee compressor."""

from libc.stdint cimport int16_t

cdef struct CompressorCurve:                # decibels, but where said otherwise
    float threshold
    float knee                              # width, above the threshold
    float slope                             # 1 / ratio - 1: gain per decibel beyond the knee
    float bend                              # slope / (2 * knee), 0 for a hard knee
    float attack_step, release_step         # change of the gain per sample
    float threshold_linear                  # share of full scale
    float makeup_linear                     # factor

cdef class Compressor:
    cdef readonly object config             #: gcmedia.CompressorConfig
    cdef readonly int sample_rate           # Hz
    cdef readonly int delay_samples         # look-ahead; 0 unless asked for
    # src and dst may be the same memory.
    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil

    cdef CompressorCurve _curve
    cdef float _gain_db                     # in force, 0 or less; make-up apart
