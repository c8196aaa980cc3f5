"""Tokens and handshakes: what is tried again, after how long, and that no secret is ever seen."""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gcmedia import (
    AuthError,
    Frame,
    GcmediaError,
    HandshakeError,
    ReconnectConfig,
    ReconnectExhausted,
    RemoteProtocolError,
)
from gcmedia.auth import Credentials, TokenProvider
from gcmedia.capture import Capture, capture
from gcmedia.simulator import Call, Disconnect, Faults, Simulator

from .conftest import ScriptedServer
from .running import CONVERSATION, UNHURRIED, NotingClock, credentials, patient, run, unhurried
from .scripts import ACK, ENDED, cuts, packets, plays

pytestmark = pytest.mark.anyio

Scripted = Callable[..., ScriptedServer]
CALL = Call.demo(seconds=1)


def upgrades(cloud: Simulator) -> list[int]:
    return [request.status for request in cloud.journal.requests if request.method == "GET"]


def token_answers(cloud: Simulator) -> list[int]:
    return [request.status for request in cloud.journal.requests if request.method == "POST"]


async def attempt(faults: Faults, **options: Any) -> tuple[Any, list[float]]:
    clock = NotingClock()
    found = await run(CALL, faults, clock=clock, profile=unhurried(), **options)
    return found, clock.slept


# The upgrade


async def test_004_42_a_refused_token_is_replaced_at_once() -> None:
    found, slept = await attempt(Faults(upgrade_refusals=(401,)))
    assert found.error is None
    assert found.stats.total_samples == 8000
    assert upgrades(found.cloud) == [401, 101]
    assert token_answers(found.cloud) == [200, 200]
    assert slept == []


async def test_004_42_a_token_that_dies_in_mid_call_is_replaced_on_reconnecting() -> None:
    faults = Faults(disconnects=(Disconnect(400, "abnormal", 0),), revoke_tokens_on_disconnect=True)
    found, slept = await attempt(faults)
    assert found.error is None
    assert found.stats.total_samples == 8000
    assert upgrades(found.cloud) == [101, 401, 101]
    assert len(slept) == 1


@pytest.mark.parametrize("attempts", [0, 5])
async def test_004_42_two_tokens_refused_in_a_row_are_not_followed_by_a_third(attempts: int) -> None:
    found, slept = await attempt(Faults(upgrade_refusals=(401, 401)), reconnect=ReconnectConfig(attempts=attempts))
    assert isinstance(found.error, AuthError)
    assert found.error.status == 401
    assert "does not accept the token" in str(found.error)
    assert upgrades(found.cloud) == [401, 401]
    assert slept == []
    assert found.call.state == "failed"


async def test_a_fixed_token_that_is_refused_is_not_tried_again() -> None:
    async with Simulator({CONVERSATION: CALL}) as cloud:
        call = capture(CONVERSATION, token="somebody-elses", region=cloud.base_url, clock=NotingClock())
        with pytest.raises(AuthError, match="does not accept the token"):
            async with call:
                pass
        assert upgrades(cloud) == [401]
        assert cloud.journal.token_requests == 0


async def test_003_05_a_token_function_is_asked_at_every_connection() -> None:
    asked = 0
    faults = Faults(disconnects=(Disconnect(400, "abnormal", 0),), revoke_tokens_on_disconnect=True)
    async with (
        Simulator({CONVERSATION: CALL}, faults, speed=None) as cloud,
        TokenProvider(credentials(cloud), clock=NotingClock()) as provider,
    ):

        async def token() -> str:
            nonlocal asked
            asked += 1
            if asked == 3:
                provider.invalidate(await provider.token())
            return await provider.token()

        call = capture(
            CONVERSATION, token=token, region=cloud.base_url, clock=NotingClock(), profile=unhurried(), overflow="wait"
        )
        async with call:
            frames = [frame async for frame in call]
        assert asked == 3
        assert upgrades(cloud) == [101, 401, 101]
        assert len(frames) == 100


async def test_a_provider_handed_in_is_left_open() -> None:
    async with Simulator({"one": CALL, "two": CALL}, speed=None) as cloud:
        async with TokenProvider(credentials(cloud)) as provider:
            for name in ("one", "two"):
                async with capture(name, token=provider, region=cloud.base_url, profile=unhurried()) as call:
                    assert [frame async for frame in call]
        assert cloud.journal.token_requests == 1


@pytest.mark.parametrize("status", [400, 403, 404, 501])
async def test_004_42_a_refusal_that_repeating_cannot_mend_is_told_at_once(status: int) -> None:
    found, slept = await attempt(Faults(upgrade_refusals=(status,)))
    assert isinstance(found.error, HandshakeError)
    assert found.error.status == status
    assert upgrades(found.cloud) == [status]
    assert slept == []


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
async def test_x1_retry_after_is_waited_for_and_never_undercut(status: int, as_date: bool) -> None:
    faults = Faults(upgrade_refusals=(status, status), retry_after_s=42.0, retry_after_as_date=as_date)
    found, slept = await attempt(faults)
    assert found.error is None
    assert upgrades(found.cloud) == [status, status, 101]
    assert len(slept) == 2
    assert all(41.0 < wait <= 44.0 if as_date else wait == 42.0 for wait in slept)


async def test_x1_a_wait_shorter_than_the_back_off_does_not_shorten_it() -> None:
    policy = ReconnectConfig(base_s=20.0, cap_s=60.0, jitter_low=1.0)
    found, slept = await attempt(Faults(upgrade_refusals=(503,), retry_after_s=1.0), reconnect=policy)
    assert found.error is None
    assert slept == [20.0]


@pytest.mark.parametrize(
    "faults",
    [Faults(upgrade_refusals=(429,), retry_after_s=7200.0), Faults(token_refusals=(429,), retry_after_s=7200.0)],
    ids=["upgrade", "token"],
)
async def test_x1_a_wait_that_nobody_would_sit_out_is_not_begun(faults: Faults) -> None:
    found, slept = await attempt(faults)
    assert isinstance(found.error, ReconnectExhausted)
    assert "7200 s" in str(found.error)
    assert slept == []


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_fault_of_the_server_is_tried_again_after_the_back_off(status: int) -> None:
    found, slept = await attempt(Faults(upgrade_refusals=(status,) * 3))
    assert found.error is None
    assert upgrades(found.cloud) == [status] * 3 + [101]
    assert len(slept) == 3


async def test_a_server_that_stays_away_is_given_up_with_its_last_word() -> None:
    found, slept = await attempt(Faults(upgrade_refusals=(503,) * 9), reconnect=ReconnectConfig(attempts=3))
    assert isinstance(found.error, ReconnectExhausted)
    assert found.error.attempts == 3
    assert isinstance(found.error.__cause__, HandshakeError)
    assert found.error.__cause__.status == 503
    assert upgrades(found.cloud) == [503] * 4
    assert len(slept) == 3


# The subscription


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_refused_subscription_is_told_with_its_reason(status: int) -> None:
    found, slept = await attempt(Faults(subscribe_refusals=(status,)))
    assert isinstance(found.error, RemoteProtocolError)
    assert found.error.status == status
    assert "The subscription was refused." in str(found.error)
    assert upgrades(found.cloud) == [101]
    assert slept == []


async def test_an_unknown_conversation_is_told() -> None:
    async with Simulator({"another": CALL}) as cloud:
        call = capture("c", credentials=credentials(cloud))
        with pytest.raises(RemoteProtocolError, match="was not found") as caught:
            async with call:
                pass
    assert (caught.value.status, caught.value.code) == (404, "not.found")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_subscription_refused_for_now_is_tried_again(status: int) -> None:
    found, slept = await attempt(Faults(subscribe_refusals=(status, status)))
    assert found.error is None
    assert found.stats.total_samples == 8000
    assert upgrades(found.cloud) == [101] * 3
    assert len(slept) == 2


async def test_a_subscription_refused_for_ever_is_given_up() -> None:
    found, _ = await attempt(Faults(subscribe_refusals=(503,) * 9), reconnect=ReconnectConfig(attempts=2))
    assert isinstance(found.error, ReconnectExhausted)
    assert isinstance(found.error.__cause__, RemoteProtocolError)


# The token endpoint


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_004_07_the_token_endpoint_s_retry_after_is_never_undercut(as_date: bool) -> None:
    faults = Faults(token_refusals=(429, 429), retry_after_s=42.0, retry_after_as_date=as_date)
    found, slept = await attempt(faults)
    assert found.error is None
    assert token_answers(found.cloud) == [429, 429, 200]
    assert sum(slept) >= 2 * 41.0
    assert found.stats.total_samples == 8000


async def test_004_07_a_token_endpoint_that_always_refuses_is_asked_a_bounded_number_of_times() -> None:
    found, _ = await attempt(Faults(token_refusals=(429,) * 50), reconnect=ReconnectConfig(attempts=5))
    assert isinstance(found.error, ReconnectExhausted)
    assert token_answers(found.cloud) == [429] * 6
    assert upgrades(found.cloud) == []


@pytest.mark.parametrize("status", [500, 503])
async def test_a_fault_of_the_token_endpoint_is_tried_again(status: int) -> None:
    found, _ = await attempt(Faults(token_refusals=(status,) * 2))
    assert found.error is None
    assert token_answers(found.cloud) == [status, status, 200]


@pytest.mark.parametrize("status", [400, 401])
async def test_004_08_wrong_credentials_are_told_at_once(status: int) -> None:
    found, slept = await attempt(Faults(token_refusals=(status,)))
    assert isinstance(found.error, AuthError)
    assert (found.error.status, found.error.error) == (status, "invalid_client")
    assert token_answers(found.cloud) == [status]
    assert slept == []


async def test_wrong_credentials_in_mid_call_end_it_and_nothing_is_lost(tmp_path: Path) -> None:
    faults = Faults(disconnects=(Disconnect(400, "abnormal", 0),), revoke_tokens_on_disconnect=True)
    async with Simulator({CONVERSATION: CALL}, faults, speed=None) as cloud:
        call = capture(
            CONVERSATION,
            credentials=credentials(cloud),
            profile=unhurried(),
            clock=NotingClock(),
            folder=tmp_path / "c",
        )
        frames: list[Frame] = []
        with pytest.raises(AuthError, match="refused by order"):  # noqa: PT012
            async with call:
                cloud._platform.refusals["token"].append(401)  # the client was deleted meanwhile
                async for frame in call:
                    frames.append(frame)
        assert frames[-1].position == 3200 - 160
        assert call.stats().balanced


# Secrets


def seen_in(folder: Path) -> list[str]:
    """All that the files below a folder hold."""
    return [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """All that was logged, but by the server's end of the connection."""
    records = [record for record in caplog.records if record.name != "websockets.server"]
    return [f"{record.getMessage()} {record.msg!r} {record.args!r} {record.exc_info!r}" for record in records]


def told(error: BaseException) -> str:
    """Everything that an exception and those behind it say."""
    texts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        texts += [repr(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


@pytest.mark.parametrize(("token_in", "anyio_backend"), [("header", "asyncio"), ("query", "trio")])
@pytest.mark.parametrize(
    ("faults", "ends_well"),
    [
        ({}, True),
        ({"disconnects": (Disconnect(400, "abnormal", 40), Disconnect(700, "close:1011", 40))}, True),
        ({"disconnects": (Disconnect(400, "abnormal", 40),), "revoke_tokens_on_disconnect": True}, True),
        ({"upgrade_refusals": (401, 401)}, False),
        ({"upgrade_refusals": (403,)}, False),
        ({"upgrade_refusals": (503,) * 9}, False),
        ({"token_refusals": (401,)}, False),
        ({"token_refusals": (429, 500) * 9}, False),
        ({"subscribe_refusals": (404,)}, False),
        ({"malformed": 0.3}, True),
    ],
)
async def test_004_04_no_secret_is_in_any_log_event_file_or_exception(
    faults: dict[str, Any],
    ends_well: bool,
    token_in: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "canary-secret-0123456789"
    tokens: list[str] = []
    events: list[dict[str, Any]] = []
    async with Simulator(
        {CONVERSATION: CALL}, Faults(seed=1, **faults), speed=None, token_in=token_in, client_secret=secret
    ) as cloud:
        issue = cloud._platform.tokens.issue

        def issue_and_tell(now: float) -> str:
            tokens.append(issue(now))
            return tokens[-1]

        monkeypatch.setattr(cloud._platform.tokens, "issue", issue_and_tell)
        call = capture(
            CONVERSATION,
            credentials=credentials(cloud),
            profile=unhurried(token_in=token_in),
            clock=NotingClock(),
            folder=tmp_path / "call",
            on_event=events.append,
            overflow="wait",
            jitter=UNHURRIED,
        )
        error: GcmediaError | None = None
        try:
            async with call:
                frames = [frame async for frame in call]
                assert len(frames) == 100
        except GcmediaError as caught:
            error = caught
    assert (error is None) == ends_well
    assert tokens or "token_refusals" in faults
    seen = [repr(call), repr(vars(call)["_tokens"]), repr(events), repr(call.events)]
    seen += logged(caplog) + seen_in(tmp_path)
    seen += [told(error)] if error else []
    everything = "\n".join(seen)
    for hidden in (secret, *tokens):
        assert hidden not in everything


@pytest.mark.parametrize("where", ["message", "code", "type", "reason"])
async def test_a_server_that_repeats_the_token_does_not_make_it_seen(
    scripted: Scripted, where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = "canary-token/0123456789+abc"
    texts = {
        "message": f'{{"type": "error", "status": 400, "message": "bad {token}"}}',
        "code": f'{{"type": "error", "status": 400, "code": "{token}"}}',
        "type": f'{{"type": "{token}"}}',
        "reason": "null",
    }
    server = scripted(
        plays(ACK, *packets(0, 3), texts[where], close=1012 if where == "reason" else None, reason=f"no {token}")
        if where != "type"
        else plays(ACK, texts[where], *packets(0, 3), ENDED),
        plays(ACK, ENDED),
    )
    call = capture(
        "c", token=token, region=server.url, profile=unhurried(), clock=NotingClock(), folder=tmp_path / "call"
    )
    error: GcmediaError | None = None
    try:
        async with call:
            async for _ in call:
                pass
    except GcmediaError as caught:
        error = caught
    assert (error is not None) == (where in ("message", "code"))
    everything = "\n".join([repr(call.events), told(error) if error else "", *logged(caplog), *seen_in(tmp_path)])
    assert token not in everything
    assert server.authorization[0] == f"Bearer {token}"


async def test_004_04_a_token_in_the_query_is_quoted_and_in_no_header(scripted: Scripted) -> None:
    server = scripted(cuts(ACK, *packets(0, 3)), plays(ACK, ENDED))
    token = "a+b/c=d&e?f#g"
    profile = unhurried(token_in="query")
    async with capture("c", token=token, region=server.url, profile=profile, clock=NotingClock()) as call:
        assert [frame async for frame in call]
    assert server.authorization == [None, None]
    for path in server.paths:
        assert parse_qs(urlsplit(path).query) == {"access_token": [token]}


async def test_004_04_by_default_the_token_is_in_the_header_alone(scripted: Scripted) -> None:
    server = scripted(plays(ACK, *packets(0, 3), ENDED))
    async with capture("c", token="a-token", region=server.url) as call:
        assert [frame async for frame in call]
    assert (server.paths, server.authorization) == (["/api/v2/platform/media"], ["Bearer a-token"])


async def test_a_token_goes_to_no_host_that_was_not_allowed() -> None:
    options: dict[str, Any] = {"token": "t", "region": "http://192.0.2.1:9", "profile": patient()}
    with pytest.raises(GcmediaError, match="no host of the platform over TLS"):
        capture("c", **options)
    assert isinstance(capture("c", **options, allow_custom_host=True), Capture)
    with pytest.raises(GcmediaError, match="which is no host of the platform over TLS"):
        capture("c", credentials=Credentials("id", "secret", "http://192.0.2.1:9"), rng=random.Random(1))
