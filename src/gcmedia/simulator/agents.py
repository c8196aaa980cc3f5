"""The agents' legs of simulated calls: what is really so, what was asked, and what clients were told of it.

Time is an argument.  Whoever looks at a leg first brings it up to date, so nothing here needs a task of its own.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import anyio

from ..errors import ConfigError

__all__ = ["AgentLeg", "Agents", "LegChange", "LegRefusal", "LegWatch", "MuteFaults"]

#: Where a leg can stand; the last two are its end.
LEG_STATES = ("idle", "connecting", "ringing", "connected", "disconnected")

_HISTORY = 10_000  # entries that a leg keeps
_FOREVER = float("inf")


class LegChange(NamedTuple):
    """What a leg became at a moment, and whose doing it was.

    ``by`` is ``"start"``, ``"client"`` (a request took effect), ``"supervisor"`` or ``"call"`` (ringing, connected,
    over).
    """

    at: float
    state: str
    muted: bool
    by: str


class LegRefusal(NamedTuple):
    """How a request is to be refused: status, the platform's code, words, and the wait asked for in seconds or 0."""

    status: int
    code: str
    message: str
    retry_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteFaults:
    """What goes wrong with muting, and how often.  Every fault is off by default.

    Shares are of the requests, changes or messages concerned, 0 to 1; times are seconds of the simulated cloud,
    drawn evenly from ``(low, high)``.  Each leg draws from sequences of its own, so that what happens to it follows
    from ``seed``, its id and what was asked of it.

    Attributes
    ----------
    seed : int
        Of everything random.
    effect_delay_s : tuple of float
        From an accepted request to its effect.
    effect_loss : float
        Accepted requests that never have one.
    event_delay_s : tuple of float
        From an effect until clients are told.
    event_loss, event_duplicates : float
        Tellings that never come, or come twice.
    event_late, event_late_s : float, float
        Tellings held back for so long, beyond what happened after.
    throttled, retry_after_s : float, float
        Requests and reads refused with 429, and the wait that it asks for.
    failed : float
        Requests and reads refused with 503, without a wait.
    denies : tuple of bool
        States of the microphone that a policy forbids: ``(True,)`` refuses to mute, with 403.
    overrides, override_delay_s : float, tuple of float
        Changes by a client that a supervisor undoes, and how long after.
    cuts : float
        Commands at which a connection ends without a close frame; half of them are carried out first.
    """

    seed: int = 0
    effect_delay_s: tuple[float, float] = (0.0, 0.0)
    effect_loss: float = 0.0
    event_delay_s: tuple[float, float] = (0.0, 0.0)
    event_loss: float = 0.0
    event_duplicates: float = 0.0
    event_late: float = 0.0
    event_late_s: float = 1.0
    throttled: float = 0.0
    retry_after_s: float = 1.0
    failed: float = 0.0
    denies: tuple[bool, ...] = ()
    overrides: float = 0.0
    override_delay_s: tuple[float, float] = (0.1, 1.0)
    cuts: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "effect_loss",
            "event_loss",
            "event_duplicates",
            "event_late",
            "throttled",
            "failed",
            "overrides",
            "cuts",
        ):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}, not in [0, 1]")
        for name in ("effect_delay_s", "event_delay_s", "override_delay_s"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high < _FOREVER:
                raise ConfigError(f"{name} is ({low}, {high}) s, not two times in order")
        for name in ("event_late_s", "retry_after_s"):
            if not 0.0 <= getattr(self, name) < _FOREVER:
                raise ConfigError(f"{name} is {getattr(self, name)} s, not a time")


class AgentLeg:
    """One agent's part of one call: where it stands, whether its microphone is muted, and how that came.

    Parameters
    ----------
    leg_id : str
        Of the session (interactive sessions), communication and stream.
    conversation_id, user_id : str
        The call and the agent.
    state : str
        One of ``"idle"``, ``"connecting"``, ``"ringing"``, ``"connected"``, ``"disconnected"``.
    muted : bool
        At the start.
    participant_id : str, optional
        Of the agent in the conversation; ``leg_id`` with ``-participant`` by default.
    media_type, purpose : str
        ``"voice"`` and ``"agent"`` by default.
    started_at : float
        Unix time at which it began; tells sessions of one user apart.

    Attributes
    ----------
    asked : deque
        ``(at, muted)`` of every request that reached the leg, refused ones included, in order.
    undercuts : int
        Requests that came before the wait was over that an earlier refusal had asked for.
    """

    def __init__(
        self,
        leg_id: str,
        *,
        conversation_id: str,
        user_id: str,
        state: str = "connected",
        muted: bool = False,
        participant_id: str | None = None,
        media_type: str = "voice",
        purpose: str = "agent",
        started_at: float = 1_700_000_000.0,
    ) -> None:
        if state not in LEG_STATES:
            raise ConfigError(f"state is {state!r}, not one of {', '.join(LEG_STATES)}")
        self.leg_id = leg_id
        self.conversation_id = conversation_id
        self.user_id = user_id
        self.participant_id = participant_id or f"{leg_id}-participant"
        self.media_type = media_type
        self.purpose = purpose
        self.started_at = started_at
        self.asked: deque[tuple[float, bool]] = deque(maxlen=_HISTORY)
        self.undercuts = 0
        self._history: deque[LegChange] = deque([LegChange(0.0, state, muted, "start")], maxlen=_HISTORY)
        self._due: list[tuple[float, int, bool, str]] = []  # at, number, muted, by
        self._numbers = count()
        self._watches: list[LegWatch] = []
        self._watch_numbers = count()
        self._refused_until = 0.0
        self._changed = anyio.Event()
        self.order(MuteFaults())

    def order(self, faults: MuteFaults) -> None:
        """Let these faults happen from now on."""
        self._faults = faults
        self._draws = random.Random(f"{faults.seed}/{self.leg_id}")

    @property
    def faults(self) -> MuteFaults:
        """Those in force."""
        return self._faults

    @property
    def history(self) -> tuple[LegChange, ...]:
        """What the leg became, the last 10,000 changes in order."""
        return tuple(self._history)

    @property
    def over(self) -> bool:
        """Whether the leg has ended."""
        return self._history[-1].state == "disconnected"

    def read(self, now: float) -> LegChange:
        """How the leg stands now."""
        self.advance(now)
        return self._history[-1]

    def refusal(self, muted: bool | None, now: float) -> LegRefusal | None:
        """How a request for ``muted``, or a read (None), is refused; None when it is not.  Counts as one."""
        faults = self._faults
        if muted is not None:
            self.asked.append((now, muted))
        if now < self._refused_until:
            self.undercuts += 1
            return self._throttle(self._refused_until - now)
        chance = self._draws.random()
        if chance < faults.throttled:
            self._refused_until = now + faults.retry_after_s
            return self._throttle(faults.retry_after_s)
        if chance < faults.throttled + faults.failed:
            return LegRefusal(503, "service.unavailable", "The service is unavailable.", 0.0)
        if muted is not None and muted in faults.denies:
            what = "muting" if muted else "unmuting"
            return LegRefusal(403, "authz.policy.denied", f"A policy of the queue forbids {what}.", 0.0)
        return None

    def cut(self) -> str:
        """Whether a command ends its connection: ``""``, or ``"before"`` or ``"after"`` it is carried out."""
        if self._draws.random() >= self._faults.cuts:
            return ""
        return "before" if self._draws.random() < 0.5 else "after"

    def request(self, muted: bool, now: float) -> None:
        """Accept a request; its effect comes as the faults have it."""
        self.advance(now)
        if self._draws.random() >= self._faults.effect_loss:
            self._plan(now + self._draws.uniform(*self._faults.effect_delay_s), muted, "client")
            self.advance(now)

    def supervise(self, muted: bool, now: float) -> None:
        """Let a supervisor mute or unmute, at once."""
        self.advance(now)
        self._become(now, self._history[-1].state, muted, "supervisor")

    def move(self, state: str, now: float) -> None:
        """Let the call ring, be connected, be over."""
        if state not in LEG_STATES:
            raise ConfigError(f"state is {state!r}, not one of {', '.join(LEG_STATES)}")
        self.advance(now)
        self._become(now, state, self._history[-1].muted, "call")

    def watch(self) -> LegWatch:
        """A client that is told of every change from now on."""
        self._watches = [one for one in self._watches if not one.closed]
        number = next(self._watch_numbers)
        watch = LegWatch(self, random.Random(f"{self._faults.seed}/{self.leg_id}/{number}"))
        self._watches.append(watch)
        return watch

    def advance(self, now: float) -> None:
        """Bring the leg up to date."""
        while self._due and self._due[0][0] <= now:
            at, _, muted, by = heapq.heappop(self._due)
            before = self._history[-1]
            if before.state == "disconnected" or before.muted == muted:
                continue
            self._become(at, before.state, muted, by)
            if by == "client" and self._draws.random() < self._faults.overrides:
                self._plan(at + self._draws.uniform(*self._faults.override_delay_s), not muted, "supervisor")

    @property
    def next_at(self) -> float:
        """When the next planned change takes place; infinity when none is planned."""
        return self._due[0][0] if self._due else _FOREVER

    async def wait_change(self, seconds: float) -> None:
        """Wait for something new, real seconds at most."""
        if self._changed.is_set():
            self._changed = anyio.Event()
        with anyio.move_on_after(max(0.0, seconds)):
            await self._changed.wait()

    def look_again(self) -> None:
        """Wake those who wait: another time has come than they were told."""
        self._changed.set()

    def _throttle(self, wait_s: float) -> LegRefusal:
        words = f"Rate limit exceeded the maximum. Retry the request in [{math.ceil(wait_s)}] seconds"
        return LegRefusal(429, "too.many.requests.retry.after", words, wait_s)

    def _plan(self, at: float, muted: bool, by: str) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), muted, by))
        self._changed.set()

    def _become(self, at: float, state: str, muted: bool, by: str) -> None:
        change = LegChange(at, state, muted, by)
        self._history.append(change)
        for watch in self._watches:
            watch.hear(change)
        self._changed.set()


class LegWatch:
    """What one client is told of a leg: late, twice, out of order or not at all, as the faults have it."""

    def __init__(self, leg: AgentLeg, draws: random.Random) -> None:
        self.leg = leg
        self.closed = False
        self._draws = draws
        self._due: list[tuple[float, int, LegChange]] = []
        self._numbers = count()

    def hear(self, change: LegChange) -> None:
        """Take note of a change."""
        faults, draws = self.leg.faults, self._draws
        if self.closed or draws.random() < faults.event_loss:
            return
        for _ in range(1 + (draws.random() < faults.event_duplicates)):
            at = change.at + draws.uniform(*faults.event_delay_s)
            if draws.random() < faults.event_late:
                at += faults.event_late_s
            heapq.heappush(self._due, (at, next(self._numbers), change))

    def take(self, now: float) -> list[LegChange]:
        """What the client is to be told by now, in the order of telling."""
        self.leg.advance(now)
        told = []
        while self._due and self._due[0][0] <= now:
            told.append(heapq.heappop(self._due)[2])
        return told

    @property
    def next_at(self) -> float:
        """When there may be something to take; infinity when nothing is planned."""
        return min(self._due[0][0] if self._due else _FOREVER, self.leg.next_at)

    def close(self) -> None:
        """Tell the client nothing more."""
        self.closed = True
        self._due.clear()


class Agents:
    """All legs of a cloud, and its clock.

    Parameters
    ----------
    legs : iterable of AgentLeg
        May have several of one conversation or one user.
    faults : MuteFaults, optional
        Of every leg.
    speed : float or None
        Seconds of the cloud in a real one; None is 1.
    """

    def __init__(
        self, legs: Iterable[AgentLeg] = (), faults: MuteFaults | None = None, speed: float | None = None
    ) -> None:
        self.legs = list(legs)
        self.speed = speed or 1.0
        self._skipped_s = 0.0
        for leg in self.legs:
            leg.order(faults or MuteFaults())

    def now(self) -> float:
        """Seconds of the cloud's clock."""
        return anyio.current_time() * self.speed + self._skipped_s

    def skip(self, seconds: float) -> None:
        """Put the clock forward.

        What legs had to do and to tell meanwhile happens at once; whatever else waits sleeps on until it would have
        woken.
        """
        self._skipped_s += seconds
        for leg in self.legs:
            leg.look_again()

    def find(
        self, *, leg_id: str | None = None, conversation_id: str | None = None, user_id: str | None = None
    ) -> Iterator[AgentLeg]:
        """Legs that match all that is named, in the order given."""
        for leg in self.legs:
            if (
                leg_id in (None, leg.leg_id)
                and conversation_id in (None, leg.conversation_id)
                and user_id in (None, leg.user_id)
            ):
                yield leg

    def hang_up(self, conversation_id: str) -> None:
        """The call is over, and so are its legs."""
        now = self.now()
        for leg in self.find(conversation_id=conversation_id):
            if leg.read(now).state != "disconnected":
                leg.move("disconnected", now)

    async def told(self, watch: LegWatch) -> list[LegChange]:
        """Wait until there is something to tell this client."""
        while True:
            now = self.now()
            changes = watch.take(now)
            if changes:
                return changes
            await watch.leg.wait_change((watch.next_at - now) / self.speed)
