"""Dynamics: the compressor of Web Audio."""

from libc.stdint cimport int16_t

cdef enum:
    DIVISION = 32                           # samples between two looks at where the gain has to go

cdef struct CompressorCurve:                # levels are shares of full scale
    float threshold, knee_end
    float bend                              # k: the knee is threshold + (1 - exp(-k (x - threshold))) / k
    float straight, slope                   # beyond it: log2(y / x) = straight + slope * log2(x)
    float detector_s                        # release time of the detector, in samples
    float attack_s, release_s               # in samples
    float makeup

cdef class Compressor:
    cdef readonly object config             #: gcmedia.CompressorConfig
    cdef readonly int sample_rate           # Hz
    cdef readonly int delay_samples         # look-ahead
    # src and dst may be the same memory.
    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil

    cdef CompressorCurve _curve
    cdef float _detector                    # smoothed gain that the curve asks for
    cdef float _gain                        # in force, before it is bent by a sine
    cdef float _deepest_db                  # of this attack; -1 while the gain rises
    cdef float _target, _rate               # of this division: a share of the way if under 1, a factor otherwise
    cdef int _into                          # samples of the division that are through
    cdef int _sample_size                   # of the last input, octets
    cdef float *_delayed                    # ring of delay_samples
    cdef int _at

    cdef void _aim(self) noexcept nogil
    cdef void _step(self, float *x, int n) noexcept nogil
    cdef void _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil
