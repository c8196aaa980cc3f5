"""Noise gates: spectral and per sample."""

from libc.stdint cimport int16_t

from gcmedia._core.fft cimport RealFFT

cdef class _Framing:
    """What is the same for all gates of a sample rate: frame, hop, windows, transform.  Constant once made."""

    cdef int size                           # samples of a frame, about 40 ms
    cdef int hop                            # samples between frames, 10 ms
    cdef int n_bins                         # size / 2 + 1
    cdef int reach                          # bins in 100 Hz
    cdef float *analysis                    # size
    cdef float *synthesis                   # 2 * hop, over the end of the frame
    cdef float full_scale                   # power of a bin in which a full-scale sine is centred
    cdef RealFFT fft

cdef struct GateState:                      # one block of memory, what a hop touches and nothing else
    int position                            # samples taken since the last hop
    int n_hops                              # since the present minimum search began
    int n_warm                              # frames with sound in them so far, until there are enough
    float *history                          # size: the newest frame's samples
    float *tail                             # hop: second half of the last frame's synthesis
    float *ready                            # hop: what goes out next
    float *noise                            # per bin: power taken for noise
    float *presence                         # smoothed probability that there is more than noise
    float *clean                            # power of the last frame's output
    float *smoothed                         # power, averaged over some hops
    float *minimum                          # of smoothed, over the last search and this one
    float *candidate                        # the same over this one

cdef struct GateLevels:
    float floor_power                       # of a bin, on the scale of its squared magnitude
    float least_gain                        # factor
    float sample_floor                      # share of full scale

cdef class SpectralGate:
    cdef readonly object config             #: gcmedia.GateConfig
    cdef readonly int sample_rate           # Hz
    cdef readonly int delay_samples         # exact; 0 for kind="sample"
    # As many samples out as in, delay_samples later; any n_samples; src and dst may be the same memory.
    cdef void run(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void run_float(self, const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil

    cdef bint _spectral
    cdef int _sample_size                   # octets of the last sample that came, for flush
    cdef _Framing _framing                   # None for kind="sample"
    cdef GateLevels _levels
    cdef GateState _state
    cdef float *_memory                     # all arrays of the state
    cdef Py_ssize_t _memory_size            # floats
    cdef _run_any(self, const void *src, void *dst, Py_ssize_t n_samples, int sample_size)
