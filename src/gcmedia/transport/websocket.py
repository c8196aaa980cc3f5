"""WebSocket connections to a server: one small face over ``websockets`` on asyncio and on trio."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import anyio

from ..backoff import retry_after_of
from ..clock import Clock
from ..errors import ConfigError, ConnectionLost, GcmediaError, HandshakeError, StateError, TransportError
from ..redact import redact, repeatable

if TYPE_CHECKING:
    import ssl as ssl_module

__all__ = ["WebSocket", "connect", "redact"]

log = logging.getLogger(__name__)

_PONG_MISSED = "keepalive ping timeout"  # the reason that websockets gives when it fails a silent connection


class WebSocket(Protocol):
    """An open connection; tests may put a pair of memory channels in its place."""

    @property
    def latency_s(self) -> float | None:
        """Round trip of the last keep-alive ping, None before the first."""
        ...

    async def receive(self) -> bytes | str:
        """Wait for the next message, whole; :class:`ConnectionLost` at the end, whatever the code."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send a text (str) or binary (bytes) message; waits while the peer takes nothing."""
        ...

    async def aclose(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, with None without a code; done at the latest after the close timeout.  Again, it does nothing."""
        ...


@asynccontextmanager
async def connect(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    ping_interval_s: float | None = 30.0,
    pong_timeout_s: float = 20.0,
    open_timeout_s: float = 10.0,
    close_timeout_s: float = 2.0,
    max_message_octets: int = 1024 * 1024,
    max_queue: int = 64,
    ssl: ssl_module.SSLContext | None = None,
    proxy: str | bool = False,
) -> AsyncIterator[WebSocket]:
    """Connect to a WebSocket server; the connection is closed on leaving the context.

    Parameters
    ----------
    url : str
        ``ws://`` or ``wss://``.  Its query is in no message and no log.
    headers : mapping of str to str, optional
        Sent with the upgrade.
    clock : Clock, optional
        All times here are seconds of this clock.
    ping_interval_s : float or None
        Time between keep-alive pings; None sends none.
    pong_timeout_s : float
        A connection whose pong is not there after this time is given up.  Pongs queue behind messages: who
        leaves ``max_queue`` messages unread for so long loses the connection.
    open_timeout_s, close_timeout_s : float
        Time for TCP, TLS and upgrade together, and for the closing handshake.
    max_message_octets : int
        A longer message ends the connection with code 1009, before it is stored.
    max_queue : int
        Frames that wait for :meth:`WebSocket.receive`; beyond it the socket is not read, so that TCP holds
        the sender back.
    ssl : ssl.SSLContext, optional
        Instead of the default context, for ``wss://``.
    proxy : str or bool
        URL of a proxy; True takes it from the environment; False connects directly.

    Yields
    ------
    WebSocket
        The open connection.  Leaving normally closes it with 1000, leaving by an error with 1001.  When the body
        is cancelled on trio the library's tasks are too, so that TCP is closed without a close frame.

    Raises
    ------
    HandshakeError
        If the server answers the upgrade with another status than 101.
    TransportError
        If there is no connection: name, TCP, TLS, a broken answer, or no time left.
    ConfigError
        If ``url`` is not a WebSocket URL.
    """
    clock = clock or Clock()
    try:
        hidden = _secrets(url, headers or {})
    except ValueError:
        raise ConfigError("the URL of the WebSocket server cannot be read") from None
    options: dict[str, Any] = {
        "additional_headers": dict(headers or {}),
        "compression": None,  # audio does not shrink, and a compressed bomb has no size to check
        "proxy": proxy or None,
        "open_timeout": clock.real(open_timeout_s),
        "close_timeout": clock.real(close_timeout_s),
        "ping_interval": None if ping_interval_s is None else clock.real(ping_interval_s),
        "ping_timeout": clock.real(pong_timeout_s),
        "max_size": max_message_octets,
        "max_queue": max_queue,
        "logger": _Quiet(log, {}),
    }
    if ssl is not None:
        options["ssl"] = ssl
    async with AsyncExitStack() as stack:
        connection = None
        try:
            connection = await stack.enter_async_context(_library_connect()(url, **options))
        except Exception as exc:
            failure = _opening_error(exc, url, open_timeout_s, clock, hidden)
        if connection is None:
            # Outside the handler, so that the library's exceptions, which hold the URL, are no context of it.
            raise failure
        websocket = _WebSocket(connection, clock, pong_timeout_s, close_timeout_s, hidden)
        try:
            yield websocket
        except BaseException:
            await websocket.aclose(1001)
            raise
        await websocket.aclose()


class _WebSocket:
    """The face of a ``websockets`` connection of either backend."""

    def __init__(
        self, connection: Any, clock: Clock, pong_timeout_s: float, close_timeout_s: float, hidden: tuple[str, ...]
    ) -> None:
        from websockets import exceptions

        self._connection = connection
        self._clock = clock
        self._pong_timeout_s = pong_timeout_s
        self._close_timeout_s = close_timeout_s
        self._hidden = hidden
        self._closed = exceptions.ConnectionClosed
        self._concurrent = exceptions.ConcurrencyError

    @property
    def latency_s(self) -> float | None:
        latency: float = self._connection.latency
        return latency * self._clock.speed if latency else None

    async def receive(self) -> bytes | str:
        try:
            message: bytes | str = await self._connection.recv()
            return message
        except self._closed as exc:
            lost = self._lost(exc)
        except self._concurrent:
            lost = StateError("another task is receiving from this connection")
        raise lost

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
            return
        except self._closed as exc:
            lost = self._lost(exc)
        raise lost

    async def aclose(self, code: int | None = 1000, reason: str = "") -> None:
        connection = self._connection
        on_trio = hasattr(connection, "nursery")
        close: Callable[[int | None, str], Awaitable[None]] = connection.aclose if on_trio else connection.close
        finished = False
        try:
            # Half as long again as the library's own limit, which does not count what waits to be sent before.
            with anyio.move_on_after(self._clock.real(self._close_timeout_s * 1.5), shield=True):
                await close(code, reason)
                finished = True
        finally:
            if not finished:
                await self.abort()
            if on_trio and connection.recv_flow_control is not None:
                # Its reader waits for room in the queue, and would for ever: nobody takes messages any more.
                connection.resume_reading()

    async def abort(self) -> None:
        """Drop TCP without a word, as a machine does that goes away."""
        connection = self._connection
        with anyio.CancelScope(shield=True):
            if hasattr(connection, "nursery"):
                await connection.close_stream()
            else:
                connection.transport.abort()
                await connection.wait_closed()

    async def send_octets(self, octets: bytes) -> None:
        """Put octets as they are on the wire, between frames: to see what a server makes of them."""
        connection = self._connection
        if hasattr(connection, "nursery"):
            await connection.stream.send_all(octets)
        else:
            connection.transport.write(octets)

    def _lost(self, exc: Any) -> GcmediaError:
        received, sent = exc.rcvd, exc.sent
        if received is not None and (sent is None or exc.rcvd_then_sent):
            code, reason = received.code, repeatable(received.reason, self._hidden)
            text = f"the server closed the connection with {code}{f' ({reason})' if reason else ''}"
        elif sent is not None and sent.reason == _PONG_MISSED:
            code, reason = 1006, ""
            text = f"no pong within {self._pong_timeout_s:g} s: the connection is taken for dead"
        elif sent is not None:
            code, reason = sent.code, repeatable(sent.reason, self._hidden)
            text = f"the connection was closed here with {code}{f' ({reason})' if reason else ''}"
        else:
            code, reason = 1006, ""
            cause = exc.__cause__
            text = f"the connection ended without a close frame{f' ({type(cause).__name__})' if cause else ''}"
        return ConnectionLost(text, code=code, reason=reason)


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """Lets the library warn, but not write frames and headers to the log."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- the name is logging's
        return level >= logging.WARNING and super().isEnabledFor(level)


def _library_connect() -> Any:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        from websockets.trio.client import connect
    else:
        from websockets.asyncio.client import connect  # type: ignore[assignment]
    return connect


def _opening_error(exc: Exception, url: str, open_timeout_s: float, clock: Clock, hidden: tuple[str, ...]) -> Exception:
    """What to raise for an exception of the library, which may hold the URL and with it a token."""
    from websockets import exceptions

    where = _without_query(url)
    if isinstance(exc, exceptions.InvalidStatus):
        response = exc.response
        fields = dict(reversed(list(response.headers.raw_items())))
        fields = {name.title(): value for name, value in fields.items()}
        said = repeatable(_reason(response.body), hidden)
        correlation = repeatable(fields.get("Inin-Correlation-Id", ""), hidden)
        return HandshakeError(
            f"{where} answered the upgrade with {response.status_code}"
            f"{f': {said}' if said else ''}{f' (correlation id {correlation})' if correlation else ''}",
            status=response.status_code,
            retry_after=retry_after_of(fields, clock.wall()),
        )
    if isinstance(exc, exceptions.InvalidURI | UnicodeError):
        return ConfigError(f"{where} is not a URL of a WebSocket server (ws:// or wss://)")
    if isinstance(exc, TimeoutError) and exc.errno is None:
        return TransportError(f"{where} did not open within {open_timeout_s:g} s")
    if isinstance(exc, OSError | EOFError | exceptions.WebSocketException) or type(exc).__name__ in (
        "BrokenResourceError",  # trio's, around an error of TLS
        "ClosedResourceError",
    ):
        cause = exc.__cause__ if isinstance(exc.__cause__, OSError) else exc
        said = repeatable(str(cause), hidden)
        return TransportError(f"cannot connect to {where}: {type(cause).__name__}{f': {said}' if said else ''}")
    return exc


def _secrets(url: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a peer or library might repeat and nobody must see: query values and authorization."""
    query = urlsplit(url).query
    values = [value for _, value in parse_qsl(query)] + [part.partition("=")[2] for part in query.split("&")]
    values += [value.rpartition(" ")[2] for name, value in headers.items() if name.lower() == "authorization"]
    return tuple(sorted({value for value in values if len(value) >= 6}, key=len, reverse=True))


def _without_query(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(body: bytes | bytearray | None) -> str:
    """``code`` and ``message`` of the platform's error body, or nothing."""
    try:
        answer = json.loads(body or b"")
    except (ValueError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    return ": ".join(value for name in ("code", "message") if isinstance(value := answer.get(name), str))
