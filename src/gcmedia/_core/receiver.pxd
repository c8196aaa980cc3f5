"""One stream, from packets to frames."""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t

from gcmedia._core.frame cimport Frame
from gcmedia._core.jitter cimport JitterBuffer, Slot
from gcmedia._core.packet cimport Layout, LayoutDetector
from gcmedia._core.processor cimport Processor
from gcmedia._core.sequence cimport Outcome

cdef enum Cause:
    NO_CAUSE = 0
    CAUSE_LOST = 1
    CAUSE_RECONNECT = 2
    CAUSE_RESTART = 3
    CAUSE_PAUSED = 4
    CAUSE_OVERRUN = 5
    CAUSE_IDLE = 6

cdef enum:
    MAX_HOLES = 64              # kept until the caller takes them
    MAX_ANCHORS = 16            # kept to place transcripts

cdef enum Refusal:                # why the last packet was refused; told in words when asked
    NOT_REFUSED = 0
    REFUSED_SHORT = 1       # less than a header; its size
    REFUSED_BARE = 2        # a header alone
    REFUSED_PART = 3        # less than a sample; its octets of audio
    REFUSED_LONG = 4        # likewise
    REFUSED_SUSPECT = 5
    REFUSED_TOLD = 6        # in the caller's words

cdef struct HoleRecord:
    int64_t position
    int64_t n_samples
    uint8_t cause

cdef struct Octets:
    const uint8_t *at
    Py_ssize_t size

cdef struct Anchor:
    int64_t timestamp
    int64_t position

cdef class Receiver:
    # What every packet touches comes first
    cdef bint direct                        # octets go straight to `_push_octets`: see `_set_direct`
    cdef JitterBuffer jitter
    cdef Processor processor
    cdef Layout layout_code
    cdef LayoutDetector detector            # while the layout is not known
    cdef list undetermined                  # (packet, now), at most detector.n_patience
    cdef double samples_per_tick
    cdef double max_hole                    # samples
    cdef int64_t max_ready                  # samples that may wait for `frames`
    cdef bint paused
    cdef bint ended
    cdef bint busy                          # a batch runs without the GIL
    cdef bint *at_work                      # that, or the same of the bank it belongs to
    cdef bint reconnecting                  # restarted, and no packet since
    # The timeline: where the next packet goes
    cdef int64_t placed                     # places of the ring that are on the timeline
    cdef int64_t missing                    # places given up since the last packet
    cdef int64_t position_end               # first sample behind what is placed
    cdef bint has_last
    cdef int64_t last_timestamp
    cdef int64_t last_position
    cdef double last_arrival
    cdef int last_samples
    cdef bint varied                        # packets of different lengths have been seen
    cdef double pending_jump                # samples; waits for the next packet to confirm it, 0 for none
    cdef int steady                         # packets in a row whose timestamps were exact
    cdef bint slipped                       # this packet's timestamp is not to be believed
    cdef bint jumped                        # it is, although it does not go on from the last one
    cdef int64_t timestamp_jumps
    # The hole that is being filled
    cdef int64_t hole_left
    cdef uint8_t hole_cause
    cdef int64_t tail_samples               # the hole at the end of the call
    cdef uint8_t tail_cause
    # Found, not yet taken by the caller
    cdef HoleRecord[MAX_HOLES] holes_found
    cdef int64_t n_holes, n_holes_taken
    cdef Anchor[MAX_ANCHORS] anchors
    cdef int64_t n_anchors
    # Refusals
    cdef int64_t refused_short, refused_empty, refused_unreadable, ragged
    cdef Refusal refusal
    cdef uint32_t refused_number
    cdef int64_t refused_size               # octets
    cdef str refused_told

    # -1: memory is out
    cdef int _take_packet(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                          double now) noexcept nogil
    cdef int _push_octets(self, const uint8_t *octets, Py_ssize_t size, double now) noexcept nogil
    cdef Py_ssize_t _read_into(self, int16_t *out, Py_ssize_t room) noexcept nogil
    cdef void _release(self, double now) noexcept nogil

    cdef void _set_direct(self) noexcept
    cdef int _check_free(self) except -1
    cdef int _check_out(self, const Py_buffer *out) except -1
    cdef int _push_any(self, packet, double now) except -1
    cdef int _push_run(self, Octets *run, Py_ssize_t n, double now) except -1
    cdef void _refuse(self, Refusal refusal, uint32_t number, int64_t size) noexcept nogil
    cdef void _refuse_told(self, str reason)
    cdef void _place(self) noexcept nogil
    cdef void _place_packet(self, Slot *slot) noexcept nogil
    cdef int64_t _hole_before(self, Slot *slot, uint8_t *cause) noexcept nogil
    cdef int _next_agrees(self, Slot *slot, double tolerance) noexcept nogil
    cdef int64_t _hole_in_doubt(self, Slot *slot, double by_sequence, double jump, double exact,
                                uint8_t *cause) noexcept nogil
    cdef int _drain_ring(self) noexcept nogil
    cdef bint _arrival_agrees(self, Slot *slot, double step) noexcept nogil
    cdef void _add_hole(self, int64_t position, int64_t n_samples, uint8_t cause) noexcept nogil
    cdef void _add_anchor(self, int64_t timestamp, int64_t position) noexcept nogil
    cdef int _feed(self) noexcept nogil
    cdef int _fill_up(self) noexcept nogil
    cdef Slot *_whole_frame(self) noexcept nogil
    cdef Frame _next_frame(self)
    cdef int64_t _ready(self) noexcept nogil
    cdef int _settle_layout(self, packet, const uint8_t *octets, Py_ssize_t size, double now) except -1
    cdef void _close_with(self, int64_t n_samples) noexcept
    cdef int64_t _samples_between(self, int64_t start, int64_t end) noexcept

cdef class FrameIterator:
    cdef Receiver receiver                  # None once exhausted
