"""``/api/v2/media/streams``: one socket for the audio of many interactions, and the look-up that goes before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from time import time

import anyio

from .http import Request, Response, api_error, json_response
from .journal import Connection, Record
from .platform import Platform
from .routes import HttpRoute, SocketRoute
from .streams_feed import StreamsFeed
from .streams_messages import StreamsMessages, pick_codec, streams_error
from .websocket import WebSocket, WebSocketClosed

__all__ = ["MediaStreamsSocket"]

_SUBSCRIBE_TIMEOUT_S = 10.0
_WINDOW_S = 60.0  # how long media is kept after the end
_MAX_ID = 200  # characters


@dataclass(frozen=True, slots=True)
class _Asked:
    """One entry of a subscription."""

    interaction_id: str
    codec: str


class MediaStreamsSocket:
    """Serves interactions, each to one connection at a time: a newer subscription takes it over."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._plan = platform.media_streams
        self._owners: dict[str, StreamsFeed] = {}
        self._refusals = dict(self._plan.refused)
        self._ended_at: dict[str, float] = {}
        self._began = time()
        self._away: dict[str, float] = {}

    def routes(self) -> list[SocketRoute | HttpRoute]:
        """Where it is served."""
        return [
            SocketRoute("/api/v2/media/streams", self.admit, self.serve),
        ]

    def admit(self, request: Request) -> Response | None:
        """Refuse an upgrade by order, or for want of a token that holds."""
        status = self._platform.refusal("upgrade")
        if status is not None:
            return self._platform.refused(status, "The connection was refused.")
        return self._platform.authorise(request, anyio.current_time())

    async def describe(self, request: Request) -> Response:
        """An interaction as the conversations API describes it, by the server's clock."""
        name = request.params["conversation"]
        stream = self._platform.stream(name)
        if stream is None:
            return api_error(404, "The conversation was not found.", code="conversation.error.conversation.not.found")
        now = time() + self._plan.clock_skew_s
        end = self._end_of(name)
        person: dict[str, object] = {"id": f"{name}-customer", "purpose": "customer"}
        found: dict[str, object] = {"id": name, "startTime": _iso(self._began), "participants": [person]}
        if end is not None:
            found["endTime"] = person["endTime"] = _iso(end)
        return json_response(200, found, (("Date", formatdate(now, usegmt=True)),))

    def _end_of(self, name: str) -> float | None:
        """When an interaction ended, by the server's clock."""
        ago = self._plan.ended_ago_s.get(name)
        if ago is not None:
            return self._began + self._plan.clock_skew_s - ago
        stream = self._platform.streams.get(name)
        if stream is not None and stream.ended:
            return self._ended_at.setdefault(name, time() + self._plan.clock_skew_s)
        return None

    async def serve(self, request: Request, websocket: WebSocket) -> None:
        """Have one connection from its first subscription to its end."""
        connection = self._platform.journal.open_connection(request.connection)
        feed = StreamsFeed(self._platform, websocket, connection, self._away)
        try:
            with anyio.move_on_after(_SUBSCRIBE_TIMEOUT_S):
                await self._take(await websocket.receive(), feed, websocket, connection)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen, feed, websocket, connection)
                connection.end = await feed.run()
                self._release(feed)
                await feed.finish(connection.end)
                tasks.cancel_scope.cancel()
        except WebSocketClosed:
            connection.end = "left"
        except anyio.get_cancelled_exc_class():
            connection.end = "shutdown"
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 0.5):
                await websocket.close(1001, "going away")
            raise
        finally:
            self._release(feed)
            feed.detach_all()

    def _release(self, feed: StreamsFeed) -> None:
        for name in [name for name, owner in self._owners.items() if owner is feed]:
            del self._owners[name]

    async def _listen(self, feed: StreamsFeed, websocket: WebSocket, connection: Connection) -> None:
        try:
            while True:
                await self._take(await websocket.receive(), feed, websocket, connection)
        except WebSocketClosed:
            feed.leave()

    async def _take(
        self, message: str | bytes, feed: StreamsFeed, websocket: WebSocket, connection: Connection
    ) -> None:
        try:
            asked = json.loads(message)
            entries = asked["interactions"]
            leaving = asked.get("type") == "unsubscribe"
            wanted = [_read(entry) for entry in entries]
        except (ValueError, KeyError, TypeError, AttributeError):
            connection.messages_ignored += 1
            await websocket.send(streams_error(400, "bad.request", "The message is no subscription."))
            return
        if leaving:
            for one in wanted:
                feed.drop(one.interaction_id)
                if self._owners.get(one.interaction_id) is feed:
                    del self._owners[one.interaction_id]
            return
        granted = []
        for one in wanted:
            refusal = self._refusal(one, feed)
            if refusal is None:
                granted.append(self._give(one, feed).granted())
            else:
                await websocket.send(refusal)
                self._platform.journal.add(
                    Record(connection.number, one.interaction_id, "refused", None, None, json.loads(refusal)["code"])
                )
        if granted and self._plan.replies == "full":
            await websocket.send(json.dumps({"type": "subscribed", "interactions": granted}))

    def _refusal(self, asked: _Asked, feed: StreamsFeed) -> str | None:
        name = asked.interaction_id
        status = self._platform.refusal("subscribe")
        if status is not None:
            return streams_error(status, "refused.by.order", "The subscription was refused.", name)
        if name not in feed.names and len(feed.names) >= self._plan.max_interactions:
            most = self._plan.max_interactions
            return streams_error(400, "tooManyStreams", f"A connection carries {most} streams.", name)
        planned = self._refusals.get(name, 0)
        if planned > 0:
            self._refusals[name] = planned - 1
            return streams_error(400, "mediaNotAvailable", "The media is not available yet.", name)
        stream = self._platform.stream(name)
        end = self._end_of(name)
        over = end is not None and time() + self._plan.clock_skew_s - end > _WINDOW_S
        if stream is None or stream.ended or over:
            return streams_error(400, "mediaNotAvailable", "The interaction was not found, or has ended.", name)
        return None

    def _give(self, asked: _Asked, feed: StreamsFeed) -> StreamsMessages:
        name = asked.interaction_id
        owner = self._owners.get(name)
        if owner is not None and owner is not feed:
            owner.drop(name)
        self._owners[name] = feed
        stream = self._platform.stream(name)
        assert stream is not None
        return feed.add(stream, StreamsMessages(name, stream.call, asked.codec, self._plan, self._platform.faults.seed))


def _read(entry: dict[str, object]) -> _Asked:
    name = entry["interactionId"]
    preferences = entry.get("codecPreferences", ["pcmu"])
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_ID or not isinstance(preferences, list):
        raise ValueError("not an interaction")
    return _Asked(name, pick_codec(preferences))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
