"""Tokens on the requests of an httpx client: the caller's own, or ours."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator
from functools import cache
from typing import TYPE_CHECKING

import anyio

from ..errors import StateError
from ..transport.http import json_object
from .provider import TokenProvider
from .sources import TokenSource

if TYPE_CHECKING:
    import httpx

__all__ = ["BearerAuth"]


def BearerAuth(provider: TokenSource) -> httpx.Auth:  # noqa: N802 -- reads as the httpx class that it makes
    """Authorize the requests of an ``httpx.AsyncClient`` or ``httpx.Client`` with tokens of ``provider``.

    A request answered 401 invalidates its token and is repeated once with the next one, unless the token is
    the same, the answer says that the address is not allowed, or the body was a stream and is gone.

    Parameters
    ----------
    provider : TokenSource
        Where the tokens come from.  One that serves an ``httpx.Client`` serves no event loop beside it: each token
        is asked for in a short loop of its own, whichever thread needs it, one thread at a time.

    Returns
    -------
    httpx.Auth
        For ``auth=`` of a client or request.
    """
    return _bearer_class()(provider)


@cache
def _bearer_class() -> Callable[[TokenSource], httpx.Auth]:
    import httpx

    def blames_token(response: httpx.Response) -> bool:
        return json_object(response.content).get("code") != "ip.not.authorized"

    def may_repeat(request: httpx.Request) -> bool:
        return isinstance(request.stream, httpx.ByteStream)

    class BearerAuth(httpx.Auth):
        def __init__(self, provider: TokenSource) -> None:
            self._provider = provider
            self._one_thread = threading.Lock()

        def __repr__(self) -> str:
            return f"BearerAuth({self._provider!r})"

        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            token = await self._provider.token()
            response = yield _with_token(request, token)
            if response.status_code != 401:
                return
            await response.aread()
            if not blames_token(response):
                return
            self._provider.invalidate(token)
            if may_repeat(request):
                fresh = await self._provider.token()
                if fresh != token:
                    yield _with_token(request, fresh)

        def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            token = self._token()
            response = yield _with_token(request, token)
            if response.status_code != 401:
                return
            response.read()
            if not blames_token(response):
                return
            with self._one_thread:
                self._provider.invalidate(token)
            if may_repeat(request):
                fresh = self._token()
                if fresh != token:
                    yield _with_token(request, fresh)

        def _token(self) -> str:
            with self._one_thread:
                return _in_own_loop(self._provider)

    return BearerAuth


def _with_token(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _in_own_loop(provider: TokenSource) -> str:
    """Ask for a token where no event loop runs."""
    begun = False

    async def ask() -> str:
        nonlocal begun
        begun = True
        try:
            return await provider.token()
        finally:
            if isinstance(provider, TokenProvider):
                await provider.aclose()  # its connections belong to this loop

    try:
        return anyio.run(ask)
    except RuntimeError:
        if begun:
            raise
    raise StateError("httpx.Client would block the event loop that runs here: use httpx.AsyncClient")
