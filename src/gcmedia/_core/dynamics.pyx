"""Dynamics: a feed-forward soft-knee compressor.

Static curve, in decibels over full scale, with threshold T, knee K and ratio R::

    x <= T           y = x
    T < x < T + K    y = x + (1/R - 1) (x - T)**2 / 2K      meets both neighbours without a corner
    x >= T + K       y = x + (1/R - 1) (x - T - K/2)

The gain ``y - x`` of each sample's own magnitude is the target; the gain in force moves towards it by at most
10 dB per attack time downwards and 10 dB per release time upwards.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport pow
from libc.stdint cimport int16_t

from gcmedia._core.approx cimport exp2_of, log2_of, saturate
from gcmedia._core.buffer cimport borrow_samples, borrow_samples_out

from dataclasses import replace

from gcmedia.config import CompressorConfig
from gcmedia.errors import ConfigError

cdef enum:
    BLOCK = 256                                         # samples worked on at a time, on the stack

cdef float DB_PER_OCTAVE = <float>6.020599913279624     # 20 log10(2)
cdef float OCTAVES_PER_DB = <float>0.16609640474436813
cdef float UNIT = <float>(1.0 / 32768.0)


cdef double _curve_gain_db(object config, double level_db):
    """Gain of the static curve at ``level_db``."""
    cdef double over = level_db - config.threshold_db
    cdef double slope = 1.0 / config.ratio - 1.0
    if over <= 0.0:
        return 0.0
    if over < config.knee_db:
        return slope * over * over / (2.0 * config.knee_db)
    return slope * (over - 0.5 * config.knee_db)


cdef void _find_targets(const CompressorCurve *curve, const float *x, float *target, int n) noexcept nogil:
    """Gain, in decibels, that the static curve asks for at each sample."""
    cdef float magnitude, over, bent, straight
    cdef int i
    for i in range(n):
        magnitude = x[i] if x[i] >= 0 else -x[i]
        magnitude = magnitude if magnitude > curve.threshold_linear else curve.threshold_linear
        over = log2_of(magnitude) * DB_PER_OCTAVE - curve.threshold
        over = over if over > 0 else <float>0.0
        bent = curve.bend * over * over
        straight = curve.slope * (over - <float>0.5 * curve.knee)
        target[i] = bent if over < curve.knee else straight


cdef float _slew(const CompressorCurve *curve, float *gain, int n, float now) noexcept nogil:
    """Turn targets into gains in force, in place; the last one is returned."""
    cdef float least, most
    cdef int i
    for i in range(n):
        least = now - curve.attack_step
        most = now + curve.release_step
        now = gain[i]
        now = now if now > least else least
        now = now if now < most else most
        gain[i] = now
    return now


cdef void _apply(const CompressorCurve *curve, const float *gain, const float *x, float *y, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        y[i] = x[i] * (exp2_of(gain[i] * OCTAVES_PER_DB) * curve.makeup_linear)


@cython.final
cdef class Compressor:
    """Turn loud passages down by a soft-knee curve, as Web Audio's DynamicsCompressorNode is specified to.

    The detector is the sample's magnitude, without look-ahead; below the threshold nothing is done but the
    make-up gain.  The state is carried from call to call: any chunking gives the same output, to the bit, and so
    does any machine.  int16 results saturate; float32 results may leave [-1, 1].

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
        0.
    makeup_db : float
        Make-up gain in force; unless set, 0.6 times the gain that the curve takes from full scale.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    Levels are dB over full scale, per sample.  Attack and release times of 0 mean within one sample.  One
    compressor serves one stream and one thread.

    References
    ----------
    W3C Web Audio API 1.0, section 1.19, for parameters, defaults and make-up; the shape of the knee is ours.
    """

    def __cinit__(self, int sample_rate=8000, config=None, **settings):
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
        self._curve.threshold = config.threshold_db
        self._curve.knee = config.knee_db
        self._curve.slope = 1.0 / config.ratio - 1.0
        self._curve.bend = self._curve.slope / (2.0 * config.knee_db) if config.knee_db > 0.0 else 0.0
        self._curve.attack_step = _step_db(config.attack_s, sample_rate)
        self._curve.release_step = _step_db(config.release_s, sample_rate)
        self._curve.threshold_linear = pow(10.0, config.threshold_db / 20.0)
        self._curve.makeup_linear = pow(10.0, self.makeup_db / 20.0)
        self.clear()

    @property
    def makeup_db(self):
        """Make-up gain in force, dB."""
        if self.config.makeup_db is not None:
            return float(self.config.makeup_db)
        return -0.6 * _curve_gain_db(self.config, 0.0)

    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef float[BLOCK] x, gain
        cdef int i, n
        while n_samples > 0:
            n = <int>n_samples if n_samples < BLOCK else BLOCK
            for i in range(n):
                x[i] = <float>src[i] * UNIT
            _find_targets(&self._curve, x, gain, n)
            self._gain_db = _slew(&self._curve, gain, n, self._gain_db)
            _apply(&self._curve, gain, x, x, n)
            for i in range(n):
                dst[i] = saturate(x[i] * <float>32768.0)
            src += n
            dst += n
            n_samples -= n

    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef float[BLOCK] gain
        cdef int n
        while n_samples > 0:
            n = <int>n_samples if n_samples < BLOCK else BLOCK
            _find_targets(&self._curve, src, gain, n)
            self._gain_db = _slew(&self._curve, gain, n, self._gain_db)
            _apply(&self._curve, gain, src, dst, n)
            src += n
            dst += n
            n_samples -= n

    cdef void clear(self) noexcept nogil:
        self._gain_db = 0.0

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
            As many samples of the same type, not delayed.

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
            with nogil:
                if sample_size == 2:
                    self.run(<const int16_t *>source.buf, <int16_t *>samples, n_samples)
                else:
                    self.run_float(<const float *>source.buf, <float *>samples, n_samples)
            if out is not None:
                PyBuffer_Release(&target)
            return result
        finally:
            PyBuffer_Release(&source)

    def reset(self):
        """Forget the stream; the gain is 0 dB again."""
        self.clear()


cdef double _step_db(double time_s, int sample_rate):
    """Change per sample that makes 10 dB in ``time_s``; without time, more than any curve asks for."""
    return 10.0 / (time_s * sample_rate) if time_s > 0.0 else 1000.0
