"""``/api/v2/notifications`` and its sockets: channels, subscriptions, and what is told over them."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import time
from typing import Any

import anyio
import anyio.abc

from .agents import AgentLeg, LegChange, LegWatch
from .api_faults import ApiFaults
from .conversations import snapshot
from .gate import Caller, Gate
from .http import Request, Response, api_error, json_response, retry_after
from .platform import Platform
from .routes import HttpRoute, SocketRoute
from .websocket import WebSocket, WebSocketClosed

__all__ = ["Notifications"]

_MAX_CHANNELS = 20  # of one owner; the next evicts the one unused for longest
_MAX_TOPICS = 1000
_MAX_TOPIC_CHARACTERS = 200
_GARBAGE = (
    "{",
    "not json",
    '{"topicName":7}',
    "{}",
    "[]",
    '{"topicName":"v2.new.thing","eventBody":{}}',
    '{"topicName":"v2.users.u.conversations","eventBody":{"id":1}}',
)


@dataclass(slots=True, eq=False)
class _Socket:
    """One open socket of a channel."""

    websocket: WebSocket
    tasks: anyio.abc.TaskGroup
    ended: anyio.Event = field(default_factory=anyio.Event)
    end: str = ""  # "close:CODE", "cut" or "left"
    silent: bool = False  # neither heartbeats nor pongs nor anything else
    watched: set[str] = field(default_factory=set)

    def finish(self, end: str) -> None:
        if not self.ended.is_set():
            self.end = end
            self.ended.set()


@dataclass(slots=True, eq=False)
class _Channel:
    """What subscriptions hang on, with or without a socket."""

    id: str
    owner: str
    expires_at: float
    used_at: float
    starved: bool
    topics: dict[str, None] = field(default_factory=dict)
    sockets: list[_Socket] = field(default_factory=list)


class Notifications:
    """The notification service, and what a test may make it do.

    The methods that are no endpoints are called in the event loop in which the simulator runs.

    Attributes
    ----------
    sockets_opened, channels_made : int
        So far.
    tokens_seen : int
        Sockets that came with a token in header or query, which none should.
    """

    def __init__(self, platform: Platform, gate: Gate, faults: ApiFaults) -> None:
        self._platform = platform
        self._gate = gate
        self._faults = faults
        self._draws = random.Random(f"{faults.seed}/notifications")
        self._channels: dict[str, _Channel] = {}
        self._socket_refusals = list(faults.socket_refusals)
        self.sockets_opened = 0
        self.channels_made = 0
        self.tokens_seen = 0

    def routes(self) -> list[HttpRoute | SocketRoute]:
        """Where it is served."""
        channels = "/api/v2/notifications/channels"
        subscriptions = f"{channels}/{{channel}}/subscriptions"
        table = [
            ("POST", channels, self.create),
            ("GET", channels, self.list_channels),
            ("HEAD", f"{channels}/{{channel}}", self.head),
            ("GET", subscriptions, self.subscriptions),
            ("POST", subscriptions, self.subscribe),
            ("PUT", subscriptions, self.subscribe),
            ("DELETE", subscriptions, self.unsubscribe),
        ]
        rest = [HttpRoute(method, path, self._gate.guard("channel", handler)) for method, path, handler in table]
        return [*rest, SocketRoute("/channels/{channel}", self.admit, self.serve)]

    # What a test may order

    @property
    def topics(self) -> list[tuple[str, ...]]:
        """Topics of each channel that lives, in order of their creation."""
        return [tuple(channel.topics) for channel in self._channels.values()]

    @property
    def n_sockets(self) -> int:
        """Sockets that are open."""
        return sum(len(channel.sockets) for channel in self._channels.values())

    def announce_close(self) -> None:
        """Tell every socket that it will be closed, and close it after the grace."""
        for socket in self._sockets():
            socket.tasks.start_soon(self._announce, socket)

    def cut(self) -> None:
        """End every socket without a close frame."""
        for socket in self._sockets():
            socket.finish("cut")

    def close(self, code: int = 1001) -> None:
        """Close every socket."""
        for socket in self._sockets():
            socket.finish(f"close:{code}")

    def fall_silent(self) -> None:
        """Let every open socket say nothing more, not even that it lives."""
        for socket in self._sockets():
            socket.silent = True

    def starve(self, starved: bool = True) -> None:
        """Let every channel there is live, and tell nothing."""
        for channel in self._channels.values():
            channel.starved = starved

    def drop_channels(self) -> None:
        """Forget every channel; their sockets end."""
        for channel in list(self._channels.values()):
            self._forget(channel)

    async def revoke_tokens(self) -> None:
        """Make all tokens worthless, tell every socket so, and forget its channel."""
        self._platform.tokens.revoke_all()
        for channel in list(self._channels.values()):
            body = {"channelId": channel.id, "systemTopicType": "token_revoked", "reason": "user_tokens_revoked"}
            for socket in list(channel.sockets):
                await self._send(socket, f"v2.system.token_revoked.{channel.id}", body)
            del self._channels[channel.id]

    async def take_topic(self, topic: str) -> None:
        """Let another channel have a topic: those that had it are told, and get no more of it."""
        for channel in list(self._channels.values()):
            if channel.topics.pop(topic, True) is None:
                body = {"channelId": channel.id, "reason": "another_channel_subscribed"}
                for socket in list(channel.sockets):
                    await self._send(socket, f"v2.system.no_longer_subscribed.{topic}", body)

    async def publish(self, topic: str, body: Any) -> int:
        """Tell all who subscribed to a topic; returns how many were told."""
        told = 0
        for channel in list(self._channels.values()):
            if topic in channel.topics and not channel.starved:
                for socket in list(channel.sockets):
                    await self._send(socket, topic, body)
                    told += 1
        return told

    async def send_raw(self, text: str) -> None:
        """Send text to every socket as it is."""
        for socket in self._sockets():
            try:
                await socket.websocket.send(text)
            except WebSocketClosed:
                socket.finish("left")

    async def arrived(self, leg: AgentLeg) -> None:
        """Tell of a leg that there was not before, and watch it from now on."""
        for channel in list(self._channels.values()):
            for socket in list(channel.sockets):
                self._watch(channel, socket)
                await self._tell(channel, socket, leg, leg.read(self._platform.agents.now()))

    # Endpoints

    async def create(self, request: Request, caller: Caller) -> Response:
        """Make a channel."""
        now = self._platform.agents.now()
        own = [channel for channel in self._channels.values() if channel.owner == caller.owner]
        if len(own) >= _MAX_CHANNELS:
            self._forget(min(own, key=lambda one: (bool(one.sockets), one.used_at)))
        channel = _Channel(
            id=f"streaming-{secrets.token_urlsafe(18)}",
            owner=caller.owner,
            expires_at=now + self._faults.channel_lifetime_s,
            used_at=now,
            starved=self.channels_made < self._faults.starved_channels,
        )
        self.channels_made += 1
        self._channels[channel.id] = channel
        return json_response(200, self._shown(channel, request))

    async def list_channels(self, request: Request, caller: Caller) -> Response:
        """The channels of the caller."""
        own = [channel for channel in self._channels.values() if channel.owner == caller.owner]
        return json_response(200, {"entities": [self._shown(channel, request) for channel in own]})

    async def head(self, request: Request, caller: Caller) -> Response:
        """Whether a channel lives."""
        return Response(200) if self._find(request) is not None else _gone()

    async def subscriptions(self, request: Request, caller: Caller) -> Response:
        """The topics of a channel."""
        channel = self._find(request)
        if channel is None:
            return _gone()
        return json_response(200, {"entities": [{"id": topic} for topic in channel.topics]})

    async def subscribe(self, request: Request, caller: Caller) -> Response:
        """Add topics (POST), or replace all (PUT); either gives the channel its full life again."""
        channel = self._find(request)
        if channel is None:
            return _gone()
        topics = _topics_of(request.body)
        if isinstance(topics, Response):
            return topics
        before = {} if request.method == "PUT" else channel.topics
        if len({**before, **dict.fromkeys(topics)}) > _MAX_TOPICS:
            code = "notification.subscription.too.many.subscriptions"
            return api_error(400, f"A channel has {_MAX_TOPICS} topics at most.", code=code)
        entities = [{"id": topic, **self._verdict(topic, caller)} for topic in topics]
        refused = [entity for entity in entities if entity["state"] == "Rejected"]
        if refused and request.query.get("ignoreErrors") != "true":
            code = "notification.unauthorized.topic"
            return api_error(403, f"{len(refused)} topics are not permitted.", code=code)
        permitted = dict.fromkeys(entity["id"] for entity in entities if entity["state"] == "Permitted")
        channel.topics = {**before, **permitted}
        now = self._platform.agents.now()
        channel.used_at, channel.expires_at = now, now + self._faults.channel_lifetime_s
        for socket in channel.sockets:
            self._watch(channel, socket)
        return json_response(200, {"entities": entities})

    async def unsubscribe(self, request: Request, caller: Caller) -> Response:
        """Remove all topics."""
        channel = self._find(request)
        if channel is None:
            return _gone()
        channel.topics = {}
        return Response(204)

    def _verdict(self, topic: str, caller: Caller) -> dict[str, Any]:
        for end, permission in self._faults.rejected_topics:
            if topic.endswith(end):
                reason = "The token lacks a permission."
                return {"state": "Rejected", "rejectionReason": reason, "missingPermissions": [permission]}
        if caller.user_id is not None and topic.startswith("v2.users.") and caller.user_id not in topic:
            return {"state": "Rejected", "rejectionReason": "The topic is another user's."}
        return {"state": "Permitted"}

    def _shown(self, channel: _Channel, request: Request) -> dict[str, str]:
        left = (channel.expires_at - self._platform.agents.now()) / self._platform.agents.speed
        expires = datetime.fromtimestamp(time() + left * self._platform.agents.speed, UTC)
        return {
            "id": channel.id,
            "connectUri": f"ws://{request.headers.get('host', '')}/channels/{channel.id}",
            "expires": expires.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }

    def _find(self, request: Request) -> _Channel | None:
        channel = self._channels.get(request.params["channel"])
        if channel is not None and self._platform.agents.now() >= channel.expires_at:
            self._forget(channel)
            return None
        return channel

    def _forget(self, channel: _Channel) -> None:
        self._channels.pop(channel.id, None)
        for socket in channel.sockets:
            socket.finish("close:1001")

    def _sockets(self) -> list[_Socket]:
        return [socket for channel in self._channels.values() for socket in channel.sockets]

    # Sockets

    def admit(self, request: Request) -> Response | None:
        """The id of the channel is all that is asked for."""
        self.tokens_seen += bool(request.query) or "authorization" in request.headers
        if self._socket_refusals:
            status = self._socket_refusals.pop(0)
            headers = retry_after(status, self._faults.retry_after_s)
            return api_error(status, "The socket was refused.", headers=headers)
        return None if self._find(request) is not None else _gone()

    async def serve(self, request: Request, websocket: WebSocket) -> None:
        """Serve one socket of a channel; an earlier one ends."""
        channel = self._find(request)
        if channel is None:
            await websocket.close(1008, "no such channel")
            return
        self.sockets_opened += 1
        async with anyio.create_task_group() as tasks:
            socket = _Socket(websocket, tasks)
            for old in channel.sockets:
                tasks.start_soon(self._supersede, old)
            channel.sockets.append(socket)
            try:
                tasks.start_soon(self._answer, socket)
                tasks.start_soon(self._beat, socket)
                self._plan_end(socket)
                self._watch(channel, socket)
                await socket.ended.wait()
            finally:
                channel.sockets.remove(socket)
                channel.used_at = self._platform.agents.now()
            tasks.cancel_scope.cancel()
        if socket.end.startswith("close:"):
            await websocket.close(int(socket.end[6:]))
        elif socket.end == "cut":
            await websocket.cut()

    async def _supersede(self, old: _Socket) -> None:
        await self._sleep(self._faults.overlap_s)
        old.finish("close:1001")

    def _plan_end(self, socket: _Socket) -> None:
        if self._faults.announce_close_after_s is not None:
            socket.tasks.start_soon(self._announce, socket, self._draws.uniform(*self._faults.announce_close_after_s))
        if self._faults.cut_after_s is not None:
            socket.tasks.start_soon(self._end_later, socket, self._draws.uniform(*self._faults.cut_after_s), "cut")

    async def _announce(self, socket: _Socket, after_s: float = 0.0) -> None:
        await self._sleep(after_s)
        await self._send(socket, "v2.system.socket_closing", {"message": "The socket will be closed."})
        await self._end_later(socket, self._faults.close_grace_s, "close:1001")

    async def _end_later(self, socket: _Socket, after_s: float, end: str) -> None:
        await self._sleep(after_s)
        socket.finish(end)

    async def _answer(self, socket: _Socket) -> None:
        """Answer pings; whatever else a client says means nothing."""
        try:
            while True:
                message = await socket.websocket.receive()
                if message == '{"message":"ping"}':
                    await self._send(socket, "channel.metadata", {"message": "pong"})
        except WebSocketClosed:
            socket.finish("left")

    async def _beat(self, socket: _Socket) -> None:
        while True:
            await self._sleep(self._faults.heartbeat_interval_s)
            await self._send(socket, "channel.metadata", {"message": "WebSocket Heartbeat"})

    def _watch(self, channel: _Channel, socket: _Socket) -> None:
        """Begin to tell of every leg of a user subscribed to."""
        for leg in self._platform.agents.legs:
            if leg.leg_id not in socket.watched and any(topic in channel.topics for topic, _ in _topics_about(leg)):
                socket.watched.add(leg.leg_id)
                socket.tasks.start_soon(self._follow, channel, socket, leg.watch())

    async def _follow(self, channel: _Channel, socket: _Socket, watch: LegWatch) -> None:
        try:
            while True:
                for change in await self._platform.agents.told(watch):
                    await self._tell(channel, socket, watch.leg, change)
        finally:
            watch.close()

    async def _tell(self, channel: _Channel, socket: _Socket, leg: AgentLeg, change: LegChange) -> None:
        """Send the snapshot that a change made, to the topics that there are of it."""
        now = self._platform.agents.now()
        for topic, shape in _topics_about(leg):
            if topic not in channel.topics or channel.starved:
                continue
            # The platform tells an end twice, in two words.
            for states in ({leg.leg_id: "disconnected"}, {}) if change.state == "disconnected" else ({},):
                body = snapshot(self._platform, leg.conversation_id, shape, now, {leg.leg_id: change}, states)
                await self._send(socket, topic, body)

    async def _send(self, socket: _Socket, topic: str, body: Mapping[str, Any]) -> None:
        if socket.silent:
            return
        messages = [json.dumps({"topicName": topic, "version": "2", "eventBody": body, "metadata": {}})]
        if self._draws.random() < self._faults.malformed:
            messages.insert(0, self._draws.choice(_GARBAGE))
        try:
            await socket.websocket.send(*messages)
        except WebSocketClosed:
            socket.finish("left")

    async def _sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / self._platform.agents.speed)


def _topics_about(leg: AgentLeg) -> tuple[tuple[str, str], ...]:
    return (
        (f"v2.users.{leg.user_id}.conversations.calls", "flat"),
        (f"v2.users.{leg.user_id}.conversations", "nested"),
    )


def _topics_of(body: bytes) -> list[str] | Response:
    try:
        entries = json.loads(body)
    except ValueError:
        return api_error(400, "The body is not JSON.")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return api_error(400, "The body is not a list of topics.")
    topics = [entry.get("id") for entry in entries]
    for topic in topics:
        system = isinstance(topic, str) and (topic.startswith("v2.system.") or topic == "channel.metadata")
        if not isinstance(topic, str) or not 0 < len(topic) <= _MAX_TOPIC_CHARACTERS or system:
            return api_error(400, "A topic cannot be subscribed to.", code="notification.invalid.topic")
    return [topic for topic in topics if isinstance(topic, str)]


def _gone() -> Response:
    return api_error(404, "There is no such channel.", code="entity.not.found")
