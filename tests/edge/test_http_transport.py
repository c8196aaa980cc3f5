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
        assert (await http.exchange("POST", token_server.url, form={"a": "1"})).json() == {}
        first = http.client
        assert (await http.exchange("POST", token_server.url)).status == 404
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
        with pytest.raises(TransportError, match=r"GET \S+:1/path failed: ConnectError: Connection refused") as caught:
            await http.exchange("GET", url)
    assert caught.value.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_the_total_time_is_bounded(token_server: TokenServer) -> None:
    token_server.answers = [Answer(200, b"", hold=threading.Event())]
    async with HttpClient(clock=ScaledClock(100.0), total_timeout_s=5.0) as http:
        with pytest.raises(TransportError, match="no answer within 5 s"):
            await http.exchange("POST", token_server.url)


async def test_what_is_no_transport_error_comes_out_as_it_is() -> None:
    async with HttpClient() as http:
        with pytest.raises(httpx.InvalidURL):
            await http.exchange("GET", "http://127.0.0.1:port/")


async def test_an_answer_too_long_is_not_kept(token_server: TokenServer) -> None:
    token_server.answers = [Answer(200, b" " * 300_000)]
    async with HttpClient(max_octets=1000) as http:
        with pytest.raises(TransportError, match="its answer is longer than 1000 octets"):
            await http.exchange("POST", token_server.url)


async def test_002_08_a_redirect_is_not_followed(token_server: TokenServer) -> None:
    token_server.answers = [Answer(307, b"", {"Location": "http://127.0.0.1:1/elsewhere"})]
    async with HttpClient() as http:
        assert (await http.exchange("POST", token_server.url, form={"secret": "s"})).status == 307
    assert len(token_server.requests) == 1


async def test_a_library_s_error_text_is_not_repeated() -> None:
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError(f"while sending {await request.aread()!r}", request=request)

    async with httpx.AsyncClient(transport=Broken()) as client, HttpClient(client) as http:
        with pytest.raises(TransportError, match=r"failed: ReadError$") as caught:
            await http.exchange("POST", "https://login.example.org/", form={"secret": f"can{'ary'}"})
    assert "canary" not in "".join(traceback.format_exception(caught.value))
