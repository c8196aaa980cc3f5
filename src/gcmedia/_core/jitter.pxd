"""A ring of packet slots: order by sequence number, wait as the policy says, release exactly once.

Three places in the ring, all counted in slots since the start::

      read            next              newest
        |  released     |   waiting        |
    ----+---------------+------------------+----
        taken by the    decided: present,
        reader in order or given up as lost

A packet that follows a long gap or a restart is put close behind the newest one, whatever its number; its slot
says how many packets are missing before it.
"""

from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from gcmedia._core.playout cimport PlayoutEstimator
from gcmedia._core.sequence cimport Outcome, SequenceValidator, expected_of, goes_on, lost_of, push_next

cdef enum SlotFlag:
    SLOT_DISCARD = 1        # arrived while paused: its audio must not be played
    SLOT_RESET = 2          # first of a new sequence
    SLOT_CUT = 4            # follows a gap that is not waited for
    SLOT_RECONNECT = 8      # first of a new connection

cdef enum:
    CACHE_LINE = 64         # octets

cdef struct Slot:
    int64_t place           # in the ring's counting; -1 when empty
    int64_t timestamp       # ticks
    double arrival          # seconds
    int64_t missing         # packets missing before it that have no slots (SLOT_CUT)
    int64_t hole_samples    # set by the receiver when it lays the packet on the timeline
    int32_t n_samples       # likewise
    uint32_t number         # sequence number
    uint32_t n_octets
    uint8_t flags
    uint8_t hole_cause
    uint8_t[10] filling     # up to CACHE_LINE octets

cdef enum:
    N_INTERVALS = 50
    ORIGIN_MISSES = 3       # packets far from where the stream is said to begin, after which it does not begin there
    CUT_ROOM = 3            # places left open before a packet that follows a cut
    MIN_EXPECTED = 20       # packets, before loss is judged
    LOSS_BLOCK = 64         # packets expected per entry of the loss history
    N_LOSS_BLOCKS = 4       # a power of two

cdef class JitterBuffer:
    # What every packet touches comes first
    cdef SequenceValidator validator
    cdef bint by_depth, by_window, by_delay
    cdef int n_slots
    cdef int n_there                        # slots made so far, a power of two up to n_slots
    cdef bint fresh                         # nothing has been released yet
    cdef Slot *slots                        # n_there, and one for the suspect
    cdef uint8_t *payloads                  # the same count, `stride` octets apart, each with room for `room`
    cdef Py_ssize_t room, stride
    cdef int64_t read, next, newest         # places; newest is the highest one in use
    cdef int64_t overrun_samples            # dropped unread, to be filled before the next slot
    cdef bint restarting                    # a new connection has taken over, and no packet come since
    cdef bint has_transit
    cdef readonly double timestamp_rate     # ticks per second
    cdef double jitter                      # seconds
    cdef double last_transit
    cdef int64_t newest_timestamp
    cdef double ticks_per_packet            # 0 until two steps of the timestamps have agreed
    cdef double last_step                   # ticks
    cdef int64_t n_recent
    cdef double spanned_ticks               # by the last n_spanned intervals, when they were averaged last
    cdef int64_t n_spanned
    cdef double mean_interval               # seconds
    cdef double spacing                     # seconds between packets, as the depth policy saw it last
    cdef int recent_at                      # where the next one goes
    cdef int target_depth                   # packets
    cdef int dwell, dwell_packets
    cdef int gap_tolerance, lowered_depth
    cdef double raise_loss, raise_interval, lower_loss, lower_interval, max_hold
    cdef int64_t lost_before_blocks         # lost before the blocks that count
    cdef int64_t block_end                  # packets expected at the end of the block that is going on
    cdef int64_t given_up                   # places in a row, just before `next`
    cdef double released_timestamp          # ticks, of the packet released last; NaN for none
    cdef int64_t received, played
    cdef double clock                       # seconds: the latest time told
    cdef int64_t octets, flushes
    cdef int64_t emitted                    # packets released
    cdef double delay_sum, target_sum       # seconds, over the packets released
    cdef int64_t[N_INTERVALS + 1] recent_timestamps
    # What the others touch
    cdef readonly object config             #: gcmedia.JitterConfig
    cdef readonly Py_ssize_t max_payload_octets
    cdef PlayoutEstimator playout           # of the adaptive policy, else None
    cdef int64_t shift                      # extended sequence number minus place
    cdef int64_t lost_before                # places given up since the last packet taken
    cdef bint has_origin
    cdef int origin_misses                  # packets far from it
    cdef int64_t origin                     # timestamp at which the stream is said to begin
    cdef int raised_depth
    cdef double window, narrow_window, wide_window, wide_loss, narrow_loss
    cdef bint behind                        # the last packet came after it was due
    cdef int64_t[N_LOSS_BLOCKS] block_expected
    cdef int64_t[N_LOSS_BLOCKS] block_lost
    cdef int64_t n_blocks
    cdef int64_t duplicates, late, reordered, discarded, malformed, oversized, underruns, overruns

    cdef Slot *slot_at(self, int64_t place) noexcept nogil
    cdef uint8_t *payload_at(self, int64_t place) noexcept nogil
    cdef Outcome insert(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                        double now, uint8_t flags) noexcept nogil
    cdef void release(self, double now) noexcept nogil
    cdef void release_all(self) noexcept nogil
    cdef void take_over(self) noexcept nogil
    cdef double loss_rate(self) noexcept nogil
    cdef int64_t buffered(self) noexcept nogil

    cdef bint _ensure_room(self, Py_ssize_t n_octets) noexcept nogil
    cdef bint _ensure_slots(self, int64_t n_places) noexcept nogil
    cdef bint _move(self, int n_there, Py_ssize_t room) noexcept nogil
    cdef int64_t _place_after_cut(self, int64_t extended, Outcome outcome, int64_t *missing,
                                  uint8_t *flags) noexcept nogil
    cdef int _evidence(self, uint32_t number, int64_t timestamp) noexcept nogil
    cdef bint _near_origin(self, int64_t timestamp) noexcept nogil
    cdef void _take_over_cut(self, int64_t place) noexcept nogil
    cdef void _make_way(self, int64_t place) noexcept nogil
    cdef void _step(self) noexcept nogil
    cdef void _release_by_depth(self, double now) noexcept nogil
    cdef void _release_by_window(self, double now) noexcept nogil
    cdef void _release_by_delay(self, double now) noexcept nogil
    cdef void _follow_arrival(self, int64_t timestamp, double now) noexcept nogil
    cdef double target_delay(self) noexcept nogil
    cdef void _end_blocks(self) noexcept nogil
    cdef void _adapt_depth(self, double loss) noexcept nogil
    cdef void _adapt_window(self, double loss) noexcept nogil
    cdef int64_t _make_room_below(self) noexcept nogil
    cdef Slot *_first_waiting(self) noexcept nogil
    cdef list _take(self)


# Inline, for those who read the ring; a place of the ring is the same slot until `read` has passed it.

cdef inline Slot *slot_of(JitterBuffer buffer, int64_t place) noexcept nogil:
    """The slot of a place, or NULL when the place is empty."""
    cdef Slot *slot = &buffer.slots[place & (buffer.n_there - 1)]
    return slot if slot.place == place else NULL


cdef inline uint8_t *payload_of(JitterBuffer buffer, int64_t place) noexcept nogil:
    return &buffer.payloads[(place & (buffer.n_there - 1)) * buffer.stride]


# What each packet goes through, inline so that all of it is one piece of code.

cdef inline void store(JitterBuffer buffer, int64_t place, uint32_t number, int64_t timestamp, const uint8_t *payload,
                       Py_ssize_t n_octets, double now, uint8_t flags, int64_t missing) noexcept nogil:
    cdef Slot *slot = &buffer.slots[place & (buffer.n_there - 1)]
    slot.place = place
    slot.timestamp = timestamp
    slot.arrival = now
    slot.missing = missing
    slot.hole_samples = 0
    slot.n_samples = 0
    slot.number = number
    slot.n_octets = n_octets
    slot.flags = flags
    slot.hole_cause = 0
    memcpy(payload_of(buffer, place), payload, n_octets)
    if place > buffer.newest:
        buffer.newest = place


cdef inline void measure_packet(JitterBuffer buffer, double ticks) noexcept nogil:
    """Learn the length of a packet: what two steps of the timestamps in a row agree on."""
    if ticks > 0 and fabs(ticks - buffer.last_step) <= 2.0:
        buffer.ticks_per_packet = ticks
    buffer.last_step = ticks


cdef inline void step_over(JitterBuffer buffer, Slot *slot, double target_delay) noexcept nogil:
    """Release the packet at ``next``."""
    cdef double waited = buffer.clock - slot.arrival
    buffer.emitted += 1
    buffer.delay_sum += waited if waited > 0.0 else 0.0
    buffer.target_sum += target_delay
    buffer.released_timestamp = slot.timestamp
    buffer.flushes += buffer.given_up > buffer.gap_tolerance
    buffer.given_up = 0
    buffer.next += 1
    buffer.fresh = False


cdef inline void release_due(JitterBuffer buffer, double now) noexcept nogil:
    """`JitterBuffer.release`; the depth policy mostly lets one packet go, which is there, and then waits again."""
    cdef int64_t depth = buffer.newest - buffer.next + 1
    cdef Slot *slot
    if buffer.by_depth and depth <= buffer.target_depth:
        if depth == 0:
            buffer.clock = now
            return
        slot = slot_of(buffer, buffer.next)
        if slot != NULL and depth == buffer.target_depth:
            buffer.clock = now
            step_over(buffer, slot, buffer.target_depth * buffer.spacing)
            if depth == 1:
                return
            slot = slot_of(buffer, buffer.next)
        if slot != NULL and now - slot.arrival < buffer.max_hold:
            buffer.clock = now
            return
    buffer.release(now)


cdef inline void finish(JitterBuffer buffer, Slot *slot) noexcept nogil:
    """The reader has finished with the slot at ``read``."""
    if slot.flags & SLOT_DISCARD:
        buffer.discarded += 1
    else:
        buffer.played += 1
    slot.place = -1
    buffer.read += 1


cdef inline void observe(JitterBuffer buffer, int64_t timestamp, double now) noexcept nogil:
    """Interarrival jitter (RFC 3550 A.8), packet spacing, loss history."""
    cdef double transit = now - timestamp / buffer.timestamp_rate
    if buffer.has_transit:
        buffer.jitter += (fabs(transit - buffer.last_transit) - buffer.jitter) / 16.0
    buffer.last_transit = transit
    buffer.has_transit = True
    if timestamp > buffer.newest_timestamp or buffer.n_recent == 0 or buffer.received == 1:
        buffer.newest_timestamp = timestamp
    if buffer.by_delay:
        buffer._follow_arrival(timestamp, now)
    buffer.recent_timestamps[buffer.recent_at] = timestamp
    buffer.recent_at = buffer.recent_at + 1 if buffer.recent_at < N_INTERVALS else 0
    buffer.n_recent += 1
    if expected_of(buffer.validator) >= buffer.block_end:
        buffer._end_blocks()


cdef inline double interval_of(JitterBuffer buffer) noexcept nogil:
    """Mean spacing of the timestamps of the last 50 packets, in seconds."""
    cdef int64_t n = buffer.n_recent - 1 if buffer.n_recent <= N_INTERVALS else N_INTERVALS
    cdef int64_t first, last
    cdef double ticks
    if n < 1:
        return 0.0
    # Once the list has come round, the oldest lies where the next will be put.
    last = buffer.recent_timestamps[buffer.recent_at - 1 if buffer.recent_at else N_INTERVALS]
    first = buffer.recent_timestamps[buffer.recent_at if n == N_INTERVALS else 0]
    ticks = <double>last - <double>first
    if ticks != buffer.spanned_ticks or n != buffer.n_spanned:      # else the divisions would give the same
        buffer.spanned_ticks = ticks
        buffer.n_spanned = n
        buffer.mean_interval = max(0.0, ticks / n / buffer.timestamp_rate)
    return buffer.mean_interval


cdef inline void adapt(JitterBuffer buffer) noexcept nogil:
    """Let the policy see how packets come."""
    cdef double loss = 0.0
    if buffer.by_delay:
        return
    if buffer.by_depth:
        buffer.spacing = interval_of(buffer)
    if expected_of(buffer.validator) < MIN_EXPECTED:
        return
    if lost_of(buffer.validator) > buffer.lost_before_blocks:
        loss = buffer.loss_rate()
    if buffer.by_depth:
        buffer._adapt_depth(loss)
    else:
        buffer._adapt_window(loss)


cdef inline bint take_next(JitterBuffer buffer, uint32_t number, int64_t timestamp, const uint8_t *payload,
                           Py_ssize_t n_octets, double now, uint8_t flags) noexcept nogil:
    """Take a packet that goes on from the one before it, as nearly all do; False when it does not."""
    cdef int64_t place = buffer.newest + 1
    if (not goes_on(buffer.validator, number) or n_octets > buffer.room or buffer.restarting
            or place - buffer.next >= buffer.n_slots // 2 or place - buffer.read >= buffer.n_there):
        return False
    buffer.received += 1
    buffer.octets += n_octets
    buffer.clock = now
    push_next(buffer.validator)
    store(buffer, place, number, timestamp, payload, n_octets, now, flags, 0)
    measure_packet(buffer, <double>timestamp - <double>buffer.newest_timestamp)
    observe(buffer, timestamp, now)
    adapt(buffer)
    return True
