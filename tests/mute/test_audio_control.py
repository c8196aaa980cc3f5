"""The facade of the tutorial on the WebRTC client (rows 000-*)."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import anyio
import pytest

from gcmedia.config import MuteConfig, ReconnectConfig
from gcmedia.errors import ConfigError, InvalidAudioStateError, ReconnectExhausted, StateError
from gcmedia.mute import AudioControl, CallState, InteractiveSessions, MuteEvent, MuteStatus, WebchatEdge, edge_url
from gcmedia.simulator import MuteFaults
from tests.mute.conftest import AGENT, Cloud, CloudMaker, agent_leg, until

pytestmark = pytest.mark.anyio

QUICK = MuteConfig(coalesce_s=0.0, min_interval_s=0.0, read_interval_s=0.0, base_s=0.02, resync_s=0.1)


def edge(cloud: Cloud) -> WebchatEdge:
    url = edge_url("us-east-1", base=cloud.simulator.edge_url)
    return WebchatEdge(url, cloud.tokens, "conv-1", reconnect=ReconnectConfig(attempts=1, base_s=0.01))


async def test_000_14_000_27_000_34_initialize_then_mute_then_stop(cloud: CloudMaker) -> None:
    async with cloud() as place:
        async with AudioControl(lambda: edge(place), QUICK) as client:
            assert client.audio.state is CallState.IDLE
            assert not client.audio.can_mute
            with pytest.raises(StateError, match="initialize"):
                await client.audio.mute()
            await client.initialize()
            await client.initialize()
            await until(lambda: client.audio.can_mute)
            assert (await client.audio.mute()).status is MuteStatus.CONFIRMED
            assert client.audio.muted is True
            operation = client.audio.unmute  # taken off the client, as the tutorial does
            assert (await operation()).status is MuteStatus.CONFIRMED
            assert (await client.audio.toggle()).muted is True
            assert (await client.audio.set_muted(False)).ok  # 000-33: it sets, and says so
        assert client.audio.state is CallState.IDLE
        assert client.audio.muted is None


async def test_000_30_000_31_events_tell_the_state_and_what_the_server_confirmed(cloud: CloudMaker) -> None:
    states: list[CallState] = []
    mutes: list[bool] = []
    foreign: list[MuteEvent] = []
    async with cloud(agent_leg(state="ringing")) as place:
        async with AudioControl(lambda: InteractiveSessions(place.api, AGENT), QUICK) as client:
            client.audio.on("stateChange", states.append)
            handle = client.audio.on("muteStateChange", mutes.append)
            assert client.audio.on("muteStateChange", mutes.append) is handle
            client.audio.on("externalChange", foreign.append)
            await client.initialize()
            await until(lambda: states[-1:] == [CallState.RINGING])
            assert (await client.audio.mute()).ok  # 000-18: ringing allows it
            place.move("connected")
            place.supervise(False)
            await until(lambda: mutes == [False, True, False])
            assert len(foreign) == 1
            handle.close()
            place.supervise(True)
            await until(lambda: client.audio.muted is True)
            assert mutes == [False, True, False]
            place.move("disconnected")
            await until(lambda: client.audio.muted is None)
        assert states[:3] == [CallState.UNKNOWN, CallState.RINGING, CallState.CONNECTED]
        assert states[-1] is CallState.DISCONNECTED


async def test_000_19_000_38_muting_is_refused_before_the_call_is_there(cloud: CloudMaker) -> None:
    async with cloud(agent_leg(state="connecting")) as place:
        way = InteractiveSessions(place.api, AGENT)
        async with AudioControl(lambda: way, QUICK) as client:
            await client.initialize()
            await until(lambda: client.audio.state is CallState.CONNECTING)
            assert not client.audio.can_mute
            with pytest.raises(InvalidAudioStateError, match="while the call is connecting"):
                await client.audio.mute()


async def test_000_14_a_failed_initialisation_leaves_no_dead_client_and_can_be_repeated(cloud: CloudMaker) -> None:
    async with cloud() as place:
        place.simulator._platform.refusals["upgrade"].extend([503, 503])
        async with AudioControl(lambda: edge(place), QUICK) as client:
            with pytest.raises(ReconnectExhausted):
                await client.initialize()
            with pytest.raises(StateError):
                await client.audio.mute()
            await client.initialize()
            assert (await client.audio.mute()).ok


async def test_000_14_callers_share_one_attempt_and_one_that_is_cancelled_harms_no_other(cloud: CloudMaker) -> None:
    made: list[WebchatEdge] = []
    async with cloud() as place:

        def make() -> WebchatEdge:
            made.append(edge(place))
            return made[-1]

        async with AudioControl(make, QUICK) as client, anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def impatient() -> None:
                with scope:
                    await client.initialize()

            tasks.start_soon(impatient)
            await anyio.lowlevel.checkpoint()
            for _ in range(20):
                tasks.start_soon(client.initialize)
            scope.cancel()
        assert len(made) == 1


async def test_000_15_000_26_a_lost_server_is_told_and_initialize_connects_again(cloud: CloudMaker) -> None:
    states: list[CallState] = []
    retries: list[MuteEvent] = []
    config = replace(QUICK, attempts=10)  # the connection is given up before the wish
    async with cloud(mute_faults=MuteFaults(cuts=1.0)) as place, AudioControl(lambda: edge(place), config) as client:
        client.audio.on("stateChange", states.append)
        client.audio.on("retry", retries.append)
        await client.initialize()
        await until(lambda: client.audio.can_mute)
        place.simulator._platform.refusals["upgrade"].extend([503] * 10)
        with pytest.raises(ReconnectExhausted):
            await client.audio.mute()
        await until(lambda: states[-1] is CallState.DISCONNECTED)
        assert retries
        place.leg.order(MuteFaults())
        place.simulator._platform.refusals["upgrade"].clear()
        await client.initialize()
        assert (await client.audio.mute()).ok


async def test_events_are_known_and_limited_and_a_failing_handler_harms_nobody(
    cloud: CloudMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with cloud() as place:
        async with AudioControl(lambda: edge(place), QUICK) as client:
            with pytest.raises(ConfigError, match="'mutestatechange', not one of stateChange"):
                client.audio.on("mutestatechange", print)

            def fail(value: object) -> None:
                raise ZeroDivisionError

            client.audio.on("muteStateChange", fail)
            for number in range(100):
                client.audio.on("retry", partial(print, number))
            with pytest.raises(StateError, match="100 handlers"):
                client.audio.on("retry", print)
            await client.initialize()
            assert (await client.audio.mute()).ok
        with pytest.raises(StateError, match="async with"):
            await client.initialize()
    assert "a handler of muteStateChange failed" in caplog.text
