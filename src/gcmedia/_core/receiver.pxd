"""One stream, from packets to frames."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

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

cdef struct HoleRecord:
    int64_t position
    int64_t n_samples
    uint8_t cause

cdef struct Anchor:
    int64_t timestamp
    int64_t position

cdef class Receiver:
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
    cdef bint has_origin
    cdef int64_t origin                     # timestamp at which the stream begins
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
    cdef str refusal

    cdef int _take_packet(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                          double now) except -1
    cdef int _push_octets(self, const uint8_t *octets, Py_ssize_t size, double now) except -1
    cdef int _refuse(self, str reason) except -1
    cdef void _place(self) noexcept nogil
    cdef void _place_packet(self, Slot *slot) noexcept nogil
    cdef int64_t _hole_before(self, Slot *slot, uint8_t *cause) noexcept nogil
    cdef int _next_agrees(self, Slot *slot, double tolerance) noexcept nogil
    cdef int64_t _hole_in_doubt(self, Slot *slot, double by_sequence, double jump, double exact,
                                uint8_t *cause) noexcept nogil
    cdef int _drain_ring(self) except -1
    cdef bint _arrival_agrees(self, Slot *slot, double step) noexcept nogil
    cdef void _add_hole(self, int64_t position, int64_t n_samples, uint8_t cause) noexcept nogil
    cdef void _add_anchor(self, int64_t timestamp, int64_t position) noexcept nogil
    cdef bint _feed(self) except -1
    cdef Frame _next_frame(self)
    cdef int64_t _ready(self) noexcept nogil
    cdef int _settle_layout(self, packet, const uint8_t *octets, Py_ssize_t size, double now) except -1
    cdef void _close_with(self, int64_t n_samples) noexcept
