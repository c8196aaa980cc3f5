"""The steady stretch of a stream: packets that go on as the last ones did, one in and one out.

Most of what such a packet changes is a number that grows by one, or by one step.  So packets and frames are counted
here, beside what each of them does need, in a few neighbouring cache lines.  `settle` brings the books of jitter
buffer, timeline and processor up to date; it comes before anything else reads or changes them.
"""

from cpython.ref cimport PyObject
from libc.math cimport fabs
from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from gcmedia._core.conceal cimport Concealer, note_block
from gcmedia._core.g711 cimport alaw_measured, ulaw_measured
from gcmedia._core.jitter cimport CACHE_LINE, N_INTERVALS, JitterBuffer
from gcmedia._core.packet cimport Layout, load_i64le, load_u32le
from gcmedia._core.processor cimport PCMU, Channel, Processor
from gcmedia._core.silence cimport SilenceDetector, push_measured
from gcmedia._core.timeline cimport Timeline

cdef extern from *:
    """
    #define PREFETCH(at) __builtin_prefetch(at)
    #define PREFETCH_L2(at) __builtin_prefetch(at, 0, 2)
    """
    void PREFETCH(const void *at) noexcept nogil
    void PREFETCH_L2(const void *at) noexcept nogil     # what is much, not nearer than the second cache

cdef enum:
    MAX_WAITING = 8         # packets, a power of two; deeper buffers go the long way
    KEPT = 3                # frames handed out that the concealer keeps, from `settle` on, so their octets must stay
    USUAL = 160             # octets, of most packets

cdef struct Steady:
    # Packets in
    int64_t left            # packets that may still be taken
    uint32_t number, size   # of the packet that comes next: sequence number; octets, header included
    int64_t timestamp       # ticks
    int offset, n_octets    # of its header, and of its audio, which is a frame
    int64_t step            # ticks between packets
    int64_t spanned         # ticks between a packet and the one N_INTERVALS before it
    int64_t place, next, out    # in the ring: of the packet that comes next, that is released next, that is read next
    int64_t room            # places from `out` on that may be in use
    uint8_t *payloads       # of the ring, `mask` + 1, `stride` octets apart
    int64_t mask, stride
    int64_t *recent         # timestamps: the ring's list of the last N_INTERVALS + 1
    int recent_at
    bint calm               # the depth policy counts packets to lower the depth, or is done
    double timestamp_rate, max_hold
    double last_transit, jitter, clock, delay_sum, target_sum
    double target_delay     # seconds
    double[MAX_WAITING] arrivals    # by place
    # Frames out
    bint whole              # whatever is released and not read is a frame as it is
    bint ulaw
    PyObject *detector      # SilenceDetector of the only channel
    const void *window      # of it
    PyObject *concealer     # Concealer of it, NULL where it needs to know nothing
    int64_t position        # samples handed out
    # Where gate or compressor hold one frame back
    PyObject *cleaner       # Channel of which they are; NULL where nothing cleans
    int16_t *waiting        # decoded: the frame that goes with what they put out next,
    int64_t waiting_squares     # and the sum of its squares
    int16_t *spare          # room for one more
    const char *gate        # state of the gate, so many octets
    Py_ssize_t gate_octets
    # Since the books were up to date
    bint open
    int64_t n_pushed, n_taken

# Settings under which a stream can be steady at all.
cdef bint can_be_steady(JitterBuffer jitter, Processor processor) noexcept nogil
# Whether the packet taken last leaves the stream steady; the books are up to date, no hole is being filled.
cdef void begin_steady(Steady *steady, JitterBuffer jitter, Timeline *line, Processor processor,
                       Layout layout) noexcept nogil
cdef void bring_up_to_date(Steady *steady, JitterBuffer jitter, Timeline *line, Processor processor) noexcept nogil


cdef inline void settle(Steady *steady, JitterBuffer jitter, Timeline *line, Processor processor) noexcept nogil:
    """Bring the books up to date; the stream is not steady any more."""
    if steady.open:
        bring_up_to_date(steady, jitter, line, processor)


cdef inline bint push_steady(Steady *steady, const uint8_t *octets, Py_ssize_t size, double now) noexcept nogil:
    """Take a packet that goes on from the last one, and release one; False when it does not."""
    cdef int64_t timestamp
    cdef int at, after
    cdef double transit, waited
    cdef uint8_t *payload
    if (not steady.left or size != steady.size or load_u32le(octets) != steady.number
            or steady.place - steady.out >= steady.room):
        return False
    timestamp = load_i64le(octets + steady.offset - 8)
    at = steady.recent_at
    after = at + 1 if at < N_INTERVALS else 0
    if (timestamp != steady.timestamp
            or <int64_t>(<uint64_t>timestamp - <uint64_t>steady.recent[after]) != steady.spanned
            or not now - steady.arrivals[(steady.next + 1) & (MAX_WAITING - 1)] < steady.max_hold):
        return False
    payload = steady.payloads + (steady.place & steady.mask) * steady.stride
    if steady.n_octets == USUAL:
        memcpy(payload, octets + steady.offset, USUAL)      # of a length that the compiler knows
    else:
        memcpy(payload, octets + steady.offset, steady.n_octets)
    steady.recent[at] = timestamp
    steady.recent_at = after
    steady.arrivals[steady.place & (MAX_WAITING - 1)] = now
    # Interarrival jitter, RFC 3550 A.8
    transit = now - timestamp / steady.timestamp_rate
    steady.jitter += (fabs(transit - steady.last_transit) - steady.jitter) / 16.0
    steady.last_transit = transit
    waited = now - steady.arrivals[steady.next & (MAX_WAITING - 1)]
    steady.delay_sum += waited if waited > 0.0 else 0.0
    steady.target_sum += steady.target_delay
    steady.clock = now
    steady.number += 1
    steady.timestamp += steady.step
    steady.place += 1
    steady.next += 1
    steady.n_pushed += 1
    steady.left -= 1
    return True


cdef inline void _fetch_cleaning(const Steady *steady) noexcept nogil:
    cdef Py_ssize_t at = 0
    while at < steady.gate_octets:
        PREFETCH_L2(steady.gate + at)
        at += CACHE_LINE
    at = 0
    while at < steady.n_octets * <Py_ssize_t>sizeof(int16_t):
        PREFETCH_L2(<const char *>steady.waiting + at)
        PREFETCH_L2(<const char *>steady.spare + at)
        at += CACHE_LINE


cdef inline void fetch_steady(const Steady *steady) noexcept nogil:
    """Ask for what the next packet touches beside this."""
    cdef const uint8_t *into = steady.payloads + (steady.place & steady.mask) * steady.stride
    cdef const uint8_t *out = steady.payloads + (steady.out & steady.mask) * steady.stride
    cdef int at = 0
    while at < steady.n_octets:
        PREFETCH(out + at)
        PREFETCH(into + at)
        at += CACHE_LINE
    PREFETCH(&steady.recent[steady.recent_at])
    PREFETCH(steady.detector)
    PREFETCH(<const uint8_t *>steady.detector + CACHE_LINE)
    PREFETCH(steady.window)
    PREFETCH(<const uint8_t *>steady.concealer + CACHE_LINE)
    if steady.cleaner != NULL:
        _fetch_cleaning(steady)


cdef inline bint is_held(Steady *steady, double now) noexcept nogil:
    """Whether at this time the packet that is next goes on waiting."""
    return now - steady.arrivals[steady.next & (MAX_WAITING - 1)] < steady.max_hold


cdef inline int64_t n_ready(Steady *steady) noexcept nogil:
    """Frames; all that is released, while the stream is `whole`."""
    return steady.next - steady.out


cdef inline const uint8_t *payload_waiting(Steady *steady) noexcept nogil:
    """What the frame that waits for gate or compressor was decoded from; only when a frame was taken meanwhile."""
    return steady.payloads + ((steady.out - 1) & steady.mask) * steady.stride


cdef inline int64_t decode_steady(Steady *steady, int16_t *pcm) noexcept nogil:
    """Decode the next packet; there is one, and the stream is `whole`.  The sum of the squares is returned."""
    cdef const uint8_t *payload = steady.payloads + (steady.out & steady.mask) * steady.stride
    cdef Py_ssize_t n = steady.n_octets
    cdef int64_t squares = ulaw_measured(payload, pcm, n) if steady.ulaw else alaw_measured(payload, pcm, n)
    if steady.concealer != NULL:
        note_block(<Concealer>steady.concealer, squares)
    steady.out += 1
    steady.position += n
    steady.n_taken += 1
    return squares


cdef inline void take_steady(Steady *steady, int16_t *out) noexcept nogil:
    """Make a frame of the next packet, where nothing cleans."""
    cdef int64_t squares = decode_steady(steady, out)
    push_measured(<SilenceDetector>steady.detector, out, steady.n_octets, squares)


cdef inline void take_cleaned(Steady *steady, int16_t *out) noexcept nogil:
    """The same where there is a `cleaner`: of the next packet it makes the frame that waits."""
    cdef int16_t *pcm = steady.spare
    cdef int64_t squares = decode_steady(steady, pcm)
    push_measured(<SilenceDetector>steady.detector, steady.waiting, steady.n_octets, steady.waiting_squares)
    (<Channel>steady.cleaner)._clean(pcm, out, steady.n_octets)
    steady.spare = steady.waiting
    steady.waiting = pcm
    steady.waiting_squares = squares
