"""A listening socket with one of the drivers behind it."""

from __future__ import annotations

import socket
import ssl as ssl_module
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

import anyio.abc

from .choose import choose_transport, running_backend
from .link import Board
from .types import Admit, Limits

__all__ = ["Listener", "listen"]


class Listener:
    """Connections that come in on one socket; made by `listen`.

    Attributes
    ----------
    transport : str
        ``"websockets"`` or ``"picows"``.
    address : (str, int)
        Where it listens.
    """

    def __init__(self, transport: str, address: tuple[str, int], board: Board, server: Any) -> None:
        self.transport = transport
        self.address = address
        self._board = board
        self._server = server
        self._accepting = True

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken."""
        return self._accepting

    @property
    def n_open(self) -> int:
        """WebSockets that are open."""
        return len(self._board.open)

    @property
    def n_waiting(self) -> int:
        """Connections that are no WebSockets yet, or none any more."""
        return len(self._board.waiting)

    @property
    def n_cut(self) -> int:
        """Connections that were one too many, or past a deadline."""
        return self._board.cut

    def sweep(self, now: float) -> None:
        """Keep the deadlines; call it several times a second."""
        self._board.sweep(now)

    def close(self) -> None:
        """Take no new connections; those that are open go on."""
        if self._accepting:
            self._accepting = False
            self._server.close()

    def abort(self) -> None:
        """Take no new connections and cut those that are there."""
        self.close()
        self._board.abort_all()


async def listen(
    sock: socket.socket,
    admit: Admit,
    *,
    tasks: anyio.abc.TaskGroup,
    now: Callable[[], float],
    limits: Limits | None = None,
    ssl: ssl_module.SSLContext | None = None,
    transport: str = "auto",
) -> Listener:
    """Listen on a bound socket.

    Parameters
    ----------
    sock : socket.socket
        Bound, see `bind`; owned by the listener from here on.
    admit : callable
        Takes an `UpgradeRequest` and gives a verdict, or an awaitable of one.
    tasks : TaskGroup
        Where whatever takes time runs.
    now : callable
        Seconds of a steady clock.
    limits : Limits, optional
        Bounds.
    ssl : ssl.SSLContext, optional
        Of a server, for TLS that ends here.
    transport : str
        ``"auto"``, ``"websockets"`` or ``"picows"``.

    Raises
    ------
    ConfigError
        If the transport cannot be had.
    """
    backend = running_backend()
    chosen = choose_transport(transport, backend)

    def spawn(coroutine: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await coroutine

        tasks.start_soon(run)

    board = Board(admit, limits or Limits(), spawn, now)
    name = sock.getsockname()
    server: Any
    if backend == "trio":
        from .on_trio import TrioServer

        server = TrioServer(sock)
        tasks.start_soon(server.accept, board, ssl, tasks)
    else:
        from .on_asyncio import AsyncioLink, AsyncioServer

        link = AsyncioLink
        if chosen == "picows":
            from .on_picows import PicowsLink

            link = PicowsLink
        server = _as_asyncio().run(AsyncioServer, link, board, sock, ssl)
    return Listener(chosen, (name[0], name[1]), board, server)


def _as_asyncio() -> Context:
    """A context in which anyio knows its backend in callbacks too, also under a plain ``asyncio.run``.

    Where sniffio is installed anyio asks it, and by itself that looks no further than the running task.
    """
    context = copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context
