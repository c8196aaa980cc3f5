"""What the endpoints of one simulated cloud share."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from .agents import Agents
from .calls import Call
from .faults import Faults
from .http import Request, Response, api_error, retry_after
from .journal import Journal
from .stream import ConversationStream
from .streams_plan import StreamsPlan
from .tokens import TokenStore

__all__ = ["Platform"]

_MAX_CONVERSATIONS = 10_000


@dataclass(slots=True)
class Platform:
    """The state of a cloud and the settings that its endpoints follow; see `Simulator` for what they mean."""

    calls: Mapping[str, Call] | Call
    faults: Faults
    tokens: TokenStore = field(repr=False)
    agents: Agents
    journal: Journal
    speed: float | None
    live: bool
    layout: str
    ack: str
    token_in: str
    write_timeout_s: float
    media_streams: StreamsPlan = field(default_factory=StreamsPlan)
    streams: dict[str, ConversationStream] = field(default_factory=dict)
    refusals: dict[str, deque[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.refusals = {
            "token": deque(self.faults.token_refusals),
            "upgrade": deque(self.faults.upgrade_refusals),
            "subscribe": deque(self.faults.subscribe_refusals),
        }

    def refusal(self, place: str) -> int | None:
        """The next status to refuse with at a place, or None."""
        planned = self.refusals[place]
        return planned.popleft() if planned else None

    def refused(self, status: int, message: str) -> Response:
        """An API error with the ``Retry-After`` that the faults order."""
        return api_error(status, message, headers=self.retry_after(status))

    def retry_after(self, status: int) -> tuple[tuple[str, str], ...]:
        """The ``Retry-After`` of a status that has one."""
        return retry_after(status, self.faults.retry_after_s, as_date=self.faults.retry_after_as_date)

    def authorise(self, request: Request, now: float) -> Response | None:
        """None when the request carries a token that holds, else the 401."""
        place = self.token_in
        token = request.bearer_token(header=place != "query", query=place != "header")
        if token is None:
            return api_error(401, "No authentication bearer token specified.", code="authentication.required")
        if not self.tokens.accepts(token, now):
            return api_error(401, "The access token is unknown, revoked or expired.", code="bad.credentials")
        return None

    def stream(self, conversation_id: str) -> ConversationStream | None:
        """The conversation of that id, begun when it is asked for first; None when there is none."""
        stream = self.streams.get(conversation_id)
        if stream is None:
            call = self.calls if isinstance(self.calls, Call) else self.calls.get(conversation_id)
            if call is None or len(self.streams) >= _MAX_CONVERSATIONS:
                return None
            stream = self.streams[conversation_id] = ConversationStream(
                conversation_id, call, self.faults, on_end=lambda: self.agents.hang_up(conversation_id)
            )
        return stream
