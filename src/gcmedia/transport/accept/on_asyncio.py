"""Links on asyncio, uvloop too: one protocol object a connection, no task, and one read buffer for all of them."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from typing import Any

from .link import Board, Link
from .sockets import BACKLOG

__all__ = ["AsyncioLink", "listen_asyncio"]

#: Of the kernel's octets on their way to a link's parser, which copies them before the loop reads another socket.
_READ_BUFFER = bytearray(256 * 1024)
_READ_VIEW = memoryview(_READ_BUFFER)
WRITE_LIMIT_OCTETS = 64 * 1024
TLS_TIMEOUT_S = 10.0


class AsyncioLink(Link, asyncio.BufferedProtocol):
    """A link that is an asyncio protocol."""

    __slots__ = ("_transport", "secure")

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self._transport: Any = None
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

    # The link's side

    def _write(self, octets: bytes) -> None:
        self._transport.write(octets)

    def _finish(self) -> None:
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
        self._transport.abort()


async def listen_asyncio(
    link: type[AsyncioLink], board: Board, sock: socket.socket, ssl: ssl_module.SSLContext | None
) -> asyncio.Server:
    """Accept connections until the server returned is closed."""
    options: dict[str, Any] = {} if ssl is None else {"ssl": ssl, "ssl_handshake_timeout": TLS_TIMEOUT_S}
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: link(board), sock=sock, backlog=BACKLOG, **options)
