"""One token request: what is sent for each grant, and what its answer means (RFC 6749 sections 4 to 6)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..backoff import retry_after_of
from ..errors import AuthError, RateLimited
from ..redact import repeatable
from ..transport.http import Answer, json_object, text_of
from .credentials import Credentials, UserGrant, basic_value
from .sources import usable

__all__ = ["Granted", "read_grant", "read_refusal", "token_form", "token_headers"]

DEFAULT_LIFETIME_S = 86_400.0

#: OAuth errors that asking again does not cure, whatever the status.
PERMANENT = frozenset(
    (
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "access_denied",
    )
)


@dataclass(frozen=True, slots=True)
class Granted:
    """A token as the endpoint gave it.

    Attributes
    ----------
    token : str
        The access token.
    lifetime_s : float
        From the beginning of the request.
    refresh_token : str
        Empty when there was none.
    scope : tuple of str
        What the token may do, where the endpoint says so.
    """

    token: str = field(repr=False)
    lifetime_s: float
    refresh_token: str = field(repr=False)
    scope: tuple[str, ...]


def token_headers(grant: Credentials | UserGrant, auth_style: str) -> dict[str, str]:
    """Who asks, where that stands in the header."""
    if auth_style == "basic" and grant.client_secret:
        return {"Authorization": f"Basic {basic_value(grant)}"}
    return {}


def token_form(
    grant: Credentials | UserGrant,
    auth_style: str,
    *,
    code: str = "",
    refresh_token: str = "",
    scope: str | None = None,
) -> dict[str, str]:
    """What is asked for, and who asks where that stands in the form.

    Parameters
    ----------
    grant : Credentials or UserGrant
        The client, and for a user what goes with the code.
    auth_style : str
        ``"basic"`` or ``"body"``.
    code, refresh_token : str
        Of a user: what is in hand to pay with.
    scope : str, optional
        Sent when given.

    Raises
    ------
    AuthError
        If a user has neither code nor refresh token left.
    """
    if isinstance(grant, Credentials):
        form = {"grant_type": "client_credentials"}
    elif refresh_token:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    elif code:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": grant.redirect_uri}
        if grant.code_verifier:
            form["code_verifier"] = grant.code_verifier
    else:
        raise AuthError("the token has ended and the server gave no refresh token: the user must sign in again")
    if scope is not None:
        form["scope"] = scope
    if auth_style == "body" or not grant.client_secret:
        form["client_id"] = grant.client_id
        if grant.client_secret:
            form["client_secret"] = grant.client_secret
    return form


def read_grant(answer: Answer, hidden: Iterable[str] = ()) -> Granted:
    """Take the token out of an answer 200.

    Raises
    ------
    AuthError
        If it holds no usable bearer token, or a lifetime that is none.
    """
    body = json_object(answer.body)
    token, kind = body.get("access_token"), body.get("token_type", "bearer")
    lifetime = body.get("expires_in", DEFAULT_LIFETIME_S)
    if not isinstance(token, str) or not usable(token):
        raise AuthError("the token endpoint answered 200 without a usable access_token", status=200)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise AuthError("the token endpoint issued a token that is not a bearer token", status=200)
    if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not 0 < lifetime < math.inf:
        shown = repeatable(repr(lifetime), (*hidden, token))
        raise AuthError(f"expires_in is {shown}, not a number of seconds", status=200)
    scope = text_of(body, "scope") or ""
    return Granted(token, float(lifetime), text_of(body, "refresh_token") or "", tuple(scope.split()))


def read_refusal(answer: Answer, login_url: str, hidden: Iterable[str], wall_now: float) -> tuple[AuthError, bool]:
    """What an answer other than 200 means: the error, and whether another attempt may cure it.

    Parameters
    ----------
    answer : Answer
        In OAuth's shape, the API's, or none.
    login_url : str
        Who answered, for the message.
    hidden : iterable of str
        Secrets that it may repeat.
    wall_now : float
        Unix time against which a date in ``Retry-After`` is read, when the answer has no ``Date``.
    """

    def said(*names: str) -> str | None:
        text = text_of(body, *names)
        return repeatable(text, hidden) if text else None

    status, body = answer.status, json_object(answer.body)
    hidden = [*hidden, answer.credential]
    code, reason = said("error", "code"), said("error_description", "description", "message")
    context_id = said("contextId")
    message = f"token request to {login_url} was answered {status}"
    if code or reason:
        message += f" {': '.join(part for part in (code, reason) if part)}"
    if status == 403:
        message += " (a role for client credentials, or a scope for user grants, may be missing)"
    error = (RateLimited if status == 429 else AuthError)(
        message,
        status=status,
        error=code,
        context_id=context_id,
        correlation_id=repeatable(answer.headers.get("ININ-Correlation-Id") or "", hidden) or context_id,
        retry_after=retry_after_of(answer.headers, wall_now),
    )
    again = status in (408, 429) or (status >= 500 and status != 501)
    return error, again and code not in PERMANENT
