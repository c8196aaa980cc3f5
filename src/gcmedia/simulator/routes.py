"""Which handler serves which path.  Endpoints live in files of their own and hand in their routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from .http import Request, Response, api_error
from .websocket import WebSocket

__all__ = ["HttpRoute", "Router", "SocketRoute"]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A method and a path; ``{name}`` in the path matches one segment and fills ``request.params``."""

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A WebSocket path.

    ``admit`` sees the upgrade first, and refuses it by returning a response; ``handler`` then has the connection.
    """

    path: str
    admit: Callable[[Request], Response | None]
    handler: Callable[[Request, WebSocket], Awaitable[None]]


class Router:
    """The routes of a server, in the order given; the first that matches serves."""

    def __init__(self, routes: Iterable[HttpRoute | SocketRoute]) -> None:
        self._routes = [(route.path.strip("/").split("/"), route) for route in routes]

    def find(self, request: Request) -> tuple[HttpRoute | SocketRoute, dict[str, str]] | Response:
        """The route and what its path names, or the refusal.

        That is 404, 405 with ``Allow``, or 400 for a WebSocket where none is served and the other way round.
        """
        segments = request.path.strip("/").split("/")
        allowed: list[str] = []
        for template, route in self._routes:
            params = _match(template, segments)
            if params is None:
                continue
            if isinstance(route, SocketRoute):
                if request.upgrades and request.method == "GET":
                    return route, params
                allowed.append("GET")
            elif route.method == request.method and not request.upgrades:
                return route, params
            else:
                allowed.append(route.method)
        if not allowed:
            return api_error(404, "The requested resource was not found.")
        if request.method in allowed:
            return api_error(400, "This path serves either WebSocket upgrades or plain requests, not the other.")
        headers = (("Allow", ", ".join(allowed)),)
        return api_error(405, f"{request.method} is not served here.", headers=headers)


def _match(template: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    params: dict[str, str] = {}
    for wanted, found in zip(template, segments, strict=True):
        if wanted.startswith("{"):
            params[wanted[1:-1]] = found
        elif wanted != found:
            return None
    return params
