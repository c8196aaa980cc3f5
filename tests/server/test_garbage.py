"""Whatever comes after the upgrade: it is answered by the protocol, and a neighbour is exact to the sample."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gcmedia import AudioHookConfig, ServerConfig
from gcmedia.dialects.audiohook import ClientMachine

from .dialer import PATIENCE_S, dial, offer, server_of, settled, upgrade_headers
from .test_calls import recorded, timeline_of

NEIGHBOUR = "30b0e395-84d3-4570-ac13-9a62d8f514c0"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from(["2", "1", 2]),
        "type": st.sampled_from(["open", "ping", "close", "paused", "discarded", "update", "error", "dtmf", "x"]),
        "id": st.sampled_from(["SESSION", "x", None]),
        "seq": st.integers(-1, 4) | JSON,
        "serverseq": st.integers(-1, 4) | JSON,
        "position": st.sampled_from(["PT0S", "PT1.5S", "PT1E9S", "", None, "PT-1S"]),
        "parameters": JSON,
    },
)
TEXT = st.one_of(FIELDS.map(lambda value: json.dumps(value).encode()), JSON.map(lambda v: json.dumps(v).encode()),
                 st.binary(max_size=60), st.just(b"{" * 3000))  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("text"), TEXT),
        st.tuples(
            st.just("binary"), st.binary(max_size=40) | st.sampled_from([bytes(3200), bytes(3201), bytes(66_000)])
        ),
        st.tuples(st.just("fragments"), st.lists(st.binary(max_size=10), min_size=2, max_size=3)),
        st.tuples(st.just("ping"), st.binary(max_size=130)),
        st.tuples(st.just("octets"), st.binary(min_size=1, max_size=40)),
    ),
    max_size=6,
)


def on_the_wire(kind: str, what: Any, session: str) -> bytes:
    if kind == "octets":
        return bytes(what)
    if kind == "fragments":
        pieces = [
            Frame(Opcode.TEXT if n == 0 else Opcode.CONT, piece, n == len(what) - 1) for n, piece in enumerate(what)
        ]
        return b"".join(piece.serialize(mask=True) for piece in pieces)
    opcode = {"text": Opcode.TEXT, "binary": Opcode.BINARY, "ping": Opcode.PING}[kind]
    octets = Frame(opcode, what.replace(b"SESSION", session.encode())).serialize(mask=True)
    return bytes(octets)


class Stranger:
    """A socket of its own, to which the server has said 101."""

    def __init__(self, port: int) -> None:
        headers = upgrade_headers(port)
        self.session = headers["Audiohook-Session-Id"]
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(PATIENCE_S)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.sock.sendall(
            f"GET /hook?a=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        self.got = b""
        while b"\r\n\r\n" not in self.got:
            self.got += self.sock.recv(4096)
        head, _, self.got = self.got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")

    def send(self, octets: bytes) -> bool:
        try:
            self.sock.sendall(octets)
        except OSError:  # it has been cut, as it may be
            return False
        return True

    def rest(self) -> list[dict[str, Any]]:
        """Say no more, and read to the end: the text messages."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while more := self.sock.recv(65_536):
                self.got += more
        except OSError:  # it has been cut, or was before
            pass
        finally:
            self.sock.close()
        return [json.loads(payload) for opcode, payload in frames_of(self.got) if opcode == Opcode.TEXT]


def frames_of(octets: bytes) -> list[tuple[int, bytes]]:
    """What a server sent: whole frames, none masked (RFC 6455 section 5.2)."""
    found = []
    while len(octets) >= 2:
        assert octets[0] & 0xF0 == 0x80  # whole, and nothing reserved
        size, start = octets[1], 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(octets[2:start], "big")
        if len(octets) < start + size:
            break
        found.append((octets[0] & 15, octets[start : start + size]))
        octets = octets[start + size :]
    return found


@pytest.fixture
def anyio_portal(anyio_backend: str) -> Iterator[anyio.from_thread.BlockingPortal]:
    with anyio.from_thread.start_blocking_portal(anyio_backend) as portal:
        yield portal


def test_garbage_gets_the_protocol_s_answer_and_a_neighbour_notices_nothing(
    anyio_portal: anyio.from_thread.BlockingPortal, transport: str, tmp_path: Path
) -> None:
    portal = anyio_portal
    options = {"config": ServerConfig(close_timeout_s=0.5), "protocol": AudioHookConfig(close_timeout_s=0.5)}
    server = server_of(record_to=tmp_path, transport=transport, **options)
    with portal.wrap_async_context_manager(server):
        port = server.address[1]
        with portal.wrap_async_context_manager(dial(server, offer(NEIGHBOUR))) as neighbour:
            seen: set[str] = set()

            @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
            @given(opened=st.booleans(), steps=STEPS)
            def attack(opened: bool, steps: list[tuple[str, Any]]) -> None:
                stranger = Stranger(port)
                if opened:
                    machine = ClientMachine(offer(), session_id=stranger.session)
                    machine.start(0.0)
                    for message in machine.messages_to_send():
                        assert isinstance(message, str)
                        stranger.send(on_the_wire("text", message.encode(), stranger.session))
                for kind, what in steps:
                    if not stranger.send(on_the_wire(kind, what, stranger.session)):
                        break
                portal.call(neighbour.audio, 1)
                messages = stranger.rest()
                assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
                types = [message["type"] for message in messages]
                assert types.count("disconnect") <= 1
                seen.update(types)
                seen.update(message["parameters"]["reason"] for message in messages if message["type"] == "disconnect")

            attack()
            portal.call(neighbour.ping)
            portal.call(settled, lambda: server.n_sessions == 1)
            portal.call(neighbour.hang_up)
        portal.call(settled, lambda: not server.sessions)
    assert seen >= {"opened", "disconnect", "error"}  # or the garbage was none
    truth = timeline_of(neighbour, neighbour.machine.position)
    assert [list(recorded(tmp_path / NEIGHBOUR, f"raw-{name}")) for name in ("external", "internal")] == [
        list(channel) for channel in truth
    ]
