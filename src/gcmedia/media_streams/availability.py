"""Whether the media of an interaction can still be had: asked of the REST API, judged by the server's own clock."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from ..auth import BearerAuth, TokenSource
from ..backoff import parse_http_date, retry_after_of
from ..clock import Clock
from ..config import MediaStreamsConfig
from ..dialects.media_streams import ended_at
from ..errors import AuthError, FormatError, TransportError
from ..transport.http import HttpClient

__all__ = ["Availability", "Lookup"]

ATTEMPTS = 3
WAIT_S = 1.0
MAX_WAIT_S = 30.0  # a server that asks for more is not waited for: the subscription will show


class Availability(NamedTuple):
    """What is known of an interaction.

    ``verdict`` is ``"available"`` (it goes on), ``"ended"`` (its media can still be had), ``"expired"``,
    ``"notFound"`` or ``"unknown"``; ``ended_s`` how long ago it ended; ``detail`` why it is unknown.
    """

    verdict: str
    ended_s: float | None = None
    detail: str = ""

    @property
    def over(self) -> bool:
        """Whether no more will be said."""
        return self.verdict in ("ended", "expired", "notFound")

    @property
    def gone(self) -> bool:
        """Whether its media cannot be had any more."""
        return self.verdict in ("expired", "notFound")


class Lookup:
    """Ask ``GET /api/v2/conversations/{id}``."""

    def __init__(self, http: HttpClient, tokens: TokenSource, api_url: str, profile: MediaStreamsConfig, clock: Clock):
        self._http = http
        self._tokens = tokens
        self._api_url = api_url
        self._profile = profile
        self._clock = clock

    async def __call__(self, interaction_id: str) -> Availability:
        """What the platform says; ``"unknown"`` when it cannot be asked, which forbids nothing."""
        detail = ""
        for attempt in range(ATTEMPTS):
            wait: float | None = WAIT_S * 2**attempt
            try:
                response = await self._http.exchange(
                    "GET",
                    f"{self._api_url}/api/v2/conversations/{quote(interaction_id, safe='')}",
                    auth=BearerAuth(self._tokens),
                )
            except AuthError as error:
                return Availability("unknown", detail=str(error))
            except TransportError as error:
                detail = str(error)
            else:
                if response.status == 200:
                    return self._judge(response.body, response.headers.get("Date"))
                if response.status == 404:
                    return Availability("notFound")
                detail = f"the look-up was answered with {response.status}"
                if response.status != 429 and response.status < 500:
                    break
                asked = retry_after_of(response.headers, self._clock.wall())
                wait = max(wait or 0.0, asked or 0.0)
                if wait > MAX_WAIT_S:
                    break
            if attempt + 1 < ATTEMPTS:
                await self._clock.sleep(wait or 0.0)
        return Availability("unknown", detail=detail)

    def _judge(self, body: bytes, date: str | None) -> Availability:
        try:
            ended = ended_at(body)
        except FormatError as error:
            return Availability("unknown", detail=str(error))
        if ended is None:
            return Availability("available")
        server_now = parse_http_date(date) if date else None
        elapsed = (self._clock.wall() if server_now is None else server_now) - ended
        late = elapsed > self._profile.availability_window_s
        return Availability("expired" if late else "ended", max(0.0, elapsed))
