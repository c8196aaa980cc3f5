"""What every request to the API passes first: token, rate limit, refusals by order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import ceil

import anyio

from .api_faults import ApiFaults
from .http import Request, Response, api_error, retry_after
from .platform import Platform

__all__ = ["Caller", "Gate", "Handler"]

_WINDOW_S = 60.0
_MAX_TOKENS = 10_000  # whose requests are counted; the window of the oldest is forgotten beyond


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user, or with ``user_id`` None client credentials, which are nobody."""

    user_id: str | None

    @property
    def owner(self) -> str:
        """Whose channels these are."""
        return self.user_id or "client"


Handler = Callable[[Request, Caller], Awaitable[Response]]


class Gate:
    """Lets requests through to their handlers, and counts them.

    Attributes
    ----------
    undercuts : int
        Requests that came before the wait was over that an earlier 429 had asked for.
    throttled : int
        Requests refused because there had been too many.
    """

    def __init__(self, platform: Platform, faults: ApiFaults) -> None:
        self._platform = platform
        self._faults = faults
        self._refusals = {
            "api": deque(faults.api_refusals),
            "mute": deque(faults.mute_refusals),
            "channel": deque(faults.channel_refusals),
        }
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._refused_until: dict[str, float] = {}
        self.undercuts = 0
        self.throttled = 0

    def order(self, place: str, *refusals: tuple[int, str]) -> None:
        """Let these answer the next requests at a place: ``"api"``, ``"mute"`` or ``"channel"``; 200 lets one pass."""
        self._refusals[place].extend(refusals)

    def guard(self, place: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the gate."""

        async def serve(request: Request) -> Response:
            refusal = self._platform.authorise(request, anyio.current_time())
            if refusal is not None:
                return refusal
            token = request.bearer_token() or ""
            now = self._platform.agents.now()
            allowed = self._faults.requests_per_minute
            start, used = self._windows.pop(token, (now, 0))
            if now - start >= _WINDOW_S:
                start, used = now, 0
            used += 1
            self._windows[token] = (start, used)
            while len(self._windows) > _MAX_TOKENS:
                self._windows.popitem(last=False)
            left = start + _WINDOW_S - now
            self.undercuts += now < self._refused_until.get(token, 0.0)
            if used > allowed:
                self.throttled += 1
                return self._too_many(token, now, ceil(left))
            status, code = self._refusals[place].popleft() if self._refusals[place] else (200, "")
            if status == 429:
                return self._too_many(token, now, self._faults.retry_after_s)
            if status != 200:
                headers = retry_after(status, self._faults.retry_after_s)
                return api_error(status, f"Refused by order: {code}.", code=code, headers=headers)
            issued = self._platform.tokens.find(token, anyio.current_time())
            caller = Caller((issued.user_id or None) if issued else None)
            response = await handler(request, caller)
            told = (
                ("inin-ratelimit-allowed", str(allowed)),
                ("inin-ratelimit-count", str(used)),
                ("inin-ratelimit-reset", str(ceil(left))),
            )
            return replace(response, headers=(*response.headers, *told))

        return serve

    def _too_many(self, token: str, now: float, wait_s: float) -> Response:
        # Whole seconds are told, so it is they that hold.
        self._refused_until[token] = now + ceil(wait_s)
        words = f"Rate limit exceeded the maximum. Retry the request in [{ceil(wait_s)}] seconds"
        return api_error(429, words, headers=retry_after(429, wait_s))
