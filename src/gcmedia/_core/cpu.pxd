"""Which kernels run: those of the widest instruction set that this processor has."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

ctypedef const void *Source
ctypedef void *Target

cdef extern from "kernels/kernels.h":
    enum:
        GATE_HIDDEN     # floats
        GATE_LANES      # streams of a group
    ctypedef struct FourierPlan:
        int size, half, n_columns, n_stages
        int[16] radices
        float scale
        const float *stage_twiddles
        const float *lane_twiddles
        const float *parting
    ctypedef struct GateFraming:
        FourierPlan fourier
        int hop, overlap, n_bins
        const float *analysis
        const float *synthesis
    ctypedef struct GateLevels:
        float warm_power, most_power, least_gain
    ctypedef struct GateState:
        int position, start, n_warm, n_sounding, n_silent
        float *even
        float *odd
        float *even_tail
        float *odd_tail
        float *even_ready
        float *odd_ready
        float *noise
        float *smoothed
        float *minimum
        float *clean
        float *before
        float *hidden
    ctypedef struct GateGroup:
        GateState state
        int32_t[8] n_warm, n_sounding, n_silent
        float *scratch
    ctypedef struct Kernels:
        const char *name
        void (*ulaw_to_int16)(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
        void (*alaw_to_int16)(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
        # The same, and the sum of the squares of the samples.
        int64_t (*ulaw_measured)(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
        int64_t (*alaw_measured)(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
        void (*int16_to_ulaw)(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil
        void (*int16_to_alaw)(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil
        void (*swap_octets)(const uint8_t *src, uint8_t *dst, Py_ssize_t n_samples) noexcept nogil
        void (*int16_to_float32)(const int16_t *pcm, float *samples, Py_ssize_t n_samples) noexcept nogil
        # One channel out of several, in octets or in words of two; n_samples is per channel.
        void (*take_octets)(const uint8_t *interleaved, uint8_t *octets, Py_ssize_t n_samples,
                            int channel, int n_channels) noexcept nogil
        void (*take_words)(const uint8_t *interleaved, uint8_t *words, Py_ssize_t n_samples,
                           int channel, int n_channels) noexcept nogil
        int64_t (*sum_of_squares)(const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
        int64_t (*sum_of_magnitudes)(const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
        int (*peak_magnitude)(const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
        # Spectra take memory for 16 floats more than they have bins.
        void (*fourier_forward)(const FourierPlan *plan, const float *x, float *re, float *im) noexcept nogil
        void (*fourier_inverse)(const FourierPlan *plan, const float *re, const float *im, float *x) noexcept nogil
        # Any number of samples; src and dst may be the same memory.
        void (*gate_int16)(const GateFraming *framing, const GateLevels *levels, GateState *state,
                           const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
        void (*gate_float32)(const GateFraming *framing, const GateLevels *levels, GateState *state,
                             const float *src, float *dst, Py_ssize_t n_samples) noexcept nogil
        # The same for GATE_LANES streams; src is NULL for those that there are not.
        void (*gate_group_int16)(const GateFraming *framing, const GateLevels *levels, GateGroup *group,
                                 const Source *src, const Target *dst, Py_ssize_t n_samples) noexcept nogil
        void (*gate_group_float32)(const GateFraming *framing, const GateLevels *levels, GateGroup *group,
                                   const Source *src, const Target *dst, Py_ssize_t n_samples) noexcept nogil

# In force for every module; never NULL once this one is imported.
cdef const Kernels *kernels
