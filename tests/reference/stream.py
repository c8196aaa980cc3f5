"""What header, sequence validator and jitter buffer must do, said as plainly as possible.

Nothing here is shared with the implementation: numbers live in sets and dictionaries that grow for ever, extended
sequence numbers are Python integers, and every count is made by looking at what is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

HALF = 1 << 31
FULL = 1 << 32

Key = tuple[int, int]  # which of the sender's sequences, and the extended number in it


def ahead(a: int, b: int) -> int:
    """How far a is ahead of b by serial number arithmetic (RFC 1982), -2**31 to 2**31 - 1."""
    return (a - b + HALF) % FULL - HALF


@dataclass
class Judgement:
    """Of one number: its kind, the numbers skipped, and which numbers were accepted, in order."""

    kind: str
    gap: int = 0
    accepted: tuple[Key, ...] = ()


@dataclass
class ModelValidator:
    """Sequence numbers, one sequence of the sender after another."""

    window: int = 256
    max_jump: int = 32
    max_gap: int = 90_000
    received: int = 0
    duplicate: int = 0
    late: int = 0
    refused: int = 0
    gaps: int = 0
    resets: int = 0
    sequence: int = -1
    highest: dict[int, int] = field(default_factory=dict)  # extended number, of each sequence
    base: dict[int, int] = field(default_factory=dict)
    seen: set[Key] = field(default_factory=set)
    suspect: int | None = None

    def begin(self, number: int) -> Key:
        """Start a sequence."""
        self.sequence += 1
        self.highest[self.sequence] = self.base[self.sequence] = number
        self.seen.add((self.sequence, number))
        return self.sequence, number

    def _see(self, extended: int) -> Key:
        """Accept a number of the present sequence."""
        self.highest[self.sequence] = max(self.highest[self.sequence], extended)
        self.base[self.sequence] = min(self.base[self.sequence], extended)
        self.seen.add((self.sequence, extended))
        return self.sequence, extended

    def _accept_suspect(self, number: int) -> Judgement:
        """The suspect is believed, for this number is close to it."""
        assert self.suspect is not None
        highest = self.highest[self.sequence]
        far = ahead(self.suspect, highest % FULL)
        step = ahead(number, self.suspect)
        if 0 < far <= self.max_gap + 1:
            kind, gap = "gap", far - 1
            first = self._see(highest + far)
        else:
            kind, gap = "reset", 0
            self.resets += 1
            first = self.begin(self.suspect)
        second = self._see(first[1] + step)
        gap += max(0, step - 1)
        self.late += step < 0
        self.gaps += gap > 0
        self.refused -= 1
        self.suspect = None
        return Judgement(kind, gap, (first, second))

    def push(
        self, number: int, *, newer: bool = False, in_time: bool = False, follows_suspect: bool = False
    ) -> Judgement:
        """Judge one number, with what its timestamp tells."""
        self.received += 1
        if self.sequence < 0:
            return Judgement("in-order", 0, (self.begin(number),))
        highest = self.highest[self.sequence]
        step = ahead(number, highest % FULL)
        extended = highest + step
        near_suspect = self.suspect is not None and 1 <= abs(ahead(number, self.suspect)) <= 4
        if near_suspect and follows_suspect:
            return self._accept_suspect(number)
        if 0 < step <= (self.max_gap if in_time else self.max_jump) + 1:
            self.suspect = None
            self.gaps += step > 1
            return Judgement("gap" if step > 1 else "in-order", step - 1, (self._see(extended),))
        if -self.window < step <= 0:
            seen, before = (self.sequence, extended) in self.seen, extended < self.base[self.sequence]
            if seen and not newer:
                self.duplicate += 1
                return Judgement("duplicate")
            if not seen and not (before and newer):
                self.late += 1
                return Judgement("late", 0, (self._see(extended),))
        elif near_suspect:
            return self._accept_suspect(number)
        if self.suspect == number:
            self.duplicate += 1
            return Judgement("duplicate")
        self.suspect = number
        self.refused += 1
        return Judgement("suspect")

    def forget_first(self) -> None:
        """The only number of the first sequence was nonsense."""
        [only] = [key for key in self.seen if key[0] == self.sequence - 1]
        self.seen.remove(only)
        del self.highest[only[0]], self.base[only[0]]
        self.refused += 1
        self.resets -= 1

    @property
    def expected(self) -> int:
        """Numbers the sender has used, over all its sequences (RFC 3550 A.3)."""
        return sum(self.highest[s] - self.base[s] + 1 for s in self.highest)

    @property
    def lost(self) -> int:
        """Expected and never seen."""
        return self.expected - len(self.seen)


@dataclass
class ModelPacket:
    """A packet, with the place it was given."""

    number: int
    timestamp: int
    payload: bytes
    arrival: float
    place: int = 0
    missing: int = 0  # given up before it without a place of their own
    cut: bool = False  # first behind a long gap, a restart or a reconnect
    reset: bool = False  # first of a new sequence


class Playout(Protocol):
    """What tells when a packet is due; times in seconds."""

    def push(self, arrival: float, media_time: float) -> bool:
        """Take one packet; say whether it came after it was due."""

    def due(self, media_time: float) -> float:
        """When a packet is due."""

    def reset(self) -> None:
        """The sender's clock begins anew."""


class ModelBuffer:
    """The depth and the window policy without adaptation, and the adaptive one by what ``playout`` says.

    They keep `depth` packets in hand, wait `window` seconds for what is missing, or hold each packet until it is due,
    for ``hold`` seconds at most.  Ticks are milliseconds.

    What waits is a dictionary by place; places are extended numbers moved together at each cut, where up to three
    are left open for packets in disorder.
    """

    def __init__(
        self,
        depth: int | None,
        window: float | None,
        hold: float,
        slots: int,
        gap_tolerance: int = 3,
        playout: Playout | None = None,
    ):
        self.depth, self.window, self.hold, self.slots, self.gap_tolerance = depth, window, hold, slots, gap_tolerance
        self.playout = playout
        self.played_up_to: float | None = None  # timestamp of the last place decided
        self.behind = False  # the last packet came after it was due
        self.underruns = 0
        self.validator = ModelValidator(max_jump=min(32, slots // 2 - 1))
        self.waiting: dict[int, ModelPacket] = {}
        self.released: list[tuple[ModelPacket, int]] = []
        self.next = 0
        self.newest: int | None = None
        self.shift = 0
        self.fresh = True
        self.restarting = False
        self.late = self.reordered = self.flushes = 0
        self.run = 0  # places given up in a row
        self.lost_before = 0
        self.newest_timestamp: int | None = None
        self.packet_ticks: int | None = None
        self.last_step: int = 0
        self.suspect: ModelPacket | None = None

    def _step(self) -> None:
        packet = self.waiting.pop(self.next, None)
        if packet is None:
            self.run += 1
            self.lost_before += 1
        else:
            self.flushes += self.run > self.gap_tolerance
            self.run = 0
            self.played_up_to = packet.timestamp
            self.released.append((packet, 0 if packet.reset else self.lost_before + packet.missing))
            self.lost_before = 0
        self.next += 1
        self.fresh = False

    def _drain(self) -> None:
        while self.waiting:
            self._step()

    def _cut(self, packet: ModelPacket, extended: int, kind: str, missing: int) -> None:
        """Give the packet a place behind everything, three places apart if anything may be missing there."""
        assert self.newest is not None
        self._drain()
        self.run = 0
        open_places = min(3, self.gap_tolerance)
        packet.cut, packet.reset = True, kind == "reset"
        if packet.reset and self.playout is not None:
            self.playout.reset()
        if not packet.reset:
            self.flushes += missing > self.gap_tolerance
            open_places = min(open_places, missing)
            packet.missing = missing - open_places
        self.restarting = False
        packet.place = self.newest + 1 + open_places
        self.shift = extended - packet.place

    def _put(self, packet: ModelPacket) -> None:
        """Let the packet wait at its place; one before the first behind a cut takes over the cut."""
        self.waiting[packet.place] = packet
        later = [place for place in self.waiting if place > packet.place]
        if self.newest is None or packet.place > self.newest:
            self.newest = packet.place
        elif later and self.waiting[min(later)].cut:
            first = self.waiting[min(later)]
            packet.cut, packet.reset, packet.missing = True, first.reset, first.missing
            first.cut, first.reset, first.missing = False, False, 0

    def _saw(self, packet: ModelPacket) -> None:
        if self.newest_timestamp is None or packet.timestamp > self.newest_timestamp:
            self.newest_timestamp = packet.timestamp
        if self.playout is not None:
            late = self.playout.push(packet.arrival, packet.timestamp / 1000)
            self.underruns += late and not self.behind and list(self.waiting) == [self.next]
            self.behind = late

    def _evidence(self, number: int, timestamp: int) -> dict[str, bool]:
        """What the timestamp tells about the number."""
        if self.newest_timestamp is None or timestamp <= self.newest_timestamp:
            return {}
        if not self.packet_ticks:
            return {"newer": True}
        highest = self.validator.highest[self.validator.sequence] % FULL
        expected = ahead(number, highest) * self.packet_ticks
        off = abs(timestamp - self.newest_timestamp - expected)
        follows = False
        if self.validator.suspect is not None and self.suspect is not None and off > self.packet_ticks / 2:
            from_suspect = ahead(number, self.suspect.number) * self.packet_ticks
            follows = abs(timestamp - self.suspect.timestamp - from_suspect) <= self.packet_ticks / 2
        in_time = off <= max(2 * self.packet_ticks, 0.02 * expected)
        return {"newer": True, "in_time": in_time, "follows_suspect": follows}

    def _measure(self, ticks: int) -> None:
        if ticks > 0 and abs(ticks - self.last_step) <= 2:
            self.packet_ticks = ticks
        self.last_step = ticks

    def push(self, number: int, timestamp: int, payload: bytes, now: float) -> str:
        """Take one packet, return the kind of its verdict."""
        late_before = self.validator.late  # two that confirm each other may be the wrong way round
        judged = self.validator.push(number, **self._evidence(number, timestamp))
        packet = ModelPacket(number, timestamp, payload, now)
        kind = judged.kind
        if kind == "suspect":
            self.suspect = packet
        if not judged.accepted:
            return kind

        extended = judged.accepted[-1][1]
        only = self.fresh and self.newest == self.next and self.next in self.waiting and not late_before
        if kind == "reset" and only:
            # One packet and nothing released: it was nonsense, and the stream begins here.
            del self.waiting[self.next]
            self.newest = self.next - 1 if self.next else None
            self.newest_timestamp = None
            self.validator.forget_first()
            if self.playout is not None:
                self.playout.reset()
            self.restarting = False
            kind = "in-order"
        late = kind == "late"
        if len(judged.accepted) == 2:
            assert self.suspect is not None
            first, first_extended = self.suspect, judged.accepted[0][1]
            inner = max(0, extended - first_extended - 1)
            if kind == "reset":
                self.newest_timestamp = None
            if kind == "in-order":
                first.place = self.next
                self.shift = first_extended - first.place
            else:
                self._cut(first, first_extended, kind, judged.gap - inner)
            self._put(first)
            self._saw(first)
            late = extended < first_extended
            packet.place = extended - self.shift
        elif self.newest is None:
            self.shift = extended
        elif (kind == "gap" and (self.restarting or judged.gap > self.validator.max_jump)) or (
            kind == "in-order" and self.restarting
        ):
            self._cut(packet, extended, kind, judged.gap)
        else:
            packet.place = extended - self.shift

        if late:
            self.reordered += 1
            assert self.newest is not None
            if packet.place < self.next:
                if not (self.fresh and self.newest - packet.place < self.slots):
                    self.late += 1
                    if self.playout is not None:
                        self.playout.push(now, timestamp / 1000)
                    return "late"
                self.next = packet.place
            if kind == "late":
                kind = "reordered"
        while packet.place - self.next >= self.slots // 2:
            self._step()
        is_newest = self.newest is None or packet.place > self.newest
        self._put(packet)
        if is_newest and kind == "in-order":
            self._measure(timestamp - (self.newest_timestamp or 0))
        self._saw(packet)
        return kind

    def _due(self) -> tuple[float, float]:
        """When the next place is due, and its timestamp: places that are missing share the time up to the first that
        waits evenly."""
        assert self.playout is not None
        first = self.waiting[min(self.waiting)]
        timestamp, steps = float(first.timestamp), first.place - self.next + 1
        if steps > 1 and self.played_up_to is not None and self.played_up_to < timestamp:
            timestamp = self.played_up_to + (timestamp - self.played_up_to) / steps
        return min(self.playout.due(timestamp / 1000), first.arrival + self.hold), timestamp

    def release(self, now: float) -> list[tuple[ModelPacket, int]]:
        """Packets due now, each with the numbers given up before it."""
        while self.waiting and self.playout is not None:
            due, timestamp = self._due()
            if now < due:
                break
            missing = self.next not in self.waiting
            self._step()
            if missing:
                self.played_up_to = timestamp
        while self.waiting and self.playout is None:
            assert self.newest is not None
            age = now - self.waiting[min(self.waiting)].arrival
            if self.window is not None:
                if self.next not in self.waiting and age < self.window:
                    break
            elif self.depth is not None and self.newest - self.next + 1 < self.depth and age < self.hold:
                break
            self._step()
        return self.take()

    def flush(self) -> list[tuple[ModelPacket, int]]:
        """All that is left."""
        self._drain()
        return self.take()

    def take(self) -> list[tuple[ModelPacket, int]]:
        """What has been released and not yet taken."""
        released, self.released = self.released, []
        return released

    def restart(self) -> None:
        """A new connection takes over."""
        self._drain()
        self.restarting = self.validator.sequence >= 0
        self.validator.suspect = None
