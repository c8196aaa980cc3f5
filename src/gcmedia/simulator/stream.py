"""One conversation as it is sent: a call and its faults become a sequence of actions.

No sockets and no clock.  Time is media time, counted in packets from the start of the call ("slots"); the server
paces the actions as it likes, and the sequence stays the same.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil
from random import Random
from typing import NamedTuple

from .calls import Call, Utterance
from .faults import Disconnect, Faults, Jump, Span
from .journal import SaidLine, Truth, TruthHole
from .media_messages import MediaMessages

__all__ = ["Action", "ConversationStream"]

_DUPLICATE_DELAY = 3  # packets, at most
_SEQUENCE_MASK = 0xFFFFFFFF


@dataclass(slots=True)
class Action:
    """A message to send, or something to do.

    Attributes
    ----------
    due_ms : float
        Media time at which it is due; never falls from one action to the next.
    kind, sequence_number, timestamp, note
        As `Record` has them.
    message : bytes or str or None
        What to send; None for ``"lost"`` and ``"disconnect"``.
    index : int
        Slot of a packet, number of the utterance of a transcript, else -1.
    """

    due_ms: float
    kind: str
    message: bytes | str | None = field(default=None, repr=False)
    sequence_number: int | None = None
    timestamp: int | None = None
    note: str = ""
    index: int = -1


class _Fate(NamedTuple):
    """What becomes of one slot; depends on the slot, never on the connections before."""

    sequence_number: int
    timestamp: int
    idle: bool
    lost: str  # cause, "" when it is sent
    delay: int  # slots that it is held back
    copy_delay: int  # slots until the copy, -1 for none
    jitter_ms: float
    malformed: str  # kind, "" for none


class ConversationStream:
    """The life of one conversation over all its connections.

    Call `attach` at every subscription, then take `actions` until they end; call `sent` for each message that
    was really sent.

    Parameters
    ----------
    conversation_id : str
        Part of the seed: two conversations with the same faults do not fail alike.
    call : Call
    faults : Faults
    on_end : callable
        Called once the end of the call has been sent.
    """

    def __init__(self, conversation_id: str, call: Call, faults: Faults, on_end: Callable[[], None]) -> None:
        self.conversation_id = conversation_id
        self.call = call
        self._faults = faults
        self._on_end = on_end
        self._rng = {
            name: Random(f"{faults.seed}/{conversation_id}/{name}")
            for name in (
                "start",
                "loss",
                "burst",
                "duplicate",
                "reorder",
                "jitter",
                "malformed",
                "garbage",
                "restart",
                "words",
            )
        }
        first = call.first_sequence_number
        self._first = self._rng["start"].getrandbits(32) if first is None else first
        self._sequence = self._first
        self._slot = 0  # the next to be generated
        self._due_ms = 0.0
        self._outage_ms: float | None = None  # since the last end; None before the first subscription
        self._in_burst = False
        self._pending: list[tuple[int, int, int, Action]] = []  # heap: slot of release, rank, tie, action
        self._tie = 0
        self._ended = False
        self._attached = False

        self._restarts = sorted(faults.sequence_restarts_ms)
        self._jumps = sorted(faults.sequence_jumps)
        self._time_jumps = _Steps(faults.timestamp_jumps)
        self._gaps = _Spans(faults.gaps)
        self._idle = _Spans(faults.idle)
        self._stalls = _Spans(faults.stalls)
        self._ends = _planned_ends(faults, call.duration_ms)
        self._lines = call.utterances
        self._line_fates = ["pending"] * len(self._lines)
        self._lines_at = self._plan_transcripts()

        self._generated = self._missed = self._sent = self._duplicates = self._reordered = 0
        self._lost: Counter[str] = Counter()
        self._malformed: Counter[str] = Counter()
        self._happened: Counter[str] = Counter()
        self._holes: list[TruthHole] = []
        self._highest_sent_slot = -1

    @property
    def ended(self) -> bool:
        """Whether the end of the call has been sent."""
        return self._ended

    @property
    def attached(self) -> bool:
        """Whether a connection has it now."""
        return self._attached

    @property
    def position_ms(self) -> float:
        """Media time of the next packet, from the start of the call."""
        return float(min(self._slot, self.call.n_packets) * self.call.packet_ms)

    @property
    def timestamp(self) -> int:
        """Media time of the next packet, on the media clock."""
        return self._timestamp(self.position_ms)

    @property
    def outage_ms(self) -> float:
        """The outage planned with the last end of its connection."""
        return self._outage_ms or 0.0

    def attach(self, away_ms: float = 0.0) -> float:
        """Begin, or resume at the live edge: after the planned outage, or ``away_ms`` when that is longer.

        Returns
        -------
        float
            The media that passed without a connection, in ms.
        """
        self._attached = True
        if self._outage_ms is None:
            self._outage_ms = 0.0
            return 0.0
        self._pending.clear()  # held back for a connection that is gone: undelivered
        packet_ms = self.call.packet_ms
        start = self._slot
        while self._slot < self.call.n_packets and (self._slot - start) * packet_ms < max(self._outage_ms, away_ms):
            if not self._next_fate().idle:
                self._generated += 1
                self._missed += 1
            self._slot += 1
        self._outage_ms = 0.0
        passed = (self._slot - start) * packet_ms
        if passed:
            self._holes.append(TruthHole(start * packet_ms, passed, "outage"))
            if self._faults.restart_sequence_on_reconnect:
                self._restart_sequence()
        for slot, lines in self._lines_at.items():
            if slot < self._slot:
                for line in lines:
                    if self._line_fates[line] == "pending":
                        self._line_fates[line] = "missed"
        self._ends = [end for end in self._ends if end.at_ms >= self.position_ms]
        self._due_ms = self.position_ms
        return float(passed)

    def detach(self) -> None:
        """The connection is gone."""
        self._attached = False

    def actions(self, messages: MediaMessages) -> Iterator[Action]:
        """What to send on this connection, in order, until it ends or the call does."""
        packet_ms = self.call.packet_ms
        while self._slot < self.call.n_packets:
            now_ms = self._slot * packet_ms
            end = self._planned_end(now_ms)
            if end is not None:
                yield from self._released(None, now_ms)
                self._outage_ms = end.outage_ms
                self._happened["disconnect"] += 1
                yield Action(self._due(now_ms), "disconnect", note=end.kind)
                return
            lost = self._generate(messages)
            if lost is not None:
                yield lost
            self._slot += 1
            yield from self._released(self._slot - 1, now_ms)
        yield from self._released(None, self.call.duration_ms)
        self._queue_transcripts(self.call.n_packets)
        yield from self._released(None, self.call.duration_ms)
        end_timestamp = self._timestamp(self.call.duration_ms)
        message = json.dumps({"type": "ack", "status": "ended", "timestamp": end_timestamp})
        yield Action(self._due(self.call.duration_ms), "ended", message, timestamp=end_timestamp)

    def sent(self, action: Action) -> None:
        """Take note that the message of ``action`` has been sent."""
        match action.kind:
            case "packet":
                self._sent += 1
                self._reordered += action.note == "reordered"
            case "duplicate":
                self._duplicates += 1
            case "malformed":
                self._malformed[action.note] += 1
            case "transcript":
                self._line_fates[action.index] = "sent"
            case "ended":
                self._ended = True
                self._on_end()

    def truth(self) -> Truth:
        """Everything in numbers, as of now."""
        lost = sum(self._lost.values())
        return Truth(
            conversation_id=self.conversation_id,
            first_sequence_number=self._first,
            start_timestamp_ms=self.call.start_timestamp_ms,
            sample_rate=self.call.sample_rate,
            n_samples=self.call.n_samples,
            duration_ms=self.call.duration_ms,
            packets_generated=self._generated,
            packets_sent=self._sent,
            packets_lost=lost,
            packets_missed=self._missed,
            packets_undelivered=self._generated - self._sent - lost - self._missed,
            duplicates_sent=self._duplicates,
            packets_reordered=self._reordered,
            malformed_sent=dict(self._malformed),
            lost_by_cause=dict(self._lost),
            sequence_restarts=self._happened["restart"],
            sequence_jumps=self._happened["jump"],
            timestamp_jumps=self._time_jumps.count(self.position_ms),
            disconnects=self._happened["disconnect"],
            holes=tuple(self._holes),
            transcripts=tuple(
                SaidLine(line.channel, line.text, line.start_ms, line.duration_ms, self._timestamp(line.start_ms), fate)
                for line, fate in zip(self._lines, tuple(self._line_fates), strict=True)
            ),
            ended=self._ended,
        )

    def _generate(self, messages: MediaMessages) -> Action | None:
        """Put the actions of this slot on the heap; a loss is returned instead."""
        slot = self._slot
        now_ms = float(slot * self.call.packet_ms)
        self._queue_transcripts(slot)
        fate = self._next_fate()
        number, timestamp = fate.sequence_number, fate.timestamp
        if fate.malformed:
            message = messages.malformed(fate.malformed, number, timestamp, self._rng["garbage"])
            self._queue(slot, 0, Action(now_ms, "malformed", message, note=fate.malformed))
        if fate.idle:
            self._extend_idle(int(now_ms))
            return None
        self._generated += 1
        if fate.lost:
            self._lost[fate.lost] += 1
            return Action(self._due_ms, "lost", None, number, timestamp, fate.lost)
        message = messages.media(slot, number, timestamp)
        release = slot + fate.delay
        ready_ms = now_ms + fate.jitter_ms
        self._queue(release, 1 + (fate.delay > 0), Action(ready_ms, "packet", message, number, timestamp, index=slot))
        if fate.copy_delay >= 0:
            self._queue(release + fate.copy_delay, 3, Action(ready_ms, "duplicate", message, number, timestamp))
        return None

    def _queue(self, slot: int, rank: int, action: Action) -> None:
        self._tie += 1
        heappush(self._pending, (slot, rank, self._tie, action))

    def _released(self, slot: int | None, now_ms: float) -> Iterator[Action]:
        """What is due by the end of ``slot``; everything, when that is None."""
        while self._pending and (slot is None or self._pending[0][0] <= slot):
            action = heappop(self._pending)[3]
            if action.kind == "packet":
                if action.index < self._highest_sent_slot:
                    action.note = "reordered"
                self._highest_sent_slot = max(self._highest_sent_slot, action.index)
            action.due_ms = self._due(max(action.due_ms, now_ms))
            yield action

    def _due(self, ready_ms: float) -> float:
        """When something ready now is sent: after whatever came before it, and after a stall."""
        self._due_ms = max(self._due_ms, self._stalls.end(ready_ms))
        return self._due_ms

    def _next_fate(self) -> _Fate:
        """Draw the fate of the next slot.  Always the same draws, so that nothing shifts what follows."""
        faults = self._faults
        now_ms = self._slot * self.call.packet_ms
        while self._restarts and self._restarts[0] <= now_ms:
            self._restarts.pop(0)
            self._restart_sequence()
        while self._jumps and self._jumps[0].at_ms <= now_ms:
            self._sequence = (self._sequence + self._jumps.pop(0).by) & _SEQUENCE_MASK
            self._happened["jump"] += 1
        lost = self._draw_loss(now_ms)
        delay, copy_delay, jitter_ms, malformed = 0, -1, 0.0, ""
        if faults.reorder and self._rng["reorder"].random() < faults.reorder:
            delay = self._rng["reorder"].randint(1, faults.reorder_depth)
        if faults.duplicates and self._rng["duplicate"].random() < faults.duplicates:
            copy_delay = self._rng["duplicate"].randint(0, _DUPLICATE_DELAY)
        if faults.jitter_ms:
            jitter_ms = self._rng["jitter"].random() * faults.jitter_ms
        if faults.malformed and self._rng["malformed"].random() < faults.malformed:
            malformed = self._rng["malformed"].choice(faults.malformed_kinds)
        idle = self._idle.holds(now_ms)
        fate = _Fate(self._sequence, self._timestamp(now_ms), idle, lost, delay, copy_delay, jitter_ms, malformed)
        if not idle:
            self._sequence = (self._sequence + 1) & _SEQUENCE_MASK
        return fate

    def _draw_loss(self, now_ms: float) -> str:
        faults, cause = self._faults, ""
        if faults.loss and self._rng["loss"].random() < faults.loss:
            cause = "loss"
        if faults.burst_enter:
            turn = faults.burst_leave if self._in_burst else faults.burst_enter
            if self._rng["burst"].random() < turn:
                self._in_burst = not self._in_burst
            if self._in_burst:
                cause = "burst"
        return "gap" if self._gaps.holds(now_ms) else cause

    def _restart_sequence(self) -> None:
        self._sequence = self._rng["restart"].getrandbits(32)
        self._happened["restart"] += 1

    def _timestamp(self, at_ms: float) -> int:
        return self.call.start_timestamp_ms + round(at_ms) + self._time_jumps.total(at_ms)

    def _extend_idle(self, now_ms: int) -> None:
        packet_ms = self.call.packet_ms
        if self._holes and self._holes[-1].cause == "idle":
            last = self._holes[-1]
            if last.start_ms + last.length_ms == now_ms:
                self._holes[-1] = TruthHole(last.start_ms, last.length_ms + packet_ms, "idle")
                return
        self._holes.append(TruthHole(now_ms, packet_ms, "idle"))

    def _planned_end(self, now_ms: float) -> Disconnect | None:
        """The first end that is due now."""
        return self._ends.pop(0) if self._ends and self._ends[0].at_ms <= now_ms else None

    def _plan_transcripts(self) -> dict[int, list[int]]:
        """Lines of the transcript by the slot after which they are sent; lost ones are marked at once."""
        faults = self._faults
        lines_at: dict[int, list[int]] = {}
        for line, words in enumerate(self._lines):
            delay_ms = faults.transcript_delay_ms
            if faults.transcript_late and self._rng["words"].random() < faults.transcript_late:
                delay_ms += faults.transcript_late_ms
            if faults.transcript_loss and self._rng["words"].random() < faults.transcript_loss:
                self._line_fates[line] = "lost"
                continue
            slot = int((words.start_ms + words.duration_ms + delay_ms) // self.call.packet_ms)
            lines_at.setdefault(min(slot, self.call.n_packets), []).append(line)  # none later than the end
        return lines_at

    def _queue_transcripts(self, slot: int) -> None:
        """Queue the lines whose slot this is."""
        for line in self._lines_at.get(slot, ()):
            words = self._lines[line]
            timestamp = self._timestamp(words.start_ms)
            self._queue(
                slot, 4, Action(0.0, "transcript", _transcript(words, timestamp), timestamp=timestamp, index=line)
            )


class _Spans:
    """Whether a time falls into one of a few spans, and when that ends."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = sorted((span.at_ms, span.at_ms + span.length_ms) for span in spans)

    def holds(self, at_ms: float) -> bool:
        return any(start <= at_ms < end for start, end in self._spans)

    def end(self, at_ms: float) -> float:
        """``at_ms``, or the end of the span that it falls into."""
        for start, end in self._spans:
            if start <= at_ms < end:
                at_ms = end
        return at_ms


class _Steps:
    """The sum of the steps up to a time."""

    def __init__(self, jumps: Iterable[Jump]) -> None:
        ordered = sorted(jumps)
        self._at = [jump.at_ms for jump in ordered]
        self._sums = [0]
        for jump in ordered:
            self._sums.append(self._sums[-1] + jump.by)

    def count(self, at_ms: float) -> int:
        return bisect_right(self._at, at_ms)

    def total(self, at_ms: float) -> int:
        return self._sums[bisect_right(self._at, at_ms)]


def _planned_ends(faults: Faults, duration_ms: int) -> list[Disconnect]:
    ends = list(faults.disconnects)
    if faults.disconnect_every_ms:
        times = range(1, ceil(duration_ms / faults.disconnect_every_ms))
        ends += [Disconnect(n * faults.disconnect_every_ms, "abnormal", faults.disconnect_outage_ms) for n in times]
    return sorted(ends, key=lambda end: end.at_ms)


def _transcript(words: Utterance, timestamp: int) -> str:
    return json.dumps(
        {
            "type": "transcript",
            "timestamp": timestamp,
            "text": words.text,
            "confidence": words.confidence,
            "durationMs": round(words.duration_ms),
            "channel": words.channel,
        }
    )
