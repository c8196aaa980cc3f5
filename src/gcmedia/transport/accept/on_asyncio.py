"""Links on asyncio, uvloop too: one protocol object a connection, no task, and one read buffer for all of them."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from contextlib import suppress
from typing import Any

from websockets.http11 import Request, Response

from ..._core.wires import Wire
from .link import Board, Link, log
from .reads import Reads
from .sockets import BACKLOG

__all__ = ["AsyncioLink", "AsyncioServer"]

#: Of the kernel's octets on their way to a link's parser, which copies them before the loop reads another socket.
_READ_BUFFER = bytearray(256 * 1024)
_READ_VIEW = memoryview(_READ_BUFFER)
WRITE_LIMIT_OCTETS = 64 * 1024
TLS_TIMEOUT_S = 10.0
ACCEPT_AT_ONCE = 32
ACCEPT_PAUSE_S = 0.05


class AsyncioLink(Link, asyncio.BufferedProtocol):
    """A link that is an asyncio protocol."""

    __slots__ = ("_head", "_transport", "_wire", "secure")

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self._head: bytearray | None = bytearray()  # all that came before the verdict
        self._transport: Any = None
        self._wire: Wire | None = None  # reads the socket of an open WebSocket
        self.secure = False

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        """Take the socket."""
        self._transport = transport
        self.secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(WRITE_LIMIT_OCTETS)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._begin():
            transport.abort()

    def get_buffer(self, sizehint: int) -> Any:
        """Where the loop reads to."""
        return _READ_VIEW

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have come."""
        self._feed(_READ_VIEW[:nbytes])

    def eof_received(self) -> bool:
        """The client sends no more; asyncio closes the socket."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._end()

    # The wire's side

    def rest_came(self, octets: bytes) -> None:
        """Octets have come that are no whole message."""
        self._feed(octets)

    def read_ended(self) -> None:
        """The client sends no more."""
        self._finish()

    def read_failed(self, error: Exception) -> None:
        """A message could not be handed on."""
        log.error("a message could not be taken, and its connection is cut", exc_info=error)
        self.abort()

    def _read_past_the_loop(self) -> None:
        """Read the socket together with all others."""
        board, transport, session = self._board, self._transport, self._session
        if board.reads is None or self.secure or session is None or transport.is_closing():
            return
        transport.pause_reading()
        fd = transport.get_extra_info("socket").fileno()
        self._wire = board.reads.add(self, fd, session, board.limits.max_message_octets)

    def _read_no_more(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            self._board.reads.remove(wire)

    # The link's side

    def _feed(self, octets: bytes | bytearray | memoryview) -> None:
        if self._head is not None:
            self._head += octets
        super()._feed(octets)

    def _accept(self, request: Request, response: Response) -> None:
        head, self._head = self._head, None
        assert head is not None
        early = bytes(head[head.find(b"\r\n\r\n") + 4 :])
        self._speak(request, response, early)
        if not early:  # else the parser may be amid a frame
            self._read_past_the_loop()

    def _speak(self, request: Request, response: Response, early: bytes) -> None:
        """Answer the upgrade, and begin to speak RFC 6455; ``early`` has come already, and has been fed."""
        super()._accept(request, response)

    def _leave(self) -> None:
        if self._wire is not None:
            self._wire.session = None
        super()._leave()

    def _end(self) -> None:
        self._read_no_more()
        super()._end()

    def _write(self, octets: bytes) -> None:
        self._transport.write(octets)

    def _finish(self) -> None:
        self._read_no_more()
        self._transport.close()

    def _peer(self) -> str:
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    @property
    def buffered_octets(self) -> int:
        """Octets that the client has not taken yet."""
        return int(self._transport.get_write_buffer_size())

    def abort(self) -> None:
        """Cut the connection."""
        self._read_no_more()
        self._transport.abort()


class AsyncioServer:
    """Accepts connections until it is closed; those that are there go on, but for such as have not agreed on TLS yet.

    Some at a time, then those that are there get their turn; and no more than there is room for, see `Board.has_room`.
    The servers of event loops accept all that the kernel has, before a single request has been read.
    """

    def __init__(
        self, link: type[AsyncioLink], board: Board, sock: socket.socket, ssl: ssl_module.SSLContext | None
    ) -> None:
        self._link = link
        self._board = board
        self._sock = sock
        self._options: dict[str, Any] = {} if ssl is None else {"ssl": ssl, "ssl_handshake_timeout": TLS_TIMEOUT_S}
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._coming: set[socket.socket] = set()  # accepted, with TLS to be agreed on
        with suppress(OSError):
            board.reads = Reads(self._loop)
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        if "ssl" in self._options:
            for coming in self._coming:
                with suppress(OSError):  # the client has gone
                    coming.shutdown(socket.SHUT_RDWR)  # which the event loop sees, and closes it

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            if not self._board.has_room(len(self._coming)):
                self._rest()
                return
            try:
                accepted, _peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of file descriptors: try again when some are free
                self._rest()
                return
            accepted.setblocking(False)
            self._coming.add(accepted)
            self._board.spawn(self._begin(accepted))

    def _rest(self) -> None:
        self._loop.remove_reader(self._sock)
        self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._link(self._board), accepted, **self._options)
        except (OSError, TimeoutError):  # TLS that comes to nothing; the loop has closed the socket
            accepted.close()
        finally:
            self._coming.discard(accepted)
