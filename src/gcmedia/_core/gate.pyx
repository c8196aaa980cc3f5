"""Noise gates: spectral and per sample.

The spectral gate cuts the stream into overlapping frames, weighs each bin of a frame's spectrum by how likely it
is to be more than noise, and adds the frames up again.

Frames are 40 ms long, for bins of 25 Hz, and 10 ms apart; only the last 20 ms of a frame are put out.  So the
delay is 20 ms for any chunking, half of what windows of equal halves would take.  The analysis window rises over
30 ms and falls over 10; the synthesis window makes the product of both a Hann window of 20 ms, which overlaps to
exactly 1 (D. Mauler and R. Martin, A low delay, variable resolution, perfect reconstruction spectral
analysis-synthesis system, EUSIPCO 2007).

Noise per bin is what the presence of speech does not explain (T. Gerkmann and R. C. Hendriks, Unbiased MMSE-based
noise power estimation, IEEE TASLP 20(4), 2012), kept between two bounds.  It is no less than the least smoothed
power of the last 1.2 to 2.4 s, so that a rise of the noise is followed.  And it is no more than the floor of the
settings, or, where that is more, a small multiple of the least power over the neighbouring 100 Hz on both sides in
that time: loud sound is noise only if it has not paused for 1.2 s and is no single tone.

The gain is that of the log-spectral amplitude estimator (Y. Ephraim and D. Malah, IEEE TASSP 33(2), 1985) with
their decision-directed signal-to-noise ratio, a little less where neither the bin nor its neighbours hold speech,
smoothed over three bins, and no less than the reduction asked for.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport M_PI, cos, pow, sin, sqrtf
from libc.stdint cimport int16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

from gcmedia._core.approx cimport saturate
from gcmedia._core.buffer cimport borrow_samples, borrow_samples_out
from gcmedia._core.fft cimport shared_fft

from dataclasses import replace

from gcmedia.config import GateConfig
from gcmedia.errors import ConfigError

cdef enum:
    MAX_FRAME = 4096            # samples; scratch of this size is on the stack
    MAX_BINS = 2049
    PARTIAL_HOPS = 3            # frames that begin before the stream does
    WARM_HOPS = 15              # 0.15 s: all sound is taken for noise at first
    SEARCH_HOPS = 120           # 1.2 s: a minimum search
    BLOCK = 512                 # samples converted at a time
    MAX_FRAMINGS = 8

cdef float UNIT = <float>(1.0 / 32768.0)
cdef float LOUDEST = 256.0                              # float32 input is held within, 48 dB over full scale
cdef float TINY = <float>1e-12                          # power under which nothing is heard, or divided by

# Presence of speech: the a priori ratio of speech where there is speech, 15 dB, at even odds.
cdef float SPEECH_RATIO = <float>31.622776
cdef float SPEECH_SHARE = <float>0.96934656             # ratio / (1 + ratio)
cdef float NOISE_KEPT = <float>0.85                     # per hop
cdef float PRESENCE_KEPT = <float>0.93
cdef float PRESENCE_STUCK = <float>0.99
cdef float POWER_KEPT = <float>0.7
cdef float MINIMUM_BIAS = <float>8.0                    # noise is at most so many times its minimum
# Decision-directed weight of the last frame: less where speech is likely, so that its onsets come through, more
# where it is not, so that noise stays even.
cdef float RATIO_KEPT = <float>0.98
cdef float RATIO_YIELD = <float>0.15
cdef float DOUBT_COST = <float>0.25                     # gain lost where no speech is near
cdef float LEAST_RATIO = <float>0.003                   # a priori, -25 dB

cdef dict _framings = {}


@cython.final
cdef class _Framing:
    def __cinit__(self, int sample_rate):
        cdef int n, rise
        cdef double total = 0.0
        self.hop = (sample_rate + 50) // 100
        self.size = _smooth_size(4 * self.hop)
        self.n_bins = self.size // 2 + 1
        self.reach = (100 * self.size + sample_rate - 1) // sample_rate
        self.fft = shared_fft(self.size)
        self.analysis = <float *>malloc((self.size + 2 * self.hop) * sizeof(float))
        if self.analysis == NULL:
            raise MemoryError
        self.synthesis = self.analysis + self.size
        rise = self.size - self.hop
        for n in range(rise):
            self.analysis[n] = <float>sin(0.5 * M_PI * (n + 0.5) / rise)
        for n in range(self.hop):
            self.analysis[rise + n] = <float>cos(0.5 * M_PI * (n + 0.5) / self.hop)
        for n in range(2 * self.hop):
            self.synthesis[n] = <float>(
                0.5 * (1.0 - cos(M_PI * (n + 0.5) / self.hop)) / self.analysis[self.size - 2 * self.hop + n]
            )
        for n in range(self.size):
            total += self.analysis[n]
        self.full_scale = <float>(0.25 * total * total)

    def __dealloc__(self):
        free(self.analysis)


cdef int _smooth_size(int least):
    """The next even size that the transform knows."""
    cdef int size = least + (least & 1), rest, factor
    while True:
        rest = size // 2
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 2


cdef _Framing _framing_for(int sample_rate):
    """The same object for all gates of a rate; beyond MAX_FRAMINGS rates, no longer shared."""
    framing = _framings.get(sample_rate)
    if framing is None:
        framing = _Framing(sample_rate)
        if len(_framings) < MAX_FRAMINGS:
            _framings[sample_rate] = framing
    return framing


cdef float _neg_exp(float x) noexcept nogil:
    """exp(-x) for x >= 0, within 1 % where it matters, by (1 + x/32 + ...)**-32."""
    cdef float y = x * <float>0.03125
    y = <float>1.0 / (<float>1.0 + y * (<float>1.0 + y * (<float>0.5 + y * <float>0.16666667)))
    y = y * y
    y = y * y
    y = y * y
    y = y * y
    return y * y


cdef float _lsa_gain(float ratio, float posterior) noexcept nogil:
    """Gain of the log-spectral amplitude estimator, at most 1.

    ``exp(E1(v) / 2)`` is taken as ``sqrt(1 + w(v) / v)`` with a rational w, within 0.006 dB.
    """
    cdef float wiener = ratio / (<float>1.0 + ratio)
    cdef float v = wiener * posterior
    cdef float w
    v = v if v > <float>1e-6 else <float>1e-6
    v = v if v < <float>40.0 else <float>40.0
    w = <float>0.561459 / (
        <float>1.0 + v * (<float>0.74809 + v * (<float>0.54968 + v * (<float>-0.14993 + v * <float>0.13294)))
    )
    wiener = wiener * sqrtf(<float>1.0 + w / v)
    return wiener if wiener < <float>1.0 else <float>1.0


cdef void _warm_up(_Framing framing, GateState *state, const float *power, float floor_power,
                   float *chance) noexcept nogil:
    """Take the mean of the first whole frames for noise, as far as the floor allows, and doubt nothing yet."""
    cdef float share = <float>1.0
    cdef float quiet
    cdef int k
    if state.n_warm >= PARTIAL_HOPS:
        share = <float>1.0 / <float>(state.n_warm - PARTIAL_HOPS + 1)
    for k in range(framing.n_bins):
        quiet = power[k] if power[k] < floor_power else floor_power
        quiet = state.noise[k] + share * (quiet - state.noise[k])
        state.noise[k] = quiet if quiet > TINY else TINY
        state.smoothed[k] += share * (power[k] - state.smoothed[k])
        state.minimum[k] = state.smoothed[k]
        state.candidate[k] = state.smoothed[k]
        chance[k] = 1.0
    state.n_warm += 1


cdef void _search_minimum(_Framing framing, GateState *state, const float *power) noexcept nogil:
    cdef float now
    cdef int k
    for k in range(framing.n_bins):
        state.smoothed[k] = POWER_KEPT * state.smoothed[k] + (<float>1.0 - POWER_KEPT) * power[k]
    state.n_hops += 1
    if state.n_hops < SEARCH_HOPS:
        for k in range(framing.n_bins):
            now = state.smoothed[k]
            state.candidate[k] = state.candidate[k] if state.candidate[k] < now else now
            state.minimum[k] = state.minimum[k] if state.minimum[k] < now else now
    else:
        for k in range(framing.n_bins):
            now = state.smoothed[k]
            state.minimum[k] = state.candidate[k] if state.candidate[k] < now else now
            state.candidate[k] = now
        state.n_hops = 0


cdef void _track_noise(_Framing framing, GateState *state, const float *power, float floor_power,
                       float *chance) noexcept nogil:
    """Move the noise towards what is no speech; ``chance`` is the probability of speech in each bin."""
    cdef float[MAX_BINS] broad
    cdef float p, estimate, noise, most, before, after
    cdef int k, n_bins = framing.n_bins, reach = framing.reach
    # A tone fills some bins; what also fills those beside them is broadband.
    for k in range(n_bins):
        before = state.minimum[k - reach] if k >= reach else state.minimum[k]
        after = state.minimum[k + reach] if k + reach < n_bins else state.minimum[k]
        most = state.minimum[k]
        most = most if most < before else before
        broad[k] = most if most < after else after

    for k in range(n_bins):
        noise = state.noise[k]
        p = <float>1.0 / (<float>1.0 + (<float>1.0 + SPEECH_RATIO) * _neg_exp(power[k] / noise * SPEECH_SHARE))
        chance[k] = p
        state.presence[k] = PRESENCE_KEPT * state.presence[k] + (<float>1.0 - PRESENCE_KEPT) * p
        p = PRESENCE_STUCK if state.presence[k] > PRESENCE_STUCK and p > PRESENCE_STUCK else p
        estimate = p * noise + (<float>1.0 - p) * power[k]
        noise = NOISE_KEPT * noise + (<float>1.0 - NOISE_KEPT) * estimate
        noise = noise if noise > state.minimum[k] else state.minimum[k]
        most = MINIMUM_BIAS * broad[k]
        most = most if most > floor_power else floor_power
        noise = noise if noise < most else most
        state.noise[k] = noise if noise > TINY else TINY


cdef void _blur(const float *x, float *y, int n) noexcept nogil:
    """Mean of each value and two on both sides; the ends are repeated."""
    cdef int k
    for k in range(2, n - 2):
        y[k] = <float>0.2 * (x[k - 2] + x[k - 1] + x[k] + x[k + 1] + x[k + 2])
    y[0] = y[1] = y[2]
    y[n - 1] = y[n - 2] = y[n - 3]


cdef void _find_gains(_Framing framing, GateState *state, const float *power, const float *chance,
                      float least_gain, float *gain) noexcept nogil:
    cdef float[MAX_BINS] raw, near
    cdef float posterior, ratio, excess, kept
    cdef int k, last = framing.n_bins - 1
    _blur(chance, near, last + 1)
    for k in range(last + 1):
        posterior = power[k] / state.noise[k]
        excess = posterior - <float>1.0
        excess = excess if excess > 0 else <float>0.0
        kept = RATIO_KEPT - RATIO_YIELD * near[k]
        ratio = kept * (state.clean[k] / state.noise[k]) + (<float>1.0 - kept) * excess
        ratio = ratio if ratio > LEAST_RATIO else LEAST_RATIO
        raw[k] = _lsa_gain(ratio, posterior)
        raw[k] *= <float>1.0 - DOUBT_COST * (<float>1.0 - near[k])
        raw[k] = raw[k] if raw[k] > least_gain else least_gain
        state.clean[k] = raw[k] * raw[k] * power[k]
    gain[0] = <float>0.5 * (raw[0] + raw[1])
    for k in range(1, last):
        gain[k] = <float>0.25 * (raw[k - 1] + raw[k + 1]) + <float>0.5 * raw[k]
    gain[last] = <float>0.5 * (raw[last] + raw[last - 1])


cdef void _hop(_Framing framing, const GateLevels *levels, GateState *state) noexcept nogil:
    """Work on the frame that is complete now: ``ready`` is the next hop of output, 2 * hop samples late."""
    cdef float[MAX_FRAME] frame
    cdef float[MAX_BINS] re, im, power, chance, gain
    cdef int k, size = framing.size, hop = framing.hop, n_bins = framing.n_bins
    cdef float loudest = 0.0
    cdef float *output = frame + size - 2 * hop
    for k in range(size):
        frame[k] = state.history[k] * framing.analysis[k]
    memmove(state.history, state.history + hop, (size - hop) * sizeof(float))

    framing.fft.forward_split(frame, re, im)
    for k in range(n_bins):
        power[k] = re[k] * re[k] + im[k] * im[k]
        loudest = power[k] if power[k] > loudest else loudest
    if state.n_warm == WARM_HOPS:
        _search_minimum(framing, state, power)
    # Digital silence is no sample of the noise: a pause in the sending must not make the line's own noise speech.
    if loudest > TINY:
        if state.n_warm < WARM_HOPS:
            _warm_up(framing, state, power, levels.floor_power, chance)
        else:
            _track_noise(framing, state, power, levels.floor_power, chance)
        _find_gains(framing, state, power, chance, levels.least_gain, gain)
        for k in range(n_bins):
            re[k] *= gain[k]
            im[k] *= gain[k]
    framing.fft.inverse_split(re, im, frame)

    for k in range(hop):
        state.ready[k] = state.tail[k] + output[k] * framing.synthesis[k]
        state.tail[k] = output[hop + k] * framing.synthesis[hop + k]


@cython.final
cdef class SpectralGate:
    """Turn noise down and leave speech as it is.

    ``kind="spectral"`` weighs the bins of a short-time spectrum; see the module's text for the method.
    ``kind="sample"`` multiplies each sample whose own magnitude is under the floor, which distorts quiet speech
    but is what the tutorials do.

    Parameters
    ----------
    sample_rate : int
        Hz, 4000 to 96000.
    config : gcmedia.GateConfig, optional
        Its fields can also be given as keywords, which override it.

    Attributes
    ----------
    config : gcmedia.GateConfig
    sample_rate : int
        Hz.
    delay_samples : int
        20 ms, 160 at 8 kHz, for any chunking; 0 for ``kind="sample"``.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    Any chunking gives the same output, to the bit.  With ``reduction_db=0`` the output is the input, delayed:
    int16 to the bit, float32 to rounding.  int16 results saturate.  Some 7 KB of state at 8 kHz; one gate serves
    one stream and one thread.
    """

    def __cinit__(self, int sample_rate=8000, config=None, **settings):
        cdef GateState *state = &self._state
        cdef float *memory
        cdef int n_bins
        if not 4000 <= sample_rate <= 96_000:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not in [4000, 96000]")
        if config is None:
            config = GateConfig(**settings)
        elif not isinstance(config, GateConfig):
            raise TypeError(f"config must be a GateConfig, not {type(config).__name__}")
        elif settings:
            config = replace(config, **settings)
        self.config = config
        self.sample_rate = sample_rate
        self._spectral = config.kind == "spectral"
        self._levels.least_gain = pow(10.0, -config.reduction_db / 20.0)
        self._levels.sample_floor = pow(10.0, config.floor_db / 20.0)
        self._sample_size = 2
        if self._spectral:
            self._framing = _framing_for(sample_rate)
            self._levels.floor_power = pow(10.0, config.floor_db / 10.0) * self._framing.full_scale
            self.delay_samples = 2 * self._framing.hop
            n_bins = self._framing.n_bins
            self._memory_size = self._framing.size + 2 * self._framing.hop + 6 * n_bins
            self._memory = memory = <float *>calloc(self._memory_size, sizeof(float))
            if memory == NULL:
                raise MemoryError
            state.history = memory
            state.tail = state.history + self._framing.size
            state.ready = state.tail + self._framing.hop
            state.noise = state.ready + self._framing.hop
            state.presence = state.noise + n_bins
            state.clean = state.presence + n_bins
            state.smoothed = state.clean + n_bins
            state.minimum = state.smoothed + n_bins
            state.candidate = state.minimum + n_bins
        self.clear()

    def __dealloc__(self):
        free(self._memory)

    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef float[BLOCK] x
        cdef int i, n
        while n_samples > 0:
            n = <int>n_samples if n_samples < BLOCK else BLOCK
            for i in range(n):
                x[i] = <float>src[i] * UNIT
            self.run_float(x, x, n)
            for i in range(n):
                dst[i] = saturate(x[i] * <float>32768.0)
            src += n
            dst += n
            n_samples -= n

    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef GateState *state = &self._state
        cdef int i, n, hop
        cdef float *newest
        if not self._spectral:
            _gate_samples(&self._levels, src, dst, n_samples)
            return
        hop = self._framing.hop
        while n_samples > 0:
            n = hop - state.position
            n = n if n < n_samples else <int>n_samples
            newest = state.history + self._framing.size - hop + state.position
            for i in range(n):
                newest[i] = _held(src[i])
            memcpy(dst, state.ready + state.position, n * sizeof(float))
            state.position += n
            if state.position == hop:
                _hop(self._framing, &self._levels, state)
                state.position = 0
            src += n
            dst += n
            n_samples -= n

    cdef void clear(self) noexcept nogil:
        self._state.position = 0
        self._state.n_hops = 0
        self._state.n_warm = 0
        if self._memory != NULL:
            memset(self._memory, 0, self._memory_size * sizeof(float))

    cdef _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size):
        with nogil:
            if sample_size == 2:
                self.run(<const int16_t *>src, <int16_t *>dst, n_samples)
            else:
                self.run_float(<const float *>src, <float *>dst, n_samples)

    def process(self, pcm, out=None):
        """Gate the next samples of the stream.

        Parameters
        ----------
        pcm : buffer of int16 or float32, shape (n_samples,)
            Any length; plain octets are int16.  A float32 that is no number counts as 0, and those beyond 256
            times full scale as that.
        out : writable buffer of the same type and size, optional
            Filled and returned when given; it may be ``pcm`` itself, but not overlap it otherwise.

        Returns
        -------
        bytes or out
            As many samples of the same type: those that came ``delay_samples`` earlier, zeros at the beginning.

        Raises
        ------
        TypeError, ValueError
            If ``pcm`` or ``out`` is no buffer of the right kind or size.
        """
        cdef Py_buffer source, target
        cdef Py_ssize_t n_samples
        cdef int sample_size = borrow_samples(pcm, &source, "pcm")
        try:
            n_samples = source.len // sample_size
            self._sample_size = sample_size
            if out is None:
                result = PyBytes_FromStringAndSize(NULL, source.len)
                self._run_any(source.buf, PyBytes_AS_STRING(result), n_samples, sample_size)
                return result
            borrow_samples_out(out, &target, n_samples, sample_size)
            self._run_any(source.buf, target.buf, n_samples, sample_size)
            PyBuffer_Release(&target)
            return out
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
        self._run_any(<const char *>zeros, PyBytes_AS_STRING(result), self.delay_samples, self._sample_size)
        self.clear()
        return result

    def reset(self):
        """Forget the stream and the noise; what has not come out yet is dropped."""
        self.clear()


cdef float _held(float x) noexcept nogil:
    """x within the range in which powers are finite; 0 for what is no number."""
    if x != x:
        return 0.0
    x = x if x < LOUDEST else LOUDEST
    return x if x > -LOUDEST else -LOUDEST


cdef void _gate_samples(const GateLevels *levels, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil:
    cdef float x, magnitude
    cdef Py_ssize_t i
    for i in range(n_samples):
        x = _held(src[i])
        magnitude = x if x >= 0 else -x
        dst[i] = x * levels.least_gain if magnitude < levels.sample_floor else x
