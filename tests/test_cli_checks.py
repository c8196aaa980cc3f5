"""``gcmedia token check`` and ``gcmedia audit verify``: what they answer, print and keep to themselves."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gcmedia.record import AuditLog, AuditPolicy
from gcmedia.simulator import Faults, Simulator

from .capture.test_cli import gcmedia_many

CHECK = ("token", "check")


def variables(cloud: Simulator, **more: str) -> dict[str, str]:
    return {
        "GENESYS_CLIENT_ID": cloud.client_id,
        "GENESYS_CLIENT_SECRET": cloud.client_secret,
        "GENESYS_REGION": cloud.base_url,
    } | more


@pytest.fixture(scope="module")
def cloud() -> Iterator[Simulator]:
    with Simulator.in_thread({}, Faults(token_lifetime_s=5400)) as cloud:
        yield cloud


def test_004_42_a_token_that_is_accepted_is_told_of_and_not_shown(cloud: Simulator, tmp_path: Path) -> None:
    issued: list[str] = list(cloud._platform.tokens._issued)
    answers = gcmedia_many(
        [CHECK, (*CHECK, "--json"), (*CHECK, "--auth-style", "body", "--backend", "trio", "--json")],
        cwd=tmp_path,
        **variables(cloud),
    )
    assert [code for code, _, _ in answers] == [0, 0, 0]
    assert answers[0][1] == ""
    for part in ("region   127.0.0.1", "scopes   none told", ": accepted"):
        assert part in answers[0][2]
    assert re.search(r"good for 1 h (30 min 0 s|29 min \d+ s)", answers[0][2])  # it has grown older meanwhile
    for _, out, err in answers[1:]:
        assert err == ""
        found: dict[str, Any] = json.loads(out)
        assert found["ok"]
        assert not found["known_region"]
        assert 5340 <= found["expires_in_s"] <= 5400
        assert (found["scopes"], found["api"]) == ([], "accepted")
    tokens = set(cloud._platform.tokens._issued) - set(issued)
    assert len(tokens) == 3
    shown = json.dumps(answers)
    assert not any(secret in shown for secret in (*tokens, cloud.client_secret))


def one(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and error output of one check."""
    [(code, out, err)] = gcmedia_many([(*CHECK, *arguments, "--json")], cwd=tmp_path, **environment)
    return code, json.loads(out), err


@pytest.mark.parametrize(
    ("changed", "code", "error", "advice"),
    [
        ({"GENESYS_CLIENT_SECRET": "canary-wrong"}, 3, "invalid_client", "check GENESYS_CLIENT_SECRET"),
        ({"GENESYS_CLIENT_ID": "nobody-0123456789"}, 3, "invalid_client", "check GENESYS_CLIENT_ID, and GENESYS_REG"),
        ({"GENESYS_CLIENT_ID": ""}, 2, "MissingCredentials", "create an OAuth client"),
        ({"GENESYS_REGION": "us-west-9"}, 2, "ConfigError", ""),
        ({"GENESYS_REGION": "http://192.0.2.1"}, 2, "ConfigError", ""),
        ({"GENESYS_REGION": "http://127.0.0.1:1"}, 4, "AuthError", "no connection"),
    ],
)
def test_000_05_what_is_wrong_comes_with_what_to_do(
    cloud: Simulator, tmp_path: Path, changed: dict[str, str], code: int, error: str, advice: str
) -> None:
    found_code, found, err = one(tmp_path, **variables(cloud, **changed))
    assert (found_code, found["ok"], found["error"]) == (code, False, error)
    assert advice in found["advice"]
    assert found["message"] in err
    assert found["advice"] in err
    assert "canary" not in err + json.dumps(found)
    if code == 2 and "GENESYS_REGION" not in changed:
        assert "GENESYS_CLIENT_ID" in err


@pytest.mark.parametrize(
    ("statuses", "code", "advice"),
    [((403,), 3, "give the OAuth client a role"), ((429,), 3, "share one TokenProvider"), ((503,), 3, "")],
)
def test_refusals_of_the_token_endpoint(tmp_path: Path, statuses: tuple[int, ...], code: int, advice: str) -> None:
    with Simulator.in_thread({}, Faults(token_refusals=statuses, retry_after_s=60.0)) as cloud:
        found_code, found, _ = one(tmp_path, **variables(cloud))
        assert cloud.journal.token_requests == 1
    assert found_code == code
    assert advice in found["advice"]


def test_an_option_takes_the_place_of_the_region_variable(cloud: Simulator, tmp_path: Path) -> None:
    code, found, _ = one(tmp_path, "--region", cloud.base_url, **variables(cloud, GENESYS_REGION=""))
    assert (code, found["domain"]) == (0, "127.0.0.1")


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, "us-east-1", AuditPolicy(consent=True, purpose="quality"), interaction_id="c-1")
    log.record("session_start")
    log.record("media_capture", sequence_number=1, frames=50)
    log.record("media_capture", sequence_number=2, frames=50)
    log.record("session_end", outcome="complete")
    log.close()
    return path


def verify(trail: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    plain, as_json = gcmedia_many(
        [("audit", "verify", *arguments), ("audit", "verify", "--json", "--quiet", *arguments)], cwd=trail.parent
    )
    assert plain[0] == as_json[0]
    return plain[0], [json.loads(line) for line in as_json[1].splitlines()], plain[2]


def test_003_34_a_whole_trail_verifies_and_names_its_anchor(trail: Path) -> None:
    code, [found], said = verify(trail, "audit.jsonl")
    assert code == 0
    assert found | {"anchor": ""} == {
        "file": "audit.jsonl", "ok": True, "lines": 4, "anchor": "", "anchored": "", "ended": True, "compliant": 4,
        "lost": 0, "problem": None,
    }  # fmt: skip
    assert "no anchor, so lines cut off at the end would not show" in said
    assert found["anchor"] in said
    code, [found], said = verify(trail, "audit.jsonl", "--anchor", found["anchor"])
    assert (code, found["anchored"]) == (0, "anchor")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines[1:], "line 1 is not the first"),
        (lambda lines: lines[:1] + lines[2:], "line 2 does not follow line 1"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "line 2 does not follow line 1"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3 does not follow line 2"),
        (lambda lines: [lines[0], lines[1].replace(b":50", b":51"), *lines[2:]], "line 2 was changed"),
        (lambda lines: [*lines[:3], lines[3][:-9]], "line 4 was changed: it has no end"),
        (lambda lines: [], "it holds no line"),
    ],
)
def test_003_34_a_change_is_found_and_named(trail: Path, change: Any, problem: str) -> None:
    trail.write_bytes(b"".join(change(trail.read_bytes().splitlines(keepends=True))))
    code, [found], said = verify(trail, "audit.jsonl")
    assert (code, found["ok"]) == (1, False)
    assert problem in found["problem"]
    assert problem in said


def test_003_34_what_a_chain_cannot_show_its_anchor_does(trail: Path) -> None:
    _, [whole], _ = verify(trail, "audit.jsonl")
    lines = trail.read_bytes().splitlines(keepends=True)

    trail.write_bytes(b"".join(lines[:2]))
    code, [found], said = verify(trail, "audit.jsonl")
    assert (code, found["ended"]) == (0, False)
    assert "no end of a session" in said
    code, [found], said = verify(trail, "audit.jsonl", "--anchor", whole["anchor"])
    assert code == 1
    assert "2 lines after line 2 were cut off" in said

    trail.unlink()
    forged = AuditLog(trail, "us-east-1", interaction_id="c-1")
    for _ in range(4):
        forged.record("session_end")
    forged.close()
    assert verify(trail, "audit.jsonl")[0] == 0
    code, _, said = verify(trail, "audit.jsonl", "--anchor", whole["anchor"])
    assert code == 1
    assert "written anew" in said


def test_an_anchor_still_holds_when_the_trail_has_grown() -> None:
    lines: list[str] = []
    log = AuditLog(lines.append)  # a callable is a sink too
    assert log.anchor == f"0:{'0' * 64}"
    log.record("session_start")
    earlier = log.anchor
    log.record("session_end")
    assert earlier == f"1:{json.loads(lines[0])['hash']}"
    assert log.anchor == f"2:{json.loads(lines[1])['hash']}"
    sink = io.StringIO()
    AuditLog(sink).record("session_start")
    assert sink.getvalue().endswith("\n")


def test_several_files_and_what_cannot_be_read(trail: Path) -> None:
    (trail.parent / "broken.jsonl").write_bytes(b"{}\n")
    code, found, said = verify(trail, "audit.jsonl", "broken.jsonl", "none.jsonl", ".")
    assert code == 2
    assert [one["ok"] for one in found] == [True, False, False, True]
    assert "No such file" in said
    assert verify(trail, "audit.jsonl", "broken.jsonl")[0] == 1
    assert verify(trail, "audit.jsonl", "--anchor", "four:abc")[0] == 2
    assert verify(trail, "audit.jsonl", ".", "--anchor", "1:abc")[0] == 2
