"""One run of something at a time, and its outcome for all who ask meanwhile."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from ..errors import GcmediaError

__all__ = ["SingleFlight"]


@dataclass(slots=True, eq=False)
class _Flight:
    """A run under way, and who waits for it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    waiters: int = 0
    scope: anyio.CancelScope | None = None  # around what must not be cut short, while that is
    outcome: str | None = field(default=None, repr=False)
    error: Exception | None = None  # neither this nor an outcome: the one who ran it was cancelled


class SingleFlight:
    """Who asks first runs the work; the others wait for its outcome, be it text or error.

    If the first is cancelled meanwhile, it sees a `shielded` part that others wait for through to its end; where that
    cannot be (before, after, or when a task is cancelled by other means than anyio's scopes), `share` tells one of the
    others to take over.

    Parameters
    ----------
    always_shield : bool
        Whether the shielded part is seen through even for nobody else.
    """

    def __init__(self, *, always_shield: bool) -> None:
        self._always_shield = always_shield
        self._flight: _Flight | None = None

    async def share(self, work: Callable[[], Awaitable[str]]) -> str | None:
        """The outcome of ``work``, run here or elsewhere; None when who ran it was cancelled, so ask again."""
        if self._flight is None:
            return await self._lead(work)
        return await self._follow(self._flight)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Within ``work``: what is seen through as long as others wait for it.  It must be bounded in time."""
        flight = self._flight
        assert flight is not None
        with anyio.CancelScope(shield=self._always_shield or flight.waiters > 0) as flight.scope:
            try:
                yield
            finally:
                flight.scope = None

    async def _lead(self, work: Callable[[], Awaitable[str]]) -> str:
        flight = self._flight = _Flight()
        try:
            outcome = flight.outcome = await work()
        except Exception as exc:
            flight.error = exc
            raise
        finally:
            self._flight = None
            flight.done.set()
        # Cancelled behind the shield: the others have their outcome now, and this task its cancellation.
        await anyio.lowlevel.checkpoint_if_cancelled()
        return outcome

    async def _follow(self, flight: _Flight) -> str | None:
        flight.waiters += 1
        if flight.scope is not None:
            flight.scope.shield = True
        try:
            await flight.done.wait()
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and flight.scope is not None:
                flight.scope.shield = self._always_shield  # nobody waits any more: the leader may go at once
        if flight.error is not None:
            raise _again(flight.error)
        return flight.outcome


def _again(error: Exception) -> Exception:
    """The same error for another waiter, with a traceback of its own."""
    if not isinstance(error, GcmediaError):
        return error
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    return twin
