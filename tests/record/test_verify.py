"""The proof of a call folder finds whatever was changed in it, and real manifests fit their schema."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gcmedia.errors import ConfigError
from gcmedia.record import AuditLog, CallFolder, check_audit, manifest_schema, verify_call, verify_room

from .test_folder import STEREO, record_call


def manifest(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "timeline.json").read_text())
    return read


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = manifest(folder)
    change(found)
    (folder / "timeline.json").write_text(json.dumps(found))


def flip(path: Path, at: int = -1) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 1
    path.write_bytes(octets)


def cut_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def test_a_call_as_it_was_recorded_is_proven(tmp_path: Path) -> None:
    record_call(tmp_path / "call")
    found = verify_call(tmp_path / "call")
    assert found.ok, found.problems
    assert (found.conversation_id, found.n_samples, found.n_files, found.n_holes) == ("c-1", 16000, 9, 1)
    assert found.complete
    assert found.anchored == "manifest"
    anchored = verify_call(tmp_path / "call", anchor=found.anchor)
    assert anchored.ok
    assert anchored.anchored == "anchor"
    assert [one.folder for one in verify_room(tmp_path)] == [str(tmp_path / "call")]
    (tmp_path / "call" / "notes.txt").write_text("mine")
    assert verify_call(tmp_path / "call").ok


@pytest.mark.parametrize(
    ("change", "file", "text"),
    [
        pytest.param(lambda path: flip(path / "raw-external.wav"), "raw-external.wav", "was changed", id="audio"),
        pytest.param(lambda path: (path / "clean-internal.wav").unlink(), "clean-internal.wav", "read", id="missing"),
        pytest.param(
            lambda path: os.truncate(path / "raw-internal.wav", 20_000),
            "raw-internal.wav",
            "has 20000 octets, the manifest says 32092",
            id="cut",
        ),
        pytest.param(lambda path: flip(path / "transcript.json", 40), "transcript.json", "was changed", id="words"),
        pytest.param(lambda path: flip(path / "audit.jsonl", 40), "audit.jsonl", "line 1 was changed", id="audit"),
        pytest.param(lambda path: cut_last_line(path / "audit.jsonl"), "audit.jsonl", "cut off", id="audit cut"),
        pytest.param(
            lambda path: (path / "raw-external.2.wav").write_bytes((path / "raw-external.wav").read_bytes()),
            "raw-external.2.wav",
            "is not in the manifest",
            id="added",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda found: found["holes"].clear()), "timeline.json", "was changed", id="hole"
        ),
        pytest.param(
            lambda path: rewrite(path, lambda found: found["events"].pop()), "timeline.json", "was changed", id="event"
        ),
        pytest.param(
            lambda path: rewrite(path, lambda found: found["identity"].update(lost=0)),
            "timeline.json",
            "the accounting does not hold",
            id="identity",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda found: found["tracks"]["raw-external.wav"].update(n_samples=15840)),
            "raw-external.wav",
            "holds 16000 samples of L16 in 1 channels at 8000 Hz, the manifest says 15840 of L16 in 1 at 8000 Hz",
            id="length",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda found: found["holes"][0].update(n_samples=99_999)),
            "timeline.json",
            "a hole of 99999 samples at 6400 lies outside the call of 16000",
            id="long hole",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda found: found["files"].update({"../x": {"sha256": "", "n_octets": 1}})),
            "../x",
            "lies outside the folder",
            id="elsewhere",
        ),
        pytest.param(lambda path: (path / "timeline.json").write_text("{"), "timeline.json", "no timeline", id="torn"),
    ],
)
def test_every_change_is_found_and_named(change: Callable[[Path], Any], file: str, text: str, tmp_path: Path) -> None:
    record_call(tmp_path)
    change(tmp_path)
    found = verify_call(tmp_path)
    assert found.state == "broken"
    assert any(problem.file == file and text in problem.text for problem in found.problems), found.problems


def test_manifest_and_trail_forged_together_need_an_anchor(tmp_path: Path) -> None:
    record_call(tmp_path)
    anchor = check_audit(tmp_path / "audit.jsonl").anchor
    (tmp_path / "audit.jsonl").unlink()
    log = AuditLog(tmp_path / "audit.jsonl")
    log.record("session_end")
    log.close()
    found = verify_call(tmp_path, anchor=anchor)
    assert found.state == "broken"
    assert any("cut off" in problem.text or "anew" in problem.text for problem in found.problems)
    with pytest.raises(ConfigError, match="an anchor is"):
        verify_call(tmp_path, anchor="x")


def test_a_running_call_is_open(tmp_path: Path) -> None:
    with CallFolder(tmp_path, STEREO, conversation_id="c", clean=False):
        found = verify_call(tmp_path)
    assert found.state == "open"
    assert not found.ok


def test_the_schema_is_one_and_holds_every_field() -> None:
    schema = manifest_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["required"]) == set(schema["properties"])


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("holes"),
        lambda found: found.update(extra=1),
        lambda found: found["holes"][0].update(cause="bad luck"),
        lambda found: found["files"]["audit.jsonl"].update(sha256="0"),
        lambda found: found["tracks"]["raw-external.wav"].pop("position"),
        lambda found: found["silence"]["external"].append([1, 2, 3]),
        lambda found: found["stats"].update(packets_lost=-1),
    ],
)
def test_manifests_fit_the_schema_and_other_things_do_not(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    record_call(tmp_path)
    found = manifest(tmp_path)
    validator = jsonschema.Draft202012Validator(manifest_schema())
    assert not list(validator.iter_errors(found))
    change(found)
    assert list(validator.iter_errors(found))
