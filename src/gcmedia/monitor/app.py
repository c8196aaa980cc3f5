"""The addresses of the monitor, and what each of them answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..live import LiveCall, LiveCalls
from . import wire
from .callview import CallView
from .config import MonitorConfig
from .fleet import Fleet
from .guard import Guard, SecurityHeaders
from .listen import ListenAudit, listen
from .streaming import Streaming, Write

__all__ = ["MonitorApp"]

FLEET_TICK_S = 1.0
CALL_TICK_S = 0.2
PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    **{
        f"/static/{name}": (name, kind)
        for name, kind in (
            ("monitor.css", "text/css; charset=utf-8"),
            ("main.js", "text/javascript; charset=utf-8"),
            ("wire.js", "text/javascript; charset=utf-8"),
            ("fleet.js", "text/javascript; charset=utf-8"),
            ("call.js", "text/javascript; charset=utf-8"),
            ("draw.js", "text/javascript; charset=utf-8"),
            ("listen.js", "text/javascript; charset=utf-8"),
            ("icon.svg", "image/svg+xml"),
        )
    },
}


class MonitorApp:
    """The ASGI application of one monitor.

    Parameters
    ----------
    calls : LiveCalls
        What is shown.
    config : MonitorConfig
        Who may see it.
    audit : ListenAudit
        Where listening in is written down.
    """

    def __init__(self, calls: LiveCalls, config: MonitorConfig, audit: ListenAudit) -> None:
        self._calls = calls
        self._config = config
        self._audit = audit
        self._seers = Guard({"page": config.token})
        self._listeners = Guard(config.listen_tokens)
        self._n_onlookers = 0
        self.fleet = Fleet(calls)
        self.closing = False
        self._static = {
            path: (files(__package__).joinpath("static", name).read_bytes(), kind)
            for path, (name, kind) in PAGES.items()
        }
        routes = [Route(path, self._page, methods=["GET"]) for path in PAGES]
        routes += [
            Route("/api/fleet", self._fleet, methods=["GET"]),
            Route("/api/calls/{number:int}", self._call, methods=["GET"]),
            Route("/api/calls/{number:int}/listen/{channel:int}", self._listen, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]
        self._asgi: ASGIApp = Starlette(routes=routes, middleware=[Middleware(SecurityHeaders)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._asgi(scope, receive, send)

    async def _page(self, request: Request) -> Response:
        content, kind = self._static[request.url.path]
        return Response(content, headers={"content-type": kind})

    async def _refused(self, request: Request, guard: Guard) -> Response | str:
        """The role of who asks, or the answer to one who may not."""
        found = await guard.role(request)
        if isinstance(found, str):
            return found
        why = "too many refusals at a time" if found == 429 else "a bearer token is needed"
        headers = {"www-authenticate": "Bearer"} if found == 401 else {"retry-after": "1"}
        return JSONResponse({"error": why}, status_code=found, headers=headers)

    async def _fleet(self, request: Request) -> Any:
        role = await self._refused(request, self._seers)
        return role if isinstance(role, Response) else self._stream(self._follow_fleet)

    async def _call(self, request: Request) -> Any:
        role = await self._refused(request, self._seers)
        if isinstance(role, Response):
            return role
        live = self._calls.get(request.path_params["number"])
        if live is None:
            return JSONResponse({"error": "the call is over, or never was"}, status_code=404)

        async def source(write: Write) -> None:
            await self._follow_call(live, write)

        return self._stream(source)

    async def _listen(self, request: Request) -> Any:
        live = self._calls.get(request.path_params["number"])
        role = await self._refused(request, self._listeners)
        if isinstance(role, Response):
            self._audit.refuse(live, "no token to listen in" if self._config.listen_tokens else "it is off")
            return role
        channel, kind = request.path_params["channel"], request.query_params.get("track", "raw")
        if live is None or live.call is None or live.meter is None or channel >= len(live.channels):
            return JSONResponse({"error": "there is no such call or channel to listen to"}, status_code=404)
        if kind not in ("raw", "clean"):
            return JSONResponse({"error": "track is raw or clean"}, status_code=400)

        async def source(write: Write) -> None:
            about = {"role": role, "channel": live.channels[channel], "kind": kind}
            self._audit.note(live, "begun", **about)
            try:
                await listen(live, channel, kind == "clean", write)
            finally:
                self._audit.note(live, "ended", **about)

        return self._stream(source)

    async def _metrics(self, request: Request) -> Response:
        role = await self._refused(request, self._seers)
        if isinstance(role, Response):
            return role
        try:
            from ..metrics import exposition
        except ModuleNotFoundError as error:
            return PlainTextResponse(f"metrics need {error.name}: pip install 'gcmedia[metrics]'\n", status_code=501)
        content, kind = await anyio.to_thread.run_sync(exposition, self._calls)
        return Response(content, headers={"content-type": kind})

    def _stream(self, source: Callable[[Write], Awaitable[None]]) -> Any:
        if self._n_onlookers >= self._config.max_onlookers:
            return JSONResponse(
                {"error": f"{self._n_onlookers} look on already"}, status_code=503, headers={"retry-after": "5"}
            )

        async def counted(write: Write) -> None:
            self._n_onlookers += 1
            try:
                await source(write)
            finally:
                self._n_onlookers -= 1

        return Streaming(counted)

    # What goes on

    async def _follow_fleet(self, write: Write) -> None:
        fleet = self.fleet
        known: dict[int, LiveCall] = {}
        begun = False
        while not self.closing:
            fleet.look()
            there = {live.number: live for live in fleet.shown}
            news: dict[str, Any] = {"totals": fleet.totals}
            fresh = [live for number, live in there.items() if number not in known]
            gone = known.keys() - there.keys()
            if fresh or not begun:
                news["calls"] = [
                    {
                        "call": live.number,
                        "id": live.conversation_id,
                        "channels": live.channels,
                        "source": live.source,
                        "startedAt": live.started_at,
                    }
                    for live in fresh
                ]
            if gone:
                news["gone"] = [{"call": number, "state": known[number].state} for number in gone]
            if not begun:
                news["listen"] = bool(self._config.listen_tokens)
            history = b"".join(fleet.history(live) for live in fresh)
            known, begun = there, True
            await write(wire.text(news) + history + fleet.rows)
            await anyio.sleep(FLEET_TICK_S)

    async def _follow_call(self, live: LiveCall, write: Write) -> None:
        view = CallView(self._calls, live, listening=bool(self._config.listen_tokens))
        if live.meter is not None:
            live.meter.watch()
        try:
            await write(view.begin())
            while not (view.over or self.closing):
                await anyio.sleep(CALL_TICK_S)
                await write(view.tick())
        finally:
            if live.meter is not None:
                live.meter.unwatch()
