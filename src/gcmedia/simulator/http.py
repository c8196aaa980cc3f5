"""HTTP/1.1 over an anyio stream: one request in, one response out.  Knows no endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from math import ceil
from time import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

import anyio
import h11
from anyio.abc import ByteStream

__all__ = [
    "HttpReader",
    "Request",
    "RequestRefused",
    "Response",
    "api_error",
    "error_code",
    "json_response",
    "retry_after",
]

MAX_HEAD_OCTETS = 16 * 1024
MAX_BODY_OCTETS = 64 * 1024
READ_TIMEOUT_S = 30.0

_CODES = {
    400: "bad.request",
    401: "bad.credentials",
    403: "missing.permissions",
    404: "not.found",
    405: "method.not.allowed",
    408: "client.timeout",
    409: "request.conflict",
    413: "request.entity.too.large",
    415: "unsupported.media.type",
    429: "too.many.requests.retry.after",
    500: "internal.server.error",
    503: "service.unavailable",
    504: "request.timeout",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request; what may hold a secret is left out of its repr.

    ``headers`` has lower-case names; ``params`` what the path template of the route names.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    params: Mapping[str, str] = field(default_factory=dict)
    connection: int = 0

    @property
    def upgrades(self) -> bool:
        """Whether the client asks for a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    def bearer_token(self, *, header: bool = True, query: bool = True) -> str | None:
        """The access token, from the Authorization header or from ``access_token`` in the query."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if header and scheme.lower() == "bearer" and token:
            return token.strip()
        return self.query.get("access_token") if query else None

    def with_params(self, params: Mapping[str, str], connection: int) -> Request:
        """The same request, with what routing found out."""
        return replace(self, params=params, connection=connection)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; length, date and correlation id are added when it is sent.  Its repr shows no content."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    correlation_id: str = field(default_factory=lambda: str(uuid4()))


class RequestRefused(Exception):
    """The request cannot be served; ``response`` says why, and the connection is closed after it."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(
    status: int, value: Any, headers: tuple[tuple[str, str], ...] = (), correlation_id: str | None = None
) -> Response:
    """An answer in JSON."""
    headers = (("Content-Type", "application/json"), *headers)
    return Response(status, json.dumps(value).encode(), headers, correlation_id or str(uuid4()))


def error_code(status: int) -> str:
    """The code that the platform's errors carry beside a status."""
    return _CODES.get(status, "bad.request" if status < 500 else "internal.server.error")


def api_error(
    status: int, message: str, *, code: str | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """An error as the platform's API words it; ``contextId`` is the correlation id of the answer."""
    correlation_id = str(uuid4())
    body = {
        "message": message,
        "code": code or error_code(status),
        "status": status,
        "contextId": correlation_id,
        "details": [],
        "errors": [],
    }
    return json_response(status, body, headers, correlation_id)


def retry_after(status: int, seconds: float, *, as_date: bool = False) -> tuple[tuple[str, str], ...]:
    """The ``Retry-After`` of a 429 or 503; a date is rounded up to the second."""
    if status not in (429, 503):
        return ()
    value = formatdate(ceil(time() + seconds), usegmt=True) if as_date else str(ceil(seconds))
    return (("Retry-After", value),)


class HttpReader:
    """Requests of one connection, one after the other.

    Attributes
    ----------
    octets : bytes
        Everything received since the last request was answered.  When a request asks for an upgrade, this is
        the request and what follows it, untouched, for the protocol that takes over.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_OCTETS)
        self._method = ""
        self.octets = b""

    async def request(self) -> Request | None:
        """Take the next request; None when the client has gone or says nothing for 30 s.

        Raises
        ------
        RequestRefused
            If it is no HTTP, or too large.
        """
        parser = self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_OCTETS)
        received = self.octets
        if received:
            parser.receive_data(received)
        request: Request | None = None
        body = bytearray()
        try:
            with anyio.fail_after(READ_TIMEOUT_S):
                while True:
                    event = parser.next_event()
                    if event is h11.NEED_DATA:
                        await self._continue(parser)
                        octets = await self._stream.receive()
                        received += octets if request is None else b""
                        parser.receive_data(octets)
                    elif isinstance(event, h11.Request):
                        request = _request(event)
                        self._method = request.method
                        if request.upgrades:
                            self.octets = received
                            return request
                    elif isinstance(event, h11.Data):
                        body += event.data
                        if len(body) > MAX_BODY_OCTETS:
                            raise RequestRefused(api_error(413, f"The body has more than {MAX_BODY_OCTETS} octets."))
                    elif isinstance(event, h11.EndOfMessage):
                        self.octets = bytes(parser.trailing_data[0])
                        return replace(request, body=bytes(body)) if request else None
                    else:  # the client closed
                        return None
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            raise RequestRefused(api_error(status, f"The request is not valid HTTP: {error}.")) from error
        except (anyio.EndOfStream, TimeoutError):
            return None

    async def _continue(self, parser: h11.Connection) -> None:
        if parser.they_are_waiting_for_100_continue:
            await self._stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            parser.send(h11.InformationalResponse(status_code=100, headers=[]))

    async def respond(self, response: Response, *, close: bool = False) -> bool:
        """Answer the last request; True when another one may follow on this connection."""
        headers = [
            ("ININ-Correlation-Id", response.correlation_id),
            ("Content-Length", str(len(response.body))),
            *response.headers,
        ]
        if "Date" not in dict(headers):
            headers.append(("Date", formatdate(usegmt=True)))
        if close:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase if response.status in set(HTTPStatus) else ""
        parts = [
            self._parser.send(h11.Response(status_code=response.status, headers=headers, reason=reason.encode())),
            self._parser.send(h11.Data(data=b"" if self._method == "HEAD" else response.body)),
            self._parser.send(h11.EndOfMessage()),
        ]
        await self._stream.send(b"".join(part for part in parts if part))
        return self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE


def _request(head: h11.Request) -> Request:
    target = urlsplit(head.target.decode("latin-1"))
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
    try:
        query = dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise RequestRefused(api_error(400, "The query has more than 100 fields.")) from error
    return Request(head.method.decode("latin-1"), unquote(target.path), query, headers)
