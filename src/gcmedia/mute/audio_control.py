"""A facade of the shape that the published tutorial on the WebRTC client has: ``initialize``, ``audio``, events."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from ..clock import Clock
from ..config import MuteConfig
from ..errors import ConfigError, GcmediaError, StateError
from .control import MuteControl, Subscription
from .result import MuteEvent, MuteResult, MuteState
from .strategy import CallState, MuteStrategy

__all__ = ["AUDIO_EVENTS", "Audio", "AudioControl"]

log = logging.getLogger("gcmedia.mute")

#: What can be subscribed to, and what a handler is given: a `CallState`; True or False; a `MuteEvent`.
AUDIO_EVENTS = ("stateChange", "muteStateChange", "retry", "externalChange")

MAX_HANDLERS = 100  # of each event


class Audio:
    """What `AudioControl.audio` is: the state of the call and of the microphone, and the ways to change it."""

    def __init__(self) -> None:
        self._control: MuteControl | None = None
        self._handlers: dict[str, dict[Callable[[Any], object], Subscription]] = {name: {} for name in AUDIO_EVENTS}
        self._told_state = CallState.IDLE
        self._told_muted: bool | None = None

    @property
    def state(self) -> CallState:
        """Where the call stands; idle before `AudioControl.initialize`, unknown where the server does not say."""
        return self._control.state.call_state if self._control else CallState.IDLE

    @property
    def muted(self) -> bool | None:
        """What the server confirmed; None when that is unknown."""
        return self._control.state.confirmed if self._control else None

    @property
    def can_mute(self) -> bool:
        """Whether the button is to be enabled."""
        return self._control is not None and self._control.state.can_mute

    async def mute(self) -> MuteResult:
        """Mute; see `MuteControl.set_muted`."""
        return await self._open().mute()

    async def unmute(self) -> MuteResult:
        """Unmute; see `MuteControl.set_muted`."""
        return await self._open().unmute()

    async def set_muted(self, muted: bool) -> MuteResult:
        """Set, as the published ``toggleMicrophone(client, shouldMute)`` does; see `MuteControl.set_muted`."""
        return await self._open().set_muted(muted)

    async def toggle(self) -> MuteResult:
        """Flip what the server confirmed; see `MuteControl.toggle`."""
        return await self._open().toggle()

    def on(self, event: str, handler: Callable[[Any], object]) -> Subscription:
        """Call ``handler`` at each event; subscribing it again returns the same handle.

        Parameters
        ----------
        event : str
            ``"stateChange"`` with a `CallState`; ``"muteStateChange"`` with what the server says, True or False;
            ``"retry"`` and ``"externalChange"`` with a `MuteEvent`.
        handler : callable
            Must not wait.  What it raises is logged.

        Raises
        ------
        ConfigError
            If there is no such event.
        StateError
            If the event has 100 handlers already.
        """
        if event not in AUDIO_EVENTS:
            raise ConfigError(f"event is {event!r}, not one of {', '.join(AUDIO_EVENTS)}")
        handlers = self._handlers[event]
        if handler not in handlers:
            if len(handlers) >= MAX_HANDLERS:
                raise StateError(f"{event} has {MAX_HANDLERS} handlers already; close those that are not needed")

            def close() -> None:
                handlers.pop(handler, None)

            handlers[handler] = Subscription(close)
        return handlers[handler]

    def _open(self) -> MuteControl:
        if self._control is None:
            raise StateError("not initialised: await initialize() first")
        return self._control

    def _attach(self, control: MuteControl) -> None:
        self._control = control
        control.subscribe(self._tell)
        self._follow(control.state)

    def _detach(self) -> None:
        self._control = None
        self._emit_state(CallState.DISCONNECTED)

    def _tell(self, event: MuteEvent) -> None:
        if event.kind == "retry":
            self._emit("retry", event)
            return
        self._follow(event.state)
        if event.external:
            self._emit("externalChange", event)

    def _follow(self, state: MuteState) -> None:
        self._emit_state(state.call_state)
        if state.confirmed is not None and state.confirmed is not self._told_muted:
            self._told_muted = state.confirmed
            self._emit("muteStateChange", state.confirmed)

    def _emit_state(self, state: CallState) -> None:
        if state is not self._told_state:
            self._told_state = state
            if state is CallState.DISCONNECTED:
                self._told_muted = None  # what was known of the microphone is known no longer
            self._emit("stateChange", state)

    def _emit(self, event: str, value: object) -> None:
        for handler in list(self._handlers[event]):
            try:
                handler(value)
            except Exception:
                log.exception("a handler of %s failed", event)


class AudioControl:
    """A client to be initialised, with its ``audio``.

    An async context manager: leaving it stops.

    Parameters
    ----------
    strategy : callable
        Makes the way to mute, a new one for each attempt to initialise.
    config : MuteConfig, optional
        Times and limits.
    clock, rng : Clock, random.Random, optional
        Sources of time and of the jitter.

    Attributes
    ----------
    audio : Audio
        There from the beginning, so that handlers can be set before anything happens.
    """

    def __init__(
        self,
        strategy: Callable[[], MuteStrategy],
        config: MuteConfig | None = None,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.audio = Audio()
        self._strategy = strategy
        self._config = config
        self._clock = clock
        self._rng = rng
        self._tasks: anyio.abc.TaskGroup | None = None
        self._opening: _Opening | None = None
        self._stop = anyio.Event()

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise StateError("this client is in use already")
        self._stop = anyio.Event()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        self._stop.set()
        if error is not None:
            tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)

    async def initialize(self) -> None:
        """Connect; done when the client can mute.

        Any number of callers share one attempt, and one that is cancelled harms no other.  After a failure it can be
        tried again; a client that is initialised stays so.

        Raises
        ------
        GcmediaError
            If it failed.
        StateError
            Outside of ``async with``.
        """
        if self._tasks is None:
            raise StateError("use the client within `async with`")
        opening = self._opening
        if opening is None or opening.failed:
            opening = self._opening = _Opening()
            self._tasks.start_soon(self._hold, opening)
        await opening.done.wait()
        if opening.error is not None:
            raise opening.error

    async def _hold(self, opening: _Opening) -> None:
        control = MuteControl(self._strategy(), self._config, clock=self._clock, rng=self._rng)
        try:
            async with control:
                self.audio._attach(control)
                opening.done.set()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._await_stop, tasks.cancel_scope)
                    await control.wait_failed()  # then it may be tried again
                    tasks.cancel_scope.cancel()
        except GcmediaError as error:
            opening.error = error
        finally:
            opening.failed = True
            opening.done.set()
            if self.audio._control is control:
                self.audio._detach()

    async def _await_stop(self, scope: anyio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()


class _Opening:
    """One attempt to initialise, and who waits for it."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: GcmediaError | None = None
        self.failed = False
