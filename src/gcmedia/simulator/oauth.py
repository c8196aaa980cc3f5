"""``POST /oauth/token``: client credentials in, an access token out (RFC 6749 sections 4.4 and 5)."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from urllib.parse import parse_qsl

import anyio

from .http import Request, Response, json_response
from .platform import Platform
from .routes import HttpRoute

__all__ = ["OAuth"]

_UNCACHED = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


class OAuth:
    """The token endpoint.  Errors have the OAuth shape; planned 429 and 5xx have that of the API."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def routes(self) -> list[HttpRoute]:
        """Where it is served."""
        return [HttpRoute("POST", "/oauth/token", self.token)]

    async def token(self, request: Request) -> Response:
        """Answer a token request."""
        platform = self._platform
        platform.journal.count_token_request()
        status = platform.refusal("token")
        if status in (400, 401):
            return _error(status, "invalid_client", "refused by order")
        if status is not None:
            wait = platform.faults.retry_after_s
            return platform.refused(status, f"The token request was refused; retry in [{wait:g}] seconds.")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/x-www-form-urlencoded":
            return _error(400, "invalid_request", "the body is not application/x-www-form-urlencoded")
        try:
            form = dict(parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=100))
        except ValueError:  # not UTF-8, or too many fields
            return _error(400, "invalid_request", "the form cannot be read")
        basic = request.headers.get("authorization")
        credentials = _credentials(basic, form)
        if credentials is None:
            return _error(401, "invalid_client", "no client credentials", challenge=basic is not None)
        client_id, client_secret = credentials
        if not platform.tokens.knows(client_id):
            return _error(400, "invalid_client", "client not found")
        if not platform.tokens.authenticates(client_id, client_secret):
            return _error(401, "invalid_client", "authentication failed", challenge=basic is not None)
        grant = form.get("grant_type")
        if grant is None:
            return _error(400, "invalid_request", "grant_type is missing")
        if grant != "client_credentials":
            return _error(400, "unsupported_grant_type", "only client_credentials is granted")
        answer = {
            "access_token": platform.tokens.issue(anyio.current_time()),
            "token_type": "bearer",
            "expires_in": int(platform.tokens.lifetime_s),
        }
        return json_response(200, answer, _UNCACHED)


def _credentials(authorization: str | None, form: dict[str, str]) -> tuple[str, str] | None:
    """Id and secret from HTTP Basic, else from the form."""
    if authorization is None:
        client_id, client_secret = form.get("client_id"), form.get("client_secret")
        return None if client_id is None or client_secret is None else (client_id, client_secret)
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, client_secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError):
        return None
    return (client_id, client_secret) if colon else None


def _error(status: int, error: str, description: str, *, challenge: bool = False) -> Response:
    headers = (("WWW-Authenticate", 'Basic realm="oauth"'),) if challenge else ()
    body = {"error": error, "description": description, "error_description": description}
    return json_response(status, body, (*_UNCACHED, *headers))
