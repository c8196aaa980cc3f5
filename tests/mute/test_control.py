"""`MuteControl`: its life, its waiters, its subscribers, and the state that it gives back."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path

import anyio
import pytest

from gcmedia.auth import TokenProvider
from gcmedia.clock import ScaledClock
from gcmedia.config import InteractiveSessionsConfig, MuteConfig, ReconnectConfig, WebchatEdgeConfig
from gcmedia.errors import (
    ConfigError,
    InvalidAudioStateError,
    MissingCredentials,
    MuteError,
    NoActiveCall,
    ReconnectExhausted,
    RetryExhausted,
    StateError,
)
from gcmedia.mute import (
    STRATEGIES,
    InteractiveSessions,
    MuteControl,
    MuteEvent,
    MuteResult,
    MuteStatus,
    WebchatEdge,
    edge_url,
    open_mute,
)
from gcmedia.record import AuditLog, verify_audit
from gcmedia.simulator import Faults, MuteFaults
from tests.mute.conftest import AGENT, Cloud, CloudMaker, agent_leg, until

pytestmark = pytest.mark.anyio

QUICK = MuteConfig(coalesce_s=0.0, min_interval_s=0.0, read_interval_s=0.0, base_s=0.02, confirm_timeout_s=2.0)


def edge(cloud: Cloud, config: WebchatEdgeConfig | None = None) -> WebchatEdge:
    url = edge_url("us-east-1", base=cloud.simulator.edge_url)
    return WebchatEdge(url, cloud.tokens, "conv-1", config, reconnect=ReconnectConfig(attempts=2, base_s=0.01))


def sessions(cloud: Cloud) -> InteractiveSessions:
    return InteractiveSessions(cloud.api, AGENT)


# Life


async def test_a_control_serves_once_and_only_within_its_context(cloud: CloudMaker) -> None:
    async with cloud() as place:
        control = MuteControl(edge(place), QUICK)
        with pytest.raises(StateError, match="this control is new"):
            await control.mute()
        async with control:
            await control.mute()
            with pytest.raises(StateError, match="this control is open"):
                await control.__aenter__()
        with pytest.raises(StateError, match="this control is closed"):
            await control.unmute()


async def test_001_32_leaving_ends_all_that_waits(cloud: CloudMaker) -> None:
    outcomes: list[object] = []

    async def wait_for(control: MuteControl) -> None:
        try:
            outcomes.append(await control.mute())
        except StateError as error:
            outcomes.append(error)

    async with cloud(mute_faults=MuteFaults(effect_loss=1.0)) as place, anyio.create_task_group() as tasks:
        way = sessions(place)
        async with MuteControl(way, QUICK) as control:
            tasks.start_soon(wait_for, control)
            await until(lambda: bool(place.leg.asked))
    assert [str(one) for one in outcomes] == ["this control is closed"]


async def test_the_end_of_the_strategy_is_told_to_all_and_nothing_is_confirmed_any_more(cloud: CloudMaker) -> None:
    async with cloud() as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            assert (await control.mute()).ok
            events = control.events()
            place.leg.order(MuteFaults(cuts=1.0))
            place.simulator._platform.refusals["upgrade"].extend([503] * 10)
            with pytest.raises((ReconnectExhausted, RetryExhausted)):
                await control.unmute()
            assert isinstance(await control.wait_failed(), ReconnectExhausted)
            assert control.state.unknown
            with pytest.raises(ReconnectExhausted):
                await control.mute()
            with pytest.raises(ReconnectExhausted):
                async for _ in events:
                    pass


async def test_000_20_no_wait_is_without_an_end(cloud: CloudMaker) -> None:
    """A server that takes a request and never answers: a listener that accepts and says nothing."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with cloud() as place, listener:
        from gcmedia.auth import BearerAuth
        from gcmedia.transport.api import ApiClient

        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        config = MuteConfig(coalesce_s=0.0, request_timeout_s=0.05, attempts=2, base_s=0.01)
        async with ApiClient(f"http://127.0.0.1:{port}", BearerAuth(place.tokens)) as api:
            way = InteractiveSessions(api, AGENT)
            async with MuteControl(way, config) as control:
                with pytest.raises(MuteError, match="no answer to a read over interactive-sessions within"):
                    await control.mute()


# Wishes


async def test_000_39_of_many_wishes_at_once_the_last_wins(cloud: CloudMaker) -> None:
    results: list[MuteResult] = []
    wishes: list[bool] = []
    async with cloud() as place:
        way = sessions(place)
        config = MuteConfig(coalesce_s=1.0)  # longer than a busy machine takes to wish so often
        async with MuteControl(way, config) as control, anyio.create_task_group() as tasks:
            await control.refresh()

            async def wish(muted: bool) -> None:
                wishes.append(muted)
                results.append(await control.set_muted(muted))

            for number in range(101):
                tasks.start_soon(wish, number % 2 == 0)
                await anyio.lowlevel.checkpoint()
        assert len(results) == 101
        assert MuteStatus.SUPERSEDED in {result.status for result in results}
        assert sum(result.ok for result in results) >= 1
        assert place.muted is wishes[-1]
        assert len(place.leg.asked) <= 1


async def test_a_cancelled_waiter_harms_no_other(cloud: CloudMaker) -> None:
    async with cloud(mute_faults=MuteFaults(effect_delay_s=(0.2, 0.2))) as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control, anyio.create_task_group() as tasks:
            results: list[MuteResult] = []

            async def patient() -> None:
                results.append(await control.mute())

            tasks.start_soon(patient)
            with anyio.move_on_after(0.05):
                await control.mute()
            await until(lambda: bool(results))
        assert results[0].status is MuteStatus.CONFIRMED


async def test_000_33_001_19_toggle_flips_what_is_confirmed_and_refuses_on_unknown(cloud: CloudMaker) -> None:
    async with cloud(agent_leg(muted=True)) as place:
        way = sessions(place)
        async with MuteControl(way, QUICK) as control:
            with pytest.raises(MuteError, match="unknown"):
                await control.toggle()
            await control.refresh()
            assert (await control.toggle()).muted is False
            assert (await control.toggle()).muted is True
        assert place.muted


# What was before


async def test_002_27_muted_within_and_as_before_after(cloud: CloudMaker) -> None:
    async with cloud() as place:
        way = sessions(place)
        async with MuteControl(way, QUICK) as control:
            async with control.muted() as result:
                assert result.status is MuteStatus.CONFIRMED
                assert place.muted
            assert not place.muted
            await control.mute()
            async with control.muted() as result:
                assert result.status is MuteStatus.ALREADY
            assert place.muted


async def test_002_27_an_error_within_gives_the_state_back_and_comes_through(cloud: CloudMaker) -> None:
    async with cloud() as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            await until(lambda: not control.state.unknown)
            with pytest.raises(ZeroDivisionError):
                async with control.muted():
                    raise ZeroDivisionError
            assert [muted for _, muted in place.leg.asked] == [True, False]
            assert not place.muted


async def test_002_27_a_cancellation_within_gives_the_state_back(cloud: CloudMaker) -> None:
    async with cloud() as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            await until(lambda: not control.state.unknown)
            with anyio.move_on_after(0.1):
                async with control.muted():
                    await anyio.sleep_forever()
            assert not place.muted


async def test_002_27_000_32_what_a_supervisor_changed_meanwhile_stays(cloud: CloudMaker) -> None:
    async with cloud(agent_leg(muted=True)) as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            await until(lambda: not control.state.unknown)
            async with control.muted():
                place.supervise(False)
                await until(lambda: control.state.confirmed is False)
            assert not place.muted
            async with control.muted():
                await control.unmute()
                await control.mute()  # a newer wish than the block's own
            assert place.muted


async def test_002_27_what_could_not_be_confirmed_is_undone(
    cloud: CloudMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gcmedia.mute")
    async with cloud(mute_faults=MuteFaults(event_loss=1.0)) as place:
        way = edge(place)
        async with MuteControl(way, MuteConfig(coalesce_s=0.0, confirm_timeout_s=0.1)) as control:
            with pytest.raises(MuteError, match="timeout"):
                async with control.muted(restore_to=False):
                    raise AssertionError("went in without being muted")
            assert not place.muted
    assert "could not be restored" in caplog.text  # for want of an event about that too


async def test_a_state_before_that_is_unknown_cannot_be_given_back(cloud: CloudMaker) -> None:
    async with cloud(agent_leg(state="idle")) as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            with pytest.raises(MuteError, match="restore_to"):
                async with control.muted():
                    raise AssertionError("went in")


# Subscribers


async def test_000_02_000_30_a_subscription_ends_with_its_handle_and_is_not_doubled(
    cloud: CloudMaker, caplog: pytest.LogCaptureFixture
) -> None:
    async with cloud() as place:
        way = sessions(place)
        async with MuteControl(way, QUICK) as control:
            heard: list[MuteEvent] = []

            def fail(event: MuteEvent) -> None:
                raise ZeroDivisionError

            first, second = control.subscribe(heard.append), control.subscribe(heard.append)
            control.subscribe(fail)
            assert first is second
            with first:
                await control.mute()
            count = len(heard)
            assert [event.state.confirmed for event in heard if event.state.confirmed is not None][-1] is True
            await control.unmute()
            assert len(heard) == count
            first.close()
    assert "a subscriber to mute events failed" in caplog.text


async def test_subscriptions_are_limited(cloud: CloudMaker) -> None:
    async with cloud() as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            for number in range(1000):
                control.subscribe(partial(print, number))
            with pytest.raises(StateError, match="1000 subscriptions"):
                control.subscribe(print)


async def test_events_can_be_iterated_and_a_slow_reader_loses_the_oldest(cloud: CloudMaker) -> None:
    async with cloud() as place:
        way = edge(place)
        async with MuteControl(way, QUICK) as control:
            await until(lambda: not control.state.unknown)
            stream = control.events(max_items=2)
            for muted in (True, False, True):
                await control.set_muted(muted)
        states = [event.state.confirmed async for event in stream]
        assert len(states) == 2
        assert stream.dropped > 0


# By name


async def test_000_04_002_02_each_way_can_be_opened_by_name_with_credentials_or_a_token(cloud: CloudMaker) -> None:
    async with cloud() as place:
        for name in ("webchat-edge", "interactive-sessions"):
            async with open_mute(
                name, conversation_id="conv-1", user_id=AGENT, credentials=place.credentials, clock=ScaledClock(2.0)
            ) as control:
                assert (await control.mute()).ok
                assert (await control.unmute()).ok
        async with open_mute(
            "interactive-sessions", user_id=AGENT, token=await place.tokens.token(), region=place.simulator.base_url
        ) as control:
            assert not (await control.refresh()).confirmed


async def test_000_03_002_03_a_scope_can_be_asked_for_where_a_server_wants_one(cloud: CloudMaker) -> None:
    async with cloud() as place:
        for scope in ("conversation:write webchat:write interaction:read", "session:write session:read"):
            async with TokenProvider(place.credentials, scope=scope, auth_style="body") as tokens:
                way = InteractiveSessions(place.api, AGENT)
                async with MuteControl(way, QUICK) as control:
                    assert await tokens.token()
                    assert (await control.refresh()).confirmed is False


async def test_000_10_002_06_a_token_endpoint_that_falters_is_asked_again(cloud: CloudMaker) -> None:
    async with cloud(faults=Faults(token_refusals=(503, 429), retry_after_s=0.0)) as place:
        async with open_mute("interactive-sessions", user_id=AGENT, credentials=place.credentials) as control:
            assert (await control.mute()).ok
            assert (await control.unmute()).ok
        assert place.simulator.journal.token_requests == 3  # two refused, then one for all requests


async def test_what_is_missing_or_does_not_fit_is_said(cloud: CloudMaker) -> None:
    async with cloud() as place:
        for settings, words in (
            ({"strategy": "telepathy"}, f"not one of {', '.join(STRATEGIES)}"),
            ({"strategy": "interactive-sessions", "user_id": ""}, "user_id is empty"),
            ({"strategy": "interactive-sessions", "profile": WebchatEdgeConfig()}, "takes a InteractiveSessionsConfig"),
            ({"strategy": "webchat-edge", "profile": InteractiveSessionsConfig()}, "takes a WebchatEdgeConfig"),
            ({"strategy": "webchat-edge", "token": "t"}, "either token or credentials"),
        ):
            with pytest.raises(ConfigError, match=words):
                async with open_mute(
                    **{"user_id": AGENT, "conversation_id": "conv-1", "credentials": place.credentials} | settings  # type: ignore[arg-type]
                ):
                    raise AssertionError("opened")
        with pytest.raises(MissingCredentials, match="region"):
            async with open_mute("webchat-edge", token="t", conversation_id="c"):
                raise AssertionError("opened")


# Results


@pytest.mark.parametrize("status", MuteStatus)
def test_000_28_check_lets_only_certainty_pass(status: MuteStatus) -> None:
    result = MuteResult(status, True, 0.5, 1, None)
    if status in (MuteStatus.CONFIRMED, MuteStatus.ALREADY):
        assert result.check() is result
    else:
        with pytest.raises(NoActiveCall if status is MuteStatus.CALL_ENDED else MuteError):
            result.check()


# Audit


async def test_001_16_each_wish_and_each_foreign_change_is_put_down_with_the_conversation(
    cloud: CloudMaker, tmp_path: Path
) -> None:
    trail = tmp_path / "audit.jsonl"
    async with cloud() as place:
        with_audit = AuditLog(trail, "us-east-1")
        async with MuteControl(sessions(place), QUICK, audit=with_audit, interaction_id="conv-1") as control:
            await control.mute()
            place.supervise(False)
            await control.refresh()
            place.move("disconnected")
            with pytest.raises((NoActiveCall, InvalidAudioStateError)):
                (await control.mute()).check()
        with_audit.close()
    verify_audit(trail)
    lines = [json.loads(line) for line in trail.read_text().splitlines()]
    told = [(line["action"], line["outcome"]) for line in lines]
    assert told[:2] == [("mute", "confirmed"), ("unmute", "external")]
    assert told[2][0] == "mute"
    assert told[2][1] not in ("confirmed", "already")
    assert all(line["interactionId"] == "conv-1" and line["privacyCompliant"] for line in lines)
    assert lines[0]["strategy"] == "interactive-sessions"
    assert lines[0]["attempts"] == 1
