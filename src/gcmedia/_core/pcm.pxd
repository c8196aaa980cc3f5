"""Linear samples: byte order, channels, levels."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from gcmedia._core.cpu cimport kernels

cdef void l16be_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
cdef void l16le_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
cdef void int16_to_l16be(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil
cdef void int16_to_l16le(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil


# One channel out of interleaved samples; n_samples is per channel.
cdef void l16be_channel_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples,
                                 int channel, int n_channels) noexcept nogil
cdef void l16le_channel_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples,
                                 int channel, int n_channels) noexcept nogil


cdef inline void deinterleave(const int16_t *interleaved, int16_t *pcm, Py_ssize_t n_samples,
                              int channel, int n_channels) noexcept nogil:
    kernels.take_words(<const uint8_t *>interleaved, <uint8_t *>pcm, n_samples, channel, n_channels)


cdef inline int64_t sum_of_squares(const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    return kernels.sum_of_squares(pcm, n_samples)


cdef inline int64_t sum_of_magnitudes(const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    return kernels.sum_of_magnitudes(pcm, n_samples)


cdef inline int peak_magnitude(const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    return kernels.peak_magnitude(pcm, n_samples)
