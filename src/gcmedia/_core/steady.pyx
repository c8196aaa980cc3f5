"""The steady stretch of a stream: when it begins, and how the books are brought up to date after it."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memset

from gcmedia._core.conceal cimport HISTORY_BLOCKS, SILENCE, Concealer
from gcmedia._core.fft cimport at_line
from gcmedia._core.jitter cimport (
    MIN_EXPECTED, N_INTERVALS, N_LOSS_BLOCKS, JitterBuffer, Slot, payload_of, slot_of,
)
from gcmedia._core.packet cimport Layout, header_size
from gcmedia._core.pcm cimport sum_of_squares
from gcmedia._core.processor cimport PCMU, Channel, Processor, takes_whole
from gcmedia._core.sequence cimport expected_of, lost_of, push_run
from gcmedia._core.silence cimport SilenceDetector
from gcmedia._core.timeline cimport Timeline

cdef enum:
    MAX_UNREAD = 4              # released packets that are looked at, whether they are whole frames
    MAX_SAMPLES = 960           # of a frame; longer ones go the long way

cdef double MAX_TIMESTAMP = <double>(<int64_t>1 << 52)      # ticks; up to here doubles count exactly


cdef bint can_be_steady(JitterBuffer jitter, Processor processor) noexcept nogil:
    return (jitter.by_depth and processor.n_channels == 1 and processor.block_octets == 1
            and processor.frame_samples <= MAX_SAMPLES
            and (processor.plain or processor.delay_samples == processor.frame_samples))


cdef bint _is_even(Processor processor, Channel channel) noexcept nogil:
    """Whether a packet in is a frame out: nothing waits, but for one received frame where the delay is that long."""
    cdef int n = processor.delay_samples
    if processor.plain:
        return takes_whole(processor)
    return (processor.n_in - processor.n_out == n and not processor.ending
            and memchr(channel.made_up + channel.raw_start, 1, n) == NULL and channel._ensure_room(n))


cdef bint _may_forget(Concealer concealer, int n) noexcept nogil:
    """Whether frames of this length are blocks of its history, so that the last of them say it all."""
    return concealer._code == SILENCE or (n == concealer._block and not concealer._block_samples
                                          and not concealer._filled)


cdef bint _is_plain(JitterBuffer jitter, int64_t place, int n_octets) noexcept nogil:
    """Whether there is a packet with nothing special about it."""
    cdef Slot *slot = slot_of(jitter, place)
    return (slot != NULL and slot.n_octets == <uint32_t>n_octets and not slot.flags and not slot.missing
            and not slot.hole_samples)


cdef bint _spans_stay(JitterBuffer jitter, int64_t step) noexcept nogil:
    """Whether the mean of the last intervals stays what it is, if none of them changes; and exactly."""
    cdef int64_t n = jitter.n_recent - 1
    if n >= N_INTERVALS:
        return jitter.n_spanned == N_INTERVALS
    return (n > 0 and jitter.n_spanned == n and jitter.spanned_ticks == <double>(n * step)
            and jitter.recent_timestamps[n] == jitter.newest_timestamp)


cdef void _go_back(Steady *steady, JitterBuffer jitter) noexcept nogil:
    """The list of timestamps is not full, and all are even: fill the rest as if they had been so before."""
    cdef int64_t timestamp = steady.timestamp
    cdef int i
    steady.spanned = N_INTERVALS * steady.step
    for i in range(jitter.recent_at + 1, N_INTERVALS + 1):
        jitter.recent_timestamps[i] = timestamp - steady.spanned
        timestamp += steady.step


cdef int64_t _steps_by_policy(Steady *steady, JitterBuffer jitter) noexcept nogil:
    """How many packets the depth policy will go on doing what it does, 0 for none."""
    cdef int64_t expected = expected_of(jitter.validator)
    cdef int64_t lost = lost_of(jitter.validator)
    cdef int64_t left = jitter.block_end - expected - 1
    cdef double loss = 0.0
    if expected < MIN_EXPECTED:
        return 0
    if lost > jitter.lost_before_blocks:
        loss = jitter.loss_rate()
    if loss > jitter.raise_loss or jitter.spacing > jitter.raise_interval:
        return 0
    # Nothing is lost meanwhile, so the rate falls.
    steady.calm = loss < jitter.lower_loss and jitter.spacing < jitter.lower_interval
    if steady.calm:
        if jitter.target_depth != jitter.lowered_depth:
            left = min(left, <int64_t>jitter.dwell_packets - jitter.dwell - 1)
    elif jitter.spacing < jitter.lower_interval and jitter.lower_loss > 0.0:
        lost -= jitter.lost_before_blocks
        if jitter.n_blocks >= N_LOSS_BLOCKS:
            expected -= jitter.block_expected[jitter.n_blocks & (N_LOSS_BLOCKS - 1)]
        left = min(left, <int64_t>min(lost / jitter.lower_loss, 1e9) - expected - 1)
    return max(left, <int64_t>0)


cdef void begin_steady(Steady *steady, JitterBuffer jitter, Timeline *line, Processor processor,
                       Layout layout) noexcept nogil:
    cdef int64_t place = jitter.newest + 1, step = line.even_step, i, left
    cdef int64_t waiting = place - jitter.next
    cdef int64_t timestamp = jitter.newest_timestamp
    cdef int n = processor.frame_samples
    cdef Slot *slot
    if (step <= 0 or waiting != jitter.target_depth - 1 or not 2 <= waiting < MAX_WAITING
            or waiting >= jitter.n_slots // 2 or waiting + KEPT >= jitter.n_there):
        return
    if (line.placed != jitter.next or line.missing or line.last_octets != <uint32_t>n
            or jitter.last_step != <double>step or jitter.ticks_per_packet != <double>step
            or not _spans_stay(jitter, step) or step >= <int64_t>1 << 32
            or not -MAX_TIMESTAMP < <double>timestamp < MAX_TIMESTAMP
            or not -MAX_TIMESTAMP < jitter.spanned_ticks < MAX_TIMESTAMP):
        return
    if (jitter.fresh or jitter.restarting or jitter.given_up or jitter.overrun_samples or not jitter.has_transit
            or jitter.validator.has_suspect or not jitter.validator.started
            or processor.concealing or not _may_forget((<Channel>processor.channel_at[0]).concealer, n)
            or not _is_even(processor, <Channel>processor.channel_at[0])):
        return
    for i in range(waiting):
        if not _is_plain(jitter, jitter.next + i, n):
            return
        slot = slot_of(jitter, jitter.next + i)
        if (slot.timestamp != timestamp - (waiting - 1 - i) * step
                or slot.number != <uint32_t>(jitter.validator.highest_number - (waiting - 1 - i))):
            return
        steady.arrivals[(jitter.next + i) & (MAX_WAITING - 1)] = slot.arrival
    if slot_of(jitter, jitter.next).timestamp - line.last_timestamp != step:
        return
    left = _steps_by_policy(steady, jitter)
    if left == 0:
        return
    steady.whole = jitter.next - jitter.read <= MAX_UNREAD
    for i in range(jitter.read, jitter.next):
        if not steady.whole:
            break
        steady.whole = _is_plain(jitter, i, n)
    steady.left = left
    steady.number = jitter.validator.highest_number + 1
    steady.offset = <int>header_size(layout)
    steady.n_octets = n
    steady.size = steady.offset + n
    steady.timestamp = timestamp + step
    steady.step = step
    steady.spanned = <int64_t>jitter.spanned_ticks
    if jitter.n_recent <= N_INTERVALS:
        _go_back(steady, jitter)
    steady.place = place
    steady.next = jitter.next
    steady.out = jitter.read
    steady.room = min(<int64_t>jitter.n_there - KEPT, <int64_t>jitter.n_slots // 4 + jitter.target_depth - 1)
    steady.payloads = jitter.payloads
    steady.mask = jitter.n_there - 1
    steady.stride = jitter.stride
    steady.recent = jitter.recent_timestamps
    steady.recent_at = jitter.recent_at
    steady.timestamp_rate = jitter.timestamp_rate
    steady.max_hold = jitter.max_hold
    steady.last_transit = jitter.last_transit
    steady.jitter = jitter.jitter
    steady.clock = jitter.clock
    steady.delay_sum = jitter.delay_sum
    steady.target_sum = jitter.target_sum
    steady.target_delay = jitter.target_depth * jitter.spacing
    steady.ulaw = processor.code == PCMU
    steady.detector = <PyObject *>(<Channel>processor.channel_at[0]).silence
    steady.window = (<SilenceDetector>steady.detector)._window
    steady.concealer = <PyObject *>(<Channel>processor.channel_at[0]).concealer
    if (<Concealer>steady.concealer)._code == SILENCE:
        steady.concealer = NULL
    steady.position = processor.n_out
    steady.cleaner = NULL
    if not processor.plain:
        _begin_cleaning(steady, <Channel>processor.channel_at[0])
    steady.n_pushed = steady.n_taken = 0
    steady.open = True


cdef void _begin_cleaning(Steady *steady, Channel channel) noexcept nogil:
    steady.cleaner = <PyObject *>channel
    steady.waiting = channel.raw + channel.raw_start
    steady.waiting_squares = sum_of_squares(steady.waiting, steady.n_octets)
    steady.spare = steady.waiting + steady.n_octets
    steady.gate_octets = 0
    if channel.gate is not None:
        steady.gate = <const char *>at_line(channel.gate._memory)
        steady.gate_octets = channel.gate._memory_size * <Py_ssize_t>sizeof(float)


cdef void _enter_packets(Steady *steady, JitterBuffer jitter, Timeline *line) noexcept nogil:
    """What the packets that were taken have changed."""
    cdef int64_t n = steady.n_pushed, place
    cdef int64_t last = steady.timestamp - (steady.place - steady.next + 1) * steady.step     # of those released
    cdef Slot *slot
    jitter.received += n
    jitter.octets += n * steady.size
    jitter.newest_timestamp = steady.timestamp - steady.step
    jitter.recent_at = steady.recent_at
    jitter.n_recent += n
    jitter.dwell = jitter.dwell + <int>n if steady.calm else 0
    jitter.jitter = steady.jitter
    jitter.last_transit = steady.last_transit
    jitter.delay_sum = steady.delay_sum
    jitter.target_sum = steady.target_sum
    jitter.emitted += n
    jitter.released_timestamp = last
    push_run(jitter.validator, n)
    for place in range(jitter.next, jitter.newest + 1):
        jitter.slots[place & steady.mask].n_samples = steady.n_octets
    for place in range(max(jitter.newest + 1, steady.place - steady.mask - 1), steady.place):
        slot = &jitter.slots[place & steady.mask]
        slot.place = place
        slot.timestamp = steady.timestamp - (steady.place - place) * steady.step
        slot.arrival = steady.arrivals[place & (MAX_WAITING - 1)]
        slot.missing = slot.hole_samples = 0
        slot.n_samples = steady.n_octets if place < steady.next else 0
        slot.number = steady.number - <uint32_t>(steady.place - place)
        slot.n_octets = steady.n_octets
        slot.flags = slot.hole_cause = 0
    jitter.newest += n
    jitter.next += n
    line.placed += n
    line.steady += n
    line.last_timestamp = last
    line.last_position = line.end + (n - 1) * steady.n_octets
    line.last_arrival = steady.arrivals[(steady.next - 1) & (MAX_WAITING - 1)]
    line.end += n * steady.n_octets


cdef void _enter_frames(Steady *steady, JitterBuffer jitter, Processor processor) noexcept nogil:
    """What the frames that were handed out have changed."""
    cdef int64_t n = steady.n_taken, place
    for place in range(jitter.read, steady.out):
        if jitter.slots[place & steady.mask].place == place:
            jitter.slots[place & steady.mask].place = -1
    jitter.played += n
    jitter.read += n
    processor.n_in += n * steady.n_octets
    processor.n_out += n * steady.n_octets
    if steady.cleaner != NULL:
        _enter_waiting(steady, <Channel>steady.cleaner)
    if steady.concealer != NULL:
        _enter_history(steady, jitter, processor, <Concealer>steady.concealer)


cdef void _enter_waiting(Steady *steady, Channel channel) noexcept nogil:
    channel.raw_start = steady.waiting - channel.raw
    memset(channel.made_up + channel.raw_start, 0, steady.n_octets)


cdef void _enter_history(Steady *steady, JitterBuffer jitter, Processor processor, Concealer concealer) noexcept nogil:
    """The last frames are all that the concealer keeps of them; how loud each was, it knows already."""
    cdef int64_t n_last = min(steady.n_taken, <int64_t>HISTORY_BLOCKS), place
    cdef int n = steady.n_octets
    concealer._heard += steady.n_taken * n
    concealer._at = <int>((concealer._at + (steady.n_taken - n_last) * n) % concealer._capacity)
    for place in range(steady.out - n_last, steady.out):
        processor._decode_channel(payload_of(jitter, place), concealer._history + concealer._at, n, 0)
        concealer._at = (concealer._at + n) % concealer._capacity


cdef void bring_up_to_date(Steady *steady, JitterBuffer jitter, Timeline *line, Processor processor) noexcept nogil:
    steady.open = False
    steady.left = 0
    jitter.clock = steady.clock
    if steady.n_pushed:
        _enter_packets(steady, jitter, line)
    if steady.n_taken:
        _enter_frames(steady, jitter, processor)
