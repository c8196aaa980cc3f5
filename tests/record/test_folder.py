"""A call folder: exact positions, one length, readable at every moment, and nobody else's files touched."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import wave
from array import array
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia.errors import ConfigError, FormatError, StateError
from gcmedia.record import (
    AuditPolicy,
    CallFolder,
    Timeline,
    TranscriptLog,
    WavJournal,
    read_journal,
    read_wav,
    verify_audit,
)
from gcmedia.types import Hole, MediaFormat, Transcript

from .test_timeline import STATS

STEREO = MediaFormat("PCMU", 8000, ("external", "internal"))
MONO = MediaFormat("L16LE", 8000, ("mixed",))


@dataclass
class Frame:
    channel: int
    position: int
    raw: array[int]
    pcm: array[int]
    silent: bool = False
    concealed: bool = False
    level_dbov: float = -30.0

    @property
    def n_samples(self) -> int:
        return len(self.raw)


def frame(channel: int, position: int, value: int = 1, n_samples: int = 160, **more: bool) -> Frame:
    return Frame(channel, position, array("h", [value] * n_samples), array("h", [value // 2] * n_samples), **more)


def read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def record_call(path: Path, **options: object) -> CallFolder:
    folder = CallFolder(
        path,
        STEREO,
        conversation_id="c-1",
        clean=True,
        region="euw2",
        clock=lambda: 1_795_000_000.0,
        **{"audit_policy": AuditPolicy(consent=True, purpose="quality"), **options},  # type: ignore[arg-type]
    )
    folder.event("subscribed", 0, attempts=1)
    for index in range(100):
        now = 50.0 + index * 0.02
        for channel in (0, 1):
            if index in (40, 41):
                continue
            folder.frame(frame(channel, index * 160, 1000 + index, silent=index < 10, concealed=index == 60), now)
        if index % 10 == 0:
            folder.sample({"position": index * 160, "depth": 5, "target": 5, "jitter_ms": 1.5, "loss_rate": 0.0})
    folder.hole(Hole(6400, 320, "lost"))
    folder.transcript(Transcript("hello", 0.9, 1600, 800, "external", 200))
    folder.metrics({"rttMs": 20.0, "packetLossRate": 0.01, "bufferDepth": 5, "adaptiveThreshold": 5})
    assert folder.close(STATS)
    return folder


def test_a_folder_holds_the_whole_call(tmp_path: Path) -> None:
    record_call(tmp_path / "call")
    path = tmp_path / "call"
    assert sorted(found.name for found in path.iterdir()) == [
        "audit.jsonl",
        "clean-external.wav",
        "clean-internal.wav",
        "metrics.jsonl",
        "raw-external.wav",
        "raw-internal.wav",
        "series.jsonl",
        "timeline.json",
        "transcript.json",
        "transcript.vtt",
    ]
    for name, half in (("raw-external.wav", 1), ("raw-internal.wav", 1), ("clean-external.wav", 2)):
        samples = array("h", read_wav(path / name).data)
        assert len(samples) == 16000
        assert list(samples[::160]) == [0 if index in (40, 41) else (1000 + index) // half for index in range(100)]
    timeline = Timeline.load(path / "timeline.json")
    assert timeline.conversation_id == "c-1"
    assert timeline.started_at == "2026-11-18T11:06:40.000Z"
    assert timeline.n_samples == 16000
    assert timeline.holes == [Hole(6400, 320, "lost")]
    assert list(timeline.silence["internal"]) == [(0, 1600)]
    assert list(timeline.concealed["external"]) == [(9600, 160)]
    assert timeline.identity["balanced"] is True
    assert timeline.tracks["clean-internal.wav"]["channel"] == "internal"
    assert not timeline.tracks["raw-external.wav"]["incomplete"]
    assert set(timeline.files) == {found.name for found in path.iterdir()} - {"timeline.json"}
    for name, about in timeline.files.items():
        octets = (path / name).read_bytes()
        assert about == {"sha256": hashlib.sha256(octets).hexdigest(), "n_octets": len(octets)}
    assert TranscriptLog.load(path / "transcript.json", 8000).entries[0].text == "hello"
    assert "<v external>hello" in (path / "transcript.vtt").read_text()
    (metrics,) = read_jsonl(path / "metrics.jsonl")
    assert {"timestamp", "rttMs", "packetLossRate", "bufferDepth", "adaptiveThreshold"} <= set(metrics)
    series = read_jsonl(path / "series.jsonl")
    assert len(series) == 10
    assert series[1]["level_dbov"] == [-30.0, -30.0]


def test_the_audit_trail_tells_the_session(tmp_path: Path) -> None:
    record_call(tmp_path, audit_policy=AuditPolicy(consent=True, purpose="quality", summary_s=0.5))
    lines = read_jsonl(tmp_path / "audit.jsonl")
    assert verify_audit(tmp_path / "audit.jsonl") == len(lines)
    actions = [line["action"] for line in lines]
    assert actions == ["session_start", "subscribed", *["media_capture"] * 4, "session_end"]
    assert all(line["privacyCompliant"] for line in lines)
    assert sum(int(str(line["frames"])) for line in lines if line["action"] == "media_capture") == 196
    assert lines[-1]["outcome"] == "complete"
    assert lines[-1]["balanced"] is True


def test_every_frame_is_audited_when_asked(tmp_path: Path) -> None:
    policy = AuditPolicy(every_frame=True)
    with CallFolder(tmp_path, MONO, conversation_id="c", clean=False, audit_policy=policy) as folder:
        for index in range(5):
            folder.frame(frame(0, index * 160, silent=index == 3), index * 0.02)
    captured = [line for line in read_jsonl(tmp_path / "audit.jsonl") if line["action"] == "media_capture"]
    assert [line["sequenceNumber"] for line in captured] == [0, 1, 2, 3, 4]
    assert [line["signalDetected"] for line in captured] == [True, True, True, False, True]
    assert not any(line["privacyCompliant"] for line in captured)  # nobody said that there is consent


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-200, 400), st.integers(1, 300)), max_size=30))
def test_positions_are_exact_and_nothing_overlaps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("call")
    folder = CallFolder(path, STEREO, conversation_id="c", clean=False)
    truth: list[list[int]] = [[], []]
    refused = 0
    for value, (channel, step, n_samples) in enumerate(steps, 1):
        position = max(0, len(truth[channel]) + step)
        taken = folder.frame(frame(channel, position, value, n_samples), value * 0.02)
        assert taken == (position >= len(truth[channel]))
        if taken:
            truth[channel] += [0] * (position - len(truth[channel])) + [value] * n_samples
        refused += not taken
    folder.close()
    length = max(map(len, truth))
    assert folder.frames_overlapping == refused
    for channel, name in enumerate(STEREO.channels):
        samples = array("h", read_wav(path / f"raw-{name}.wav").data).tolist()
        assert samples == truth[channel] + [0] * (length - len(truth[channel]))


def test_a_frame_from_another_day_is_refused(tmp_path: Path) -> None:
    with CallFolder(tmp_path, MONO, conversation_id="c", clean=False) as folder:
        assert not folder.frame(frame(0, 25 * 3600 * 8000), 0.0)
        assert folder.frames_refused == 1
        with pytest.raises(FormatError, match="channel 1, there are 1"):
            folder.frame(frame(1, 0), 0.0)


def test_a_hole_at_the_end_is_part_of_the_recording(tmp_path: Path) -> None:
    with CallFolder(tmp_path, STEREO, conversation_id="c", clean=True) as folder:
        folder.frame(frame(0, 0), 0.0)
        folder.hole(Hole(160, 800, "reconnect"))
    for name in ("raw-external", "raw-internal", "clean-external", "clean-internal"):
        assert len(read_wav(tmp_path / f"{name}.wav").data) == 2 * 960


def test_an_empty_call_is_a_call(tmp_path: Path) -> None:
    with CallFolder(tmp_path / "deep" / "call", MONO, conversation_id="c", clean=False):
        pass
    assert read_wav(tmp_path / "deep" / "call" / "raw-mixed.wav").data == b""
    assert Timeline.load(tmp_path / "deep" / "call" / "timeline.json").n_samples == 0
    assert (tmp_path / "deep" / "call").stat().st_mode & 0o077 == 0


def test_a_call_is_not_overwritten_unasked(tmp_path: Path) -> None:
    record_call(tmp_path)
    before = (tmp_path / "raw-external.wav").read_bytes()
    with pytest.raises(ConfigError, match="holds a call already"):
        CallFolder(tmp_path, MONO, conversation_id="d", clean=False)
    assert (tmp_path / "raw-external.wav").read_bytes() == before

    (tmp_path / "notes.txt").write_text("mine")
    with wave.open(str(tmp_path / "raw-music.wav"), "wb") as mine:
        mine.setparams((1, 2, 8000, 0, "NONE", ""))
    with CallFolder(tmp_path, MONO, conversation_id="d", clean=False, overwrite=True):
        pass
    names = {found.name for found in tmp_path.iterdir()}
    assert {"notes.txt", "raw-music.wav", "raw-mixed.wav"} <= names
    assert "raw-external.wav" not in names
    assert Timeline.load(tmp_path / "timeline.json").conversation_id == "d"


def test_somebody_else_s_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "raw-mixed.wav").write_text("mine")
    with pytest.raises(ConfigError, match="not ours and in the way"):
        CallFolder(tmp_path, MONO, conversation_id="c", clean=True, overwrite=True)
    assert [found.name for found in tmp_path.iterdir()] == ["raw-mixed.wav"]
    assert (tmp_path / "raw-mixed.wav").read_text() == "mine"


def test_channel_names_from_a_server_stay_inside_the_folder(tmp_path: Path) -> None:
    names = ("../../etc/x", "..\\..\\etc\\x", "Kunde ü", "A", "a")
    with CallFolder(tmp_path / "call", replace(STEREO, channels=names), conversation_id="c", clean=False) as folder:
        for channel in range(5):
            folder.frame(frame(channel, 0, channel + 1), 0.0)
    assert [found.name for found in tmp_path.iterdir()] == ["call"]
    timeline = Timeline.load(tmp_path / "call" / "timeline.json")
    assert timeline.channels == names
    for name, track in timeline.tracks.items():
        value = names.index(track["channel"]) + 1
        assert array("h", read_wav(tmp_path / "call" / name).data)[0] == value


def test_secrets_do_not_enter_by_way_of_events(tmp_path: Path) -> None:
    with CallFolder(tmp_path, MONO, conversation_id="c", clean=False) as folder:
        with pytest.raises(ConfigError, match="accessToken"):
            folder.event("reconnect", 0, accessToken="canary")
        folder.event("muted", 0, actor="supervisor", outcome="confirmed")
    assert all(b"canary" not in found.read_bytes() for found in tmp_path.iterdir())
    (event,) = Timeline.load(tmp_path / "timeline.json").events
    assert event == {"position": 0, "time_s": 0.0, "kind": "muted", "actor": "supervisor", "outcome": "confirmed"}


def test_a_closed_folder_says_so(tmp_path: Path) -> None:
    folder = record_call(tmp_path)
    assert folder.closed
    assert folder.close()
    folder.flush(99.0)
    with pytest.raises(StateError, match="takes no frame"):
        folder.frame(frame(0, 0), 0.0)
    with pytest.raises(StateError, match="takes no transcript"):
        folder.transcript(Transcript("x", 1.0, 0))


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from tests.record.test_folder import CallFolder, Hole, STEREO, Transcript, frame
folder = CallFolder(sys.argv[1], STEREO, conversation_id="c-9", clean=True)
folder.transcript(Transcript("said before the end", 0.5, 100, 0, "external"))
folder.event("reconnect", 320, attempts=1)
for index in range(150):
    for channel in (0, 1):
        folder.frame(frame(channel, index * 160, index, concealed=index in (20, 21, 30)), index * 0.02)
    if index == 40:
        folder.hole(Hole(3200, 320, "lost"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_sigkill_all_but_the_last_second_is_there(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "call", root], check=False)
    assert done.returncode == -signal.SIGKILL
    for name in ("raw-external", "raw-internal", "clean-external", "clean-internal"):
        with wave.open(str(tmp_path / "call" / f"{name}.wav.part"), "rb") as file:
            assert file.getnframes() >= 100 * 160
    timeline, transcripts = read_journal(tmp_path / "call" / "timeline.jsonl.part")
    assert timeline.conversation_id == "c-9"
    assert timeline.holes == [Hole(3200, 320, "lost")]
    assert [event["kind"] for event in timeline.events] == ["reconnect"]
    assert list(timeline.concealed["internal"]) == [(3200, 320)]  # the run after it was still open
    assert transcripts.entries[0].text == "said before the end"
    assert verify_audit(tmp_path / "call" / "audit.jsonl") >= 2


def test_a_torn_or_foreign_journal_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl.part"
    call = '{"call":{"sample_rate":8000,"channels":["a"],"conversation_id":"c","started_at":""}}\n'
    path.write_text(call + '{"hole":{"position":0,"n_sam')
    assert read_journal(path)[0].holes == []
    path.write_text(call + "garbage\n")
    with pytest.raises(FormatError, match="line 2 is no JSON object"):
        read_journal(path)
    path.write_text('{"hole":{}}\n')
    with pytest.raises(FormatError, match="no journal of a call"):
        read_journal(path)


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from tests.record.test_folder import CallFolder, MONO, Timeline, frame, read_wav
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
folder = CallFolder(sys.argv[1], MONO, conversation_id="c", clean=False)
for index in range(400):
    if index == 100:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    if index == 300:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert folder.frame(frame(0, index * 160, index + 1), index * 0.02)
assert folder.close() is False and folder.incomplete
timeline = Timeline.load(sys.argv[1] + "/timeline.json")
assert [event["kind"] for event in timeline.events] == ["storage_failed", "storage_resumed"], timeline.events
track = timeline.tracks["raw-mixed.wav"]
assert track["incomplete"] and track["n_unwritten"] > 0
data = memoryview(read_wav(sys.argv[1] + "/raw-mixed.wav").data).cast("h")
assert len(data) == 400 * 160
lost = [at for position, n in track["unwritten"] for at in range(position, position + n)]
assert all(data[at] == 0 for at in lost)
assert sum(data[at] == at // 160 + 1 for at in range(400 * 160)) == 400 * 160 - len(lost)
"""


def test_the_call_goes_on_when_the_disk_is_full(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "call", root], check=True, capture_output=True, text=True
    )
    assert done.stderr.count("the call goes on") == 1  # one alarm


def test_a_read_only_place_fails_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        CallFolder(tmp_path / "file" / "call", MONO, conversation_id="c", clean=False)
    with pytest.raises(ConfigError, match="summary_s"):
        AuditPolicy(summary_s=0.0)


def test_flush_brings_everything_to_disk(tmp_path: Path) -> None:
    folder = CallFolder(tmp_path, MONO, conversation_id="c", clean=False)
    folder.frame(frame(0, 0), 10.0)
    folder.sample({"position": 0, "depth": 1, "target": 5, "jitter_ms": 0.0, "loss_rate": float("nan")})
    folder.flush(10.5)
    assert read_wav(tmp_path / "raw-mixed.wav.part").data == bytes(frame(0, 0).raw)
    assert read_jsonl(tmp_path / "series.jsonl")[0]["loss_rate"] is None
    assert os.path.getsize(tmp_path / "timeline.jsonl.part") > 0
    folder.close()


def test_journals_of_a_folder_are_ordinary_ones(tmp_path: Path) -> None:
    with WavJournal(tmp_path / "raw-mixed.wav"):
        pass
    with pytest.raises(ConfigError, match="raw-mixed"):
        CallFolder(tmp_path, MONO, conversation_id="c", clean=False)
