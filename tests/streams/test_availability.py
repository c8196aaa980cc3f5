"""Whether media can still be had: asked before, judged by the server's clock, asked again when it refuses."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import anyio
import httpx
import pytest
from websockets.sync.server import ServerConnection

from gcmedia import (
    ConfigError,
    ConnectionLost,
    GcmediaError,
    MediaNotAvailable,
    MediaStreamsConfig,
    RemoteProtocolError,
)
from gcmedia.auth import StaticToken
from gcmedia.config import ReconnectConfig
from gcmedia.media_streams import capture_streams
from gcmedia.media_streams.availability import Availability, Lookup
from gcmedia.simulator import Call, Faults, StreamsPlan
from gcmedia.transport.http import HttpClient
from tests.capture.conftest import ScriptedServer
from tests.clocks import HurriedClock

from .running import SPEED, Run, capturing, clouded, patient, run

pytestmark = pytest.mark.anyio

CALL = Call.demo(seconds=1)
CALLS = {"a": CALL, "b": CALL}
Scripted = Callable[..., ScriptedServer]


def look_ups(found: Run) -> list[tuple[str, int]]:
    requests = found.cloud.journal.requests
    return [(one.path.rpartition("/")[2], one.status) for one in requests if "/conversations/" in one.path]


@pytest.mark.parametrize("skew_s", [0.0, 3600.0, -3600.0])
async def test_003_10_media_is_there_for_a_minute_after_the_end_by_the_server_s_clock(skew_s: float) -> None:
    plan = StreamsPlan(replies="full", ended_ago_s={"a": 30.0, "b": 90.0}, clock_skew_s=skew_s)
    found = await run(["a", "b"], CALLS, None, plan)
    assert found.error is None
    assert found.streams["a"].stats().packets_played == CALL.n_packets
    error = found.streams.errors["b"]
    assert isinstance(error, MediaNotAvailable)
    assert (error.interaction_id, error.code) == ("b", "expired")
    assert re.search(r"ended (89|9\d) s ago", str(error))
    assert sorted(found.cloud.conversations) == ["a", "b"]  # looked up, and never asked for
    assert not [one for one in found.cloud.journal.records if one.conversation_id == "b"]


@pytest.mark.parametrize(("elapsed_s", "verdict"), [(0, "ended"), (60, "ended"), (61, "expired"), (-5, "ended")])
async def test_003_10_the_last_second_of_the_window_is_inside(elapsed_s: int, verdict: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        end = "2026-01-01T00:00:00Z"
        return httpx.Response(
            200, json={"endTime": end}, headers={"Date": formatdate(1_767_225_600 + elapsed_s, usegmt=True)}
        )

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        lookup = Lookup(
            HttpClient(client), StaticToken("t"), "https://api.test", MediaStreamsConfig(), HurriedClock(SPEED)
        )
        assert await lookup("a") == Availability(verdict, max(0, elapsed_s))


async def test_003_11_one_that_cannot_be_had_leaves_the_others_alone() -> None:
    found = await run(["a", "nobody", "b"], CALLS, None, StreamsPlan(replies="full"))
    assert found.error is None
    assert set(found.frames) == {"a", "b"}
    assert {name: stream.state for name, stream in found.streams.streams.items()} == {
        "a": "ended", "nobody": "failed", "b": "ended",
    }  # fmt: skip
    error = found.streams.errors["nobody"]
    assert isinstance(error, MediaNotAvailable)
    assert error.code == "notFound"
    assert sorted(look_ups(found)) == [("a", 200), ("b", 200), ("nobody", 404)]


async def test_003_11_strict_makes_one_that_cannot_be_had_everybody_s_matter() -> None:
    found = await run(["a", "nobody"], CALLS, None, StreamsPlan(replies="full"), strict=True)
    assert isinstance(found.error, MediaNotAvailable)
    assert found.error.interaction_id == "nobody"
    assert found.frames == {}
    assert {stream.state for stream in found.streams} == {"ended", "failed"}


async def test_003_11_when_none_can_be_had_entering_says_why() -> None:
    found = await run(["x", "y"], CALLS, None, StreamsPlan(replies="full"))
    assert isinstance(found.error, MediaNotAvailable)
    assert found.streams.state == "failed"
    assert not found.cloud.journal.connections


async def test_003_11_no_more_look_ups_at_once_than_allowed() -> None:
    at_once = highest = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal at_once, highest
        at_once += 1
        highest = max(highest, at_once)
        await anyio.sleep(0.002)
        at_once -= 1
        return httpx.Response(200, json={})

    names = [str(number) for number in range(30)]
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client,
        clouded(CALL) as cloud,
        capturing(cloud, names, profile=patient(max_checks=4), http_client=client) as streams,
    ):
        async for _ in streams:
            pass
    assert highest == 4


async def test_003_11_a_look_up_that_fails_forbids_nothing() -> None:
    """Retry-After is honoured; what cannot be asked is left to the subscription to show."""
    asked: list[str] = []
    events: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        asked.append(name)
        if name == "a" and asked.count("a") == 1:
            return httpx.Response(429, headers={"Retry-After": "7"})
        return httpx.Response(200, json={}) if name == "a" else httpx.Response(403 if name == "b" else 503)

    calls = dict.fromkeys("abc", CALL)
    started = time.monotonic()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client, clouded(calls) as cloud:
        async with capturing(cloud, ["a", "b", "c"], http_client=client, on_event=events.append) as streams:
            async for _ in streams:
                pass
        assert not streams.errors
    assert time.monotonic() - started >= 7 / SPEED
    assert [asked.count(name) for name in "abc"] == [2, 1, 3]
    unknown = {event["interactionId"]: event["reason"] for event in events if event["kind"] == "availability_unknown"}
    assert unknown == {"b": "the look-up was answered with 403", "c": "the look-up was answered with 503"}


async def test_003_10_looking_up_can_be_left_out() -> None:
    found = await run(
        ["a", "nobody"],
        CALLS,
        None,
        StreamsPlan(replies="full"),
        profile=patient(check_availability=False, rechecks=1, recheck_delay_s=0.1),
    )
    assert look_ups(found) == []
    error = found.streams.errors["nobody"]
    assert isinstance(error, MediaNotAvailable)
    assert error.code == "mediaNotAvailable"


@pytest.mark.parametrize("refused", [1, 3])
async def test_003_12_media_that_is_not_available_yet_is_asked_for_again(refused: int) -> None:
    events: list[dict[str, Any]] = []
    plan = StreamsPlan(replies="full", refused={"b": refused})
    found = await run(["a", "b"], CALLS, None, plan, on_event=events.append)
    assert not found.streams.errors
    assert found.streams["b"].stats().packets_played == CALL.n_packets
    assert [event["reason"] for event in events if event["kind"] == "refused"] == ["mediaNotAvailable"] * refused
    assert look_ups(found).count(("b", 200)) == 1 + refused  # each time right before it is asked for
    assert look_ups(found).count(("a", 200)) == 1


async def test_003_12_asking_again_is_bounded() -> None:
    found = await run(["a", "b"], CALLS, None, StreamsPlan(replies="full", refused={"b": 100}))
    error = found.streams.errors["b"]
    assert isinstance(error, MediaNotAvailable)
    assert (error.code, error.interaction_id) == ("mediaNotAvailable", "b")
    assert len([one for one in found.cloud.journal.records if one.kind == "refused"]) == 4
    assert found.streams["a"].stats().packets_played == CALL.n_packets


async def test_003_12_another_refusal_is_told_as_what_it_is() -> None:
    found = await run(["a"], CALLS, Faults(subscribe_refusals=(403,)), StreamsPlan(replies="full"))
    assert isinstance(found.error, RemoteProtocolError)
    assert (found.error.status, found.error.code) == (403, "refused.by.order")
    found = await run(["a"], CALLS, Faults(subscribe_refusals=(503, 429)), StreamsPlan(replies="full"))
    assert found.error is None


async def test_003_09_what_the_server_has_no_room_for_is_told() -> None:
    found = await run(["a", "b"], CALLS, None, StreamsPlan(replies="full", max_interactions=1))
    (error,) = found.streams.errors.values()
    assert isinstance(error, MediaNotAvailable)
    assert error.code == "tooManyStreams"


# A server that follows a script


def media(name: str, number: int) -> str:
    payload = base64.b64encode(bytes([0xFF]) * 160).decode()
    return json.dumps({"interactionId": name, "sequenceNumber": number, "timestamp": 160 * number, "payload": payload})


def sends(*messages: str | bytes, code: int | None = 1000) -> Callable[[ServerConnection], None]:
    def script(websocket: ServerConnection) -> None:
        for message in messages:
            websocket.send(message)
        if code is None:
            for _ in websocket:
                pass
        else:
            websocket.close(code)

    return script


async def take_all(url: str, names: list[str], **options: Any) -> tuple[Any, list[Any], GcmediaError | None]:
    settings = {"check_availability": False, **options.pop("settings", {})}
    streams = capture_streams(
        names, token="t", region=url, profile=patient(**settings), clock=HurriedClock(SPEED), include_silence=True,
        reconnect=ReconnectConfig(attempts=2), **options,
    )  # fmt: skip
    frames: list[Any] = []
    try:
        async with streams:
            async for frame in streams:
                frames.append(frame)
    except GcmediaError as error:
        return streams, frames, error
    return streams, frames, None


async def test_003_08_a_server_that_says_nothing_is_left_and_asked_again(scripted: Scripted) -> None:
    server = scripted(sends(code=None), sends(*(media("a", number) for number in range(10))))
    streams, frames, error = await take_all(server.url, ["a"], settings={"ack_timeout_s": 20.0})
    assert error is None
    assert len(frames) == 10
    assert len(server.subscriptions) == 2
    assert server.subscriptions[0] == server.subscriptions[1]
    assert server.authorization == ["Bearer t"] * 2
    lost, over = [event for event in streams.events if event["kind"] == "disconnected"]
    assert (lost["code"], lost["cause"]) == (1006, "nothing came within 20 s")
    assert over["code"] == 1000


async def test_003_08_one_that_says_nothing_among_others_is_not_waited_for(scripted: Scripted) -> None:
    server = scripted(sends(*(media("a", number) for number in range(10)), code=None))
    streams = capture_streams(
        ["a", "b"], token="a-token", region=server.url, clock=HurriedClock(SPEED),
        profile=patient(check_availability=False, ack_timeout_s=20.0),
    )  # fmt: skip
    async with streams:
        assert streams["a"].state == "live"
        assert streams["b"].state == "waiting"
        assert streams.errors == {}


async def test_003_12_an_error_that_names_nobody_is_about_what_was_not_answered(scripted: Scripted) -> None:
    refusal = json.dumps({"status": 400, "code": "mediaNotAvailable", "message": "too late"})
    server = scripted(sends(media("a", 0), refusal, code=None))
    streams = capture_streams(
        ["a", "b"], token="a-token", region=server.url, clock=HurriedClock(SPEED),
        profile=patient(check_availability=False, rechecks=0),
    )  # fmt: skip
    async with streams:
        assert streams["a"].state == "live"
        error = streams.errors["b"]
        assert isinstance(error, MediaNotAvailable)
        assert str(error) == "the server does not give the media of b: too late"


async def test_003_38_an_error_of_the_connection_never_repeats_the_token(scripted: Scripted) -> None:
    said = json.dumps({"type": "error", "status": 401, "message": "token secret-token-123 is not known"})
    server = scripted(sends(said))
    streams = capture_streams(
        ["a"], token="secret-token-123", region=server.url, clock=HurriedClock(SPEED),
        profile=patient(check_availability=False),
    )  # fmt: skip
    with pytest.raises(RemoteProtocolError, match=r"token \*\*\* is not known") as caught:
        async with streams:
            pass
    assert caught.value.status == 401
    assert "secret-token-123" not in str(streams.events)


async def test_003_14_a_server_that_closes_as_meant_has_ended_what_it_sent(scripted: Scripted) -> None:
    server = scripted(sends(*(media("a", number) for number in range(5))))
    streams, frames, error = await take_all(server.url, ["a", "b"], settings={"ack_timeout_s": 1e4})
    assert error is None
    assert len(frames) == 5
    assert isinstance(streams.errors["b"], ConnectionLost)
    assert len(server.subscriptions) == 1


async def test_003_19_binary_audio_is_taken_where_it_was_said_that_it_comes(scripted: Scripted) -> None:
    audio = [bytes([0xFF]) * 160] * 5
    server = scripted(sends(*audio))
    streams, frames, error = await take_all(server.url, ["a"], settings={"binary_packets": True})
    assert error is None
    assert [frame.position for frame in frames] == [0, 160, 320, 480, 640]
    assert streams["a"].stats().packets_played == 5
    streams, frames, error = await take_all(server.url, ["a"])
    assert isinstance(error, ConnectionLost)
    assert frames == []
    events = [event for event in streams.events if event["kind"] == "malformed_message"]
    assert [event["reason"] for event in events] == ["binary message of 160 octets that is no JSON"]


async def test_003_24_a_codec_that_is_not_known_ends_that_stream_alone(scripted: Scripted) -> None:
    odd = json.dumps({**json.loads(media("b", 0)), "codec": "g729"})
    server = scripted(sends(media("a", 0), odd, media("a", 1), odd))
    streams, frames, error = await take_all(server.url, ["a", "b"])
    assert error is None
    assert len(frames) == 2
    assert "'g729'; known are" in str(streams.errors["b"])


@contextmanager
def refused(text: str) -> Iterator[None]:
    with pytest.raises(ConfigError, match=text):
        yield


def test_003_08_settings_are_checked() -> None:
    for text, settings in {
        "codecs is ()": {"codecs": ()},
        "codecs is 'opus'": {"codecs": "opus"},
        "codec is 'g729'": {"codecs": ("g729",)},
        "sequence_bits is 8": {"sequence_bits": 8},
        "timestamp_unit is 's'": {"timestamp_unit": "s"},
        "max_interactions is 0": {"max_interactions": 0},
        "rechecks is -1": {"rechecks": -1},
        "ping_interval_s is nan": {"ping_interval_s": float("nan")},
    }.items():
        with refused(text.replace("(", r"\(").replace(")", r"\)")):
            MediaStreamsConfig(**settings)  # type: ignore[arg-type]


def test_the_profile_has_the_published_numbers() -> None:
    """003-05, 003-09, 003-10, 003-16, 003-31: margin, streams, window, pings, metrics."""
    profile = MediaStreamsConfig()
    assert (profile.refresh_margin_s, profile.max_interactions, profile.availability_window_s) == (300.0, 50, 60.0)
    assert (profile.ping_interval_s, profile.throughput_period_s) == (30.0, 5.0)
