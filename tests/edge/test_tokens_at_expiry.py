"""Tokens under load, against the simulator's server: one request for a thousand, no retry of a 403, no early retry."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia.auth import BearerAuth, Credentials, TokenProvider, UserGrant, authorize_url, pkce_pair
from gcmedia.errors import ApiError, AuthError, Forbidden
from gcmedia.simulator import Faults, Simulator
from gcmedia.transport.api import ApiClient

from .conftest import HandClock

LIFETIME_S = 3600


@asynccontextmanager
async def cloud_and_provider(
    faults: Faults | None = None, **options: Any
) -> AsyncIterator[tuple[Simulator, TokenProvider, HandClock]]:
    clock = HandClock()
    async with Simulator({}, faults or Faults(token_lifetime_s=LIFETIME_S)) as cloud:
        credentials = Credentials(cloud.client_id, cloud.client_secret, cloud.base_url)
        async with TokenProvider(credentials, clock=clock, **options) as provider:
            yield cloud, provider, clock


@pytest.mark.anyio
@pytest.mark.parametrize("auth_style", ["basic", "body"])
async def test_000_07_a_thousand_waiters_at_expiry_make_one_token_request(auth_style: str) -> None:
    async with cloud_and_provider(auth_style=auth_style) as (cloud, provider, clock):
        first = await provider.token()
        clock.time += LIFETIME_S
        tokens: list[str] = []

        async def wait() -> None:
            tokens.append(await provider.token())

        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(wait)
        assert cloud.journal.token_requests == 2
        assert len(tokens) == 1000
        assert len(set(tokens)) == 1
        assert first not in tokens


@pytest.mark.anyio
async def test_003_05_however_many_give_up_the_others_get_their_token_from_one_request() -> None:
    rng = random.Random(5)
    async with cloud_and_provider() as (cloud, provider, clock):
        for round_ in range(5):
            tokens: list[str] = []
            scopes = [anyio.CancelScope() for _ in range(1000)]

            async def wait(scope: anyio.CancelScope, tokens: list[str] = tokens) -> None:
                with scope:
                    tokens.append(await provider.token())

            leavers = set(rng.sample(range(1000), 900)) - {999}
            if round_ % 2:
                leavers.add(0)  # who makes the request
            async with anyio.create_task_group() as tasks:
                for scope in scopes:
                    tasks.start_soon(wait, scope)
                await anyio.lowlevel.checkpoint()
                for number in leavers:
                    scopes[number].cancel()
            assert cloud.journal.token_requests == round_ + 1
            assert len(tokens) >= 1000 - len(leavers)
            assert len(set(tokens)) == 1
            clock.time += LIFETIME_S


@pytest.mark.anyio
async def test_000_35_requests_refused_together_are_repeated_once_each_with_one_new_token() -> None:
    async with (
        cloud_and_provider() as (cloud, provider, _),
        httpx.AsyncClient(
            base_url=cloud.base_url,
            auth=BearerAuth(provider),
            trust_env=False,
            timeout=60,
            limits=httpx.Limits(max_connections=10),
        ) as client,
    ):
        assert (await client.get("/api/v2/tokens/me")).status_code == 200
        cloud.revoke_tokens()
        answers: list[int] = []

        async def ask() -> None:
            answers.append((await client.get("/api/v2/tokens/me")).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(ask)
        assert answers == [200] * 100
        assert cloud.journal.token_requests == 2
        sent = Counter(exchange.status for exchange in cloud.journal.requests if exchange.method == "GET")
        assert sent[200] == 101
        assert sent[401] <= 100


@pytest.mark.anyio
async def test_000_36_a_403_is_never_tried_again() -> None:
    async with cloud_and_provider(Faults(token_refusals=(403, 403))) as (cloud, provider, clock):
        with pytest.raises(AuthError, match="403") as caught:
            await provider.token()
        assert (caught.value.status, cloud.journal.token_requests, clock.slept) == (403, 1, [])

    sent: list[str] = []

    def forbid(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        return httpx.Response(403, json={"code": "missing.permissions"}, headers={"Retry-After": "1"})

    async with cloud_and_provider() as (cloud, provider, clock):
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(forbid)) as client,
            ApiClient("https://api.usw2.pure.cloud", BearerAuth(provider), client=client, clock=clock) as rest,
        ):
            with pytest.raises(Forbidden) as refused:
                await rest.patch("/api/v2/x", {"muted": True})
        assert isinstance(refused.value, ApiError)
        assert not refused.value.transient
        assert (len(sent), cloud.journal.token_requests) == (1, 1)


@pytest.mark.anyio
@pytest.mark.parametrize("as_date", [False, True])
async def test_004_07_a_wait_that_the_server_asks_for_is_kept_by_all(as_date: bool) -> None:
    faults = Faults(token_refusals=(429, 503, 429), retry_after_s=42.0, retry_after_as_date=as_date)
    async with cloud_and_provider(faults) as (cloud, provider, clock):
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(provider.token)
        assert cloud.journal.token_requests == 4
        assert len(clock.slept) == 3
        assert all(wait >= 41.0 for wait in clock.slept)  # a date is whole seconds


@pytest.mark.anyio
async def test_004_05_a_user_signs_in_by_code_and_pkce_and_stays_signed_in() -> None:
    clock = HandClock()
    async with Simulator({}, Faults(token_lifetime_s=300)) as cloud:
        verifier, challenge = pkce_pair()
        back = "https://app.example.org/back"
        async with httpx.AsyncClient(trust_env=False) as browser:
            page = authorize_url(cloud.base_url, cloud.client_id, back, challenge=challenge, state="s", scope="x y")
            answer = await browser.get(page)
        code = httpx.URL(answer.headers["Location"]).params["code"]
        user = UserGrant(cloud.client_id, cloud.base_url, code=code, redirect_uri=back, code_verifier=verifier)
        async with TokenProvider(user, clock=clock) as provider:
            tokens = [await provider.token()]
            assert provider.granted_scope == ("x", "y")
            assert provider.expires_in_s == 300.0
            kept = provider.refresh_token
            for _ in range(2):
                clock.time += 300.0
                tokens.append(await provider.token())
            assert len(set(tokens)) == 3
            latest = provider.refresh_token
            assert latest != kept
        # What was kept serves another run of the program, but not twice.
        async with TokenProvider(UserGrant(cloud.client_id, cloud.base_url, refresh_token=latest)) as later:
            assert await later.token()
        async with TokenProvider(UserGrant(cloud.client_id, cloud.base_url, refresh_token=latest)) as spent:
            with pytest.raises(AuthError) as caught:
                await spent.token()
            assert caught.value.error == "invalid_grant"
        assert cloud.journal.token_requests == 5


class Scripted(httpx.AsyncBaseTransport):
    """Answers token requests as drawn, and notes when each came and what it was told."""

    def __init__(self, clock: HandClock, answers: list[tuple[int, int | None]]) -> None:
        self.clock = clock
        self.answers = answers
        self.seen: list[tuple[float, int, int | None]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, wait = self.answers[len(self.seen)] if len(self.seen) < len(self.answers) else (200, None)
        self.seen.append((self.clock.time, status, wait))
        if status == 200:
            return httpx.Response(200, json={"access_token": f"t{len(self.seen)}", "expires_in": 600})
        headers = {} if wait is None else {"Retry-After": str(wait)}
        return httpx.Response(status, json={"code": "refused"}, headers=headers)


@settings(max_examples=150, deadline=None)
@given(
    answers=st.lists(
        st.tuples(
            st.sampled_from([200, 200, 400, 403, 408, 429, 429, 429, 500, 503]),
            st.none() | st.integers(0, 400) | st.just(200_000),
        ),
        max_size=12,
    ),
    steps=st.lists(st.tuples(st.floats(0.0, 700.0), st.booleans()), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
def test_004_07_whatever_comes_retry_after_is_not_undercut_and_a_403_not_repeated(
    answers: list[tuple[int, int | None]], steps: list[tuple[float, bool]], seed: int
) -> None:
    clock = HandClock()
    script = Scripted(clock, answers)

    async def run() -> None:
        async with httpx.AsyncClient(transport=script) as client:
            credentials = Credentials("id", "secret", "usw2")
            provider = TokenProvider(credentials, client=client, clock=clock, rng=random.Random(seed))
            for pause, refused in steps:
                clock.time += pause
                before = len(script.seen)
                try:
                    token = await provider.token()
                    if refused:
                        provider.invalidate(token)
                except AuthError:
                    pass
                # What repeating cannot cure ends the call that met it.
                assert not any(status in (400, 403) for _, status, _ in script.seen[before:-1])

    anyio.run(run)
    not_before = 0.0
    for at, status, wait in script.seen:
        assert at >= not_before
        if wait is not None and status != 200:
            not_before = max(not_before, at + wait)
