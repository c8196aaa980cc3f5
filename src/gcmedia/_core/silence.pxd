"""Silence detection: the level of each frame, averaged, held through short pauses."""

from libc.stdint cimport int16_t, int64_t

# 20 log10(rms / 32768) from a sum of squares; minus infinity for digital silence.
cdef double level_from(int64_t squares, Py_ssize_t n_samples) noexcept nogil

cdef class SilenceDetector:
    cdef readonly object config             #: gcmedia.SilenceConfig
    cdef readonly bint silent               # the last verdict
    # Take one frame, return whether the stream is silent now.  No frame is empty.
    cdef bint push_frame(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    # The same, where the sum of their squares is known.
    cdef bint push_measured(self, const int16_t *pcm, Py_ssize_t n_samples, int64_t squares) noexcept nogil

    # Levels are compared per sample in the metric's own unit: squares for "rms", magnitudes for "mean_abs".
    cdef int64_t last_squares               # of the last frame: their sum, for its level
    cdef Py_ssize_t last_samples            # its length; 0 before the first
    cdef bint _squares
    cdef double _low, _high                 # silent below _low; a silent stream speaks from _high on
    cdef bint _speaking
    cdef int _window_frames, _hangover_frames
    cdef int _hangover_left                 # frames
    cdef int _n_frames, _next               # frames in the window; where the next one goes
    cdef int64_t _total, _total_samples     # over the window, exact
    cdef int64_t[64] _sums                  # per frame; 64 is the bound of SilenceConfig.window_frames
    cdef int64_t[64] _lengths               # samples
    cdef void _set_threshold(self)
