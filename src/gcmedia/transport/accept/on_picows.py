"""Links whose frames ``picows`` reads and writes; the upgrade is decided as everywhere, then replayed to it."""

from __future__ import annotations

import logging
from typing import Any

from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stub
from websockets.http11 import Response

from .link import Board
from .on_asyncio import AsyncioLink
from .types import Limits, Session

__all__ = ["PicowsLink"]

# Its read buffer doubles whenever one read nearly fills it, and never shrinks.  So the loop is offered less of it than
# that, and it grows for a long frame only.
BUFFER_OCTETS = 8 * 1024

_TEXT, _BINARY, _CONT, _CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION, WSMsgType.CLOSE


class _Silent(logging.LoggerAdapter[logging.Logger]):
    """What clients do wrong is answered and counted; it is no error of ours, and no line in the log."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- the name is logging's
        return False


SILENT = _Silent(logging.getLogger("gcmedia.server"), {})


class _Listener(WSListener):
    """What picows calls."""

    __slots__ = ("link",)

    def __init__(self, link: PicowsLink) -> None:
        self.link: PicowsLink | None = link

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        link = self.link
        if link is None or link._over or link._session is None:
            return
        kind = frame.msg_type
        if kind == _BINARY and frame.fin and link._fragments is None:
            link._session.binary(frame.get_payload_as_bytes())
        else:
            link.take(frame, kind, link._session)

    def pause_writing(self) -> None:
        """Sessions look at `buffered_octets` instead."""

    def resume_writing(self) -> None:
        """Likewise."""


def _new_protocol(listener: WSListener, limits: Limits) -> Any:
    return WSProtocol(
        None,
        None,
        False,
        lambda request: listener,
        SILENT,
        True,
        None,  # the time for the upgrade is the board's
        False,
        20,
        20,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        True,
        limits.max_message_octets,
        None,
        BUFFER_OCTETS,
    )


class PicowsLink(AsyncioLink):
    """A link whose frames picows handles."""

    __slots__ = ("_head", "_listener", "_picows", "_size", "_ws")

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self._head: bytearray | None = bytearray()
        self._picows: Any = None
        self._ws: Any = None
        self._listener: _Listener | None = None
        self._size = 0  # of the fragments so far

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        picows, self._picows = self._picows, None
        if picows is not None:
            self._drop_listener()
            picows.connection_lost(exc)
        self._ws = None
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> Any:
        """Where the loop reads to."""
        picows = self._picows
        if picows is None or self._over:
            return super().get_buffer(sizehint)
        room = picows.get_buffer(-1)
        return room[: max(len(room) * 4 // 5, 64)]

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have come."""
        picows = self._picows
        if picows is None:
            super().buffer_updated(nbytes)
        elif not self._over:
            picows.buffer_updated(nbytes)
            self._look_for_failure()

    def _look_for_failure(self) -> None:
        ws = self._ws
        if ws is not None and ws.is_close_frame_sent and self not in self._board.waiting:
            self._leave_soon()  # picows has failed the connection

    def _feed(self, octets: bytes | bytearray | memoryview) -> None:
        if self._picows is None:
            if self._head is not None and self._protocol is not None:
                self._head += octets
            super()._feed(octets)
        else:
            self._feed_picows(octets)

    def _feed_picows(self, octets: bytes | bytearray | memoryview) -> None:
        """Octets that came before picows did."""
        picows = self._picows
        n = len(octets)
        start = 0
        while start < n and self._picows is not None and not self._over:
            room = picows.get_buffer(-1)
            size = min(n - start, max(len(room) * 4 // 5, 64))
            room[:size] = octets[start : start + size]
            picows.buffer_updated(size)
            start += size
            self._look_for_failure()

    def _accept(self, response: Response) -> None:
        head, self._head = self._head, None
        assert head is not None
        self._protocol = None
        self._listener = _Listener(self)
        self._picows = _new_protocol(self._listener, self._board.limits)
        self._picows.connection_made(self._transport)
        self._ws = self._picows.transport
        end = head.find(b"\r\n\r\n") + 4
        self._feed_picows(head[:end])
        if len(head) > end:
            self._board.spawn(self._go_on(bytes(head[end:])))

    async def _go_on(self, early: bytes) -> None:
        if self._picows is not None:
            self._feed_picows(early)

    def take(self, frame: WSFrame, kind: WSMsgType, session: Session) -> None:
        """Hand on whatever is not a whole frame of audio."""
        if kind == _TEXT and frame.fin and self._fragments is None:
            session.text(frame.get_payload_as_bytes())
        elif kind == _CLOSE:
            payload = frame.get_payload_as_bytes()
            self._code = 1005 if not payload else int.from_bytes(payload[:2], "big")
            if not self._ws.is_close_frame_sent:
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
        self._ws.send_close(code, reason.encode())
        self._leave_soon()

    def _leave_soon(self) -> None:
        """Nothing comes any more: the socket is closed when what was written is out."""
        self._board.open.discard(self)
        self._board.waiting[self] = self._board.now() + self._board.limits.close_timeout_s
        self._transport.close()
        self._leave()

    def _drop_listener(self) -> None:
        if self._listener is not None:
            self._listener.link = None

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
            self._ws.send_close(code, reason.encode())
