"""The watch itself: it finds what is planted, and it has looked."""

from __future__ import annotations

import io
import logging
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gcmedia.auth import Credentials, StaticToken, TokenProvider, UserGrant, pkce_pair
from gcmedia.errors import AuthError
from gcmedia.record.audit import AuditLog
from gcmedia.record.lines import LineFile
from gcmedia.simulator import Simulator
from gcmedia.types import Transcript

from .canary import ANI, MARK, Watch, watch_class

SAID = "my card is the blue one"


def test_a_leak_into_a_log_is_found(canary_watch: Watch) -> None:
    logging.getLogger("gcmedia.somewhere").debug("token %s", pkce_pair()[0])
    logging.getLogger("another.library").debug("Basic %s", b64encode(f"id:{MARK}123456".encode()).decode())
    logging.getLogger("websockets.server").debug("the other end may say %s", MARK)
    assert len(canary_watch.take()) == 2


@pytest.mark.parametrize("shift", range(4))
def test_base64_hides_nothing(canary_watch: Watch, shift: int) -> None:
    Credentials("client", "a secret of the test", "usw2")
    logging.getLogger("x").info(b64encode(b"x" * shift + b":a secret of the test").decode())
    assert len(canary_watch.take()) == 1


def test_a_leak_into_an_error_is_found_as_it_is_made_and_as_it_is_caught(canary_watch: Watch) -> None:
    def fail() -> None:
        try:
            raise ValueError(f"{MARK} in a cause")
        except ValueError as cause:
            error = AuthError("all is well")
            error.error = f"{MARK} in an attribute"
            raise error from cause

    with pytest.raises(AuthError):
        fail()
    assert len(canary_watch.take()) == 2
    AuthError(f"code {MARK}")
    assert len(canary_watch.take()) == 1


def test_a_leak_into_a_repr_is_found(canary_watch: Watch) -> None:
    @dataclass
    class Leaky:
        token: str

    watch_class(Leaky, canary_watch)
    leaky = Leaky(MARK)
    assert len(canary_watch.take()) == 2  # as it was made, and as it is at the end
    later = Leaky("fine")
    StaticToken("token-of-the-test")
    Leaky("token-of-the-test")
    later.token = MARK
    assert len(canary_watch.take()) == 2
    assert leaky is not later


def test_a_leak_into_an_audit_or_metrics_is_found(canary_watch: Watch, tmp_path: Path) -> None:
    AuditLog(io.StringIO()).record("muted", outcome=f"by {MARK}")
    metrics = LineFile(tmp_path / "metrics.jsonl")
    metrics.add({"caller": ANI})
    metrics.close()
    kept = LineFile(tmp_path / "timeline.jsonl.part")
    kept.add({"text": MARK})  # a recording is for the eyes of those who may
    kept.close()
    assert len(canary_watch.take()) == 2


def test_what_is_said_is_watched_for(canary_watch: Watch) -> None:
    Transcript(text=SAID, confidence=1.0, position=0, n_samples=1, channel="mixed", server_timestamp=0)
    assert canary_watch.take() == []
    Transcript(text=SAID, confidence=1.0, position=0, n_samples=1, channel="mixed", server_timestamp=0)
    logging.getLogger("gcmedia.capture").info("heard %s", SAID)
    assert len(canary_watch.take()) == 1


@pytest.mark.anyio
async def test_the_simulator_s_secrets_carry_the_mark(canary_watch: Watch) -> None:
    async with Simulator({}) as cloud:
        assert MARK in cloud.client_secret
        async with TokenProvider(Credentials(cloud.client_id, cloud.client_secret, cloud.base_url)) as provider:
            assert MARK in await provider.token()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{cloud.base_url}/api/v2/nothing")
    assert ANI in answer.json()["message"]
    assert canary_watch.take() == []


def test_the_watch_has_looked(canary_watch: Watch) -> None:
    UserGrant("id", "usw2", refresh_token="a refresh token of the test")
    seen = dict(canary_watch.texts_seen)
    logging.getLogger("x").debug("seen")
    assert canary_watch.texts_seen["log"] == seen.get("log", 0) + 1
    assert seen["repr"] > 0
