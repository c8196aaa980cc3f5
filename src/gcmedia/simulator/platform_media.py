"""``/api/v2/platform/media``: the socket that sends a conversation's audio and transcripts."""

from __future__ import annotations

import json
from dataclasses import dataclass

import anyio

from .calls import FORMATS, SAMPLE_RATES
from .http import Request, Response, error_code
from .journal import Connection, Record
from .media_feed import MediaFeed
from .media_messages import MediaFormatAsked, error_message
from .platform import Platform
from .routes import SocketRoute
from .stream import ConversationStream
from .websocket import WebSocket, WebSocketClosed

__all__ = ["PlatformMedia"]

_SUBSCRIBE_TIMEOUT_S = 10.0


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class _Owner:
    """The connection that has a conversation now."""

    scope: anyio.CancelScope
    released: anyio.Event


class PlatformMedia:
    """Serves conversations, each to one connection at a time: a newer subscription takes it over."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._owners: dict[str, _Owner] = {}
        self._left_at: dict[str, float] = {}

    def routes(self) -> list[SocketRoute]:
        """Where it is served."""
        return [SocketRoute("/api/v2/platform/media", self.admit, self.serve)]

    def admit(self, request: Request) -> Response | None:
        """Refuse an upgrade by order, or for want of a token that holds."""
        status = self._platform.refusal("upgrade")
        if status is not None:
            return self._platform.refused(status, "The connection was refused.")
        return self._platform.authorise(request, anyio.current_time())

    async def serve(self, request: Request, websocket: WebSocket) -> None:
        """Have one connection from its subscription to its end."""
        connection = self._platform.journal.open_connection(request.connection)
        try:
            stream, asked = await self._subscription(websocket, connection)
        except _Refused as refusal:
            connection.end = "refused"
            await self._refuse(websocket, connection, refusal)
            return
        except WebSocketClosed:
            connection.end = "left"
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_ignore_messages, websocket, connection)
            try:
                feed = MediaFeed(self._platform, websocket, connection, stream, asked)
                connection.end = await self._own(stream, feed)
                await feed.finish(connection.end)
            except anyio.get_cancelled_exc_class():
                connection.end = "shutdown"
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 0.5):
                    await websocket.close(1001, "going away")
                raise
            tasks.cancel_scope.cancel()

    async def _subscription(
        self, websocket: WebSocket, connection: Connection
    ) -> tuple[ConversationStream, MediaFormatAsked]:
        try:
            with anyio.fail_after(_SUBSCRIBE_TIMEOUT_S):
                message = await websocket.receive()
        except TimeoutError:
            raise _Refused(408, f"No subscription within {_SUBSCRIBE_TIMEOUT_S:g} s.") from None
        conversation_id, asked = _read_subscription(message)
        connection.conversation_id = conversation_id
        status = self._platform.refusal("subscribe")
        if status is not None:
            raise _Refused(status, "The subscription was refused.")
        stream = self._platform.stream(conversation_id)
        if stream is None or stream.ended:
            raise _Refused(404, "The conversation was not found, or it has ended.")
        return stream, asked

    async def _refuse(self, websocket: WebSocket, connection: Connection, refusal: _Refused) -> None:
        code = error_code(refusal.status)
        try:
            await websocket.send(error_message(refusal.status, code, str(refusal)))
        except WebSocketClosed:
            return
        record = Record(connection.number, connection.conversation_id, "refused", None, None, code)
        self._platform.journal.add(record)
        # 1013 asks the client to come again, 1008 tells it not to
        await websocket.close(1013 if refusal.status == 429 or refusal.status >= 500 else 1008, code)

    async def _own(self, stream: ConversationStream, feed: MediaFeed) -> str:
        """Take the conversation over and send it; returns how the connection ended."""
        name = stream.conversation_id
        while name in self._owners:
            owner = self._owners[name]
            owner.scope.cancel()
            await owner.released.wait()
        now = anyio.current_time()
        with anyio.CancelScope() as scope:
            owner = self._owners[name] = _Owner(scope, anyio.Event())
            try:
                return await feed.run(now - self._left_at.get(name, now))
            finally:
                stream.detach()
                self._left_at[name] = anyio.current_time()
                del self._owners[name]
                owner.released.set()
        return "replaced"


async def _ignore_messages(websocket: WebSocket, connection: Connection) -> None:
    """Whatever a client says after its subscription is counted, and means nothing."""
    try:
        while True:
            await websocket.receive()
            connection.messages_ignored += 1
    except WebSocketClosed:
        pass


def _read_subscription(message: str | bytes) -> tuple[str, MediaFormatAsked]:
    """Conversation and format asked for; raises `_Refused` with what is wrong."""
    try:
        asked = json.loads(message)
    except ValueError:
        raise _Refused(400, "The subscription is not JSON.") from None
    if not isinstance(asked, dict) or asked.get("type") != "subscribe":
        raise _Refused(400, 'The first message is not of type "subscribe".')
    conversation_id = asked.get("conversationId")
    if not isinstance(conversation_id, str) or not 1 <= len(conversation_id) <= 200:
        raise _Refused(400, "conversationId is not a text of 1 to 200 characters.")
    encoding, rate, channels = asked.get("format", "raw"), asked.get("sampleRate", 16000), asked.get("channels", 1)
    if encoding not in FORMATS:
        raise _Refused(400, f"format is not one of {', '.join(FORMATS)}.")
    if rate not in SAMPLE_RATES or isinstance(rate, bool):
        raise _Refused(400, "sampleRate is not 8000 or 16000.")
    if channels not in (1, 2) or isinstance(channels, bool):
        raise _Refused(400, "channels is not 1 or 2.")
    return conversation_id, MediaFormatAsked(encoding, int(rate), int(channels))
