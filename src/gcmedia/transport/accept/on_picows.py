"""Links whose frames ``picows`` reads, but for whole messages (see `Reads`), and writes; it is told of the upgrade."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stub
from websockets.http11 import Request, Response

from .link import Board
from .on_asyncio import AsyncioLink
from .types import Session

__all__ = ["PicowsLink"]

# Its read buffer doubles whenever a read nearly fills it, and never shrinks.  Under TLS it gets all that comes, at
# first a message of 200 ms and a ping; else only what is no whole message.  What the kernel keeps for a read is bounded
# too, at as much as the longest frames of the protocol make of it.
TLS_BUFFER_OCTETS = 4608
BUFFER_OCTETS = 1024
KERNEL_OCTETS = 64 * 1024

_TEXT, _BINARY, _CONT, _CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION, WSMsgType.CLOSE


class _Failures:
    """The logger of one connection: what clients do wrong is no line in the log, but the end of the link.

    A frame that breaks RFC 6455 is told to nobody else: picows sends a close frame, and goes on for a while.
    """

    __slots__ = ("_link",)

    def __init__(self, link: PicowsLink) -> None:
        self._link = link

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- the name is logging's
        return False

    def info(self, *_: object) -> None:
        """Of every connection."""

    warning = info

    def error(self, *_: object) -> None:
        """The connection has failed; its close frame is sent right after this."""
        asyncio.get_running_loop().call_soon(self._link.look_for_failure)

    exception = error


class _Listener(WSListener):
    """What picows calls."""

    __slots__ = ("_link",)

    def __init__(self, link: PicowsLink) -> None:
        self._link = link

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        link = self._link
        session = link._session
        if session is None:
            return
        kind = frame.msg_type
        if kind == _BINARY and frame.fin and link._fragments is None:
            intake = session.intake
            if intake is None:
                session.binary(frame.get_payload_as_bytes())
            else:
                intake(frame.get_payload_as_bytes())
        else:
            link.take(frame, kind, session)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is closed."""
        self._link.lost()

    def pause_writing(self) -> None:
        """Sessions look at `buffered_octets` instead."""

    def resume_writing(self) -> None:
        """Likewise."""


class PicowsLink(AsyncioLink):
    """A link whose frames picows handles: from the upgrade on it is the socket's protocol, and this one listens."""

    __slots__ = ("_size", "_ws")

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self._ws: WSTransport | None = None
        self._size = 0  # of the fragments so far

    def lost(self) -> None:
        """The socket is closed."""
        self._ws = None
        self._end()

    def look_for_failure(self) -> None:
        """Leave if picows has failed the connection."""
        ws = self._ws
        if ws is not None and ws.is_close_frame_sent and self not in self._board.waiting:
            self._leave_soon()

    def rest_came(self, octets: bytes) -> None:
        """Octets have come that are no whole message."""
        _hand_over(self._transport.get_protocol(), octets)

    def _speak(self, request: Request, response: Response, early: bytes) -> None:
        self._protocol = None
        listener = _Listener(self)
        picows = WSProtocol(
            None,
            None,
            False,
            lambda request: listener,
            _Failures(self),
            True,
            None,  # the time for the upgrade is the board's
            False,
            20,
            20,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,
            self._board.limits.max_message_octets,
            None,
            TLS_BUFFER_OCTETS if self.secure else BUFFER_OCTETS,
        )
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_OCTETS)
        picows.connection_made(self._transport)
        _hand_over(picows, _upgrade(request))
        if picows.listener is None:  # not good enough for it, and so answered
            self._finish()
            return
        picows.transport.request.headers.clear()  # which it keeps, for nobody
        self._ws = picows.transport
        self._transport.set_protocol(picows)
        if early:
            self._board.spawn(self._go_on(picows, early))

    async def _go_on(self, picows: Any, early: bytes) -> None:
        """Octets that came before picows did."""
        if not self._over:
            _hand_over(picows, early)

    def take(self, frame: WSFrame, kind: WSMsgType, session: Session) -> None:
        """Hand on whatever is not a whole frame of audio."""
        if kind == _TEXT and frame.fin and self._fragments is None:
            session.text(frame.get_payload_as_bytes())
        elif kind == _CLOSE:
            payload = frame.get_payload_as_bytes()
            self._code = 1005 if not payload else int.from_bytes(payload[:2], "big")
            if self._ws is not None and not self._ws.is_close_frame_sent:
                self._ws.send(_CLOSE, payload)
            self._leave_soon()
        elif kind in (_TEXT, _BINARY, _CONT):
            self._take_fragment(frame)

    def _take_fragment(self, frame: WSFrame) -> None:
        if (frame.msg_type == _CONT) == (self._fragments is None):
            self._fail(1002, "a continuation without a beginning, or a beginning without an end")
            return
        if self._fragments is None:
            self._opcode = frame.msg_type
            self._fragments = []
            self._size = 0
        self._size += frame.payload_size
        if self._size > self._board.limits.max_message_octets:
            self._fail(1009, f"more than {self._board.limits.max_message_octets} octets")
            return
        self._fragments.append(frame.get_payload_as_bytes())
        if frame.fin:
            whole, self._fragments = b"".join(self._fragments), None
            assert self._session is not None
            if self._opcode == _BINARY:
                self._session.binary(whole)
            else:
                self._session.text(whole)

    def _fail(self, code: int, reason: str) -> None:
        if self._ws is not None:
            self._ws.send_close(code, reason.encode())  # type: ignore[arg-type]  # any number
        self._leave_soon()

    def _leave_soon(self) -> None:
        """Nothing comes any more: the socket is closed when what was written is out."""
        self._board.open.discard(self)
        self._board.waiting[self] = self._board.now() + self._board.limits.close_timeout_s
        self._finish()
        self._leave()

    def send_text(self, text: str | bytes) -> None:
        """Send a text message."""
        if self._ws is not None:
            self._ws.send(_TEXT, text)

    def send_binary(self, octets: bytes) -> None:
        """Send a binary message."""
        if self._ws is not None:
            self._ws.send(_BINARY, octets)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; cut when it is not answered in time."""
        if self._ws is not None and not self._ws.is_close_frame_sent:
            self._board.waiting[self] = self._board.now() + self._board.limits.close_timeout_s
            self._ws.send_close(code, reason.encode())  # type: ignore[arg-type]  # any number


def _hand_over(picows: Any, octets: bytes) -> None:
    """Let picows have octets as if it had read them."""
    rest = memoryview(octets)
    while rest and not picows.transport.is_disconnected:
        room = picows.get_buffer(-1)
        size = min(len(rest), len(room))
        room[:size] = rest[:size]
        picows.buffer_updated(size)
        rest = rest[size:]


def _upgrade(request: Request) -> bytes:
    """The request without what is none of picows' business, as it keeps it."""
    names = ("Host", "Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key")
    lines = [f"{name}: {value.strip()}" for name in names for value in request.headers.get_all(name)]
    return "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode()
