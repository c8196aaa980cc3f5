"""The sockets of a listener's open links, read in one callback of the event loop in place of one for each."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Any

from ..._core.wires import Wire, WireReader
from .types import Session

__all__ = ["Reads"]


class Reads:
    """Reads WebSockets past the event loop, which goes on writing to them and closes them.

    Raises
    ------
    OSError
        If this system has no way to do so; its event loop reads them then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = WireReader()
        self._context = copy_context()

    def add(self, link: Any, fd: int, session: Session, max_octets: int) -> Wire:
        """Read a socket from now on; see `WireReader.add`."""
        wire = self._reader.add(fd, link, session, max_octets)
        if len(self._reader) == 1:
            self._context.copy().run(self._loop.add_reader, self._reader.fileno(), self._reader.read)
        return wire

    def remove(self, wire: Wire) -> None:
        """Read it no more."""
        wire.remove()
        if not len(self._reader):
            self._loop.remove_reader(self._reader.fileno())
