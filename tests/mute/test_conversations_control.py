"""Mute control over the simulated platform: what it reports, held against what is so."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

from gcmedia import (
    AmbiguousCall,
    ConfigError,
    ConversationsConfig,
    Credentials,
    GcmediaError,
    MuteConfig,
    NoActiveCall,
    open_mute,
)
from gcmedia.mute import CallState, ConversationsStrategy, MuteControl, MuteStatus
from gcmedia.simulator import AgentLeg, ApiFaults, MuteFaults

from ..notifications.cloud import PATIENT, Cloud, cloud, until

pytestmark = pytest.mark.anyio


#: On a clock that hurries, five seconds are little for a machine that is busy otherwise.
UNHURRIED = MuteConfig(confirm_timeout_s=100.0, request_timeout_s=500.0)


@dataclass
class Controlled:
    cloud: Cloud
    control: MuteControl

    @property
    def leg(self) -> AgentLeg:
        return self.cloud.sim.agents.legs[0]

    def now(self) -> float:
        return self.cloud.sim.agents.now()

    def truth(self) -> bool:
        return self.leg.read(self.now()).muted


@asynccontextmanager
async def controlled(
    *,
    faults: MuteFaults | None = None,
    api_faults: ApiFaults | None = None,
    config: MuteConfig = UNHURRIED,
    speed: float = 50.0,
    **profile: Any,
) -> AsyncIterator[Controlled]:
    legs = [AgentLeg("leg", conversation_id="conv", user_id="agent")]
    async with cloud(speed=speed, legs=legs, mute_faults=faults, api_faults=api_faults) as there:
        strategy = ConversationsStrategy(
            there.api,
            ConversationsConfig(**profile),
            user_id="agent",
            notifications_config=PATIENT,
            clock=there.clock,
            rng=random.Random(1),
        )
        async with MuteControl(strategy, config, clock=there.clock, rng=random.Random(2)) as control:
            yield Controlled(there, control)


@pytest.mark.parametrize("confirmed_by", ["event", "read"])
async def test_muted_means_that_the_platform_said_so(confirmed_by: str) -> None:  # 000-28, 000-31
    faults = MuteFaults(effect_delay_s=(0.1, 0.3), event_delay_s=(0.1, 0.4))
    async with controlled(faults=faults, confirmed_by=confirmed_by) as here:
        for muted in (True, False):
            result = await here.control.set_muted(muted)
            assert result.status is MuteStatus.CONFIRMED
            assert result.attempts == 1
            assert here.truth() is muted
            assert here.control.state.confirmed is muted
        assert (await here.control.unmute()).status is MuteStatus.ALREADY
        assert here.leg.undercuts == 0


async def test_an_event_that_never_comes_is_made_up_for_by_reading() -> None:
    async with controlled(faults=MuteFaults(event_loss=1.0)) as here:
        assert (await here.control.mute()).status is MuteStatus.CONFIRMED
        assert here.truth()


async def test_an_effect_that_never_comes_is_a_timeout() -> None:  # 000-28
    async with controlled(faults=MuteFaults(effect_loss=1.0), config=MuteConfig()) as here:
        assert (await here.control.mute()).status is MuteStatus.TIMEOUT
        assert not here.truth()


async def test_a_supervisor_is_the_authority() -> None:  # 000-32
    async with controlled() as here:
        await here.control.mute()
        here.leg.supervise(False, here.now())
        await until(lambda: here.control.state.confirmed is False)
        assert [muted for _, muted in here.leg.asked] == [True]


async def test_a_policy_of_the_platform_is_a_rejection() -> None:  # 000-32
    async with controlled(faults=MuteFaults(denies=(True,))) as here:
        result = await here.control.mute()
        assert result.status is MuteStatus.REJECTED
        assert not here.truth()


async def test_the_end_of_the_call_ends_what_waits_for_it() -> None:
    async with controlled(faults=MuteFaults(effect_loss=1.0)) as here:
        async with anyio.create_task_group() as tasks:

            async def end() -> None:
                await until(lambda: here.leg.asked)
                here.leg.move("disconnected", here.now())

            tasks.start_soon(end)
            assert (await here.control.mute()).status is MuteStatus.CALL_ENDED
        assert here.control.state.confirmed is None


async def test_after_a_reconnect_the_state_is_unknown_until_it_was_read() -> None:  # 000-30
    async with controlled() as here:
        await here.control.mute()
        reads = len(here.cloud.answered("GET", "/calls/conv"))
        here.cloud.sim.notifications.cut()
        here.leg.supervise(False, here.now())  # nobody is told
        await until(lambda: here.control.state.confirmed is False)
        assert len(here.cloud.answered("GET", "/calls/conv")) > reads


async def test_who_is_in_no_call_cannot_be_muted() -> None:  # 002-26
    async with cloud() as there:
        strategy = ConversationsStrategy(there.api, user_id="agent", notifications_config=PATIENT, clock=there.clock)
        with pytest.raises(NoActiveCall):
            async with MuteControl(strategy, clock=there.clock):
                pass


async def test_names_and_settings_are_enough() -> None:  # 000-01, 000-40
    legs = [AgentLeg(name, conversation_id=name, user_id="agent") for name in ("older", "newer")]
    async with cloud(legs=legs) as there:
        credentials = Credentials(there.sim.client_id, there.sim.client_secret, there.sim.base_url)
        with pytest.raises(ConfigError, match="user_id is needed"):
            async with open_mute("conversations", credentials=credentials):
                pass
        with pytest.raises(AmbiguousCall):
            async with open_mute("conversations", user_id="agent", credentials=credentials):
                pass
        profile = ConversationsConfig(policy="newest")
        async with open_mute("conversations", user_id="agent", credentials=credentials, profile=profile) as control:
            (await control.mute()).check()
        assert [len(leg.asked) for leg in legs] == [0, 1]
        own = there.sim.user_token("agent")
        profile = ConversationsConfig(endpoint="self")
        async with open_mute(
            "conversations", conversation_id="older", token=own, region=there.sim.base_url, profile=profile
        ) as control:
            (await control.mute()).check()
        assert [len(leg.asked) for leg in legs] == [1, 1]


async def test_a_ringing_leg_may_be_muted_where_the_rule_allows_it() -> None:  # 000-18
    async with controlled(config=replace(UNHURRIED, mutable_states=("connected",))) as here:
        here.leg.move("ringing", here.now())
        await until(lambda: here.control.state.call_state is CallState.RINGING)
        with pytest.raises(GcmediaError, match="ringing"):
            await here.control.mute()
        here.leg.move("connected", here.now())
        await until(lambda: here.control.state.call_state is CallState.CONNECTED)
        assert (await here.control.mute()).status is MuteStatus.CONFIRMED


@pytest.mark.parametrize("seed", range(5))
async def test_through_a_storm_what_is_confirmed_is_so_and_the_end_is_the_truth(seed: int) -> None:
    """Requests from several tasks, supervisors, throttling, lost and crossed events, lost sockets, revoked tokens."""
    draws = random.Random(seed)
    faults = MuteFaults(
        seed=seed,
        effect_delay_s=(0.05, 0.4),
        effect_loss=0.1,
        event_delay_s=(0.05, 0.5),
        event_loss=0.1,
        event_duplicates=0.3,
        event_late=0.2,
        event_late_s=1.5,
        throttled=0.05,
        retry_after_s=1.0,
        overrides=0.2,
    )
    api_faults = ApiFaults(seed=seed, requests_per_minute=100_000, cut_after_s=(4.0, 20.0), malformed=0.1)
    async with controlled(faults=faults, api_faults=api_faults) as here:
        statuses: list[MuteStatus] = []

        async def ask(muted: bool) -> None:
            try:
                statuses.append((await here.control.set_muted(muted)).status)
            except GcmediaError:
                pass  # attempts used up

        async with anyio.create_task_group() as tasks:
            for turn in range(20):
                tasks.start_soon(ask, draws.random() < 0.5)
                if draws.random() < 0.2:
                    here.leg.supervise(draws.random() < 0.5, here.now())
                if turn == 12:
                    await here.cloud.sim.notifications.revoke_tokens()
                await anyio.sleep(draws.uniform(0.0, 0.05))
        here.leg.order(MuteFaults())
        await until(lambda: here.leg.read(here.now()) and here.leg.next_at == float("inf"))  # no supervisor any more
        await until(lambda: here.control.state.confirmed is here.truth(), 15)
        result = await here.control.set_muted(not here.truth())
        assert result.ok, result
        await until(lambda: here.control.state.confirmed is here.truth())  # unknown, if a socket was cut just now
        assert MuteStatus.CONFIRMED in [*statuses, result.status]
        assert here.leg.undercuts == 0
