"""However it ends, nobody is left waiting, nothing is left running, and nothing secret has been told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.sync.server import ServerConnection

from gcmedia import MediaNotAvailable, ReconnectConfig, ReconnectExhausted, capture_streams
from gcmedia.simulator import AgentLeg, Call, Disconnect, Faults, Simulator, StreamsPlan
from tests.capture.conftest import ScriptedServer
from tests.clocks import HurriedClock

from .running import SPEED, capturing, clouded, interactions, patient, run

pytestmark = pytest.mark.anyio

FULL = StreamsPlan(replies="full")
Scripted = Callable[..., ScriptedServer]


def silent(websocket: ServerConnection) -> None:
    for _ in websocket:
        pass


async def test_cancellation_while_entering_is_clean(scripted: Scripted) -> None:
    server = scripted(silent)
    streams = capture_streams(
        ["a"], token="t", region=server.url, clock=HurriedClock(SPEED), profile=patient(check_availability=False)
    )
    with anyio.move_on_after(0.1) as scope:
        async with streams:
            raise AssertionError("nothing has answered")
    assert scope.cancelled_caught
    assert (streams.state, streams["a"].state) == ("ended", "ended")
    assert streams["a"].stats().balanced


async def test_stopping_during_a_back_off_is_clean() -> None:
    faults = Faults(disconnects=(Disconnect(500, "abnormal", 100),))
    waiting = ReconnectConfig(base_s=3600.0, cap_s=3600.0)
    async with clouded(Call.demo(seconds=2), faults, FULL) as cloud:
        async with capturing(cloud, interactions(2), reconnect=waiting) as streams:
            async for _ in streams:
                if all(stream.state == "reconnecting" for stream in streams):
                    await streams.stop()
        assert {stream.state for stream in streams} == {"ended"}
        assert all(stream.stats().balanced for stream in streams)
        assert streams.errors == {}


async def test_what_a_consumer_raises_comes_through_and_ends_the_capture() -> None:
    async with clouded(Call.demo(seconds=20), None, FULL, speed=20.0) as cloud:
        streams = capturing(cloud, ["a"])

        async def consume() -> None:
            async with streams:
                async for _ in streams:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await consume()
        assert streams["a"].state == "ended"


async def test_what_on_event_raises_ends_nothing() -> None:
    def fail(event: dict[str, Any]) -> None:
        raise RuntimeError("no")

    found = await run(["a"], Call.demo(seconds=1), None, FULL, on_event=fail)
    assert found.error is None
    assert found.streams["a"].stats().packets_played == 50


async def test_a_server_that_is_not_there_is_given_up(unused_tcp_port_url: str) -> None:
    streams = capture_streams(
        ["a", "b"], token="t", region=unused_tcp_port_url, clock=HurriedClock(SPEED),
        profile=patient(check_availability=False), reconnect=ReconnectConfig(attempts=2),
    )  # fmt: skip
    with pytest.raises(ReconnectExhausted, match="gave up after 2 reconnect attempts"):
        async with streams:
            pass
    assert set(streams.errors) == {"a", "b"}


@pytest.fixture
def unused_tcp_port_url() -> str:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_folder_that_cannot_be_written_ends_that_stream_alone(tmp_path: Path) -> None:
    call = Call.demo(seconds=1)
    assert (await run(["a"], call, None, FULL, record_to=tmp_path)).error is None
    found = await run(["a", "b"], call, None, FULL, record_to=tmp_path)
    assert found.error is None
    assert set(found.streams.errors) == {"a"}
    assert str(tmp_path / "a") in str(found.streams.errors["a"])
    assert found.streams["b"].stats().packets_played == 50


async def test_no_secret_is_told_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = iter(f"canary-token-{number}" for number in range(100))
    told: list[dict[str, Any]] = []
    streams = capture_streams(
        ["a"], token=lambda: next(tokens), region="http://127.0.0.1:9", clock=HurriedClock(SPEED),
        profile=patient(), reconnect=ReconnectConfig(attempts=1), audit_to=tmp_path / "audit.jsonl",
        on_event=told.append,
    )  # fmt: skip
    with pytest.raises(ReconnectExhausted) as caught:
        async with streams:
            pass
    found = await run(
        ["a", "nobody"], {"a": Call.demo(seconds=1)}, Faults(subscribe_refusals=(503,)), FULL, on_event=told.append
    )
    assert isinstance(found.streams.errors["nobody"], MediaNotAvailable)
    secret = found.cloud.client_secret
    # Not what the simulated server has to say, which shares the process.
    logged = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    texts = [*logged, repr(streams), str(caught.value), repr(told), (tmp_path / "audit.jsonl").read_text()]
    for text in texts:
        assert "canary-token" not in text
        assert secret not in text
        assert "Bearer " not in text


async def test_an_agents_call_is_over_when_its_audio_is_and_so_is_its_capture() -> None:
    """Nothing on the socket says so: the interaction is looked up when it falls silent."""
    leg = AgentLeg("leg-1", conversation_id="a", user_id="agent-1")
    async with Simulator({"a": Call.demo(seconds=1)}, speed=None, legs=[leg]) as cloud:
        streams = capturing(cloud, ["a"], profile=patient(idle_timeout_s=0.5 * SPEED))
        async with streams:
            n_frames = 0
            async for _ in streams:
                n_frames += 1
    assert n_frames == 50
    assert streams.errors == {}
    assert (streams["a"].state, leg.over) == ("ended", True)
