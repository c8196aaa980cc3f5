"""Muting over the simulated platform, by the contract alone: on both backends."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import anyio
import pytest

from gcmedia import (
    AmbiguousCall,
    ApiError,
    CallEnded,
    ConfigError,
    Conflict,
    ConversationsConfig,
    Forbidden,
    NoActiveCall,
    Notifications,
    NotificationsConfig,
    StateError,
    TooManyRequests,
    UserContextRequired,
)
from gcmedia.mute import CallState, ConversationsStrategy, MuteStrategy, Observation
from gcmedia.simulator import AgentLeg, ApiFaults, MuteFaults

from ..notifications.cloud import PATIENT, Cloud, cloud, until
from .test_conversations_dialect import DOCUMENTED

pytestmark = pytest.mark.anyio


def leg(name: str = "leg", **settings: Any) -> AgentLeg:
    return AgentLeg(name, **{"conversation_id": "conv", "user_id": "agent", **settings})


@dataclass
class Running:
    cloud: Cloud
    strategy: ConversationsStrategy
    seen: list[Observation] = field(default_factory=list)

    @property
    def last(self) -> Observation:
        return self.seen[-1]

    def now(self) -> float:
        return self.cloud.sim.agents.now()

    def asked(self) -> list[bool]:
        return [muted for one in self.cloud.sim.agents.legs for _, muted in one.asked]


def make(there: Cloud, config: NotificationsConfig = PATIENT, **settings: Any) -> ConversationsStrategy:
    """A strategy for ``agent``; settings may be those of its profile."""
    names = {one.name for one in fields(ConversationsConfig)}
    profile = ConversationsConfig(**{name: value for name, value in settings.items() if name in names})
    rest = {name: value for name, value in settings.items() if name not in names}
    return ConversationsStrategy(
        there.api,
        profile,
        **{
            "user_id": "agent",
            "notifications_config": config,
            "clock": there.clock,
            "rng": random.Random(1),
            **rest,
        },
    )


@asynccontextmanager
async def running(
    *legs: AgentLeg,
    user: str | None = None,
    config: NotificationsConfig = PATIENT,
    faults: MuteFaults | None = None,
    api_faults: ApiFaults | None = None,
    speed: float = 100.0,
    **settings: Any,
) -> AsyncIterator[Running]:
    async with cloud(user=user, speed=speed, legs=legs or (leg(),), mute_faults=faults, api_faults=api_faults) as there:
        strategy = make(there, config, **settings)
        here = Running(there, strategy)
        ready = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strategy.run, here.seen.append, ready.set)
            with anyio.fail_after(60):
                await ready.wait()
            yield here
            tasks.cancel_scope.cancel()


async def run_fails(there: Cloud, error: type[Exception], **settings: Any) -> str:
    """Run it until it fails, as it must."""
    with anyio.fail_after(60), pytest.raises(error) as caught:
        await make(there, **settings).run(lambda _: None, lambda: None)
    return str(caught.value)


CONNECTED = CallState.CONNECTED


def test_it_keeps_the_contract() -> None:
    def takes(strategy: MuteStrategy) -> MuteStrategy:
        return strategy

    def make(api: Any = None) -> MuteStrategy:
        return takes(ConversationsStrategy(api, user_id="u"))

    assert (make().name, make().confirmed_by, make().readable) == ("conversations", "event", True)


@pytest.mark.parametrize("shape", ["flat", "nested"])
async def test_acceptance_is_one_thing_and_the_event_another(shape: str) -> None:  # 000-28, 000-31, 002-16
    async with running(faults=MuteFaults(event_delay_s=(9000.0, 9000.0)), shape=shape) as here:
        assert here.seen == [Observation(CONNECTED, False, "read")]
        await here.strategy.request(True)
        assert here.cloud.answered("PATCH") == [202]
        assert len(here.seen) == 1
        here.cloud.sim.agents.skip(9000.0)
        await until(lambda: len(here.seen) == 2)
        assert here.last == Observation(CONNECTED, True, "event")
        await here.strategy.request(False)
        here.cloud.sim.agents.skip(9000.0)
        await until(lambda: here.last == Observation(CONNECTED, False, "event"))
        assert here.asked() == [True, False]


async def test_an_accepted_request_may_have_no_effect_and_then_nothing_says_it_had() -> None:  # 000-28
    async with running(faults=MuteFaults(effect_loss=1.0)) as here:
        await here.strategy.request(True)
        await anyio.sleep(0.05)
        assert here.seen == [Observation(CONNECTED, False, "read")]
        assert await here.strategy.read() == Observation(CONNECTED, False, "read")


async def test_reading_confirms_too_and_needs_no_channel() -> None:  # 002-18
    async with running(confirmed_by="read", faults=MuteFaults(effect_delay_s=(9000.0, 9000.0))) as here:
        assert here.strategy.confirmed_by == "read"
        await here.strategy.request(True)
        assert (await here.strategy.read()).muted is False
        here.cloud.sim.agents.skip(9000.0)
        assert await here.strategy.read() == Observation(CONNECTED, True, "read")
        assert here.cloud.sim.notifications.channels_made == 0


# Who may mute at which path: the key finding of the platform


@pytest.mark.parametrize(
    ("user", "endpoint", "error"),
    [
        pytest.param(None, "on_behalf", None, id="client-on-behalf"),
        pytest.param(None, "self", UserContextRequired, id="client-self"),
        pytest.param(None, "generic", None, id="client-generic"),
        pytest.param("agent", "self", None, id="agent-self"),
        pytest.param("supervisor", "self", UserContextRequired, id="supervisor-self"),
        pytest.param("supervisor", "on_behalf", None, id="supervisor-on-behalf"),
    ],
)
async def test_who_may_mute_where(
    user: str | None, endpoint: str, error: type[ApiError] | None
) -> None:  # 000-11, 002-02
    settings: dict[str, Any] = {"endpoint": endpoint, "confirmed_by": "read", "conversation_id": "conv"}
    async with running(user=user, **settings) as here:
        if error is None:
            await here.strategy.request(True)
            await until(lambda: here.cloud.sim.agents.legs[0].read(here.now()).muted)
            return
        with pytest.raises(error) as caught:
            await here.strategy.request(True)
        assert "on_behalf" in str(caught.value)
        assert here.asked() == []


async def test_a_user_named_nowhere_is_that_of_the_token() -> None:
    async with running(user="agent", endpoint="self", user_id=None) as here:
        await here.strategy.request(True)
        await until(lambda: here.last.muted)
        assert here.cloud.answered("GET", "/users/me") == [200]
        assert here.cloud.answered("GET", "/conversations/calls") == [200]
    async with cloud(legs=[leg()]) as there:
        said = await run_fails(there, UserContextRequired, user_id=None, endpoint="self")
        assert "on_behalf" in said


@pytest.mark.parametrize(("status", "code", "kind"), DOCUMENTED, ids=[code for _, code, _ in DOCUMENTED])
async def test_each_documented_refusal_is_raised_as_what_it_means(
    status: int, code: str, kind: type[ApiError]
) -> None:  # 002-13, 002-20
    async with running(conversation_id="conv", confirmed_by="read", speed=1000.0) as here:
        # twice, because a leg that is over and a conflict are looked at once more
        here.cloud.sim.gate.order("mute", (status, code), (status, code))
        with pytest.raises(kind) as caught:
            await here.strategy.request(True)
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.code) == (status, code)
        assert caught.value.correlation_id
        assert here.asked() == []
        assert len(here.cloud.answered("PATCH")) == (2 if kind is Conflict else 1)


async def test_a_policy_may_forbid_one_direction_only() -> None:  # 000-32
    async with running(leg(muted=True), faults=MuteFaults(denies=(False,))) as here:
        with pytest.raises(Forbidden, match="policy"):
            await here.strategy.request(False)
        await here.strategy.request(True)


async def test_too_many_requests_say_how_long_to_wait() -> None:
    async with running(api_faults=ApiFaults(retry_after_s=7.0)) as here:
        here.cloud.sim.gate.order("mute", (429, "too.many.requests.retry.after"))
        with pytest.raises(TooManyRequests) as caught:
            await here.strategy.request(True)
        assert caught.value.retry_after == 7.0


async def test_the_budget_of_a_minute_is_told_and_kept_count_of() -> None:
    async with running(
        confirmed_by="read", api_faults=ApiFaults(requests_per_minute=5), conversation_id="conv"
    ) as here:
        for _ in range(4):
            await here.strategy.read()
        with pytest.raises(TooManyRequests) as caught:
            await here.strategy.read()
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60
        limit = here.cloud.api.rate_limit
        assert limit is not None
        assert (limit.allowed, limit.count) == (5, 5)
        assert here.cloud.sim.gate.throttled == 1


async def test_a_conflict_that_brought_what_was_wanted_is_enough() -> None:
    async with running(confirmed_by="read") as here:
        here.cloud.sim.gate.order("mute", (409, "request.conflict"))
        here.cloud.sim.agents.legs[0].supervise(True, here.now())
        await here.strategy.request(True)
        assert here.cloud.answered("PATCH") == [409]
        here.cloud.sim.gate.order("mute", (409, "request.conflict"))
        await here.strategy.request(False)
        assert here.cloud.answered("PATCH") == [409, 409, 202]


# Finding the call


async def test_the_call_of_a_user_is_found_and_none_is_an_error_that_says_what_there_is() -> None:  # 002-12, 002-26
    chat = leg("chat", conversation_id="chat-1", media_type="message")
    async with cloud(legs=[chat]) as there:
        said = await run_fails(there, NoActiveCall)
        assert "in no call" in said
        assert "message" in said
    async with running(chat, leg()) as here:
        assert here.strategy.leg is not None
        assert here.strategy.leg.conversation_id == "conv"


async def test_of_several_calls_none_is_guessed_unless_a_policy_is_chosen() -> None:  # 002-12
    legs = [leg("one", conversation_id="c1"), leg("two", conversation_id="c2", state="ringing")]
    async with cloud(legs=legs) as there:
        said = await run_fails(there, AmbiguousCall)
        assert "c1" in said
        assert "c2" in said
    for policy, expected in (("newest", "c2"), ("connected", "c1")):
        async with running(*legs, policy=policy, confirmed_by="read") as here:
            assert here.strategy.leg is not None
            assert here.strategy.leg.conversation_id == expected
        async with running(*legs, policy=policy, confirmed_by="read", user="agent", endpoint="self") as here:
            assert here.strategy.leg is not None
            assert here.strategy.leg.conversation_id == expected
    both = [leg("one", conversation_id="c1"), leg("two", conversation_id="c2")]
    async with cloud(legs=both) as there:
        await run_fails(there, AmbiguousCall, policy="connected")


async def test_a_conversation_without_the_user_is_no_call_of_his() -> None:
    async with running(conversation_id="conv", user_id="stranger", confirmed_by="read") as here:
        assert here.last == Observation(CallState.IDLE, None, "read")
        with pytest.raises(NoActiveCall, match="stranger has no part in conversation conv"):
            await here.strategy.request(True)
    async with running(conversation_id="gone", confirmed_by="read") as here:
        assert here.last == Observation(CallState.IDLE, None, "read")


async def test_monitors_and_voicemail_are_not_muted_for_the_agent() -> None:
    monitor = leg("m", purpose="monitor")
    voicemail = leg("v", purpose="voicemail")
    async with running(leg(), monitor, voicemail) as here:
        await here.strategy.request(True)
        assert [len(one.asked) for one in here.cloud.sim.agents.legs] == [1, 0, 0]
    async with running(leg(), leg("m", purpose="monitor"), observers=True) as here:
        await here.strategy.request(True)
        assert [len(one.asked) for one in here.cloud.sim.agents.legs] == [0, 1]


async def test_after_a_transfer_away_and_back_the_new_leg_is_the_one() -> None:  # 002-09, 002-20, 002-21
    async with running() as here:
        first = here.cloud.sim.agents.legs[0]
        first.move("disconnected", here.now())
        await until(lambda: here.last.state is CallState.DISCONNECTED)
        await here.cloud.sim.add_leg(leg("back", state="ringing"))
        await until(lambda: here.last.state is CallState.RINGING)
        back = here.cloud.sim.agents.legs[1]
        back.move("connected", here.now())
        await until(lambda: here.last.state is CONNECTED)
        await here.strategy.request(True)
        await until(lambda: here.last.muted)
        assert not first.asked
        assert [muted for _, muted in back.asked] == [True]


async def test_a_leg_that_ended_unheard_is_looked_up_once_more_when_the_request_finds_out() -> None:  # 002-20
    faults = MuteFaults(event_loss=1.0)
    async with running(faults=faults) as here:
        here.cloud.sim.agents.legs[0].move("disconnected", here.now())
        here.cloud.sim.agents.legs.append(leg("back"))
        await here.strategy.request(True)
        assert here.cloud.answered("PATCH") == [400, 202]
        assert [muted for _, muted in here.cloud.sim.agents.legs[1].asked] == [True]


async def test_a_user_whose_call_is_over_has_his_next_one_muted() -> None:  # 002-21
    async with running() as here:
        here.cloud.sim.agents.legs[0].move("disconnected", here.now())
        await until(lambda: here.last.state is CallState.DISCONNECTED)
        await here.cloud.sim.add_leg(leg("next", conversation_id="conv-2"))
        await here.strategy.request(True)
        assert [muted for _, muted in here.cloud.sim.agents.legs[1].asked] == [True]
    async with running(conversation_id="conv") as here:  # but not where one was named
        here.cloud.sim.agents.legs[0].move("disconnected", here.now())
        await until(lambda: here.last.state is CallState.DISCONNECTED)
        await here.cloud.sim.add_leg(leg("next", conversation_id="conv-2"))
        with pytest.raises(CallEnded):
            await here.strategy.request(True)


async def test_what_may_not_be_read_is_told_with_the_permission_that_it_takes() -> None:
    refused = ApiFaults(api_refusals=((403, "missing.permissions"),))
    async with cloud(legs=[leg()], api_faults=refused) as there:
        said = await run_fails(there, Forbidden, confirmed_by="read")
        assert "analytics:agentState:view" in said
        assert "wrapup" not in said
    async with cloud(legs=[leg()], api_faults=refused) as there:
        said = await run_fails(there, Forbidden, confirmed_by="read", conversation_id="conv", shape="nested")
        assert "conversation:communication:view" in said
    async with cloud(legs=[leg()], api_faults=refused) as there:
        said = await run_fails(there, Forbidden, confirmed_by="read", conversation_id="conv")
        assert said.endswith(")")  # nothing behind the correlation id: no permission is documented for it


async def test_a_call_that_was_there_and_is_gone_is_over() -> None:
    async with running(conversation_id="conv", confirmed_by="read") as here:
        here.cloud.sim.agents.legs.clear()
        assert await here.strategy.read() == Observation(CallState.DISCONNECTED, None, "read")


# Events


async def test_a_supervisor_is_told_of_and_not_fought() -> None:  # 000-32, 001-21
    async with running() as here:
        await here.strategy.request(True)
        await until(lambda: here.last.muted)
        here.cloud.sim.agents.legs[0].supervise(False, here.now())
        await until(lambda: here.last == Observation(CONNECTED, False, "event"))
        await anyio.sleep(0.02)
        assert here.asked() == [True]


async def test_what_is_told_twice_is_observed_once_and_other_calls_not_at_all() -> None:
    other = leg("other", conversation_id="elsewhere")
    async with running(leg(), other, faults=MuteFaults(event_duplicates=1.0), conversation_id="conv") as here:
        other.supervise(True, here.now())
        await here.strategy.request(True)
        await until(lambda: here.strategy.duplicate_events >= 1)
        assert [one.muted for one in here.seen if one.source == "event"] == [True]


async def test_an_event_from_before_the_leg_ended_changes_nothing() -> None:
    async with running() as here:
        await here.strategy.request(True)
        await until(lambda: here.last.muted)
        state = {"participants": [{"id": "leg-participant", "user": {"id": "agent"}, "state": "connected"}]}
        here.cloud.sim.agents.legs[0].move("disconnected", here.now())
        await until(lambda: here.last.state is CallState.DISCONNECTED)
        topic = "v2.users.agent.conversations.calls"
        await here.cloud.sim.notifications.publish(topic, {"id": "conv", **state})
        await here.cloud.sim.notifications.publish(topic, {"id": "conv", "participants": []})
        await until(lambda: here.strategy.stale_events == 2)
        assert here.last.state is CallState.DISCONNECTED


@pytest.mark.parametrize("end", ["cut", "close", "revoked"])
async def test_a_lost_socket_makes_the_state_unknown_until_it_has_been_read(end: str) -> None:  # 000-30
    async with running() as here:
        if end == "revoked":
            await here.cloud.sim.notifications.revoke_tokens()
        elif end == "cut":
            here.cloud.sim.notifications.cut()
        else:
            here.cloud.sim.notifications.close()
        here.cloud.sim.agents.legs[0].supervise(True, here.now())  # nobody is told of it
        # at the loss, and again when there is a connection: what was read meanwhile may be old by then
        lost = Observation(CallState.UNKNOWN, None, "lost")
        await until(lambda: here.seen[1:] == [lost, lost])
        assert await here.strategy.read() == Observation(CONNECTED, True, "read")
        here.cloud.sim.agents.legs[0].supervise(False, here.now())
        await until(lambda: here.last == Observation(CONNECTED, False, "event"))


async def test_behind_a_hand_over_events_go_on_and_the_state_is_to_be_read() -> None:
    async with running(api_faults=ApiFaults(overlap_s=10.0)) as here:
        here.cloud.sim.notifications.announce_close()
        await until(lambda: len(here.seen) == 2)
        assert here.last.source == "lost"
        await here.strategy.request(True)
        await until(lambda: here.last == Observation(CONNECTED, True, "event"))
        assert [one.source for one in here.seen] == ["read", "lost", "event"]


async def test_a_starved_channel_is_found_out_by_reading_and_replaced() -> None:
    async with running(api_faults=ApiFaults(starved_channels=1), starved_after_s=3600.0) as here:
        await here.strategy.request(True)
        await anyio.sleep(0.02)
        assert (await here.strategy.read()).muted is True
        assert len(here.seen) == 1  # and nothing was told; it may still come, so nothing is done yet
        await anyio.sleep(0.05)
        assert here.cloud.sim.notifications.channels_made == 1
        here.cloud.clock.skip(3600.0)
        await here.strategy.read()
        await until(lambda: here.cloud.sim.notifications.channels_made == 2)
        await until(lambda: here.last.source == "lost")
        await here.strategy.request(False)
        await until(lambda: here.last == Observation(CONNECTED, False, "event"))


async def test_without_the_permission_for_events_it_says_what_does_without() -> None:
    faults = ApiFaults(rejected_topics=((".conversations.calls", "conversation:communication:view"),))
    async with cloud(legs=[leg()], api_faults=faults) as there:
        said = await run_fails(there, Forbidden)
        assert "conversation:communication:view" in said
        assert "confirmed_by='read'" in said
    async with cloud(legs=[leg()], user="supervisor") as there:
        said = await run_fails(there, Forbidden)
        assert "another user's" in said


async def test_one_channel_serves_several_strategies() -> None:
    legs = [leg("a", user_id="a", conversation_id="c1"), leg("b", user_id="b", conversation_id="c2")]
    async with (
        cloud(legs=legs) as there,
        Notifications(there.api, config=PATIENT, clock=there.clock) as notifications,
        anyio.create_task_group() as tasks,
    ):
        seen: dict[str, list[Observation]] = {"a": [], "b": []}
        strategies = {
            user: ConversationsStrategy(there.api, user_id=user, notifications=notifications, clock=there.clock)
            for user in seen
        }
        for user, strategy in strategies.items():
            ready = anyio.Event()
            tasks.start_soon(strategy.run, seen[user].append, ready.set)
            await ready.wait()
        await strategies["b"].request(True)
        await until(lambda: seen["b"][-1].muted)
        assert [one.muted for one in seen["a"]] == [False]
        assert there.sim.notifications.channels_made == 1
        tasks.cancel_scope.cancel()


async def test_reads_that_fail_for_a_while_are_repeated_and_one_for_good_is_the_end() -> None:
    async with cloud(legs=[leg()], api_faults=ApiFaults(api_refusals=((503, "service.unavailable"),) * 3)) as there:
        seen: list[Observation] = []
        strategy = make(there)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strategy.run, seen.append, lambda: None)
            await until(lambda: seen)
            with pytest.raises(StateError):
                await strategy.run(seen.append, lambda: None)
            tasks.cancel_scope.cancel()
        assert seen == [Observation(CONNECTED, False, "read")]
    refused = ApiFaults(api_refusals=((403, "missing.permissions"),))
    async with cloud(legs=[leg()], api_faults=refused) as there:
        await run_fails(there, Forbidden)


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint": "tutorial"},
        {"confirmed_by": "hope"},
        {"policy": "first"},
        {"shape": "round"},
        {"starved_after_s": -1.0},
        {"leg_max_age_s": 4000.0},
    ],
)
def test_settings_are_checked_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ConversationsConfig(**settings)


def test_client_credentials_need_to_be_told_whom_to_mute() -> None:  # 000-11
    api: Any = None
    with pytest.raises(ConfigError, match="user_id is needed"):
        ConversationsStrategy(api)
