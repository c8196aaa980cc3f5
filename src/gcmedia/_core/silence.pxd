"""Silence detection: the level of each frame, averaged, held through short pauses."""

from libc.stdint cimport int16_t, int64_t

from gcmedia._core.meter cimport Ring, note
from gcmedia._core.pcm cimport sum_of_magnitudes

# 20 log10(rms / 32768) from a sum of squares; minus infinity for digital silence.
cdef double level_from(int64_t squares, Py_ssize_t n_samples) noexcept nogil

cdef struct Amount:             # of one frame
    int64_t total
    int64_t n_samples

cdef class SilenceDetector:
    cdef readonly bint silent               # the last verdict
    # Levels are compared per sample in the metric's own unit: squares for "rms", magnitudes for "mean_abs".
    cdef bint _squares
    cdef bint _speaking
    cdef int _n_frames, _next               # frames in the window; where the next one goes
    cdef int _window_frames, _hangover_frames
    cdef int _hangover_left                 # frames
    cdef Amount *_window                    # of _window_frames
    cdef int64_t _total, _total_samples     # over the window, exact
    cdef double _low, _high                 # silent below _low; a silent stream speaks from _high on
    cdef int64_t last_squares               # of the last frame: their sum, for its level
    cdef Py_ssize_t last_samples            # its length; 0 before the first
    cdef Ring *ring                         # where frames are noted, or NULL
    cdef object meter                       # whose ring that is
    cdef readonly object config             #: gcmedia.SilenceConfig
    # Take one frame, return whether the stream is silent now.  No frame is empty.
    cdef bint push_frame(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    cdef void _set_threshold(self)


cdef inline bint push_measured(SilenceDetector detector, const int16_t *pcm, Py_ssize_t n_samples,
                               int64_t squares) noexcept nogil:
    """`SilenceDetector.push_frame`, where the sum of the squares is known."""
    cdef int64_t amount = squares if detector._squares else sum_of_magnitudes(pcm, n_samples)
    cdef Amount *oldest = &detector._window[detector._next]
    cdef double border
    detector.last_squares = squares
    detector.last_samples = n_samples
    if detector._n_frames == detector._window_frames:
        detector._total -= oldest.total
        detector._total_samples -= oldest.n_samples
    else:
        detector._n_frames += 1
    oldest.total = amount
    oldest.n_samples = n_samples
    detector._total += amount
    detector._total_samples += n_samples
    detector._next = detector._next + 1 if detector._next + 1 < detector._window_frames else 0

    border = detector._low if detector._speaking else detector._high
    if <double>detector._total >= border * <double>detector._total_samples:
        detector._speaking = True
        detector._hangover_left = detector._hangover_frames
    elif detector._speaking and detector._hangover_left > 0:
        detector._hangover_left -= 1
    else:
        detector._speaking = False
    detector.silent = not detector._speaking
    if detector.ring != NULL:
        note(detector.ring, pcm, n_samples, squares, detector.silent)
    return detector.silent
