"""The server's end of one WebSocket: RFC 6455 by ``websockets``' sans-I/O protocol over an anyio stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio
from anyio.abc import SocketStream
from websockets.exceptions import InvalidState, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as WebSocketRequest
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

__all__ = ["WebSocket", "WebSocketClosed"]

MAX_MESSAGE_OCTETS = 64 * 1024  # what a client may send; 1009 beyond
_INBOX = 16  # messages not yet taken; then the client is not read until they are
_CLOSE_TIMEOUT_S = 5.0


class WebSocketClosed(Exception):
    """The connection is closed, or closing."""


class WebSocket:
    """Messages both ways; pings are answered by themselves.

    Made by `accept`; `pump` must run beside whoever sends and receives.
    """

    def __init__(self, stream: SocketStream, protocol: ServerProtocol, on_ping: Callable[[], None]) -> None:
        self._stream = stream
        self._protocol = protocol
        self._on_ping = on_ping
        self._lock = anyio.Lock()
        self._inbox_in, self._inbox_out = anyio.create_memory_object_stream[str | bytes](_INBOX)
        self._early: list[Frame] = []  # came with the upgrade
        self._fragments: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._silent = False  # nothing more is sent, whatever comes
        self._gone = anyio.Event()

    @classmethod
    async def accept(
        cls, stream: SocketStream, octets: bytes, on_ping: Callable[[], None]
    ) -> tuple[WebSocket | None, int]:
        """Answer an upgrade whose request, and whatever followed it, is ``octets``.

        Returns
        -------
        websocket : WebSocket or None
            None when the request asks for a WebSocket in a way that RFC 6455 does not allow.
        status : int
            Of the answer.
        """
        protocol = ServerProtocol(max_size=MAX_MESSAGE_OCTETS)
        protocol.receive_data(octets)
        events = protocol.events_received()
        if not events:
            return None, 400
        request = events.pop(0)
        assert isinstance(request, WebSocketRequest)
        response = protocol.accept(request)
        protocol.send_response(response)
        await stream.send(b"".join(protocol.data_to_send()))
        if response.status_code != 101:
            return None, response.status_code
        websocket = cls(stream, protocol, on_ping)
        websocket._early = websocket._frames(events)
        return websocket, 101

    async def pump(self) -> None:
        """Read until the client has gone: answer pings, keep its messages for `receive`."""
        try:
            for frame in self._early:
                await self._take(frame)
            while True:
                octets = await self._stream.receive()
                if self._silent:
                    continue
                async with self._lock:
                    self._protocol.receive_data(octets)
                    frames = self._frames(self._protocol.events_received())
                    await self._flush()
                for frame in frames:
                    await self._take(frame)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self._gone.set()
            self._inbox_in.close()

    async def receive(self) -> str | bytes:
        """Take the next message.  Raises `WebSocketClosed` when there will be none."""
        try:
            return await self._inbox_out.receive()
        except anyio.EndOfStream:
            raise WebSocketClosed from None

    async def send(self, *messages: str | bytes) -> None:
        """Send messages in one go.  Raises `WebSocketClosed` when they cannot all be sent."""
        async with self._lock:
            if self._silent:
                raise WebSocketClosed
            try:
                for message in messages:
                    if isinstance(message, str):
                        self._protocol.send_text(message.encode())
                    else:
                        self._protocol.send_binary(message)
                await self._flush()
            except (InvalidState, WebSocketException, anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise WebSocketClosed from None

    async def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and wait for the client to go, for 5 s at most."""
        async with self._lock:
            try:
                if self._protocol.state is State.OPEN:
                    self._protocol.send_close(code, reason)
                await self._flush()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
        with anyio.move_on_after(_CLOSE_TIMEOUT_S):
            await self._gone.wait()

    async def cut(self) -> None:
        """End the stream without a close frame: all that was sent arrives, then the client sees 1006."""
        async with self._lock:
            self._silent = True
            try:
                await self._stream.send_eof()
            except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
        # closing with unread octets would reset the connection and destroy what is under way to the client
        with anyio.move_on_after(_CLOSE_TIMEOUT_S):
            await self._gone.wait()

    async def fall_silent(self) -> None:
        """Send nothing from now on, not even pongs, and wait until the client goes."""
        self._silent = True
        await self._gone.wait()

    async def _flush(self) -> None:
        octets = self._protocol.data_to_send()
        if self._silent:  # since its caller began to wait for the lock
            return
        data = b"".join(octets)
        if data:
            await self._stream.send(data)
        if octets and octets[-1] == b"":  # the protocol asks for the end of the stream
            try:
                await self._stream.send_eof()
            except OSError:
                raise anyio.BrokenResourceError from None

    def _frames(self, events: Iterable[Event]) -> list[Frame]:
        frames = [event for event in events if isinstance(event, Frame)]
        for frame in frames:
            if frame.opcode is Opcode.PING:  # the protocol has put the pong among what is to be sent
                self._on_ping()
        return frames

    async def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            data = b"".join(self._fragments)
            self._fragments.clear()
            # text of a whole frame has been checked by the protocol, that of fragments has not
            await self._inbox_in.send(data.decode(errors="replace") if self._opcode is Opcode.TEXT else data)

    async def run(self, handler: Callable[[WebSocket], Awaitable[None]]) -> None:
        """Run a handler beside the pump; both end when the handler does."""
        with self._inbox_in, self._inbox_out:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.pump)
                await handler(self)
                tasks.cancel_scope.cancel()
