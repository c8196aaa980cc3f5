"""Loudness: bring quiet talkers to a usual level, and never over a true peak.

The level is measured in blocks of 10 ms, weighted as ITU-R BS.1770 has it.  A block counts as speech when it stands out
from the quietest block of the last seconds, is over an absolute gate, and is not far under the speech before it.  The
gain goes towards ``target - speech level`` during speech only, in steps that are bounded per second; so neither noise
nor pauses are pulled up.

Behind the gain, a limiter looks ahead: what four times as many samples would show as a peak is turned down before it
comes.  The least share over the support of the interpolation and of a running mean is held, released slowly, and
averaged; so every sample of the peak gets no more than the share that the peak allows.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport cos, log2, pi, pow, sin, tan
from libc.stdint cimport int16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from gcmedia._core.approx cimport exp2_of, log2_of, saturate
from gcmedia._core.buffer cimport borrow_samples, borrow_samples_out

from dataclasses import replace

from gcmedia.config import LoudnessConfig
from gcmedia.errors import ConfigError

cdef enum:
    FLOOR_BLOCKS = 150                      # 1.5 s: the quietest block of one to two such spans is the floor
    SPEECH_BLOCKS = 150                     # of the mean over the speech

cdef double DB_PER_OCTAVE = 6.020599913279624
cdef float STANDS_OUT = <float>6.3          # times the floor's power: 8 dB
cdef float AUDIBLE = <float>1e-6            # power of -60 dBov: the absolute gate
cdef float SPEECH_GATE = <float>0.01        # share of the mean's power, -20 dB
cdef float NOTHING = <float>1e-9            # power of -90 dBov: no noise of a line
cdef float LOUDEST = <float>16.0            # of a float sample, so that all powers are finite
cdef float UNIT = <float>(1.0 / 32768.0)
cdef float MARGIN = <float>0.96             # of the ceiling, -0.35 dB: twelve taps do not see every peak in full
cdef float REACH = <float>2.6               # no interpolated value is more times the largest sample than this
cdef float[4][TAPS] PHASES


cdef void _make_phases():
    """Fourfold interpolation: a sinc under a Hann window over 12 samples, each phase with unit gain at 0 Hz."""
    cdef double t, total
    cdef int phase, k
    for phase in range(4):
        total = 0.0
        for k in range(TAPS):
            t = k - (TAPS // 2 - 1) - phase / 4.0
            PHASES[phase][k] = <float>((sin(pi * t) / (pi * t) if t != 0.0 else 1.0) * (0.5 + 0.5 * cos(pi * t / 6.5)))
            total += PHASES[phase][k]
        for k in range(TAPS):
            PHASES[phase][k] = <float>(PHASES[phase][k] / total)


_make_phases()


cdef void _make_weighting(Biquad *shelf, Biquad *highpass, int sample_rate):
    """The two filters of ITU-R BS.1770-4, Annex 1, for any sample rate, from their analogue frequencies."""
    cdef double k = tan(pi * 1681.974450955533 / sample_rate), q = 0.7071752369554196
    cdef double high = pow(10.0, 3.999843853973347 / 20.0), mid = pow(high, 0.4996667741545416)
    cdef double a0 = 1.0 + k / q + k * k
    shelf.b0 = (high + mid * k / q + k * k) / a0
    shelf.b1 = 2.0 * (k * k - high) / a0
    shelf.b2 = (high - mid * k / q + k * k) / a0
    shelf.a1 = 2.0 * (k * k - 1.0) / a0
    shelf.a2 = (1.0 - k / q + k * k) / a0
    k = tan(pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    a0 = 1.0 + k / q + k * k
    highpass.b0, highpass.b1, highpass.b2 = 1.0, -2.0, 1.0
    highpass.a1 = 2.0 * (k * k - 1.0) / a0
    highpass.a2 = (1.0 - k / q + k * k) / a0


cdef inline double _filtered(Biquad *filter, double x) noexcept nogil:
    cdef double y = filter.b0 * x + filter.s1
    filter.s1 = filter.b1 * x - filter.a1 * y + filter.s2
    filter.s2 = filter.b2 * x - filter.a2 * y
    return y


cdef inline void _settle(Biquad *filter) noexcept nogil:
    """Let what has died away be nothing, before it takes numbers too small to be quick."""
    if -1e-15 < filter.s1 < 1e-15 and -1e-15 < filter.s2 < 1e-15:
        filter.s1 = filter.s2 = 0.0


@cython.final
cdef class LoudnessNormalizer:
    """Bring the speech of one talker to a usual level, slowly, and keep its true peaks under a ceiling.

    The state is carried from call to call: any chunking gives the same output, to the bit.

    Parameters
    ----------
    sample_rate : int
        Hz, 8000 to 192000.
    config : gcmedia.LoudnessConfig, optional
        Its fields can also be given as keywords, which override it.

    Attributes
    ----------
    config : gcmedia.LoudnessConfig
    sample_rate : int
        Hz.
    delay_samples : int
        2 ms and 10 samples: 26 at 8 kHz.
    gain_db : float
        Gain in force, 0 at the beginning; the limiter is apart.
    speech_dbov : float
        Loudness of the speech lately; minus infinity before any.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    Loudness is that of ITU-R BS.1770 without its channels and its offset: a sine of 1 kHz at full scale is about -3
    dBov.  One normaliser serves one channel and one thread.

    References
    ----------
    ITU-R BS.1770-4, Annex 1 (weighting) and Annex 2 (true peak by fourfold oversampling).
    """

    def __cinit__(self, int sample_rate=8000, config=None, **settings):
        if not 8000 <= sample_rate <= 192_000:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not in [8000, 192000]")
        if config is None:
            config = LoudnessConfig(**settings)
        elif not isinstance(config, LoudnessConfig):
            raise TypeError(f"config must be a LoudnessConfig, not {type(config).__name__}")
        elif settings:
            config = replace(config, **settings)
        self.config = config
        self.sample_rate = sample_rate
        self._block = sample_rate // 100
        _make_weighting(&self._shelf, &self._highpass, sample_rate)
        self._target = config.target_dbov / DB_PER_OCTAVE
        self._least_gain = -config.max_cut_db / DB_PER_OCTAVE
        self._most_gain = config.max_gain_db / DB_PER_OCTAVE
        self._up = config.rise_db_per_s / 100.0 / DB_PER_OCTAVE
        self._down = config.fall_db_per_s / 100.0 / DB_PER_OCTAVE
        self._ceiling = pow(10.0, config.ceiling_dbov / 20.0) * MARGIN
        self._lookahead = sample_rate // 500
        self.delay_samples = self._lookahead + TAPS - 2
        self._hold = self.delay_samples + 1
        self._release = 1.0 / (0.05 * sample_rate)
        self._samples = <float *>calloc(2 * self._hold + self._lookahead, sizeof(float))
        if self._samples == NULL:
            raise MemoryError
        self._asked = self._samples + self._hold
        self._shares = self._asked + self._hold
        self._sample_size = 2
        self.clear()

    def __dealloc__(self):
        free(self._samples)

    cdef void clear(self) noexcept nogil:
        cdef int i
        self._shelf.s1 = self._shelf.s2 = self._highpass.s1 = self._highpass.s2 = 0.0
        self._into = self._floor_blocks = 0
        self._power = 0.0
        self._floor = self._floor_before = LOUDEST
        self._speech = self._speech_blocks = 0
        self._gain_octaves = 0
        self._gain = 1
        self._gain_step = 0
        memset(self._samples, 0, self._hold * sizeof(float))
        for i in range(self._hold):
            self._asked[i] = 1
        for i in range(self._lookahead):
            self._shares[i] = 1
        self._share_sum = self._lookahead
        self._share = 1
        self._at = self._share_at = 0
        self._calm = self._hold

    @property
    def gain_db(self):
        """Gain in force."""
        return self._gain_octaves * DB_PER_OCTAVE

    @property
    def speech_dbov(self):
        """Loudness of the speech lately."""
        return 0.5 * DB_PER_OCTAVE * log2(self._speech) if self._speech > 0 else -float("inf")

    cdef void _end_block(self) noexcept nogil:
        """Judge the block that is complete, and set the gain for the next one."""
        cdef float power = <float>(self._power / self._block)
        cdef float floor, share, wanted, reached
        self._power = 0.0
        _settle(&self._shelf)
        _settle(&self._highpass)
        if power > NOTHING and power < self._floor:
            self._floor = power
        self._floor_blocks += 1
        if self._floor_blocks == FLOOR_BLOCKS:
            self._floor_blocks = 0
            self._floor_before = self._floor
            self._floor = LOUDEST
        floor = min(self._floor, self._floor_before)
        self._gain = exp2_of(self._gain_octaves)
        self._gain_step = 0
        if power < AUDIBLE or power < floor * STANDS_OUT or power < self._speech * SPEECH_GATE:
            # A talker who has become quiet for good: what was the mean falls under the gate's reach in some seconds.
            if power >= AUDIBLE and power >= floor * STANDS_OUT:
                self._speech -= self._speech * <float>0.02
            return
        if self._speech_blocks < SPEECH_BLOCKS:
            self._speech_blocks += 1
        share = 1 / self._speech_blocks
        self._speech += (power - self._speech) * share
        wanted = self._target - <float>0.5 * log2_of(self._speech)
        wanted = wanted if wanted < self._most_gain else self._most_gain
        wanted = wanted if wanted > self._least_gain else self._least_gain
        reached = wanted - self._gain_octaves
        reached = reached if reached < self._up else self._up
        reached = reached if reached > -self._down else -self._down
        self._gain_octaves += reached
        self._gain_step = (exp2_of(self._gain_octaves) - self._gain) / self._block

    cdef float _next(self, float x) noexcept nogil:
        """One sample in, one out."""
        cdef double weighted
        x = x if x < LOUDEST else (LOUDEST if x >= LOUDEST else <float>0.0)     # what is no number is nothing
        x = x if x > -LOUDEST else -LOUDEST
        weighted = _filtered(&self._highpass, _filtered(&self._shelf, x))
        self._power += weighted * weighted
        self._gain += self._gain_step
        x *= self._gain
        self._into += 1
        if self._into == self._block:
            self._into = 0
            self._end_block()
        return self._limited(x)

    cdef float _limited(self, float x) noexcept nogil:
        cdef float magnitude = x if x >= 0 else -x
        cdef float peak, value, asked = 1, least, out
        cdef double share
        cdef int phase, k, at
        self._samples[self._at] = x
        # Only where one of the samples is near the ceiling can anything between them be over it.
        if magnitude * REACH > self._ceiling:
            self._calm = 0
        if self._calm < TAPS:
            peak = 0
            for phase in range(4):
                value = 0
                at = self._at
                for k in range(TAPS):
                    value += PHASES[phase][k] * self._samples[at]
                    at = at - 1 if at else self._hold - 1
                value = value if value >= 0 else -value
                peak = value if value > peak else peak
            at = self._at - TAPS // 2 + 1           # the sample at phase 0, exactly
            value = self._samples[at if at >= 0 else at + self._hold]
            value = value if value >= 0 else -value
            peak = value if value > peak else peak
            asked = self._ceiling / peak if peak > self._ceiling else <float>1.0
        self._asked[self._at] = asked
        self._at = self._at + 1 if self._at + 1 < self._hold else 0
        out = self._samples[self._at]               # delay_samples ago
        least = 1
        if self._calm < self._hold + TAPS:
            self._calm += 1
            for k in range(self._hold):
                least = self._asked[k] if self._asked[k] < least else least
        share = self._share + (1.0 - self._share) * self._release
        share = share if share < 0.99999 else 1.0
        self._share = least if least < share else share
        value = <float>self._share                  # what is added is taken off again
        self._share_sum += <double>value - self._shares[self._share_at]
        self._shares[self._share_at] = value
        self._share_at = self._share_at + 1 if self._share_at + 1 < self._lookahead else 0
        if self._share == 1 and self._share_sum > self._lookahead - 1e-6:
            self._share_sum = self._lookahead       # nothing is held back any more, exactly
        return out * <float>(self._share_sum / self._lookahead)

    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(n_samples):
            dst[i] = saturate(self._next(<float>src[i] * UNIT) * <float>32768.0)

    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(n_samples):
            dst[i] = self._next(src[i])

    cdef void _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil:
        if sample_size == 2:
            self.run(<const int16_t *>src, <int16_t *>dst, n_samples)
        else:
            self.run_float(<const float *>src, <float *>dst, n_samples)

    def process(self, pcm, out=None):
        """Level the next samples of the stream.

        Parameters
        ----------
        pcm : buffer of int16 or float32, shape (n_samples,)
            Any length; plain octets are int16.  A float32 that is no number counts as 0.
        out : writable buffer of the same type and size, optional
            Filled and returned when given; it may be ``pcm`` itself, but not overlap it otherwise.

        Returns
        -------
        bytes or out
            As many samples of the same type, ``delay_samples`` later: the first ones are zeros.

        Raises
        ------
        TypeError, ValueError
            If ``pcm`` or ``out`` is no buffer of the right kind or size.
        """
        cdef Py_buffer source, target
        cdef Py_ssize_t n_samples
        cdef int sample_size = borrow_samples(pcm, &source, "pcm")
        cdef void *samples
        try:
            n_samples = source.len // sample_size
            if out is None:
                result = PyBytes_FromStringAndSize(NULL, source.len)
                samples = PyBytes_AS_STRING(result)
            else:
                borrow_samples_out(out, &target, n_samples, sample_size)
                result = out
                samples = target.buf
            self._sample_size = sample_size
            with nogil:
                self._run_any(source.buf, samples, n_samples, sample_size)
            if out is not None:
                PyBuffer_Release(&target)
            return result
        finally:
            PyBuffer_Release(&source)

    def flush(self):
        """End the stream: the last ``delay_samples`` that are still to come, and a fresh start.

        Returns
        -------
        bytes
            Samples of the type that `process` was last given, int16 if there was none.
        """
        zeros = bytes(self.delay_samples * self._sample_size)
        result = PyBytes_FromStringAndSize(NULL, len(zeros))
        self._run_any(PyBytes_AS_STRING(zeros), PyBytes_AS_STRING(result), self.delay_samples, self._sample_size)
        self.clear()
        return result

    def reset(self):
        """Forget the stream and the talker; what has not come out yet is dropped."""
        self.clear()
