"""Many WebSockets read at once: over real sockets, any chunking, against a slow parser of RFC 6455, section 5.2."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from select import select
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia._core.intake import Intake
from gcmedia._core.stream import StreamReceiver
from gcmedia._core.wires import Wire, WireReader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs epoll")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
BUFFER = 128 * 1024  # octets that one read takes


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bytes | None = b"\x0f\xf0\x5a\xa5") -> bytes:
    """As RFC 6455 has it, octet by octet."""
    n = len(payload)
    length, more = (n, b"") if n < 126 else (126, struct.pack(">H", n)) if n < 65536 else (127, struct.pack(">Q", n))
    head = bytes([fin << 7 | opcode, (mask is not None) << 7 | length]) + more
    if mask is None:
        return head + payload
    return head + mask + bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))


class Parser:
    """Frames from octets in any pieces; messages from frames."""

    def __init__(self) -> None:
        self.octets = b""
        self.whole: list[tuple[int, bytes]] | None = None

    def feed(self, octets: bytes) -> Iterator[tuple[int, bytes]]:
        self.octets += octets
        while (found := self._frame()) is not None:
            fin, opcode, payload = found
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if opcode != CONTINUATION:
                self.whole = []
            if self.whole is None:
                yield -1, payload  # a continuation of nothing
                continue
            self.whole.append((opcode, payload))
            if fin:
                yield self.whole[0][0], b"".join(payload for _, payload in self.whole)
                self.whole = None

    def _frame(self) -> tuple[bool, int, bytes] | None:
        octets = self.octets
        if len(octets) < 2:
            return None
        n, at = octets[1] & 127, 2
        if n >= 126:
            size = 2 if n == 126 else 8
            if len(octets) < at + size:
                return None
            n, at = int.from_bytes(octets[at : at + size], "big"), at + size
        mask = b"\0\0\0\0"
        if octets[1] & 128:
            mask, at = octets[at : at + 4], at + 4
        if len(mask) < 4 or len(octets) < at + n:
            return None
        self.octets = octets[at + n :]
        payload = bytes(octet ^ mask[i % 4] for i, octet in enumerate(octets[at : at + n]))
        return bool(octets[0] & 128), octets[0] & 15, payload


class Link:
    """Both ends of one connection; what came of it, in order."""

    def __init__(self, reader: WireReader, *, longest: int = 1 << 20, intake: Any = None) -> None:
        self.client, self.server = socket.socketpair()
        self.server.setblocking(False)
        self.client.setblocking(False)
        self.intake = intake
        self.parser = Parser()
        self.messages: list[tuple[int, bytes]] = []
        self.direct = 0
        self.ended = 0
        self.errors: list[Exception] = []
        self.wire: Wire = reader.add(self.server.fileno(), self, self, longest)

    # As session

    def text(self, octets: bytes) -> None:
        self.direct += 1
        self.messages.append((TEXT, octets))

    def binary(self, octets: bytes) -> None:
        self.direct += 1
        self.messages.append((BINARY, octets))

    # As link

    def rest_came(self, octets: bytes) -> None:
        self.messages.extend(self.parser.feed(octets))

    def read_ended(self) -> None:
        self.ended += 1

    def read_failed(self, error: Exception) -> None:
        self.errors.append(error)

    def close(self) -> None:
        self.wire.remove()
        self.server.close()
        self.client.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def drain(reader: WireReader) -> None:
    """Read as long as the reader says that there is something."""
    while select([reader.fileno()], [], [], 0)[0]:
        reader.read()


frames = st.lists(
    st.tuples(
        st.sampled_from([TEXT, BINARY, BINARY, CONTINUATION, PING, PONG, CLOSE]),
        st.one_of(st.binary(max_size=140), st.sampled_from([125, 126, 127, 65535, 65536]).map(bytes)),
        st.booleans(),
        st.sampled_from([b"\0\0\0\0", b"\x12\x34\x56\x78", b"\xff\x00\x80\x01", None]),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(frames, st.lists(st.integers(1, 70_000), max_size=40), st.sampled_from([100, 1 << 20]))
def test_any_chunking_gives_the_same_messages(sent: Any, chunks: list[int], longest: int) -> None:
    octets = b"".join(
        frame(opcode, payload, fin=fin or opcode >= CLOSE, mask=mask) for opcode, payload, fin, mask in sent
    )
    expected = list(Parser().feed(octets))
    reader = WireReader()
    with Link(reader, longest=longest) as link:
        while octets:
            size = chunks.pop() if chunks else len(octets)
            n = link.client.send(octets[:size])
            octets = octets[n:]
            drain(reader)
        assert link.messages == expected
        assert not link.errors
        assert not link.ended


def test_whole_messages_need_no_parser() -> None:
    reader = WireReader()
    with Link(reader) as link:
        link.client.send(frame(BINARY, b"abc") + frame(TEXT, b"{}") + frame(BINARY, b"d" * 200))
        drain(reader)
        assert link.messages == [(BINARY, b"abc"), (TEXT, b"{}"), (BINARY, b"d" * 200)]
        assert link.direct == 3


def test_what_breaks_the_protocol_is_left_to_the_parser() -> None:
    reader = WireReader()
    for octets in (
        frame(BINARY, b"abc", mask=None),  # from a client, unmasked
        b"\xc2" + frame(BINARY, b"abc")[1:],  # a reserved bit
        b"\x83" + frame(BINARY, b"abc")[1:],  # a reserved opcode
        frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"),  # amid a message
    ):
        with Link(reader) as link:
            link.client.send(octets)
            drain(reader)
            assert link.direct == 0
            assert link.messages or link.parser.octets or link.parser.whole


def test_without_a_session_everything_goes_to_the_link() -> None:
    reader = WireReader()
    with Link(reader) as link:
        link.wire.session = None
        link.client.send(frame(BINARY, b"abc"))
        drain(reader)
        assert (link.direct, link.messages) == (0, [(BINARY, b"abc")])


def test_audio_goes_straight_to_its_receiver() -> None:
    receiver = StreamReceiver("PCMU", 8000, 2)
    intake = Intake(receiver)
    intake.block_octets, intake.enough = 2, 1
    ready: list[int] = []
    intake.on_ready = lambda: ready.append(receiver.end)
    others: list[bytes] = []
    intake.otherwise = others.append
    reader = WireReader()
    with Link(reader, intake=intake) as link:
        link.client.send(frame(BINARY, bytes(320)) + frame(BINARY, bytes(3)) + frame(BINARY, bytes(3200)))
        drain(reader)
    assert ready == [160, 160 + 1600]
    assert others == [bytes(3)]
    assert intake.settle() == (2, 3520)


def test_an_intake_of_ones_own_is_called() -> None:
    got: list[bytes] = []
    reader = WireReader()
    with Link(reader, intake=got.append) as link:
        link.client.send(frame(BINARY, b"abc"))
        drain(reader)
    assert got == [b"abc"]


@pytest.mark.parametrize("how", ["close", "shut down", "reset"])
def test_the_end_is_told_once_behind_the_last_octets(how: str) -> None:
    reader = WireReader()
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, Link(reader) as link, ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(listening.getsockname()))
        server = stack.enter_context(listening.accept()[0])
        server.setblocking(False)
        wire = reader.add(server.fileno(), link, link, 1 << 20)
        client.send(frame(TEXT, b"last"))
        if how == "reset":
            select([reader.fileno()], [], [], 10)
            drain(reader)  # a reset lets nothing through that has not been read
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how == "shut down":
            client.shutdown(socket.SHUT_WR)
        else:
            client.close()
        while not link.ended:
            assert select([reader.fileno()], [], [], 10)[0]
            reader.read()
        drain(reader)
        assert link.messages == [(TEXT, b"last")]
        assert link.ended == 1
        assert len(reader) == 1
        wire.remove()  # again: nothing


def test_more_than_a_read_takes_is_read_in_the_next_ones() -> None:
    reader = WireReader()
    with Link(reader) as link:
        link.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * BUFFER)
        octets = b"".join(frame(BINARY, bytes([i]) * 1000) for i in range(250))
        sent = 0
        while sent < len(octets):
            sent += link.client.send(octets[sent : sent + BUFFER + 5])
            sent += link.client.send(octets[sent : sent + BUFFER])
            drain(reader)
        assert link.messages == [(BINARY, bytes([i]) * 1000) for i in range(250)]


def test_more_sockets_than_one_call_reads() -> None:
    reader = WireReader()
    with ExitStack() as stack:
        links = [stack.enter_context(Link(reader)) for _ in range(300)]
        assert len(reader) == 300
        for i, link in enumerate(links):
            link.client.send(frame(BINARY, struct.pack(">H", i)))
        calls = 0
        while select([reader.fileno()], [], [], 0)[0]:
            reader.read()
            calls += 1
        assert [link.messages for link in links] == [[(BINARY, struct.pack(">H", i))] for i in range(300)]
        assert calls >= 3
    assert len(reader) == 0


def test_one_that_is_removed_by_another_is_not_read() -> None:
    reader = WireReader()
    with ExitStack() as stack:
        links = [stack.enter_context(Link(reader)) for _ in range(20)]

        def remove_all(octets: bytes) -> None:
            for link in links:
                link.wire.remove()
                link.wire = None  # type: ignore[assignment]  # the last reference but the reader's

        removed = [link.wire for link in links]
        for link in links:
            link.intake = remove_all
            link.client.send(frame(BINARY, b"a") + frame(TEXT, b"behind it"))
        del removed
        reader.read()
        assert len(reader) == 0
        assert all(not link.messages for link in links)
        for link in links:
            link.wire = reader.add(link.server.fileno(), link, link, 100)  # for its end


def test_what_a_session_raises_is_told_to_its_link_alone() -> None:
    reader = WireReader()
    problem = LookupError("no such thing")

    def fail(octets: bytes) -> None:
        raise problem

    with Link(reader, intake=fail) as one, Link(reader) as other:
        one.client.send(frame(BINARY, b"a"))
        other.client.send(frame(BINARY, b"b"))
        drain(reader)
        assert one.errors == [problem]
        assert other.messages == [(BINARY, b"b")]
        assert not other.errors


def test_who_interrupts_loses_nothing() -> None:
    reader = WireReader()

    def stop(octets: bytes) -> None:
        raise KeyboardInterrupt

    with Link(reader, intake=stop) as one, Link(reader, intake=stop) as two, Link(reader) as other:
        for link in (one, two, other):
            link.client.send(frame(BINARY, b"b"))
        with pytest.raises(KeyboardInterrupt):
            reader.read()
        drain(reader)
        assert other.messages == [(BINARY, b"b")]


def test_a_descriptor_that_is_no_socket_is_refused() -> None:
    with pytest.raises(OSError):
        WireReader().add(-1, None, None, 100)
