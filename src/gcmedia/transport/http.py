"""HTTP exchanges: one pooled client, every limit named, answers bounded, failures typed and free of secrets."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import anyio

from ..clock import Clock
from ..errors import TransportError

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "HttpClient", "json_object", "text_of"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read to its end.

    Attributes
    ----------
    status : int
        HTTP status.
    headers : mapping of str to str
        Its fields; names in any case.
    body : bytes
        Its content.
    credential : str
        What the request carried in ``Authorization``, so that no message of ours repeats it.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    credential: str = field(repr=False, default="")

    def json(self) -> Any:
        """The content as JSON, None when there is none.

        Raises
        ------
        ValueError
            If it is something else.
        """
        return json.loads(self.body) if self.body.strip() else None


class HttpClient:
    """One pooled ``httpx.AsyncClient`` and its limits.

    Parameters
    ----------
    client : httpx.AsyncClient, optional
        Used instead of an own one, or anything with its ``stream`` method; the caller closes it.
    connect_timeout_s, read_timeout_s : float
        Time to connect, and between two pieces of an answer.
    total_timeout_s : float
        Time for one exchange altogether, in seconds of ``clock``.
    max_octets : int
        A longer answer is an error; no more of it is kept.
    max_connections : int
        Connections open at once; further requests wait for one, within their time.
    trust_env : bool
        Whether proxies are taken from the environment.
    clock : Clock, optional
        Source of time.
    """

    def __init__(
        self,
        client: httpx.AsyncClient | None = None,
        *,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 10.0,
        total_timeout_s: float = 15.0,
        max_octets: int = 4 << 20,
        max_connections: int = 20,
        trust_env: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._owned = client is None
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._total_timeout_s = total_timeout_s
        self._max_octets = max_octets
        self._max_connections = max_connections
        self._trust_env = trust_env
        self._clock = clock or Clock()

    @property
    def client(self) -> httpx.AsyncClient:
        """The client, made at first use."""
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(self._read_timeout_s, connect=self._connect_timeout_s),
                limits=httpx.Limits(
                    max_connections=self._max_connections, max_keepalive_connections=self._max_connections
                ),
                trust_env=self._trust_env,
                verify=_trusted(),
            )
        return self._client

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
    ) -> Answer:
        """Send one request and read the answer.  Redirects are not followed: a secret goes where it was sent.

        Parameters
        ----------
        method, url : str
            Of the request.
        params : mapping, optional
            Query.
        form : mapping, optional
            Sent as a form.
        json : optional
            Sent as JSON unless None.
        headers : mapping, optional
            Fields beside those that are always there.
        auth : httpx.Auth, optional
            Authorizes the request; a client's own auth is never used.

        Returns
        -------
        Answer
            Whatever its status.

        Raises
        ------
        TransportError
            If there was no answer in time, none at all, or one too long.  Neither it nor its causes hold the request.
        """
        fields = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        client = self.client
        failure = ""
        try:
            with self._clock.fail_after(self._total_timeout_s):
                async with client.stream(
                    method,
                    url,
                    params=params,
                    data=form,
                    json=json,
                    headers=fields,
                    auth=auth,
                    follow_redirects=False,
                ) as response:
                    body = b""
                    async for chunk in response.aiter_bytes():
                        if len(body) <= self._max_octets:  # the rest is read, within the time, but not kept
                            body += chunk
                    if len(body) <= self._max_octets:
                        sent = response.request.headers.get("Authorization", "")
                        return Answer(response.status_code, response.headers, body, sent.rpartition(" ")[2])
                failure = f"its answer is longer than {self._max_octets} octets"
        except TimeoutError:
            failure = f"no answer within {self._total_timeout_s:g} s"
        except Exception as exc:
            if not _is_transport_error(exc):
                raise
            failure = _reason(exc)
        # Outside the handler: an exception of the library holds the request, and that its secrets.
        raise TransportError(f"{method} {_without_query(url)} failed: {failure}")

    async def aclose(self) -> None:
        """Close the client if it was made here; another is made when it is used again."""
        if self._owned and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def json_object(body: bytes) -> dict[str, Any]:
    """An object in JSON; empty for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def text_of(value: Mapping[str, Any], *names: str) -> str | None:
    """The first of ``names`` that is a str with something in it."""
    return next((text for name in names if isinstance(text := value.get(name), str) and text), None)


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


def _reason(exc: BaseException) -> str:
    """Its class, and what the system says was the matter.  Its own text may quote the request."""
    name = type(exc).__name__
    seen: list[BaseException] = []
    queue: list[BaseException | None] = [exc]
    while queue:
        cause = queue.pop(0)
        if cause is None or cause in seen:
            continue
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            # Certificates and names have numbers of their own; event loops put addresses in place of other reasons.
            own = isinstance(cause, ssl.SSLError | socket.gaierror)
            return f"{name}: {cause.strerror if own else os.strerror(cause.errno)}"
        seen.append(cause)
        queue += [cause.__cause__, cause.__context__, *getattr(cause, "exceptions", ())]
    return name


def _without_query(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
