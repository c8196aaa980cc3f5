"""``/ws``: the web chat edge, where an agent's microphone is muted by a message."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import Any

import anyio

from .agents import AgentLeg, LegChange, LegRefusal
from .http import Request, Response, api_error
from .platform import Platform
from .routes import SocketRoute
from .websocket import WebSocket, WebSocketClosed

__all__ = ["EDGE_ACKS", "WebchatEdge"]

#: What a command is answered with: an event for each, an event when something changed, or nothing.
EDGE_ACKS = ("command", "change", "none")

SCOPE = "webchat:client"
_SIGN_IN_TIMEOUT_S = 10.0
_LIVE = ("ringing", "connected")


class _Refused(Exception):
    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.more = more


class WebchatEdge:
    """Serves all legs of the cloud to whoever signs in; a user's token only that user's.

    Every leg is a stream of the leg's id.  After the sign-in each stream is told of, and then each change of it.
    """

    def __init__(self, platform: Platform, acks: str = "command") -> None:
        self._platform = platform
        self._acks = acks

    def routes(self) -> list[SocketRoute]:
        """Where it is served."""
        return [SocketRoute("/ws", self.admit, self.serve)]

    def admit(self, request: Request) -> Response | None:
        """Refuse an upgrade by order, or one that names no environment."""
        status = self._platform.refusal("upgrade")
        if status is not None:
            return self._platform.refused(status, "The connection was refused.")
        return None if request.query.get("environment") else api_error(400, "The query names no environment.")

    async def serve(self, request: Request, websocket: WebSocket) -> None:
        """Have one connection, from its sign-in to its end."""
        try:
            token, user_id = await self._sign_in(websocket)
            await websocket.send(json.dumps({"type": "authed"}))
            async with anyio.create_task_group() as tasks:
                for leg in self._legs(user_id):
                    tasks.start_soon(self._tell, websocket, leg)
                with suppress(WebSocketClosed):  # here, as the group would wrap it
                    await self._commands(websocket, token, user_id)
                tasks.cancel_scope.cancel()
        except _Refused as refusal:
            try:
                await websocket.send(_error(str(refusal), **refusal.more))
            except WebSocketClosed:
                return
            await websocket.close(1008, "not signed in")
        except WebSocketClosed:
            return

    async def _sign_in(self, websocket: WebSocket) -> tuple[str, str]:
        """The token of the first message, and whose it is."""
        try:
            with anyio.fail_after(_SIGN_IN_TIMEOUT_S):
                message = _json_object(await websocket.receive())
        except TimeoutError:
            raise _Refused("No auth message came in time.", code="client.timeout", status=408) from None
        payload = message.get("payload")
        token = payload.get("token") if isinstance(payload, dict) else None
        if message.get("type") != "auth" or not isinstance(token, str):
            raise _Refused("unauthorized: the first message is no auth message.", status=401)
        issued = self._platform.tokens.find(token, anyio.current_time())
        if issued is None:
            raise _Refused("Invalid Token", code="bad.credentials", status=401)
        if issued.scope and SCOPE not in issued.scope.split():
            raise _Refused(f"unauthorized: the token lacks the scope {SCOPE}.", status=401)
        return token, issued.user_id

    def _legs(self, user_id: str) -> list[AgentLeg]:
        legs = self._platform.agents.find(user_id=user_id or None)
        return [leg for leg in legs if leg.media_type == "voice" and not leg.over]

    async def _tell(self, websocket: WebSocket, leg: AgentLeg) -> None:
        """Tell how a stream is, and of each change."""
        agents = self._platform.agents
        watch = leg.watch()
        try:
            now = leg.read(agents.now())
            if now.state in _LIVE:
                await websocket.send(_media(leg, now.muted))
            while True:
                for change in await agents.told(watch):
                    if self._is_told(change):
                        await websocket.send(_media(leg, change.muted))
        except WebSocketClosed:
            return
        finally:
            watch.close()

    def _is_told(self, change: LegChange) -> bool:
        return change.state in _LIVE and not (self._acks == "none" and change.by == "client")

    async def _commands(self, websocket: WebSocket, token: str, user_id: str) -> None:
        agents = self._platform.agents
        while True:
            message = _json_object(await websocket.receive())
            action = message.get("action")
            fail = partial(_error, action=action)
            if message.get("type") != "media" or action not in ("mute", "unmute"):
                await websocket.send(fail("The message is no media command.", status=400))
                continue
            if not self._platform.tokens.accepts(token, anyio.current_time()):
                await websocket.send(fail("Invalid Token", code="bad.credentials", status=401))
                continue
            if message.get("direction") != "outbound" or message.get("mediaType") != "audio":
                await websocket.send(fail("Only outbound audio can be muted here.", status=400))
                continue
            leg = self._stream(message, user_id)
            if leg is None:
                await websocket.send(fail("Media Action Failed: Stream Not Found", status=404))
                continue
            now, muted = agents.now(), action == "mute"
            refusal = leg.refusal(muted, now)
            if refusal is not None:
                await websocket.send(_refused(fail, leg, refusal))
                continue
            cut = leg.cut()
            if cut != "before":
                changes = leg.read(now).muted is not muted or leg.next_at < float("inf")
                leg.request(muted, now)
                if self._acks == "command" and not changes:
                    await websocket.send(_media(leg, muted))
            if cut:
                await websocket.cut()
                return

    def _stream(self, message: dict[str, Any], user_id: str) -> AgentLeg | None:
        """The leg that a command is for; the first live one when it does not say."""
        wanted, conversation = message.get("streamId", "default"), message.get("conversationId")
        now = self._platform.agents.now()
        for leg in self._legs(user_id):
            if leg.read(now).state not in _LIVE or conversation not in (None, leg.conversation_id):
                continue
            if wanted in ("default", leg.leg_id):
                return leg
        return None


def _media(leg: AgentLeg, muted: bool) -> str:
    payload = {
        "action": "mute" if muted else "unmute",
        "direction": "outbound",
        "mediaType": "audio",
        "streamId": leg.leg_id,
    }
    return json.dumps({"type": "media", "payload": payload})


def _refused(fail: partial[str], leg: AgentLeg, refusal: LegRefusal) -> str:
    more: dict[str, Any] = {"code": refusal.code, "status": refusal.status, "streamId": leg.leg_id}
    if refusal.retry_after_s:
        more["retryAfter"] = refusal.retry_after_s
    return fail(refusal.message, **more)


def _error(message: str, **more: Any) -> str:
    payload = {"message": message} | {name: value for name, value in more.items() if value is not None}
    return json.dumps({"type": "error", "payload": payload})


def _json_object(message: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
