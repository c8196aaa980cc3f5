"""The HTTP client of a capture: pooled, with every time limit named, made when first needed."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from ..clock import Clock
from ..errors import TransportError

if TYPE_CHECKING:
    import httpx

__all__ = ["HttpClient"]


class HttpClient:
    """One pooled ``httpx.AsyncClient`` and its limits.

    Parameters
    ----------
    client : httpx.AsyncClient, optional
        Used instead of an own one; the caller closes it.
    connect_timeout_s, read_timeout_s : float
        Time to connect, and between two pieces of an answer.
    total_timeout_s : float
        Time for one request altogether, in seconds of ``clock``.
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
        max_connections: int = 20,
        trust_env: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._owned = client is None
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._total_timeout_s = total_timeout_s
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
            )
        return self._client

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Make one request.

        Parameters
        ----------
        method, url : str
            As httpx takes them.
        **options
            Passed on to ``httpx.AsyncClient.request``.

        Returns
        -------
        httpx.Response
            Whatever its status.

        Raises
        ------
        TransportError
            If there was no answer in time, or none at all.  Neither it nor its causes hold the request.
        """
        client = self.client
        failure = ""
        try:
            with self._clock.fail_after(self._total_timeout_s):
                return await client.request(method, url, **options)
        except TimeoutError:
            failure = f"no answer within {self._total_timeout_s:g} s"
        except Exception as exc:
            # By name, since a client handed in may be of another library with the same classes.
            if not any(kind.__name__ == "TransportError" for kind in type(exc).__mro__):
                raise
            failure = type(exc).__name__
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise TransportError(f"{method} {where} failed: {failure}")

    async def aclose(self) -> None:
        """Close the client if it was made here."""
        if self._owned and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
