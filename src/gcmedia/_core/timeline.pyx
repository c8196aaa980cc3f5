"""Where packets lie on the timeline of samples, and the holes between them.

A packet that follows the one before it begins where that one ended.  Where packets are missing the hole is as long
as they would have been; media timestamps decide where the sequence numbers cannot: after a restart, after a long
gap, and where packets differ in length.
"""

from libc.math cimport fabs, llround
from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc

from gcmedia._core.jitter cimport SLOT_CUT, SLOT_DISCARD, SLOT_RECONNECT, SLOT_RESET, JitterBuffer, Slot, slot_of

# Packets with exact timestamps in a row, from which on small jumps mean something.
cdef int N_STEADY = 4
cdef double MAX_DRIFT = 500e-6              # of two clocks that both count the same call
cdef int64_t NO_STEP = INT64_MIN            # no two timestamps lie so far apart


cdef void begin(Timeline *line, int sample_rate, int block_octets, double samples_per_tick,
                double max_hole) noexcept nogil:
    """Make a timeline of zeros ready for its first packet."""
    line.sample_rate = sample_rate
    line.block_octets = block_octets
    line.samples_per_tick = samples_per_tick
    line.max_hole = max_hole
    line.even_step = NO_STEP
    line.holes = line.few_holes
    line.room = FEW_HOLES


cdef void end_line(Timeline *line) noexcept nogil:
    if line.room > FEW_HOLES:
        free(line.holes)


cdef bint _make_room(Timeline *line) noexcept nogil:
    """Make room for twice as many holes; False at the bound, or when memory is out."""
    cdef int64_t room = 2 * line.room, i
    cdef HoleRecord *holes
    if room > MAX_HOLES:
        return False
    holes = <HoleRecord *>malloc(room * sizeof(HoleRecord))
    if holes == NULL:
        return False
    for i in range(line.n_holes_taken, line.n_holes):
        holes[i & (room - 1)] = line.holes[i & (line.room - 1)]
    end_line(line)
    line.holes = holes
    line.room = room
    return True


cdef void add_hole(Timeline *line, int64_t position, int64_t n_samples, uint8_t cause) noexcept nogil:
    cdef HoleRecord *last
    if n_samples <= 0:
        return
    if line.n_holes > line.n_holes_taken:
        last = &line.holes[(line.n_holes - 1) & (line.room - 1)]
        if last.cause == cause and last.position + last.n_samples == position:
            last.n_samples += n_samples
            return
    if line.n_holes - line.n_holes_taken == line.room and not _make_room(line):
        line.n_holes_taken += 1                                 # nobody takes them: the oldest gives way
    last = &line.holes[line.n_holes & (line.room - 1)]
    last.position = position
    last.n_samples = n_samples
    last.cause = cause
    line.n_holes += 1


cdef HoleRecord *take_hole(Timeline *line) noexcept nogil:
    """The oldest hole that nobody has taken, or NULL."""
    if line.n_holes_taken == line.n_holes:
        return NULL
    line.n_holes_taken += 1
    return &line.holes[(line.n_holes_taken - 1) & (line.room - 1)]


cdef void _add_anchor(Timeline *line, int64_t timestamp, int64_t position) noexcept nogil:
    cdef Anchor *anchor = &line.anchors[line.n_anchors % MAX_ANCHORS]
    anchor.timestamp = timestamp
    anchor.position = position
    line.n_anchors += 1


cdef int64_t samples_between(const Timeline *line, int64_t start, int64_t end) noexcept nogil:
    """Media time between two timestamps, held within a range that no call reaches."""
    cdef double n_samples = (<double>end - <double>start) * line.samples_per_tick
    return llround(min(max(n_samples, -1e15), 1e15))


cdef int64_t _since_anchor(const Timeline *line, const Anchor *anchor, int64_t end_timestamp, int64_t end_position,
                           int64_t timestamp) noexcept nogil:
    """Samples from an anchor to a timestamp before the next place that is known.

    The clock of the timestamps may drift against the samples: between two places that agree but for that, their share
    of the way is the same.
    """
    cdef double by_clock = (<double>end_timestamp - <double>anchor.timestamp) * line.samples_per_tick
    cdef double by_count = <double>(end_position - anchor.position)
    if by_clock <= 0 or fabs(by_count - by_clock) > MAX_DRIFT * by_clock:
        return samples_between(line, anchor.timestamp, timestamp)
    return llround((<double>timestamp - <double>anchor.timestamp) * line.samples_per_tick * (by_count / by_clock))


cdef int64_t position_of(const Timeline *line, int64_t timestamp) noexcept nogil:
    cdef int64_t i = 0
    cdef const Anchor *anchor = NULL
    cdef const Anchor *following
    if timestamp >= line.last_timestamp:
        return line.last_position + samples_between(line, line.last_timestamp, timestamp)
    for i in range(line.n_anchors - 1, max(<int64_t>0, line.n_anchors - MAX_ANCHORS) - 1, -1):
        anchor = &line.anchors[i % MAX_ANCHORS]
        if anchor.timestamp <= timestamp:
            break
    if i == line.n_anchors - 1:
        return max(
            <int64_t>0,
            anchor.position + _since_anchor(line, anchor, line.last_timestamp, line.last_position, timestamp),
        )
    following = &line.anchors[(i + 1) % MAX_ANCHORS]
    return max(
        <int64_t>0,
        anchor.position + _since_anchor(line, anchor, following.timestamp, following.position, timestamp),
    )


cdef int _next_agrees(Timeline *line, JitterBuffer jitter, Slot *slot, double tolerance) noexcept nogil:
    """Whether the timestamp of the packet behind this one goes on from here; -1 when it is not there."""
    cdef Slot *following = slot_of(jitter, slot.place + 1)
    cdef double step
    if following == NULL:
        return -1
    step = <double>(<int64_t>(<uint64_t>following.timestamp - <uint64_t>slot.timestamp)) * line.samples_per_tick
    return fabs(step - slot.n_samples) <= tolerance


cdef bint _arrival_agrees(Timeline *line, Slot *slot, double step) noexcept nogil:
    """Whether about as much time has passed between the arrivals as between the timestamps, in samples."""
    cdef double waited = (slot.arrival - line.last_arrival) * line.sample_rate
    return fabs(waited - step) <= 0.25 * step


cdef int64_t _hole_before(Timeline *line, JitterBuffer jitter, Slot *slot, uint8_t *cause) noexcept nogil:
    """Length of the hole between the last packet and this one, in samples, and its cause."""
    cdef int64_t missing = line.missing + slot.missing
    cdef double ticks = <double>(<int64_t>(<uint64_t>slot.timestamp - <uint64_t>line.last_timestamp))
    cdef double by_timestamp = ticks * line.samples_per_tick - line.last_samples
    cdef double by_sequence = <double>missing * line.last_samples
    cdef double exact = 1.5 * line.samples_per_tick         # what rounding to ticks explains
    cdef bint possible = -exact <= by_timestamp <= line.max_hole
    cause[0] = CAUSE_RECONNECT if slot.flags & SLOT_RECONNECT else CAUSE_LOST
    if slot.flags & SLOT_DISCARD:
        cause[0] = CAUSE_PAUSED

    if slot.flags & SLOT_RESET:
        if cause[0] == CAUSE_LOST:
            cause[0] = CAUSE_RESTART
        if not possible:
            by_timestamp = (slot.arrival - line.last_arrival) * line.sample_rate - line.last_samples
            by_timestamp = min(by_timestamp, line.max_hole)
        return llround(max(by_timestamp, 0.0))
    if slot.flags & SLOT_RECONNECT or (missing and (line.varied or slot.flags & SLOT_CUT)):
        return llround(max(by_timestamp, 0.0) if possible else by_sequence)
    return _hole_in_doubt(line, jitter, slot, by_sequence, by_timestamp - by_sequence, exact, cause)


cdef int64_t _hole_in_doubt(Timeline *line, JitterBuffer jitter, Slot *slot, double by_sequence, double jump,
                            double exact, uint8_t *cause) noexcept nogil:
    """Length of a hole of which the timestamp says that it is longer, by ``jump``, than the numbers say.

    The sender was idle, or its clock or its count was set, if another packet or the arrival confirms it; else the
    timestamp of one packet has slipped and is not believed.  As long as timestamps have been exact a jump of
    any length is told from their noise; else one of at least two packets.
    """
    cdef double noise = 2.0 * line.last_samples
    cdef double tolerance = exact if line.steady >= N_STEADY else noise
    cdef bint confirmed
    cdef int agrees
    if fabs(jump) <= tolerance:
        line.steady = line.steady + 1 if fabs(jump) <= exact else 0
        line.pending_jump = 0
        return llround(by_sequence)
    confirmed = line.pending_jump != 0 and fabs(jump - line.pending_jump) <= tolerance
    line.pending_jump = 0
    if not confirmed:
        agrees = _next_agrees(line, jitter, slot, tolerance)
        confirmed = agrees == 1 or (
            jump > noise and _arrival_agrees(line, slot, by_sequence + jump + line.last_samples)
        )
        if not confirmed and fabs(jump) <= noise:
            line.steady = 0
            return llround(by_sequence)
        line.timestamp_jumps += 1
        if not confirmed:
            line.slipped = True
            if agrees == -1:
                line.pending_jump = jump
            return llround(by_sequence)
    line.jumped = True
    if not -exact <= by_sequence + jump <= line.max_hole:
        return llround(by_sequence)
    if by_sequence == 0 and cause[0] == CAUSE_LOST:
        cause[0] = CAUSE_IDLE
    return llround(max(by_sequence + jump, 0.0))


cdef void _place_packet(Timeline *line, JitterBuffer jitter, Slot *slot) noexcept nogil:
    """Lay one packet on the timeline, behind the hole that precedes it."""
    cdef int64_t hole = 0
    cdef int64_t step = <int64_t>(<uint64_t>slot.timestamp - <uint64_t>line.last_timestamp)
    cdef bint follows = line.has_last and not line.missing and not slot.missing and not slot.flags
    cdef bint even
    cdef uint8_t cause = NO_CAUSE
    slot.n_samples = <int>slot.n_octets // line.block_octets
    line.slipped = line.jumped = False
    if line.has_last:
        if slot.n_samples != line.last_samples:
            line.varied = True
        hole = _hole_before(line, jitter, slot, &cause)
    elif jitter.has_origin:
        hole = llround(<double>(slot.timestamp - jitter.origin) * line.samples_per_tick)
        cause = CAUSE_PAUSED if slot.flags & SLOT_DISCARD else CAUSE_LOST
        if not 0 <= hole <= line.max_hole:
            hole = 0
    slot.hole_samples = hole
    slot.hole_cause = cause
    add_hole(line, line.end, hole, cause)
    line.end += hole
    if not line.has_last or line.jumped or slot.flags & (SLOT_RESET | SLOT_CUT):
        _add_anchor(line, slot.timestamp, line.end)
    if slot.flags & SLOT_DISCARD:
        add_hole(line, line.end, slot.n_samples, CAUSE_PAUSED)
    if line.has_last and line.slipped:
        line.last_timestamp += llround((line.last_samples + hole) / line.samples_per_tick)
    else:
        line.last_timestamp = slot.timestamp
    even = (
        follows and hole == 0 and slot.n_samples == line.last_samples and not line.slipped and not line.jumped
        and line.pending_jump == 0 and line.steady >= N_STEADY
        and fabs(step * line.samples_per_tick - slot.n_samples) <= 1.5 * line.samples_per_tick
    )
    line.even_step = step if even else NO_STEP
    line.last_position = line.end
    line.last_arrival = slot.arrival
    line.last_samples = slot.n_samples
    line.last_octets = slot.n_octets
    line.has_last = True
    line.missing = 0
    line.end += slot.n_samples


cdef void lay_all(Timeline *line, JitterBuffer jitter) noexcept nogil:
    cdef Slot *slot
    # The ring was counted anew or has overrun; or its first packets came in disorder, and none was placed.
    if line.placed < jitter.read or line.placed > jitter.next or jitter.fresh:
        line.placed = jitter.read
    while line.placed < jitter.next:
        slot = slot_of(jitter, line.placed)
        if slot == NULL:
            line.missing += 1
        else:
            _place_packet(line, jitter, slot)
        line.placed += 1
