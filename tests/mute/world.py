"""A machine and a server that misbehaves, both in virtual time: what they do to each other follows from a seed."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from itertools import count

from gcmedia.config import MuteConfig
from gcmedia.errors import ApiError, CallEnded, GcmediaError, TransportError
from gcmedia.mute import CallState, MuteResult, MuteState, MuteStatus, Observation
from gcmedia.mute.machine import MuteMachine, Read, Send
from gcmedia.simulator import AgentLeg, MuteFaults

STARTED = 1000.0  # seconds of virtual time


class World:
    """A `MuteMachine`, an `AgentLeg`, and a wire between them that takes time; every claim is checked as it is made."""

    def __init__(
        self,
        seed: int,
        faults: MuteFaults,
        config: MuteConfig | None = None,
        *,
        confirmed_by: str = "event",
        readable: bool = True,
        latency_s: tuple[float, float] = (0.01, 0.2),
        muted: bool = False,
        strict: bool = False,
    ) -> None:
        self.config = config or MuteConfig()
        self.now = STARTED
        self.draws = random.Random(f"{seed}/world")
        self.leg = AgentLeg("leg-1", conversation_id="conv-1", user_id="user-1", muted=muted)
        self.leg.order(faults)
        self.machine = MuteMachine(
            self.config, confirmed_by=confirmed_by, readable=readable, rng=random.Random(f"{seed}/jitter")
        )
        self.confirmed_by = confirmed_by
        self.readable = readable
        self.latency_s = latency_s
        self.strict = strict
        self.watch = self.leg.watch() if confirmed_by == "event" else None
        self.sends: list[tuple[float, bool]] = []
        self.reads: list[float] = []
        self.results: dict[int, MuteResult | MuteState | GcmediaError] = {}
        self.open: dict[int, tuple[float, bool]] = {}  # waiters: when, what
        self.wished: bool | None = None  # the last wish that is not over
        self.last_said: bool | None = None  # the last thing that reached the client
        self.vouched = False  # by something said since the last loss of the connection
        self.heard: list[bool] = []  # events
        self.lost_at = 0.0
        self.holds: list[tuple[float, float]] = []  # told at, until
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    # What happens to it

    def ask(self, muted: bool, *, confirm: bool = True) -> int | GcmediaError:
        try:
            waiter = self.machine.ask(muted, self.now, confirm=confirm)
        except GcmediaError as error:
            return error
        self.open[waiter] = (self.now, muted)
        self.wished = muted
        self._settle()
        return waiter

    def refresh(self) -> int:
        waiter = self.machine.refresh(self.now)
        self.open[waiter] = (self.now, False)
        self._settle()
        return waiter

    def cancel(self, waiter: int) -> None:
        if self.open.pop(waiter, None) is not None:
            self.machine.withdraw(waiter)

    def supervise(self, muted: bool) -> None:
        self.leg.supervise(muted, self.now)

    def lose(self, away_s: float) -> None:
        """The connection over which events come is lost, for so long."""
        if self.watch is None:
            return
        self.watch.close()
        self.watch = None
        self.vouched = False
        self.lost_at = self.now
        self._hear(Observation(CallState.UNKNOWN, None, "lost"))
        self._later(away_s, self._reconnect)

    def _reconnect(self) -> None:
        self.watch = self.leg.watch()
        if not self.readable:  # the edge tells how the streams are when a client signs in
            change = self.leg.read(self.now)
            self._hear(Observation(CallState(change.state), change.muted, "event"))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        for _ in range(100_000):
            self._settle()
            action = self.machine.step(self.now)
            self._settle()
            if isinstance(action, Send):
                self._send(action.muted)
                continue
            if isinstance(action, Read):
                self._read()
                continue
            at = min(
                until,
                action.until,
                self._due[0][0] if self._due else until,
                self.watch.next_at if self.watch else until,
            )
            self.now = max(self.now, at)
            self._tell()
            while self._due and self._due[0][0] <= self.now:
                heapq.heappop(self._due)[2]()
            if self.now >= until:
                self.leg.advance(self.now)
                return
        raise AssertionError("the machine asks for the same again and again")

    # The wire

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), act))

    def _latency(self) -> float:
        return self.draws.uniform(*self.latency_s)

    def _send(self, muted: bool) -> None:
        self._check_pace(self.sends[-1][0] if self.sends else None, self.config.min_interval_s)
        assert self.wished is muted, "a superseded request was sent"
        self.sends.append((self.now, muted))

        def arrive() -> None:
            refusal = self.leg.refusal(muted, self.now)
            cut = "" if refusal else self.leg.cut()
            if not refusal and cut != "before" and not self.leg.over:
                self.leg.request(muted, self.now)
            error: GcmediaError | None = None
            if refusal:
                wait = refusal.retry_after_s or None
                error = ApiError(refusal.message, status=refusal.status, code=refusal.code, retry_after=wait)
            elif cut:
                error = TransportError("the connection was cut")
            elif self.leg.over:
                error = CallEnded("the call is over", status=404)
            self._later(self._latency(), lambda: self._sent(error))

        self._later(self._latency(), arrive)

    def _sent(self, error: GcmediaError | None) -> None:
        self._note_hold(error)
        self.machine.sent(self.now, error)
        self._settle()

    def _read(self) -> None:
        self._check_pace(self.reads[-1] if self.reads else None, self.config.read_interval_s)
        self.reads.append(self.now)
        began, heard = self.now, len(self.heard)

        def arrive() -> None:
            refusal = self.leg.refusal(None, self.now)
            change = self.leg.read(self.now)
            error: GcmediaError | None = None
            said: Observation | None = None
            if refusal:
                wait = refusal.retry_after_s or None
                error = ApiError(refusal.message, status=refusal.status, code=refusal.code, retry_after=wait)
            elif change.state == "disconnected":
                error = CallEnded("the call is over", status=404)
            else:
                said = Observation(CallState(change.state), change.muted, "read")
            self._later(self._latency(), lambda: self._answered(said, error, began, self.heard[heard:]))

        self._later(self._latency(), arrive)

    def _answered(
        self, said: Observation | None, error: GcmediaError | None, began: float, meanwhile: list[bool]
    ) -> None:
        self._note_hold(error)
        contradicted = False
        if said is not None:
            self.last_said = said.muted
            self.vouched = self.vouched or began >= self.lost_at
            contradicted = (not said.muted) in meanwhile
        self.machine.was_read(self.now, said, error)
        if contradicted:
            assert self.machine.state.confirmed is None, "confirmed by a read that an event spoke against"
        self._settle()

    def _tell(self) -> None:
        if self.watch is None:
            self.leg.advance(self.now)
            return
        for change in deque(self.watch.take(self.now)):
            self._hear(Observation(CallState(change.state), change.muted, "event"))

    def _hear(self, said: Observation) -> None:
        before, wish = self.machine.state.confirmed, self.wished
        if said.muted is not None:
            self.last_said = said.muted
            self.heard.append(said.muted)
            self.vouched = self.vouched or not self.readable
        self.machine.observe(said, self.now)
        after = self.machine.state.confirmed
        if self.readable and before is not after is not None:
            assert wish is after, "an event that nobody waited for was believed without a read"
            assert before is not None, "an event settled what only a read can"
        self._settle()

    # The claims

    def _note_hold(self, error: GcmediaError | None) -> None:
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            self.holds.append((self.now, self.now + asked))

    def _check_pace(self, before: float | None, interval_s: float) -> None:
        if before is not None:
            assert self.now - before >= interval_s - 1e-9, "asked faster than the limit"
        for told, until in self.holds:
            assert not told <= self.now < until - 1e-9, "Retry-After was undercut"

    def _settle(self) -> None:
        state = self.machine.state
        assert state.confirmed is None or state.confirmed is self.last_said, "confirmed against the server's last word"
        assert state.confirmed is None or self.vouched, "confirmed by what was said before the connection was lost"
        for waiter, outcome in self.machine.outcomes:
            assert waiter not in self.results, "two results for one waiter"
            self.results[waiter] = outcome
            asked = self.open.pop(waiter, None)
            if isinstance(outcome, MuteResult) and asked is not None:
                self._check_result(outcome, *asked)
        self.machine.outcomes.clear()
        self.machine.events.clear()
        self.wished = self.machine.state.desired

    def _check_result(self, result: MuteResult, asked_at: float, muted: bool) -> None:
        assert result.muted is muted
        assert result.latency_s == self.now - asked_at
        if result.ok:
            assert self.last_said is muted
        if result.status is MuteStatus.ALREADY:
            assert result.attempts == 0
        if result.status is MuteStatus.CONFIRMED:
            assert result.attempts > 0
            if self.strict:
                first = self.sends[-result.attempts][0]
                assert self.was(muted, first), "confirmed, although the server never had it since it was asked"

    def was(self, muted: bool, since: float) -> bool:
        """Whether the leg really had this state at any moment since."""
        history = [*self.leg.history]
        ends = [change.at for change in history[1:]] + [self.now]
        return any(change.muted is muted and end >= since for change, end in zip(history, ends, strict=True))
