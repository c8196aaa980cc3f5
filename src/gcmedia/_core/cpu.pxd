"""Which kernels run: those of the widest instruction set that this processor has."""

from libc.stdint cimport int16_t, int64_t, uint8_t

cdef extern from "kernels/kernels.h":
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

# In force for every module; never NULL once this one is imported.
cdef const Kernels *kernels
