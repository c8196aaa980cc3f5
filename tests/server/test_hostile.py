"""What strangers and broken clients do: answered by the protocol, and felt by nobody else."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

import anyio
import pytest

from gcmedia import AudioHookConfig, HandshakeError, ServerConfig
from gcmedia.dialects.audiohook import SignatureConfig, events
from gcmedia.errors import ConnectionLost
from gcmedia.transport.websocket import WebSocket

from .dialer import API_KEY, KEYS, PATIENCE_S, dial, server_of, settled, upgrade_headers, upgraded

pytestmark = pytest.mark.anyio

QUICK = SignatureConfig(failure_delay_s=0.05)
SLOW = SignatureConfig(failure_delay_s=0.3)


async def heard(websocket: WebSocket) -> dict[str, Any]:
    with anyio.fail_after(PATIENCE_S):
        message: dict[str, Any] = json.loads(await websocket.receive())
        return message


async def refused(port: int, headers: dict[str, str]) -> int:
    with pytest.raises(HandshakeError) as error:
        async with upgraded(port, headers):
            pass
    return error.value.status


def spoilt(port: int) -> dict[str, dict[str, str]]:
    good = upgrade_headers(port)
    return {
        "short signature": good | {"Signature": "sig1=:AAAA:"},
        "long signature": good | {"Signature": f"sig1=:{'A' * 400}:"},
        "no base64": good | {"Signature": "sig1=:!!!!:"},
        "wrong signature": good | {"Signature": f"sig1=:{'A' * 43}=:"},
        "unknown key": upgrade_headers(port, api_key="nobody"),
        "other target": upgrade_headers(port) | {"Audiohook-Correlation-Id": "e160e428-53e2-487c-977d-96989bf5c99d"},
        "unsigned": upgrade_headers(port, secret=None),
        "half signed": {name: value for name, value in good.items() if name != "Signature"},
        "no structure": good | {"Signature-Input": "((("},
    }


async def test_no_bad_signature_gets_in_nor_brings_anything_down(transport: str) -> None:
    async with server_of(transport=transport, signatures=QUICK) as server, dial(server) as neighbour:
        port = server.address[1]
        for name, headers in spoilt(port).items():
            assert await refused(port, headers) == 401, name
        replayed = upgrade_headers(port)
        async with upgraded(port, replayed):
            pass
        assert await refused(port, replayed) == 401
        await neighbour.audio(2)
        await neighbour.ping()
        await neighbour.hang_up()
    assert server.counters.upgrades["verified"] == 2
    assert server.counters.upgrades["replayed"] == 1


async def test_a_refusal_says_nothing_and_waits(transport: str) -> None:
    async with server_of(transport=transport, signatures=SLOW) as server:
        for headers in (spoilt(server.address[1])["unknown key"], spoilt(server.address[1])["wrong signature"]):
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            began = anyio.current_time()
            async with await anyio.connect_tcp("127.0.0.1", server.address[1]) as stream:
                await stream.send(
                    f"GET /hook?a=1 HTTP/1.1\r\nHost: 127.0.0.1:{server.address[1]}\r\n{lines}Upgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
                )
                answer = b""
                with anyio.fail_after(PATIENCE_S):
                    async for octets in stream:
                        answer += octets
            assert anyio.current_time() - began > 0.29
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 401 ")
            assert body == b""


async def test_the_protocol_can_say_unauthorized_instead(transport: str) -> None:
    config = ServerConfig(unauthorized="session")
    async with server_of(transport=transport, signatures=QUICK, config=config) as server:
        port = server.address[1]
        async with upgraded(port, spoilt(port)["wrong signature"]) as websocket:
            await websocket.send('{"version":"2","type":"open","id":"x","seq":1}')
            message = await heard(websocket)
            assert message["type"] == "disconnect"
            assert message["parameters"]["reason"] == "unauthorized"
            assert API_KEY not in json.dumps(message)
        assert server.counters.opened == 0


async def test_garbage_ends_one_session_by_the_protocol_s_own_answer(transport: str) -> None:
    async with server_of(transport=transport) as server, dial(server) as neighbour:
        for garbage in ("{", "[]", "null", "\x00", '{"version":"1"}', "x" * 70_000, '{"type":' + "[" * 50_000):
            async with dial(server) as dialer:
                await dialer.websocket.send(garbage)
                disconnecting = await dialer.until(events.Disconnecting)
                assert disconnecting.reason == "error"
                assert len(disconnecting.info) < 200
                await dialer.until(events.Closed)
            await neighbour.ping()
        await neighbour.hang_up()
    assert server.counters.failed["protocol"] == 7


@pytest.mark.parametrize("n_octets", [65_538, 70_000, 200_000])
async def test_a_frame_that_is_too_long_is_answered_and_the_server_lives(transport: str, n_octets: int) -> None:
    async with server_of(transport=transport) as server, dial(server) as neighbour:
        async with dial(server) as dialer:
            await dialer.audio(1, 64_000)
            await dialer.websocket.send(bytes(n_octets))
            assert (await dialer.until(events.Disconnecting)).reason == "error"
            await dialer.until(events.Closed)
        await neighbour.audio(1)
        await neighbour.ping()
        await neighbour.hang_up()


async def test_a_message_beyond_all_measure_closes_its_connection_alone(transport: str) -> None:
    async with server_of(transport=transport) as server, dial(server) as neighbour:
        async with dial(server) as dialer:
            with suppress(ConnectionLost):
                await dialer.websocket.send(bytes(4 << 20))
            assert await dialer.gone() in (1006, 1009)
        await neighbour.ping()
        await neighbour.hang_up()
        await settled(lambda: not server.sessions)


async def test_half_a_sample_does_not_kill_a_session_silently(transport: str) -> None:
    async with server_of(transport=transport) as server, dial(server) as dialer:
        await dialer.websocket.send(bytes(161))
        assert (await dialer.until(events.Disconnecting)).reason == "error"
        await dialer.until(events.Closed)


async def test_a_connection_that_asks_for_nothing_is_ended(transport: str) -> None:
    async with server_of(transport=transport, config=ServerConfig(head_timeout_s=0.3)) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.address[1]) as mute:
            with anyio.fail_after(PATIENCE_S), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await mute.receive()
        await settled(lambda: server.listener.n_open == 0)


async def test_a_session_that_is_never_opened_is_ended(transport: str) -> None:
    protocol = AudioHookConfig(open_timeout_s=0.3, close_timeout_s=0.3)
    async with server_of(transport=transport, config=ServerConfig(close_timeout_s=0.3), protocol=protocol) as server:
        async with upgraded(server.address[1]) as never_opened:
            assert (await heard(never_opened))["parameters"]["reason"] == "error"
            with anyio.fail_after(PATIENCE_S), pytest.raises(ConnectionLost):
                await never_opened.receive()
        await settled(lambda: not server.sessions and server.listener.n_open == 0)


async def test_a_session_that_falls_silent_is_ended(transport: str) -> None:
    protocol = AudioHookConfig(idle_timeout_s=0.8, close_timeout_s=0.3)
    async with server_of(transport=transport, config=ServerConfig(close_timeout_s=0.3), protocol=protocol) as server:
        async with dial(server) as dialer:
            await dialer.until(events.Disconnecting)
            await dialer.gone()
        await settled(lambda: not server.sessions and server.listener.n_open == 0)


async def test_room_is_limited_in_all_and_for_each_key(transport: str) -> None:
    config = ServerConfig(max_sessions=3, max_sessions_per_key=2)
    async with server_of(transport=transport, config=config, keys={**KEYS, "other": KEYS[API_KEY]}) as server:
        port = server.address[1]
        async with dial(server) as one, dial(server):
            assert await refused(port, upgrade_headers(port)) == 503
            async with upgraded(port, upgrade_headers(port, api_key="other")):
                assert await refused(port, upgrade_headers(port, api_key="other")) == 503
            await settled(lambda: server.n_sessions == 2)
            await one.hang_up()
            await settled(lambda: server.n_sessions == 2 or server.n_sessions == 1)
        await settled(lambda: not server.sessions)
        async with dial(server) as again:
            await again.hang_up()
    assert server.counters.upgrades["too many sessions of a key"] == 1
    assert server.counters.upgrades["too many sessions"] == 1


async def test_connections_that_are_no_websockets_are_limited(transport: str) -> None:
    async with server_of(transport=transport, config=ServerConfig(max_waiting=3)) as server:
        socks = [socket.create_connection(server.address) for _ in range(6)]
        await settled(lambda: server.listener.n_cut >= 3)
        for sock in socks:
            sock.close()
        await settled(lambda: server.listener.n_waiting == 0)
        async with dial(server) as dialer:
            await dialer.hang_up()


async def test_a_storm_of_dials_is_let_in_in_its_turn(transport: str) -> None:
    n_dials = 60
    async with server_of(transport=transport, config=ServerConfig(max_waiting=4)) as server:
        everybody = anyio.Event()

        async def one() -> None:
            async with dial(server) as dialer:
                if server.counters.opened == n_dials:
                    everybody.set()
                await everybody.wait()
                await dialer.audio(1)
                await dialer.hang_up()

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                for _ in range(n_dials):
                    tasks.start_soon(one)
    assert server.counters.upgrades == {"verified": n_dials}
    assert server.counters.ended == {"end": n_dials}


async def test_silence_gives_way_where_there_is_no_room(transport: str) -> None:
    async with server_of(transport=transport, config=ServerConfig(max_waiting=3)) as server:
        silent = [socket.create_connection(server.address) for _ in range(3)]
        await settled(lambda: server.listener.n_waiting == 3)
        async with dial(server) as dialer:  # long before their time for the request is over
            assert server.listener.n_cut >= 1
            await dialer.hang_up()
        for sock in silent:
            sock.close()


async def test_other_requests_get_an_answer(transport: str) -> None:
    async with server_of(transport=transport) as server:
        for request, status in (
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
            (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9000 + b"\r\n\r\n", b"431"),
        ):
            async with await anyio.connect_tcp(*server.address) as stream:
                await stream.send(request)
                with anyio.fail_after(PATIENCE_S):
                    assert (await stream.receive()).split(b" ")[1] == status


async def test_keys_may_come_from_whoever_is_asked(transport: str) -> None:
    async def keys(api_key: str) -> str | None:
        await anyio.sleep(0.01)
        if api_key == "broken":
            raise RuntimeError("the database is gone")
        if api_key == "slow":
            await anyio.sleep(3600)
        return KEYS.get(api_key)

    config = ServerConfig(key_timeout_s=1.0)
    async with server_of(transport=transport, keys=keys, signatures=QUICK, config=config) as server:
        port = server.address[1]
        async with dial(server) as dialer:
            await dialer.audio(1)
            await dialer.hang_up()
        assert await refused(port, upgrade_headers(port, api_key="nobody")) == 401
        assert await refused(port, upgrade_headers(port, api_key="broken")) == 503
        assert await refused(port, upgrade_headers(port, api_key="slow")) == 503
