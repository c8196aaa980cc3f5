"""PCMU and PCMA: octets to samples and back (ITU-T G.711)."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from gcmedia._core.cpu cimport kernels


cdef inline void ulaw_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    kernels.ulaw_to_int16(octets, pcm, n_samples)


cdef inline void alaw_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    kernels.alaw_to_int16(octets, pcm, n_samples)


# The same, and the sum of the squares of the samples.
cdef inline int64_t ulaw_measured(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    return kernels.ulaw_measured(octets, pcm, n_samples)


cdef inline int64_t alaw_measured(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    return kernels.alaw_measured(octets, pcm, n_samples)


cdef inline void int16_to_ulaw(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil:
    kernels.int16_to_ulaw(pcm, octets, n_samples)


cdef inline void int16_to_alaw(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil:
    kernels.int16_to_alaw(pcm, octets, n_samples)


# One channel out of several interleaved ones; n_samples is per channel.
cdef void ulaw_channel_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples,
                                int channel, int n_channels) noexcept nogil
cdef void alaw_channel_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples,
                                int channel, int n_channels) noexcept nogil
