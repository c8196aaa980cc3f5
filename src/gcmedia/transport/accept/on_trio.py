"""Links on trio: two tasks a connection, as trio has no callbacks."""

from __future__ import annotations

import socket
import ssl as ssl_module
from typing import Any

import trio

from .link import Board, Link
from .sockets import BACKLOG

__all__ = ["TrioLink", "TrioServer"]

READ_OCTETS = 64 * 1024
ACCEPT_PAUSE_S = 0.05


class TrioLink(Link):
    """A link over a trio stream."""

    __slots__ = ("_cancel", "_outbox", "_over_after", "_peername", "_stream", "_wake", "secure")

    def __init__(self, board: Board, stream: Any, peer: str, secure: bool) -> None:
        super().__init__(board)
        self._stream = stream
        self._peername = peer
        self.secure = secure
        self._outbox = bytearray()
        self._wake = trio.Event()
        self._over_after = False  # close the stream once the outbox is empty
        self._cancel = trio.CancelScope()

    async def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            with self._cancel:
                if self._begin():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._write_out, nursery.cancel_scope)
                        await self._read(nursery.cancel_scope)
        finally:
            self._end()
            with trio.CancelScope(shield=True):
                if self._cancel.cancel_called:
                    await trio.aclose_forcefully(self._stream)
                else:
                    with trio.move_on_after(1.0):
                        await self._stream.aclose()

    async def _read(self, scope: trio.CancelScope) -> None:
        try:
            while True:
                octets = await self._stream.receive_some(READ_OCTETS)
                if not octets:
                    break
                self._feed(octets)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if not self._outbox:
            scope.cancel()
        else:
            self._finish()

    async def _write_out(self, scope: trio.CancelScope) -> None:
        try:
            while True:
                while self._outbox:
                    octets = bytes(self._outbox)
                    await self._stream.send_all(octets)
                    del self._outbox[: len(octets)]
                if self._over_after:
                    scope.cancel()
                    return
                self._wake = trio.Event()
                await self._wake.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._outbox.clear()
            scope.cancel()

    # The link's side

    def _write(self, octets: bytes) -> None:
        self._outbox += octets
        self._wake.set()

    def _finish(self) -> None:
        self._over_after = True
        self._wake.set()

    def _peer(self) -> str:
        return self._peername

    @property
    def buffered_octets(self) -> int:
        """Octets that the client has not taken yet."""
        return len(self._outbox)

    def abort(self) -> None:
        """Cut the connection."""
        self._cancel.cancel()


class TrioServer:
    """Accepts connections until it is closed; those that are there go on."""

    def __init__(self, sock: socket.socket) -> None:
        sock.listen(BACKLOG)
        self.sockets = [sock]
        self._accepting = trio.CancelScope()
        self._closed = trio.Event()

    async def accept(self, board: Board, ssl: ssl_module.SSLContext | None, tasks: Any) -> None:
        """Accept connections, and serve each in a task of ``tasks``."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self.sockets[0]))
        try:
            with self._accepting:
                while True:
                    try:
                        stream = await listener.accept()
                    except OSError:
                        await trio.sleep(0.1)  # out of file descriptors: try again when some are free
                        continue
                    while not board.has_room():  # noqa: ASYNC110 -- a place is free when somebody leaves, or is silent
                        await trio.sleep(ACCEPT_PAUSE_S)
                    tasks.start_soon(self._serve, board, stream, ssl)
        finally:
            with trio.CancelScope(shield=True):
                await listener.aclose()
            self._closed.set()

    async def _serve(self, board: Board, stream: Any, ssl: ssl_module.SSLContext | None) -> None:
        peer = ""
        try:
            name = stream.socket.getpeername()
            peer = str(name[0]) if isinstance(name, tuple) else ""
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass
        if ssl is not None:
            stream = trio.SSLStream(stream, ssl, server_side=True, https_compatible=True)
        await TrioLink(board, stream, peer, ssl is not None).run()

    def close(self) -> None:
        """Accept no more."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Wait until nothing is accepted."""
        await self._closed.wait()
