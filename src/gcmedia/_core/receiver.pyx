"""One stream, from packets to frames: header, sequence, jitter buffer, timeline, processor.

The timeline counts samples.  A packet that follows the one before it begins where that one ended.  Where packets
are missing the hole is as long as they would have been; media timestamps decide where the sequence numbers cannot:
after a restart, after a long gap, and where packets differ in length.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.math cimport fabs, llround
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from gcmedia._core.buffer cimport borrow_octets
from gcmedia._core.frame cimport Frame
from gcmedia._core.jitter cimport (
    SLOT_CUT, SLOT_DISCARD, SLOT_RECONNECT, SLOT_RESET, JitterBuffer, Slot,
)
from gcmedia._core.packet cimport (
    FAULT_NONE, FAULT_SHORT, UNKNOWN, PacketFault, PacketHeader, layout_code, read_header,
)
from gcmedia._core.processor cimport Processor
from gcmedia._core.sequence cimport REFUSED, SUSPECT, Outcome

import dataclasses

from gcmedia.errors import FormatError, StateError
from gcmedia.types import Hole

cdef tuple CAUSES = ("", "lost", "reconnect", "restart", "paused", "overrun", "idle")
# Packets with exact timestamps in a row, from which on small jumps mean something.
cdef int N_STEADY = 4
cdef tuple LAYOUT_NAMES = ("padded16", "packed12", "auto")


@cython.final
cdef class Receiver:
    """Turn the media packets of one stream into frames of 20 ms on an exact timeline.

    Parameters
    ----------
    encoding : str
        ``"PCMU"``, ``"PCMA"``, ``"L16"`` (big-endian) or ``"L16LE"``.
    sample_rate : int
        Hz, a multiple of 1000 from 8000 to 48000.
    layout : str
        Header of the packets: ``"padded16"``, ``"packed12"``, or ``"auto"``, which holds the first packets back
        until they agree on one.
    gate : gcmedia.GateConfig, optional
        Noise gate for ``Frame.pcm``; ``Frame.raw`` stays as decoded.
    compressor : gcmedia.CompressorConfig, optional
        Compressor for ``Frame.pcm``, behind the gate.
    silence : gcmedia.SilenceConfig, optional
        When a frame counts as silent.
    jitter : gcmedia.JitterConfig, optional
        How packets wait for one another.
    n_channels : int
        Channels, interleaved sample by sample; each has frames of its own.
    packet_ms, max_packet_ms : int
        Usual length of a packet, for which room is made at first, and the longest that is taken.
    timestamp_rate : float
        Ticks of the media timestamps per second.
    conceal : str
        ``"repeat"`` or ``"silence"``: what fills the place of a packet that never came.
    max_hole_s : float
        Longest hole that a timestamp can open; a longer jump is counted and ignored.
    max_ready_s : float
        Audio that may wait for `frames`; when nobody takes it, later packets are discarded, and counted.

    Raises
    ------
    FormatError
        If the encoding is not known.
    ValueError
        If a setting is out of its range.

    Notes
    -----
    A receiver serves one stream and one thread.  Bad packets raise nothing: they are counted by reason in
    ``stats().malformed`` and the last one is told in ``last_refusal``.
    """

    def __cinit__(self, str encoding="PCMU", int sample_rate=8000, str layout="padded16", gate=None, *,
                  compressor=None, silence=None, jitter=None, int n_channels=1, int packet_ms=20,
                  int max_packet_ms=200, double timestamp_rate=1000.0, str conceal="repeat",
                  double max_hole_s=3600.0, double max_ready_s=60.0):
        if not 1 <= packet_ms <= max_packet_ms <= 1000:
            raise ValueError(f"packet_ms is {packet_ms} and max_packet_ms {max_packet_ms}, not 1 <= both <= 1000")
        if not 0 <= max_hole_s <= 86_400 * 365:
            raise ValueError(f"max_hole_s is {max_hole_s} s, not in [0, {86_400 * 365}]")
        if not 0 <= max_ready_s <= 86_400:
            raise ValueError(f"max_ready_s is {max_ready_s} s, not in [0, 86400]")
        self.layout_code = <Layout>layout_code(layout)
        if self.layout_code == UNKNOWN:
            self.detector = LayoutDetector()
            self.undetermined = []
        self.processor = Processor(
            encoding, sample_rate, n_channels, conceal=conceal, silence=silence, gate=gate, compressor=compressor
        )
        octets_per_ms = self.processor.sample_octets * n_channels * sample_rate // 1000
        self.jitter = JitterBuffer(
            jitter,
            timestamp_rate=timestamp_rate,
            packet_octets=packet_ms * octets_per_ms,
            max_payload_octets=max_packet_ms * octets_per_ms,
        )
        self.samples_per_tick = sample_rate / timestamp_rate
        self.max_hole = max_hole_s * sample_rate
        self.max_ready = <int64_t>(max_ready_s * sample_rate)

    # Packets in

    cdef int _refuse(self, str reason) except -1:
        self.jitter.received += 1
        self.jitter.malformed += 1
        self.refusal = reason
        return 0

    cdef int _take_packet(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                          double now) except -1:
        cdef Processor processor = self.processor
        cdef Py_ssize_t n_samples = processor.samples_in(n_octets)
        cdef Py_ssize_t whole = n_samples * processor.sample_octets * processor.n_channels
        cdef Outcome outcome
        if n_samples == 0:
            self.refused_empty += 1
            self._refuse(
                f"packet {number} has {n_octets} octets of audio, one sample takes "
                f"{processor.sample_octets * processor.n_channels}"
            )
            return 0
        if whole != n_octets:
            self.ragged += 1
        outcome = self.jitter.insert(number, timestamp, payload, whole, now, SLOT_DISCARD if self.paused else 0)
        if outcome == REFUSED:
            self.refusal = (
                f"packet {number} has {n_octets} octets of audio, more than {self.jitter.max_payload_octets}"
            )
        elif outcome == SUSPECT:
            self.refusal = f"packet {number} is far from the sequence, and no other has confirmed it yet"
        else:
            self.reconnecting &= self.jitter.restarting
        self.jitter.release(now)
        self._place()
        if self.jitter.next - self.jitter.read > self.jitter.n_slots // 4:
            self._drain_ring()
        return 0

    cdef int _drain_ring(self) except -1:
        """Nobody takes frames: decode ahead, up to the bound, so that the ring has room."""
        while self.jitter.read < self.placed and self.processor.n_in - self.processor.n_out < self.max_ready:
            if not self._feed():
                break
        return 0

    cdef int _push_octets(self, const uint8_t *octets, Py_ssize_t size, double now) except -1:
        cdef PacketHeader header
        cdef PacketFault fault = read_header(octets, size, self.layout_code, &header)
        self.jitter.octets += size if fault != FAULT_NONE else header.payload_offset
        if fault == FAULT_NONE:
            return self._take_packet(
                header.sequence_number, header.timestamp, octets + header.payload_offset,
                size - header.payload_offset, now,
            )
        if fault == FAULT_SHORT:
            self.refused_short += 1
            self._refuse(f"packet has {size} octets, less than the {self.layout} header")
        else:
            self.refused_empty += 1
            self._refuse(f"packet {header.sequence_number} has a header and no audio")
        return 0

    cdef int _settle_layout(self, packet, const uint8_t *octets, Py_ssize_t size, double now) except -1:
        """Hold packets back until they show their layout, then take them all."""
        cdef list held
        try:
            self.undetermined.append((bytes(octets[:size]), now))
            self.layout_code = self.detector.take(octets, size)
        except FormatError:
            for _ in self.undetermined:
                self.refused_unreadable += 1
                self._refuse("no header layout explains the packets")
            self.undetermined = []
            self.detector = LayoutDetector()
            raise
        if self.layout_code != UNKNOWN:
            held, self.undetermined = self.undetermined, None
            for packet, arrival in held:
                self._push_octets(packet, len(packet), arrival)
        return 0

    def push(self, packet, double now):
        """Take one packet, header included.

        Parameters
        ----------
        packet : buffer of uint8
            Borrowed for the call.
        now : float
            Its arrival, in seconds of the caller's monotonic clock.

        Returns
        -------
        int
            Frames that `frames` has ready now.

        Raises
        ------
        FormatError
            If the layout is ``"auto"`` and the packets do not show one.
        StateError
            If the stream has been flushed.
        """
        cdef Py_buffer view
        if self.ended:
            raise StateError("the receiver was flushed; packets of a new stream need a new one")
        borrow_octets(packet, &view, "packet")
        try:
            if self.layout_code == UNKNOWN:
                self._settle_layout(packet, <const uint8_t *>view.buf, view.len, now)
            else:
                self._push_octets(<const uint8_t *>view.buf, view.len, now)
        finally:
            PyBuffer_Release(&view)
        return self._ready()

    def push_many(self, packets, double now):
        """Take several packets that arrived together; return how many frames are ready."""
        for packet in packets:
            self.push(packet, now)
        return self._ready()

    def push_media(self, unsigned int sequence_number, long long timestamp, payload, double now):
        """Take one packet whose header came apart from its audio, as in a JSON message.

        Parameters
        ----------
        sequence_number : int
            0 to 2**32 - 1.
        timestamp : int
            Ticks.
        payload : buffer of uint8
            Encoded audio, borrowed for the call.
        now : float
            Seconds.

        Returns
        -------
        int
            Frames that `frames` has ready now.
        """
        cdef Py_buffer view
        if self.ended:
            raise StateError("the receiver was flushed; packets of a new stream need a new one")
        borrow_octets(payload, &view, "payload")
        try:
            self._take_packet(sequence_number, timestamp, <const uint8_t *>view.buf, view.len, now)
        finally:
            PyBuffer_Release(&view)
        return self._ready()

    def refuse(self, str reason):
        """Count a message that was no packet at all, with its reason."""
        self.refused_unreadable += 1
        self._refuse(reason)

    # The timeline

    cdef void _add_hole(self, int64_t position, int64_t n_samples, uint8_t cause) noexcept nogil:
        cdef HoleRecord *last
        if n_samples <= 0:
            return
        if self.n_holes > self.n_holes_taken:
            last = &self.holes_found[(self.n_holes - 1) % MAX_HOLES]
            if last.cause == cause and last.position + last.n_samples == position:
                last.n_samples += n_samples
                return
        if self.n_holes - self.n_holes_taken == MAX_HOLES:      # nobody takes them: the oldest gives way
            self.n_holes_taken += 1
        last = &self.holes_found[self.n_holes % MAX_HOLES]
        last.position = position
        last.n_samples = n_samples
        last.cause = cause
        self.n_holes += 1

    cdef void _add_anchor(self, int64_t timestamp, int64_t position) noexcept nogil:
        cdef Anchor *anchor = &self.anchors[self.n_anchors % MAX_ANCHORS]
        anchor.timestamp = timestamp
        anchor.position = position
        self.n_anchors += 1

    cdef int _next_agrees(self, Slot *slot, double tolerance) noexcept nogil:
        """Whether the timestamp of the packet behind this one goes on from here; -1 when it is not there."""
        cdef Slot *following = self.jitter.slot_at(slot.place + 1)
        cdef double step
        if following == NULL:
            return -1
        step = <double>(<int64_t>(<uint64_t>following.timestamp - <uint64_t>slot.timestamp)) * self.samples_per_tick
        return fabs(step - slot.n_samples) <= tolerance

    cdef bint _arrival_agrees(self, Slot *slot, double step) noexcept nogil:
        """Whether about as much time has passed between the arrivals as between the timestamps, in samples."""
        cdef double waited = (slot.arrival - self.last_arrival) * self.processor.sample_rate
        return fabs(waited - step) <= 0.25 * step

    cdef int64_t _hole_before(self, Slot *slot, uint8_t *cause) noexcept nogil:
        """Length of the hole between the last packet and this one, in samples, and its cause."""
        cdef int64_t missing = self.missing + slot.missing
        cdef double ticks = <double>(<int64_t>(<uint64_t>slot.timestamp - <uint64_t>self.last_timestamp))
        cdef double by_timestamp = ticks * self.samples_per_tick - self.last_samples
        cdef double by_sequence = <double>missing * self.last_samples
        cdef double exact = 1.5 * self.samples_per_tick         # what rounding to ticks explains
        cdef bint possible = -exact <= by_timestamp <= self.max_hole
        cause[0] = CAUSE_RECONNECT if slot.flags & SLOT_RECONNECT else CAUSE_LOST
        if slot.flags & SLOT_DISCARD:
            cause[0] = CAUSE_PAUSED

        if slot.flags & SLOT_RESET:
            if cause[0] == CAUSE_LOST:
                cause[0] = CAUSE_RESTART
            if not possible:
                by_timestamp = (slot.arrival - self.last_arrival) * self.processor.sample_rate - self.last_samples
                by_timestamp = min(by_timestamp, self.max_hole)
            return llround(max(by_timestamp, 0.0))
        if slot.flags & SLOT_RECONNECT or (missing and (self.varied or slot.flags & SLOT_CUT)):
            return llround(max(by_timestamp, 0.0) if possible else by_sequence)
        return self._hole_in_doubt(slot, by_sequence, by_timestamp - by_sequence, exact, cause)

    cdef int64_t _hole_in_doubt(self, Slot *slot, double by_sequence, double jump, double exact,
                                uint8_t *cause) noexcept nogil:
        """Length of a hole of which the timestamp says that it is longer, by ``jump``, than the numbers say.

        The sender was idle, or its clock or its count was set, if another packet or the arrival confirms it; else the
        timestamp of one packet has slipped and is not believed.  As long as timestamps have been exact a jump of
        any length is told from their noise; else one of at least two packets.
        """
        cdef double noise = 2.0 * self.last_samples
        cdef double tolerance = exact if self.steady >= N_STEADY else noise
        cdef bint confirmed
        cdef int agrees
        if fabs(jump) <= tolerance:
            self.steady = self.steady + 1 if fabs(jump) <= exact else 0
            self.pending_jump = 0
            return llround(by_sequence)
        confirmed = self.pending_jump != 0 and fabs(jump - self.pending_jump) <= tolerance
        self.pending_jump = 0
        if not confirmed:
            agrees = self._next_agrees(slot, tolerance)
            confirmed = agrees == 1 or (
                jump > noise and self._arrival_agrees(slot, by_sequence + jump + self.last_samples)
            )
            if not confirmed and fabs(jump) <= noise:
                self.steady = 0
                return llround(by_sequence)
            self.timestamp_jumps += 1
            if not confirmed:
                self.slipped = True
                if agrees == -1:
                    self.pending_jump = jump
                return llround(by_sequence)
        self.jumped = True
        if not -exact <= by_sequence + jump <= self.max_hole:
            return llround(by_sequence)
        if by_sequence == 0 and cause[0] == CAUSE_LOST:
            cause[0] = CAUSE_IDLE
        return llround(max(by_sequence + jump, 0.0))

    cdef void _place_packet(self, Slot *slot) noexcept nogil:
        """Lay one packet on the timeline, behind the hole that precedes it."""
        cdef int64_t hole = 0
        cdef uint8_t cause = NO_CAUSE
        slot.n_samples = <int>self.processor.samples_in(slot.n_octets)
        self.slipped = self.jumped = False
        if self.has_last:
            if slot.n_samples != self.last_samples:
                self.varied = True
            hole = self._hole_before(slot, &cause)
        elif self.has_origin:
            hole = llround(<double>(slot.timestamp - self.origin) * self.samples_per_tick)
            cause = CAUSE_PAUSED if slot.flags & SLOT_DISCARD else CAUSE_LOST
            if not 0 <= hole <= self.max_hole:
                hole = 0
        slot.hole_samples = hole
        slot.hole_cause = cause
        self._add_hole(self.position_end, hole, cause)
        self.position_end += hole
        if not self.has_last or self.jumped or slot.flags & (SLOT_RESET | SLOT_CUT):
            self._add_anchor(slot.timestamp, self.position_end)
        if slot.flags & SLOT_DISCARD:
            self._add_hole(self.position_end, slot.n_samples, CAUSE_PAUSED)
        if self.has_last and self.slipped:
            self.last_timestamp += llround((self.last_samples + hole) / self.samples_per_tick)
        else:
            self.last_timestamp = slot.timestamp
        self.last_position = self.position_end
        self.last_arrival = slot.arrival
        self.last_samples = slot.n_samples
        self.has_last = True
        self.missing = 0
        self.position_end += slot.n_samples

    cdef void _place(self) noexcept nogil:
        """Lay what the jitter buffer has decided on the timeline."""
        cdef Slot *slot
        if self.placed < self.jitter.read:              # the ring was counted anew, or has overrun
            self.placed = self.jitter.read
        while self.placed < self.jitter.next:
            slot = self.jitter.slot_at(self.placed)
            if slot == NULL:
                self.missing += 1
            else:
                self._place_packet(slot)
            self.placed += 1

    def begin(self, long long timestamp):
        """Say at which media time the stream begins, so that packets lost before the first one are a hole.

        Without it the first packet is the beginning; behind it, this does nothing.
        """
        if not self.has_last:
            self.has_origin = True
            self.origin = timestamp

    def position_at(self, long long timestamp):
        """Sample position of a media timestamp, or None before the first packet.

        The position may lie ahead of what has been received.
        """
        cdef int64_t i, position
        cdef Anchor *anchor = NULL
        if not self.has_last:
            return None
        if timestamp >= self.last_timestamp:
            return self.last_position + llround((timestamp - self.last_timestamp) * self.samples_per_tick)
        for i in range(self.n_anchors - 1, max(<int64_t>0, self.n_anchors - MAX_ANCHORS) - 1, -1):
            anchor = &self.anchors[i % MAX_ANCHORS]
            if anchor.timestamp <= timestamp:
                break
        position = anchor.position + llround((timestamp - anchor.timestamp) * self.samples_per_tick)
        return max(<int64_t>0, position)

    def pause(self):
        """From here on packets are counted as discarded; their place on the timeline is a hole of its length."""
        self.paused = True

    def resume(self):
        """Take packets again."""
        self.paused = False

    def restart(self):
        """Say that a new connection takes over.

        What waits is released.  The timestamp of the next packet tells how long the hole is, or its arrival where
        the sender's clock began anew.
        """
        self.jitter.take_over()
        self.reconnecting = self.has_last or self.jitter.newest >= 0
        self._place()

    def flush(self, end_timestamp=None):
        """End the stream: release what waits, fill the timeline up to its end.

        Parameters
        ----------
        end_timestamp : int, optional
            Media time at which the call ended; a tail that never came becomes a hole.

        Returns
        -------
        int
            Frames that `frames` has ready now; the last one may be short.
        """
        cdef double tail
        if self.ended:
            return self._ready()
        if self.undetermined:
            for _ in self.undetermined:
                self.refused_unreadable += 1
                self._refuse("the stream ended before the packets showed their layout")
            self.undetermined = []
        self.jitter.release_all()
        self._place()
        self.ended = True
        if end_timestamp is not None and self.has_last:
            tail = (<long long>end_timestamp - self.last_timestamp) * self.samples_per_tick - self.last_samples
            if 1.0 <= tail <= self.max_hole:
                self._close_with(llround(tail))
        return self._ready()

    cdef void _close_with(self, int64_t n_samples) noexcept:
        """Put a hole at the end; a last slot that holds no packet carries it."""
        cdef uint8_t cause = CAUSE_PAUSED if self.paused else CAUSE_RECONNECT if self.reconnecting else CAUSE_LOST
        self._add_hole(self.position_end, n_samples, cause)
        self.position_end += n_samples
        self.tail_samples = n_samples
        self.tail_cause = cause

    # Frames out

    cdef int64_t _ready(self) noexcept nogil:
        cdef int64_t held = self.position_end - self.processor.n_out
        cdef int64_t blocks
        if self.ended:
            blocks = (held + self.processor.frame_samples - 1) // self.processor.frame_samples
        else:
            blocks = (held - self.processor.delay_samples) // self.processor.frame_samples
            if blocks < 0 or held < self.processor.delay_samples:
                blocks = 0
        return blocks * self.processor.n_channels - self.processor.next_channel

    cdef bint _feed(self) except -1:
        """Give the processor the next piece of the timeline; False when there is none."""
        cdef JitterBuffer jitter = self.jitter
        cdef Slot *slot
        cdef Py_ssize_t n
        while True:
            if self.hole_left:
                n = <Py_ssize_t>min(self.hole_left, <int64_t>self.processor.frame_samples)
                self.processor.fill(n, self.hole_cause != CAUSE_PAUSED and self.hole_cause != CAUSE_IDLE)
                self.hole_left -= n
                return True
            if jitter.overrun_samples:
                self.hole_left = jitter.overrun_samples
                self.hole_cause = CAUSE_OVERRUN
                self._add_hole(self.processor.n_in, self.hole_left, CAUSE_OVERRUN)
                jitter.overrun_samples = 0
                continue
            if jitter.read < self.placed:
                slot = jitter.slot_at(jitter.read)
                if slot == NULL:
                    jitter.read += 1
                    continue
                if slot.hole_samples:
                    self.hole_left = slot.hole_samples
                    self.hole_cause = slot.hole_cause
                    slot.hole_samples = 0
                    continue
                if slot.flags & SLOT_DISCARD:
                    self.processor.fill(slot.n_samples, False)
                else:
                    self.processor.decode(jitter.payload_at(jitter.read), slot.n_samples)
                jitter.done(slot)
                return True
            if self.tail_samples:
                self.hole_left = self.tail_samples
                self.hole_cause = self.tail_cause
                self.tail_samples = 0
                continue
            return False

    cdef Frame _next_frame(self):
        while self.processor.next_channel == 0 and not self.processor.has_frame():
            if not self._feed():
                if self.ended and not self.processor.ending:
                    self.processor.end()
                    continue
                return None
        return self.processor.take()

    def frames(self, double now):
        """Iterate over the frames that are due, each once, in order of time, then channel.

        Parameters
        ----------
        now : float
            Seconds, on the clock of `push`.

        Yields
        ------
        Frame
        """
        cdef Frame frame
        self.jitter.release(now)
        self._place()
        while True:
            frame = self._next_frame()
            if frame is None:
                return
            yield frame

    def holes(self):
        """Holes found since the last call, oldest first.

        At most 64 wait; when nobody takes them the oldest give way.  A hole that is still growing is told in
        pieces.
        """
        cdef list found = []
        cdef HoleRecord *record
        while self.n_holes_taken < self.n_holes:
            record = &self.holes_found[self.n_holes_taken % MAX_HOLES]
            found.append(Hole(record.position, record.n_samples, CAUSES[record.cause]))
            self.n_holes_taken += 1
        return found

    # What is known

    @property
    def layout(self):
        """Header layout in force; ``"auto"`` until the packets have shown it."""
        return LAYOUT_NAMES[<int>self.layout_code]

    @property
    def encoding(self):
        """Encoding of the payload."""
        return self.processor.encoding

    @property
    def sample_rate(self):
        """Hz."""
        return self.processor.sample_rate

    @property
    def n_channels(self):
        """Channels, each with frames of its own."""
        return self.processor.n_channels

    @property
    def frame_samples(self):
        """Samples of a frame, per channel."""
        return self.processor.frame_samples

    @property
    def delay_samples(self):
        """Samples that gate and compressor hold back."""
        return self.processor.delay_samples

    @property
    def position(self):
        """Samples of the timeline that have been handed out as frames."""
        return self.processor.n_out

    @property
    def last_refusal(self):
        """What was wrong with the packet refused last: what, where, how much; None when there was none."""
        return self.refusal

    def stats(self):
        """Counters since the start, as `gcmedia.types.Stats`."""
        stats = self.jitter.stats()
        malformed = {
            reason: count
            for reason, count in (
                ("short", self.refused_short), ("empty", self.refused_empty), ("ragged", self.ragged),
                ("unreadable", self.refused_unreadable),
            )
            if count
        }
        return dataclasses.replace(
            stats,
            timestamp_jumps=self.timestamp_jumps,
            total_samples=self.position_end,
            concealed_samples=self.processor.concealed_samples,
            silent_concealed_samples=self.processor.silent_concealed_samples,
            concealment_events=self.processor.concealment_events,
            malformed=malformed | stats.malformed,
        )
