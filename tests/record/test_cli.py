"""The commands for recordings: what they print, leave behind and answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gcmedia.cli.units import age_s, octets
from gcmedia.errors import ConfigError
from tests.capture.test_cli import gcmedia_many
from tests.process.test_process import noisy, write

from .test_folder import record_call
from .test_repair import DIES, ROOT, abandoned


def objects(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_room_is_repaired_and_proven(tmp_path: Path) -> None:
    room = tmp_path / "calls"
    record_call(room / "whole")
    subprocess.run([sys.executable, "-c", DIES, room / "cut-off", ROOT], check=False)
    before, repaired, again, after, quiet = gcmedia_many(
        [
            ["verify", "calls", "--json"],
            ["repair", "calls", "--json"],
            ["repair", "calls"],
            ["verify", "calls"],
            ["verify", "calls", "--quiet"],
        ],
        cwd=tmp_path,
    )
    assert before[0] == 1
    states = {str(one["folder"]): one["state"] for one in objects(before[1])}
    assert states == {"calls/whole": "proven", "calls/cut-off": "cut off"}
    assert repaired[0] == 0
    outcomes = [str(one["outcome"]) for one in objects(repaired[1])]
    assert sorted(outcomes) == ["healthy"] * 4 + ["mended"] * 4 + ["recovered"]
    assert again[0] == 0
    assert again[2].count("healthy") == 8
    assert after[0] == 0
    assert after[2].count("proven") == 2
    assert "recovered from a process that died" in after[2]
    assert quiet == (0, "", "")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    record_call(tmp_path / "call")
    with (tmp_path / "call" / "raw-external.wav").open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    (tmp_path / "bad.wav.part").write_bytes(b"RIFF")
    (tmp_path / "empty").mkdir()
    broken, as_json, missing, empty, unmended, anchors = gcmedia_many(
        [
            ["verify", "call"],
            ["verify", "--json", "call"],
            ["verify", "nowhere"],
            ["verify", "empty"],
            ["repair", "bad.wav.part", "--json"],
            ["verify", "call", "empty", "--anchor", "1:x"],
        ],
        cwd=tmp_path,
    )
    assert broken[0] == 1
    assert "broken call" in broken[2]
    assert "raw-external.wav: was changed: SHA-256" in broken[2]
    assert as_json[0] == 1
    (found,) = objects(as_json[1])
    assert found["ok"] is False
    assert [problem["file"] for problem in found["problems"]] == ["raw-external.wav"]  # type: ignore[attr-defined]
    assert missing[0] == 2
    assert "no such file or folder: nowhere" in missing[2]
    assert empty[0] == 2
    assert unmended[0] == 1
    assert "no WAV file" in str(objects(unmended[1])[0]["problem"])
    assert anchors[0] == 2


def test_process_tells_what_it_did_and_skips_it_the_next_time(tmp_path: Path) -> None:
    record_call(tmp_path / "call")
    write(tmp_path / "more" / "b.wav", noisy(2.0, 2).tobytes(), n_channels=2)
    first, second, wrong, nothing, failed = gcmedia_many(
        [
            ["process", "call", "more", "--json", "--compressor", "--jobs", "1"],
            ["process", "call", "more", "--compressor", "--jobs", "1"],
            ["process", "call", "--gate-floor", "5"],
            ["process", "call/timeline.json", "--jobs", "1", "--quiet"],
            ["process", "nowhere"],
        ],
        cwd=tmp_path,
    )
    assert first[0] == 0
    done = {str(one["source"]): one for one in objects(first[1])}
    assert set(done) == {"call/raw-external.wav", "call/raw-internal.wav", "more/b.wav"}
    assert done["more/b.wav"]["outputs"] == ["more/b.processed.wav"]
    assert done["more/b.wav"]["duration_s"] == 2.0
    assert not any(one["skipped"] for one in done.values())
    assert "3 processed, 6 s of audio at" in first[2]
    assert second[0] == 0
    assert "0 processed; 3 done before; 0 failed" in second[2]
    assert wrong[0] == 2
    assert "floor_db is 5.0 dB" in wrong[2]
    assert nothing[0] == 1
    assert "no WAV file" in nothing[2]
    assert failed[0] == 2


def test_convert_and_prune(tmp_path: Path) -> None:
    room = tmp_path / "calls"
    record_call(room / "a")
    abandoned(tmp_path / "b.wav", 100)
    converted, proven, twice, opus, pruned, no_limit, bad = gcmedia_many(
        [
            ["convert", "calls", "--replace", "--json"],
            ["verify", "calls"],
            ["convert", "calls/a/raw-external.flac"],
            ["convert", "calls", "--to", "opus", "--replace"],
            ["prune", "calls", "--max-size", "0", "--json"],
            ["prune", "calls"],
            ["prune", "calls", "--max-age", "soon"],
        ],
        cwd=tmp_path,
    )
    assert converted[0] == 0
    assert len(objects(converted[1])) == 4
    assert proven[0] == 0
    assert twice[0] == 1
    assert "raw-external.flac is there already" in twice[2]
    assert opus[0] == 2
    assert pruned[0] == 0
    assert [one["outcome"] for one in objects(pruned[1])] == ["removed"]
    assert not (room / "a").exists()
    assert no_limit[0] == 2
    assert bad[0] == 2
    assert "'soon' is no age like 30d" in bad[2]


def test_ages_and_sizes_are_read_as_people_write_them() -> None:
    assert [age_s(text) for text in ("90s", "1.5m", "12h", "30d", "2 w")] == [90, 90, 43_200, 2_592_000, 1_209_600]
    assert [octets(text) for text in ("7", "1k", "500M", "1.5 GB", "4GiB", "2T")] == [
        7,
        1000,
        500_000_000,
        1_500_000_000,
        4 << 30,
        2 * 10**12,
    ]
    for text in ("", "d", "-1d", "1y", "nan s"):
        with pytest.raises(ConfigError, match="is no age"):
            age_s(text)
    for text in ("", "G", "-5M", "1X"):
        with pytest.raises(ConfigError, match="is no size"):
            octets(text)
