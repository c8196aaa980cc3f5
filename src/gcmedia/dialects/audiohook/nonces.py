"""Nonces of signatures that have been accepted, so that none is accepted twice."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Protocol

__all__ = ["MemoryFull", "NonceMemory", "Nonces"]


class MemoryFull(Exception):
    """There is no room for one more nonce; the verifier turns it into a refusal."""


class Nonces(Protocol):
    """A memory of nonces; one shared by several processes has the same method.

    With one memory in each of several processes a request can be replayed once in each of the others.
    """

    def add(self, key: bytes, until: int, now: int) -> bool:
        """Remember ``key`` until that time has passed, in UNIX seconds; False if it is remembered already.

        Raises
        ------
        MemoryFull
            If there is no room.
        """


class NonceMemory:
    """The memory of one process.

    Parameters
    ----------
    limit : int
        Nonces kept at a time.
    """

    __slots__ = ("_ends", "_keys", "_limit")

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._keys: set[bytes] = set()
        self._ends: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, until: int, now: int) -> bool:
        """See `Nonces`."""
        while self._ends and self._ends[0][0] < now:
            self._keys.discard(heappop(self._ends)[1])
        if key in self._keys:
            return False
        if len(self._keys) >= self._limit:
            raise MemoryFull(f"{self._limit} nonces are remembered, and none is old enough to go")
        self._keys.add(key)
        heappush(self._ends, (until, key))
        return True
