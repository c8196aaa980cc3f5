"""The platform's REST API: JSON in, JSON out, errors typed, each request repeated once where its token was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from ..backoff import retry_after_of
from ..clock import Clock
from ..errors import (
    ApiError,
    AuthError,
    ConfigError,
    Conflict,
    Forbidden,
    NotFound,
    RemoteProtocolError,
    TooManyRequests,
    UserContextRequired,
)
from ..redact import repeatable
from ..regions import takes_secrets
from .http import Answer, HttpClient, json_object, text_of

if TYPE_CHECKING:
    import httpx

__all__ = ["ApiClient", "RateLimit", "api_error", "api_path"]

MAX_PARAMS = 20  # of an error's messageParams that are kept

_KINDS: Mapping[int, type[ApiError]] = {403: Forbidden, 404: NotFound, 409: Conflict, 429: TooManyRequests}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What an answer said of the budget of its window.

    Attributes
    ----------
    allowed, count : int
        Requests in the window, and those used so far.
    reset_s : float
        Seconds from the answer to the end of the window.
    at : float
        When the answer came, in seconds of the client's clock.
    """

    allowed: int
    count: int
    reset_s: float
    at: float


class ApiClient:
    """Requests to one region's API.

    Nothing is tried again here but a request whose token was refused, once and by ``auth``: whether an error is worth
    another attempt is for the caller to decide (`ApiError.transient`, `ApiError.retry_after`).

    Parameters
    ----------
    base_url : str
        Such as ``region.api_url``; paths are appended to it.
    auth : httpx.Auth
        Usually ``BearerAuth(provider)``.
    client : httpx.AsyncClient, optional
        Used instead of an own one; the caller closes it.
    total_timeout_s : float
        Time for one request, that for a token included where one is due.
    max_octets : int
        Longest answer.
    allow_custom_host : bool
        Whether tokens may go to a host that is neither the platform's, over TLS, nor this machine.
    clock : Clock, optional
        Source of time.

    Attributes
    ----------
    rate_limit : RateLimit or None
        Of the last answer that told.

    Raises
    ------
    ConfigError
        If tokens would go to a host that was not allowed.
    """

    def __init__(
        self,
        base_url: str,
        auth: httpx.Auth,
        *,
        client: httpx.AsyncClient | None = None,
        total_timeout_s: float = 30.0,
        max_octets: int = 4 << 20,
        allow_custom_host: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if not (allow_custom_host or takes_secrets(base_url)):
            raise ConfigError(
                f"tokens would go to {base_url}, which is no host of the platform over TLS;"
                " pass allow_custom_host=True if that is meant"
            )
        self._base_url = base_url.rstrip("/")
        self._auth = auth
        self._clock = clock or Clock()
        self._http = HttpClient(client, total_timeout_s=total_timeout_s, max_octets=max_octets, clock=self._clock)
        self.rate_limit: RateLimit | None = None

    async def request(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, Any] | None = None
    ) -> Answer:
        """Make one request.

        Parameters
        ----------
        method : str
            Of HTTP.
        path : str
            Begins with a slash; ids in it percent-encoded, as `api_path` does.
        body : optional
            Sent as JSON unless None.
        params : mapping, optional
            Query.

        Returns
        -------
        Answer
            With a status from 200 to 299.

        Raises
        ------
        ApiError
            If the status is another; see the classes derived from it.
        AuthError
            If it is 401, also with a new token, or there is no token to be had.
        TransportError
            If there was no answer.
        """
        answer = await self._http.exchange(method, f"{self._base_url}{path}", params=params, json=body, auth=self._auth)
        self.rate_limit = _rate_limit(answer.headers, self._clock.now()) or self.rate_limit
        if not 200 <= answer.status < 300:
            raise api_error(answer, f"{method} {path}", self._clock.wall())
        return answer

    async def get(self, path: str, *, params: Mapping[str, Any] | None = None) -> Any:
        """Read; returns the JSON of the answer, as the other methods do, or None when it is empty."""
        return await self._json("GET", path, None, params)

    async def post(self, path: str, body: Any = None, *, params: Mapping[str, Any] | None = None) -> Any:
        """Create, or query with a body."""
        return await self._json("POST", path, body, params)

    async def put(self, path: str, body: Any = None, *, params: Mapping[str, Any] | None = None) -> Any:
        """Replace."""
        return await self._json("PUT", path, body, params)

    async def patch(self, path: str, body: Any = None, *, params: Mapping[str, Any] | None = None) -> Any:
        """Change in part."""
        return await self._json("PATCH", path, body, params)

    async def delete(self, path: str, *, params: Mapping[str, Any] | None = None) -> Any:
        """Remove."""
        return await self._json("DELETE", path, None, params)

    async def _json(self, method: str, path: str, body: Any, params: Mapping[str, Any] | None) -> Any:
        answer = await self.request(method, path, body, params=params)
        try:
            return answer.json()
        except (ValueError, RecursionError):
            pass
        raise RemoteProtocolError(f"{method} {path} was answered {answer.status} with no JSON", status=answer.status)

    async def aclose(self) -> None:
        """Close the HTTP client if it was made here."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def api_path(*segments: str) -> str:
    """A path below ``/api/v2`` of these segments, each percent-encoded.

    Raises
    ------
    ConfigError
        If a segment is empty, or would lead elsewhere (``.``, ``..``).
    """
    for segment in segments:
        if segment in ("", ".", ".."):
            raise ConfigError(f"{segment!r} cannot be part of a path")
    return "/".join(["/api/v2", *(quote(segment, safe="") for segment in segments)])


def api_error(answer: Answer, request: str, wall_now: float) -> ApiError | AuthError:
    """What an answer other than 2xx becomes.

    Parameters
    ----------
    answer : Answer
        Its body may be the platform's error, of another shape, or missing.
    request : str
        What was asked, for the message.
    wall_now : float
        Unix time against which a date in ``Retry-After`` is read, when the answer has no ``Date``.
    """

    def said(text: str | None) -> str | None:
        return repeatable(text, (answer.credential,), personal=False) if text else None

    body = json_object(answer.body)
    code, message = said(text_of(body, "code", "error")), said(text_of(body, "message", "error_description"))
    text = f"{request} was answered {answer.status}"
    if code or message:
        text += f" {': '.join(filter(None, (code, message)))}"
    context_id = said(text_of(body, "contextId"))
    correlation_id = said(answer.headers.get("ININ-Correlation-Id")) or context_id
    if correlation_id:
        text += f" (correlation id {correlation_id})"
    wait = retry_after_of(answer.headers, wall_now)
    if answer.status == 401:
        return AuthError(
            text, status=401, error=code, context_id=context_id, correlation_id=correlation_id, retry_after=wait
        )
    params = body.get("messageParams")
    kind = _KINDS.get(answer.status, ApiError)
    if answer.status == 400 and code == "not.a.user":
        kind = UserContextRequired
        text += "; client credentials have no user: use a user's own token, or an endpoint that names the user"
    return kind(
        text,
        status=answer.status,
        code=code,
        params={
            said(name) or "": said(value) or ""
            for name, value in list(params.items() if isinstance(params, dict) else ())[:MAX_PARAMS]
            if isinstance(value, str)
        },
        context_id=context_id,
        correlation_id=correlation_id,
        retry_after=wait,
    )


def _rate_limit(headers: Mapping[str, str], now: float) -> RateLimit | None:
    values = [headers.get(f"inin-ratelimit-{name}", "") for name in ("allowed", "count", "reset")]
    if not all(value.isascii() and value.isdigit() and len(value) <= 9 for value in values):
        return None
    allowed, count, reset = map(int, values)
    return RateLimit(allowed, count, float(reset), now)
