"""How fast packets come: since the last record, and since the first one."""

from __future__ import annotations

from collections.abc import Iterable

from ..types import Stats
from .events import Rates, Throughput

__all__ = ["Rate", "total"]


class Rate:
    """Counts of one interaction.  Time is an argument.

    Attributes
    ----------
    packets, payload, wire : int
        Packets, octets of their payload, octets of the messages.
    """

    def __init__(self) -> None:
        self.packets = self.payload = self.wire = 0
        self.began: float | None = None
        self._since = 0.0
        self._before = (0, 0, 0, 0, 0)
        self._window = Rates(0.0, 0.0, 0.0, 0.0, 0.0)

    def add(self, payload: int, wire: int, now: float) -> None:
        """Count a packet."""
        if self.began is None:
            self.began = self._since = now
        self.packets += 1
        self.payload += payload
        self.wire += wire

    def record(self, stats: Stats, now: float) -> None:
        """End a window, begin the next."""
        counts = (self.packets, self.payload, self.wire, stats.packets_expected, stats.packets_lost)
        if self.began is not None:
            self._window = _rates(now - self._since, self._before, counts)
            self._since = now
        self._before = counts

    def rates(self, interaction_id: str, stats: Stats, now: float) -> Throughput:
        """The last whole window, and the lifetime."""
        counts = (self.packets, self.payload, self.wire, stats.packets_expected, stats.packets_lost)
        began = now if self.began is None else self.began
        return Throughput(interaction_id, self._window, _rates(now - began, (0,) * 5, counts))


def total(each: Iterable[Throughput]) -> Throughput:
    """All interactions together."""
    told = list(each)
    return Throughput("", _sum([one.window for one in told]), _sum([one.lifetime for one in told]))


def _rates(seconds: float, before: tuple[int, ...], after: tuple[int, ...]) -> Rates:
    packets, payload, wire, expected, lost = (new - old for new, old in zip(after, before, strict=True))
    loss_rate = min(max(lost / expected, 0.0), 1.0) if expected > 0 else 0.0
    if seconds <= 0.0:
        return Rates(0.0, 0.0, 0.0, 0.0, loss_rate)
    return Rates(seconds, packets / seconds, payload / seconds, wire / seconds, loss_rate)


def _sum(rates: list[Rates]) -> Rates:
    packets = sum(one.packets_per_second for one in rates)
    lost = sum(one.packet_loss_rate * one.packets_per_second for one in rates)
    return Rates(
        max((one.seconds for one in rates), default=0.0),
        packets,
        sum(one.bytes_per_second for one in rates),
        sum(one.wire_bytes_per_second for one in rates),
        lost / packets if packets else 0.0,
    )
