"""``/api/v2/conversations``, analytics and users: the calls that agents are in, and muting them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .agents import AgentLeg, LegChange, LegRefusal
from .gate import Caller, Gate
from .http import Request, Response, api_error, json_response, retry_after
from .platform import Platform
from .routes import HttpRoute

__all__ = ["SHAPES", "Conversations", "snapshot"]

SHAPES = ("flat", "nested")
_EPOCH_S = 1_700_000_000
_STATES = {
    "idle": "none",
    "connecting": "contacting",
    "ringing": "alerting",
    "connected": "connected",
    "disconnected": "terminated",
}
_SEGMENTS = {"connecting": "contacting", "ringing": "alert", "connected": "interact"}
#: Purpose of a leg that observes another, and the field that says whom.
_OBSERVERS = {
    "monitor": "monitoredParticipantId",
    "coach": "coachedParticipantId",
    "barge": "bargedParticipantId",
}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(_EPOCH_S + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def snapshot(
    platform: Platform,
    conversation_id: str,
    shape: str,
    now: float,
    told: Mapping[str, LegChange] | None = None,
    states: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A conversation as the API shows it.

    Parameters
    ----------
    platform : Platform
        Where its legs are.
    conversation_id : str
        Which one.
    shape : str
        ``"flat"`` or ``"nested"``.
    now : float
        Seconds of the cloud.
    told : mapping, optional
        By leg id, how a leg is to be shown instead of how it stands now.
    states : mapping, optional
        By leg id, the state as the platform words it, where it has two words for one.
    """
    participants: list[dict[str, Any]] = [
        {
            "id": f"{conversation_id}-customer",
            "purpose": "customer",
            "name": "Pat Customer",
            "ani": "tel:+15555550100",
            "startTime": _iso(0),
            **({"state": "connected", "muted": False} if shape == "flat" else {"calls": [{"state": "connected"}]}),
        }
    ]
    for position, leg in enumerate(platform.agents.legs):
        if leg.conversation_id != conversation_id:
            continue
        change = (told or {}).get(leg.leg_id) or leg.read(now)
        state = (states or {}).get(leg.leg_id) or _STATES[change.state]
        audio = {"state": state, "muted": change.muted, "held": False, "confined": False, "direction": "inbound"}
        participant: dict[str, Any] = {
            "id": leg.participant_id,
            "purpose": "agent" if leg.purpose in _OBSERVERS else leg.purpose,
            "name": "Sam Agent",
            "startTime": _iso(1 + position),
        }
        if leg.purpose in _OBSERVERS:
            participant[_OBSERVERS[leg.purpose]] = f"{conversation_id}-customer"
        if shape == "flat":
            participant |= {"user": {"id": leg.user_id}, **audio}
        else:
            participant |= {"userId": leg.user_id, "calls": [{"id": leg.leg_id, **audio}]}
        participants.append(participant)
    return {"id": conversation_id, "participants": participants, "recordingState": "none"}


class Conversations:
    """The REST endpoints about conversations and agents.

    A conversation without agents' legs is answered by ``without_agents``.
    """

    def __init__(
        self, platform: Platform, gate: Gate, without_agents: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self._platform = platform
        self._gate = gate
        self._without_agents = without_agents

    def routes(self) -> list[HttpRoute]:
        """Where they are served."""
        api, mute = "api", "mute"
        calls = "/api/v2/conversations/calls"
        table = [
            ("GET", calls, api, self.own_calls),
            ("GET", f"{calls}/{{conversation}}", api, self.flat),
            ("GET", "/api/v2/conversations/{conversation}", api, self.nested),
            ("PATCH", f"{calls}/{{conversation}}/participants/{{participant}}", mute, self.mute_self),
            (
                "PATCH",
                f"{calls}/{{conversation}}/participants/{{participant}}/user/{{user}}",
                mute,
                self.mute_on_behalf,
            ),
            ("PATCH", "/api/v2/conversations/{conversation}/participants/{participant}", mute, self.mute_generic),
            (
                "PATCH",
                f"{calls}/{{conversation}}/participants/{{participant}}/communications/{{communication}}",
                mute,
                self.communication,
            ),
            ("GET", "/api/v2/analytics/agents/{user}/status", api, self.status),
            ("GET", "/api/v2/users/me", api, self.me),
        ]
        return [HttpRoute(method, path, self._gate.guard(place, handler)) for method, path, place, handler in table]

    # Reading

    async def own_calls(self, request: Request, caller: Caller) -> Response:
        """Calls that the user of the token is in."""
        if caller.user_id is None:
            return _not_a_user()
        now = self._platform.agents.now()
        names = dict.fromkeys(
            leg.conversation_id
            for leg in self._platform.agents.find(user_id=caller.user_id)
            if leg.media_type == "voice" and not leg.over
        )
        entities = [snapshot(self._platform, name, "flat", now) for name in names]
        return json_response(200, {"entities": entities, "total": len(entities), "pageCount": 1})

    async def flat(self, request: Request, caller: Caller) -> Response:
        """One call, participants flat."""
        return self._read(request, "flat")

    async def nested(self, request: Request, caller: Caller) -> Response:
        """One conversation, participants nested."""
        name = request.params["conversation"]
        if not any(self._platform.agents.find(conversation_id=name)):
            return await self._without_agents(request)
        read = self._read(request, "nested")
        media = self._platform.streams.get(name)
        if media is None or not media.ended or read.status != 200:
            return read
        over = await self._without_agents(request)  # by the clock that the media had
        end = {"endTime": json.loads(over.body)["endTime"]}
        return replace(over, body=json.dumps(json.loads(read.body) | end).encode())

    def _read(self, request: Request, shape: str) -> Response:
        name = request.params["conversation"]
        legs = list(self._platform.agents.find(conversation_id=name))
        if not legs:
            code = "conversation.error.conversation.not.found"
            return api_error(404, "The conversation was not found.", code=code)
        now = self._platform.agents.now()
        refusal = legs[0].refusal(None, now)
        if refusal is not None:
            return _refused(refusal)
        return json_response(200, snapshot(self._platform, name, shape, now))

    async def status(self, request: Request, caller: Caller) -> Response:
        """What an agent is busy with."""
        user = request.params["user"]
        legs = list(self._platform.agents.find(user_id=user))
        now = self._platform.agents.now()
        sessions = []
        for position, leg in enumerate(self._platform.agents.legs):
            change = leg.read(now)
            if leg not in legs or change.state not in _SEGMENTS:
                continue
            sessions.append(
                {
                    "conversationId": leg.conversation_id,
                    "sessionId": leg.leg_id,
                    "mediaType": leg.media_type,
                    "segmentType": _SEGMENTS[change.state],
                    "originatingDirection": "inbound",
                    "sessionStart": _iso(1 + position),
                    "segmentStart": _iso(1 + position),
                }
            )
        return json_response(200, {"userId": user, "sessionCount": len(sessions), "sessions": sessions})

    async def me(self, request: Request, caller: Caller) -> Response:
        """The user of the token."""
        if caller.user_id is None:
            return _not_a_user()
        return json_response(200, {"id": caller.user_id, "name": "Sam Agent"})

    # Muting

    async def mute_self(self, request: Request, caller: Caller) -> Response:
        """A user about his own leg."""
        if caller.user_id is None:
            return _not_a_user()
        leg = self._leg(request)
        if leg is not None and leg.user_id != caller.user_id:
            code = "conversation.error.user.not.party"
            return api_error(400, "The participant does not belong to the requester.", code=code)
        return self._mute(request, leg)

    async def mute_on_behalf(self, request: Request, caller: Caller) -> Response:
        """Anyone with the permission about the leg of a named user."""
        user = request.params["user"]
        leg = self._leg(request)
        if leg is None or leg.user_id != user:
            return api_error(404, f"User {user} is not a participant in the conversation.")
        return self._mute(request, leg)

    async def mute_generic(self, request: Request, caller: Caller) -> Response:
        """The endpoint of all media."""
        return self._mute(request, self._leg(request))

    async def communication(self, request: Request, caller: Caller) -> Response:
        """Disconnects, and nothing else."""
        return api_error(400, "Only the state can be changed here.", code="communication.state.required")

    def _leg(self, request: Request) -> AgentLeg | None:
        found = self._platform.agents.find(conversation_id=request.params["conversation"])
        return next((leg for leg in found if leg.participant_id == request.params["participant"]), None)

    def _mute(self, request: Request, leg: AgentLeg | None) -> Response:
        try:
            asked = json.loads(request.body)
        except ValueError:
            return api_error(400, "The body is not JSON.")
        muted = asked.get("muted") if isinstance(asked, dict) else None
        if not isinstance(muted, bool):
            return api_error(400, "muted is missing, or neither true nor false.", code="invalid.value")
        if leg is None:
            if next(self._platform.agents.find(conversation_id=request.params["conversation"]), None) is None:
                code = "conversation.error.conversation.not.found"
                return api_error(404, "The conversation was not found.", code=code)
            code = "conversation.error.not.conversation.participant"
            return api_error(404, "There is no such participant in the conversation.", code=code)
        now = self._platform.agents.now()
        refusal = leg.refusal(muted, now)
        if refusal is not None:
            return _refused(refusal)
        if leg.read(now).state == "disconnected":
            return api_error(400, "The call has been disconnected.", code="conversation.error.call.disconnected")
        leg.request(muted, now)
        return Response(202)


def _refused(refusal: LegRefusal) -> Response:
    headers = retry_after(refusal.status, refusal.retry_after_s) if refusal.retry_after_s else ()
    return api_error(refusal.status, refusal.message, code=refusal.code, headers=headers)


def _not_a_user() -> Response:
    return api_error(400, "The request requires a user context.", code="not.a.user")
