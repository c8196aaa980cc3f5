"""Silence detection: the level of each frame, averaged, held through short pauses."""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.math cimport INFINITY, log10, sqrt
from libc.stdint cimport int16_t, int64_t
from libc.stdlib cimport free, malloc

from gcmedia._core.buffer cimport borrow_int16
from gcmedia._core.pcm cimport sum_of_magnitudes, sum_of_squares

from dataclasses import replace

from gcmedia.config import SilenceConfig
from gcmedia.errors import ConfigError

cdef double LEAST_THRESHOLD = 1.0 / 32768.0     # one step of int16; under it only digital silence would be silent
cdef double FULL_SCALE_RMS = sqrt(0.5)          # of a full-scale sine


cdef double level_from(int64_t squares, Py_ssize_t n_samples) noexcept nogil:
    return 10.0 * log10(<double>squares / n_samples / 1073741824.0) if squares else -INFINITY


@cython.final
cdef class SilenceDetector:
    """Tell silence from speech, one frame at a time.

    A frame's level is averaged with those before it, sample by sample, over ``window_frames``.  The stream is
    silent when the average is under the threshold and no hangover is left.  Mean squares are compared exactly, so
    the verdict does not depend on the machine.

    Parameters
    ----------
    config : gcmedia.SilenceConfig, optional
        Its fields can also be given as keywords, which override it.

    Attributes
    ----------
    config : gcmedia.SilenceConfig
        The settings in force; `calibrate` replaces its threshold.
    level_dbov : float
        Level of the last frame alone, ``20 log10(rms / 32768)``; a full-scale sine is -3.01, digital silence -inf.
    silent : bool
        The last verdict; True before the first frame.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    Samples, not octets of a companded stream: decode PCMU and PCMA first.  One detector serves one stream and one
    thread.
    """

    def __cinit__(self, config=None, **settings):
        if config is None:
            config = SilenceConfig(**settings)
        elif not isinstance(config, SilenceConfig):
            raise TypeError(f"config must be a SilenceConfig, not {type(config).__name__}")
        elif settings:
            config = replace(config, **settings)
        self.config = config
        self._squares = config.metric == "rms"
        self._window_frames = config.window_frames
        self._window = <Amount *>malloc(self._window_frames * sizeof(Amount))
        if self._window == NULL:
            raise MemoryError()
        self._hangover_frames = config.hangover_frames
        self._set_threshold()
        self.reset()

    def __dealloc__(self):
        free(self._window)

    cdef void _set_threshold(self):
        cdef double low = self.config.threshold * 32768.0
        cdef double high = low * 10.0 ** (self.config.hysteresis_db / 20.0)
        self._low = low * low if self._squares else low
        self._high = high * high if self._squares else high

    cdef bint push_frame(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        return push_measured(self, pcm, n_samples, sum_of_squares(pcm, n_samples))

    @property
    def level_dbov(self):
        return level_from(self.last_squares, self.last_samples)

    def push(self, pcm):
        """Take the next frame and say whether the stream is silent now.

        Parameters
        ----------
        pcm : buffer of int16, shape (n_samples,), or its octets
            Any length.  No samples are silence, and leave window and hangover as they are.

        Returns
        -------
        bool

        Raises
        ------
        TypeError, ValueError
            If ``pcm`` is no buffer of int16, or ends within a sample.
        """
        cdef Py_buffer view
        borrow_int16(pcm, &view, "pcm")
        if view.len:
            self.push_frame(<const int16_t *>view.buf, view.len // 2)
        else:
            self.silent = True
            self.last_squares = 0
        PyBuffer_Release(&view)
        return self.silent

    def calibrate(self, ambient_pcm, double margin_db=6.0):
        """Set the threshold from audio in which nobody speaks.

        Parameters
        ----------
        ambient_pcm : buffer of int16, shape (n_samples,), or its octets
            Some seconds of the line's own noise; all of it counts alike.
        margin_db : float
            How far over it the threshold is set, 0 to 40 dB.

        Returns
        -------
        float
            The new threshold, in the unit of ``config.threshold``; at least one step of int16 and at most 1.

        Raises
        ------
        gcmedia.ConfigError
            If there are no samples, the margin is out of its range, or the audio is at full scale (as loud as a
            full-scale sine or louder), so that nothing could stand out from it.  The threshold stays as it was.
        TypeError, ValueError
            If ``ambient_pcm`` is no buffer of int16, or ends within a sample.
        """
        cdef Py_buffer view
        cdef int64_t squares, magnitudes
        cdef Py_ssize_t n_samples
        cdef double ambient, rms, threshold
        if not 0.0 <= margin_db <= 40.0:
            raise ConfigError(f"margin_db is {margin_db} dB, not in [0.0, 40.0]")
        borrow_int16(ambient_pcm, &view, "ambient_pcm")
        n_samples = view.len // 2
        squares = sum_of_squares(<const int16_t *>view.buf, n_samples)
        magnitudes = sum_of_magnitudes(<const int16_t *>view.buf, n_samples)
        PyBuffer_Release(&view)
        if n_samples == 0:
            raise ConfigError("ambient_pcm has no samples to calibrate from")
        rms = sqrt(<double>squares / n_samples) / 32768.0
        if rms >= FULL_SCALE_RMS:
            raise ConfigError(f"ambient_pcm is at full scale ({20.0 * log10(rms):.1f} dBov): nothing can be louder")
        ambient = rms if self._squares else <double>magnitudes / n_samples / 32768.0
        threshold = min(max(ambient * 10.0 ** (margin_db / 20.0), LEAST_THRESHOLD), 1.0)
        self.config = replace(self.config, threshold=threshold)
        self._set_threshold()
        return threshold

    def reset(self):
        """Forget the stream; settings and calibration stay."""
        self.last_squares = 0
        self.silent = True
        self._speaking = False
        self._hangover_left = 0
        self._n_frames = self._next = 0
        self._total = self._total_samples = 0
