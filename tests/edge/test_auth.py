from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import logging
import random
import subprocess
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx
import pytest

from gcmedia.auth import (
    BearerAuth,
    CallableToken,
    Credentials,
    StaticToken,
    TokenProvider,
    TokenSource,
    UserGrant,
    authorize_url,
    pkce_pair,
    token_source,
)
from gcmedia.clock import ScaledClock
from gcmedia.config import ReconnectConfig
from gcmedia.errors import AuthError, ConfigError, GcmediaError, MissingCredentials, RateLimited, StateError

from .conftest import Answer, HandClock, TokenServer

SECRET = "canary+secret/with=signs"
IDENTITY = "client-0123456789"


def grant(token: str = "token-1", expires_in: Any = 3600, **more: Any) -> Answer:
    return Answer(
        200, json.dumps({"access_token": token, "token_type": "bearer", "expires_in": expires_in} | more).encode()
    )


def refusal(status: int, headers: dict[str, str] | None = None, **body: str) -> Answer:
    return Answer(status, json.dumps(body).encode(), headers or {})


@pytest.fixture
def provider(token_server: TokenServer, hand_clock: HandClock) -> Callable[..., TokenProvider]:
    def make(*answers: Answer, **options: Any) -> TokenProvider:
        token_server.answers = list(answers)
        settings: dict[str, Any] = {"clock": hand_clock, "rng": random.Random(0)} | options
        return TokenProvider(Credentials(IDENTITY, SECRET, token_server.url), **settings)

    return make


Make = Callable[..., TokenProvider]


async def arrival(server: TokenServer) -> None:
    """Wait until one more request has reached the server."""
    assert await anyio.to_thread.run_sync(server.arrived.acquire, True, 10)


@pytest.mark.anyio
async def test_basic_is_the_default(provider: Make, token_server: TokenServer) -> None:  # 000-06
    async with provider(grant()) as source:
        assert await source.token() == "token-1"
    request = token_server.requests[0]
    assert request.path == "/oauth/token"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.form == {"grant_type": ["client_credentials"]}
    assert httpx.BasicAuth(IDENTITY, SECRET)._auth_header == request.headers["Authorization"]


@pytest.mark.anyio
async def test_body_style_and_scope(provider: Make, token_server: TokenServer) -> None:
    async with provider(grant(), auth_style="body", scope="conversations") as source:
        await source.token()
    request = token_server.requests[0]
    assert request.headers["Authorization"] is None
    assert request.form == {
        "grant_type": ["client_credentials"],
        "client_id": [IDENTITY],
        "client_secret": [SECRET],
        "scope": ["conversations"],
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("margin", "lifetime", "good_for"),
    [(60.0, 3600, 3540.0), (300.0, 3600, 3300.0), (5.0, 3600, 3595.0), (60.0, 100, 90.0), (5.0, 5, 4.5)],
)
async def test_a_token_is_kept_until_its_margin(  # 000-07, 003-05, 004-06
    provider: Make, token_server: TokenServer, hand_clock: HandClock, margin: float, lifetime: int, good_for: float
) -> None:
    async with provider(grant("a", lifetime), grant("b", lifetime), refresh_margin_s=margin) as source:
        assert await source.token() == "a"
        hand_clock.time += good_for - 0.01
        assert await source.token() == "a"
        hand_clock.time += 0.02
        assert await source.token() == "b"
    assert len(token_server.requests) == 2


@pytest.mark.anyio
async def test_a_lifetime_counts_from_the_start_of_the_request(  # 000-08
    provider: Make, token_server: TokenServer, hand_clock: HandClock
) -> None:
    hold = threading.Event()
    slow = grant("a", 100)
    slow.hold = hold
    async with provider(slow, grant("b"), refresh_margin_s=0.0) as source, anyio.create_task_group() as tasks:

        async def answer() -> None:
            await arrival(token_server)
            hand_clock.time += 40.0
            hold.set()

        tasks.start_soon(answer)
        assert await source.token() == "a"
        hand_clock.time += 59.0
        assert await source.token() == "a"
        hand_clock.time += 1.0
        assert await source.token() == "b"


@pytest.mark.anyio
async def test_a_missing_lifetime_is_a_day(provider: Make, token_server: TokenServer, hand_clock: HandClock) -> None:
    async with provider(Answer(200, b'{"access_token": "a"}'), grant("b")) as source:
        assert await source.token() == "a"
        hand_clock.time += 86_300.0
        assert await source.token() == "a"
        hand_clock.time += 60.0
        assert await source.token() == "b"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token": "a", "expires_in": 0}',
        b'{"access_token": "a", "expires_in": -1}',
        b'{"access_token": "a", "expires_in": "3600"}',
        b'{"access_token": "a", "expires_in": true}',
        b'{"access_token": "a", "expires_in": null}',
        b'{"access_token": "a", "expires_in": NaN}',
        b'{"access_token": "a", "expires_in": 1e999}',
        b'{"access_token": "", "expires_in": 1}',
        b'{"access_token": "a\\nb", "expires_in": 1}',
        b'{"access_token": 7, "expires_in": 1}',
        b'{"access_token": "a", "token_type": "mac", "expires_in": 1}',
        b'{"expires_in": 1}',
        b"[]",
        b"<html>",
        b"",
        b"[" * 60_000,
    ],
)
async def test_a_senseless_answer_is_an_error_and_not_kept(
    provider: Make, token_server: TokenServer, body: bytes
) -> None:
    async with provider(Answer(200, body), grant("b")) as source:
        with pytest.raises(AuthError):
            await source.token()
        assert len(token_server.requests) == 1
        assert await source.token() == "b"


@pytest.mark.anyio
async def test_an_endless_answer_is_not_stored(provider: Make, token_server: TokenServer) -> None:
    async with provider(Answer(200, b" " * 300_000), attempts=1) as source:
        with pytest.raises(AuthError, match="longer than 65536 octets"):
            await source.token()


@pytest.mark.anyio
async def test_a_thousand_waiters_make_one_request(  # X2
    provider: Make, token_server: TokenServer, hand_clock: HandClock
) -> None:
    slow = grant("b")
    slow.hold = threading.Event()
    async with provider(grant("a", 100), slow) as source:
        assert await source.token() == "a"
        await arrival(token_server)
        hand_clock.time += 100.0
        tokens: list[str] = []

        async def ask() -> None:
            tokens.append(await source.token())

        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(ask)
            await arrival(token_server)
            slow.hold.set()
        assert tokens == ["b"] * 1000
    assert len(token_server.requests) == 2


@pytest.mark.anyio
async def test_waiters_share_an_error_but_no_traceback(provider: Make, token_server: TokenServer) -> None:
    no = refusal(400, error="invalid_client", description="client not found")
    no.hold = threading.Event()
    errors: list[AuthError] = []
    async with provider(no) as source:

        async def ask() -> None:
            with pytest.raises(AuthError) as caught:
                await source.token()
            errors.append(caught.value)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await arrival(token_server)
            no.hold.set()
    assert len(token_server.requests) == 1
    assert len({id(error) for error in errors}) == 5
    assert {(error.status, error.error) for error in errors} == {(400, "invalid_client")}


@pytest.mark.anyio
async def test_a_cancelled_leader_finishes_for_the_others(provider: Make, token_server: TokenServer) -> None:  # X2
    slow = grant("a")
    slow.hold = threading.Event()
    tokens: list[str] = []
    leader = anyio.CancelScope()
    async with provider(slow) as source:

        async def lead() -> None:
            with leader:
                await source.token()
                raise AssertionError("the leader was cancelled and must not go on")

        async def follow() -> None:
            tokens.append(await source.token())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lead)
            await arrival(token_server)
            for _ in range(3):
                tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            leader.cancel()
            await anyio.wait_all_tasks_blocked()
            slow.hold.set()
    assert leader.cancelled_caught
    assert tokens == ["a"] * 3
    assert len(token_server.requests) == 1


@pytest.mark.anyio
async def test_a_leader_alone_is_cancelled_at_once(provider: Make, token_server: TokenServer) -> None:
    slow = grant("a")
    slow.hold = threading.Event()
    leader, follower = anyio.CancelScope(), anyio.CancelScope()
    async with provider(slow, grant("b")) as source:

        async def ask(scope: anyio.CancelScope) -> None:
            with scope:
                await source.token()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, leader)
            await arrival(token_server)
            tasks.start_soon(ask, follower)
            await anyio.wait_all_tasks_blocked()
            leader.cancel()
            follower.cancel()  # nobody is left to shield the exchange for
        assert leader.cancelled_caught
        assert follower.cancelled_caught
        slow.hold.set()
        assert await source.token() == "b"


@pytest.mark.anyio
async def test_a_cancelled_follower_harms_nobody(provider: Make, token_server: TokenServer) -> None:
    slow = grant("a")
    slow.hold = threading.Event()
    tokens: list[str] = []
    scope = anyio.CancelScope()
    async with provider(slow) as source:

        async def ask() -> None:
            tokens.append(await source.token())

        async def give_up() -> None:
            with scope:
                await source.token()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await arrival(token_server)
            tasks.start_soon(give_up)
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            slow.hold.set()
    assert scope.cancelled_caught
    assert tokens == ["a", "a"]
    assert len(token_server.requests) == 1


@pytest.mark.anyio
async def test_a_leader_cancelled_between_attempts_hands_over(provider: Make, token_server: TokenServer) -> None:
    class Stopped(HandClock):
        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            if len(self.slept) == 1:
                asleep.set()
                await anyio.sleep_forever()
            self.time += seconds

    clock, asleep = Stopped(), anyio.Event()
    leader = anyio.CancelScope()
    tokens: list[str] = []
    async with provider(refusal(503), grant("b"), clock=clock) as source:

        async def lead() -> None:
            with leader:
                await source.token()

        async def follow() -> None:
            tokens.append(await source.token())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lead)
            await asleep.wait()
            tasks.start_soon(follow)
            tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            leader.cancel()
    assert tokens == ["b", "b"]
    assert len(token_server.requests) == 2


def test_a_leader_cancelled_by_plain_asyncio_hands_over(provider: Make, token_server: TokenServer) -> None:
    slow = grant("a")
    slow.hold = threading.Event()

    async def main() -> None:
        async with provider(slow, grant("b")) as source:
            leader = asyncio.ensure_future(source.token())
            await arrival(token_server)
            followers = [asyncio.ensure_future(source.token()) for _ in range(3)]
            await asyncio.sleep(0.01)
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            assert await asyncio.gather(*followers) == ["b"] * 3

    asyncio.run(main())
    assert len(token_server.requests) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_passing_failures_are_tried_again(
    provider: Make, token_server: TokenServer, hand_clock: HandClock, status: int
) -> None:
    async with provider(refusal(status), refusal(status), grant("a")) as source:
        assert await source.token() == "a"
    first, second = hand_clock.slept
    assert 0.5 <= first <= 1.0
    assert 1.0 <= second <= 2.0


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, error="invalid_client"),
        refusal(401, error="invalid_client"),
        refusal(400, error="invalid_grant"),
        refusal(400, error="unauthorized_client"),
        refusal(500, error="invalid_client"),
        refusal(403, code="not.authorized"),
        refusal(501),
        refusal(404),
        refusal(302, {"Location": "http://127.0.0.1:9/elsewhere"}),
        refusal(204),
    ],
    ids=lambda answer: str(answer.status),
)
async def test_lasting_failures_are_not(provider: Make, token_server: TokenServer, answer: Answer) -> None:
    async with provider(answer) as source:
        with pytest.raises(AuthError) as caught:
            await source.token()
    assert caught.value.status == answer.status
    assert len(token_server.requests) == 1


@pytest.mark.anyio
async def test_attempts_are_bounded(provider: Make, token_server: TokenServer) -> None:
    async with provider(refusal(503)) as source:
        with pytest.raises(AuthError, match="answered 503; given up after 5 attempts"):
            await source.token()
    assert len(token_server.requests) == 5


@pytest.mark.anyio
async def test_total_time_is_bounded(provider: Make, token_server: TokenServer, hand_clock: HandClock) -> None:
    config = ReconnectConfig(base_s=8.0, cap_s=8.0, jitter_low=1.0)
    async with provider(refusal(503), backoff=config, total_timeout_s=20.0, attempts=100) as source:
        with pytest.raises(AuthError):
            await source.token()
    assert hand_clock.slept == [8.0, 8.0]


@pytest.mark.anyio
async def test_retry_after_in_seconds_is_never_undercut(  # 004-07
    provider: Make, token_server: TokenServer, hand_clock: HandClock
) -> None:
    wait = {"Retry-After": "42"}
    async with provider(refusal(429, wait), refusal(429, {"Retry-After": "120"}), grant("a")) as source:
        assert await source.token() == "a"
    assert hand_clock.slept == [42.0, 120.0]


@pytest.mark.anyio
@pytest.mark.parametrize("dated", [False, True])
async def test_retry_after_as_a_date_is_never_undercut(  # 004-07
    provider: Make, token_server: TokenServer, hand_clock: HandClock, dated: bool
) -> None:
    server_time = hand_clock.unix + (500.0 if dated else 0.0)  # a Date of its own makes its clock the measure
    headers = {"Retry-After": format_datetime(datetime.fromtimestamp(server_time + 90, UTC), usegmt=True)}
    if dated:
        headers["Date"] = format_datetime(datetime.fromtimestamp(server_time, UTC), usegmt=True)
    async with provider(refusal(429, headers), grant("a")) as source:
        assert await source.token() == "a"
    assert hand_clock.slept == [90.0]


@pytest.mark.anyio
async def test_retry_after_beyond_patience_gives_up_and_is_remembered(
    provider: Make, token_server: TokenServer, hand_clock: HandClock
) -> None:
    async with provider(refusal(429, {"Retry-After": "181"}), grant("a")) as source:
        with pytest.raises(RateLimited, match=r"in 181.0 s, beyond the 180.0 s allowed") as caught:
            await source.token()
        assert (caught.value.retry_after, caught.value.status) == (181.0, 429)
        assert hand_clock.slept == []
        # Asked again too early, it neither sends a request nor waits too short.
        hand_clock.time += 0.5
        with pytest.raises(RateLimited):
            await source.token()
        assert len(token_server.requests) == 1
        hand_clock.time += 100.5
        assert await source.token() == "a"
        assert hand_clock.slept == [80.0]


@pytest.mark.anyio
async def test_the_last_429_is_rate_limited(provider: Make, token_server: TokenServer) -> None:
    async with provider(refusal(429, {"Retry-After": "3"}), attempts=2) as source:
        with pytest.raises(RateLimited) as caught:
            await source.token()
    assert caught.value.retry_after == 3.0
    assert len(token_server.requests) == 2


@pytest.mark.anyio
async def test_a_failed_early_renewal_leaves_the_token_in_use(
    provider: Make, token_server: TokenServer, hand_clock: HandClock
) -> None:
    async with provider(grant("a", 3600), refusal(429, {"Retry-After": "30"}), grant("b")) as source:
        assert await source.token() == "a"
        hand_clock.time += 3550.0
        assert [await source.token() for _ in range(5)] == ["a"] * 5
        assert len(token_server.requests) == 2
        hand_clock.time += 31.0
        assert await source.token() == "b"
    assert hand_clock.slept == []


@pytest.mark.anyio
async def test_a_token_that_failed_to_renew_is_not_used_beyond_its_end(
    provider: Make, token_server: TokenServer, hand_clock: HandClock
) -> None:
    async with provider(grant("a", 3600), refusal(503, {"Retry-After": "100"}), grant("b")) as source:
        assert await source.token() == "a"
        hand_clock.time += 3550.0
        assert await source.token() == "a"
        hand_clock.time += 50.0
        assert await source.token() == "b"
    assert hand_clock.slept == [50.0]


@pytest.mark.anyio
async def test_invalidate_drops_only_the_present_token(provider: Make, token_server: TokenServer) -> None:
    async with provider(grant("a"), grant("b")) as source:
        assert await source.token() == "a"
        source.invalidate("z")
        assert await source.token() == "a"
        source.invalidate("a")
        assert await source.token() == "b"
        source.invalidate("a")  # a late 401 to the old one
        assert await source.token() == "b"


@pytest.mark.anyio
async def test_both_shapes_of_errors_are_read(provider: Make, token_server: TokenServer) -> None:  # X4
    oauth = refusal(
        400,
        {"ININ-Correlation-Id": "c-1"},
        error="invalid_client",
        description="authentication failed",
        error_description="client not found",
    )
    api = refusal(403, code="not.authorized", message="no way", contextId="x-1")
    async with provider(oauth, api) as source:
        with pytest.raises(AuthError, match="answered 400 invalid_client: client not found") as first:
            await source.token()
        with pytest.raises(AuthError, match=r"answered 403 not.authorized: no way .*role") as second:
            await source.token()
    assert (first.value.error, first.value.correlation_id) == ("invalid_client", "c-1")
    assert (second.value.error, second.value.correlation_id) == ("not.authorized", "x-1")


@pytest.mark.anyio
async def test_nobody_listening_is_an_auth_error(hand_clock: HandClock) -> None:
    async with TokenProvider(Credentials(IDENTITY, SECRET, "http://127.0.0.1:1"), clock=hand_clock) as source:
        with pytest.raises(AuthError, match=r"ConnectError.*given up after 5 attempts") as caught:
            await source.token()
    assert caught.value.status is None


@pytest.mark.anyio
async def test_a_silent_server_is_given_up(provider: Make, token_server: TokenServer) -> None:
    slow = grant()
    slow.hold = threading.Event()
    async with provider(slow, clock=ScaledClock(100.0), request_timeout_s=5.0, attempts=1) as source:
        with pytest.raises(AuthError, match="no answer within 5 s"):
            await source.token()


@pytest.mark.anyio
async def test_the_callers_client_is_used_and_left_open(provider: Make, token_server: TokenServer) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        source = provider(grant("a"), client=client)
        client.auth = BearerAuth(source)  # must not ask itself for a token to ask for a token
        assert await source.token() == "a"
        await source.aclose()
        assert not client.is_closed
    assert token_server.requests[0].headers["Authorization"].startswith("Basic ")


@pytest.mark.anyio
async def test_a_provider_can_be_used_again_after_closing(provider: Make, token_server: TokenServer) -> None:
    source = provider(grant("a"), grant("b"))
    assert await source.token() == "a"
    await source.aclose()
    await source.aclose()
    source.invalidate("a")
    assert await source.token() == "b"
    await source.aclose()


def test_a_secret_goes_nowhere_unasked() -> None:
    for region in ("login.example.org", "https://example.org", "192.0.2.1"):
        with pytest.raises(ConfigError, match="allow_custom_host"):
            TokenProvider(Credentials(IDENTITY, SECRET, region))
        TokenProvider(Credentials(IDENTITY, SECRET, region), allow_custom_host=True)
    TokenProvider(Credentials(IDENTITY, SECRET, "usw2"))


@pytest.mark.parametrize(
    "options",
    [
        {"auth_style": "post"},
        {"attempts": 0},
        {"refresh_margin_s": -1.0},
        {"max_wait_s": float("nan")},
        {"total_timeout_s": 0.0},
        {"request_timeout_s": float("inf")},
    ],
)
def test_settings_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        TokenProvider(Credentials(IDENTITY, SECRET, "usw2"), **options)


def test_a_colon_does_not_fit_basic() -> None:
    with pytest.raises(ConfigError, match="colon"):
        TokenProvider(Credentials("a:b", SECRET, "usw2"))
    TokenProvider(Credentials("a:b", SECRET, "usw2"), auth_style="body")


def test_credentials_come_from_the_environment() -> None:  # 000-05
    full = {"GENESYS_CLIENT_ID": IDENTITY, "GENESYS_CLIENT_SECRET": SECRET, "GENESYS_REGION": "usw2"}
    assert Credentials.from_env(full) == Credentials(IDENTITY, SECRET, "usw2")
    for name in full:
        for bad in ({}, {name: " "}):
            with pytest.raises(MissingCredentials, match=name) as caught:
                Credentials.from_env({key: value for key, value in full.items() if key != name} | bad)
            assert not any(other in str(caught.value) for other in full if other != name)
    with pytest.raises(MissingCredentials) as caught:
        Credentials.from_env({})
    assert all(name in str(caught.value) for name in full)
    with pytest.raises(MissingCredentials, match="client_secret"):
        Credentials(IDENTITY, "", "usw2")


def test_a_pkce_challenge_is_the_hash_of_its_verifier() -> None:
    verifier, challenge = pkce_pair()
    assert 43 <= len(verifier) <= 128  # RFC 7636 section 4.1
    assert base64.urlsafe_b64decode(challenge + "=") == hashlib.sha256(verifier.encode()).digest()
    assert pkce_pair()[0] != verifier


def test_the_sign_in_address_carries_the_challenge_and_not_the_verifier() -> None:
    url = urlsplit(authorize_url("usw2", "id", "https://app.example.org/back", challenge="c", state="s", scope="x y"))
    assert (url.scheme, url.netloc, url.path) == ("https", "login.usw2.pure.cloud", "/oauth/authorize")
    assert dict(parse_qsl(url.query)) == {
        "response_type": "code",
        "client_id": "id",
        "redirect_uri": "https://app.example.org/back",
        "code_challenge": "c",
        "code_challenge_method": "S256",
        "state": "s",
        "scope": "x y",
    }


@pytest.mark.anyio
async def test_a_code_is_redeemed_once_and_then_the_token_refreshed(  # 004-05
    token_server: TokenServer, hand_clock: HandClock
) -> None:
    token_server.answers = [
        grant("a", 100, refresh_token="r-1"),
        grant("b", 100, refresh_token="r-2"),
        grant("c", 100),
        grant("d", 100),
    ]
    user = UserGrant("public", token_server.url, code="k", redirect_uri="https://app.example.org/", code_verifier="v")
    async with TokenProvider(user, clock=hand_clock) as source:
        for token, kept in (("a", "r-1"), ("b", "r-2"), ("c", "r-2"), ("d", "r-2")):
            assert await source.token() == token
            assert source.refresh_token == kept
            hand_clock.time += 100.0
    first, *later = (request.form for request in token_server.requests)
    assert first == {
        "grant_type": ["authorization_code"],
        "code": ["k"],
        "redirect_uri": ["https://app.example.org/"],
        "code_verifier": ["v"],
        "client_id": ["public"],
    }
    assert [form["refresh_token"] for form in later] == [["r-1"], ["r-2"], ["r-2"]]
    assert {form["grant_type"][0] for form in later} == {"refresh_token"}
    assert not any(request.headers["Authorization"] for request in token_server.requests)


@pytest.mark.anyio
async def test_without_a_refresh_token_the_user_must_sign_in_again(
    token_server: TokenServer, hand_clock: HandClock
) -> None:
    token_server.answers = [grant("a", 100)]
    user = UserGrant("id", token_server.url, code="k", redirect_uri="https://app.example.org/", client_secret="s")
    async with TokenProvider(user, clock=hand_clock) as source:
        assert await source.token() == "a"
        hand_clock.time += 95.0
        assert await source.token() == "a"  # nothing to renew it with, but it is good until its end
        hand_clock.time += 5.0
        with pytest.raises(AuthError, match="sign in again"):
            await source.token()
    assert len(token_server.requests) == 1
    assert token_server.requests[0].headers["Authorization"].startswith("Basic ")


@pytest.mark.anyio
async def test_a_refused_refresh_token_is_final_and_not_shown(token_server: TokenServer, hand_clock: HandClock) -> None:
    token_server.answers = [refusal(400, error="invalid_grant", error_description="canary-refresh is revoked")]
    user = UserGrant("id", token_server.url, refresh_token="canary-refresh")
    async with TokenProvider(user, clock=hand_clock) as source:
        with pytest.raises(AuthError, match="invalid_grant") as caught:
            await source.token()
        assert "canary" not in "\n".join(everything_reachable(caught.value))
        assert "canary" not in repr(user) + repr(source)
    assert len(token_server.requests) == 1


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "code or refresh_token"),
        ({"code": "k"}, "redirect_uri"),
        ({"refresh_token": "r", "client_id": ""}, "client_id"),
    ],
)
def test_an_incomplete_user_grant_names_what_is_missing(given: dict[str, str], missing: str) -> None:
    with pytest.raises(MissingCredentials, match=missing):
        UserGrant(**({"client_id": "id", "region": "usw2"} | given))


@pytest.mark.anyio
async def test_tokens_of_other_sources() -> None:  # 000-12
    async def later() -> str:
        return "later"

    assert await StaticToken("t").token() == "t"
    assert await CallableToken(lambda: "now").token() == "now"
    assert await CallableToken(later).token() == "later"
    assert await CallableToken(lambda: later()).token() == "later"
    counter = iter("abc")
    fresh = CallableToken(lambda: next(counter))
    assert await fresh.token() == "a"
    fresh.invalidate("a")
    assert await fresh.token() == "b"


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["", "canary\n", "can ary", None, 7])
async def test_what_cannot_be_a_token_is_refused(value: Any) -> None:
    with pytest.raises(AuthError) as caught:
        await CallableToken(lambda: value).token()
    assert "canary" not in str(caught.value)
    if isinstance(value, str):
        with pytest.raises(ConfigError) as refused:
            StaticToken(value)
        assert "canary" not in str(refused.value)


def test_token_source_takes_what_callers_have() -> None:
    assert isinstance(token_source("t"), StaticToken)
    assert isinstance(token_source(lambda: "t"), CallableToken)
    assert isinstance(token_source(Credentials(IDENTITY, SECRET, "usw2")), TokenProvider)
    static = StaticToken("t")
    assert token_source(static) is static
    wrong: Any = 7
    with pytest.raises(ConfigError, match="int"):
        token_source(wrong)


@pytest.mark.anyio
async def test_bearer_auth_repeats_once_after_401(provider: Make, token_server: TokenServer) -> None:
    seen: list[str] = []

    def api(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200 if seen[-1] == "Bearer b" else 401)

    async with (
        provider(grant("a"), grant("b"), grant("c"), grant("d")) as source,
        httpx.AsyncClient(transport=httpx.MockTransport(api), auth=BearerAuth(source)) as client,
    ):
        assert (await client.patch("https://api.example.org/x", json={})).status_code == 200
        assert seen == ["Bearer a", "Bearer b"]
        source.invalidate("b")
        seen.clear()
        assert (await client.get("https://api.example.org/x")).status_code == 401
        assert seen == ["Bearer c", "Bearer d"]  # once, not for ever


@pytest.mark.anyio
async def test_bearer_auth_knows_when_repeating_is_no_use() -> None:
    calls: list[str] = []

    class Refuse(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            async for _ in request.stream:
                pass
            calls.append(request.headers["Authorization"])
            return httpx.Response(401, json={"code": "ip.not.authorized"} if "ip" in request.url.path else {})

    async def stream() -> Any:
        yield b"once"

    counter = iter("abcdefgh")
    for source, path, content in (
        (token_source("same"), "/x", b""),
        (token_source(lambda: next(counter)), "/ip", b""),
        (token_source(lambda: next(counter)), "/x", stream()),
    ):
        calls.clear()
        async with httpx.AsyncClient(transport=Refuse(), auth=BearerAuth(source)) as client:
            assert (await client.post(f"https://api.example.org{path}", content=content)).status_code == 401
        assert len(calls) == 1


def test_bearer_auth_serves_synchronous_clients_too(provider: Make, token_server: TokenServer) -> None:
    seen: list[str] = []

    def api(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200 if seen[-1] in ("Bearer a", "Bearer b") else 401)

    source = provider(grant("a"), grant("x"), grant("b"), grant("y"), grant("z"))
    with httpx.Client(transport=httpx.MockTransport(api), auth=BearerAuth(source)) as client:
        assert client.get("https://api.example.org/x").status_code == 200
        assert client.get("https://api.example.org/x").status_code == 200
        assert len(token_server.requests) == 1  # cached from loop to loop
        source.invalidate("a")
        assert client.patch("https://api.example.org/x", json={}).status_code == 200
        assert seen == ["Bearer a", "Bearer a", "Bearer x", "Bearer b"]
        source.invalidate("b")
        assert client.get("https://api.example.org/x").status_code == 401
        assert len(token_server.requests) == 5


@pytest.mark.anyio
async def test_a_synchronous_client_does_not_block_an_event_loop() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    with (
        httpx.Client(transport=transport, auth=BearerAuth(StaticToken("t"))) as client,
        pytest.raises(StateError, match="AsyncClient"),
    ):
        client.get("https://api.example.org/")  # noqa: ASYNC212 -- the mistake


def forms_of(secret: str) -> list[str]:
    basic = httpx.BasicAuth(IDENTITY, secret)._auth_header.split()[1]
    return [secret, basic, "canary", "canary%2Bsecret"]


def everything_reachable(error: BaseException) -> Iterator[str]:
    """What a log, a page or a debugger's chain would show of an error."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        item = queue.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        yield repr(item)
        yield str(item)
        yield repr(vars(item))
        queue += [item.__cause__, item.__context__]
    yield "".join(traceback.format_exception(error))


@pytest.mark.anyio
@pytest.mark.parametrize("auth_style", ["basic", "body"])
async def test_no_error_or_log_shows_a_secret(  # X3, 002-05, 004-08
    provider: Make, token_server: TokenServer, caplog: pytest.LogCaptureFixture, auth_style: str
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"{SECRET} {forms_of(SECRET)[1]} \r\nforged line"
    cases: list[tuple[TokenProvider, str]] = []
    for answer in (
        refusal(400, error="invalid_client", error_description=echo),
        refusal(500, {"ININ-Correlation-Id": SECRET}, message=echo),
        Answer(200, json.dumps({"access_token": "canary-token\n", "expires_in": 1}).encode()),
        Answer(200, json.dumps({"access_token": "canary-token", "expires_in": SECRET}).encode()),
        Answer(200, json.dumps({"access_token": "canary-token", "expires_in": 1}).encode() + b" canary"),
    ):
        source = provider(answer, auth_style=auth_style, attempts=2)
        token_server.requests.clear()
        async with source:
            with pytest.raises(GcmediaError) as caught:
                await source.token()
        assert "canary" not in "\n".join(everything_reachable(caught.value))
        assert "\n" not in str(caught.value)
        cases.append((source, repr(source)))

    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError(f"could not send {await request.aread()!r} {request.headers}", request=request)

    async with httpx.AsyncClient(transport=Broken()) as client:
        source = provider(grant(), auth_style=auth_style, client=client)
        with pytest.raises(AuthError) as caught:
            await source.token()
    assert not any(form in "\n".join(everything_reachable(caught.value)) for form in forms_of(SECRET)[:3])

    async with provider(grant("canary-token"), auth_style=auth_style) as source:
        assert await source.token() == "canary-token"
        source.invalidate("canary-token")
        cases.append((source, repr(source)))
    shown = [repr(Credentials(IDENTITY, SECRET, "usw2")), repr(StaticToken("canary-token")), repr(cases)]
    shown += [record.getMessage() for record in caplog.records if record.name.startswith("gcmedia")]
    assert len(shown) > 4
    assert "canary" not in "\n".join(shown)


def test_importing_auth_loads_no_http_library() -> None:
    code = "import sys, gcmedia.auth; print({'httpx', 'websockets', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_sources_fit_the_protocol() -> None:
    def takes(source: TokenSource) -> Callable[[], Awaitable[str]]:
        return source.token

    for source in (StaticToken("t"), CallableToken(lambda: "t"), TokenProvider(Credentials(IDENTITY, SECRET, "usw2"))):
        assert callable(takes(source))
    gc.collect()
