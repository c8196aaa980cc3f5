"""The audit trail (003-34, X3): computed compliance, nothing personal, and a chain that shows every change."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.errors import ConfigError, MediaError
from gcmedia.record import AuditLog, AuditPolicy, CallFolder, check_audit, verify_audit
from gcmedia.types import MediaFormat

OPEN = AuditPolicy(consent=True, purpose="quality")


def write_trail(path: Path, n_lines: int = 5) -> list[bytes]:
    clock = itertools.count(1_795_000_000)
    log = AuditLog(path, "us-east-1", OPEN, interaction_id="c-1", clock=lambda: float(next(clock)))
    for index in range(n_lines):
        assert log.record("media_capture", sequence_number=index, signal_detected=index % 2 == 0, frames=500)
    log.close()
    return path.read_bytes().splitlines(keepends=True)


def test_a_line_has_the_published_fields(tmp_path: Path) -> None:
    entry = json.loads(write_trail(tmp_path / "a.jsonl")[0])
    assert {key: entry[key] for key in entry if key not in ("hash", "prev")} == {
        "timestamp": "2026-11-18T11:06:40.000Z",
        "action": "media_capture",
        "interactionId": "c-1",
        "sequenceNumber": 0,
        "signalDetected": True,
        "privacyCompliant": True,
        "region": "us-east-1",
        "purpose": "quality",
        "frames": 500,
    }
    assert verify_audit(tmp_path / "a.jsonl") == 5


@pytest.mark.parametrize(
    ("policy", "action", "region", "violations"),
    [
        (AuditPolicy(), "media_capture", "", ["consent", "purpose"]),
        (AuditPolicy(), "session_start", "", []),
        (AuditPolicy(consent=True), "media_capture", "", ["purpose"]),
        (AuditPolicy(consent=True, purpose="quality"), "media_capture", "", []),
        (AuditPolicy(require_consent=False, require_purpose=False), "media_capture", "", []),
        (AuditPolicy(), "sell", "", ["action"]),
        (AuditPolicy(allowed_actions=frozenset({"sell"})), "sell", "", []),
        (AuditPolicy(allowed_regions=("euw2",)), "session_start", "use1", ["region"]),
        (AuditPolicy(allowed_regions=("euw2",)), "session_start", "euw2", []),
        (AuditPolicy(allowed_details=frozenset()), "session_start", "", ["detail frames"]),
    ],
)
def test_privacy_compliant_is_computed(policy: AuditPolicy, action: str, region: str, violations: list[str]) -> None:
    sink = io.StringIO()
    AuditLog(sink, region, policy, interaction_id="c").record(action, frames=1)
    entry = json.loads(sink.getvalue())
    assert entry["privacyCompliant"] is (not violations)
    assert entry.get("violations", []) == violations


@pytest.mark.parametrize(
    "key",
    [
        "token", "accessToken", "client_secret", "Authorization", "payload", "audioData", "audio", "ani", "callerANI",
        "dnis", "name", "displayName", "text", "number", "phone_number", "transcript", "email", "password", "apiKey",
    ],
)  # fmt: skip
def test_details_that_could_carry_secrets_are_refused(key: str) -> None:
    sink = io.StringIO()
    with pytest.raises(ConfigError, match=key) as caught:
        AuditLog(sink).record("drop", **{key: "canary"})  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)
    assert sink.getvalue() == ""


@pytest.mark.parametrize("key", ["n_samples", "frames", "position", "mechanism", "reason", "code", "attempts", "nanos"])
def test_plain_details_are_taken(key: str) -> None:
    assert AuditLog(io.StringIO()).record("drop", **{key: 1})  # type: ignore[arg-type]


def test_values_must_be_plain_and_the_log_s_own_fields_stay_its_own() -> None:
    log = AuditLog(io.StringIO())
    with pytest.raises(ConfigError, match="is a bytes"):
        log.record("drop", reason=b"audio")
    with pytest.raises(ConfigError, match="is a dict"):
        log.record("drop", reason={"token": 1})
    with pytest.raises(ConfigError, match="field of the log"):
        log.record("drop", hash="0")


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abc",
        "failed with eyJhbGciOiJIUzI1NiJ9.e30.x",
        "call +49 30 1234567",
        "4111 1111 1111 1111",
        "anna.b@example.com",
        "sip:anna@host",
    ],
)
def test_values_that_look_personal_do_not_get_in(value: str) -> None:
    sink = io.StringIO()
    assert AuditLog(sink).record("drop", reason=value, actor="worker")
    entry = json.loads(sink.getvalue())
    assert entry["reason"] == "[redacted]"
    assert entry["redacted"] == ["reason"]
    assert entry["actor"] == "worker"


@pytest.mark.parametrize("value", ["1006", "idle for 10.5 s", "0f8fad5b-d9cb-469f-a165-70867728950e", "2026"])
def test_values_that_are_not_personal_stay(value: str) -> None:
    sink = io.StringIO()
    AuditLog(sink).record("drop", reason=value)
    assert json.loads(sink.getvalue())["reason"] == value


@given(st.data())
def test_any_change_of_any_line_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("audit") / "a.jsonl"
    lines = write_trail(path, 4)
    index = data.draw(st.integers(0, 3))
    change = data.draw(st.sampled_from(["octet", "remove", "double", "swap", "space"]))
    if change == "octet":
        at = data.draw(st.integers(0, len(lines[index]) - 2))
        octet = data.draw(st.integers(0, 255).filter(lambda value: value != lines[index][at]))
        lines[index] = lines[index][:at] + bytes((octet,)) + lines[index][at + 1 :]
    elif change == "remove":
        index = data.draw(st.integers(0, 2))
        del lines[index]
    elif change == "double":
        lines.insert(index, lines[index])
        index = data.draw(st.just(index + 1)) if index else 1
    elif change == "swap":
        index = data.draw(st.integers(0, 2))
        lines[index], lines[index + 1] = lines[index + 1], lines[index]
    else:
        lines[index] = lines[index].replace(b":", b": ", 1)
    path.write_bytes(b"".join(lines))
    with pytest.raises(MediaError, match=rf"line {index + 1} "):
        verify_audit(path)


def test_a_line_rewritten_with_a_fitting_hash_breaks_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = write_trail(path)
    other = write_trail(tmp_path / "b.jsonl", 2)
    forged = json.loads(other[0])
    sink = io.StringIO()
    AuditLog(sink, "us-east-1", OPEN, interaction_id="someone else").record("media_capture", frames=forged["frames"])
    path.write_bytes(sink.getvalue().encode() + b"".join(lines[1:]))
    with pytest.raises(MediaError, match="line 2 does not follow line 1"):
        verify_audit(path)


def test_a_trail_is_continued_only_if_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_trail(path, 3)
    log = AuditLog(path, policy=OPEN)
    log.record("repair")
    log.close()
    assert verify_audit(path) == 4
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(MediaError, match="line 4 was changed"):
        AuditLog(path)


class FailingFile:
    """A text file on a disk that is full for a while."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.full = False

    def write(self, text: str) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines.append(text)


def test_lines_that_were_lost_are_told_of(tmp_path: Path) -> None:
    sink = FailingFile()
    log = AuditLog(sink)
    assert log.record("subscribed")
    sink.full = True
    assert not log.record("pause")
    assert not log.record("resume")
    sink.full = False
    assert log.record("ended")
    assert log.lost == 2
    assert json.loads(sink.lines[1])["lostRecords"] == 2
    (tmp_path / "a.jsonl").write_text("".join(sink.lines))
    assert verify_audit(tmp_path / "a.jsonl") == 2


def test_003_34_the_manifest_of_a_call_tells_how_its_trail_ended(tmp_path: Path) -> None:
    folder = CallFolder(tmp_path / "call", MediaFormat("PCMU", 8000, ("external",)), conversation_id="c-1", clean=False)
    folder.event("paused", 0)
    folder.close()
    path = tmp_path / "call" / "audit.jsonl"
    found = check_audit(path)
    assert (found.problem, found.anchored, found.ended) == (None, "manifest", True)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert verify_audit(path) == found.lines - 1  # the chain alone cannot tell
    assert "cut off or added at its end" in str(check_audit(path).problem)
