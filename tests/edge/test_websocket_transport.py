from __future__ import annotations

import base64
import hashlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import anyio
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

from gcmedia.clock import ScaledClock
from gcmedia.errors import ConfigError, ConnectionLost, HandshakeError, StateError, TransportError
from gcmedia.transport.websocket import connect, redact

from .conftest import Serve

pytestmark = pytest.mark.anyio

FAST = ScaledClock(50.0)  # the 20 s of a pong are 0.4 s,
OPENING_S = 3000.0  # and so long is as patient as a busy machine needs


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def accept(connection: socket.socket) -> str:
    """Answer the upgrade by hand; return what the client asked."""
    asked = b""
    while b"\r\n\r\n" not in asked:
        asked += connection.recv(4096)
    key = next(line.split(b": ")[1] for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )
    return asked.decode()


def until_gone(connection: socket.socket) -> None:
    connection.settimeout(10)
    while connection.recv(65536):
        pass


def until_close(connection: socket.socket) -> None:
    """Wait for the client's close frame; who returns then closes TCP, as a server should."""
    connection.settimeout(10)
    connection.recv(65536)


def everything_shown(error: BaseException) -> str:
    chain: list[str] = []
    item: BaseException | None = error
    while item is not None:
        chain += [repr(item), str(item), repr(vars(item))]
        item = item.__cause__ or item.__context__
    return "\n".join([*chain, *traceback.format_exception(error)])


async def test_text_and_binary_come_back_whole(serve_websocket: Serve) -> None:
    async with connect(serve_websocket(echo)) as websocket:
        for message in ("text \u00e9", b"", b"\x00" * 70_000, ""):
            await websocket.send(message)
            assert await websocket.receive() == message


async def test_headers_go_with_the_upgrade_and_compression_does_not(serve_websocket: Serve) -> None:
    def tell(connection: ServerConnection) -> None:
        assert connection.request is not None
        connection.send(json.dumps(dict(connection.request.headers.raw_items()) | {"path": connection.request.path}))

    url = serve_websocket(tell) + "/api/v2/platform/media?access_token=canary"
    async with connect(url, headers={"Authorization": "Bearer abc"}) as websocket:
        asked = json.loads(await websocket.receive())
    assert asked["Authorization"] == "Bearer abc"
    assert asked["path"] == "/api/v2/platform/media?access_token=canary"
    assert "Sec-WebSocket-Extensions" not in asked


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "done"), (1001, ""), (1011, "trouble"), (4001, "own")])
async def test_a_close_by_the_server_is_told_with_its_code(serve_websocket: Serve, code: int, reason: str) -> None:
    async with connect(serve_websocket(lambda connection: connection.close(code, reason))) as websocket:
        with pytest.raises(ConnectionLost) as caught:
            await websocket.receive()
        assert (caught.value.code, caught.value.reason) == (code, reason)
        assert str(code) in str(caught.value)
        with pytest.raises(ConnectionLost):
            await websocket.send("too late")


async def test_messages_before_the_close_are_all_received(serve_websocket: Serve) -> None:
    def talk(connection: ServerConnection) -> None:
        for n in range(50):
            connection.send(str(n))

    received = []
    async with connect(serve_websocket(talk), max_queue=4) as websocket:
        for _ in range(50):
            received.append(await websocket.receive())
        with pytest.raises(ConnectionLost) as caught:
            await websocket.receive()
    assert received == [str(n) for n in range(50)]
    assert caught.value.code == 1000


@pytest.mark.parametrize("reset", [False, True])
async def test_an_end_without_a_close_frame_is_1006(serve_raw: Serve, reset: bool) -> None:
    def vanish(connection: socket.socket) -> None:
        accept(connection)
        connection.sendall(Frame(Opcode.BINARY, b"last").serialize(mask=False))
        if reset:
            time.sleep(0.05)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    async with connect(serve_raw(vanish)) as websocket:
        assert await websocket.receive() == b"last"
        with pytest.raises(ConnectionLost, match="without a close frame") as caught:
            await websocket.receive()
    assert caught.value.code == 1006


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_a_refused_upgrade_tells_its_status(serve_websocket: Serve, status: int) -> None:  # 004-42
    def refuse(connection: ServerConnection, request: Request) -> Response:
        body = {"code": "bad.credentials", "message": f"no good: {request.path} {request.headers['Authorization']}"}
        response = connection.respond(HTTPStatus(status), json.dumps(body))
        response.headers["Retry-After"] = "7"
        response.headers["ININ-Correlation-Id"] = "c-1"
        return response

    url = f"{serve_websocket(echo, process_request=refuse)}/media?access_token=canary-1"
    headers = {"Authorization": "Bearer canary-2"}
    with pytest.raises(HandshakeError, match=f"answered the upgrade with {status}: bad.credentials") as caught:
        async with connect(url, headers=headers):
            pass
    assert (caught.value.status, caught.value.retry_after) == (status, 7.0)
    assert "c-1" in str(caught.value)
    assert "/media" in str(caught.value)
    assert "canary" not in everything_shown(caught.value)


async def test_a_refused_connection_is_a_transport_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/x"
    secret = f"{url}?access_token=canary"
    with pytest.raises(TransportError, match=f"cannot connect to {url}") as caught:
        async with connect(secret):
            pass
    assert "canary" not in everything_shown(caught.value)


async def test_an_unknown_name_is_a_transport_error() -> None:
    with pytest.raises(TransportError, match=r"cannot connect to wss://nowhere\.invalid"):
        async with connect("wss://nowhere.invalid/?access_token=canary"):
            pass


async def test_a_server_without_tls_is_a_transport_error(serve_websocket: Serve) -> None:
    url = serve_websocket(echo).replace("ws://", "wss://")
    with pytest.raises(TransportError, match="cannot connect to wss://127"):
        async with connect(url):
            pass


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-canary\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
async def test_a_server_of_another_protocol_is_a_transport_error(serve_raw: Serve, answer: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with pytest.raises(TransportError):
        async with connect(serve_raw(talk)):
            pass


async def test_a_silent_server_is_given_up_in_time(serve_raw: Serve) -> None:
    with pytest.raises(TransportError, match="did not open within 5 s"):
        async with connect(serve_raw(until_gone), open_timeout_s=5.0, clock=FAST):
            pass


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/?access_token=canary", "canary", "ws://", "ws://[canary", "ws://a..b/"]
)
async def test_what_is_no_websocket_url_is_a_config_error(url: str) -> None:
    with pytest.raises((ConfigError, TransportError)) as caught:
        async with connect(url):
            pass
    if "?" in url:
        assert "canary" not in everything_shown(caught.value)


async def test_a_peer_that_stops_answering_is_noticed(serve_raw: Serve) -> None:
    def freeze(connection: socket.socket) -> None:
        accept(connection)
        connection.sendall(Frame(Opcode.TEXT, b"hello").serialize(mask=False))
        gone.wait(10)  # takes nothing, answers nothing

    gone = threading.Event()
    async with connect(
        serve_raw(freeze), ping_interval_s=5.0, pong_timeout_s=5.0, open_timeout_s=OPENING_S, clock=FAST
    ) as websocket:
        assert await websocket.receive() == "hello"
        with pytest.raises(ConnectionLost, match="no pong within 5 s") as caught:
            await websocket.receive()
        assert caught.value.code == 1006
        assert websocket.latency_s is None
        gone.set()


async def test_pings_measure_the_round_trip(serve_websocket: Serve) -> None:  # 003-16
    clock = ScaledClock(100.0)
    patience: dict[str, Any] = {"open_timeout_s": 6000.0, "pong_timeout_s": 6000.0}
    async with connect(serve_websocket(echo), ping_interval_s=1.0, clock=clock, **patience) as websocket:
        assert websocket.latency_s is None
        with clock.fail_after(6000.0):
            while websocket.latency_s is None:
                await clock.sleep(1.0)
        assert 0.0 < websocket.latency_s < 6000.0


async def test_a_message_at_the_limit_passes_and_one_beyond_ends_it(serve_websocket: Serve) -> None:
    def talk(connection: ServerConnection) -> None:
        connection.send(b"x" * 100_000)
        connection.send(b"x" * 100_001)
        connection.recv()

    async with connect(serve_websocket(talk), max_message_octets=100_000) as websocket:
        assert len(await websocket.receive()) == 100_000
        with pytest.raises(ConnectionLost) as caught:
            await websocket.receive()
    assert caught.value.code == 1009


@pytest.mark.parametrize("size", [2**20 + 1, 2**32, 2**63 - 1])
async def test_a_64_bit_length_is_refused_before_the_payload_comes(serve_raw: Serve, size: int) -> None:
    def boast(connection: socket.socket) -> None:
        accept(connection)
        connection.sendall(b"\x82\x7f" + size.to_bytes(8))
        until_close(connection)

    async with connect(serve_raw(boast), open_timeout_s=OPENING_S, clock=FAST) as websocket:
        with pytest.raises(ConnectionLost) as caught:
            await websocket.receive()
    assert caught.value.code == 1009


async def test_fragments_count_together(serve_raw: Serve) -> None:  # 004-01
    def split(connection: socket.socket) -> None:
        accept(connection)
        for opcode, data, fin in (
            (Opcode.BINARY, b"a", False),
            (Opcode.PING, b"", True),
            (Opcode.CONT, b"b", False),
            (Opcode.CONT, b"c", True),
            (Opcode.BINARY, b"x" * 600, False),
            (Opcode.CONT, b"x" * 600, True),
        ):
            connection.sendall(Frame(opcode, data, fin).serialize(mask=False))
        until_close(connection)

    async with connect(serve_raw(split), max_message_octets=1000, open_timeout_s=OPENING_S, clock=FAST) as websocket:
        assert await websocket.receive() == b"abc"
        with pytest.raises(ConnectionLost) as caught:
            await websocket.receive()
    assert caught.value.code == 1009


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        pytest.param(b"\x83\x00", 1002, id="reserved opcode"),
        pytest.param(b"\xc2\x00", 1002, id="reserved bit"),
        pytest.param(b"\x81\x02\xc3\x28", 1007, id="not UTF-8"),
        pytest.param(b"\x80\x00", 1002, id="continuation of nothing"),
    ],
)
async def test_a_broken_frame_ends_the_connection_with_its_code(serve_raw: Serve, octets: bytes, code: int) -> None:
    def talk(connection: socket.socket) -> None:
        accept(connection)
        connection.sendall(octets)
        until_close(connection)

    async with connect(serve_raw(talk), open_timeout_s=OPENING_S, clock=FAST) as websocket:
        with pytest.raises(ConnectionLost, match=f"closed here with {code}") as caught:
            await websocket.receive()
    assert caught.value.code == code


async def test_a_reader_who_waits_holds_the_sender_back(serve_websocket: Serve) -> None:
    sent = 0
    count = 2000

    def flood(connection: ServerConnection) -> None:
        nonlocal sent
        for n in range(count):
            connection.send(n.to_bytes(4) + bytes(32_000))
            sent += 1

    async with connect(serve_websocket(flood), max_queue=8) as websocket:
        before = -1
        while before != sent:
            before = sent
            await anyio.sleep(0.1)
        assert sent < count  # 64 MB fit into no socket buffer
        for n in range(count):
            message = await websocket.receive()
            assert isinstance(message, bytes)
            assert message[:4] == n.to_bytes(4)
    assert sent == count


async def test_leaving_with_a_full_queue_does_not_hang(serve_websocket: Serve) -> None:
    def flood(connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(bytes(32_000))
        except Exception:
            pass  # the client has gone

    url = serve_websocket(flood, close_timeout=0.1)
    async with connect(url, max_queue=2, open_timeout_s=OPENING_S, clock=FAST):
        await anyio.sleep(0.05)


async def test_closing_is_bounded_when_the_peer_takes_nothing(serve_raw: Serve) -> None:
    gone = threading.Event()

    def freeze(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        accept(connection)
        gone.wait(60)

    async with connect(serve_raw(freeze), open_timeout_s=OPENING_S, clock=FAST) as websocket:
        with FAST.move_on_after(10.0) as scope:
            while True:
                await websocket.send(bytes(1_000_000))
        assert scope.cancelled_caught
        with anyio.fail_after(30):  # half as long as the peer stays
            await websocket.aclose()
        gone.set()


async def test_closing_twice_is_fine_and_receive_tells_who_closed(serve_websocket: Serve) -> None:
    async with connect(serve_websocket(echo)) as websocket:
        await websocket.aclose(1000, "bye")
        await websocket.aclose()
        with pytest.raises(ConnectionLost, match="closed here with 1000") as caught:
            await websocket.receive()
    assert caught.value.code == 1000


async def test_cancelling_receive_loses_nothing(serve_websocket: Serve) -> None:
    async with connect(serve_websocket(echo)) as websocket:
        with anyio.move_on_after(0.01):
            await websocket.receive()
        await websocket.send("kept")
        assert await websocket.receive() == "kept"


async def test_cancelling_the_body_closes_the_connection(serve_websocket: Serve, anyio_backend: str) -> None:
    codes: list[int | None] = []
    closed = threading.Event()

    def wait(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            connection.recv()
        codes.append(connection.close_code)
        closed.set()

    with anyio.CancelScope() as scope:
        async with connect(serve_websocket(wait)) as websocket:
            scope.deadline = anyio.current_time() + 0.05
            await websocket.receive()
    assert scope.cancelled_caught
    assert await anyio.to_thread.run_sync(closed.wait, 10)
    # trio cancels the library's reader together with the body, so no close frame goes out there.
    assert codes == [1001 if anyio_backend == "asyncio" else 1006]


async def test_cancelling_the_opening_is_clean(serve_raw: Serve) -> None:
    with anyio.move_on_after(0.05) as scope:
        async with connect(serve_raw(until_gone)):
            pass
    assert scope.cancelled_caught


async def test_an_error_of_the_body_comes_out_as_it_is(serve_websocket: Serve) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with connect(serve_websocket(echo)):
            raise KeyError("mine")


async def test_two_receivers_at_once_are_an_error_of_the_caller(serve_websocket: Serve) -> None:
    async with connect(serve_websocket(echo)) as websocket, anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StateError, match="another task"):
            await websocket.receive()
        await websocket.send("for the first")


async def test_proxies_of_the_environment_are_not_used_unasked(
    serve_websocket: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    url = serve_websocket(echo)
    async with connect(url) as websocket:
        await websocket.send("direct")
    with pytest.raises(TransportError):
        async with connect(url, proxy=True):
            pass


async def test_nothing_secret_and_no_message_is_logged(
    serve_websocket: Serve, serve_raw: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def talk(connection: ServerConnection) -> None:
        connection.send("canary-said")
        connection.close(4000, "token canary-1 expired, access_token=abcdef")

    secret: dict[str, Any] = {"headers": {"Authorization": "Bearer canary-1"}}
    async with connect(serve_websocket(talk) + "/?access_token=canary-2", **secret) as websocket:
        assert await websocket.receive() == "canary-said"
        with pytest.raises(ConnectionLost) as caught:
            await websocket.receive()
    assert caught.value.reason == "token *** expired, access_token=***"
    assert "canary" not in everything_shown(caught.value)

    async with connect(serve_raw(accept), **secret) as websocket:
        with pytest.raises(ConnectionLost):
            await websocket.receive()
    ours = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert not any("canary" in record.getMessage() for record in ours)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wss://h/p?access_token=abc&x=1", "wss://h/p?access_token=***&x=1"),
        ("wss://h/p?x=1&TOKEN=abc", "wss://h/p?x=1&TOKEN=***"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("basic dXNlcjpwYXNz, then", "basic ***, then"),
        ("client_secret=abc", "client_secret=***"),
        ("nothing to hide, code=1006", "nothing to hide, code=1006"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_importing_the_transport_loads_no_library() -> None:
    code = (
        "import sys, gcmedia.transport.websocket, gcmedia.transport.http;"
        "print({'httpx', 'websockets', 'trio', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
