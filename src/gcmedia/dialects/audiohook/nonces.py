"""Nonces of signatures that have been accepted, so that none is accepted twice."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from heapq import heappop, heappush
from typing import Protocol

from ...errors import ConfigError

__all__ = ["MemoryFull", "NonceMemory", "Nonces", "SharedNonceMemory"]

KEY_OCTETS = 16


class MemoryFull(Exception):
    """There is no room for one more nonce; the verifier turns it into a refusal."""


class Nonces(Protocol):
    """A memory of nonces; a user's own has the same method.

    With one memory in each of several processes a request can be replayed once in each of the others.
    """

    def add(self, key: bytes, until: int, now: int) -> bool:
        """Remember ``key``, of 16 octets, until that UNIX time has passed; False if it is remembered already.

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


class SharedNonceMemory:
    """The memory of all processes of a machine that open the same file, so that none takes what another has.

    Parameters
    ----------
    path : str or path
        A file of its own, best in memory (``/dev/shm``, ``/run``); made when it is missing, for the user alone.
    limit : int
        Nonces that it is made for, rounded up to a power of two of at least 64; the same for all who open it.

    Raises
    ------
    ConfigError
        If the file is something else, or was made for another number.
    OSError
        If it cannot be opened.

    Notes
    -----
    A table of sets of 64 places.  A nonce whose set is full counts as one without room, so that some are refused a
    little before the whole table is full.  Each call holds a lock of the file for some microseconds.
    """

    __slots__ = ("_descriptor", "_lock", "_sets", "_table")

    _PLACE = struct.Struct(f"={KEY_OCTETS}sQ")  # key, until; 0 for a place that was never used
    _HEAD = struct.Struct("=8sQ")
    _MAGIC = b"gcmnonce"
    _WAYS = 64

    def __init__(self, path: str | os.PathLike[str], limit: int = 65_536) -> None:
        if not 1 <= limit <= 1 << 24:
            raise ConfigError(f"limit is {limit} nonces, not in [1, {1 << 24}]")
        places = max(self._WAYS, 1 << (limit - 1).bit_length())
        size = self._HEAD.size + places * self._PLACE.size
        self._sets = places // self._WAYS
        self._lock = threading.Lock()  # the file's lock does not keep threads apart
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                found = os.fstat(self._descriptor).st_size
                head = self._HEAD.pack(self._MAGIC, places)
                if found == 0:
                    os.ftruncate(self._descriptor, size)
                    os.pwrite(self._descriptor, head, 0)
                elif found != size or os.pread(self._descriptor, len(head), 0) != head:
                    raise ConfigError(f"{os.fspath(path)} is no memory of {places} nonces")
                self._table = mmap.mmap(self._descriptor, size)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        except BaseException:
            os.close(self._descriptor)
            raise

    def add(self, key: bytes, until: int, now: int) -> bool:
        """See `Nonces`."""
        size = self._WAYS * self._PLACE.size
        start = self._HEAD.size + int.from_bytes(key[:8], "little") % self._sets * size
        with self._lock:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                free = -1
                for place, (there, end) in enumerate(self._PLACE.iter_unpack(self._table[start : start + size])):
                    if end < now or end == 0:
                        free = place if free < 0 else free
                    elif there == key:
                        return False
                if free < 0:
                    raise MemoryFull(f"{self._WAYS} nonces of one set are remembered, and none is old enough to go")
                self._PLACE.pack_into(self._table, start + free * self._PLACE.size, key, until)
                return True
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; it stays, for the others."""
        self._table.close()
        os.close(self._descriptor)
