"""Which packet a sample came in: what is known of packets that have been pushed and not yet played."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

__all__ = ["PacketOrder"]

MAX_WAITING = 1024  # as many as the largest jitter buffer holds


class PacketOrder:
    """Packets by media time, each once, until the timeline has reached them."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, int]] = []  # unwrapped timestamp; sequence number, timestamp on the wire

    def add(self, unwrapped: int, sequence_number: int, timestamp: int) -> None:
        """Note a packet; one that is there already, or for which there is no room, is left out."""
        entry = (unwrapped, sequence_number, timestamp)
        waiting = self._waiting
        if not waiting or waiting[-1] < entry:
            place = len(waiting)
        else:
            place = bisect_left(waiting, entry)
            if waiting[place] == entry:
                return
        waiting.insert(place, entry)
        if len(waiting) > MAX_WAITING:
            del waiting[0]

    def take(self, start: int, end: int, position_at: Callable[[int], int | None]) -> list[tuple[int, int, int]]:
        """Packets that begin in samples ``start`` to ``end``: position, sequence number, timestamp.

        Those from before it came too late to be played, and are forgotten.
        """
        found = []
        waiting = self._waiting
        taken = 0
        for unwrapped, sequence_number, timestamp in waiting:
            position = position_at(unwrapped)
            if position is None or position >= end:
                break
            taken += 1
            if position >= start:
                found.append((position, sequence_number, timestamp))
        del waiting[:taken]
        return found
