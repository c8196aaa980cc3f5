"""Who may in: bearer tokens compared in constant time, and what every answer tells the browser to keep from doing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Guard", "SecurityHeaders"]

REFUSAL_S = 0.25  # each refusal takes so long
MAX_REFUSALS = 64  # at a time; further ones are told at once that there are too many

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Compares bearer tokens.

    Parameters
    ----------
    tokens : mapping of str to str
        The token of each role.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        # Digests are of one length, so that comparing them tells nothing of the length of the token either.
        self._digests = {role: _digest(token) for role, token in tokens.items()}
        self._refusing = 0

    async def role(self, request: Request) -> str | int:
        """The role that the request's token stands for, or the status of the refusal."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = _digest(token.strip() if scheme.lower() == "bearer" else "")
        found = [role for role, digest in self._digests.items() if hmac.compare_digest(given, digest)]
        if found:
            return found[0]
        if self._refusing >= MAX_REFUSALS:
            return 429
        self._refusing += 1
        try:
            await anyio.sleep(REFUSAL_S)
        finally:
            self._refusing -= 1
        return 401


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class SecurityHeaders:
    """Adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        await self._app(scope, receive, send_with if scope["type"] == "http" else send)
