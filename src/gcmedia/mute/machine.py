"""The decisions of muting, without I/O and without a clock: time is an argument.

What the server does is not what it said, and what it said may come late, twice, in another order, or never.  So:

* One thing is under way at a time, a request or a read.  A wish that a newer one replaced is never sent again, and as
  requests do not overlap, nothing of it can be sent after the newer one.
* A state counts as confirmed only while the last thing that the server said agrees with it.  The end of the connection
  over which events come makes it unknown, and so does any word that nobody waited for, until a read settles it.  Where
  nothing can be read, events are all there is, and each is taken as it comes.
* An event that tells of what was asked for may be of an older request.  It confirms by itself only when that state was
  neither there nor asked for within the last ``late_event_s``; else a read must agree, and that read begins after the
  request was accepted.
* A read that was under way when the connection was lost, or when an event contradicted it, settles nothing.
* A request that was accepted, or whose fate is unknown, and was not confirmed may still take effect.  Until
  ``late_event_s`` have passed, the contrary is not believed to be so already: it is sent, so that it comes last.
* A change that is not ours is taken over as the truth, and never fought.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from ..backoff import delay
from ..config import MuteConfig, ReconnectConfig
from ..errors import (
    ApiError,
    CallEnded,
    GcmediaError,
    HandshakeError,
    InvalidAudioStateError,
    NoActiveCall,
    RemoteProtocolError,
    RetryExhausted,
    StateError,
    TransportError,
)
from .result import MuteEvent, MuteResult, MuteState, MuteStatus
from .strategy import CallState, Observation

__all__ = ["Action", "MuteMachine", "Outcome", "Read", "Send", "Wait", "transient"]

MAX_WAITERS = 10_000
_NEVER = float("-inf")
_FOREVER = float("inf")

E = TypeVar("E", bound=BaseException)


@dataclass(frozen=True, slots=True)
class Send:
    """Ask the server for a state; tell `MuteMachine.sent` how it went."""

    muted: bool


@dataclass(frozen=True, slots=True)
class Read:
    """Ask the server how it is, within ``timeout_s``; tell `MuteMachine.was_read`."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until that moment, or until something is asked or heard."""

    until: float


Action = Send | Read | Wait
Outcome = MuteResult | MuteState | GcmediaError


def transient(error: Exception) -> bool:
    """Whether the same may succeed later; decided by type and status, never by words."""
    if isinstance(error, HandshakeError | ApiError):
        return error.status in (408, 425, 429) or (error.status >= 500 and error.status != 501)
    return isinstance(error, TransportError)


def _refused_for_good(error: Exception) -> bool:
    """Whether the server cannot have carried out what it answered with this."""
    return isinstance(error, ApiError | HandshakeError) and error.status < 500 and error.status != 408


@dataclass(slots=True, eq=False)
class _Wish:
    """One state that is being asked for, and who waits for it."""

    muted: bool
    asked_at: float
    send_at: float  # not before: the window in which wishes are gathered, then the wait before a retry
    waiters: dict[int, tuple[float, bool]] = field(default_factory=dict)  # asked at, wants a confirmation
    attempts: int = 0
    failures: int = 0  # of requests, and of the reads before them
    was_read: bool = False  # since the last failure
    doubtful: bool = False  # an event of this state may be an old one
    open: bool = False  # a request may have taken effect, or still will
    accepted: bool = False
    deadline: float = _FOREVER  # for the confirmation
    poll_at: float = _FOREVER
    poll_gap: float = 0.0
    error: GcmediaError | None = None


@dataclass(slots=True, eq=False)
class _Flight:
    """What is under way."""

    wish: _Wish | None  # of a request; None of a read
    epoch: int
    heard: set[bool] = field(default_factory=set)  # events since it began


class MuteMachine:
    """What to do next about one call's microphone, and what is known of it.

    The caller asks `step` what to do, does it, and says how it went; `observe` takes what the server says at any time.
    After each call, `outcomes` and `events` are to be emptied.

    Parameters
    ----------
    config : MuteConfig
        Times and limits.
    confirmed_by : str
        As `MuteStrategy` has it.
    readable : bool
        Whether the strategy can read.
    rng : random.Random
        Source of the jitter.

    Attributes
    ----------
    outcomes : list of (int, Outcome)
        For whom, what; each waiter gets exactly one.
    events : list of MuteEvent
        For subscribers.
    generation : int
        Grows with each new wish and with each change that is not ours.
    """

    def __init__(self, config: MuteConfig, *, confirmed_by: str, readable: bool, rng: random.Random) -> None:
        self._config = config
        self._confirmed_by = confirmed_by
        self._readable = readable
        self._rng = rng
        self._retry = ReconnectConfig(
            attempts=config.attempts,
            base_s=config.base_s,
            factor=config.factor,
            cap_s=config.cap_s,
            jitter_low=config.jitter_low,
        )
        self.outcomes: list[tuple[int, Outcome]] = []
        self.events: list[MuteEvent] = []
        self.generation = 0
        self._ids = count(1)
        self._call_state = CallState.UNKNOWN
        self._over = False  # a read has shown that the call is
        self._last: bool | None = None  # what the server said last
        self._doubt = True
        self._said_at = {True: _NEVER, False: _NEVER}
        self._requested_at = {True: _NEVER, False: _NEVER}
        self._heard_at = _NEVER  # anything that told of the microphone
        self._state_at = _NEVER  # anything that told of the call
        self._read_at = _NEVER  # the last read that told
        self._open_until = {True: _NEVER, False: _NEVER}  # when abandoned requests can take effect no more
        self._wish: _Wish | None = None
        self._flight: _Flight | None = None
        self._epoch = 0  # connections over which events came
        self._refreshers: list[int] = []
        self._next_send = _NEVER
        self._next_read = _NEVER
        self._hold = _NEVER  # the server asked not to be asked earlier
        self._hold_error: GcmediaError | None = None
        self._idle_failures = 0
        self._failure: GcmediaError | None = None
        self._told = self.state
        self._known: bool | None = None  # last confirmed state that subscribers were told of

    # What callers want

    @property
    def state(self) -> MuteState:
        """What is known now."""
        return MuteState(
            self._call_state,
            None if self._doubt else self._last,
            self._wish.muted if self._wish else None,
            self._call_state in self._config.mutable_states,
        )

    @property
    def busy(self) -> bool:
        """Whether a wish is under way, or something that was begun for one."""
        return self._wish is not None or self._flight is not None

    def ask(self, muted: bool, now: float, *, confirm: bool = True) -> int:
        """Wish for a state; the outcome comes under the number returned.

        Raises
        ------
        InvalidAudioStateError
            If the call is known to be in a state that allows no muting.
        StateError
            If 10,000 wait already.
        GcmediaError
            What ended the machine.
        """
        self._check_open()
        self._gate(now)
        wish = self._wish
        if len(wish.waiters if wish else ()) >= MAX_WAITERS:
            raise StateError(f"{MAX_WAITERS} callers wait for this wish already")
        if wish is None or wish.muted != muted:
            # The window opens with the first wish; those that replace it within are sent when it ends.
            opened = now + self._config.coalesce_s if wish is None or wish.attempts else wish.send_at
            if wish is not None:
                self._end(wish, MuteStatus.SUPERSEDED, now)
            self.generation += 1
            wish = self._wish = _Wish(muted, now, opened)
        waiter = next(self._ids)
        if wish.accepted and not confirm:
            self.outcomes.append((waiter, self._result(wish, MuteStatus.ACCEPTED, now, now)))
        else:
            wish.waiters[waiter] = (now, confirm)
        self._tell(now)
        return waiter

    def refresh(self, now: float) -> int:
        """Wish for a read; its outcome is the state then, at once where nothing can be read."""
        self._check_open()
        waiter = next(self._ids)
        if not self._readable:
            self.outcomes.append((waiter, self.state))
        elif len(self._refreshers) >= MAX_WAITERS:
            raise StateError(f"{MAX_WAITERS} callers wait for a read already")
        else:
            self._refreshers.append(waiter)
        return waiter

    def withdraw(self, waiter: int) -> None:
        """Nobody waits for this any more.  A wish that nobody waits for is not sent, nor tried again."""
        if self._wish is not None:
            self._wish.waiters.pop(waiter, None)
        if waiter in self._refreshers:
            self._refreshers.remove(waiter)

    def close(self, failure: GcmediaError) -> None:
        """Tell all who wait that there will be nothing, and why."""
        self._failure = failure
        if self._wish is not None:
            self._fail(self._wish, failure)
        self._answer_refreshers(failure)
        self._doubt = True
        self._call_state = CallState.UNKNOWN
        self._tell(_NEVER)

    # What to do

    def step(self, now: float) -> Action:
        """The next thing to do.  A request or read that it asks for is under way from then on."""
        if self._failure is not None or self._flight is not None:
            return Wait(_FOREVER)
        action = self._next(now)
        if isinstance(action, Send):
            wish = self._wish
            assert wish is not None
            if not wish.attempts:
                since = max(self._said_at[wish.muted], self._requested_at[wish.muted])
                wish.doubtful = self._config.verify_events or now - since < self._config.late_event_s
            wish.attempts += 1
            wish.open = True
            self._requested_at[wish.muted] = now
            self._next_send = now + self._config.min_interval_s
            self._flight = _Flight(wish, self._epoch)
        elif isinstance(action, Read):
            self._next_read = now + self._config.read_interval_s
            self._flight = _Flight(None, self._epoch)
        self._tell(now)
        return action

    def _next(self, now: float) -> Action:
        if self._refreshers and now >= max(self._next_read, self._hold):
            return Read(self._config.request_timeout_s)
        refresh_at = max(self._next_read, self._hold) if self._refreshers else _FOREVER
        while self._wish is not None:
            action = self._pursue(self._wish, now)
            if action is not None:
                return Wait(min(action.until, refresh_at)) if isinstance(action, Wait) else action
        at = self._idle_read_at()
        if now >= at:
            return Read(self._config.request_timeout_s)
        return Wait(min(at, refresh_at))

    def _pursue(self, wish: _Wish, now: float) -> Action | None:
        """The next thing to do for a wish; None when it has just come to its end."""
        config = self._config
        if wish.accepted:
            if now >= wish.deadline:
                self._end(wish, MuteStatus.TIMEOUT, now)
                return None
            at = max(wish.poll_at, self._next_read, self._hold) if self._readable else _FOREVER
            if now >= at:
                return Read(min(config.request_timeout_s, wish.deadline - now))
            return Wait(min(at, wish.deadline))
        if not wish.waiters:
            self._drop(wish, now)
            return None
        settled = self._settled(wish, now)
        if self.state.confirmed is wish.muted and settled:
            fresh = not self._readable or now - self._heard_at <= config.fresh_s or wish.was_read
            if fresh and not wish.attempts:
                self._end(wish, MuteStatus.ALREADY, now)
                return None
        if self._hold - now > config.max_retry_after_s:
            self._exhausted(wish, self._hold_error)
            return None
        if self._must_read(wish, now, settled):
            at = max(self._next_read, self._hold, wish.send_at if wish.failures else _NEVER)
            return Read(config.request_timeout_s) if now >= at else Wait(at)
        if self._call_state is CallState.DISCONNECTED:
            self._end(wish, MuteStatus.CALL_ENDED, now)
            return None
        if self._forbids():
            self._fail(wish, self._invalid())
            return None
        at = max(wish.send_at, self._next_send, self._hold)
        return Send(wish.muted) if now >= at else Wait(at)

    def _must_read(self, wish: _Wish, now: float, settled: bool) -> bool:
        """Whether a read has to come before the next attempt."""
        if not self._readable or wish.was_read:
            return False
        if self._doubt or self._call_state not in self._config.mutable_states:
            return True
        if self._confirmed_by == "read" and now - self._read_at > self._config.fresh_s:
            return True  # the call may have moved on unheard
        return self._last is wish.muted and settled and not wish.attempts

    def _idle_read_at(self) -> float:
        """When to read while nobody wishes for anything."""
        if not self._readable or self._over:
            return _FOREVER
        wanted = self._doubt and self._call_state is not CallState.IDLE
        return max(_NEVER if wanted else self._heard_at + self._config.resync_s, self._next_read, self._hold)

    # How it went

    def sent(self, now: float, error: GcmediaError | None = None) -> None:
        """The request that `step` asked for was accepted, or failed with ``error``."""
        flight, self._flight = self._flight, None
        assert flight is not None
        assert flight.wish is not None
        wish = flight.wish
        if error is not None:
            self._note_hold(error, now)
        if wish is not self._wish:  # confirmed, superseded or ended meanwhile
            if wish.open and not (error is not None and _refused_for_good(error)):
                self._leave_open(wish, now)
        elif error is not None:
            self._attempt_failed(wish, error, now)
        else:
            wish.accepted = True
            wish.deadline = now + self._config.confirm_timeout_s
            wish.poll_gap = self._config.poll_first_s
            by_event = self._confirmed_by == "event"
            first = now + (self._config.event_patience_s if by_event else self._config.poll_first_s)
            wish.poll_at = min(wish.poll_at, first)
            for waiter, (asked_at, confirm) in list(wish.waiters.items()):
                if not confirm:
                    del wish.waiters[waiter]
                    self.outcomes.append((waiter, self._result(wish, MuteStatus.ACCEPTED, asked_at, now)))
            if self._confirmed_by == "none":
                self._doubt = self._doubt or self._last is not wish.muted
                self._end(wish, MuteStatus.ACCEPTED, now)
        self._tell(now)

    def was_read(self, now: float, observation: Observation | None, error: GcmediaError | None = None) -> None:
        """The read that `step` asked for was answered, or failed with ``error``."""
        flight, self._flight = self._flight, None
        assert flight is not None
        assert flight.wish is None
        wish = self._wish
        if wish is not None and wish.accepted:  # set anew where the answer gives cause
            wish.poll_gap = min(wish.poll_gap * self._config.poll_factor, self._config.poll_cap_s)
            wish.poll_at = now + wish.poll_gap
        if observation is None:
            assert error is not None
            self._read_failed(wish, error, now)
        elif flight.epoch == self._epoch:
            self._idle_failures = 0
            self._take(observation, flight.heard, wish, now)
        if self._refreshers and (error is not None or flight.epoch == self._epoch):
            self._answer_refreshers(error or self.state)
        self._tell(now)

    def _take(self, said: Observation, heard: set[bool], wish: _Wish | None, now: float) -> None:
        self._note_state(said.state, now)
        if wish is not None:
            wish.was_read = True
        if self._call_state is CallState.DISCONNECTED:
            self._over = self._doubt = True
            if wish is not None:
                self._end(wish, MuteStatus.CALL_ENDED, now)
            return
        if said.muted is None:
            self._doubt = True
            self._back_off(now)
            return
        self._last = said.muted
        self._said_at[said.muted] = self._heard_at = self._read_at = now
        self._doubt = (not said.muted) in heard  # an event spoke against it meanwhile: which was first?
        if self._doubt:
            if wish is not None:
                wish.was_read = False
                wish.poll_at = now
            return
        if wish is not None and said.muted is wish.muted:
            if self._awaited(wish, now):
                self._end(wish, MuteStatus.CONFIRMED, now)
            elif not wish.attempts and self._settled(wish, now):
                self._end(wish, MuteStatus.ALREADY, now)

    def _read_failed(self, wish: _Wish | None, error: GcmediaError, now: float) -> None:
        self._note_hold(error, now)
        if isinstance(error, CallEnded | NoActiveCall):
            self._note_state(CallState.DISCONNECTED if isinstance(error, CallEnded) else CallState.IDLE, now)
            self._over = isinstance(error, CallEnded)
            self._doubt = True
            self._heard_at = now
            if wish is not None:
                if wish.attempts or isinstance(error, CallEnded):
                    self._end(wish, MuteStatus.CALL_ENDED, now, error)
                else:
                    self._fail(wish, error)
            return
        if wish is None or wish.accepted:
            if wish is not None:
                wish.error = error
                if not transient(error):
                    wish.poll_at = _FOREVER  # an event may still confirm it
            self._back_off(now)
        else:
            self._count_failure(wish, error, now)

    def _back_off(self, now: float) -> None:
        """A read told nothing: let the next one wait longer when nobody needs it."""
        if self._wish is None:
            self._idle_failures = min(self._idle_failures + 1, 20)
            wait = delay(self._retry, self._idle_failures - 1, self._rng)
            self._next_read = max(self._next_read, now + wait)

    # What the server says by itself

    def observe(self, said: Observation, now: float) -> None:
        """Take what the server said, in the order in which it came."""
        wish = self._wish
        if said.source == "lost":
            self._epoch += 1
            self._doubt = True
            self._call_state = CallState.UNKNOWN
            if wish is not None:
                wish.was_read = False
                if self._readable:
                    wish.poll_at = min(wish.poll_at, now)
                elif wish.accepted:  # no word on it can come any more
                    lost = TransportError("the connection was lost before the server said that it is so")
                    self._attempt_failed(wish, lost, now)
        elif said.source == "refused":
            error = said.error or RemoteProtocolError("the server refused without saying why")
            self._note_hold(error, now)
            if wish is not None and wish.attempts and said.muted in (None, wish.muted):
                flying = self._flight is not None and self._flight.wish is wish
                if wish.accepted or flying:
                    self._attempt_failed(wish, error, now)
        else:
            self._note_state(said.state, now)
            if self._call_state is CallState.DISCONNECTED:
                self._doubt = True
                if wish is not None:
                    self._end(wish, MuteStatus.CALL_ENDED, now)
            elif said.muted is not None:
                self._hear(said.muted, wish, now)
        self._tell(now)

    def _hear(self, muted: bool, wish: _Wish | None, now: float) -> None:
        if self._flight is not None:
            self._flight.heard.add(muted)
        before, self._last = self._last, muted
        self._said_at[muted] = self._heard_at = now
        awaited = wish if wish is not None and wish.muted is muted and self._awaited(wish, now) else None
        if not self._readable:
            self._doubt = False
            if awaited is not None:
                self._end(awaited, MuteStatus.CONFIRMED, now)
        elif self._doubt or (before is muted and awaited is not None):
            self._read_soon(wish, now)
        elif before is not muted:
            if awaited is not None and not awaited.doubtful:
                self._end(awaited, MuteStatus.CONFIRMED, now)
            else:
                self._doubt = True
                self._read_soon(wish, now)

    def _read_soon(self, wish: _Wish | None, now: float) -> None:
        if wish is not None:
            wish.poll_at = min(wish.poll_at, now)

    # Ends

    def _attempt_failed(self, wish: _Wish, error: GcmediaError, now: float) -> None:
        wish.accepted = False
        wish.deadline = wish.poll_at = _FOREVER
        if _refused_for_good(error) and wish.attempts == wish.failures + 1:
            wish.open = False  # every attempt was refused; an earlier one of unknown fate keeps it open
        if isinstance(error, CallEnded | NoActiveCall):
            self._note_state(CallState.DISCONNECTED, now)
            self._doubt = True
            self._end(wish, MuteStatus.CALL_ENDED, now, error)
        elif transient(error):
            self._count_failure(wish, error, now)
        elif isinstance(error, ApiError | RemoteProtocolError):
            self._end(wish, MuteStatus.REJECTED, now, error)
        else:
            self._fail(wish, error, now)

    def _count_failure(self, wish: _Wish, error: GcmediaError, now: float) -> None:
        wish.failures += 1
        wish.was_read = False
        if not transient(error):
            self._fail(wish, error, now)
            return
        asked: float | None = getattr(error, "retry_after", None)
        too_long = asked is not None and asked > self._config.max_retry_after_s
        if wish.failures >= self._config.attempts or too_long or not wish.waiters:
            self._exhausted(wish, error, now)
            return
        wait = delay(self._retry, wish.failures - 1, self._rng, asked)
        wish.send_at = now + wait
        self.events.append(MuteEvent("retry", self.state, attempt=wish.failures, wait_s=wait, reason=str(error)))

    def _exhausted(self, wish: _Wish, error: GcmediaError | None, now: float | None = None) -> None:
        what = "mute" if wish.muted else "unmute"
        asked = getattr(error, "retry_after", None)
        text = f"gave up after {wish.failures} failed attempts to {what}; the last problem: {error}"
        if asked is not None and asked > self._config.max_retry_after_s:
            text += f"; the server asks to wait {asked:.0f} s, more than {self._config.max_retry_after_s:.0f} s"
        failure = RetryExhausted(text, attempts=wish.attempts)
        failure.__cause__ = error
        self._fail(wish, failure, now)

    def _end(self, wish: _Wish, status: MuteStatus, now: float, error: GcmediaError | None = None) -> None:
        wish.error = error or wish.error
        if status in (MuteStatus.CONFIRMED, MuteStatus.ALREADY):
            # With an abandoned request for the contrary about, this may have been the state before either took effect.
            wish.open = wish.open and not self._settled(wish, now)
            wish.error = None
            self._known = wish.muted  # ours, so not told as another's
        for waiter, (asked_at, _) in wish.waiters.items():
            self.outcomes.append((waiter, self._result(wish, status, asked_at, now)))
        self._drop(wish, now)

    def _fail(self, wish: _Wish, error: GcmediaError, now: float | None = None) -> None:
        self.outcomes += [(waiter, clone(error)) for waiter in wish.waiters]
        self._drop(wish, self._requested_at[wish.muted] if now is None else now)

    def _drop(self, wish: _Wish, now: float) -> None:
        wish.waiters.clear()
        if wish.open:
            self._leave_open(wish, now)
        if self._wish is wish:
            self._wish = None

    def _leave_open(self, wish: _Wish, now: float) -> None:
        self._open_until[wish.muted] = max(self._open_until[wish.muted], now + self._config.late_event_s)

    def _settled(self, wish: _Wish, now: float) -> bool:
        """Whether no abandoned request for the contrary can take effect any more."""
        return now >= self._open_until[not wish.muted]

    def _awaited(self, wish: _Wish, now: float) -> bool:
        """Whether the state wished for, once the server says it, is the effect of a request for it."""
        return wish.accepted or (wish.attempts > 0 and self._settled(wish, now))

    def _result(self, wish: _Wish, status: MuteStatus, asked_at: float, now: float) -> MuteResult:
        return MuteResult(status, wish.muted, now - asked_at, wish.attempts, self.state.confirmed, wish.error)

    def _answer_refreshers(self, outcome: MuteState | GcmediaError) -> None:
        waiters, self._refreshers = self._refreshers, []
        self.outcomes += [(one, clone(outcome) if isinstance(outcome, GcmediaError) else outcome) for one in waiters]

    # Small matters

    def _note_state(self, state: CallState, now: float) -> None:
        if state is not CallState.UNKNOWN:
            self._call_state = state
            self._state_at = now
            self._over = False

    def _check_open(self) -> None:
        if self._failure is not None:
            raise clone(self._failure)

    def _forbids(self) -> bool:
        return self._call_state is not CallState.UNKNOWN and self._call_state not in self._config.mutable_states

    def _invalid(self) -> InvalidAudioStateError:
        expected = self._config.mutable_states
        return InvalidAudioStateError(
            f"cannot mute or unmute while the call is {self._call_state}; it must be {' or '.join(expected)}",
            state=str(self._call_state),
            expected=expected,
        )

    def _gate(self, now: float) -> None:
        """Refuse at once what the state of the call forbids, unless that is old and can be read again."""
        if self._forbids() and (not self._readable or now - self._state_at <= self._config.fresh_s):
            raise self._invalid()

    def _note_hold(self, error: GcmediaError, now: float) -> None:
        asked: float | None = getattr(error, "retry_after", None)
        if asked is not None and now + asked > self._hold:
            self._hold, self._hold_error = now + asked, error

    def _tell(self, now: float) -> None:
        """Tell subscribers of a new state."""
        state = self.state
        if state == self._told:
            return
        self._told = state
        external = False
        if state.confirmed is not None:
            ours = now < self._open_until[state.confirmed]
            external = self._known is not None and state.confirmed is not self._known and not ours
            self._known = state.confirmed
            self.generation += external
        self.events.append(MuteEvent("state", state, external))


def clone(error: E) -> E:
    """The same error for another waiter, with a traceback of its own."""
    other = type(error).__new__(type(error), *error.args)
    other.__dict__.update(error.__dict__)
    other.__cause__ = error.__cause__
    return other
