"""Concealment: fill what never came.

The pitch method is of the kind of ITU-T G.711 Appendix I: the period of the voice is the lag at which the last 10 ms
resemble what came before; the last period is repeated, from 10 ms on the last two and from 20 ms on the last three, so
that it does not buzz; after 10 ms it is turned down.  It differs where the appendix delays its output by 3.75 ms, to
overlap the end of the good audio:

* The repetition begins with its distance to the last good sample added, which fades within 3.75 ms.
* When the audio behind the hole is known, and in a jitter buffer it always is, that is extrapolated backwards in
  the same way, and the hole goes over from the one to the other.  So nothing that was received is altered.
* When it is not known, the fill goes on under the first good samples and fades there.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport sqrt
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from gcmedia._core.approx cimport saturate
from gcmedia._core.buffer cimport borrow_int16
from gcmedia._core.pcm cimport sum_of_squares

from gcmedia.errors import ConfigError

cdef tuple METHODS = ("silence", "repeat", "pitch")

cdef enum:
    FADE_MS = 60                        # of the repeat method
    SHORT_MS = 120                      # holes with both ends known up to this are bridged

cdef float HALF = 0.5
cdef float BACKGROUND_BIAS = 1.25       # the quietest of some hundred blocks of noise is quieter than their mean
cdef float NOISE_SCALE = 2.4494897 / 65536.0    # the sum of two even distributions over 2**16 steps, to RMS 1
cdef uint32_t SEED = 0x9E3779B9


cdef void _reverse(int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    cdef Py_ssize_t i
    cdef int16_t kept
    for i in range(n_samples // 2):
        kept = pcm[i]
        pcm[i] = pcm[n_samples - 1 - i]
        pcm[n_samples - 1 - i] = kept


cdef int64_t _product(const int16_t *a, const int16_t *b, Py_ssize_t n_samples) noexcept nogil:
    """Sum of products; exact, so that every machine finds the same period."""
    cdef int64_t total = 0
    cdef Py_ssize_t i
    for i in range(n_samples):
        total += <int32_t>a[i] * b[i]
    return total


@cython.final
cdef class Concealer:
    """Fill missing samples so that a hole neither clicks nor drones.

    ``"pitch"`` repeats the last period of the voice, turns it down by 20 % per 10 ms after the first 10 ms, to nothing
    at 60 ms, and goes over to comfort noise at the level of the background; it is of the kind of G.711 Appendix I.
    ``"repeat"`` plays the last 20 ms again and again, fading linearly to nothing within 60 ms.  ``"silence"`` fills
    with zeros, and so do the others before any audio has come.

    Parameters
    ----------
    method : str
        ``"pitch"``, ``"repeat"`` or ``"silence"``.
    sample_rate : int
        Hz, 1000 to 192000.

    Raises
    ------
    gcmedia.ConfigError
        If an argument is out of its range.

    Notes
    -----
    No delay: as many samples come out of `push` and `conceal` as went in or were asked for, at once, and how they are
    cut makes no difference.  60 ms of audio are kept.  Comfort noise is white, begins once half a second has been
    heard, and follows the quietest 20 ms of the last 1.5 to 3 s.  One concealer serves one stream and one thread.

    References
    ----------
    ITU-T G.711 Appendix I (09/99).
    """

    def __cinit__(self, str method not None="pitch", int sample_rate=8000):
        if method not in METHODS:
            raise ConfigError(f"method is {method!r}, not one of {', '.join(sorted(METHODS))}")
        if not 1000 <= sample_rate <= 192_000:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not in [1000, 192000]")
        self.method = method
        self.sample_rate = sample_rate
        self._code = <Method>(<int>METHODS.index(method))
        self._block = sample_rate // 50
        if self._code != SILENCE:               # which remembers nothing
            self._capacity = HISTORY_BLOCKS * self._block
            self._history = <int16_t *>calloc(self._capacity + self._block, sizeof(int16_t))
            if self._history == NULL:
                raise MemoryError
            self._ahead = self._history + self._capacity
        self.clear()

    def __dealloc__(self):
        free(self._history)

    cdef void clear(self) noexcept nogil:
        if self._history != NULL:
            memset(self._history, 0, self._capacity * sizeof(int16_t))
        self._at = self._block_samples = self._floor_blocks = 0
        self._heard = self._filled = self._block_squares = 0
        self._least = self._least_before = NONE_YET
        self._total = -1
        self._to_join = self._joined = 0
        self._random = SEED

    cdef void good(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        cdef Py_ssize_t n
        if self._code == SILENCE:
            return
        if n_samples and self._filled:
            self._filled = 0
            self._total = -1
            self._block_samples = 0
            self._block_squares = 0
        while n_samples > 0:
            n = min(n_samples, <Py_ssize_t>(self._block - self._block_samples), <Py_ssize_t>(self._capacity - self._at))
            memcpy(self._history + self._at, pcm, n * sizeof(int16_t))
            self._at += <int>n
            if self._at == self._capacity:
                self._at = 0
            self._heard += n
            self._block_squares += sum_of_squares(pcm, n)
            self._block_samples += <int>n
            if self._block_samples == self._block:
                note_block(self, self._block_squares)
                self._block_samples = 0
                self._block_squares = 0
            pcm += n
            n_samples -= n

    cdef void _begin(self) noexcept nogil:
        """A hole begins: lay the history out in order, find the period and the level of the background."""
        cdef int64_t least
        if self._at:                    # three reversals turn the ring
            _reverse(self._history, self._at)
            _reverse(self._history + self._at, self._capacity - self._at)
            _reverse(self._history, self._capacity)
            self._at = 0
        self._to_join = 0
        self._total = -1
        if self._code != PITCH:
            return
        self._period = self._best_period(
            self._history + self._capacity - 1, self._capacity, self.sample_rate // 100,
            self.sample_rate * 15 // 1000, -1
        )
        self._fade = <float>20.0 / self.sample_rate                     # 20 % per 10 ms
        self._step = self._history[self._capacity - 1] - _periods(
            self._history + self._capacity, 1, self._period, 1, self._period - 1, max(self._period // 4, 1)
        )
        self._background = 0
        least = min(self._least, self._least_before)
        if 2 * self._heard >= self.sample_rate and least != NONE_YET:
            self._background = <float>sqrt(BACKGROUND_BIAS * <double>least / self._block)

    cdef int _best_period(self, const int16_t *pcm, Py_ssize_t n_samples, int window, int longest,
                          int sign) noexcept nogil:
        """The lag at which ``window`` samples resemble those beyond most, by normalised cross-correlation.

        ``pcm`` is the sample next to the hole, the others lie before it (``sign`` -1) or behind (1).  0 when there
        are too few of them.
        """
        cdef int shortest = max(self.sample_rate * 5 // 1000, 1)
        cdef int lag, best = 0
        cdef double c, e, score, best_score = -1.0
        cdef const int16_t *near = pcm if sign > 0 else pcm - (window - 1)
        cdef const int16_t *far
        longest = <int>min(<Py_ssize_t>longest, n_samples - window)
        for lag in range(shortest, longest + 1):
            far = near + sign * lag
            c = <double>_product(near, far, window)
            e = <double>sum_of_squares(far, window)
            score = c / sqrt(e) if c > 0.0 else 0.0
            if score > best_score:
                best_score = score
                best = lag
        return best

    cdef float _forward(self, int64_t i) noexcept nogil:
        """Sample i of the repetition, before it is turned down."""
        cdef int ten_ms = self.sample_rate // 100
        cdef int stage = 1 if i < ten_ms else 2 if i < 2 * ten_ms else 3
        cdef int start = (stage - 1) * ten_ms
        cdef int q = max(self._period // 4, 1)
        cdef const int16_t *end = self._history + self._capacity
        cdef float value = _periods(end, 1, self._period, stage, (start % self._period) + i - start, q)
        cdef float w, before
        if stage > 1 and i - start < q:         # from the shorter repetition into the longer one
            before = _periods(
                end, 1, self._period, stage - 1,
                ((start - ten_ms) % self._period) + i - start + ten_ms, q
            )
            w = (<float>(i - start) + HALF) / q
            value = before + (value - before) * w
        return value

    cdef float _backward(self, int64_t distance) noexcept nogil:
        """What lies so many samples, counted from 0, before the audio behind the hole, before it is turned down."""
        cdef int q = max(self._back_period // 4, 1)
        if self._back_period + q > self._n_ahead:
            q = 0
        return _periods(self._ahead - 1, -1, self._back_period, 1, distance, q)

    cdef float _gain(self, int64_t i) noexcept nogil:
        cdef int hold = self.sample_rate // 100
        cdef float gain
        if i <= hold:
            return 1
        gain = 1 - self._fade * <float>(i - hold)
        return gain if gain > 0 else 0

    cdef float _noise(self) noexcept nogil:
        """White noise of the background's level."""
        cdef uint32_t first, second
        first = self._random = self._random * <uint32_t>1664525 + <uint32_t>1013904223
        second = self._random = self._random * <uint32_t>1664525 + <uint32_t>1013904223
        return (<float>(first >> 16) + <float>(second >> 16) - <float>65535.0) * NOISE_SCALE * self._background

    cdef void look_ahead(self, int64_t n_left, const int16_t *following, Py_ssize_t n_following) noexcept nogil:
        cdef int64_t bridged = self.sample_rate * SHORT_MS // 1000
        if self._code != PITCH or n_left <= 0:
            return
        if self._filled == 0:
            self._begin()
        self._n_ahead = <int>min(n_following, <Py_ssize_t>self._block)
        memcpy(self._ahead, following, self._n_ahead * sizeof(int16_t))
        if self._n_ahead == self._block:
            self._back_period = self._best_period(
                self._ahead, self._n_ahead, self.sample_rate // 200, self.sample_rate * 15 // 1000, 1
            )
        elif self._n_ahead >= self.sample_rate // 100:      # too short for a search: the voice goes on as it was
            self._back_period = min(self._period, self._n_ahead)
        else:
            return
        if self._filled == 0 and n_left <= bridged:
            self._fade = <float>10.0 / self.sample_rate
        self._total = self._filled + n_left
        self._join = <int>min(bridged, n_left)
        self._back_step = self._ahead[0] - self._backward(self._back_period - 1)

    cdef bint fill(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        if n_samples == 0:
            return True
        if self._code == SILENCE or (self._heard == 0 and self._total < 0):
            memset(pcm, 0, n_samples * sizeof(int16_t))
            return True
        if self._filled == 0 and self._total < 0:
            self._begin()
        if self._code == REPEAT:
            return self._fill_by_repeat(pcm, n_samples)
        return self._fill_by_pitch(pcm, n_samples)

    cdef bint _fill_by_repeat(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        cdef int64_t known = min(self._heard, <int64_t>self._block)
        cdef int64_t fade = self.sample_rate * FADE_MS // 1000
        cdef const int16_t *last = self._history + self._capacity - known
        cdef Py_ssize_t i = 0
        cdef int32_t heard = 0
        while i < n_samples and self._filled < fade:
            pcm[i] = <int16_t>(last[self._filled % known] * (fade - self._filled) // fade)  # truncated: to silence
            heard |= pcm[i]
            self._filled += 1
            i += 1
        memset(pcm + i, 0, (n_samples - i) * sizeof(int16_t))
        self._filled += n_samples - i
        return heard == 0

    cdef bint _fill_by_pitch(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        cdef int64_t fade_in = max(self.sample_rate * 15 // 4000, 1)        # 3.75 ms
        cdef int64_t i, distance
        cdef float value, other, gain, back_gain, w
        cdef bint quiet = True
        cdef Py_ssize_t k
        for k in range(n_samples):
            i = self._filled + k
            gain = self._gain(i)
            value = 0
            if gain > 0:
                value = self._forward(i)
                if i < fade_in:
                    value += self._step * (1 - (<float>i + HALF) / fade_in)
                value *= gain
            if 0 <= self._total <= i + self._join and i < self._total:
                distance = self._total - 1 - i
                w = 1 - (<float>distance + HALF) / self._join
                other = 0
                back_gain = self._gain(distance)
                if back_gain > 0:
                    other = self._backward(distance)
                    if distance < fade_in:
                        other += self._back_step * (1 - (<float>distance + HALF) / fade_in)
                    other *= back_gain
                value += (other - value) * w
                gain += (back_gain - gain) * w
            if gain > 0:
                quiet = quiet and value == 0
            if self._background > 0 and gain < 1:
                value += self._noise() * (1 - gain)
            pcm[k] = saturate(value)
        self._filled += n_samples
        return quiet

    cdef void _smooth(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
        """Let the fill fade under the first good samples, which ``pcm`` holds."""
        cdef Py_ssize_t k
        cdef float w, fill
        for k in range(min(n_samples, <Py_ssize_t>(self._to_join - self._joined))):
            w = (<float>self._joined + HALF) / self._to_join
            fill = self._forward(self._joining) * self._gain(self._joining)
            pcm[k] = saturate(fill + (<float>pcm[k] - fill) * w)
            self._joined += 1
            self._joining += 1

    def push(self, pcm):
        """Take good audio and hand it through.

        Parameters
        ----------
        pcm : buffer of int16, shape (n_samples,), or its octets

        Returns
        -------
        bytes
            The same samples.  With ``"pitch"``, and only if `conceal` did not know what follows, the first 3.75 to
            10 ms behind a hole are mixed with the fill, which fades there: 4 ms longer for each 10 ms of the hole.

        Raises
        ------
        TypeError, ValueError
            If ``pcm`` is no buffer of int16, or ends within a sample.
        """
        cdef Py_buffer view
        cdef int64_t longest = self.sample_rate // 100
        borrow_int16(pcm, &view, "pcm")
        try:
            handed = PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
            if self._code == PITCH and view.len:
                if self._filled and self._total < 0 and self._heard:
                    self._joining = self._filled
                    self._joined = 0
                    self._to_join = <int>min(
                        self.sample_rate * 15 // 4000 + self._filled // longest * (self.sample_rate // 250), longest
                    )
                self._smooth(<int16_t *>PyBytes_AS_STRING(handed), view.len // 2)
            self.good(<const int16_t *>view.buf, view.len // 2)
            return handed
        finally:
            PyBuffer_Release(&view)

    def conceal(self, Py_ssize_t n_samples, following=None):
        """Fill the next ``n_samples`` of a hole.

        Parameters
        ----------
        n_samples : int
        following : buffer of int16, shape (n_following,), or its octets, optional
            The audio behind the hole, which then ends with these samples: 20 ms of it are looked at.  With less, its
            period is taken for that before the hole; less than 10 ms are not enough.  Holes up to 120 ms are bridged
            from both sides, which sounds better by far.

        Returns
        -------
        bytes
            int16 samples.

        Raises
        ------
        TypeError, ValueError
            If ``n_samples`` is negative, or ``following`` no buffer of int16, or ends within a sample.
        """
        cdef Py_buffer view
        if n_samples < 0:
            raise ValueError(f"n_samples is {n_samples}, less than 0")
        pcm = PyBytes_FromStringAndSize(NULL, 2 * n_samples)
        if following is not None:
            borrow_int16(following, &view, "following")
            self.look_ahead(n_samples, <const int16_t *>view.buf, view.len // 2)
            PyBuffer_Release(&view)
        self.fill(<int16_t *>PyBytes_AS_STRING(pcm), n_samples)
        return pcm

    def reset(self):
        """Forget the audio heard so far."""
        self.clear()


cdef inline float _periods(const int16_t *end, int sign, int period, int n_periods, int64_t i, int q) noexcept nogil:
    """Sample i of ``n_periods`` that end before ``end``, repeated; backwards in time when ``sign`` is -1.

    The last q of them go over into what lies before the first, so that the repetition has no corner.
    """
    cdef int64_t length = <int64_t>period * n_periods
    cdef int64_t j = i % length
    cdef float value = end[sign * (j - length)]
    cdef float w
    if j >= length - q:
        w = (<float>(j - length + q) + HALF) / q
        value += (<float>end[sign * (j - 2 * length)] - value) * w
    return value
