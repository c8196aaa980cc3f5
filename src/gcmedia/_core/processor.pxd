"""Encoded audio in, frames out: decode, conceal, level and silence, gate, compressor."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from gcmedia._core.conceal cimport Concealer
from gcmedia._core.dynamics cimport Compressor
from gcmedia._core.frame cimport Frame
from gcmedia._core.gate cimport SpectralGate
from gcmedia._core.silence cimport SilenceDetector

cdef enum Encoding:
    PCMU = 0
    PCMA = 1
    L16 = 2             # big-endian
    L16LE = 3

cdef class Channel:
    """One channel: samples decoded but not yet framed, and the stages they pass."""
    cdef Concealer concealer
    cdef SilenceDetector silence
    cdef SpectralGate gate              # or None
    cdef Compressor compressor          # or None
    cdef int16_t *raw
    cdef int16_t *clean                 # NULL when nothing cleans
    cdef uint8_t *made_up               # per raw sample: 1 when it was not received
    cdef Py_ssize_t room                # samples that each of them can hold
    cdef Py_ssize_t n_raw, n_clean
    cdef bint _ensure_room(self, Py_ssize_t n_samples) noexcept nogil
    cdef void _clean(self, Py_ssize_t n_new) noexcept nogil

cdef class Processor:
    cdef readonly str encoding
    cdef readonly int sample_rate       # Hz
    cdef readonly int n_channels
    cdef readonly int frame_samples     # per channel
    cdef readonly int delay_samples     # of gate and compressor together
    cdef Encoding code
    cdef int sample_octets              # of one sample, one channel
    cdef tuple channels                 # of Channel
    cdef int16_t *scratch               # one packet, interleaved
    cdef Py_ssize_t scratch_room
    cdef int64_t n_in                   # samples taken since the start, per channel
    cdef int64_t n_out                  # samples framed since the start
    cdef Py_ssize_t to_drop             # of the first clean samples, which are the delay
    cdef int next_channel               # whose frame comes next
    cdef bint ending
    cdef int64_t concealed_samples, silent_concealed_samples, concealment_events
    cdef bint concealing

    cdef Py_ssize_t samples_in(self, Py_ssize_t n_octets) noexcept nogil
    cdef int decode(self, const uint8_t *octets, Py_ssize_t n_samples) except -1
    cdef int fill(self, Py_ssize_t n_samples, bint conceal) except -1
    cdef int end(self) except -1
    cdef bint has_frame(self) noexcept
    cdef Frame take(self)
    cdef void _taken(self, Py_ssize_t n_samples) noexcept
