"""The manifest: what is where, merged, bounded, and the same after a round trip."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.errors import ConfigError, FormatError
from gcmedia.record import Timeline
from gcmedia.record import timeline as module
from gcmedia.types import Hole, Stats

STATS = Stats(
    packets_received=100,
    packets_played=90,
    packets_late=2,
    packets_duplicate=3,
    packets_discarded=1,
    packets_refused=4,
    packets_buffered=0,
    packets_expected=95,
    packets_lost=2,
    packets_reordered=5,
    gaps=1,
    resets=0,
    flushes=0,
    underruns=0,
    overruns=0,
    timestamp_jumps=0,
    bytes_received=17600,
    jitter=0.0031,
    interval_ms=20.0,
    loss_rate=0.02,
    buffer_depth=5,
    buffer_target=5,
    playout_delay_ms=100.0,
    total_samples=15200,
    concealed_samples=320,
    silent_concealed_samples=0,
    concealment_events=1,
    malformed={"short": 4},
)


def test_runs_and_holes_merge_with_their_neighbours(tmp_path: Path) -> None:
    timeline = Timeline(8000, ("external", "internal"), conversation_id="c-1", started_at="2026-11-20T10:00:00.000Z")
    for index in range(10):
        for channel in (0, 1):
            timeline.frame(channel, index * 160, 160, silent=index < 4 or channel == 1, concealed=index in (6, 7))
    timeline.hole(960, 160, "lost")
    timeline.hole(1120, 160, "lost")
    timeline.hole(1280, 160, "paused")
    timeline.event(1600, "reconnect", attempts=2)
    timeline.set_stats(STATS)
    timeline.write(tmp_path / "timeline.json")

    found = json.loads((tmp_path / "timeline.json").read_text())
    assert found["conversation_id"] == "c-1"
    assert found["sample_rate"] == 8000
    assert found["channels"] == ["external", "internal"]
    assert (found["n_samples"], found["duration_s"]) == (1600, 0.2)
    assert found["holes"] == [
        {"position": 960, "n_samples": 320, "start_s": 0.12, "duration_s": 0.04, "cause": "lost"},
        {"position": 1280, "n_samples": 160, "start_s": 0.16, "duration_s": 0.02, "cause": "paused"},
    ]
    assert found["events"] == [{"position": 1600, "time_s": 0.2, "kind": "reconnect", "attempts": 2}]
    assert found["silence"] == {"external": [[0, 640]], "internal": [[0, 1600]]}
    assert found["concealed"] == {"external": [[960, 320]], "internal": [[960, 320]]}
    assert found["totals"]["holes"] == 480
    assert found["identity"]["balanced"] is True
    assert found["identity"]["text"] == STATS.identity()
    assert found["stats"]["packets_received"] == 100


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    timeline = Timeline(16000, ("mixed",), conversation_id="ünï", started_at="x")
    timeline.frame(0, 0, 320, True, False)
    timeline.frame(0, 640, 320, True, True)
    timeline.hole(320, 320, "lost")
    timeline.event(5, "paused", reason="asked")
    timeline.set_stats(STATS)
    timeline.tracks["raw-mixed.wav"] = {"channel": "mixed"}
    timeline.files["raw-mixed.wav"] = {"sha256": "00", "n_octets": 1}
    timeline.write(tmp_path / "a.json")
    loaded = Timeline.load(tmp_path / "a.json")
    assert loaded.holes == [Hole(320, 320, "lost")]
    assert list(loaded.silence["mixed"]) == [(0, 320), (640, 320)]
    assert list(loaded.concealed["mixed"]) == [(640, 320)]
    loaded.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans(), st.booleans()), max_size=60))
def test_runs_cover_exactly_the_frames_they_came_from(frames: list[tuple[int, bool, bool]]) -> None:
    timeline = Timeline(8000, ("a",))
    position, silent_at, concealed_at = 0, set(), set()
    for n_samples, silent, concealed in frames:
        timeline.frame(0, position, n_samples, silent, concealed)
        covered = range(position, position + n_samples)
        silent_at |= set(covered) if silent else set()
        concealed_at |= set(covered) if concealed else set()
        position += n_samples
    for spans, expected in ((timeline.silence["a"], silent_at), (timeline.concealed["a"], concealed_at)):
        assert {at for start, n in spans for at in range(start, start + n)} == expected
        assert spans.total == len(expected)
        runs = list(spans)
        assert all(first + n < second for (first, n), (second, _) in itertools.pairwise(runs))


def test_at_the_bound_entries_are_counted_and_totals_stay_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = module.Spans(limit=2)
    for position in (0, 10, 20, 30):
        spans.add(position, 5)
    assert (list(spans), spans.not_stored, spans.total) == ([(0, 5), (10, 5)], 2, 20)

    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    timeline = Timeline(8000, ("a",))
    for index in range(5):
        timeline.hole(index * 100, 10, "lost")
        timeline.event(index, "drop")
    timeline.write(tmp_path / "t.json")
    found = json.loads((tmp_path / "t.json").read_text())
    assert (len(found["holes"]), len(found["events"])) == (3, 3)
    assert (found["not_stored"]["holes"], found["not_stored"]["events"]) == (2, 2)
    assert found["totals"]["holes"] == 50
    again = Timeline.load(tmp_path / "t.json")
    again.write(tmp_path / "u.json")
    assert (tmp_path / "t.json").read_bytes() == (tmp_path / "u.json").read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no timeline"),
        ("[]", "no timeline"),
        ('{"schema": 1}', "missing required field"),
        ("\udcff", "no timeline"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(FormatError, match=message):
        Timeline.load(tmp_path / "t.json")


def test_a_manifest_of_another_schema_or_with_a_wrong_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    Timeline(8000, ("a",)).write(path)
    good = path.read_text()
    path.write_text(good.replace('"schema": 1', '"schema": 99'))
    with pytest.raises(FormatError, match="schema 99, not 1"):
        Timeline.load(path)
    path.write_text(good.replace('"n_samples": 0', '"n_samples": -1'))
    with pytest.raises(FormatError, match="n_samples"):
        Timeline.load(path)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="sample_rate is 0"):
        Timeline(0, ("a",))
    with pytest.raises(ConfigError, match="different names"):
        Timeline(8000, ("a", "a"))
    with pytest.raises(ConfigError, match="time_s"):
        Timeline(8000, ("a",)).event(0, "drop", time_s=1)
