"""A condition that comes to pass once, and costs nothing until somebody waits for it."""

from __future__ import annotations

import anyio

__all__ = ["Latch"]


class Latch:
    """`anyio.Event`, of which thousands may lie about: the event is made when somebody waits."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: anyio.Event | None = None

    def is_set(self) -> bool:
        """Whether it has come to pass."""
        return self._set

    def set(self) -> None:
        """Let it come to pass; whoever waits goes on."""
        self._set = True
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Wait until it has."""
        if self._set:
            return
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
