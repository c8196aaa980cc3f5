"""Interactions over a perfect network: every sample is what was sent, whoever takes it and however it is sharded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

import gcmedia
from gcmedia import ConfigError, GateConfig, MediaStreamsConfig, StateError, TooManyStreams, capture_streams
from gcmedia.media_streams import MediaFrame
from gcmedia.record import read_wav
from gcmedia.record.audit import verify_audit
from gcmedia.simulator import Call, Faults, Simulator, StreamsPlan
from tests.reference.g711 import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode

from .running import assert_accounted, capturing, clouded, interactions, patient, run

pytestmark = pytest.mark.anyio

CALL = Call.demo(seconds=2)
FULL = StreamsPlan(replies="full")


def material(call: Call, codec: str) -> bytes:
    encode, decode = {"pcmu": (ulaw_encode, ulaw_decode), "pcma": (alaw_encode, alaw_decode)}[codec]
    return bytes(decode(encode(call.pcm(8000, 1)[:, 0])).astype(np.int16).tobytes())


@pytest.mark.parametrize("replies", ["media", "full"])
@pytest.mark.parametrize("codec", ["pcmu", "pcma"])
async def test_003_24_every_sample_is_the_sender_s(codec: str, replies: str) -> None:
    """003-08: without any answer the first packet stands for one.  003-19: packets are JSON with base64."""
    plan = StreamsPlan(replies=replies, name_codec=replies == "media")
    # Where nobody tells the end it is found by looking the interaction up once it falls silent.
    idle = {} if replies == "full" else {"idle_timeout_s": 20.0}
    names = interactions(3)
    found = await run(names, CALL, None, plan, profile=patient(codecs=(codec,), **idle))
    assert found.error is None
    for name in names:
        stream = found.streams[name]
        assert found.pcm(name) == material(CALL, codec)
        assert (stream.state, stream.codec, stream.decoded) == ("ended", codec, True)
        assert_accounted(found, name)


async def test_003_24_a_codec_that_the_server_does_not_name_is_assumed_and_said_to_be() -> None:
    events: list[dict[str, Any]] = []
    profile = patient(codecs=("pcmu",), idle_timeout_s=20.0)
    found = await run(["a"], CALL, None, StreamsPlan(), profile=profile, on_event=events.append)
    assert found.pcm("a") == material(CALL, "pcmu")
    (subscribed,) = [event for event in events if event["kind"] == "subscribed"]
    assert subscribed["assumed"] is True


async def test_003_20_frames_are_160_samples_whatever_the_packets_are() -> None:
    """003-27: with id, number, time, verdict and payload."""
    call = Call.demo(seconds=2, packet_ms=30)
    found = await run(["a"], call, None, FULL)
    assert found.pcm("a") == material(call, "pcmu")
    frames = found.frames["a"]
    assert {len(bytes(frame.payload)) for frame in frames[:-1]} == {320}
    first = frames[0]
    assert (first.interaction_id, first.position, first.concealed, first.decoded) == ("a", 0, False, True)
    assert isinstance(first.is_silent, bool)
    assert first.processed_at > 1.7e9


async def test_003_09_more_than_fifty_are_spread_over_connections_and_each_counts_once() -> None:
    call = Call.demo(seconds=0.2)
    names = interactions(120)
    found = await run([*names, *names], call, None, FULL)
    assert len(found.streams.streams) == 120
    assert len(found.cloud.journal.connections) == 3
    assert {stream.state for stream in found.streams} == {"ended"}
    for name in names:
        assert_accounted(found, name)


async def test_003_09_more_than_all_connections_can_carry_are_refused_before_anything_is_done() -> None:
    with pytest.raises(TooManyStreams, match="101 interactions, but room for 100: 2 connections of 50 each"):
        capture_streams(interactions(101), token="t", region="us-east-1", profile=MediaStreamsConfig(max_connections=2))


async def test_003_09_the_limit_is_cumulative_over_later_subscriptions() -> None:
    profile = patient(max_interactions=3, max_connections=2)
    async with (
        clouded(Call.demo(seconds=20), speed=20.0) as cloud,
        capturing(cloud, ["a", "b"], profile=profile, overflow="drop_oldest") as streams,
    ):
        assert await streams.add(["b", "c", "d"]) == {"b": None, "c": None, "d": None}
        assert sorted(len(connection.wanted) for connection in streams.connections) == [1, 3]
        with pytest.raises(TooManyStreams, match="3 interactions, but room for 2"):
            await streams.add(["e", "f", "g"])
        assert len(streams.streams) == 4
        assert "e" not in cloud.conversations


async def test_003_08_the_subscription_has_exactly_the_published_shape() -> None:
    from gcmedia.dialects.media_streams import subscription

    message = json.loads(subscription(["one", "two"], codecs=["opus", "pcmu"]))
    assert message == {
        "interactions": [
            {"interactionId": name, "mediaType": "voice", "codecPreferences": ["opus", "pcmu"]}
            for name in ("one", "two")
        ]
    }


async def test_003_07_the_token_goes_into_the_header_and_003_06_the_path_is_the_published_one() -> None:
    async with Simulator(CALL, speed=None, token_in="header", media_streams=FULL) as cloud:
        async with capturing(cloud, ["a"]) as streams:
            async for _ in streams:
                pass
        paths = [exchange.path for exchange in cloud.journal.requests if exchange.status == 101]
        assert paths == ["/api/v2/media/streams"]
        assert cloud.media_streams_url.endswith(paths[0])


@pytest.mark.parametrize(
    ("region", "template", "url"),
    [
        ("us-east-1", "{media_url}/api/v2/media/streams", "wss://api.mypurecloud.com/api/v2/media/streams"),
        ("eu-west-1", "wss://media.{aws}.mypurecloud.com/x", "wss://media.eu-west-1.mypurecloud.com/x"),
        ("usw2", "wss://media.{domain}/x", "wss://media.usw2.pure.cloud/x"),
    ],
)
def test_003_06_the_url_is_a_template_over_the_region(region: str, template: str, url: str) -> None:
    """003-03: one region object has all hosts."""
    streams = capture_streams(["a"], token="t", region=region, profile=MediaStreamsConfig(url=template))
    assert streams.url == url


def test_003_06_a_token_goes_to_no_other_host_unasked() -> None:
    profile = MediaStreamsConfig(url="wss://media.example.org/x")
    with pytest.raises(ConfigError, match=r"the token would go to wss://media.example.org/x"):
        capture_streams(["a"], token="t", region="us-east-1", profile=profile)
    with pytest.raises(ConfigError, match="it may hold"):
        capture_streams(["a"], token="t", region="us-east-1", profile=MediaStreamsConfig(url="wss://{nothing}/"))
    streams = capture_streams(["a"], token="t", region="us-east-1", profile=profile, allow_custom_host=True)
    assert streams.url == profile.url


@pytest.mark.parametrize("names", [[], "abc", ["a", " "], ["x" * 201]])
def test_003_09_ids_are_checked(names: Any) -> None:
    with pytest.raises(ConfigError, match="interaction"):
        capture_streams(names, token="t", region="us-east-1")


async def test_003_37_ids_are_trimmed() -> None:
    streams = capture_streams([" a", "a ", "b\n"], token="t", region="us-east-1", max_frames=10)
    assert streams._names == ["a", "b"]


async def test_003_13_nothing_is_asked_before_it_is_entered() -> None:
    streams = capture_streams(["a"], token="t", region="us-east-1")
    with pytest.raises(StateError, match="new"):
        await streams.add(["b"])
    await streams.stop()
    assert streams.state == "new"


async def test_003_01_each_interaction_is_recorded_in_a_folder_of_its_own(tmp_path: Path) -> None:
    names = ["a", "b c+d"]
    found = await run(names, CALL, None, FULL, record_to=tmp_path, gate=GateConfig())
    assert found.error is None
    for name, expected in zip(names, ["a", "b%20c%2Bd"], strict=True):
        folder = found.streams[name].folder
        assert folder == tmp_path / expected
        assert read_wav(folder / "raw-mixed.wav").data == material(CALL, "pcmu")
        assert read_wav(folder / "clean-mixed.wav").data == found.pcm(name)
        assert verify_audit(folder / "audit.jsonl") > 2


async def test_interactions_come_and_go_while_others_run() -> None:
    async with clouded(Call.demo(seconds=20), speed=20.0) as cloud:
        async with capturing(cloud, ["a"], overflow="drop_oldest") as streams:
            assert await streams.add(["b"]) == {"b": None}
            async for frame in streams:
                if frame.interaction_id == "b" and frame.position > 1600:
                    break
            await streams.remove(["a"])
            assert streams["a"].state == "ended"
            at = streams["a"].stats()
            assert at.balanced
            async for frame in streams:
                if frame.interaction_id == "b" and frame.position > 8000:
                    break
            assert streams["b"].state == "live"
            assert streams["a"].stats() == at
            assert len(cloud.journal.connections) == 1
            with pytest.raises(KeyError):
                await streams.remove(["never"])
        with pytest.raises(StateError, match="over"):
            await streams.add(["c"])
        assert streams["b"].stats().balanced


async def test_one_that_is_kept_open_waits_for_interactions_to_come() -> None:
    async with clouded(Call.demo(seconds=2), speed=20.0) as cloud:
        async with capturing(cloud, [], keep_open=True, max_frames=0) as streams:
            assert streams.state == "live"
            for name in "ab":
                assert await streams.add([name]) == {name: None}
                assert [frame.position async for frame in streams[name]][-1] == 15_840
                assert streams[name].state == "ended"
            assert streams.state == "live"
        assert streams.state == "ended"


async def test_frames_of_one_interaction_alone() -> None:
    names = interactions(2)
    async with clouded(CALL, speed=50.0) as cloud:
        async with capturing(cloud, names, max_frames=0) as streams:
            with pytest.raises(StateError, match="max_frames is 0"):
                await anext(streams)
            stream = streams[names[1]]
            positions = [frame.position async for frame in stream]
            assert positions == sorted(positions)
            assert positions[-1] == CALL.n_samples - 160
        assert streams.dropped == 0


async def test_pausing_one_leaves_the_others_alone() -> None:
    async with clouded(Call.demo(seconds=4), speed=20.0) as cloud:
        async with capturing(cloud, ["a", "b"], overflow="drop_oldest") as streams:
            with pytest.raises(ConfigError, match="drop"):
                await streams["a"].pause("buffer")
            await streams["a"].pause()
            async for frame in streams:
                if frame.interaction_id == "b" and frame.position > 16_000:
                    break
            await streams["a"].resume()
            async for _ in streams:
                pass
        for name in "ab":
            assert streams[name].stats().balanced
            assert streams[name].stats().total_samples == 32_000
        assert streams["a"].stats().packets_discarded > 50
        assert streams["b"].stats().packets_discarded == 0


async def test_stopping_hands_out_what_has_come_and_is_clean() -> None:
    async with clouded(Call.demo(seconds=20), speed=20.0) as cloud:
        frames: list[MediaFrame] = []
        async with capturing(cloud, interactions(3)) as streams:
            async for frame in streams:
                frames.append(frame)
                if frame.position == 16_000:
                    await streams.stop()
        assert {stream.state for stream in streams} == {"ended"}
        for stream in streams:
            assert stream.stats().balanced
            assert stream.stats().packets_buffered == 0
            mine = [one for one in frames if one.interaction_id == stream.interaction_id]
            assert sum(len(bytes(one.payload)) // 2 for one in mine) == stream.stats().total_samples


async def test_cancellation_from_outside_is_clean() -> None:
    async with clouded(Call.demo(seconds=20), speed=20.0) as cloud:
        with anyio.CancelScope() as scope:
            async with capturing(cloud, interactions(3)) as streams:
                async for frame in streams:
                    if frame.position >= 8000:
                        scope.cancel()
        assert scope.cancelled_caught
        assert all(stream.stats().balanced for stream in streams)


async def test_leaving_at_once_is_clean() -> None:
    async with clouded(CALL) as cloud:
        async with capturing(cloud, interactions(2)) as streams:
            pass
        assert streams.state == "ended"
        with pytest.raises(StateError, match="captured once"):
            await streams.__aenter__()


async def test_003_18_timestamps_wrap_and_begin_anywhere() -> None:
    """003-28: sequence numbers of 16 bits wrap too, and nothing is lost by it."""
    call = Call.demo(seconds=3, first_sequence_number=65_536 * 3 - 40)
    for unit, bits in (("samples", 16), ("samples", 32), ("ms", 16)):
        plan = StreamsPlan(replies="full", sequence_bits=bits, timestamp_unit=unit)
        profile = patient(sequence_bits=bits, timestamp_unit=unit)
        found = await run(["a"], call, Faults(seed=bits), plan, profile=profile)
        stats = found.streams["a"].stats()
        assert found.pcm("a") == material(call, "pcmu")
        assert (stats.packets_lost, stats.resets, stats.timestamp_jumps) == (0, 0, 0)


async def test_003_36_the_public_names_are_there_without_any_network_library() -> None:
    assert gcmedia.capture_streams is capture_streams
    assert gcmedia.MediaStreams.__name__ == "MediaStreams"
