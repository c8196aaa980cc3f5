"""The REST client: what is sent, what an error becomes, and what none of it shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from gcmedia.auth import BearerAuth, StaticToken, token_source
from gcmedia.errors import (
    ApiError,
    AuthError,
    ConfigError,
    Conflict,
    Forbidden,
    GcmediaError,
    NotFound,
    RemoteProtocolError,
    TooManyRequests,
    TransportError,
    UserContextRequired,
)
from gcmedia.transport.api import ApiClient, RateLimit, api_path

from .conftest import HandClock

pytestmark = pytest.mark.anyio

BASE = "https://api.usw2.pure.cloud"
Reply = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def api(reply: Reply | httpx.Response, **options: Any) -> AsyncIterator[ApiClient]:
    answer = reply if callable(reply) else lambda request: reply
    settings = {"clock": HandClock()} | options
    tokens = settings.pop("tokens", StaticToken("canary-token"))
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client,
        ApiClient(BASE, BearerAuth(tokens), client=client, **settings) as rest,
    ):
        yield rest


async def test_002_07_requests_carry_json_only_where_there_is_a_body() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"n": len(seen)})

    async with api(reply) as rest:
        assert await rest.get(api_path("users", "me"), params={"expand": "presence"}) == {"n": 1}
        assert await rest.post("/api/v2/x", {"a": 1}) == {"n": 2}
        assert await rest.put("/api/v2/x", []) == {"n": 3}
        assert await rest.patch("/api/v2/x", {"muted": False}) == {"n": 4}
        assert await rest.delete("/api/v2/x") == {"n": 5}
    assert [request.method for request in seen] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
    assert str(seen[0].url) == f"{BASE}/api/v2/users/me?expand=presence"
    assert [request.headers.get("Content-Type") for request in seen] == [None, *["application/json"] * 3, None]
    assert [json.loads(request.content) for request in seen[1:4]] == [{"a": 1}, [], {"muted": False}]
    assert {request.headers["Authorization"] for request in seen} == {"Bearer canary-token"}


async def test_002_16_any_2xx_is_a_success_and_an_empty_one_is_none() -> None:
    for status in (200, 202, 204):
        async with api(httpx.Response(status)) as rest:
            assert await rest.patch("/api/v2/x", {"muted": True}) is None
            assert (await rest.request("PATCH", "/api/v2/x", {"muted": True})).status == status


async def test_a_success_that_is_no_json_is_an_error_of_the_server() -> None:
    async with api(httpx.Response(200, text="<html>")) as rest:
        with pytest.raises(RemoteProtocolError, match="GET /api/v2/x was answered 200 with no JSON"):
            await rest.get("/api/v2/x")


@pytest.mark.parametrize(
    ("status", "code", "kind", "transient"),
    [
        (400, "bad.request", ApiError, False),
        (400, "not.a.user", UserContextRequired, False),
        (403, "missing.permissions", Forbidden, False),
        (404, "not.found", NotFound, False),
        (408, "client.timeout", ApiError, True),
        (409, "request.conflict", Conflict, False),
        (413, "request.entity.too.large", ApiError, False),
        (429, "too.many.requests.retry.after", TooManyRequests, True),
        (500, "internal.server.error", ApiError, True),
        (501, "not.implemented", ApiError, False),
        (503, "service.unavailable", ApiError, True),
        (302, "moved", ApiError, False),
    ],
)
async def test_002_13_every_error_is_typed_and_keeps_what_support_asks_for(
    status: int, code: str, kind: type[ApiError], transient: bool
) -> None:
    body = {
        "message": "Sorry.",
        "code": code,
        "status": status,
        "contextId": "x-1",
        "messageParams": {"permissions": "conversation:call:record", "n": 3},
    }
    answer = httpx.Response(status, json=body, headers={"ININ-Correlation-Id": "c-1", "Retry-After": "7"})
    async with api(answer) as rest:
        with pytest.raises(ApiError, match=f"PATCH /api/v2/x was answered {status} {code}: Sorry") as caught:
            await rest.patch("/api/v2/x", {"muted": True})
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.context_id, error.correlation_id) == (status, code, "x-1", "c-1")
    assert error.retry_after == 7.0
    assert error.params == {"permissions": "conversation:call:record"}  # 000-36
    assert error.transient is transient


async def test_000_11_a_missing_user_context_says_what_to_do() -> None:
    async with api(httpx.Response(400, json={"code": "not.a.user"})) as rest:
        with pytest.raises(UserContextRequired, match="use a user's own token, or an endpoint that names the user"):
            await rest.get("/api/v2/users/me")


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"[1]", b"[" * 60_000, b'{"message": 7, "code": []}'])
async def test_an_error_of_any_shape_is_an_error_of_its_status(body: bytes) -> None:
    async with api(httpx.Response(502, content=body)) as rest:
        with pytest.raises(ApiError, match=r"^GET /api/v2/x was answered 502$") as caught:
            await rest.get("/api/v2/x")
    assert (caught.value.status, caught.value.code, caught.value.context_id) == (502, None, None)


async def test_004_07_retry_after_may_be_a_date() -> None:
    clock = HandClock()
    headers = {"Retry-After": formatdate(clock.unix + 90, usegmt=True)}
    async with api(httpx.Response(429, headers=headers), clock=clock) as rest:
        with pytest.raises(TooManyRequests) as caught:
            await rest.get("/api/v2/x")
    assert caught.value.retry_after == 90.0


async def test_000_35_a_refused_token_is_replaced_once() -> None:
    tokens = iter("abcdef")
    seen: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"].removeprefix("Bearer "))
        return httpx.Response(200 if seen[-1] == "b" else 401, json={"code": "bad.credentials", "message": "No."})

    async with api(reply, tokens=token_source(lambda: next(tokens))) as rest:
        await rest.patch("/api/v2/x", {"muted": True})
        assert seen == ["a", "b"]
        with pytest.raises(AuthError, match=r"answered 401 bad\.credentials") as caught:
            await rest.get("/api/v2/x")
        assert seen == ["a", "b", "c", "d"]
    assert (caught.value.status, caught.value.error) == (401, "bad.credentials")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500])
async def test_no_error_repeats_the_token_or_a_person(status: int) -> None:
    said = "Bearer canary-token of canary-token, called from +1 317 555 0142, canary.user@example.org\nforged"
    headers = {"ININ-Correlation-Id": "canary-token"}
    body = {"message": said, "code": said, "contextId": said, "messageParams": {said: said}}
    async with api(httpx.Response(status, json=body, headers=headers)) as rest:
        with pytest.raises(GcmediaError) as caught:
            await rest.get("/api/v2/x")
    shown = f"{caught.value!r} {vars(caught.value)!r}"
    assert "canary" not in shown
    assert "0142" not in shown
    assert "\n" not in str(caught.value)


async def test_the_budget_that_answers_tell_is_kept() -> None:
    headers = {"inin-ratelimit-allowed": "300", "ININ-RateLimit-Count": "2", "inin-ratelimit-reset": "61"}
    answers = iter([httpx.Response(200, headers=headers), httpx.Response(404, headers={"inin-ratelimit-count": "-1"})])
    async with api(lambda request: next(answers)) as rest:
        assert rest.rate_limit is None
        await rest.get("/api/v2/x")
        assert rest.rate_limit == RateLimit(300, 2, 61.0, 1000.0)
        with pytest.raises(NotFound):
            await rest.get("/api/v2/x")
        assert rest.rate_limit == RateLimit(300, 2, 61.0, 1000.0)


async def test_an_answer_too_long_and_a_server_away_are_transport_errors() -> None:
    async with api(httpx.Response(200, content=b" " * 2000), max_octets=1000) as rest:
        with pytest.raises(TransportError, match="longer than 1000 octets"):
            await rest.get("/api/v2/x")
    async with ApiClient("http://127.0.0.1:1", BearerAuth(StaticToken("t"))) as away:
        with pytest.raises(TransportError, match="Connection refused"):
            await away.get("/api/v2/x")


def test_a_token_goes_to_no_host_that_was_not_allowed() -> None:
    auth = BearerAuth(StaticToken("t"))
    for url in ("https://api.example.org", "http://api.usw2.pure.cloud", "https://api.usw2.pure.cloud.example.org"):
        with pytest.raises(ConfigError, match="allow_custom_host"):
            ApiClient(url, auth)
        ApiClient(url, auth, allow_custom_host=True)


def test_002_15_ids_are_encoded_and_lead_nowhere_else() -> None:
    assert api_path("interactive", "sessions", "a/b?c=../%") == "/api/v2/interactive/sessions/a%2Fb%3Fc%3D..%2F%25"
    for bad in ("", ".", ".."):
        with pytest.raises(ConfigError):
            api_path("conversations", bad)
