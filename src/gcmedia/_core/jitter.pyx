"""A ring of packet slots: order by sequence number, wait as the policy says, release exactly once.

Memory is fixed: ``slots`` places, each with room for the longest packet seen so far, up to a limit.  The caller
passes the time; nothing here reads a clock.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.math cimport NAN, ceil, fabs
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from gcmedia._core.buffer cimport borrow_octets
from gcmedia._core.sequence cimport (
    DUPLICATE, FOLLOWS_SUSPECT, GAP, IN_ORDER, IN_TIME, LATE, NEWER, REFUSED, REORDERED, RESET, SUSPECT, Outcome,
    SequenceValidator, expected_of, lost_of, verdict_of,
)

from gcmedia._core.playout import PlayoutEstimator as _PlayoutEstimator
from gcmedia.config import JitterConfig
from gcmedia.types import Stats

cdef enum:
    FIRST_SLOTS = 8             # made at first; most streams never need more


cdef extern from "stdlib.h" nogil:
    void *aligned_alloc(size_t alignment, size_t size)


@cython.final
cdef class Packet:
    """A packet on its way out of the jitter buffer.

    Attributes
    ----------
    sequence_number, timestamp : int
        As pushed.
    payload : bytes
        Encoded audio.
    arrival : float
        Seconds, as pushed.
    lost_before : int
        Packets between the one released before and this one that have been given up.
    """

    cdef readonly unsigned int sequence_number
    cdef readonly long long timestamp
    cdef readonly bytes payload
    cdef readonly double arrival
    cdef readonly long long lost_before

    def __repr__(self):
        return (
            f"Packet(sequence_number={self.sequence_number}, timestamp={self.timestamp}, "
            f"{len(self.payload)} octets, lost_before={self.lost_before})"
        )


@cython.final
cdef class JitterBuffer:
    """Put packets in order and absorb the unevenness of their arrival.

    Parameters
    ----------
    config : gcmedia.JitterConfig, optional
        Policy and sizes.
    timestamp_rate : float
        Ticks of the media timestamps per second.
    packet_octets, max_payload_octets : int
        Room made for each packet at first, and the most it may grow to; longer packets are refused.

    Notes
    -----
    When nobody takes what is released the oldest packets give way; they are counted as discarded.
    """

    def __cinit__(self, config=None, *, double timestamp_rate=1000.0, Py_ssize_t packet_octets=160,
                  Py_ssize_t max_payload_octets=8192):
        if config is None:
            config = JitterConfig()
        elif not isinstance(config, JitterConfig):
            raise TypeError(f"config must be a JitterConfig, not {type(config).__name__}")
        if not timestamp_rate > 0:
            raise ValueError(f"timestamp_rate is {timestamp_rate} ticks per second, not above 0")
        if not 1 <= packet_octets <= max_payload_octets:
            raise ValueError(
                f"packet_octets is {packet_octets}, not in [1, {max_payload_octets}] (max_payload_octets)"
            )
        self.config = config
        self.timestamp_rate = timestamp_rate
        self.max_payload_octets = max_payload_octets
        # What waits takes at most half the ring, so a gap that is waited for must fit into the other half.
        self.validator = SequenceValidator(max_jump=min(32, config.slots // 2 - 1))
        self.by_depth = config.policy == "depth"
        self.by_window = config.policy == "window"
        self.by_delay = config.policy == "adaptive"
        if self.by_delay:
            self.playout = _PlayoutEstimator(
                quantile=config.delay_quantile,
                min_delay_ms=config.min_delay_ms,
                max_delay_ms=config.max_delay_ms,
                memory_packets=config.delay_memory_packets,
            )
        self.released_timestamp = NAN
        self.n_slots = config.slots
        self.lowered_depth = max(config.base_depth, config.min_depth)
        self.raised_depth = max(min(2 * config.base_depth, config.max_depth), self.lowered_depth)
        self.target_depth = config.base_depth
        self.dwell_packets = config.dwell_packets
        self.gap_tolerance = config.gap_tolerance
        self.raise_loss = config.raise_loss
        self.raise_interval = config.raise_interval_ms / 1000.0
        self.lower_loss = config.lower_loss
        self.lower_interval = config.lower_interval_ms / 1000.0
        self.narrow_window = self.window = config.window_ms / 1000.0
        self.wide_window = config.wide_window_ms / 1000.0
        self.wide_loss = config.wide_loss
        self.narrow_loss = config.narrow_loss
        self.max_hold = config.max_hold_ms / 1000.0
        self.newest = -1
        self.fresh = True
        self.block_end = LOSS_BLOCK
        if not self._move(min(FIRST_SLOTS, self.n_slots), packet_octets):
            raise MemoryError()

    def __dealloc__(self):
        free(self.slots)

    # The suspect lives behind the ring, at index n_there.

    cdef inline Slot *slot_at(self, int64_t place) noexcept nogil:
        """The slot of a place, or NULL when the place is empty."""
        return slot_of(self, place)

    cdef inline uint8_t *payload_at(self, int64_t place) noexcept nogil:
        return payload_of(self, place)

    cdef bint _ensure_room(self, Py_ssize_t n_octets) noexcept nogil:
        """Make every slot large enough; False when the packet is over the limit or memory is out."""
        cdef Py_ssize_t room = self.room
        if n_octets <= room:
            return True
        if n_octets > self.max_payload_octets:
            return False
        while room < n_octets:
            room *= 2
        room = min(room, self.max_payload_octets)
        return self._move(self.n_there, room)

    cdef bint _ensure_slots(self, int64_t n_places) noexcept nogil:
        """Make slots for so many places in a row; False when memory is out."""
        cdef int n_there = self.n_there
        if n_places <= n_there:
            return True
        while n_there < n_places and n_there < self.n_slots:
            n_there *= 2
        return n_there == self.n_there or self._move(n_there, self.room)

    cdef bint _move(self, int n_there, Py_ssize_t room) noexcept nogil:
        """Move the ring to one of so many slots of so many octets; False when memory is out."""
        # One piece of memory, each slot and payload in cache lines of its own: where thousands of calls take turns, all
        # of it is out of the cache.
        cdef Py_ssize_t stride = (room + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
        cdef Slot *slots = <Slot *>aligned_alloc(CACHE_LINE, (n_there + 1) * (sizeof(Slot) + stride))
        cdef uint8_t *payloads = <uint8_t *>(slots + n_there + 1)
        cdef int i, to
        if slots == NULL:
            return False
        for i in range(n_there + 1):
            slots[i].place = -1
        if self.slots != NULL:
            for i in range(self.n_there + 1):
                if self.slots[i].place >= 0:
                    to = n_there if i == self.n_there else self.slots[i].place & (n_there - 1)
                    slots[to] = self.slots[i]
                    memcpy(payloads + to * stride, self.payloads + i * self.stride, self.slots[i].n_octets)
        free(self.slots)
        self.slots = slots
        self.payloads = payloads
        self.n_there = n_there
        self.room = room
        self.stride = stride
        return True

    cdef void _make_way(self, int64_t place) noexcept nogil:
        """Drop the oldest until ``place`` fits into the ring, which grows up to its bound."""
        cdef Slot *slot
        cdef int n_slots = self.n_slots if self._ensure_slots(place - self.read + 1) else self.n_there
        while place - self.read >= n_slots:
            slot = self.slot_at(self.read)
            if slot != NULL:
                self.overrun_samples += slot.hole_samples + slot.n_samples
                slot.place = -1
                self.discarded += 1
                self.overruns += 1
            self.read += 1
            if self.next < self.read:
                self.next = self.read

    cdef int64_t _place_after_cut(self, int64_t extended, Outcome outcome, int64_t *missing,
                                  uint8_t *flags) noexcept nogil:
        """Close the books on everything before; return a place a little behind, for what may come in disorder."""
        cdef int64_t room = min(self.gap_tolerance, CUT_ROOM)
        self.release_all()
        self.given_up = 0
        flags[0] |= SLOT_CUT
        if self.restarting:
            flags[0] |= SLOT_RECONNECT
            self.restarting = False
        if outcome == RESET:
            missing[0] = 0
            flags[0] |= SLOT_RESET
            self.has_transit = False
            self.n_recent = self.recent_at = 0
            if self.by_delay:
                self.playout.restart()
        else:
            self.flushes += missing[0] > self.gap_tolerance
            room = min(room, missing[0])
            missing[0] -= room
        self.shift = extended - (self.newest + 1 + room)
        return self.newest + 1 + room

    cdef int _evidence(self, uint32_t number, int64_t timestamp) noexcept nogil:
        """What the timestamp tells about the number."""
        cdef int evidence = 0
        cdef Slot *suspect = &self.slots[self.n_there]
        cdef double expected, early
        if not self.validator.started:
            return 0
        if timestamp <= self.newest_timestamp:
            return 0
        evidence = NEWER
        if self.ticks_per_packet > 0:
            expected = <double><int32_t>(number - self.validator.highest_number) * self.ticks_per_packet
            early = fabs(<double>timestamp - <double>self.newest_timestamp - expected)
            if early <= max(2.0 * self.ticks_per_packet, 0.02 * expected):
                evidence |= IN_TIME
            if self.validator.has_suspect and early > self.ticks_per_packet / 2:
                expected = <double><int32_t>(number - suspect.number) * self.ticks_per_packet
                if fabs(<double>timestamp - <double>suspect.timestamp - expected) <= self.ticks_per_packet / 2:
                    evidence |= FOLLOWS_SUSPECT
        return evidence

    cdef Outcome insert(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                        double now, uint8_t flags) noexcept nogil:
        """Take one packet; ``payload`` is copied."""
        cdef Outcome outcome
        cdef int64_t place, missing = 0, inner
        cdef Slot *suspect

        if take_next(self, number, timestamp, payload, n_octets, now, flags):
            return IN_ORDER
        self.received += 1
        self.octets += n_octets
        self.clock = now
        if not self._ensure_room(n_octets):
            self.oversized += 1
            return REFUSED
        if self.has_origin and not self.validator.started and not self._near_origin(timestamp):
            self.origin_misses += 1
            self.has_origin = self.origin_misses < ORIGIN_MISSES
            self.validator.received += 1
            self.validator.refused += 1
            return SUSPECT
        suspect = &self.slots[self.n_there]
        outcome = self.validator.push_number(number, self._evidence(number, timestamp))
        if outcome == DUPLICATE:
            self.duplicates += 1
            return outcome
        if outcome == SUSPECT:
            suspect.place = 0
            suspect.number = number
            suspect.timestamp = timestamp
            suspect.arrival = now
            suspect.n_octets = n_octets
            suspect.flags = flags
            memcpy(&self.payloads[self.n_there * self.stride], payload, n_octets)
            return outcome

        if outcome == RESET and self.fresh and self.newest == self.next and not self.late:
            # The stream's first and only packet was nonsense: nobody has it yet, and the stream begins here.
            self.slot_at(self.next).place = -1
            self.newest = self.next - 1
            self.n_recent = self.recent_at = 0
            self.has_transit = False
            if self.by_delay:
                self.playout.restart()
            self.validator.forget_first()
            self.restarting = False
            outcome = IN_ORDER
        if self.validator.suspect_accepted:
            # The gap is before the suspect, but for numbers skipped between the two.
            inner = max(self.validator.extended - self.validator.suspect_extended - 1, <int64_t>0)
            missing = self.validator.gap - inner
            if outcome == IN_ORDER:
                self.shift = self.validator.suspect_extended - self.next
                place = self.next
            else:
                place = self._place_after_cut(self.validator.suspect_extended, outcome, &missing, &suspect.flags)
            self._make_way(place)
            suspect = &self.slots[self.n_there]         # the ring may have grown
            store(self, place, suspect.number, suspect.timestamp, &self.payloads[self.n_there * self.stride],
                  suspect.n_octets, suspect.arrival, suspect.flags, missing)
            observe(self, suspect.timestamp, suspect.arrival)
            suspect.place = -1
            missing = 0
            place = self.validator.extended - self.shift
        elif self.newest < 0:
            self.shift = self.validator.extended
            place = 0
        elif outcome == GAP and (self.restarting or self.validator.gap > self.validator.max_jump):
            missing = self.validator.gap
            place = self._place_after_cut(self.validator.extended, outcome, &missing, &flags)
        elif outcome == IN_ORDER and self.restarting:
            place = self._place_after_cut(self.validator.extended, outcome, &missing, &flags)
        else:
            place = self.validator.extended - self.shift

        if outcome == LATE or place < self.newest and self.validator.suspect_accepted:
            self.reordered += 1
            if place < self.next:
                if not (self.fresh and self.newest - place < self.n_slots
                        and self._ensure_slots(self.newest - place + 1)):
                    self.late += 1
                    if self.by_delay:
                        self.playout.observe(now, timestamp / self.timestamp_rate)
                    return LATE
                if place < 0:                           # the very first packets came in disorder
                    place += self._make_room_below()
                self.read = self.next = place
            if outcome == LATE:
                outcome = REORDERED
        while place - self.next >= self.n_slots // 2:
            self._step()
        self._make_way(place)
        store(self, place, number, timestamp, payload, n_octets, now, flags, missing)
        if place < self.newest:
            self._take_over_cut(place)
        elif outcome == IN_ORDER:
            measure_packet(self, <double>timestamp - <double>self.newest_timestamp)
        observe(self, timestamp, now)
        adapt(self)
        return outcome

    cdef bint _near_origin(self, int64_t timestamp) noexcept nogil:
        """Whether a timestamp is within an hour of where the stream is said to begin."""
        return fabs(<double>timestamp - <double>self.origin) <= 3600.0 * self.timestamp_rate

    cdef void _take_over_cut(self, int64_t place) noexcept nogil:
        """A packet came in just before one that follows a cut: now it is this one that does."""
        cdef int64_t after = place + 1
        cdef Slot *slot = self.slot_at(place)
        cdef Slot *first
        while self.slot_at(after) == NULL:
            after += 1
        first = self.slot_at(after)
        if first.flags & SLOT_CUT:
            slot.flags |= first.flags & (SLOT_CUT | SLOT_RESET | SLOT_RECONNECT)
            slot.missing = first.missing
            first.flags &= ~(SLOT_CUT | SLOT_RESET | SLOT_RECONNECT)
            first.missing = 0

    cdef int64_t _make_room_below(self) noexcept nogil:
        """Count places from further down, so that one below 0 becomes possible; return by how much."""
        cdef int64_t by = self.n_slots                  # a whole turn: no slot moves
        cdef int i
        for i in range(self.n_there):
            if self.slots[i].place >= 0:
                self.slots[i].place += by
        self.read += by
        self.next += by
        self.newest += by
        self.shift -= by
        return by

    cdef inline Slot *_first_waiting(self) noexcept nogil:
        """The waiting packet that is next in order; one there is, for the newest place is never empty."""
        cdef int64_t place = self.next
        while self.slot_at(place) == NULL:
            place += 1
        return self.slot_at(place)

    cdef inline void _step(self) noexcept nogil:
        """Decide one place: a packet is released, a missing one given up."""
        cdef Slot *slot = self.slot_at(self.next)
        if slot == NULL:
            self.given_up += 1
            self.next += 1
            self.fresh = False
        else:
            step_over(self, slot, self.target_delay())

    cdef void release_all(self) noexcept nogil:
        """Release whatever waits; what is missing in between is given up."""
        while self.next <= self.newest:
            self._step()

    cdef void release(self, double now) noexcept nogil:
        """Release what is due."""
        self.clock = now
        if self.by_window:
            self._release_by_window(now)
        elif self.by_delay:
            self._release_by_delay(now)
        else:
            self._release_by_depth(now)

    cdef void _release_by_window(self, double now) noexcept nogil:
        while self.next <= self.newest:
            if self.slot_at(self.next) == NULL and now - self._first_waiting().arrival < self.window:
                return
            self._step()

    cdef inline void _release_by_depth(self, double now) noexcept nogil:
        while self.next <= self.newest:
            if self.newest - self.next + 1 < self.target_depth:
                if now - self._first_waiting().arrival < self.max_hold:
                    return
                if self.next == self.newest:            # held longer than the policy wants, and now dry
                    self.underruns += 1
            self._step()

    cdef void _release_by_delay(self, double now) noexcept nogil:
        """Release the places that are due; those that are missing are due in even steps up to the first waiting."""
        cdef Slot *slot
        cdef double timestamp, steps
        while self.next <= self.newest:
            slot = self._first_waiting()
            timestamp = slot.timestamp
            steps = slot.place - self.next + 1
            if steps > 1 and self.released_timestamp < timestamp:       # not for NaN
                timestamp = self.released_timestamp + (timestamp - self.released_timestamp) / steps
            # However wrong its timestamp, nothing is held longer than the policy may.
            if now < min(self.playout.due_at(timestamp / self.timestamp_rate),
                         slot.arrival + self.playout.max_delay_ms / 1000.0):
                return
            self._step()
            if steps > 1:
                self.released_timestamp = timestamp

    cdef void _follow_arrival(self, int64_t timestamp, double now) noexcept nogil:
        """Tell the estimator; a run of packets that come after they were due, when nothing waits, is an underrun."""
        cdef bint late = self.playout.observe(now, timestamp / self.timestamp_rate)
        self.underruns += late and not self.behind and self.next >= self.newest
        self.behind = late

    cdef inline double target_delay(self) noexcept nogil:
        """Delay that the policy aims at, in seconds."""
        if self.by_window:
            return self.window
        if self.by_delay:
            return self.playout.target
        return self.target_depth * self.spacing

    cdef void take_over(self) noexcept nogil:
        """A new connection takes over: what waits is released, and the next packet is told apart."""
        self.release_all()
        self.restarting = self.validator.started
        self.validator.has_suspect = False              # what comes now cannot confirm it

    cdef void _end_blocks(self) noexcept nogil:
        """Keep what is expected and lost at the end of each block of packets."""
        cdef int64_t expected = expected_of(self.validator)
        cdef int64_t lost = lost_of(self.validator)
        cdef int i
        while expected >= self.block_end:
            i = self.n_blocks & (N_LOSS_BLOCKS - 1)
            self.block_expected[i] = expected
            self.block_lost[i] = lost
            self.n_blocks += 1
            self.block_end += LOSS_BLOCK
        if self.n_blocks >= N_LOSS_BLOCKS:
            self.lost_before_blocks = self.block_lost[self.n_blocks & (N_LOSS_BLOCKS - 1)]

    cdef void _adapt_depth(self, double loss) noexcept nogil:
        cdef double interval = self.spacing
        if loss > self.raise_loss or interval > self.raise_interval:
            self.target_depth = self.raised_depth
            self.dwell = 0
        elif loss < self.lower_loss and interval < self.lower_interval:
            self.dwell += 1
            if self.dwell >= self.dwell_packets:
                self.target_depth = self.lowered_depth
        else:
            self.dwell = 0

    cdef void _adapt_window(self, double loss) noexcept nogil:
        if loss > self.wide_loss:
            self.window = self.wide_window
            self.dwell = 0
        elif loss < self.narrow_loss:
            self.dwell += 1
            if self.dwell >= self.dwell_packets:
                self.window = self.narrow_window
        else:
            self.dwell = 0

    cdef double loss_rate(self) noexcept nogil:
        """Share of the last 192 to 256 packets expected that have not come."""
        cdef int64_t expected = expected_of(self.validator)
        cdef int64_t lost = lost_of(self.validator) - self.lost_before_blocks
        if self.n_blocks >= N_LOSS_BLOCKS:
            expected -= self.block_expected[self.n_blocks & (N_LOSS_BLOCKS - 1)]
        if expected <= 0 or lost <= 0:                  # late ones can outweigh what is missing now
            return 0.0
        return min(1.0, lost / <double>expected)

    cdef int64_t buffered(self) noexcept nogil:
        cdef int64_t place, n = 0
        for place in range(self.read, self.newest + 1):
            n += self.slot_at(place) != NULL
        return n

    def push(self, unsigned int sequence_number, long long timestamp, payload, double arrival):
        """Take one packet.

        Parameters
        ----------
        sequence_number : int
            0 to 2**32 - 1.
        timestamp : int
            Media time of its first sample, in ticks.
        payload : buffer
            Its audio; copied.
        arrival : float
            Seconds of the caller's monotonic clock.

        Returns
        -------
        Verdict
        """
        cdef Py_buffer view
        cdef Outcome outcome
        borrow_octets(payload, &view, "payload")
        outcome = self.insert(sequence_number, timestamp, <const uint8_t *>view.buf, view.len, arrival, 0)
        PyBuffer_Release(&view)
        return verdict_of(outcome, self.validator.gap if outcome == GAP or outcome == RESET else 0)

    def pull(self, double now):
        """Return what is due, in order, each packet once.

        Parameters
        ----------
        now : float
            Seconds, on the clock of ``arrival``.

        Returns
        -------
        list of Packet
        """
        self.release(now)
        return self._take()

    def flush(self):
        """Return everything that is left, in order; what is missing in between is given up."""
        self.release_all()
        return self._take()

    def restart(self):
        """Say that a new connection takes over: what is missing will not come any more."""
        self.take_over()

    cdef list _take(self):
        cdef list packets = []
        cdef Slot *slot
        cdef Packet packet
        while self.read < self.next:
            slot = self.slot_at(self.read)
            if slot == NULL:
                self.lost_before += 1
                self.read += 1
                continue
            packet = Packet.__new__(Packet)
            packet.sequence_number = slot.number
            packet.timestamp = slot.timestamp
            packet.payload = self.payload_at(self.read)[:slot.n_octets]
            packet.arrival = slot.arrival
            packet.lost_before = 0 if slot.flags & SLOT_RESET else self.lost_before + slot.missing
            self.lost_before = 0
            packets.append(packet)
            finish(self, slot)
        return packets

    @property
    def depth(self):
        """Packets between the playout point and the newest, missing ones included."""
        return self.newest - self.next + 1

    @property
    def target(self):
        """Depth aimed at now, in packets; by the adaptive policy, what its delay comes to."""
        cdef double interval = interval_of(self)
        if self.by_delay:
            return <int>ceil(self.playout.target / interval) if interval > 0.0005 else 0
        return self.target_depth

    @property
    def window_ms(self):
        """How long the window policy waits for a missing packet now."""
        return self.window * 1000.0

    def stats(self):
        """Counters since the start, as `gcmedia.types.Stats`; sample counts are 0, this class counts packets."""
        cdef double interval = interval_of(self)
        cdef int64_t refused = self.oversized + self.malformed + self.validator.refused
        return Stats(
            packets_received=self.received,
            packets_played=self.played,
            packets_late=self.late,
            packets_duplicate=self.duplicates,
            packets_discarded=self.discarded,
            packets_refused=refused,
            packets_buffered=self.buffered(),
            packets_expected=expected_of(self.validator),
            packets_lost=lost_of(self.validator),
            packets_reordered=self.reordered,
            gaps=self.validator.gaps,
            resets=self.validator.resets,
            flushes=self.flushes,
            underruns=self.underruns,
            overruns=self.overruns,
            timestamp_jumps=0,
            bytes_received=self.octets,
            jitter=self.jitter,
            interval_ms=interval * 1000.0,
            loss_rate=self.loss_rate(),
            buffer_depth=self.newest - self.next + 1,
            buffer_target=self.target,
            playout_delay_ms=self.target_delay() * 1000.0,
            total_samples=0,
            concealed_samples=0,
            silent_concealed_samples=0,
            concealment_events=0,
            jitter_buffer_delay=self.delay_sum,
            jitter_buffer_target_delay=self.target_sum,
            jitter_buffer_emitted_count=self.emitted,
            malformed={
                reason: count
                for reason, count in (("oversized", self.oversized), ("suspect", self.validator.refused))
                if count
            },
        )
