"""PCMU and PCMA: octets to samples and back (ITU-T G.711)."""

from libc.stdint cimport int16_t, uint8_t

cdef void ulaw_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
cdef void alaw_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
cdef void int16_to_ulaw(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil
cdef void int16_to_alaw(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil
