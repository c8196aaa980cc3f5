"""Dynamics: the compressor of Web Audio, with the knee, the adaptive release and the look-ahead that Chromium gives it.

Static curve for a magnitude x (shares of full scale), with threshold T, end of the knee W = T + knee and ratio R::

    x <= T       y = x
    T < x < W    y = T + (1 - exp(-k (x - T))) / k          k such that the knee ends with the slope 1/R
    x >= W       1/R decibels per decibel

Its gain y / x goes through a detector, which falls at once and rises within some 2.5 ms.  Every 32 samples the gain in
force is aimed at where the detector is: downwards exponentially, the faster the further, by ``attack_s``; upwards by
5 dB in a share of ``release_s``, which is smaller the further it has to go.  What is applied is its sine, so that it
has no corners, times the make-up gain, to the samples of ``lookahead_s`` ago.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport exp, log10, pow, sqrt
from libc.stdint cimport int16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from gcmedia._core.approx cimport exp2_of, log2_of, saturate
from gcmedia._core.buffer cimport borrow_samples, borrow_samples_out

from dataclasses import replace

from gcmedia.config import CompressorConfig
from gcmedia.errors import ConfigError

cdef float DB_PER_OCTAVE = <float>6.020599913279624     # 20 log10(2)
cdef float OCTAVES_PER_DB = <float>0.16609640474436813
cdef float OCTAVES_PER_NEPER = <float>1.4426950408889634
cdef float UNIT = <float>(1.0 / 32768.0)
cdef float INAUDIBLE = <float>1e-4                      # not turned down, whatever the curve says
cdef float LOUDEST = <float>1e6                         # so that all squares and logarithms are finite
cdef double LEAST_ATTACK_S = 0.001
cdef double DETECTOR_RELEASE_S = 0.0025
cdef float LEAST_DETECTOR_DB = 2.0                      # it rises at least so much in that time


cdef double _linear(double db) noexcept:
    return pow(10.0, db / 20.0)


cdef double _knee(double x, double threshold, double k) noexcept:
    return x if x < threshold else threshold + (1.0 - exp(-k * (x - threshold))) / k


cdef float _knee_db(float x, float threshold, float k) noexcept:
    """What the knee makes of x, in dB, each step rounded as single precision has it."""
    cdef float fallen = <float>exp(-k * (x - threshold))
    cdef float y = threshold + (<float>1.0 - fallen) / k
    return <float>20.0 * <float>log10(y)


cdef double _find_bend(object config):
    """The k for which the knee ends with the slope 1/ratio.

    Chromium halves fifteen times, in single precision, where the slope is a difference of two nearly equal logarithms:
    its k is not the exact one, and the curve is to be Chromium's.
    """
    cdef float threshold_db = config.threshold_db, knee_db = config.knee_db
    cdef float x = <float>pow(10.0, <float>0.05 * (threshold_db + knee_db))
    cdef float threshold = <float>pow(10.0, <float>0.05 * threshold_db)
    cdef float wanted = <float>(1.0 / config.ratio)
    cdef float further = <float>(x * 1.001)
    cdef float run_db = <float>20.0 * <float>log10(further) - <float>20.0 * <float>log10(x)
    cdef float low = <float>0.1, high = <float>10_000.0, k = <float>5.0, slope
    for _ in range(15):
        slope = 1
        if x >= threshold:
            slope = (_knee_db(further, threshold, k) - _knee_db(x, threshold, k)) / run_db
        if slope < wanted:
            high = k
        else:
            low = k
        k = <float>sqrt(low * high)
    return k


cdef double _curve_db(object config, double k, double level_db):
    """Level that the static curve makes of ``level_db``."""
    cdef double knee_end_db = config.threshold_db + config.knee_db
    cdef double threshold = _linear(config.threshold_db)
    if level_db < knee_end_db:
        return 20.0 * log10(_knee(_linear(level_db), threshold, k))
    return 20.0 * log10(_knee(_linear(knee_end_db), threshold, k)) + (level_db - knee_end_db) / config.ratio


cdef void _find_gains(const CompressorCurve *shared, const float *x, float *gain, float *rise, int n) noexcept nogil:
    """Gain that the static curve asks for at each sample, and how fast the detector would rise to it."""
    cdef CompressorCurve curve = shared[0]          # a copy, which no store can change: so this becomes vector code
    cdef float per_bend = 1 / curve.bend, nepers = curve.bend * OCTAVES_PER_NEPER
    cdef float per_sample = OCTAVES_PER_DB / curve.detector_s
    cdef float least = INAUDIBLE, most = LOUDEST, least_octaves = LEAST_DETECTOR_DB * per_sample
    cdef float magnitude, inside, bent, straight, octaves
    cdef int i
    for i in range(n):
        magnitude = x[i] if x[i] >= 0 else -x[i]
        magnitude = magnitude if magnitude > least else least       # what is no number, too
        magnitude = magnitude if magnitude < most else most
        inside = magnitude - curve.threshold
        inside = inside if inside > 0 else <float>0.0
        inside = inside * nepers
        inside = inside if inside < <float>100.0 else <float>100.0
        bent = (curve.threshold + (1 - exp2_of(-inside)) * per_bend) / magnitude
        straight = exp2_of(curve.straight + curve.slope * log2_of(magnitude))
        bent = bent if magnitude < curve.knee_end else straight
        bent = bent if magnitude > curve.threshold else <float>1.0
        gain[i] = bent if magnitude > least else <float>1.0
    for i in range(n):
        octaves = log2_of(gain[i]) * (-DB_PER_OCTAVE * per_sample)
        octaves = octaves if octaves > least_octaves else least_octaves
        octaves = octaves if octaves < 1 else <float>1.0
        rise[i] = exp2_of(octaves) - 1


cdef float _asin(float x) noexcept nogil:
    """Inverse sine of 0 to 1, as a share of the right angle; error below 3e-8 (Abramowitz and Stegun 4.4.46)."""
    cdef double p = -0.0012624911
    p = p * x + 0.0066700901
    p = p * x - 0.0170881256
    p = p * x + 0.0308918810
    p = p * x - 0.0501743046
    p = p * x + 0.0889789874
    p = p * x - 0.2145988016
    p = p * x + 1.5707963050
    return <float>(1.0 - sqrt(1.0 - <double>x) * p / 1.5707963267948966)


cdef inline float _sine(float x) noexcept nogil:
    """Sine of x right angles, 0 to 1; error below 2e-7."""
    cdef float square = x * x
    cdef float p = <float>-3.5435e-06
    p = p * square + <float>0.00016044118
    p = p * square - <float>0.004681754
    p = p * square + <float>0.07969263
    p = p * square - <float>0.6459641
    p = p * square + <float>1.5707964
    return x * p


@cython.final
cdef class Compressor:
    """Turn loud passages down by a soft knee, as Web Audio's DynamicsCompressorNode does in Chromium.

    The state is carried from call to call: any chunking gives the same output, to the bit, and so does any machine.
    int16 results saturate; float32 results may leave [-1, 1].

    Parameters
    ----------
    sample_rate : int
        Hz, 1000 to 192000.
    config : gcmedia.CompressorConfig, optional
        Its fields can also be given as keywords, which override it.

    Attributes
    ----------
    config : gcmedia.CompressorConfig
    sample_rate : int
        Hz.
    delay_samples : int
        The look-ahead in whole samples; 48 at 8 kHz unless set otherwise.
    makeup_db : float
        Make-up gain in force; unless set, 0.6 times the gain that the curve takes from full scale.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    The gain takes some tenths of a second to come up at the beginning, as the specification has the detector start at
    nothing.  Attack times under 1 ms count as that.  One compressor serves one channel and one thread.

    References
    ----------
    W3C Web Audio API 1.0, section 1.19, for parameters, defaults, detector and make-up.  What it leaves open (the shape
    of the knee, the rates of attack and release, the 6 ms of look-ahead) is as in Chromium.
    """

    def __cinit__(self, int sample_rate=8000, config=None, **settings):
        cdef double k, knee_end_db
        if not 1000 <= sample_rate <= 192_000:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not in [1000, 192000]")
        if config is None:
            config = CompressorConfig(**settings)
        elif not isinstance(config, CompressorConfig):
            raise TypeError(f"config must be a CompressorConfig, not {type(config).__name__}")
        elif settings:
            config = replace(config, **settings)
        self.config = config
        self.sample_rate = sample_rate
        self.delay_samples = <int>(config.lookahead_s * sample_rate + 1e-6)
        self._delayed = <float *>calloc(max(self.delay_samples, 1), sizeof(float))
        if self._delayed == NULL:
            raise MemoryError
        k = _find_bend(config)
        knee_end_db = config.threshold_db + config.knee_db
        self._curve.threshold = _linear(config.threshold_db)
        self._curve.knee_end = _linear(knee_end_db)
        self._curve.bend = k
        self._curve.slope = 1.0 / config.ratio - 1.0
        self._curve.straight = (_curve_db(config, k, knee_end_db) - knee_end_db / config.ratio) / 20.0 / log10(2.0)
        self._curve.detector_s = DETECTOR_RELEASE_S * sample_rate
        self._curve.attack_s = max(config.attack_s, LEAST_ATTACK_S) * sample_rate
        self._curve.release_s = config.release_s * sample_rate
        self._curve.makeup = _linear(self.makeup_db)
        self._sample_size = 2
        self.clear()

    def __dealloc__(self):
        free(self._delayed)

    @property
    def makeup_db(self):
        """Make-up gain in force, dB."""
        if self.config.makeup_db is not None:
            return float(self.config.makeup_db)
        return -0.6 * _curve_db(self.config, _find_bend(self.config), 0.0)

    cdef void _aim(self) noexcept nogil:
        """See where the gain has to go, and how fast."""
        cdef CompressorCurve *curve = &self._curve
        cdef float away_db, x, samples
        self._target = _asin(self._detector)
        away_db = log2_of(self._gain / self._target) * DB_PER_OCTAVE if self._target > <float>1e-6 else <float>1.0
        if self._target > self._gain:
            self._deepest_db = -1
            x = away_db if away_db > <float>-12.0 else <float>-12.0
            x = <float>0.25 * ((x if x < 0 else <float>0.0) + <float>12.0)
            samples = <float>0.00094632
            samples = samples * x + <float>0.01265542
            samples = samples * x + <float>0.05040951
            samples = samples * x + <float>0.00598875
            samples = (samples * x + <float>0.09) * curve.release_s
            samples = samples if samples > <float>0.01 else <float>0.01
            self._rate = exp2_of(<float>5.0 * OCTAVES_PER_DB / samples)
        else:
            self._deepest_db = away_db if away_db > self._deepest_db else self._deepest_db
            x = self._deepest_db if self._deepest_db > <float>0.5 else <float>0.5
            self._rate = 1 - exp2_of(-(log2_of(x) + 2) / curve.attack_s)

    cdef void _step(self, float *x, int n) noexcept nogil:
        """Compress n samples of one division, in place."""
        cdef float[DIVISION] gain, rise
        cdef float detector = self._detector, now = self._gain, target = self._target, rate = self._rate
        cdef float kept, risen, makeup = self._curve.makeup
        cdef bint falls = rate < 1
        cdef int i
        _find_gains(&self._curve, x, gain, rise, n)
        for i in range(n):
            risen = detector + (gain[i] - detector) * rise[i]
            detector = risen if risen < gain[i] else gain[i]        # rise is at most 1, so a fall is at once
            now = now + (target - now) * rate if falls else now * rate
            now = now if now < 1 else <float>1.0
            gain[i] = now
        self._detector = detector
        self._gain = now
        for i in range(n):
            gain[i] = _sine(gain[i]) * makeup
        if self.delay_samples:
            for i in range(n):
                kept = self._delayed[self._at]
                self._delayed[self._at] = x[i]
                x[i] = kept
                self._at = self._at + 1 if self._at + 1 < self.delay_samples else 0
        for i in range(n):
            x[i] *= gain[i]

    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef float[DIVISION] x
        cdef int i, n
        while n_samples > 0:
            if self._into == 0:
                self._aim()
            n = <int>min(n_samples, <Py_ssize_t>(DIVISION - self._into))
            for i in range(n):
                x[i] = <float>src[i] * UNIT
            self._step(x, n)
            for i in range(n):
                dst[i] = saturate(x[i] * <float>32768.0)
            self._into = (self._into + n) % DIVISION
            src += n
            dst += n
            n_samples -= n

    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef int i, n
        while n_samples > 0:
            if self._into == 0:
                self._aim()
            n = <int>min(n_samples, <Py_ssize_t>(DIVISION - self._into))
            for i in range(n):
                dst[i] = src[i]
            self._step(dst, n)
            self._into = (self._into + n) % DIVISION
            src += n
            dst += n
            n_samples -= n

    cdef void _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil:
        if sample_size == 2:
            self.run(<const int16_t *>src, <int16_t *>dst, n_samples)
        else:
            self.run_float(<const float *>src, <float *>dst, n_samples)

    cdef void clear(self) noexcept nogil:
        memset(self._delayed, 0, max(self.delay_samples, 1) * sizeof(float))
        self._detector = 0
        self._gain = 1
        self._deepest_db = -1
        self._into = self._at = 0

    def process(self, pcm, out=None):
        """Compress the next samples of the stream.

        Parameters
        ----------
        pcm : buffer of int16 or float32, shape (n_samples,)
            Any length; plain octets are int16.  A float32 that is no number stays one and does not reach the state.
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
        """Forget the stream; what has not come out yet is dropped."""
        self.clear()
