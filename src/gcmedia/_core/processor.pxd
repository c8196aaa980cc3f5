"""Encoded audio in, frames out: decode, conceal, level and silence, gate, compressor."""

from cpython.ref cimport PyObject
from libc.stdint cimport int16_t, int64_t, uint8_t

from gcmedia._core.conceal cimport Concealer, remember
from gcmedia._core.dynamics cimport Compressor
from gcmedia._core.frame cimport Frame
from gcmedia._core.g711 cimport alaw_measured, ulaw_measured
from gcmedia._core.gate cimport SpectralGate
from gcmedia._core.meter cimport Meter
from gcmedia._core.pcm cimport sum_of_squares
from gcmedia._core.silence cimport SilenceDetector, push_measured

cdef enum Encoding:
    PCMU = 0
    PCMA = 1
    L16 = 2             # big-endian
    L16LE = 3

cdef enum:
    MAX_CHANNELS = 8

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
    cdef Py_ssize_t raw_start, n_raw    # what is held begins at raw_start; made_up goes with it
    cdef Py_ssize_t clean_start, n_clean
    cdef int16_t *raw_end(self) noexcept nogil
    cdef bint _ensure_room(self, Py_ssize_t n_samples) noexcept nogil
    cdef void _append(self, Py_ssize_t n_new, bint made_up) noexcept nogil
    cdef void _clean(self, const int16_t *src, int16_t *dst, Py_ssize_t n_samples) noexcept nogil
    cdef void _drop(self, Py_ssize_t n_samples) noexcept nogil
    cdef void _drop_clean(self, Py_ssize_t n_samples) noexcept nogil
    cdef void _take_back(self, Py_ssize_t n_samples) noexcept nogil
    cdef void _take_into(self, int16_t *out, Py_ssize_t n_samples) noexcept nogil

cdef class Processor:
    # What every packet touches comes first
    cdef bint plain                     # nothing cleans
    cdef Encoding code
    cdef int block_octets               # of one sample of all channels
    cdef int frame_block                # samples of a frame, all channels
    cdef readonly int frame_samples     # per channel
    cdef readonly int n_channels
    cdef int64_t n_in                   # samples taken since the start, per channel
    cdef int64_t n_out                  # samples framed since the start
    cdef int next_channel               # whose frame comes next
    cdef bint ending
    cdef bint concealing
    cdef readonly int sample_rate       # Hz
    cdef (PyObject *)[MAX_CHANNELS] channel_at   # of `channels`, borrowed, for use without the GIL
    cdef readonly str encoding
    cdef readonly int delay_samples     # of gate and compressor together
    cdef int sample_octets              # of one sample, one channel
    cdef tuple channels                 # of Channel
    cdef list held                      # frames of a packet's other channels, the next one last
    cdef Py_ssize_t to_drop             # of the first clean samples, which are the delay
    cdef int64_t concealed_samples, silent_concealed_samples, concealment_events

    # These take audio in; -1 when memory is out, and then nothing was taken.
    cdef int decode(self, const uint8_t *octets, Py_ssize_t n_samples) noexcept nogil
    cdef int fill(self, Py_ssize_t n_samples, bint conceal) noexcept nogil
    # What follows the hole of n_left samples that is being filled.
    cdef void look_ahead(self, int64_t n_left, const uint8_t *octets, Py_ssize_t n_samples) noexcept nogil
    cdef int end(self) noexcept nogil
    cdef bint has_frame(self) noexcept nogil
    # These hand frames out, when `has_frame`: one channel's, or those of all channels one behind the other.
    cdef Frame take(self)
    cdef Py_ssize_t take_into(self, int16_t *out) noexcept nogil
    cdef Py_ssize_t next_length(self) noexcept nogil
    # A packet that is a frame of each channel as it is, past the samples that wait; only while `takes_whole`.
    cdef Frame whole(self, const uint8_t *octets)

    # From now on frames leave their marks there, which has as many channels.
    cdef void note_in(self, Meter meter)

    cdef Frame _whole_frame(self, int i, const uint8_t *octets)
    cdef Frame _take_held(self)
    cdef void _decode_channel(self, const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples, int i) noexcept nogil
    cdef bint _ensure_room(self, Py_ssize_t n_samples) noexcept nogil
    cdef void _taken(self, Py_ssize_t n_samples) noexcept nogil


cdef inline Py_ssize_t samples_in(Processor processor, Py_ssize_t n_octets) noexcept nogil:
    """Whole samples per channel in so many octets."""
    return n_octets if processor.block_octets == 1 else n_octets // processor.block_octets


cdef inline bint takes_whole(Processor processor) noexcept nogil:
    """Whether a packet of a frame's length may be a frame at once: nothing waits and nothing cleans."""
    return processor.plain and processor.n_in == processor.n_out and not processor.ending


cdef inline void hear(Processor processor, int i, const uint8_t *octets, int16_t *out) noexcept nogil:
    """Decode and judge a frame of one channel, straight out of its packet."""
    cdef Py_ssize_t n = processor.frame_samples
    cdef int64_t squares
    if processor.block_octets == 1:
        squares = ulaw_measured(octets, out, n) if processor.code == PCMU else alaw_measured(octets, out, n)
    else:
        processor._decode_channel(octets, out, n, i)
        squares = sum_of_squares(out, n)
    remember((<Channel>processor.channel_at[i]).concealer, out, n, squares)
    push_measured((<Channel>processor.channel_at[i]).silence, out, n, squares)


cdef inline void whole_into(Processor processor, const uint8_t *octets, int16_t *out) noexcept nogil:
    """Write a frame of each channel, one behind the other, straight out of their packet; only while `takes_whole`."""
    cdef int i
    hear(processor, 0, octets, out)
    for i in range(1, processor.n_channels):
        hear(processor, i, octets, out + i * processor.frame_samples)
    processor.concealing = False
    processor.n_in += processor.frame_samples
    processor.n_out += processor.frame_samples
