"""Storms against the simulator: real sockets, real requests, several agents at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

import anyio

from gcmedia.auth import BearerAuth, Credentials, TokenProvider
from gcmedia.clock import ScaledClock
from gcmedia.config import MuteConfig, ReconnectConfig, WebchatEdgeConfig
from gcmedia.errors import ApiError, AuthError, GcmediaError, NoActiveCall
from gcmedia.mute import (
    CallState,
    InteractiveSessions,
    MuteControl,
    MuteEvent,
    MuteResult,
    MuteStatus,
    MuteStrategy,
    Observation,
    WebchatEdge,
    edge_url,
)
from gcmedia.simulator import AgentLeg, Faults, MuteFaults, Simulator
from gcmedia.transport.api import ApiClient

SPEED = 20.0  # seconds of the cloud, and of the controls' clock, in a real one


class Watched:
    """A strategy that remembers what passes through it."""

    def __init__(self, inner: MuteStrategy, clock: ScaledClock) -> None:
        self.inner = inner
        self.name, self.confirmed_by, self.readable = inner.name, inner.confirmed_by, inner.readable
        self.clock = clock
        self.last_said: bool | None = None
        self.wish: bool | None = None
        self.requests = 0
        self.lost = 0
        self.held_until = float("-inf")  # a refusal that has been read asks to wait so long
        self.abandoned = 0  # requests and reads whose answer nobody waited for: it may have been a refusal

    async def run(self, observe: Callable[[Observation], None], ready: Callable[[], None]) -> None:
        def watch(said: Observation) -> None:
            self._note(said)
            observe(said)

        await self.inner.run(watch, ready)

    async def request(self, muted: bool) -> None:
        assert muted is self.wish, "a superseded request was sent"
        assert self.clock.now() >= self.held_until, "Retry-After was undercut"
        self.requests += 1
        with self._answered():
            await self.inner.request(muted)

    async def read(self) -> Observation:
        assert self.clock.now() >= self.held_until, "Retry-After was undercut by a read"
        with self._answered():
            said = await self.inner.read()
        self._note(said)
        return said

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except (ApiError, AuthError, NoActiveCall) as error:
            self._hold(error)
            raise
        except BaseException:  # too late, cancelled, cut
            self.abandoned += 1
            raise

    def _hold(self, error: Exception | None) -> None:
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            self.held_until = max(self.held_until, self.clock.now() + asked)

    def _note(self, said: Observation) -> None:
        self.lost += said.source == "lost"
        self._hold(said.error)
        if said.muted is not None and said.source != "refused":
            self.last_said = said.muted


def faults(seed: int) -> MuteFaults:
    draws = random.Random(f"{seed}/faults")
    return MuteFaults(
        seed=seed,
        effect_delay_s=(0.0, draws.choice([0.0, 0.5, 2.0])),
        effect_loss=draws.choice([0.0, 0.1]),
        event_delay_s=(0.0, draws.choice([0.0, 1.0])),
        event_loss=0.15,
        event_duplicates=0.3,
        event_late=draws.choice([0.0, 0.2]),
        event_late_s=4.0,
        throttled=0.15,
        retry_after_s=2.0,
        failed=0.1,
        overrides=draws.choice([0.0, 0.2]),
        cuts=0.1,
    )


async def storm(strategy: str, seed: int, n_agents: int, n_wishes: int) -> int:
    """Let agents be muted and unmuted wildly, each by several tasks; returns how many results there were."""
    legs = [AgentLeg(f"leg-{n}", conversation_id=f"conv-{n}", user_id=f"user-{n}") for n in range(n_agents)]
    counts: list[int] = []
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(
            Simulator(faults=Faults(token_lifetime_s=2.0), legs=legs, mute_faults=faults(seed), speed=SPEED)
        )
        provider = TokenProvider(Credentials(cloud.client_id, cloud.client_secret, cloud.base_url))
        await stack.enter_async_context(provider)
        clock = ScaledClock(SPEED)
        api = ApiClient(cloud.base_url, BearerAuth(provider), clock=clock, total_timeout_s=30.0 * SPEED)
        await stack.enter_async_context(api)
        async with anyio.create_task_group() as tasks:
            entered: list[AgentLeg] = []
            for number, leg in enumerate(legs):
                draws = random.Random(f"{seed}/{number}")
                way: MuteStrategy
                if strategy == "webchat-edge":
                    way = WebchatEdge(
                        edge_url("us-east-1", base=cloud.edge_url),
                        provider,
                        leg.conversation_id,
                        WebchatEdgeConfig(
                            stream_id=leg.leg_id,
                            open_timeout_s=20.0 * SPEED,
                            auth_timeout_s=20.0 * SPEED,
                            ping_interval_s=60.0 * SPEED,
                            pong_timeout_s=60.0 * SPEED,
                        ),
                        reconnect=ReconnectConfig(attempts=50, base_s=0.5, cap_s=2.0),
                        clock=clock,
                        rng=draws,
                    )
                else:
                    way = InteractiveSessions(api, leg.user_id, clock=clock)
                tasks.start_soon(_agent, cloud, leg, Watched(way, clock), draws, n_wishes, counts, entered)
        assert cloud.journal.failures == 0
    return sum(counts)


async def _agent(
    cloud: Simulator,
    leg: AgentLeg,
    way: Watched,
    draws: random.Random,
    n_wishes: int,
    counts: list[int],
    entered: list[AgentLeg],
) -> None:
    # Over the edge nothing tells which command a refusal answers: at a distance it is the last one's.
    config = MuteConfig(
        min_interval_s=0.25 if way.readable else 4.0,
        confirm_timeout_s=6.0,
        request_timeout_s=30.0 * SPEED,
        resync_s=10.0,
    )
    clock = way.clock
    began = clock.now()
    count = 0
    async with MuteControl(way, config, clock=clock, rng=draws) as control:
        entered.append(leg)

        def check(event: MuteEvent) -> None:
            assert event.state.confirmed in (None, way.last_said), "confirmed against the server's last word"

        def tell(event: MuteEvent) -> None:  # subscribers that raise are logged only
            try:
                check(event)
            except AssertionError as error:
                problems.append(error)

        problems: list[AssertionError] = []
        control.subscribe(tell)

        async def wish(muted: bool) -> None:
            nonlocal count
            asked_at = cloud.agents.now()
            way.wish = muted
            try:
                result = await control.set_muted(muted, confirm=draws.random() < 0.9)
            except GcmediaError:
                count += 1
                return
            count += 1
            check_result(result, asked_at)

        def check_result(result: MuteResult, asked_at: float) -> None:
            if result.ok:
                assert result.confirmed is result.muted
            if result.status is MuteStatus.CONFIRMED and way.readable:
                assert was(leg, result.muted, asked_at - 0.5 * SPEED, cloud), "confirmed, although it never was so"

        async with anyio.create_task_group() as tasks:
            for _ in range(n_wishes):
                what = draws.random()
                if what < 0.75:
                    tasks.start_soon(wish, draws.random() < 0.5)
                elif what < 0.85:
                    leg.supervise(draws.random() < 0.5, cloud.agents.now())
                elif what < 0.88 and leg is entered[0] and len(entered) == len(cloud.agents.legs):
                    cloud.revoke_tokens()
                await clock.sleep(draws.choice([0.0, 0.05, 0.5, 3.0]) * draws.random())
        duration = clock.now() - began
        assert way.requests <= duration / config.min_interval_s + 1, "asked faster than the limit"
        leg.order(MuteFaults())
        await settle(control, way, leg, cloud)
        assert not problems, problems
    if way.name == "interactive-sessions":
        # Each answer has its request, so what the server counted is known too, but for refusals nobody waited for, such
        # as that of a read at whose end the wish is over.  The edge's refusals may be on their way when a command goes.
        assert leg.undercuts <= way.abandoned, "Retry-After was undercut"
    assert count
    counts.append(count)


async def settle(control: MuteControl, way: Watched, leg: AgentLeg, cloud: Simulator) -> None:
    """With the faults over and the late events in, a last wish has to come true."""
    await way.clock.sleep(8.0)
    for muted in (False, True):  # both, as a late event that cannot be looked into may have the last word
        for _ in range(10):
            way.wish = muted
            try:
                result = await control.set_muted(muted)
            except GcmediaError:  # a token has ended just now
                continue
            if result.ok:
                break
        else:
            raise AssertionError("no wish comes true")
    assert leg.read(cloud.agents.now()).muted
    assert control.state.confirmed is True
    assert control.state.call_state is CallState.CONNECTED


def was(leg: AgentLeg, muted: bool, since: float, cloud: Simulator) -> bool:
    """Whether the leg had this state at any moment since."""
    history = leg.history
    ends = [change.at for change in history[1:]] + [cloud.agents.now()]
    return any(change.muted is muted and end >= since for change, end in zip(history, ends, strict=True))
