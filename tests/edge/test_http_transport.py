from __future__ import annotations

import threading
import traceback

import httpx
import pytest

from gcmedia.clock import ScaledClock
from gcmedia.errors import TransportError
from gcmedia.transport.http import HttpClient

from .conftest import Answer, TokenServer

pytestmark = pytest.mark.anyio


async def test_requests_share_one_client(token_server: TokenServer) -> None:
    token_server.answers = [Answer(200, b"{}"), Answer(404, b"no")]
    async with HttpClient() as http:
        assert (await http.request("POST", token_server.url, data={"a": "1"})).json() == {}
        first = http.client
        assert (await http.request("POST", token_server.url)).status_code == 404
        assert http.client is first
    assert first.is_closed
    assert token_server.requests[0].form == {"a": ["1"]}


async def test_the_callers_client_stays_open() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        async with HttpClient(client) as http:
            assert http.client is client
        assert not client.is_closed


async def test_failures_hold_no_query_and_no_request() -> None:
    async with HttpClient() as http:
        url = "http://127.0.0.1:1/path?access_token=canary"
        with pytest.raises(TransportError, match=r"GET http://127\.0\.0\.1:1/path failed: ConnectError") as caught:
            await http.request("GET", url)
    assert caught.value.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_the_total_time_is_bounded(token_server: TokenServer) -> None:
    token_server.answers = [Answer(200, b"", hold=threading.Event())]
    async with HttpClient(clock=ScaledClock(100.0), total_timeout_s=5.0) as http:
        with pytest.raises(TransportError, match="no answer within 5 s"):
            await http.request("POST", token_server.url)


async def test_what_is_no_transport_error_comes_out_as_it_is() -> None:
    async with HttpClient() as http:
        with pytest.raises(httpx.InvalidURL):
            await http.request("GET", "http://127.0.0.1:port/")
