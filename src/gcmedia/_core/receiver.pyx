"""One stream, from packets to frames: header, sequence, jitter buffer, timeline, processor."""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.ref cimport PyObject
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t

from gcmedia._core.buffer cimport (
    borrow_integers, borrow_octets, borrow_samples_into, check_offsets, integer_at, view_bytearray,
)
from gcmedia._core.frame cimport ALAW, ULAW, Frame
from gcmedia._core.jitter cimport CACHE_LINE, SLOT_DISCARD, Slot, finish, payload_of, release_due, slot_of, take_next
from gcmedia._core.meter cimport Meter
from gcmedia._core.packet cimport FAULT_NONE, FAULT_SHORT, UNKNOWN, PacketFault, PacketHeader, layout_code, read_header
from gcmedia._core.processor cimport Channel, samples_in, takes_whole, whole_into
from gcmedia._core.silence cimport SilenceDetector
from gcmedia._core.sequence cimport REFUSED, SUSPECT, Outcome
from gcmedia._core.steady cimport (
    begin_steady, can_be_steady, fetch_steady, is_held, n_ready, payload_waiting, push_steady, settle, take_cleaned,
    take_steady,
)
from gcmedia._core.timeline cimport (
    CAUSE_IDLE, CAUSE_LOST, CAUSE_OVERRUN, CAUSE_PAUSED, CAUSE_RECONNECT, HoleRecord, add_hole, begin, end_line,
    lay, position_of, samples_between, take_hole,
)

import dataclasses

from gcmedia.errors import FormatError, StateError
from gcmedia.types import Hole

cdef tuple CAUSES = ("", "lost", "reconnect", "restart", "paused", "overrun", "idle")
cdef tuple LAYOUT_NAMES = ("padded16", "packed12", "auto")

cdef enum:
    RUN = 256                   # packets of a batch that are taken at a time
    N_HEAD_LINES = 7            # cache lines of a receiver up to the end of `steady`
    NEARBY = 100                # turns after which the state of a stream is still in the cache
    FAR_TURNS = 8               # how many turns ahead memory is asked for: the head of a receiver,
    NEAR_TURNS = 4              # and what it points to
    WORTH_RELEASING = 8         # packets from which on giving the GIL away and taking it back is worth its time

# Whose turn it is, where streams are pushed one packet at a time; borrowed, NULL for none.  Of thousands of streams
# each is out of the cache when its turn comes, and waiting for its memory costs more than all the work.  They mostly
# come in the order of their last packets, so each remembers who came after it; those some turns ahead are asked for.
cdef PyObject *latest = NULL
cdef uint32_t n_turns = 0
cdef PyObject *far = NULL                   # asked for as far as its head, so many turns ahead of `latest`;
cdef int far_lead = 0
cdef PyObject *near = NULL                  # and as far as what its head points to
cdef int near_lead = 0


cdef inline bint _is_concealed(uint8_t cause) noexcept nogil:
    """Whether a hole of such a cause is filled with more than silence."""
    return cause != CAUSE_PAUSED and cause != CAUSE_IDLE


@cython.final
@cython.freelist(8)
@cython.no_gc
cdef class FrameIterator:
    """Frames of a receiver that are due; made by `Receiver.frames`."""

    def __iter__(self):
        return self

    def __next__(self):
        cdef Frame frame
        if self.receiver is not None:
            self.receiver._check_free()
            frame = self.receiver._next_frame()
            if frame is not None:
                return frame
            self.receiver = None
        raise StopIteration


@cython.final
@cython.no_gc_clear                 # as long as a receiver lives, others may look what it points to
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
        ``"pitch"``, ``"repeat"`` or ``"silence"``: what fills the place of a packet that never came; see `Concealer`.
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
                  int max_packet_ms=200, double timestamp_rate=1000.0, str conceal="pitch",
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
        begin(
            &self.line, sample_rate, self.processor.block_octets, sample_rate / timestamp_rate, max_hole_s * sample_rate
        )
        self.max_ready = <int64_t>(max_ready_s * sample_rate)
        self.at_work = &self.busy
        self.can_be_steady = can_be_steady(self.jitter, self.processor)
        self.frame_block = self.processor.frame_block
        self.one_by_one = n_channels > 1
        self._set_direct()
        self._note_lines()

    def __dealloc__(self):
        global latest, far
        if self.before != NULL:
            (<Receiver>self.before).after = NULL
        if self.after != NULL:
            (<Receiver>self.after).before = NULL
        if latest == <PyObject *><void *>self:
            latest = NULL
        far = NULL
        end_line(&self.line)

    cdef void _note_lines(self):
        """Note where the state is that nearly every packet touches, for `_fetch_ahead`."""
        cdef Channel channel = self.processor.channels[0]
        cdef int n = 0, i
        for i in range(7):
            self.lines[n + i] = <const char *><void *>self.jitter + i * CACHE_LINE
        n += 7
        for i in range(3):
            self.lines[n + i] = <const char *><void *>self.jitter.validator + i * CACHE_LINE
        n += 3
        for i in range(2):
            self.lines[n + i] = <const char *><void *>self.processor + i * CACHE_LINE
        n += 2
        self.lines[n] = <const char *><void *>channel
        self.lines[n + 1] = <const char *><void *>channel.concealer
        self.lines[n + 2] = <const char *><void *>channel.silence
        self.lines[n + 3] = <const char *><void *>channel.silence + CACHE_LINE

    cdef inline void _fetch_head(self) noexcept nogil:
        cdef int i
        for i in range(N_HEAD_LINES):
            PREFETCH(<const char *><void *>self + i * CACHE_LINE)

    cdef inline void _fetch_rest(self) noexcept nogil:
        """What the head points to."""
        cdef int64_t into, out
        cdef int i
        if self.steady.open:
            fetch_steady(&self.steady)
            return
        for i in range(N_LINES):
            PREFETCH(self.lines[i])
        into = (self.jitter.newest + 1) & (self.jitter.n_there - 1)     # where the packet goes,
        out = self.jitter.next & (self.jitter.n_there - 1)              # and the one that it pushes out
        PREFETCH(&self.jitter.slots[into])
        PREFETCH(&self.jitter.slots[out])
        for i in range(3):
            PREFETCH(self.jitter.payloads + out * self.jitter.stride + i * CACHE_LINE)
            PREFETCH(self.jitter.payloads + into * self.jitter.stride + i * CACHE_LINE)

    cdef inline void _fetch_ahead(self) noexcept nogil:
        """Ask for the state of this stream at once, not one piece after the other, while others have their turn."""
        self._fetch_head()
        self._fetch_rest()

    cdef void _change_turn(self) noexcept nogil:
        """Another stream has the turn: ask for the state of those that came after it the last time."""
        global latest, n_turns, far, near, far_lead, near_lead
        cdef PyObject *me = <PyObject *><void *>self
        cdef uint32_t since = n_turns - self.turn
        cdef PyObject *last = latest
        latest = me
        self.turn = n_turns
        n_turns += 1
        if last != NULL and (<Receiver>last).after != me:
            if (<Receiver>last).after != NULL:
                (<Receiver>(<Receiver>last).after).before = NULL
            if self.before != NULL:
                (<Receiver>self.before).after = NULL
            (<Receiver>last).after = me
            self.before = last
            far = NULL
        if since < NEARBY:
            far = NULL
            return
        if far == NULL:
            far = near = me
            far_lead = near_lead = 1
        far_lead -= 1
        near_lead -= 1
        for _ in range(2):
            if far_lead < FAR_TURNS and (<Receiver>far).after != NULL:
                far = (<Receiver>far).after
                (<Receiver>far)._fetch_head()
                far_lead += 1
        for _ in range(2):
            if near_lead < NEAR_TURNS and near_lead < far_lead:
                near = (<Receiver>near).after
                (<Receiver>near)._fetch_rest()
                near_lead += 1

    # Packets in

    cdef void _refuse(self, Refusal refusal, uint32_t number, int64_t size) noexcept nogil:
        self.refusal = refusal
        self.refused_number = number
        self.refused_size = size

    cdef void _refuse_told(self, str reason):
        self.refused_unreadable += 1
        self.jitter.received += 1
        self.jitter.malformed += 1
        self.refused_told = reason
        self._refuse(REFUSED_TOLD, 0, 0)

    cdef int _take_packet(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                          double now) noexcept nogil:
        cdef uint8_t flags = SLOT_DISCARD if self.paused else 0
        self._settle()
        # As long as the last one, so its samples need not be counted.
        if not (0 < n_octets == self.line.last_octets
                and take_next(self.jitter, number, timestamp, payload, n_octets, now, flags)):
            if not self._take_unusual(number, timestamp, payload, n_octets, now, flags):
                return 0
        self._release(now)
        if self.jitter.next - self.jitter.read > self.jitter.n_slots // 4:
            return self._drain_ring()
        if (self.can_be_steady and not self.paused and not self.reconnecting and not self.hole_left
                and not self.tail_samples):
            begin_steady(&self.steady, self.jitter, &self.line, self.processor, self.layout_code)
        return 0

    cdef bint _take_unusual(self, uint32_t number, int64_t timestamp, const uint8_t *payload, Py_ssize_t n_octets,
                            double now, uint8_t flags) noexcept nogil:
        """Hand any packet to the jitter buffer; False when there is no sample in it."""
        cdef Py_ssize_t n_samples = samples_in(self.processor, n_octets)
        cdef Py_ssize_t whole = n_samples * self.processor.block_octets
        cdef Outcome outcome
        if n_samples == 0:
            self.refused_empty += 1
            self.jitter.received += 1
            self.jitter.malformed += 1
            self._refuse(REFUSED_PART, number, n_octets)
            return False
        if whole != n_octets:
            self.ragged += 1
        outcome = self.jitter.insert(number, timestamp, payload, whole, now, flags)
        if outcome == REFUSED:
            self._refuse(REFUSED_LONG, number, n_octets)
        elif outcome == SUSPECT:
            self._refuse(REFUSED_SUSPECT, number, n_octets)
        elif self.reconnecting:
            self.reconnecting = self.jitter.restarting
        return True

    cdef inline void _release(self, double now) noexcept nogil:
        """Let go what is due, and lay it on the timeline."""
        if self.steady.open:
            if is_held(&self.steady, now):
                self.steady.clock = now
                return
            self._settle()
        release_due(self.jitter, now)
        lay(&self.line, self.jitter)

    cdef int _drain_ring(self) noexcept nogil:
        """Nobody takes frames: decode ahead, up to the bound, so that the ring has room."""
        cdef int fed = 1
        while (fed > 0 and self.jitter.read < self.line.placed
                and self.processor.n_in - self.processor.n_out < self.max_ready):
            fed = self._feed()
        return fed if fed < 0 else 0

    cdef inline void _settle(self) noexcept nogil:
        settle(&self.steady, self.jitter, &self.line, self.processor)

    cdef inline int _push_octets(self, const uint8_t *octets, Py_ssize_t size, double now) noexcept nogil:
        return 0 if push_steady(&self.steady, octets, size, now) else self._push_unsteady(octets, size, now)

    cdef int _push_unsteady(self, const uint8_t *octets, Py_ssize_t size, double now) noexcept nogil:
        cdef PacketHeader header
        cdef PacketFault fault = read_header(octets, size, self.layout_code, &header)
        if fault == FAULT_NONE:
            self.jitter.octets += header.payload_offset
            return self._take_packet(
                header.sequence_number, header.timestamp, octets + header.payload_offset,
                size - header.payload_offset, now,
            )
        self.jitter.octets += size
        self.jitter.received += 1
        self.jitter.malformed += 1
        if fault == FAULT_SHORT:
            self.refused_short += 1
            self._refuse(REFUSED_SHORT, 0, size)
        else:
            self.refused_empty += 1
            self._refuse(REFUSED_BARE, header.sequence_number, size)
        return 0

    cdef int _settle_layout(self, packet, const uint8_t *octets, Py_ssize_t size, double now) except -1:
        """Hold packets back until they show their layout, then take them all."""
        cdef list held
        try:
            self.undetermined.append((bytes(octets[:size]), now))
            self.layout_code = self.detector.take(octets, size)
        except FormatError:
            for _ in self.undetermined:
                self._refuse_told("no header layout explains the packets")
            self.undetermined = []
            self.detector = LayoutDetector()
            raise
        if self.layout_code != UNKNOWN:
            self._set_direct()
            held, self.undetermined = self.undetermined, None
            for packet, arrival in held:
                if self._push_octets(packet, len(packet), arrival) < 0:
                    raise MemoryError()
        return 0

    cdef void _set_direct(self) noexcept:
        """Packets need no second look while the stream runs and its layout is known."""
        self.direct = not self.ended and self.layout_code != UNKNOWN

    cdef int _check_free(self) except -1:
        if self.at_work[0]:
            raise StateError("a batch of packets is being pushed in another thread; a receiver serves one at a time")
        return 0

    cdef int _check_settled(self) except -1:
        """The same; and all that is behind a steady stretch is up to date."""
        self._check_free()
        self._settle()
        return 0

    cdef int _push_any(self, packet, double now) except -1:
        """`push`, whatever the packet is and whatever the state."""
        cdef Py_buffer view
        cdef int done = 0
        self._check_free()
        if self.ended:
            raise StateError("the receiver was flushed; packets of a new stream need a new one")
        borrow_octets(packet, &view, "packet")
        try:
            if self.layout_code == UNKNOWN:
                self._settle_layout(packet, <const uint8_t *>view.buf, view.len, now)
            else:
                done = self._push_octets(<const uint8_t *>view.buf, view.len, now)
        finally:
            PyBuffer_Release(&view)
        if done < 0:
            raise MemoryError()
        return 0

    cdef int _push_run(self, Octets *run, Py_ssize_t n, double now) except -1:
        """Take packets that stay where they are meanwhile, without the GIL when it is worth it."""
        cdef Py_ssize_t i
        cdef int done = 0
        if n < WORTH_RELEASING:
            for i in range(n):
                done |= self._push_octets(run[i].at, run[i].size, now)
        else:
            self.at_work[0] = True
            with nogil:
                for i in range(n):
                    done |= self._push_octets(run[i].at, run[i].size, now)
            self.at_work[0] = False
        if done < 0:
            raise MemoryError()
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
        if PyBytes_CheckExact(packet) and self.direct and not self.at_work[0]:
            if latest != <PyObject *><void *>self:
                self._change_turn()
            if self._push_octets(<const uint8_t *>PyBytes_AS_STRING(packet), PyBytes_GET_SIZE(packet), now) < 0:
                raise MemoryError()
        else:
            self._push_any(packet, now)
        return self._ready()

    def push_into(self, packet, double now, out):
        """Take one packet and write the frames that are due into ``out``: `push` and `read_into` in one call.

        Parameters
        ----------
        packet : buffer of uint8
            Borrowed for the call.
        now : float
            Its arrival, in seconds.
        out : writable buffer of int16
            See `read_into`.

        Returns
        -------
        int
            Samples per channel that have been written.

        Raises
        ------
        FormatError, StateError
            As by `push`.
        TypeError, ValueError
            If ``out`` is no writable buffer of int16, or too small for a frame; the packet has not been taken then.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        if PyBytes_CheckExact(packet) and self.direct and not self.at_work[0]:
            if latest != <PyObject *><void *>self:
                self._change_turn()
            if not view_bytearray(out, &view):
                borrow_samples_into(out, &view, "out")
            if view.len // 2 < self.frame_block or (self.one_by_one and self.processor.next_channel):
                PyBuffer_Release(&view)
                self._check_out(&view)      # raises
            n = self._push_octets(<const uint8_t *>PyBytes_AS_STRING(packet), PyBytes_GET_SIZE(packet), now)
        else:
            borrow_samples_into(out, &view, "out")
            try:
                self._check_out(&view)
                self._push_any(packet, now)
                n = 0
            except BaseException:
                PyBuffer_Release(&view)
                raise
        if n == 0:
            n = self._read_into(<int16_t *>view.buf, view.len // 2)
        PyBuffer_Release(&view)
        if n < 0:
            raise MemoryError()
        return n

    def push_many(self, packets, double now):
        """Take several packets that arrived together.

        Parameters
        ----------
        packets : iterable of buffers of uint8
            In the order of their arrival.  Of packets that are ``bytes`` many are taken at a time without the GIL.
        now : float
            Their arrival, in seconds.

        Returns
        -------
        int
            Frames that `frames` has ready now.

        Raises
        ------
        FormatError, StateError
            As by `push`; packets before the one at fault have been taken.

        Notes
        -----
        What is ready waits for `frames`, at most ``max_ready_s`` of it: take frames between large batches.
        """
        cdef Octets[RUN] run
        cdef Py_ssize_t n = 0
        cdef tuple held
        if self.ended or self.at_work[0]:
            self._push_any(b"", now)        # raises
        if self.layout_code == UNKNOWN:     # one by one: when they show no layout, those behind stay with the caller
            packets = iter(packets)
            for packet in packets:
                self._push_any(packet, now)
                if self.layout_code != UNKNOWN:
                    break
        held = tuple(packets)               # nobody else can take a packet out of it while the GIL is released
        for packet in held:
            if PyBytes_CheckExact(packet) and self.direct:
                run[n].at = <const uint8_t *>PyBytes_AS_STRING(packet)
                run[n].size = PyBytes_GET_SIZE(packet)
                n += 1
                if n == RUN:
                    n = 0
                    self._push_run(run, RUN, now)
            else:
                self._push_run(run, n, now)
                n = 0
                self._push_any(packet, now)
        self._push_run(run, n, now)
        return self._ready()

    def push_buffer(self, buffer, offsets, double now):
        """Take several packets that arrived together and lie one behind the other in one buffer.

        Parameters
        ----------
        buffer : buffer of uint8
            All packets, borrowed for the call.
        offsets : buffer of int32 or int64, shape (n_packets + 1,)
            Packet ``i`` is ``buffer[offsets[i]:offsets[i + 1]]``.  One offset or none is no packet.
        now : float
            Their arrival, in seconds.

        Returns
        -------
        int
            Frames that `frames` has ready now.

        Raises
        ------
        FormatError, StateError
            As by `push`.
        TypeError
            If ``offsets`` holds no integers of 32 or 64 bits.
        ValueError
            If an offset is less than the one before it, or beyond the buffer; no packet has been taken then.

        Notes
        -----
        The GIL is released; nobody may write to either buffer meanwhile.
        """
        cdef Py_buffer view, places
        cdef Octets[RUN] run
        cdef Py_ssize_t i, n_packets, start, n = 0
        if self.ended or self.at_work[0]:
            self._push_any(b"", now)        # raises
        borrow_octets(buffer, &view, "buffer")
        try:
            borrow_integers(offsets, &places, "offsets")
            try:
                n_packets = max(places.len // places.itemsize - 1, 0)
                check_offsets(&places, view.len)
                i = 0
                while i < n_packets and not self.direct:
                    start = integer_at(&places, i)
                    self._push_any((<const char *>view.buf)[start:integer_at(&places, i + 1)], now)
                    i += 1
                while i < n_packets:
                    # Read once, and checked again: the caller might have written to them.
                    start = integer_at(&places, i)
                    run[n].at = <const uint8_t *>view.buf + start
                    run[n].size = integer_at(&places, i + 1) - start
                    if start < 0 or run[n].size < 0 or start + run[n].size > view.len:
                        raise ValueError(f"offsets changed during the call, at {i}")
                    n += 1
                    i += 1
                    if n == RUN or i == n_packets:
                        self._push_run(run, n, now)
                        n = 0
            finally:
                PyBuffer_Release(&places)
        finally:
            PyBuffer_Release(&view)
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
        cdef int done
        self._check_free()
        if self.ended:
            raise StateError("the receiver was flushed; packets of a new stream need a new one")
        borrow_octets(payload, &view, "payload")
        done = self._take_packet(sequence_number, timestamp, <const uint8_t *>view.buf, view.len, now)
        PyBuffer_Release(&view)
        if done < 0:
            raise MemoryError()
        return self._ready()

    def refuse(self, str reason):
        """Count a message that was no packet at all, with its reason."""
        self._check_free()
        self._refuse_told(reason)

    # The timeline

    def begin(self, long long timestamp):
        """Say at which media time the stream begins, so that packets lost before the first one are a hole.

        Without it the first packet is the beginning; behind it, this does nothing.  The first packets are refused as
        nonsense when their timestamps are more than an hour away; after three of them it is this that is not believed.
        """
        if not self.line.has_last:
            self.jitter.has_origin = True
            self.jitter.origin = timestamp

    def meter(self, int n_frames=2048):
        """Note from now on what the frames look like, for a picture of the stream.

        Parameters
        ----------
        n_frames : int
            Frames to remember, a power of two; 2 octets each, per channel, and 4 more once somebody watches.

        Returns
        -------
        Meter
            The same one each time; ``n_frames`` counts the first time.

        Raises
        ------
        StateError
            If frames of some channels have been taken, and those of others for the same time not.
        """
        self._check_settled()
        if self.noted is not None:
            return self.noted
        if self.processor.next_channel:
            raise StateError(
                f"frames were taken up to channel {self.processor.next_channel} of {self.processor.n_channels}; "
                "take the others of the same time first"
            )
        self.noted = Meter(
            self.processor.n_channels, self.processor.frame_samples, self.processor.sample_rate,
            n_frames=n_frames, start=self.processor.n_out,
        )
        self.processor.note_in(self.noted)
        return self.noted

    def position_at(self, long long timestamp):
        """Sample position of a media timestamp, or None before the first packet.

        The position may lie ahead of what has been received.
        """
        self._check_settled()
        return position_of(&self.line, timestamp) if self.line.has_last else None

    def pause(self):
        """From here on packets are counted as discarded; their place on the timeline is a hole of its length."""
        self.paused = True
        self.steady.left = 0

    def resume(self):
        """Take packets again."""
        self.paused = False

    def restart(self):
        """Say that a new connection takes over.

        What waits is released.  The timestamp of the next packet tells how long the hole is, or its arrival where
        the sender's clock began anew.
        """
        self._check_settled()
        self.jitter.take_over()
        self.reconnecting = self.line.has_last or self.jitter.newest >= 0
        lay(&self.line, self.jitter)

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
        cdef int64_t tail
        self._check_settled()
        if self.ended:
            return self._ready()
        if self.undetermined:
            for _ in self.undetermined:
                self._refuse_told("the stream ended before the packets showed their layout")
            self.undetermined = []
        self.jitter.release_all()
        lay(&self.line, self.jitter)
        self.ended = True
        self._set_direct()
        if end_timestamp is not None and self.line.has_last:
            tail = samples_between(&self.line, self.line.last_timestamp, end_timestamp) - self.line.last_samples
            if 0 < tail <= self.line.max_hole:
                self._close_with(tail)
        return self._ready()

    cdef void _close_with(self, int64_t n_samples) noexcept:
        """Put a hole at the end; a last slot that holds no packet carries it."""
        cdef uint8_t cause = CAUSE_PAUSED if self.paused else CAUSE_RECONNECT if self.reconnecting else CAUSE_LOST
        add_hole(&self.line, self.line.end, n_samples, cause)
        self.line.end += n_samples
        self.tail_samples = n_samples
        self.tail_cause = cause

    # Frames out

    cdef int64_t _ready(self) noexcept nogil:
        cdef int64_t held, blocks
        if self.steady.open:
            if self.steady.whole:
                return n_ready(&self.steady)
            held = self.line.end + self.steady.n_pushed * self.steady.n_octets - self.processor.n_out
            held -= self.processor.delay_samples
            return held // self.steady.n_octets
        held = self.line.end - self.processor.n_out
        if self.ended:
            blocks = (held + self.processor.frame_samples - 1) // self.processor.frame_samples
        else:
            held -= self.processor.delay_samples
            blocks = held >= self.processor.frame_samples
            if held >= 2 * <int64_t>self.processor.frame_samples:
                blocks = held // self.processor.frame_samples
        return blocks * self.processor.n_channels - self.processor.next_channel

    cdef int _feed(self) noexcept nogil:
        """Give the processor the next piece of the timeline: 1, or 0 when there is none, -1 when memory is out."""
        cdef Slot *slot
        cdef Py_ssize_t n
        while True:
            if self.hole_left:
                n = <Py_ssize_t>min(self.hole_left, <int64_t>self.processor.frame_samples)
                if self.processor.fill(n, _is_concealed(self.hole_cause)) < 0:
                    return -1
                self.hole_left -= n
                return 1
            if self.jitter.overrun_samples:
                self.hole_left = self.jitter.overrun_samples
                self.hole_cause = CAUSE_OVERRUN
                add_hole(&self.line, self.processor.n_in, self.hole_left, CAUSE_OVERRUN)
                self.jitter.overrun_samples = 0
                continue
            if self.jitter.read < self.line.placed:
                slot = slot_of(self.jitter, self.jitter.read)
                if slot == NULL:
                    self.jitter.read += 1
                    continue
                if slot.hole_samples:
                    self.hole_left = slot.hole_samples
                    self.hole_cause = slot.hole_cause
                    slot.hole_samples = 0
                    if _is_concealed(self.hole_cause) and not slot.flags & SLOT_DISCARD:
                        self.processor.look_ahead(
                            self.hole_left, payload_of(self.jitter, self.jitter.read), slot.n_samples
                        )
                    continue
                if slot.flags & SLOT_DISCARD:
                    if self.processor.fill(slot.n_samples, False) < 0:
                        return -1
                elif self.processor.decode(payload_of(self.jitter, self.jitter.read), slot.n_samples) < 0:
                    return -1
                finish(self.jitter, slot)
                return 1
            if self.tail_samples:
                self.hole_left = self.tail_samples
                self.hole_cause = self.tail_cause
                self.tail_samples = 0
                continue
            return 0

    cdef int _fill_up(self) noexcept nogil:
        """Feed the processor until it has a frame: 1, or 0 when there is not enough, -1 when memory is out."""
        cdef int fed
        while self.processor.next_channel == 0 and not self.processor.has_frame():
            fed = self._feed()
            if fed == 0 and self.ended and not self.processor.ending:
                fed = 1 if self.processor.end() == 0 else -1
            if fed <= 0:
                return fed
        return 1

    cdef inline Slot *_whole_frame(self) noexcept nogil:
        """The packet that is the next frame as it is, with nothing before it; NULL where there is more to do."""
        cdef Slot *slot
        if (not takes_whole(self.processor) or self.jitter.read >= self.line.placed or self.hole_left
                or self.jitter.overrun_samples):
            return NULL
        slot = slot_of(self.jitter, self.jitter.read)
        if (slot == NULL or slot.n_samples != self.processor.frame_samples or slot.hole_samples
                or slot.flags & SLOT_DISCARD):
            return NULL
        return slot

    cdef inline bint _is_dry(self) noexcept nogil:
        """Whether there is surely nothing to hand out: no packet, no hole, no samples that wait."""
        return (self.jitter.read == self.line.placed and not self.hole_left and not self.jitter.overrun_samples
                and not self.tail_samples and takes_whole(self.processor))

    cdef Frame _next_frame(self):
        cdef Frame frame
        cdef int there
        cdef Slot *slot
        if self.steady.open:
            if self.steady.whole:
                if not n_ready(&self.steady):
                    return None
                return self._next_steady() if self.steady.cleaner == NULL else self._next_cleaned()
            self._settle()
        slot = self._whole_frame()
        if slot != NULL:
            frame = self.processor.whole(payload_of(self.jitter, self.jitter.read))
            finish(self.jitter, slot)
            return frame
        if self._is_dry():
            return None
        there = self._fill_up()
        if there < 0:
            raise MemoryError()
        return self.processor.take() if there else None

    cdef inline Frame _next_steady(self):
        cdef int n = self.steady.n_octets
        cdef Frame frame = Frame.__new__(Frame)
        frame.raw_octets = PyBytes_FromStringAndSize(NULL, n * sizeof(int16_t))
        frame.pcm_octets = frame.raw_octets
        frame.position = self.steady.position
        frame.n_samples = n
        frame.sample_rate = self.line.sample_rate
        take_steady(&self.steady, <int16_t *>PyBytes_AS_STRING(frame.raw_octets))
        frame.silent = (<SilenceDetector>self.steady.detector).silent
        frame.squares = (<SilenceDetector>self.steady.detector).last_squares
        return frame

    cdef Frame _next_cleaned(self):
        cdef int n = self.steady.n_octets
        cdef Frame frame = Frame.__new__(Frame)
        if self.steady.n_taken:
            # Fewer octets than samples to write, to memory that is seldom in the cache; most never ask for them.
            frame.raw_octets = PyBytes_FromStringAndSize(<const char *>payload_waiting(&self.steady), n)
            frame.coding = ULAW if self.steady.ulaw else ALAW
        else:
            frame.raw_octets = PyBytes_FromStringAndSize(<const char *>self.steady.waiting, n * sizeof(int16_t))
        frame.pcm_octets = PyBytes_FromStringAndSize(NULL, n * sizeof(int16_t))
        frame.position = self.steady.position
        frame.n_samples = n
        frame.sample_rate = self.line.sample_rate
        take_cleaned(&self.steady, <int16_t *>PyBytes_AS_STRING(frame.pcm_octets))
        frame.silent = (<SilenceDetector>self.steady.detector).silent
        frame.squares = (<SilenceDetector>self.steady.detector).last_squares
        return frame

    cdef inline Py_ssize_t _read_steady(self, int16_t *out, Py_ssize_t room) noexcept nogil:
        cdef Py_ssize_t n = 0
        while n_ready(&self.steady) and n + self.steady.n_octets <= room:
            if self.steady.cleaner == NULL:
                take_steady(&self.steady, out + n)
            else:
                take_cleaned(&self.steady, out + n)
            n += self.steady.n_octets
        return n

    cdef Py_ssize_t _read_into(self, int16_t *out, Py_ssize_t room) noexcept nogil:
        """Write whole frames while they fit; return samples per channel, -1 when memory is out."""
        if self.steady.open:
            if self.steady.whole:
                return self._read_steady(out, room)
            self._settle()
        return self._read_unsteady(out, room)

    cdef Py_ssize_t _read_unsteady(self, int16_t *out, Py_ssize_t room) noexcept nogil:
        cdef int16_t *at = out
        cdef int n_channels = self.processor.n_channels
        cdef Py_ssize_t n_all = self.processor.frame_block
        cdef Py_ssize_t left = room, n
        cdef int there
        cdef Slot *slot
        if self._is_dry():
            return 0
        while True:
            slot = self._whole_frame()
            while slot != NULL:
                if left < n_all:
                    return (room - left) // n_channels
                whole_into(self.processor, payload_of(self.jitter, self.jitter.read), at)
                finish(self.jitter, slot)
                at += n_all
                left -= n_all
                if self._is_dry():
                    return (room - left) // n_channels if n_channels > 1 else room - left
                slot = self._whole_frame()
            there = self._fill_up()
            if there < 0:
                return -1
            if not there:
                break
            n = self.processor.next_length() * n_channels
            if left < n:
                break
            self.processor.take_into(at)
            at += n
            left -= n
        return (room - left) // n_channels

    cdef int _check_out(self, const Py_buffer *out) except -1:
        """Frames into a buffer are those of all channels; `frames` may have been left between two."""
        if out.len // 2 < self.processor.frame_block:
            raise ValueError(
                f"out has room for {out.len // 2} samples, one frame takes {self.processor.frame_block}"
            )
        if self.processor.next_channel:
            raise StateError(
                f"frames were taken up to channel {self.processor.next_channel} of {self.processor.n_channels}; "
                "take the others of the same time first"
            )
        return 0

    def read_into(self, out, now=None):
        """Write the frames that are due into ``out``, each once.

        Parameters
        ----------
        out : writable buffer of int16, or of octets
            Frames are written one behind the other, in order of time, then channel: for full frames the shape is
            ``(n_frames, n_channels, frame_samples)``.  Only whole frames are written, for all channels; what does
            not fit waits for the next call.  Borrowed for the call.
        now : float, optional
            Seconds, on the clock of `push`; without it only what is ready already is written.

        Returns
        -------
        int
            Samples per channel that have been written.

        Raises
        ------
        StateError
            If frames of some channels have been taken from `frames`, and those of others for the same time not.
        TypeError, ValueError
            If ``out`` is no writable buffer of int16, or too small for a frame of all channels.

        Notes
        -----
        The same samples as ``Frame.pcm``.  Verdict and level of the last frame are in `silent` and `level_dbov`.
        """
        cdef Py_buffer view
        cdef Py_ssize_t n
        self._check_free()
        borrow_samples_into(out, &view, "out")
        try:
            self._check_out(&view)
            if now is not None:
                self._release(now)
            n = self._read_into(<int16_t *>view.buf, view.len // 2)
        finally:
            PyBuffer_Release(&view)
        if n < 0:
            raise MemoryError()
        return n

    def frames(self, double now):
        """Iterate over the frames that are due, each once, in order of time, then channel.

        Parameters
        ----------
        now : float
            Seconds, on the clock of `push`.

        Returns
        -------
        FrameIterator
            Of `Frame`.  What is not taken from it waits for the next call.
        """
        cdef FrameIterator iterator
        self._check_free()
        self._release(now)
        iterator = FrameIterator.__new__(FrameIterator)
        iterator.receiver = self
        return iterator

    def holes(self):
        """Holes found since the last call, oldest first.

        At most 64 wait; when nobody takes them the oldest give way.  A hole that is still growing is told in
        pieces.
        """
        self._check_free()
        cdef list found = []
        cdef HoleRecord *record = take_hole(&self.line)
        while record != NULL:
            found.append(Hole(record.position, record.n_samples, CAUSES[record.cause]))
            record = take_hole(&self.line)
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
        return self.steady.position if self.steady.open else self.processor.n_out

    @property
    def silent(self):
        """Whether the last frame handed out was silent, in every channel; True before the first."""
        cdef Channel channel
        for channel in self.processor.channels:
            if not channel.silence.silent:
                return False
        return True

    @property
    def level_dbov(self):
        """Level of the last frame handed out, of its loudest channel; minus infinity before the first."""
        return max([(<Channel>channel).silence.level_dbov for channel in self.processor.channels])

    @property
    def last_refusal(self):
        """What was wrong with the packet refused last: what, where, how much; None when there was none."""
        if self.refusal == NOT_REFUSED:
            return None
        if self.refusal == REFUSED_TOLD:
            return self.refused_told
        if self.refusal == REFUSED_SHORT:
            return f"packet has {self.refused_size} octets, less than the {self.layout} header"
        packet = f"packet {self.refused_number}"
        if self.refusal == REFUSED_BARE:
            return f"{packet} has a header and no audio"
        if self.refusal == REFUSED_SUSPECT:
            return f"{packet} is far from the sequence, and no other has confirmed it yet"
        audio = f"{packet} has {self.refused_size} octets of audio"
        if self.refusal == REFUSED_PART:
            return f"{audio}, one sample takes {self.processor.block_octets}"
        return f"{audio}, more than {self.jitter.max_payload_octets}"

    def stats(self):
        """Counters since the start, as `gcmedia.types.Stats`."""
        self._check_settled()
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
            timestamp_jumps=self.line.timestamp_jumps,
            total_samples=self.line.end,
            concealed_samples=self.processor.concealed_samples,
            silent_concealed_samples=self.processor.silent_concealed_samples,
            concealment_events=self.processor.concealment_events,
            malformed=malformed | stats.malformed,
        )
