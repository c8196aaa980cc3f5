"""The media socket, seen through the clients of websockets: admission, subscription, formats, endings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from gcmedia.simulator import Call, Disconnect, Faults, Simulator

from .loopback_client import (
    Received,
    bearer,
    connect,
    fetch_token,
    listen,
    listen_to_the_end,
    subscribe_without_reading,
)

pytestmark = pytest.mark.anyio

CALL = Call.demo(seconds=2.0)


async def refusal(cloud: Simulator, url: str | None = None, **options: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url or cloud.media_url, **options):
            pass
    return caught.value


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the journal is read, it does not signal
        await anyio.sleep(0.01)


async def test_a_whole_call_arrives_then_1000() -> None:
    async with Simulator({"conv-1": CALL}, speed=None) as cloud:
        received = await listen(cloud)
        truth = cloud.truth("conv-1")
    assert received.messages[0] == json.dumps(
        {
            "type": "ack",
            "conversationId": "conv-1",
            "format": "raw",
            "sampleRate": 16000,
            "timestamp": truth.start_timestamp_ms,
        }
    )
    assert len(received.packets) == truth.packets_sent == truth.packets_generated == 100
    assert received.numbers == [(truth.first_sequence_number + n) % 2**32 for n in range(100)]
    assert [packet[1] for packet in received.packets] == [truth.start_timestamp_ms + 20 * n for n in range(100)]
    ended = received.of_type("ack")[-1]
    assert ended == {"type": "ack", "status": "ended", "timestamp": truth.start_timestamp_ms + truth.duration_ms}
    assert received.close_code == 1000
    assert truth.ended
    assert truth.packets_undelivered == 0


async def test_two_channels_apart_in_the_named_order() -> None:
    async with Simulator(CALL, speed=None) as cloud:
        both = await listen(cloud, "a", sampleRate=8000, channels=2)
        mixed = await listen(cloud, "b", sampleRate=8000)
    assert both.of_type("ack")[0]["channels"] == ["external", "internal"]
    assert "channels" not in mixed.of_type("ack")[0]
    apart = np.frombuffer(b"".join(packet[2] for packet in both.packets), dtype="<i2").reshape(-1, 2)
    np.testing.assert_array_equal(apart, CALL.pcm())
    assert np.any(apart[:, 1])
    sums = np.frombuffer(b"".join(packet[2] for packet in mixed.packets), dtype="<i2")
    np.testing.assert_array_equal(sums, apart.sum(axis=1))


@pytest.mark.parametrize(("encoding", "octets"), [("raw", 320), ("pcmu", 160), ("pcma", 160)])
async def test_formats(encoding: str, octets: int) -> None:
    async with Simulator(CALL, speed=None) as cloud:
        received = await listen(cloud, sampleRate=8000, format=encoding)
        wide = await listen(cloud, "other", sampleRate=16000, format=encoding)
    assert {len(packet[2]) for packet in received.packets} == {octets}
    assert {len(packet[2]) for packet in wide.packets} == {2 * octets}


async def test_packed12_and_json_layouts_carry_the_same() -> None:
    calls = {"conv-1": CALL}
    async with Simulator(calls, speed=None) as a, Simulator(calls, speed=None, layout="packed12", ack="bare") as b:
        padded, packed = await listen(a), await listen(b)
    async with Simulator(calls, speed=None, layout="json") as c:
        text = await listen(c)
    assert packed.messages[0] == '{"type": "ack"}'
    binary = [message for message in packed.messages if isinstance(message, bytes)]
    assert binary == [
        number.to_bytes(4, "little") + timestamp.to_bytes(8, "little") + audio
        for number, timestamp, audio in padded.packets
    ]
    media = text.of_type("media")
    assert [(item["seq"], item["timestamp"]) for item in media] == [packet[:2] for packet in padded.packets]
    assert all(isinstance(message, str) for message in text.messages)


async def test_the_token_may_travel_in_header_or_query_where_allowed() -> None:
    async with Simulator(CALL, speed=None, token_in="header") as cloud:
        token = await fetch_token(cloud)
        in_query = f"{cloud.media_url}?access_token={token}"
        assert (await refusal(cloud, in_query)).response.status_code == 401
    async with Simulator(CALL, speed=None, token_in="query") as cloud:
        token = await fetch_token(cloud)
        assert (await refusal(cloud, additional_headers=bearer(token))).response.status_code == 401
        async with connect(f"{cloud.media_url}?access_token={token}"):
            pass


async def test_upgrades_are_refused_without_a_token_that_holds() -> None:
    async with Simulator(CALL, Faults(token_lifetime_s=0), speed=None) as cloud:
        none = await refusal(cloud)
        unknown = await refusal(cloud, additional_headers=bearer("nonsense"))
        expired = await refusal(cloud, additional_headers=bearer(await fetch_token(cloud)))
    assert [r.response.status_code for r in (none, unknown, expired)] == [401, 401, 401]
    codes = [json.loads(bytes(r.response.body))["code"] for r in (none, unknown, expired)]
    assert codes == ["authentication.required", "bad.credentials", "bad.credentials"]


async def test_ordered_refusals_of_upgrade_and_subscription() -> None:
    faults = Faults(upgrade_refusals=(403, 429, 503), subscribe_refusals=(404, 503), retry_after_s=3)
    async with Simulator(CALL, faults, speed=None) as cloud:
        refused = [await refusal(cloud, additional_headers=bearer("any")) for _ in range(3)]
        first, second, third = [await listen(cloud) for _ in range(3)]
        ends = [connection.end for connection in cloud.journal.connections]
    assert [r.response.status_code for r in refused] == [403, 429, 503]
    assert [r.response.headers.get("Retry-After") for r in refused] == [None, "3", "3"]
    assert first.of_type("error") == [
        {"type": "error", "status": 404, "code": "not.found", "message": "The subscription was refused."}
    ]
    assert (first.close_code, second.close_code, third.close_code) == (1008, 1013, 1000)
    assert ends == ["refused", "refused", "ended"]


@pytest.mark.parametrize(
    "subscription",
    [
        {"conversationId": 7},
        {"conversationId": ""},
        {"type": "hello"},
        {"format": "opus"},
        {"format": ["raw"]},
        {"sampleRate": 44100},
        {"sampleRate": True},
        {"channels": 3},
        {"conversationId": "unknown"},
    ],
    ids=json.dumps,
)
async def test_a_wrong_subscription_is_refused(subscription: dict[str, Any]) -> None:
    status = 404 if subscription.get("conversationId") == "unknown" else 400
    async with Simulator({"conv-1": CALL}, speed=None) as cloud:
        async with connect(cloud.media_url, additional_headers=bearer(await fetch_token(cloud))) as websocket:
            await websocket.send(json.dumps({"type": "subscribe", "conversationId": "conv-1", **subscription}))
            error = json.loads(await websocket.recv())
        assert (error["type"], error["status"]) == ("error", status)
        assert (await listen(cloud)).close_code == 1000  # others are served as before


async def test_no_json_no_subscription() -> None:
    async with (
        Simulator(CALL, speed=None) as cloud,
        connect(cloud.media_url, additional_headers=bearer(await fetch_token(cloud))) as websocket,
    ):
        await websocket.send(b"\xff\xfe")
        assert json.loads(await websocket.recv())["status"] == 400


async def test_an_ended_call_is_gone_until_rewound() -> None:
    async with Simulator(CALL, speed=None) as cloud:
        first = await listen(cloud)
        again = await listen(cloud)
        cloud.rewind("conv-1")
        second = await listen(cloud)
    assert again.of_type("error")[0]["status"] == 404
    assert second.messages == first.messages


async def test_a_newer_subscription_takes_the_call_over() -> None:
    older: list[Received] = []
    async with Simulator({"conv-1": Call.demo(seconds=4.0)}, speed=4.0) as cloud, anyio.create_task_group() as tasks:
        token = await fetch_token(cloud)  # the call lasts a second: nothing that takes its time is left to do in it

        async def listen_first() -> None:
            older.append(await listen(cloud, token=token))

        tasks.start_soon(listen_first)
        await until(lambda: cloud.journal.counts.get("packet", 0) >= 5)
        newer = await listen(cloud, token=token)
        truth = cloud.truth("conv-1")
        ends = [connection.end for connection in cloud.journal.connections]
    assert (older[0].close_code, newer.close_code) == (1008, 1000)
    assert truth.packets_generated == 200 == len(older[0].packets) + len(newer.packets) + truth.packets_undelivered
    assert newer.numbers[-1] == (truth.first_sequence_number + 199) % 2**32
    assert ends == ["replaced", "ended"]


async def test_pings_are_answered_and_other_messages_ignored() -> None:
    async with (
        Simulator({"conv-1": CALL}, speed=1.0) as cloud,
        connect(cloud.media_url, additional_headers=bearer(await fetch_token(cloud))) as websocket,
    ):
        await websocket.send(json.dumps({"type": "subscribe", "conversationId": "conv-1"}))
        for _ in range(40):
            await websocket.send("more words")
        pong = await websocket.ping()
        await (pong.wait() if hasattr(pong, "wait") else pong)
        assert cloud.journal.pings == 1
        await until(lambda: cloud.journal.connections[0].messages_ignored == 40)


async def test_broken_clients_disturb_nobody() -> None:
    async with Simulator({"conv-1": Call.demo(seconds=4.0)}, speed=20.0) as cloud:
        port = int(cloud.base_url.rpartition(":")[2])
        token = await fetch_token(cloud)
        received = []

        async def good() -> None:
            received.append(await listen(cloud, token=token))

        upgrade = (
            "GET /api/v2/platform/media HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Authorization: Bearer {token}\r\nSec-WebSocket-Version: 13\r\n"
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(good)
            for octets, answer in [
                (b"\x16\x03\x01 no http \r\n\r\n", b"HTTP/1.1 400"),
                (b"GET / HTTP/1.1\r\nHost: x\r\nBig: " + b"x" * 20_000, b"HTTP/1.1 431"),
                (b"", b""),
                (b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nonly", b""),
                (upgrade.encode() + b"\r\n", b"HTTP/1.1 400"),  # no key
                (
                    upgrade.encode() + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\xff\xff\xff",
                    b"HTTP/1.1 101",
                ),
            ]:
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    if octets:
                        await stream.send(octets)
                    await stream.send_eof()
                    said = b""
                    with anyio.move_on_after(5):
                        try:
                            while True:
                                said += await stream.receive()
                        except (anyio.EndOfStream, anyio.BrokenResourceError):
                            pass
                    assert said.startswith(answer)
        assert received[0].close_code == 1000
        assert len(received[0].packets) == 200
        assert cloud.journal.failures == 0


async def test_a_client_that_leaves_finds_the_call_where_it_was() -> None:
    async with Simulator({"conv-1": Call.demo(seconds=4.0)}, speed=4.0) as cloud:
        token = await fetch_token(cloud)
        async with await subscribe_without_reading(cloud, token=token):
            await until(lambda: cloud.journal.counts.get("packet", 0) >= 20)
        rest = await listen(cloud, token=token)
        truth = cloud.truth("conv-1")
    assert truth.packets_generated == 200 == truth.packets_sent + truth.packets_undelivered
    assert rest.numbers[-1] == (truth.first_sequence_number + 199) % 2**32
    assert truth.holes == ()


async def test_a_reader_that_stalls_is_dropped_by_a_paced_cloud() -> None:
    call = Call({"external": np.zeros(16_000, np.int16)}, sample_rate=16000, repeat=600)
    async with Simulator(call, speed=10_000.0, write_timeout_s=0.3) as cloud:
        async with await subscribe_without_reading(cloud, channels=2):
            with anyio.fail_after(60):
                await until(lambda: bool(cloud.journal.connections and cloud.journal.connections[0].end))
        assert cloud.journal.connections[0].end == "stalled"
        truth = cloud.truth("conv-1")
    assert truth.packets_undelivered > 0
    assert not truth.ended


async def test_leaving_the_simulator_closes_connections_with_1001_in_bounded_time() -> None:
    codes = []
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def listener(cloud: Simulator) -> None:
                codes.append((await listen(cloud)).close_code)

            async with Simulator({"conv-1": Call.demo()}, speed=1.0) as cloud:
                tasks.start_soon(listener, cloud)
                await until(lambda: cloud.journal.counts.get("packet", 0) >= 2)
    assert codes == [1001]


async def test_a_live_call_goes_on_while_nobody_listens() -> None:
    faults = Faults(disconnects=(Disconnect(400, "abnormal", 100),))
    async with Simulator({"conv-1": Call.demo(seconds=10.0)}, faults, speed=20.0, live=True) as cloud:
        await listen(cloud)
        await anyio.sleep(0.1)  # 2 s of the call
        await listen(cloud)
        (hole,) = cloud.truth("conv-1").holes
    assert hole.start_ms == 400
    assert hole.length_ms >= 1980


async def test_revoked_tokens_need_a_new_one() -> None:
    faults = Faults(disconnects=(Disconnect(1000, "close:1012", 100),), revoke_tokens_on_disconnect=True)
    async with Simulator({"conv-1": CALL}, faults, speed=None) as cloud:
        token = await fetch_token(cloud)
        assert (await listen(cloud, token=token)).close_code == 1012
        assert (await refusal(cloud, additional_headers=bearer(token))).response.status_code == 401
        assert (await listen_to_the_end(cloud))[-1].close_code == 1000
        fresh = await fetch_token(cloud)
        cloud.revoke_tokens()
        assert (await refusal(cloud, additional_headers=bearer(fresh))).response.status_code == 401
