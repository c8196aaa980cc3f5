"""Tokens from the token endpoint: cached, renewed early, one request for any number of callers."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..backoff import delay
from ..clock import Clock
from ..config import ReconnectConfig
from ..errors import AuthError, ConfigError, RateLimited, TransportError
from ..regions import resolve_region, takes_secrets
from ..transport.http import HttpClient
from .credentials import Credentials, UserGrant, secrets_of
from .exchange import Granted, read_grant, read_refusal, token_form, token_headers
from .flight import SingleFlight

if TYPE_CHECKING:
    import httpx

__all__ = ["TokenProvider"]

log = logging.getLogger("gcmedia.auth")

MAX_ANSWER_OCTETS = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Cached:
    granted: Granted
    refresh_at: float  # clock seconds: from here on a new one is asked for
    expires_at: float  # clock seconds: from here on this one is of no use
    asked_at: float  # clock seconds


class TokenProvider:
    """Tokens from the token endpoint, cached, renewed early, one request for any number of callers.

    Who calls :meth:`token` while there is none begins a request; who calls it meanwhile waits for the same outcome,
    be it token or error.  The request belongs to none of them: whoever is cancelled harms no other.  When nobody waits
    any more it is cancelled, unless it may have spent a user's code or refresh token: that exchange is seen through.

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
        Longest ``Retry-After`` that is waited for; a longer one raises :class:`RateLimited`, as does every call
        until it has passed.
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

    Attributes
    ----------
    region : Region
        Where tokens are asked for.

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
        self._code = credentials.code if isinstance(credentials, UserGrant) else ""
        self._refresh_token = credentials.refresh_token if isinstance(credentials, UserGrant) else ""
        self._auth_style = auth_style
        self._scope = scope
        self._refresh_margin_s = refresh_margin_s
        self._attempts = attempts
        self._total_timeout_s = total_timeout_s
        self._max_wait_s = max_wait_s
        self._backoff = backoff or ReconnectConfig()
        self._clock = clock or Clock()
        self._rng = rng or random.Random()
        self._http = HttpClient(
            client, total_timeout_s=request_timeout_s, max_octets=MAX_ANSWER_OCTETS, clock=self._clock
        )
        self._cached: _Cached | None = None
        # A code or refresh token may be spent by an exchange whose answer then must not be lost.
        self._flight = SingleFlight(shield=isinstance(credentials, UserGrant))
        self._not_before = -math.inf  # clock seconds; the server asked not to be asked earlier

    @property
    def refresh_token(self) -> str:
        """The refresh token in force, for the caller to keep; empty when the server gave none."""
        return self._refresh_token

    @property
    def expires_in_s(self) -> float | None:
        """Seconds until the token in hand ends; None when there is none."""
        return None if self._cached is None else max(0.0, self._cached.expires_at - self._clock.now())

    @property
    def age_s(self) -> float | None:
        """Seconds since the token in hand was asked for; None when there is none."""
        return None if self._cached is None else max(0.0, self._clock.now() - self._cached.asked_at)

    @property
    def granted_scope(self) -> tuple[str, ...]:
        """What the token in hand may do, where the token endpoint says so."""
        return () if self._cached is None else self._cached.granted.scope

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
        await self._http.aclose()

    async def token(self) -> str:
        """Return a token that is good now, from the cache or from the server.

        Raises
        ------
        AuthError
            If the server refuses, answers nonsense or cannot be reached; in the last case its ``__cause__`` is
            the `TransportError`.
        RateLimited
            If it asks to wait longer than ``max_wait_s`` or than time is left.
        """
        while True:
            cached = self._cached
            if cached is not None and self._clock.now() < cached.refresh_at:
                return cached.granted.token
            token = await self._flight.share(self._renew)
            if token is not None:
                return token

    def invalidate(self, token: str) -> None:
        """Forget ``token``, to which the server answered 401, unless a newer one has taken its place."""
        if self._cached is not None and self._cached.granted.token == token:
            self._cached = None
            log.info("a token was refused before its end and is dropped")

    async def _renew(self) -> str:
        """Ask until there is a token, an error that repeating cannot cure, or no more patience."""
        deadline = self._clock.deadline(self._total_timeout_s)
        failures = 0
        while True:
            pause = self._not_before - self._clock.now()
            if pause > 0.0:
                patience = min(self._max_wait_s, deadline.remaining)
                if pause > patience:
                    raise RateLimited(
                        f"the token endpoint asks to wait {pause:.0f} s more, beyond the {patience:.0f} s allowed",
                        status=429,
                        retry_after=pause,
                    )
                await self._clock.sleep(pause)
                continue
            try:
                return await self._exchange()
            except _Transient as exc:
                failure = exc.error
            # Outside the handler, so that what is raised below carries no context.
            failures += 1
            now = self._clock.now()
            wait = delay(self._backoff, failures - 1, self._rng, failure.retry_after)
            cached = self._cached
            if cached is not None and now < cached.expires_at:
                # An early renewal may fail: the token in hand is good until its end, so nobody waits here.
                refresh_at = min(now + wait, cached.expires_at)
                self._cached = _Cached(cached.granted, refresh_at, cached.expires_at, cached.asked_at)
                log.warning("early token renewal failed (%s); the present token stays in use", failure)
                return cached.granted.token
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

    async def _exchange(self) -> str:
        grant, style = self._credentials, self._auth_style
        form = token_form(grant, style, code=self._code, refresh_token=self._refresh_token, scope=self._scope)
        started = self._clock.now()
        failure: TransportError | None = None
        try:
            with self._flight.shielded():
                answer = await self._http.exchange(
                    "POST", self.region.token_url, form=form, headers=token_headers(grant, style)
                )
        except TransportError as exc:
            failure = exc
        if failure is not None:
            error = AuthError(f"no token: {failure}")
            error.__cause__ = failure
            raise _Transient(error)
        hidden = secrets_of(grant, self._refresh_token)
        if answer.status != 200:
            error, again = read_refusal(answer, self.region.login_url, hidden, self._clock.wall())
            if error.retry_after is not None:
                self._not_before = self._clock.now() + error.retry_after
            raise _Transient(error) if again else error
        return self._accept(read_grant(answer, hidden), started)

    def _accept(self, granted: Granted, started: float) -> str:
        self._code = ""  # a code is good for one token
        if isinstance(self._credentials, UserGrant):
            self._refresh_token = granted.refresh_token or self._refresh_token
        renewable = isinstance(self._credentials, Credentials) or self._refresh_token
        lifetime = granted.lifetime_s
        margin = min(self._refresh_margin_s, lifetime / 10) if renewable else 0.0
        self._cached = _Cached(granted, started + lifetime - margin, started + lifetime, started)
        log.info("new token, good for %.0f s", lifetime)
        return granted.token


class _Transient(Exception):  # a parcel, opened by _renew, that nobody else sees
    """A failure that another attempt may cure."""

    def __init__(self, error: AuthError) -> None:
        super().__init__()
        self.error = error
