"""Sign-in, tokens, and what they say of themselves (RFC 6749 sections 4.1, 4.4, 5 and 6; RFC 7636)."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio

from .http import Request, Response, api_error, json_response
from .platform import Platform
from .routes import HttpRoute
from .sign_in import SignIn, SignIns

__all__ = ["OAuth"]

_UNCACHED = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


class OAuth:
    """The login host, and ``/api/v2/tokens/me``.

    Errors of the token endpoint have the OAuth shape; planned 429 and 5xx have that of the API.  Whoever opens the
    sign-in page is signed in at once, as the user that ``login_hint`` names.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._sign_ins = SignIns()

    def routes(self) -> list[HttpRoute]:
        """Where it is served."""
        return [
            HttpRoute("GET", "/oauth/authorize", self.authorize),
            HttpRoute("POST", "/oauth/token", self.token),
            HttpRoute("GET", "/api/v2/tokens/me", self.show),
            HttpRoute("HEAD", "/api/v2/tokens/me", self.show),
            HttpRoute("DELETE", "/api/v2/tokens/me", self.revoke),
        ]

    async def authorize(self, request: Request) -> Response:
        """Send the browser back with a code."""
        query = request.query
        redirect_uri, challenge = query.get("redirect_uri", ""), query.get("code_challenge", "")
        if not self._platform.tokens.knows(query.get("client_id", "")) or not redirect_uri:
            return _error(400, "invalid_request", "client_id or redirect_uri is not known")
        if query.get("response_type") != "code" or (challenge and query.get("code_challenge_method") != "S256"):
            return _error(400, "invalid_request", "only codes are given, and only S256 is taken")
        user_id = query.get("login_hint", "user-1")
        answer = {"code": self._sign_ins.code(SignIn(user_id, query.get("scope", ""), redirect_uri, challenge))}
        if "state" in query:
            answer["state"] = query["state"]
        joint = "&" if "?" in redirect_uri else "?"
        return Response(302, headers=(*_UNCACHED, ("Location", f"{redirect_uri}{joint}{urlencode(answer)}")))

    async def show(self, request: Request) -> Response:
        """What the token may do."""
        platform, now = self._platform, anyio.current_time()
        refusal = platform.authorise(request, now)
        issued = platform.tokens.find(request.bearer_token() or "", now)
        if refusal is not None or issued is None:
            return refusal or api_error(401, "The access token is unknown, revoked or expired.")
        organization = {"id": "org-1", "name": "Simulated"}
        return json_response(
            200,
            {
                "organization": organization,
                "homeOrganization": organization,
                "authorizedScope": issued.scope.split(),
                "OAuthClient": {"organization": organization},
            },
        )

    async def revoke(self, request: Request) -> Response:
        """Take the token back."""
        refusal = self._platform.authorise(request, anyio.current_time())
        if refusal is None:
            self._platform.tokens.revoke(request.bearer_token() or "")
        return refusal or Response(200)

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
        grant = form.get("grant_type")
        credentials = _credentials(basic, form)
        if credentials is None and grant == "authorization_code" and "code_verifier" in form:
            pass  # a public client proves itself by the verifier
        elif credentials is None and grant == "refresh_token" and platform.tokens.knows(form.get("client_id", "")):
            pass  # and later by the refresh token, which nobody else has
        elif credentials is None:
            return _error(401, "invalid_client", "no client credentials", challenge=basic is not None)
        elif not platform.tokens.knows(credentials[0]):
            return _error(400, "invalid_client", "client not found")
        elif not platform.tokens.authenticates(*credentials):
            return _error(401, "invalid_client", "authentication failed", challenge=basic is not None)
        if grant is None:
            return _error(400, "invalid_request", "grant_type is missing")
        if grant == "client_credentials":
            return json_response(200, self._answer(platform.tokens.issue(anyio.current_time())), _UNCACHED)
        if grant == "authorization_code":
            sign_in = self._sign_ins.redeem(
                form.get("code", ""), form.get("redirect_uri", ""), form.get("code_verifier", "")
            )
        elif grant == "refresh_token":
            sign_in = self._sign_ins.refresh(form.get("refresh_token", ""))
        else:
            return _error(400, "unsupported_grant_type", f"{grant[:40]} is not granted")
        if sign_in is None or (credentials is None and grant == "authorization_code" and not sign_in.challenge):
            return _error(400, "invalid_grant", "the code or refresh token is spent, unknown or does not fit")
        answer = self._answer(platform.tokens.issue(anyio.current_time(), sign_in.user_id, sign_in.scope))
        answer["refresh_token"] = self._sign_ins.refresh_token(sign_in)
        if sign_in.scope:
            answer["scope"] = sign_in.scope
        return json_response(200, answer, _UNCACHED)

    def _answer(self, token: str) -> dict[str, Any]:
        lifetime = int(self._platform.tokens.lifetime_s)
        return {"access_token": token, "token_type": "bearer", "expires_in": lifetime}


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
