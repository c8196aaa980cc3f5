"""Interactive sessions: the search that finds them, and the resource that mutes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio

from .agents import AgentLeg, LegChange, LegRefusal
from .http import Request, Response, api_error, json_response, retry_after
from .platform import Platform
from .routes import HttpRoute

__all__ = ["InteractiveSessions"]

_FIELDS: dict[str, Callable[[AgentLeg, LegChange], str]] = {
    "userId": lambda leg, now: leg.user_id,
    "type": lambda leg, now: leg.media_type,
    "status": lambda leg, now: _status(now),
    "conversationId": lambda leg, now: leg.conversation_id,
}


class InteractiveSessions:
    """Serves every leg of the cloud as a session of the leg's id."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def routes(self) -> list[HttpRoute]:
        """Where it is served."""
        return [
            HttpRoute("POST", "/api/v2/flexiblesearch/queries/sessions/details/query", self.search),
            HttpRoute("GET", "/api/v2/flexiblesearch/queries/sessions/details/query", self.search),
            HttpRoute("GET", "/api/v2/interactive/sessions/{id}", self.show),
            HttpRoute("PATCH", "/api/v2/interactive/sessions/{id}", self.change),
        ]

    async def search(self, request: Request) -> Response:
        """Answer a query of ``eq`` clauses joined by ``and``."""
        refusal = self._authorise(request, "session:read")
        if refusal is not None:
            return refusal
        try:
            body = json.loads(request.body)
            page_size, wanted = _read_query(body)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return api_error(
                400, f"The query cannot be read: {type(error).__name__}.", code="invalid.query.param.value"
            )
        now = self._platform.agents.now()
        found = []
        for leg in self._platform.agents.legs:
            change = leg.read(now)
            if all(_FIELDS[name](leg, change) in values for name, values in wanted):
                found.append(_session(leg, change))
        return json_response(200, {"entities": found[:page_size], "pageSize": page_size, "total": len(found)})

    async def show(self, request: Request) -> Response:
        """Answer how a session is."""
        refusal = self._authorise(request, "session:read")
        if refusal is not None:
            return refusal
        leg = self._leg(request)
        if leg is None:
            return api_error(404, "The session was not found, or it has ended.")
        now = self._platform.agents.now()
        refused = leg.refusal(None, now)
        return self._refuse(refused) if refused else json_response(200, _session(leg, leg.read(now)))

    async def change(self, request: Request) -> Response:
        """Accept a change of ``muted``: 200 with the session when it is done, 204 while it is not yet."""
        refusal = self._authorise(request, "session:write")
        if refusal is not None:
            return refusal
        try:
            body = json.loads(request.body)
            muted = body["muted"]
        except (ValueError, TypeError, KeyError, RecursionError):
            muted = None
        if not isinstance(muted, bool) or len(body) != 1:
            return api_error(400, 'The body is not {"muted": true} or {"muted": false}.')
        leg = self._leg(request)
        if leg is None:
            return api_error(404, "The session was not found, or it has ended.")
        now = self._platform.agents.now()
        refused = leg.refusal(muted, now)
        if refused is not None:
            return self._refuse(refused)
        leg.request(muted, now)
        change = leg.read(now)
        return json_response(200, _session(leg, change)) if change.muted is muted else Response(204)

    def _leg(self, request: Request) -> AgentLeg | None:
        leg = next(self._platform.agents.find(leg_id=request.params["id"]), None)
        return None if leg is None or leg.read(self._platform.agents.now()).state == "disconnected" else leg

    def _authorise(self, request: Request, scope: str) -> Response | None:
        now = anyio.current_time()
        refusal = self._platform.authorise(request, now)
        if refusal is not None:
            return refusal
        issued = self._platform.tokens.find(request.bearer_token() or "", now)
        if issued is not None and issued.scope and scope not in issued.scope.split():
            return api_error(403, f"The token lacks the scope {scope}.", code="app.not.authorized.for.scope")
        return None

    def _refuse(self, refusal: LegRefusal) -> Response:
        headers = retry_after(refusal.status, refusal.retry_after_s) if refusal.retry_after_s else ()
        return api_error(refusal.status, refusal.message, code=refusal.code, headers=headers)


def _read_query(body: Any) -> tuple[int, list[tuple[str, list[str]]]]:
    page_size, query = body.get("pageSize", 25), body["query"]
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= 100:
        raise ValueError("pageSize")
    if query["type"] != "and":
        raise ValueError("type")
    wanted = []
    for clause in query["clauses"]:
        name, values = clause["field"], clause["values"]
        if clause["type"] != "eq" or name not in _FIELDS or not isinstance(values, list):
            raise ValueError("clause")
        wanted.append((name, values))
    return page_size, wanted


def _session(leg: AgentLeg, now: LegChange) -> dict[str, Any]:
    started = datetime.fromtimestamp(leg.started_at, UTC).isoformat(timespec="milliseconds")
    return {
        "id": leg.leg_id,
        "userId": leg.user_id,
        "conversationId": leg.conversation_id,
        "type": leg.media_type,
        "status": _status(now),
        "state": now.state,
        "muted": now.muted,
        "startTime": started.replace("+00:00", "Z"),
    }


def _status(now: LegChange) -> str:
    return "ended" if now.state == "disconnected" else "active"
