"""Retention by age and size: whole calls, the oldest first, never one that is open, never what is not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gcmedia.errors import ConfigError
from gcmedia.record import CallFolder, prune_room, verify_call

from .test_folder import MONO, frame, record_call

DAY = 86_400
NOW = 1_800_000_000.0


def aged(path: Path, days: float) -> Path:
    record_call(path)
    for file in path.iterdir():
        os.utime(file, (NOW - days * DAY, NOW - days * DAY))
    return path


def outcomes(room: Path, **limits: float) -> dict[str, str]:
    return {Path(one.folder).name: one.outcome for one in prune_room(room, now=NOW, **limits)}  # type: ignore[arg-type]


def test_by_age(tmp_path: Path) -> None:
    for name, days in (("a", 40), ("b", 31), ("c", 29), ("d", 0)):
        aged(tmp_path / "room" / name, days)
    assert outcomes(tmp_path / "room", max_age_s=30 * DAY, dry_run=True) == {
        "a": "removed",
        "b": "removed",
        "c": "kept",
        "d": "kept",
    }
    assert len(list((tmp_path / "room").iterdir())) == 4
    outcomes(tmp_path / "room", max_age_s=30 * DAY)
    assert sorted(path.name for path in (tmp_path / "room").iterdir()) == ["c", "d"]
    assert all(verify_call(path).ok for path in (tmp_path / "room").iterdir())


def test_by_size_the_oldest_go_first(tmp_path: Path) -> None:
    for name, days in (("new", 1), ("old", 9), ("middle", 5)):
        aged(tmp_path / "room" / name, days)
    size = prune_room(tmp_path / "room", max_octets=10**9, now=NOW)[0].n_octets
    assert outcomes(tmp_path / "room", max_octets=3 * size + 100) == {"old": "kept", "middle": "kept", "new": "kept"}
    assert outcomes(tmp_path / "room", max_octets=2 * size + 100) == {"old": "removed", "middle": "kept", "new": "kept"}
    assert outcomes(tmp_path / "room", max_octets=0) == {"middle": "removed", "new": "removed"}
    assert list((tmp_path / "room").iterdir()) == []


def test_what_is_open_stays_and_counts(tmp_path: Path) -> None:
    aged(tmp_path / "room" / "old", 9)
    with CallFolder(tmp_path / "room" / "live", MONO, conversation_id="c", clean=False) as folder:
        folder.frame(frame(0, 0), 0.0)
        for file in folder.path.iterdir():
            os.utime(file, (NOW - 99 * DAY, NOW - 99 * DAY))
        assert outcomes(tmp_path / "room", max_age_s=0.0, max_octets=0) == {"live": "open", "old": "removed"}
        folder.frame(frame(0, 160), 1.0)
    assert verify_call(tmp_path / "room" / "live").ok


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    call = aged(tmp_path / "room" / "a", 40)
    for name in ("notes.txt", "music.wav", "raw-external.flac", "raw-external.processed.json", "report.html"):
        (call / name).write_text("x")
    (call / "more").mkdir()
    (one,) = prune_room(tmp_path / "room", max_age_s=0.0, now=NOW)
    assert one.outcome == "removed"
    assert "3 files that are not of the recording stay, more among them" in str(one.problem)
    assert sorted(path.name for path in call.iterdir()) == ["more", "music.wav", "notes.txt"]


def test_a_limit_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither an age nor a size"):
        prune_room(tmp_path)
    with pytest.raises(ConfigError, match="max_age_s is nan s"):
        prune_room(tmp_path, max_age_s=float("nan"))
    with pytest.raises(ConfigError, match="max_octets is -1"):
        prune_room(tmp_path, max_octets=-1)
