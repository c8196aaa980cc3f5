"""Silence detection: the level of each frame, averaged, held through short pauses."""

from libc.stdint cimport int16_t

cdef class SilenceDetector:
    cdef readonly object config             #: gcmedia.SilenceConfig
    cdef readonly double level_dbov         # of the last frame; 20 log10(rms / 32768), -inf for digital silence
    cdef readonly bint silent               # the last verdict
    # Take one frame, return whether the stream is silent now.  No frame is empty.
    cdef bint push_frame(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
