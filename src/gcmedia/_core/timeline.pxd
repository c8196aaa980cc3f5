"""Where packets lie on the timeline of samples, and the holes between them."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from gcmedia._core.jitter cimport JitterBuffer, Slot, slot_of

cdef enum Cause:
    NO_CAUSE = 0
    CAUSE_LOST = 1
    CAUSE_RECONNECT = 2
    CAUSE_RESTART = 3
    CAUSE_PAUSED = 4
    CAUSE_OVERRUN = 5
    CAUSE_IDLE = 6

cdef enum:
    FEW_HOLES = 2               # room at first; most calls never need more
    MAX_HOLES = 64              # kept until the caller takes them
    MAX_ANCHORS = 16            # kept to place transcripts

cdef struct HoleRecord:
    int64_t position
    int64_t n_samples
    uint8_t cause

cdef struct Anchor:
    int64_t timestamp
    int64_t position

# A part of its receiver, so that a packet finds both in one piece of memory.
cdef struct Timeline:
    # What every packet touches
    int64_t placed              # places of the ring that are on the timeline
    int64_t missing             # places given up since the last packet
    int64_t end                 # first sample behind what is placed
    int64_t last_timestamp
    int64_t last_position
    double last_arrival
    int64_t even_step           # ticks: as far behind the last one, a packet of its length leaves no hole; NO_STEP
    int64_t steady              # packets in a row whose timestamps were exact
    uint32_t last_octets
    int32_t last_samples
    # What the others touch
    bint has_last
    bint varied                 # packets of different lengths have been seen
    bint slipped                # this packet's timestamp is not to be believed
    bint jumped                 # it is, although it does not go on from the last one
    double pending_jump         # samples; waits for the next packet to confirm it, 0 for none
    double samples_per_tick
    double max_hole             # samples
    int sample_rate
    int block_octets            # of one sample of all channels
    int64_t timestamp_jumps
    # Found, not yet taken by the caller
    int64_t n_holes, n_holes_taken
    int64_t room                # for holes, a power of two
    HoleRecord *holes           # `few_holes`, or allocated
    HoleRecord[FEW_HOLES] few_holes
    int64_t n_anchors
    Anchor[MAX_ANCHORS] anchors

# A timeline stays where it is; `end_line` gives its memory back.
cdef void begin(Timeline *line, int sample_rate, int block_octets, double samples_per_tick,
                double max_hole) noexcept nogil
cdef void end_line(Timeline *line) noexcept nogil
cdef void add_hole(Timeline *line, int64_t position, int64_t n_samples, uint8_t cause) noexcept nogil
cdef HoleRecord *take_hole(Timeline *line) noexcept nogil
cdef int64_t samples_between(const Timeline *line, int64_t start, int64_t end) noexcept nogil
# Of a media timestamp; not before there was a packet.
cdef int64_t position_of(const Timeline *line, int64_t timestamp) noexcept nogil
cdef void lay_all(Timeline *line, JitterBuffer jitter) noexcept nogil


cdef inline void lay(Timeline *line, JitterBuffer jitter) noexcept nogil:
    """Lay what the jitter buffer has decided on the timeline."""
    cdef Slot *slot
    if line.placed == jitter.next and line.placed >= jitter.read:
        return
    # Nearly always one packet, as long as the last and right behind it.
    if line.placed + 1 == jitter.next and line.placed >= jitter.read and not line.missing:
        slot = slot_of(jitter, line.placed)
        if (slot != NULL and not slot.flags and not slot.missing and slot.n_octets == line.last_octets
                and <int64_t>(<uint64_t>slot.timestamp - <uint64_t>line.last_timestamp) == line.even_step):
            slot.n_samples = line.last_samples
            line.steady += 1
            line.last_timestamp = slot.timestamp
            line.last_position = line.end
            line.last_arrival = slot.arrival
            line.end += slot.n_samples
            line.placed += 1
            return
    lay_all(line, jitter)
