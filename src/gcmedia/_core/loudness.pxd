"""Loudness: bring quiet talkers to a usual level, and never over a true peak."""

from libc.stdint cimport int16_t

cdef enum:
    TAPS = 12                               # of each phase of the fourfold interpolation

cdef struct Biquad:
    double b0, b1, b2, a1, a2
    double s1, s2

cdef class LoudnessNormalizer:
    cdef readonly object config             #: gcmedia.LoudnessConfig
    cdef readonly int sample_rate           # Hz
    cdef readonly int delay_samples         # look-ahead of the limiter
    # src and dst may be the same memory.
    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil

    # Level: blocks of 10 ms
    cdef Biquad _shelf, _highpass           # weighting of ITU-R BS.1770
    cdef int _block, _into                  # samples; of the block that is heard
    cdef double _power                      # their sum of squares, weighted
    cdef float _floor, _floor_before        # least power of a block, lately
    cdef int _floor_blocks
    cdef float _speech                      # mean power of the speech, 0 before any
    cdef float _speech_blocks               # that it is the mean of
    cdef float _gain_octaves                # in force at the end of the block: log2 of the factor
    cdef float _gain, _gain_step            # factor at the next sample, and its change per sample
    cdef float _target, _least_gain, _most_gain, _up, _down     # octaves, the last two a block
    # Limiter
    cdef float _ceiling
    cdef int _lookahead, _hold              # samples: of the mean, and of the least
    cdef float *_samples                    # ring of _hold: behind the gain, before the limiter
    cdef float *_asked                      # ring of _hold: share that each sample asks for
    cdef float *_shares                     # ring of _lookahead: with release
    cdef int _at, _share_at
    cdef int _calm                          # samples since one asked for less than all
    cdef double _share                      # with release, before the mean
    cdef double _share_sum
    cdef double _release
    cdef int _sample_size                   # of the last input, octets

    cdef void _end_block(self) noexcept nogil
    cdef float _next(self, float x) noexcept nogil
    cdef float _limited(self, float x) noexcept nogil
    cdef void _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil
