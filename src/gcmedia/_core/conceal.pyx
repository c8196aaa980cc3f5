"""Concealment: fill what never came."""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from gcmedia._core.buffer cimport borrow_int16

from gcmedia.errors import ConfigError

cdef enum:
    PERIOD_MS = 20
    FADE_MS = 60


@cython.final
cdef class Concealer:
    """Fill missing samples so that a hole neither clicks nor drones.

    ``"repeat"`` plays the last 20 ms again and again, fading linearly to nothing within 60 ms of the hole's
    beginning; after that, and before any audio has come, the fill is zeros.  ``"silence"`` fills with zeros.
    How a hole is cut into fills makes no difference.  Received audio is only looked at, never smoothed.

    Parameters
    ----------
    method : str
        ``"repeat"`` or ``"silence"``.
    sample_rate : int
        Hz, 1000 to 192000.

    Raises
    ------
    gcmedia.ConfigError
        If an argument is out of its range.

    Notes
    -----
    No delay.  20 ms of audio are kept.  One concealer serves one stream and one thread.
    """

    def __cinit__(self, str method not None="repeat", int sample_rate=8000):
        if method not in ("repeat", "silence"):
            raise ConfigError(f"method is {method!r}, not one of repeat, silence")
        if not 1000 <= sample_rate <= 192_000:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not in [1000, 192000]")
        self.method = method
        self.sample_rate = sample_rate
        self._repeats = method == "repeat"
        self._period = sample_rate * PERIOD_MS // 1000
        self._fade = sample_rate * FADE_MS // 1000
        self._last = <int16_t *>calloc(self._period, sizeof(int16_t))
        if self._last == NULL:
            raise MemoryError
        self.clear()

    def __dealloc__(self):
        free(self._last)

    cdef void good(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        cdef int fresh = <int>n_samples if n_samples < self._period else self._period
        cdef int kept = self._known if self._known < self._period - fresh else self._period - fresh
        if fresh == 0:
            return
        if kept:
            memmove(self._last, self._last + self._known - kept, kept * sizeof(int16_t))
        memcpy(self._last + kept, pcm + n_samples - fresh, fresh * sizeof(int16_t))
        self._known = kept + fresh
        self._filled = 0

    cdef bint fill(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        cdef Py_ssize_t i = 0
        cdef int32_t heard = 0
        if self._repeats and self._known:
            while i < n_samples and self._filled < self._fade:
                # at most 2**15 * 11520, so 32 bits do; truncation is towards silence
                pcm[i] = <int16_t>(
                    self._last[self._filled % self._known] * <int32_t>(self._fade - self._filled) // self._fade
                )
                heard |= pcm[i]
                self._filled += 1
                i += 1
        memset(pcm + i, 0, (n_samples - i) * sizeof(int16_t))
        return heard == 0

    cdef void clear(self) noexcept nogil:
        self._known = 0
        self._filled = 0

    def push(self, pcm):
        """Take good audio and hand it through as it is.

        Parameters
        ----------
        pcm : buffer of int16, shape (n_samples,), or its octets

        Returns
        -------
        bytes
            The same samples.

        Raises
        ------
        TypeError, ValueError
            If ``pcm`` is no buffer of int16, or ends within a sample.
        """
        cdef Py_buffer view
        borrow_int16(pcm, &view, "pcm")
        try:
            self.good(<const int16_t *>view.buf, view.len // 2)
            return PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def conceal(self, Py_ssize_t n_samples):
        """Fill the next ``n_samples`` of a hole.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        bytes
            int16 samples.

        Raises
        ------
        ValueError
            If ``n_samples`` is negative.
        """
        if n_samples < 0:
            raise ValueError(f"n_samples is {n_samples}, less than 0")
        pcm = PyBytes_FromStringAndSize(NULL, 2 * n_samples)
        self.fill(<int16_t *>PyBytes_AS_STRING(pcm), n_samples)
        return pcm

    def reset(self):
        """Forget the audio heard so far."""
        self.clear()
