"""Noise gates: spectral and per sample.

The spectral gate cuts the stream into overlapping frames, weighs each bin of a frame's spectrum by how likely it
is to be more than noise, and adds the frames up again.

Frames are 32 ms long, for bins of 31 Hz, and 18 ms apart; only the last 20 ms of a frame are put out, and 2 ms of
them overlap.  So the delay is 20 ms for any chunking, less than windows of equal halves would take.  The analysis
window rises over 29 ms and falls over 3; the synthesis window makes the product of both 1 where outputs are alone and
a sum of 1 where they overlap (D. Mauler and R. Martin, A low delay, variable resolution, perfect reconstruction
spectral analysis-synthesis system, EUSIPCO 2007).  With ``low_delay`` the last 10 ms of frames 9 ms apart are put
out.

Noise per bin moves towards what is near it, the faster the nearer, and is kept between two bounds.  It is no less than
a minimum of the smoothed power tells of, which rises by at most 12 dB a second, so a rise of the noise is followed
(G. Doblinger, Computationally efficient speech enhancement by spectral minima tracking in subbands, Eurospeech 1995).
And it is no more than 20 dB over the floor of the settings.  Sound that begins and ends in digital silence within a
second is no noise of the line, which has little: after it, noise is what it was before.

The gain of a bin is Wiener's, from a ratio of speech to noise that is a weighed sum of three: what came out of the last
frame (Y. Ephraim and D. Malah, IEEE TASSP 32(6), 1984), what is over the noise in this one, and what is so in both
neighbours.  The weights are those of 20 bands, and new in each frame: a recurrent network of 24 units hears by how
much the sound is over the noise in each band, and the sound's shape.  It has learned from speech in noise, in many
voices and at many levels (benchmarks/quality/train.py).  It cannot add sound, nor take away more than the reduction
asked for.

What is done hop by hop is in kernels/spectral_isa.h.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport M_PI, cos, pow, sin
from libc.stdint cimport int16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from gcmedia._core.approx cimport saturate
from gcmedia._core.buffer cimport borrow_samples, borrow_samples_out, view_bytearray
from gcmedia._core.cpu cimport GATE_HIDDEN, kernels
from gcmedia._core.fft cimport LINE, at_line, shared_fft

from dataclasses import replace

from gcmedia.config import GateConfig
from gcmedia.errors import ConfigError

cdef enum:
    BAND_BINS = 136             # bins that the network hears, and so many more that whole vectors come of it
    BLOCK = 512                 # samples converted at a time
    WORTH_RELEASING = 1000      # samples from which on giving the GIL away and taking it back is worth its time
    MAX_FRAMINGS = 16

cdef float UNIT = <float>(1.0 / 32768.0)
cdef float LOUDEST = 256.0                              # float32 input is held within, 48 dB over full scale
cdef double ROOM_DB = 20.0                              # over the floor, for noise that has lasted

cdef dict _framings = {}


@cython.final
cdef class _Framing:
    def __cinit__(self, int sample_rate, bint low_delay):
        cdef GateFraming *framing = &self.framing
        cdef int whole = sample_rate // 50 // 2 * 2, put_out, fall, rise, n, size, half, side
        cdef double total = 0.0
        cdef double *analysis
        cdef float *windows
        cdef double share
        put_out = sample_rate // 100 // 2 * 2 if low_delay else whole
        framing.overlap = put_out // 20 * 2
        framing.hop = put_out - framing.overlap
        fall = 3 * framing.overlap // 2
        size = _smooth_size(2 * (whole - whole // 10 * 2))
        half = size // 2
        self.fft = shared_fft(size)
        framing.fourier = self.fft.plan
        framing.n_bins = max(BAND_BINS, (half + 8) // 8 * 8)
        rise = size - fall
        self.windows = <float *>malloc((size + put_out + LINE) * sizeof(float))
        analysis = <double *>malloc(size * sizeof(double))
        if self.windows == NULL or analysis == NULL:
            free(analysis)
            raise MemoryError
        windows = at_line(self.windows)
        framing.analysis = windows
        framing.synthesis = windows + size
        for n in range(size):
            if n < rise:
                analysis[n] = sin(0.5 * M_PI * (n + 0.5) / rise)
            else:
                analysis[n] = cos(0.5 * M_PI * (n - rise + 0.5) / fall)
            total += analysis[n]
            windows[(n & 1) * half + n // 2] = <float>(0.5 / 32768.0 * analysis[n])
        for n in range(put_out):
            side = min(n, put_out - 1 - n)
            share = 1.0
            if side < framing.overlap:
                share = 0.5 * (1.0 - cos(M_PI * (side + 0.5) / framing.overlap))
            windows[size + (n & 1) * (put_out // 2) + n // 2] = <float>(
                32768.0 / size * share / analysis[size - put_out + n]
            )
        free(analysis)
        self.full_scale = <float>(0.25 * total * total)

    def __dealloc__(self):
        free(self.windows)


cdef int _smooth_size(int least):
    """The next size that the transform knows, a multiple of 4."""
    cdef int size = (least + 3) // 4 * 4, rest, factor
    while True:
        rest = size // 2
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 4


cdef _Framing _framing_for(int sample_rate, bint low_delay):
    """The same object for all gates of a kind; beyond MAX_FRAMINGS, no longer shared."""
    framing = _framings.get((sample_rate, low_delay))
    if framing is None:
        framing = _Framing(sample_rate, low_delay)
        if len(_framings) < MAX_FRAMINGS:
            _framings[sample_rate, low_delay] = framing
    return framing


cdef Py_ssize_t lay_out(GateState *state, const GateFraming *framing, int n_streams, float *memory) noexcept nogil:
    """Let the arrays of a state, for some streams side by side, point into memory; return how many floats they take."""
    cdef Py_ssize_t half = framing.fourier.half, n_bins = framing.n_bins, at = 0
    state.noise = memory
    state.smoothed = memory + n_bins * n_streams
    state.minimum = memory + 2 * n_bins * n_streams
    state.clean = memory + 3 * n_bins * n_streams
    state.before = memory + 4 * n_bins * n_streams
    at = 5 * n_bins * n_streams
    state.hidden = memory + at
    at += GATE_HIDDEN * n_streams
    state.even = memory + at
    state.odd = state.even + half * n_streams
    at += 2 * half * n_streams
    state.even_ready = memory + at
    state.odd_ready = state.even_ready + framing.hop // 2 * n_streams
    at += framing.hop * n_streams
    state.even_tail = memory + at
    state.odd_tail = state.even_tail + framing.overlap // 2 * n_streams
    at += framing.overlap * n_streams
    return at + 8                   # vectors may write, and read, a few floats beyond what they mean


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
        20 ms, 160 at 8 kHz, for any chunking; 10 ms with ``low_delay``; 0 for ``kind="sample"``.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    Any chunking gives the same output, to the bit, and so does any processor.  With ``reduction_db=0`` the output is
    the input, delayed: int16 to the bit, float32 to rounding.  int16 results saturate.  Some 4 KB of state at 8 kHz;
    one gate serves one stream and one thread.
    """

    def __cinit__(self, int sample_rate=8000, config=None, **settings):
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
        self._levels.least_gain = <float>pow(10.0, -config.reduction_db / 20.0)
        self._sample_floor = <float>pow(10.0, config.floor_db / 20.0)
        self._sample_size = 2
        if self._spectral:
            self._framing = _framing_for(sample_rate, config.low_delay)
            self._levels.warm_power = <float>(pow(10.0, config.floor_db / 10.0) * self._framing.full_scale)
            self._levels.most_power = <float>(pow(10.0, (config.floor_db + ROOM_DB) / 10.0) * self._framing.full_scale)
            self.delay_samples = self._framing.framing.hop + self._framing.framing.overlap
            self._lay_out()
        self.clear()

    def __dealloc__(self):
        free(self._memory)

    cdef _lay_out(self):
        self._memory_size = lay_out(&self._state, &self._framing.framing, 1, NULL)
        self._memory = <float *>calloc(self._memory_size + LINE, sizeof(float))
        if self._memory == NULL:
            raise MemoryError
        lay_out(&self._state, &self._framing.framing, 1, at_line(self._memory))

    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil:
        cdef float[BLOCK] x
        cdef int i, n
        if self._spectral:
            kernels.gate_int16(&self._framing.framing, &self._levels, &self._state, src, dst, n_samples)
            return
        while n_samples > 0:
            n = <int>n_samples if n_samples < BLOCK else BLOCK
            for i in range(n):
                x[i] = <float>src[i] * UNIT
            _gate_samples(self._levels.least_gain, self._sample_floor, x, x, n)
            for i in range(n):
                dst[i] = saturate(x[i] * <float>32768.0)
            src += n
            dst += n
            n_samples -= n

    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil:
        if self._spectral:
            kernels.gate_float32(&self._framing.framing, &self._levels, &self._state, src, dst, n_samples)
        else:
            _gate_samples(self._levels.least_gain, self._sample_floor, src, dst, n_samples)

    cdef void clear(self) noexcept nogil:
        self._state.position = 0
        self._state.start = 0
        self._state.n_warm = self._state.n_sounding = self._state.n_silent = 0
        if self._memory != NULL:
            memset(at_line(self._memory), 0, self._memory_size * sizeof(float))

    cdef void _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept nogil:
        if sample_size == 2:
            self.run(<const int16_t *>src, <int16_t *>dst, n_samples)
        else:
            self.run_float(<const float *>src, <float *>dst, n_samples)

    cdef void _run_held(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size) noexcept:
        """The same, called with the GIL, which is let go when that is worth its time."""
        if n_samples < WORTH_RELEASING:
            self._run_any(src, dst, n_samples, sample_size)
        else:
            with nogil:
                self._run_any(src, dst, n_samples, sample_size)

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
                self._run_held(source.buf, PyBytes_AS_STRING(result), n_samples, sample_size)
                return result
            if not (n_samples < WORTH_RELEASING and sample_size == 2 and view_bytearray(out, &target)
                    and target.len == source.len):
                borrow_samples_out(out, &target, n_samples, sample_size)
            self._run_held(source.buf, target.buf, n_samples, sample_size)
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
        self._run_held(<const char *>zeros, PyBytes_AS_STRING(result), self.delay_samples, self._sample_size)
        self.clear()
        return result

    def reset(self):
        """Forget the stream and the noise; what has not come out yet is dropped."""
        self.clear()

    def copy(self):
        """A second gate in the same state: both go on alike, each by itself.

        Returns
        -------
        SpectralGate
        """
        cdef SpectralGate other = SpectralGate(self.sample_rate, self.config)
        other._sample_size = self._sample_size
        other._state.position = self._state.position
        other._state.start = self._state.start
        other._state.n_warm = self._state.n_warm
        other._state.n_sounding = self._state.n_sounding
        other._state.n_silent = self._state.n_silent
        if self._memory != NULL:
            memcpy(at_line(other._memory), at_line(self._memory), self._memory_size * sizeof(float))
        return other

    __copy__ = copy


cdef float _held(float x) noexcept nogil:
    """x within the range in which powers are finite; 0 for what is no number."""
    if x != x:
        return 0.0
    x = x if x < LOUDEST else LOUDEST
    return x if x > -LOUDEST else -LOUDEST


cdef void _gate_samples(float least_gain, float floor, const float *src, float *dst,
                        Py_ssize_t n_samples) noexcept nogil:
    cdef float x, magnitude
    cdef Py_ssize_t i
    for i in range(n_samples):
        x = _held(src[i])
        magnitude = x if x >= 0 else -x
        dst[i] = x * least_gain if magnitude < floor else x
