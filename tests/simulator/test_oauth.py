"""The token endpoint, seen through httpx (004-05 to 004-08)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx
import pytest

from gcmedia.simulator import Call, Faults, Simulator

from .loopback_client import bearer, request_token

pytestmark = pytest.mark.anyio

SHORT = {"conv-1": Call.demo(seconds=0.2)}
GRANT = {"grant_type": "client_credentials"}


async def post(cloud: Simulator, form: Any, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        return await client.post(cloud.token_url, data=form, **options)


async def test_basic_credentials_get_a_token() -> None:
    async with Simulator(SHORT, Faults(token_lifetime_s=300)) as cloud:
        response = await request_token(cloud)
    assert response.status_code == 200
    answer = response.json()
    assert answer.keys() == {"access_token", "token_type", "expires_in"}
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 300)
    assert response.headers["ININ-Correlation-Id"]
    assert response.headers["Cache-Control"] == "no-store"


async def test_credentials_in_the_body_get_a_token_and_scope_is_optional() -> None:
    async with Simulator(SHORT, client_id="id", client_secret="a:secret") as cloud:
        form = {**GRANT, "client_id": "id", "client_secret": "a:secret", "scope": "platform:media:streaming"}
        assert (await post(cloud, form)).status_code == 200
        assert (await post(cloud, GRANT, auth=("id", "a:secret"))).status_code == 200


@pytest.mark.parametrize(
    ("form", "options", "status", "error"),
    [
        pytest.param(GRANT, {"auth": ("nobody", "x")}, 400, "invalid_client", id="unknown-client"),
        pytest.param(GRANT, {"auth": ("id", "wrong")}, 401, "invalid_client", id="wrong-secret"),
        pytest.param(GRANT, {}, 401, "invalid_client", id="no-credentials"),
        pytest.param(GRANT, {"headers": {"Authorization": "Basic @@"}}, 401, "invalid_client", id="broken-basic"),
        pytest.param({}, {"auth": ("id", "secret"), "headers": {"Content-Type": "application/json"}}, 400,
                     "invalid_request", id="no-form"),
        pytest.param({"a": "b"}, {"auth": ("id", "secret")}, 400, "invalid_request", id="no-grant"),
        pytest.param({"grant_type": "password"}, {"auth": ("id", "secret")}, 400, "unsupported_grant_type",
                     id="other-grant"),
    ],
)  # fmt: skip
async def test_errors_have_the_oauth_shape(form: Any, options: Any, status: int, error: str) -> None:
    async with Simulator(SHORT, client_id="id", client_secret="secret") as cloud:
        response = await post(cloud, form, **options)
    assert response.status_code == status
    assert response.json()["error"] == error
    assert response.json()["error_description"]


async def test_ordered_refusals_come_first_and_say_when_to_come_again() -> None:
    faults = Faults(token_refusals=(429, 503, 401), retry_after_s=7)
    async with Simulator(SHORT, faults) as cloud:
        answers = [await request_token(cloud) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [429, 503, 401, 200]
        assert [answer.headers.get("Retry-After") for answer in answers] == ["7", "7", None, None]
        assert answers[0].json()["code"] == "too.many.requests.retry.after"
        assert answers[0].json()["contextId"] == answers[0].headers["ININ-Correlation-Id"]
        assert answers[2].json()["error"] == "invalid_client"
        assert cloud.journal.token_requests == 4


async def test_retry_after_may_be_a_date() -> None:
    async with Simulator(SHORT, Faults(token_refusals=(429,), retry_after_s=60, retry_after_as_date=True)) as cloud:
        before = time()
        answer = await request_token(cloud)
    date = parsedate_to_datetime(answer.headers["Retry-After"]).timestamp()
    assert before + 60 <= date <= time() + 61


async def test_api_errors_have_the_api_shape() -> None:
    async with (
        Simulator(SHORT) as cloud,
        httpx.AsyncClient(verify=False, trust_env=False, base_url=cloud.base_url) as client,
    ):
        missing = await client.get("/api/v2/nothing")
        wrong_method = await client.get("/oauth/token")
        head = await client.head("/api/v2/nothing")
        too_large = await client.post("/oauth/token", content=b"x" * 70_000)
        assert missing.status_code == head.status_code == 404
        assert head.content == b""
        assert missing.json()["code"] == "not.found"
        assert missing.json()["contextId"] == missing.headers["inin-correlation-id"]
        assert wrong_method.status_code == 405
        assert wrong_method.headers["Allow"] == "POST"
        assert too_large.status_code == 413
        assert (await client.get("/api/v2/platform/media")).status_code == 400


async def test_requests_share_a_connection() -> None:
    async with Simulator(SHORT) as cloud, httpx.AsyncClient(verify=False, trust_env=False) as client:
        for _ in range(3):
            form = {**GRANT, "client_id": cloud.client_id, "client_secret": cloud.client_secret}
            assert (await client.post(cloud.token_url, data=form)).status_code == 200
        assert len({exchange.connection for exchange in cloud.journal.requests}) == 1


async def test_the_journal_and_reprs_hold_no_secret() -> None:
    async with (
        Simulator(SHORT, speed=None, journal_limit=5) as cloud,
        httpx.AsyncClient(verify=False, trust_env=False) as client,
    ):
        token = (await request_token(cloud)).json()["access_token"]
        await client.get(f"{cloud.base_url}/api/v2/nothing?access_token={token}", headers=bearer(token))
        journal = cloud.journal
        said = repr((journal.records, journal.requests, journal.connections, journal, cloud, cloud._platform))
        assert token not in said
        assert cloud.client_secret not in said


SIGN_IN = {"response_type": "code", "client_id": "id", "redirect_uri": "https://app.example.org/back", "state": "s 1"}


async def sign_in(cloud: Simulator, **more: str) -> dict[str, str]:
    """What comes back to the application."""
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        answer = await client.get(f"{cloud.base_url}/oauth/authorize", params=SIGN_IN | more)
    assert answer.status_code == 302, answer.text
    url = httpx.URL(answer.headers["Location"])
    assert str(url.copy_with(query=None)) == "https://app.example.org/back"
    return dict(url.params)


async def test_a_code_is_good_once_and_a_refresh_token_changes_with_each_use() -> None:
    async with Simulator(SHORT, client_id="id", client_secret="secret") as cloud:
        back = await sign_in(cloud, scope="conversations")
        assert back["state"] == "s 1"
        form = {"grant_type": "authorization_code", "code": back["code"], "redirect_uri": SIGN_IN["redirect_uri"]}
        first = (await post(cloud, form, auth=("id", "secret"))).json()
        assert first["scope"] == "conversations"
        assert (await post(cloud, form, auth=("id", "secret"))).json()["error"] == "invalid_grant"
        refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "client_id": "id"}
        second = (await post(cloud, refresh)).json()
        assert second["access_token"] != first["access_token"]
        assert second["refresh_token"] != first["refresh_token"]
        assert (await post(cloud, refresh)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({}, 200, None),
        ({"code_verifier": "another"}, 400, "invalid_grant"),
        ({"redirect_uri": "https://thief.example.org/"}, 400, "invalid_grant"),
        ({"code": "guessed"}, 400, "invalid_grant"),
        ({"code_verifier": None}, 401, "invalid_client"),
    ],
)
async def test_a_public_client_proves_itself_by_its_verifier(
    change: dict[str, str | None], status: int, error: str | None
) -> None:
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636 appendix B
    form = {
        "grant_type": "authorization_code",
        "redirect_uri": SIGN_IN["redirect_uri"],
        "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "client_id": "id",
    }
    async with Simulator(SHORT, client_id="id", client_secret="secret") as cloud:
        form["code"] = (await sign_in(cloud, code_challenge=challenge, code_challenge_method="S256"))["code"]
        answer = await post(cloud, {name: value for name, value in (form | change).items() if value is not None})
    assert answer.status_code == status
    assert answer.json().get("error") == error


@pytest.mark.parametrize(
    "change",
    [{"client_id": "nobody"}, {"redirect_uri": ""}, {"response_type": "token"}, {"code_challenge": "plain"}],
)
async def test_a_sign_in_that_cannot_end_well_is_refused(change: dict[str, str]) -> None:
    async with (
        Simulator(SHORT, client_id="id") as cloud,
        httpx.AsyncClient(verify=False, trust_env=False) as client,
    ):
        answer = await client.get(f"{cloud.base_url}/oauth/authorize", params=SIGN_IN | change)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_token_tells_of_itself_until_it_is_taken_back() -> None:
    async with (
        Simulator(SHORT) as cloud,
        httpx.AsyncClient(verify=False, trust_env=False, base_url=cloud.base_url) as client,
    ):
        assert (await client.get("/api/v2/tokens/me")).status_code == 401
        headers = bearer((await request_token(cloud)).json()["access_token"])
        told = (await client.get("/api/v2/tokens/me", headers=headers)).json()
        assert told["authorizedScope"] == []  # client credentials have roles instead
        assert (await client.head("/api/v2/tokens/me", headers=headers)).status_code == 200
        assert (await client.delete("/api/v2/tokens/me", headers=headers)).status_code == 200
        assert (await client.get("/api/v2/tokens/me", headers=headers)).status_code == 401
