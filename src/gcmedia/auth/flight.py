"""One run of something at a time, and its outcome for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import copy
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from ..errors import GcmediaError

__all__ = ["SingleFlight"]


@dataclass(slots=True, eq=False)
class _Flight:
    """A run under way, and who waits for it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)  # around the run
    task: object = None  # an event loop does not keep its tasks alive
    begun: bool = False
    waiters: int = 0
    outcome: str | None = field(default=None, repr=False)
    error: Exception | None = None  # neither this nor an outcome: the run was cancelled


class SingleFlight:
    """Who asks first begins the work; all who ask meanwhile wait for its outcome, be it text or error.

    The work belongs to none of those who wait, so that it is no matter which of them is cancelled, or by which means.
    It is cancelled when nobody waits any more, but for what it does within `shielded`.

    Parameters
    ----------
    shield : bool
        Whether there is anything to be seen through for nobody.
    """

    def __init__(self, *, shield: bool) -> None:
        self._shield = shield
        self._flight: _Flight | None = None

    async def share(self, work: Callable[[], Awaitable[str]]) -> str | None:
        """The outcome of ``work`` or of what runs already; None when that was cancelled, so ask again."""
        flight = self._flight
        if flight is None:
            flight = self._flight = _Flight()
            flight.task = _in_background(partial(self._run, flight, work))
        flight.waiters += 1
        try:
            await flight.done.wait()
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.done.is_set():
                flight.scope.cancel()
                if not flight.begun:  # and perhaps never will: its event loop may end
                    self._land(flight)
        if flight.error is not None:
            raise _again(flight.error)
        return flight.outcome

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Within ``work``: what must not be cut short.  It must be bounded in time."""
        with anyio.CancelScope(shield=self._shield):
            yield

    async def _run(self, flight: _Flight, work: Callable[[], Awaitable[str]]) -> None:
        flight.begun = True
        try:
            with flight.scope:
                flight.outcome = await work()
        except Exception as exc:
            flight.error = exc
        finally:
            self._land(flight)
            flight.done.set()

    def _land(self, flight: _Flight) -> None:
        if self._flight is flight:
            self._flight = None


def _in_background(function: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Run it beside everything else, until it is done or the event loop ends."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.spawn_system_task(function)
    return asyncio.get_running_loop().create_task(function())


def _again(error: Exception) -> Exception:
    """The same error for each who waits, with a traceback of its own."""
    if not isinstance(error, GcmediaError):
        return error
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    return twin
