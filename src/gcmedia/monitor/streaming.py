"""A response whose body goes on until one of the two ends; what it is written by is ended with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
from starlette.types import Receive, Scope, Send

__all__ = ["Streaming", "Write"]

Write = Callable[[bytes], Awaitable[None]]


class Streaming:
    """Hands a function what writes the body.

    Writing waits while the onlooker does not read, so that nothing queues up here.

    Parameters
    ----------
    source : callable
        Called with what writes; the response ends with it.  It is cancelled when the onlooker leaves.
    headers : mapping, optional
        Further ones.
    """

    def __init__(self, source: Callable[[Write], Awaitable[None]], headers: Mapping[str, str] | None = None) -> None:
        self._source = source
        self._headers = {"content-type": "application/octet-stream", **(headers or {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def write(octets: bytes) -> None:
            if octets:
                await send({"type": "http.response.body", "body": octets, "more_body": True})

        async def leave_when_alone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave_when_alone)
            await self._source(write)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()
