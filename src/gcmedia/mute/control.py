"""Mute and unmute one agent, and know that it happened."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.abc

from ..clock import Clock
from ..config import MuteConfig
from ..errors import GcmediaError, MuteError, StateError, TransportError
from ..fanout import Fanout, Stream
from ..record import AuditLog
from .machine import MuteMachine, Outcome, Read, Send
from .result import MuteEvent, MuteResult, MuteState, MuteStatus
from .strategy import MuteStrategy, Observation

__all__ = ["MuteControl", "Subscription"]

log = logging.getLogger("gcmedia.mute")

MAX_SUBSCRIPTIONS = 1000

T = TypeVar("T", bound=Outcome)


class Subscription:
    """A handle on a subscription; ``close()``, or leaving it as a context manager, ends it."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close

    def close(self) -> None:
        """End it; doing so again does nothing."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MuteControl:
    """The microphone of one agent in one call.

    An async context manager: entering connects, leaving ends all that waits.  Any number of tasks may ask; the last
    wish wins, and those before it end as superseded.

    Parameters
    ----------
    strategy : MuteStrategy
        The way to mute.
    config : MuteConfig, optional
        Times and limits.
    clock : Clock, optional
        Source of time.
    rng : random.Random, optional
        Source of the jitter.
    audit : AuditLog, optional
        Where each wish, with how it ended, and each change by somebody else is put down.
    interaction_id : str
        The call, in the audit; left out, that of the log.
    """

    def __init__(
        self,
        strategy: MuteStrategy,
        config: MuteConfig | None = None,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        audit: AuditLog | None = None,
        interaction_id: str = "",
    ) -> None:
        self._strategy = strategy
        self._config = config or MuteConfig()
        self._clock = clock or Clock()
        self._machine = MuteMachine(
            self._config,
            confirmed_by=strategy.confirmed_by,
            readable=strategy.readable,
            rng=rng or random.Random(),
        )
        self._audit = audit
        self._interaction_id = interaction_id
        self._waiting: dict[int, _Slot] = {}
        self._callbacks: dict[Callable[[MuteEvent], object], Subscription] = {}
        self._fanout: Fanout[MuteEvent] = Fanout()
        self._wake = anyio.Event()
        self._ready = anyio.Event()
        self._failed = anyio.Event()
        self._failure: GcmediaError | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._life = "new"

    # Life

    async def __aenter__(self) -> Self:
        if self._life != "new":
            raise StateError(f"this control is {self._life}; make another one")
        self._life = "open"
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            self._tasks.start_soon(self._hold_connections)
            await self._ready.wait()
            if self._failure is not None:
                raise self._failure
            self._tasks.start_soon(self._drive)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        assert self._tasks is not None
        self._life = "closed"
        self._machine.close(StateError("this control is closed"))
        self._deliver()
        self._fanout.finish()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _hold_connections(self) -> None:
        try:
            await self._strategy.run(self._observe, self._ready.set)
            failure: GcmediaError = StateError(f"the strategy {self._strategy.name} has ended")
        except GcmediaError as error:
            failure = error
        self._failure = failure
        self._machine.close(failure)
        self._deliver()
        self._fanout.finish(failure)
        self._ready.set()
        self._failed.set()

    async def wait_failed(self) -> GcmediaError:
        """Wait until the strategy can do no more; all who wait have been told then, and nothing can be asked."""
        await self._failed.wait()
        assert self._failure is not None
        return self._failure

    # What is asked

    @property
    def state(self) -> MuteState:
        """What is known now."""
        return self._machine.state

    async def mute(self, *, confirm: bool = True) -> MuteResult:
        """Mute the agent; see `set_muted`."""
        return await self.set_muted(True, confirm=confirm)

    async def unmute(self, *, confirm: bool = True) -> MuteResult:
        """Unmute the agent; see `set_muted`."""
        return await self.set_muted(False, confirm=confirm)

    async def set_muted(self, muted: bool, *, confirm: bool = True) -> MuteResult:
        """Ask for a state until the server says that it is so.

        Parameters
        ----------
        muted : bool
            The state.
        confirm : bool
            False returns when the server has accepted the request.

        Returns
        -------
        MuteResult
            How it ended; `MuteResult.check` makes an exception of whatever is no success.

        Raises
        ------
        InvalidAudioStateError
            If the call is in a state that allows no muting.
        RetryExhausted
            If every attempt failed.
        GcmediaError
            If the server could not be asked: no credentials, no call, several of them.
        """
        self._check_open()
        try:
            result = await self._wait(self._machine.ask(muted, self._clock.now(), confirm=confirm), MuteResult)
        except GcmediaError as error:
            self._put_down(muted, outcome=type(error).__name__)
            raise
        self._put_down(
            muted, outcome=str(result.status), attempts=result.attempts, latencyMs=round(result.latency_s * 1000)
        )
        return result

    async def toggle(self) -> MuteResult:
        """Flip the confirmed state.

        Raises
        ------
        MuteError
            If it is unknown; `refresh` may find it out.
        """
        confirmed = self.state.confirmed
        if confirmed is None:
            raise MuteError("the state is unknown, so there is nothing to flip: refresh(), or say which one is wanted")
        return await self.set_muted(not confirmed)

    async def refresh(self) -> MuteState:
        """Read the state from the server; where the strategy cannot, return what is known.

        Raises
        ------
        GcmediaError
            If the read failed.
        """
        self._check_open()
        return await self._wait(self._machine.refresh(self._clock.now()), MuteState)

    def muted(self, *, restore_to: bool | None = None) -> AbstractAsyncContextManager[MuteResult]:
        """Context manager: muted for sure within, and the state before it again afterwards, come what may.

        What somebody else changed meanwhile, by a supervisor's hand or a newer wish, stays as it is then.

        Parameters
        ----------
        restore_to : bool, optional
            Instead of the confirmed state before, which must be known otherwise.

        Raises
        ------
        MuteError
            If the state before is unknown, or muting could not be confirmed; it is undone then.
        """
        return self._held(True, restore_to)

    @asynccontextmanager
    async def _held(self, muted: bool, restore_to: bool | None) -> AsyncIterator[MuteResult]:
        before = restore_to
        if before is None:
            before = self.state.confirmed
        if before is None:
            before = (await self.refresh()).confirmed
        if before is None:
            raise MuteError("the state before is unknown, so it could not be restored: pass restore_to=")
        self._check_open()
        waiter = self._machine.ask(muted, self._clock.now())
        generation = self._machine.generation  # a newer wish, or a change that is not ours, makes it another one
        failed = True
        try:
            result = (await self._wait(waiter, MuteResult)).check()
            generation = self._machine.generation
            yield result
            failed = False
        finally:
            if self._life == "open" and generation == self._machine.generation:
                await self._restore(before, quietly=failed)

    async def _restore(self, before: bool, *, quietly: bool) -> None:
        """Shielded, as it is owed to the agent also by who is cancelled; bounded by the times of the settings."""
        config = self._config
        limit = config.attempts * (config.request_timeout_s + config.cap_s) + 2 * config.confirm_timeout_s
        with self._clock.move_on_after(limit) as scope:
            scope.shield = True
            try:
                result = await self.set_muted(before)
                if result.status not in (MuteStatus.SUPERSEDED, MuteStatus.CALL_ENDED):
                    result.check()
            except GcmediaError as error:
                if not quietly:
                    raise
                log.warning("the state before could not be restored: %s", error)

    # What is told

    def subscribe(self, callback: Callable[[MuteEvent], object]) -> Subscription:
        """Call ``callback`` with each event, from the task that learns of it; it must neither wait nor raise.

        Subscribing it again returns the same handle.  What it raises is logged.

        Raises
        ------
        StateError
            If there are 1,000 subscriptions already.
        """
        if callback in self._callbacks:
            return self._callbacks[callback]
        if len(self._callbacks) >= MAX_SUBSCRIPTIONS:
            raise StateError(f"there are {MAX_SUBSCRIPTIONS} subscriptions already; close those that are not needed")

        def close() -> None:
            self._callbacks.pop(callback, None)

        handle = self._callbacks[callback] = Subscription(close)
        return handle

    def events(self, *, max_items: int = 100) -> Stream[MuteEvent]:
        """Events as an async iterator; beyond ``max_items`` unread ones the oldest are dropped, and counted.

        It ends with the control; ``close()`` ends it before.
        """
        return self._fanout.subscribe("mute events", max_items=max_items)

    # What is done

    def _check_open(self) -> None:
        if self._life != "open":
            raise StateError(f"this control is {self._life}; use it within `async with`")

    async def _wait(self, waiter: int, kind: type[T]) -> T:
        slot = self._waiting[waiter] = _Slot()
        self._deliver()
        self._wake.set()
        try:
            await slot.done.wait()
        except BaseException:
            self._machine.withdraw(waiter)
            self._wake.set()
            raise
        finally:
            del self._waiting[waiter]
        if isinstance(slot.outcome, Exception):
            raise slot.outcome
        assert isinstance(slot.outcome, kind)
        return slot.outcome

    def _observe(self, said: Observation) -> None:
        self._machine.observe(said, self._clock.now())
        self._deliver()
        self._wake.set()

    async def _drive(self) -> None:
        """Do what the machine says, one thing at a time."""
        clock, machine = self._clock, self._machine
        while True:
            if self._wake.is_set():
                self._wake = anyio.Event()
            now = clock.now()
            action = machine.step(now)
            self._deliver()
            if isinstance(action, Send):
                error = await self._request(action.muted)
                machine.sent(clock.now(), error)
            elif isinstance(action, Read):
                observation, error = await self._read(action.timeout_s)
                machine.was_read(clock.now(), observation, error)
            else:
                with clock.move_on_after(min(action.until - now, 3600.0)):
                    await self._wake.wait()
            self._deliver()

    async def _request(self, muted: bool) -> GcmediaError | None:
        limit = self._config.request_timeout_s
        try:
            with self._clock.fail_after(limit):
                await self._strategy.request(muted)
        except TimeoutError:
            return TransportError(f"no answer to a request over {self._strategy.name} within {limit:g} s")
        except GcmediaError as error:
            return error
        return None

    async def _read(self, limit: float) -> tuple[Observation | None, GcmediaError | None]:
        try:
            with self._clock.fail_after(limit):
                return await self._strategy.read(), None
        except TimeoutError:
            return None, TransportError(f"no answer to a read over {self._strategy.name} within {limit:g} s")
        except GcmediaError as error:
            return None, error

    def _deliver(self) -> None:
        """Hand out what the machine has for waiters and subscribers."""
        outcomes, self._machine.outcomes = self._machine.outcomes, []
        for waiter, outcome in outcomes:
            slot = self._waiting.get(waiter)
            if slot is None:  # who waited was cancelled
                continue
            slot.outcome = outcome
            slot.done.set()
        events, self._machine.events = self._machine.events, []
        for event in events:
            self._tell(event)

    def _put_down(self, muted: bool, *, outcome: str, **details: Any) -> None:
        if self._audit is not None:
            self._audit.record(
                "mute" if muted else "unmute",
                interaction_id=self._interaction_id,
                outcome=outcome,
                strategy=self._strategy.name,
                **details,
            )

    def _tell(self, event: MuteEvent) -> None:
        if event.kind == "retry":
            log.warning("attempt %d failed, next in %.3f s: %s", event.attempt, event.wait_s, event.reason)
        elif event.external:
            log.info("changed by somebody else: %s", "muted" if event.state.confirmed else "unmuted")
            if event.state.confirmed is not None:
                self._put_down(event.state.confirmed, outcome="external")
        self._fanout.put(event)
        for callback in list(self._callbacks):
            try:
                callback(event)
            except Exception:
                log.exception("a subscriber to mute events failed")


class _Slot:
    """Where one waiter's outcome is put."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.outcome: Outcome | None = None
