"""Access tokens: asked for once, kept as long as they last, and never shown.

Anything with ``async token()`` and ``invalidate(token)`` is a source of tokens: :class:`TokenProvider` gets them
with client credentials or for a user who signed in, :class:`StaticToken` holds one, :class:`CallableToken` asks
the caller's own function.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import inspect
import json
import logging
import math
import os
import random
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import quote_plus, urlencode

import anyio
import anyio.lowlevel

from .backoff import delay, retry_after_of
from .clock import Clock
from .config import ReconnectConfig
from .errors import AuthError, ConfigError, GcmediaError, MissingCredentials, RateLimited, StateError
from .regions import Region, resolve_region, takes_secrets

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = [
    "BearerAuth",
    "CallableToken",
    "Credentials",
    "StaticToken",
    "TokenProvider",
    "TokenSource",
    "UserGrant",
    "authorize_url",
    "pkce_pair",
    "token_source",
]

log = logging.getLogger(__name__)

DEFAULT_LIFETIME_S = 86_400.0
MAX_ANSWER_OCTETS = 64 * 1024

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PERMANENT = frozenset(
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


class TokenSource(Protocol):
    """Where tokens come from."""

    async def token(self) -> str:
        """Return a token that is good now."""
        ...

    def invalidate(self, token: str) -> None:
        """Report that the server answered 401 to ``token``."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """An OAuth client of one region.  The secret is in no repr.

    Attributes
    ----------
    client_id, client_secret : str
        As the platform's administration shows them.
    region : str or Region
        Anything that :func:`~gcmedia.regions.resolve_region` takes.

    Raises
    ------
    MissingCredentials
        If one of them is empty; the message names it.
    """

    client_id: str
    client_secret: str
    region: str | Region

    def __post_init__(self) -> None:
        missing = [name for name in ("client_id", "client_secret", "region") if not getattr(self, name)]
        if missing:
            raise MissingCredentials(f"{' and '.join(missing)} must not be empty")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``GENESYS_CLIENT_ID``, ``GENESYS_CLIENT_SECRET`` and ``GENESYS_REGION``.

        Parameters
        ----------
        environ : mapping of str to str, optional
            Read instead of the environment of the process.

        Raises
        ------
        MissingCredentials
            If a variable is unset or empty; the message names every such one.
        """
        environ = os.environ if environ is None else environ
        names = ("GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "GENESYS_REGION")
        values = [environ.get(name, "").strip() for name in names]
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if missing:
            raise MissingCredentials(f"set {', '.join(missing)} in the environment")
        return cls(*values)

    def __repr__(self) -> str:
        return f"Credentials({_identity(self)}, client_secret='***')"


@dataclass(frozen=True, slots=True, repr=False)
class UserGrant:
    """What a user's sign-in gave: a code to redeem (RFC 6749 section 4.1, PKCE of RFC 7636), or a refresh token.

    Attributes
    ----------
    client_id : str
        The OAuth client for which the user signed in.
    region : str or Region
        Anything that :func:`~gcmedia.regions.resolve_region` takes.
    code, redirect_uri, code_verifier : str
        The code, the address to which it came, and the verifier of :func:`pkce_pair` if one was used.
    refresh_token : str
        Instead of a code, the token kept from an earlier sign-in.
    client_secret : str
        Empty for a public client, which proves itself by PKCE.

    Raises
    ------
    MissingCredentials
        If the client, the region, or both code and refresh token are empty, or a code has no ``redirect_uri``.
    """

    client_id: str
    region: str | Region
    code: str = ""
    redirect_uri: str = ""
    code_verifier: str = ""
    refresh_token: str = ""
    client_secret: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in ("client_id", "region") if not getattr(self, name)]
        if not (self.code or self.refresh_token):
            missing.append("code or refresh_token")
        if self.code and not self.redirect_uri:
            missing.append("redirect_uri")
        if missing:
            raise MissingCredentials(f"{' and '.join(missing)} must not be empty")

    def __repr__(self) -> str:
        return f"UserGrant({_identity(self)}, {'code' if self.code else 'refresh_token'}='***')"


def pkce_pair() -> tuple[str, str]:
    """Make a code verifier and its ``S256`` challenge (RFC 7636 section 4): keep the first, send the second."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).decode().rstrip("=")


def authorize_url(
    region: str | Region, client_id: str, redirect_uri: str, *, challenge: str, state: str, scope: str | None = None
) -> str:
    """Address at which a user signs in; the code comes back to ``redirect_uri`` together with ``state``."""
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": state,
    }
    if scope is not None:
        query["scope"] = scope
    return f"{resolve_region(region).login_url}/oauth/authorize?{urlencode(query)}"


class StaticToken:
    """A token that somebody else obtained; it cannot be renewed.

    Raises
    ------
    ConfigError
        If it is empty or could not stand in an HTTP header.
    """

    def __init__(self, token: str) -> None:
        if not _usable(token):
            raise ConfigError("the token is empty, or holds characters that an HTTP header cannot")
        self._token = token

    def __repr__(self) -> str:
        return "StaticToken('***')"

    async def token(self) -> str:
        """Return the token."""
        return self._token

    def invalidate(self, token: str) -> None:
        """Do nothing: there is no other token to get."""


class CallableToken:
    """Tokens from the caller's own function, asked anew each time; caching is the function's affair.

    Parameters
    ----------
    function : callable
        Takes nothing; returns the token, or an awaitable of it.  A plain function runs in the event loop, so
        it must not block.
    """

    def __init__(self, function: Callable[[], str | Awaitable[str]]) -> None:
        self._function = function

    async def token(self) -> str:
        """Ask the function.

        Raises
        ------
        AuthError
            If it returns something that cannot be a token.
        """
        answer = self._function()
        value = await answer if inspect.isawaitable(answer) else answer
        if not _usable(value):
            raise AuthError(f"the token function returned no usable token but {_kind(value)}")
        return value

    def invalidate(self, token: str) -> None:
        """Do nothing: the function is asked again anyway."""


def token_source(
    value: str | Credentials | UserGrant | TokenSource | Callable[[], str | Awaitable[str]],
) -> TokenSource:
    """Make a token source of what a caller may hand in: a token, credentials, a source, or a function."""
    if isinstance(value, str):
        return StaticToken(value)
    if isinstance(value, Credentials | UserGrant):
        return TokenProvider(value)
    if hasattr(value, "token") and hasattr(value, "invalidate"):
        return value
    if callable(value):
        return CallableToken(value)
    raise ConfigError(f"cannot get tokens from {_kind(value)}")


@dataclass(frozen=True, slots=True)
class _Cached:
    value: str = field(repr=False)
    refresh_at: float  # clock seconds: from here on a new one is asked for
    expires_at: float  # clock seconds: from here on this one is of no use


@dataclass(slots=True, eq=False)
class _Flight:
    """One token request under way, and who waits for it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    waiters: int = 0
    scope: anyio.CancelScope | None = None  # around the HTTP exchange, while there is one
    token: str | None = field(default=None, repr=False)
    error: Exception | None = None  # neither this nor a token: the one who asked was cancelled


class TokenProvider:
    """Tokens from the token endpoint, cached, renewed early, one request for any number of callers.

    Who calls :meth:`token` first makes the request; the others wait for its outcome, be it token or error.
    If the first is cancelled meanwhile, it sees an exchange that others wait for through to its end (bounded
    by ``request_timeout_s``); where that cannot be, or between attempts, one of the others takes over.

    Parameters
    ----------
    credentials : Credentials or UserGrant
        Client and region; for a user, the code to redeem or the refresh token to begin with.
    auth_style : str
        ``"basic"`` sends id and secret in the ``Authorization`` header, as the official clients do;
        ``"body"`` in the form.
    scope : str, optional
        Sent when given.  The platform ignores it for client credentials: they have roles instead.
    refresh_margin_s : float
        How long before its end a token is renewed; at most a tenth of its lifetime is taken.
    attempts : int
        Requests made before giving up, 1 or more.
    total_timeout_s : float
        Time for all of them together, waits included.  A wait that would go beyond is not begun.
    request_timeout_s : float
        Time for one.
    max_wait_s : float
        Longest ``Retry-After`` that is waited for; a longer one raises :class:`RateLimited`.
    backoff : ReconnectConfig, optional
        Waits between attempts when the server names none; its ``attempts`` is not used here.
    client : httpx.AsyncClient, optional
        Or anything with its ``stream`` method.  The caller closes it.  One is made at first use otherwise.
    clock : Clock, optional
        Source of time.
    rng : random.Random, optional
        Source of the jitter.
    allow_custom_host : bool
        Whether the secret may go to a host that is not one of the platform's, or without TLS.  This machine
        is always allowed.

    Raises
    ------
    ConfigError
        If a setting is out of range, or the secret would go to a host that was not allowed.
    """

    def __init__(
        self,
        credentials: Credentials | UserGrant,
        *,
        auth_style: str = "basic",
        scope: str | None = None,
        refresh_margin_s: float = 60.0,
        attempts: int = 5,
        total_timeout_s: float = 300.0,
        request_timeout_s: float = 15.0,
        max_wait_s: float = 180.0,
        backoff: ReconnectConfig | None = None,
        client: httpx.AsyncClient | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        allow_custom_host: bool = False,
    ) -> None:
        if auth_style not in ("basic", "body"):
            raise ConfigError(f"auth_style is {auth_style!r}, not 'basic' or 'body'")
        if auth_style == "basic" and ":" in credentials.client_id:
            raise ConfigError("client_id holds a colon, which HTTP Basic cannot carry")
        if attempts < 1:
            raise ConfigError(f"attempts is {attempts}, less than 1")
        for name, value in (("refresh_margin_s", refresh_margin_s), ("max_wait_s", max_wait_s)):
            if not 0.0 <= value < math.inf:
                raise ConfigError(f"{name} is {value} s, not a time")
        for name, value in (("total_timeout_s", total_timeout_s), ("request_timeout_s", request_timeout_s)):
            if not 0.0 < value < math.inf:
                raise ConfigError(f"{name} is {value} s, not more than 0")
        self.region = resolve_region(credentials.region)
        if not (allow_custom_host or takes_secrets(self.region.token_url)):
            raise ConfigError(
                f"the client secret would go to {self.region.login_url}, which is no host of the platform over TLS;"
                " pass allow_custom_host=True if that is meant"
            )
        self._credentials = credentials
        # A code or refresh token may be spent by an exchange whose answer then must not be lost.
        self._one_time = isinstance(credentials, UserGrant)
        self._code = credentials.code if isinstance(credentials, UserGrant) else ""
        self._refresh_token = credentials.refresh_token if isinstance(credentials, UserGrant) else ""
        self._auth_style = auth_style
        self._scope = scope
        self._refresh_margin_s = refresh_margin_s
        self._attempts = attempts
        self._total_timeout_s = total_timeout_s
        self._request_timeout_s = request_timeout_s
        self._max_wait_s = max_wait_s
        self._backoff = backoff or ReconnectConfig()
        self._client = client
        self._owns_client = client is None
        self._clock = clock or Clock()
        self._rng = rng or random.Random()
        self._cached: _Cached | None = None
        self._flight: _Flight | None = None
        self._not_before = -math.inf  # clock seconds; the server asked not to be asked earlier

    @property
    def refresh_token(self) -> str:
        """The refresh token in force, for the caller to keep; empty when the server gave none."""
        return self._refresh_token

    def __repr__(self) -> str:
        return f"TokenProvider({self._credentials!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the HTTP client if it was made here; the provider makes another when it is used again."""
        if self._owns_client and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def token(self) -> str:
        """Return a token that is good now, from the cache or from the server.

        Raises
        ------
        AuthError
            If the server refuses, answers nonsense or cannot be reached.
        RateLimited
            If it asks to wait longer than ``max_wait_s`` or than time is left.
        """
        while True:
            cached = self._cached
            if cached is not None and self._clock.now() < cached.refresh_at:
                return cached.value
            flight = self._flight
            if flight is None:
                return await self._lead()
            token = await self._follow(flight)
            if token is not None:
                return token

    def invalidate(self, token: str) -> None:
        """Forget ``token``, to which the server answered 401, unless a newer one has taken its place."""
        if self._cached is not None and self._cached.value == token:
            self._cached = None
            log.info("a token was refused before its end and is dropped")

    async def _follow(self, flight: _Flight) -> str | None:
        flight.waiters += 1
        if flight.scope is not None:
            flight.scope.shield = True
        try:
            await flight.done.wait()
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and flight.scope is not None:
                flight.scope.shield = self._one_time  # nobody waits any more: the leader may go at once
        if flight.error is not None:
            raise _again(flight.error)
        return flight.token

    async def _lead(self) -> str:
        flight = self._flight = _Flight()
        try:
            flight.token = await self._renew(flight)
        except Exception as exc:
            flight.error = exc
            raise
        finally:
            self._flight = None
            flight.done.set()
        # Cancelled behind the shield: the others have their token now, and this task its cancellation.
        await anyio.lowlevel.checkpoint_if_cancelled()
        return flight.token

    async def _renew(self, flight: _Flight) -> str:
        """Ask until there is a token, an error that repeating cannot cure, or no more patience."""
        deadline = self._clock.deadline(self._total_timeout_s)
        failures = 0
        while True:
            pause = self._not_before - self._clock.now()
            if pause > 0.0:
                if pause > min(self._max_wait_s, deadline.remaining):
                    raise RateLimited(
                        f"the token endpoint asks to wait {pause:.0f} s more, beyond the"
                        f" {min(self._max_wait_s, deadline.remaining):.0f} s allowed",
                        status=429,
                        retry_after=pause,
                    )
                await self._clock.sleep(pause)
                continue
            try:
                return await self._exchange(flight)
            except _Transient as exc:
                failure = exc.error
            # Outside the handler, so that what is raised below carries no context.
            failures += 1
            now = self._clock.now()
            wait = delay(self._backoff, failures - 1, self._rng, failure.retry_after)
            if failure.retry_after is not None:
                self._not_before = now + min(failure.retry_after, DEFAULT_LIFETIME_S)  # no slip blocks us for ever
            cached = self._cached
            if cached is not None and now < cached.expires_at:
                # An early renewal may fail: the token in hand is good until its end, so nobody waits here.
                self._cached = _Cached(cached.value, min(now + wait, cached.expires_at), cached.expires_at)
                log.warning("early token renewal failed (%s); the present token stays in use", failure)
                return cached.value
            patience = min(self._max_wait_s, deadline.remaining)
            if wait > patience:
                failure.args = (
                    f"{failure}; the next attempt is due in {wait:.1f} s, beyond the {patience:.1f} s allowed",
                )
                raise failure
            if failures >= self._attempts:
                failure.args = (f"{failure}; given up after {failures} attempts",)
                raise failure
            log.warning("token request failed (%s); attempt %d in %.1f s", failure, failures + 1, wait)
            await self._clock.sleep(wait)

    async def _exchange(self, flight: _Flight) -> str:
        client = self._client
        if client is None:
            client = self._client = _new_client()
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        form = self._form()
        identity, secret = self._credentials.client_id, self._credentials.client_secret
        if secret and self._auth_style == "basic":
            headers["Authorization"] = f"Basic {_basic(identity, secret)}"
        else:
            form["client_id"] = identity
            if secret:
                form["client_secret"] = secret

        started = self._clock.now()
        status, body, failure = 0, b"", ""
        fields: Mapping[str, str] = {}
        with anyio.CancelScope(shield=self._one_time or flight.waiters > 0) as flight.scope:
            try:
                with self._clock.fail_after(self._request_timeout_s):
                    # No redirect is followed with a secret in hand, and no auth of the client's own is used.
                    async with client.stream(
                        "POST", self.region.token_url, data=form, headers=headers, auth=None, follow_redirects=False
                    ) as response:
                        status, fields = response.status_code, response.headers
                        async for chunk in response.aiter_bytes():
                            if len(body) <= MAX_ANSWER_OCTETS:  # the rest is read, but not kept
                                body += chunk
            except TimeoutError:
                failure = f"no answer within {self._request_timeout_s:g} s"
            except Exception as exc:
                if not _is_transport_error(exc):
                    raise
                # The exception holds the request, and that the secret: only its name and text go on.
                failure = f"{type(exc).__name__}: {self._clean(str(exc))}".rstrip(": ")
            finally:
                flight.scope = None
        if len(body) > MAX_ANSWER_OCTETS:
            failure = f"its answer is longer than {MAX_ANSWER_OCTETS} octets"
        if failure:
            raise _Transient(AuthError(f"token request to {self.region.login_url} failed: {failure}"))
        if status != 200:
            raise self._refusal(status, fields, body)
        return self._accept(body, started)

    def _form(self) -> dict[str, str]:
        grant = self._credentials
        if isinstance(grant, Credentials):
            form = {"grant_type": "client_credentials"}
        elif self._refresh_token:
            form = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        elif self._code:
            form = {"grant_type": "authorization_code", "code": self._code, "redirect_uri": grant.redirect_uri}
            if grant.code_verifier:
                form["code_verifier"] = grant.code_verifier
        else:
            raise AuthError("the token has ended and the server gave no refresh token: the user must sign in again")
        if self._scope is not None:
            form["scope"] = self._scope
        return form

    def _accept(self, body: bytes, started: float) -> str:
        answer = _json_object(body)
        token, kind = answer.get("access_token"), answer.get("token_type", "bearer")
        lifetime = answer.get("expires_in", DEFAULT_LIFETIME_S)
        if not isinstance(token, str) or not _usable(token):
            raise AuthError("the token endpoint answered 200 without a usable access_token", status=200)
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise AuthError("the token endpoint issued a token that is not a bearer token", status=200)
        if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not 0 < lifetime < math.inf:
            raise AuthError(f"expires_in is {self._clean(repr(lifetime))}, not a number of seconds", status=200)
        self._code = ""  # a code is good for one token
        if isinstance(self._credentials, UserGrant):
            self._refresh_token = _text(answer, "refresh_token") or self._refresh_token
        renewable = isinstance(self._credentials, Credentials) or self._refresh_token
        margin = min(self._refresh_margin_s, lifetime / 10) if renewable else 0.0
        self._cached = _Cached(token, started + lifetime - margin, started + lifetime)
        log.info("new token, good for %.0f s", lifetime)
        return token

    def _refusal(self, status: int, fields: Mapping[str, str], body: bytes) -> Exception:
        answer = _json_object(body)
        code = _text(answer, "error", "code")
        reason = _text(answer, "error_description", "description", "message")
        correlation = fields.get("ININ-Correlation-Id") or _text(answer, "contextId")
        retry_after = retry_after_of(fields, self._clock.wall())
        message = f"token request to {self.region.login_url} was answered {status}"
        if code or reason:
            message += f" {': '.join(self._clean(part) for part in (code, reason) if part)}"
        if status == 403:
            message += " (a role for client credentials, or a scope for user grants, may be missing)"
        error = (RateLimited if status == 429 else AuthError)(
            message,
            status=status,
            error=self._clean(code) if code else None,
            correlation_id=self._clean(correlation) if correlation else None,
            retry_after=retry_after,
        )
        again = status in (408, 429) or (status >= 500 and status != 501)
        return _Transient(error) if again and code not in _PERMANENT else error

    def _clean(self, text: str) -> str:
        """What a server or library said, on one line, not too long, and without our secrets."""
        for secret in _secrets(self._credentials, self._refresh_token):
            text = text.replace(secret, "***")
        return "".join(char if char.isprintable() else " " for char in text)[:200]


class _Transient(Exception):  # a parcel, opened by _renew, that nobody else sees
    """A failure that another attempt may cure."""

    def __init__(self, error: AuthError) -> None:
        super().__init__()
        self.error = error


def BearerAuth(provider: TokenSource) -> httpx.Auth:  # noqa: N802 -- reads as the httpx class that it makes
    """Authorize the requests of an ``httpx.AsyncClient`` with tokens of ``provider``.

    A request answered 401 invalidates its token and is repeated once with the next one, unless the token is
    the same, the answer says that the address is not allowed, or the body was a stream and is gone.

    Parameters
    ----------
    provider : TokenSource
        Where the tokens come from.

    Returns
    -------
    httpx.Auth
        For ``auth=`` of a client or request.
    """
    return _bearer_class()(provider)


@cache
def _bearer_class() -> Callable[[TokenSource], httpx.Auth]:
    import httpx

    class BearerAuth(httpx.Auth):
        def __init__(self, provider: TokenSource) -> None:
            self._provider = provider

        def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            raise StateError("BearerAuth serves httpx.AsyncClient, not httpx.Client")

        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            token = await self._provider.token()
            request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            if response.status_code != 401:
                return
            if _text(_json_object(await response.aread()), "code") == "ip.not.authorized":
                return
            self._provider.invalidate(token)
            if not isinstance(request.stream, httpx.ByteStream):
                return
            fresh = await self._provider.token()
            if fresh != token:
                request.headers["Authorization"] = f"Bearer {fresh}"
                yield request

    return BearerAuth


def _new_client() -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(timeout=httpx.Timeout(10.0, connect=5.0), trust_env=False, verify=_trusted())


@cache
def _trusted() -> ssl.SSLContext:
    """The usual authorities, read once: it takes 20 ms, in which nothing else runs."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


def _is_transport_error(exc: Exception) -> bool:
    # By name, since a client handed in may be of another library with the same classes.
    return isinstance(exc, OSError | anyio.BrokenResourceError) or any(
        kind.__name__ in ("TransportError", "HTTPError") for kind in type(exc).__mro__
    )


def _usable(token: object) -> bool:
    return isinstance(token, str) and _VISIBLE.fullmatch(token) is not None


def _kind(value: object) -> str:
    return "an empty str" if value == "" else f"a value of type {type(value).__name__}"


def _basic(identity: str, secret: str) -> str:
    return base64.b64encode(f"{identity}:{secret}".encode()).decode()


def _identity(grant: Credentials | UserGrant) -> str:
    shown = f"{grant.client_id[:4]}..." if len(grant.client_id) > 12 else "..."
    region = grant.region.domain if isinstance(grant.region, Region) else grant.region
    return f"client_id={shown!r}, region={region!r}"


def _secrets(grant: Credentials | UserGrant, refresh_token: str) -> list[str]:
    """Every form of a secret that an answer might repeat."""
    plain = [grant.client_secret, refresh_token]
    if isinstance(grant, UserGrant):
        plain += [grant.code, grant.code_verifier, grant.refresh_token]
    forms = [_basic(grant.client_id, grant.client_secret)] if grant.client_secret else []
    for secret in filter(None, plain):
        forms += [secret, quote_plus(secret)]
    return forms


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _text(answer: Mapping[str, Any], *names: str) -> str | None:
    """The first of ``names`` that is a str with something in it."""
    return next((value for name in names if isinstance(value := answer.get(name), str) and value), None)


def _again(error: Exception) -> Exception:
    """The same error for another waiter, with a traceback of its own."""
    return copy.copy(error) if isinstance(error, GcmediaError) else error
