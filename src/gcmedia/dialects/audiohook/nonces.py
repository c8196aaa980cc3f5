"""Nonces of signatures that have been accepted, so that none is accepted twice."""

from __future__ import annotations

from typing import Protocol

__all__ = ["MemoryFull", "NonceMemory", "Nonces"]


class MemoryFull(Exception):
    """There is no room for one more nonce."""


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

    def __init__(self, limit: int = 65_536) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def add(self, key: bytes, until: int, now: int) -> bool:
        """See `Nonces`."""
        raise NotImplementedError
