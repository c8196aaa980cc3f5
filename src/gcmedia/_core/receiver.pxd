"""One stream, from packets to frames."""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t

from cpython.ref cimport PyObject

from gcmedia._core.frame cimport Frame
from gcmedia._core.jitter cimport JitterBuffer, Slot
from gcmedia._core.meter cimport Meter
from gcmedia._core.packet cimport Layout, LayoutDetector
from gcmedia._core.processor cimport Processor
from gcmedia._core.steady cimport PREFETCH, Steady
from gcmedia._core.timeline cimport Timeline

cdef enum Refusal:                # why the last packet was refused; told in words when asked
    NOT_REFUSED = 0
    REFUSED_SHORT = 1       # less than a header; its size
    REFUSED_BARE = 2        # a header alone
    REFUSED_PART = 3        # less than a sample; its octets of audio
    REFUSED_LONG = 4        # likewise
    REFUSED_SUSPECT = 5
    REFUSED_TOLD = 6        # in the caller's words

cdef enum:
    N_LINES = 16                # cache lines of other objects that nearly every packet touches

cdef struct Octets:
    const uint8_t *at
    Py_ssize_t size

cdef class Receiver:
    # Whose turn it was before this one's and whose after, the last time; borrowed, NULL for none
    cdef PyObject *before
    cdef PyObject *after
    cdef uint32_t turn                      # the number of its last turn
    # What every packet touches comes first
    cdef bint direct                        # octets go straight to `_push_octets`: see `_set_direct`
    cdef bint ended
    cdef bint paused
    cdef bint can_be_steady
    cdef bint busy                          # a batch runs without the GIL
    cdef bint *at_work                      # that, or the same of the bank it belongs to
    cdef int frame_block                    # samples of a frame, all channels
    cdef bint one_by_one                    # the frames of a moment may be taken from `frames` one by one
    cdef Steady steady                      # while it is open, what follows is behind
    cdef JitterBuffer jitter
    cdef Processor processor
    cdef Layout layout_code
    cdef bint reconnecting                  # restarted, and no packet since
    cdef (const char *)[N_LINES] lines      # where they are
    cdef int64_t max_ready                  # samples that may wait for `frames`
    # The hole that is being filled, and the one at the end of the call
    cdef int64_t hole_left, tail_samples
    cdef uint8_t hole_cause, tail_cause
    cdef Timeline line
    # Refusals
    cdef int64_t refused_short, refused_empty, refused_unreadable, ragged
    cdef Refusal refusal
    cdef uint32_t refused_number
    cdef int64_t refused_size               # octets
    cdef str refused_told
    cdef Meter noted                        # or None: nobody has asked for one
    # While the layout is not known
    cdef LayoutDetector detector
    cdef list undetermined                  # (packet, now), at most detector.n_patience

    # -1: memory is out
    cdef int _take_packet(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                          double now) noexcept nogil
    cdef bint _take_unusual(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                            double now, uint8_t flags) noexcept nogil
    cdef int _push_unsteady(self, const uint8_t *octets, Py_ssize_t size, double now) noexcept nogil
    cdef int _push_octets(self, const uint8_t *octets, Py_ssize_t size, double now) noexcept nogil
    cdef Py_ssize_t _read_into(self, int16_t *out, Py_ssize_t room) noexcept nogil
    cdef Py_ssize_t _read_steady(self, int16_t *out, Py_ssize_t room) noexcept nogil
    cdef void _release(self, double now) noexcept nogil

    cdef void _note_lines(self)
    cdef void _fetch_ahead(self) noexcept nogil
    cdef void _fetch_head(self) noexcept nogil
    cdef void _fetch_rest(self) noexcept nogil
    cdef void _change_turn(self) noexcept nogil

    cdef void _set_direct(self) noexcept
    cdef int _check_free(self) except -1
    cdef int _check_settled(self) except -1
    cdef void _settle(self) noexcept nogil
    cdef int _check_out(self, const Py_buffer *out) except -1
    cdef int _push_any(self, packet, double now) except -1
    cdef int _push_run(self, Octets *run, Py_ssize_t n, double now) except -1
    cdef void _refuse(self, Refusal refusal, uint32_t number, int64_t size) noexcept nogil
    cdef void _refuse_told(self, str reason)
    cdef int _drain_ring(self) noexcept nogil
    cdef int _feed(self) noexcept nogil
    cdef int _fill_up(self) noexcept nogil
    cdef Slot *_whole_frame(self) noexcept nogil
    cdef bint _is_dry(self) noexcept nogil
    cdef Frame _next_frame(self)
    cdef Frame _next_steady(self)
    cdef Frame _next_cleaned(self)
    cdef Py_ssize_t _read_unsteady(self, int16_t *out, Py_ssize_t room) noexcept nogil
    cdef int64_t _ready(self) noexcept nogil
    cdef int _settle_layout(self, packet, const uint8_t *octets, Py_ssize_t size, double now) except -1
    cdef void _close_with(self, int64_t n_samples) noexcept

cdef class FrameIterator:
    cdef Receiver receiver                  # None once exhausted
