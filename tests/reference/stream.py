"""What header, sequence validator and jitter buffer must do, said as plainly as possible.

Nothing here is shared with the implementation: numbers live in sets and dictionaries that grow for ever, extended
sequence numbers are Python integers, and every count is made by looking at what is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HALF = 1 << 31
FULL = 1 << 32


def ahead(a: int, b: int) -> int:
    """How far a is ahead of b by serial number arithmetic (RFC 1982), -2**31 to 2**31 - 1."""
    return (a - b + HALF) % FULL - HALF


@dataclass
class ModelValidator:
    """Sequence numbers, one epoch after another."""

    window: int = 256
    max_jump: int = 32
    max_gap: int = 90_000
    restarting: bool = False
    received: int = 0
    duplicate: int = 0
    late: int = 0
    refused: int = 0
    gaps: int = 0
    resets: int = 0
    epoch: int = -1
    highest: dict[int, int] = field(default_factory=dict)  # extended, by epoch
    base: dict[int, int] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)  # (epoch, extended)
    suspect: int | None = None

    def _begin(self, number: int) -> tuple[int, int]:
        self.epoch += 1
        self.highest[self.epoch] = self.base[self.epoch] = number
        self.seen.add((self.epoch, number))
        return self.epoch, number

    def _jump(self, number: int) -> tuple[str, int, tuple[int, int]]:
        step = ahead(number, self.highest[self.epoch] % FULL)
        if 0 < step <= self.max_gap + 1:
            extended = self.highest[self.epoch] + step
            self.highest[self.epoch] = extended
            self.seen.add((self.epoch, extended))
            return ("gap" if step > 1 else "in-order"), step - 1, (self.epoch, extended)
        self.resets += 1
        return "reset", 0, self._begin(number)

    def push(self, number: int, newer: bool = False) -> tuple[str, int, list[tuple[int, int]]]:
        """Return kind, numbers skipped, and the (epoch, extended) numbers accepted by this push, in order."""
        self.received += 1
        if self.epoch < 0:
            self.restarting = False
            return "in-order", 0, [self._begin(number)]
        highest = self.highest[self.epoch]
        step = ahead(number, highest % FULL)
        extended = highest + step
        if 0 < step <= self.max_jump + 1:
            self.restarting = False
            self.suspect = None
            self.highest[self.epoch] = extended
            self.seen.add((self.epoch, extended))
            self.gaps += step > 1
            return ("gap" if step > 1 else "in-order"), step - 1, [(self.epoch, extended)]
        if -self.window < step <= 0:
            seen, before = (self.epoch, extended) in self.seen, extended < self.base[self.epoch]
            if seen and not newer:
                self.duplicate += 1
                return "duplicate", 0, []
            if not seen and not (before and newer):
                self.seen.add((self.epoch, extended))
                self.base[self.epoch] = min(self.base[self.epoch], extended)
                self.late += 1
                return "late", 0, [(self.epoch, extended)]
        if self.restarting:
            self.restarting = False
            self.suspect = None
            kind, gap, accepted = self._jump(number)
            self.gaps += kind == "gap"
            return kind, gap, [accepted]
        if self.suspect == number:
            self.duplicate += 1
            return "duplicate", 0, []
        if self.suspect is not None and 0 < ahead(number, self.suspect) <= 4:
            kind, gap, first = self._jump(self.suspect)
            self.suspect = None
            self.refused -= 1
            _, inner, second = self._jump(number)
            self.gaps += gap + inner > 0
            return kind, gap + inner, [first, second]
        self.suspect = number
        self.refused += 1
        return "suspect", 0, []

    @property
    def expected(self) -> int:
        """Numbers the sender has used, over all epochs (RFC 3550 A.3)."""
        return sum(self.highest[e] - self.base[e] + 1 for e in self.highest)

    @property
    def lost(self) -> int:
        """Expected and never seen."""
        return self.expected - len(self.seen)


@dataclass
class ModelPacket:
    """A packet with the number it was accepted under."""

    key: tuple[int, int]
    number: int
    timestamp: int
    payload: bytes
    arrival: float


class ModelBuffer:
    """The depth and the window policy without adaptation: `depth` packets in hand, or `window` seconds' wait.

    What waits is a dictionary by extended number; the next number due is an integer.
    """

    def __init__(self, depth: int | None, window: float | None, hold: float, slots: int, gap_tolerance: int = 3):
        self.depth, self.window, self.hold, self.slots, self.gap_tolerance = depth, window, hold, slots, gap_tolerance
        self.validator = ModelValidator(max_jump=min(32, slots // 2 - 1))
        self.waiting: dict[int, ModelPacket] = {}
        self.released: list[tuple[ModelPacket, int]] = []
        self.next: int | None = None
        self.newest = 0
        self.fresh = True
        self.late = self.reordered = self.flushes = 0
        self.run = 0  # numbers given up in a row
        self.lost_before = 0
        self.newest_timestamp: int | None = None
        self.suspect: ModelPacket | None = None

    def _step(self) -> None:
        assert self.next is not None
        packet = self.waiting.pop(self.next, None)
        if packet is None:
            self.run += 1
            self.lost_before += 1
        else:
            self.flushes += self.run > self.gap_tolerance
            self.run = 0
            self.released.append((packet, self.lost_before))
            self.lost_before = 0
        self.next += 1
        self.fresh = False

    def _drain(self) -> None:
        while self.waiting:
            self._step()

    def _cut(self, packet: ModelPacket, missing: int, reset: bool) -> None:
        self._drain()
        self.next = self.newest = packet.key[1]
        if not reset:
            self.lost_before += missing
            self.flushes += missing > self.gap_tolerance
        self.waiting[packet.key[1]] = packet

    def _saw(self, timestamp: int) -> None:
        if self.newest_timestamp is None or timestamp > self.newest_timestamp:
            self.newest_timestamp = timestamp

    def push(self, number: int, timestamp: int, payload: bytes, now: float) -> str:
        """Take one packet, return the kind of its verdict."""
        newer = self.newest_timestamp is not None and timestamp > self.newest_timestamp
        was_restarting = self.validator.restarting
        kind, gap, accepted = self.validator.push(number, newer)
        packets = [ModelPacket(key, number, timestamp, payload, now) for key in accepted]
        if kind == "suspect":
            self.suspect = ModelPacket((0, 0), number, timestamp, payload, now)
        if not packets:
            return kind
        reconnected = was_restarting and not self.validator.restarting
        if len(packets) == 2:
            assert self.suspect is not None
            first = packets[0]
            first.number, first.timestamp = self.suspect.number, self.suspect.timestamp
            first.payload, first.arrival = self.suspect.payload, self.suspect.arrival
            inner = packets[1].key[1] - first.key[1] - 1
            if kind == "reset":
                self.newest_timestamp = None
            self._cut(first, gap - inner, kind == "reset")
            self._saw(first.timestamp)
            packets = packets[1:]
        elif kind == "reset" or (reconnected and kind != "late"):
            if kind == "reset":
                self.newest_timestamp = None
            self._cut(packets[0], gap, kind == "reset")
            self._saw(timestamp)
            return kind
        packet = packets[0]
        place = packet.key[1]
        if self.next is None:
            self.next = self.newest = place
        if kind == "late":
            self.reordered += 1
            if place < self.next:
                if not (self.fresh and self.newest - place < self.slots):
                    self.late += 1
                    return "late"
                self.next = place
            kind = "reordered"
        self.newest = max(self.newest, place)
        while place - self.next >= self.slots // 2:
            self._step()
        self.waiting[place] = packet
        self._saw(timestamp)
        return kind

    def release(self, now: float) -> list[tuple[ModelPacket, int]]:
        """Packets due now, each with the numbers given up before it."""
        while self.waiting:
            assert self.next is not None
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
        self.validator.restarting = self.validator.epoch >= 0
