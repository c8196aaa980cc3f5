"""Repair: only headers that still hold a placeholder, in whole rooms, never what lives or is well."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import wave
from array import array
from pathlib import Path

import pytest
import soundfile

from gcmedia.record import (
    CallFolder,
    Timeline,
    WavJournal,
    call_folders,
    read_wav,
    repair_call,
    repair_room,
    repair_wav,
    verify_call,
    wav_info,
)
from gcmedia.types import Hole

from .test_folder import STEREO, frame, record_call
from .test_wav import PCM_FMT, ramp, riff


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def abandoned(path: Path, n_samples: int, **options: object) -> Path:
    """A journal whose process died: its file as it was, held by nobody."""
    journal = WavJournal(path, **options)  # type: ignore[arg-type]
    journal.append(ramp(n_samples), 0.0)
    journal.flush(0.0)
    octets = Path(journal.part_path).read_bytes()
    journal.close()
    path.unlink()
    part = Path(f"{path}.part")
    part.write_bytes(octets)
    return part


def test_a_part_gets_what_its_header_did_not_tell_of_and_its_name(tmp_path: Path) -> None:
    part = abandoned(tmp_path / "a.wav", 100)
    with part.open("ab") as file:
        file.write(ramp(50, 100) + b"\1")  # written, but not in the header yet, and a torn sample
    os.utime(part, ns=(10**18, 10**18))
    repair = repair_wav(part)
    assert repair.outcome == "mended"
    assert (repair.n_samples, repair.gained_samples, repair.problem) == (150, 50, None)
    assert not part.exists()
    assert read_wav(tmp_path / "a.wav").data == ramp(150)
    assert soundfile.info(tmp_path / "a.wav").frames == 150
    assert (tmp_path / "a.wav").stat().st_mtime_ns == 10**18
    before = state(tmp_path)
    assert repair_wav(tmp_path / "a.wav").outcome == "healthy"
    assert state(tmp_path) == before


def test_a_long_part_becomes_rf64(tmp_path: Path) -> None:
    part = abandoned(tmp_path / "a.wav", 100)
    size = 2**32 + 1000
    os.truncate(part, size)  # silence that takes no room
    repair = repair_wav(part)
    assert repair.outcome == "mended"
    assert repair.n_samples == (size - wav_info(tmp_path / "a.wav").data_offset) // 2
    assert soundfile.info(tmp_path / "a.wav").frames == repair.n_samples
    (tmp_path / "a.wav").unlink()


def test_what_was_closed_but_not_named_is_only_named(tmp_path: Path) -> None:
    with WavJournal(tmp_path / "a.wav") as journal:
        journal.append(ramp(100), 0.0)
    octets = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").rename(tmp_path / "a.wav.part")
    repair = repair_wav(tmp_path / "a.wav.part")
    assert (repair.outcome, repair.n_samples) == ("named", 100)
    assert (tmp_path / "a.wav").read_bytes() == octets


def test_a_name_that_is_taken_is_not_taken_again(tmp_path: Path) -> None:
    part = abandoned(tmp_path / "a.wav", 100)
    (tmp_path / "a.wav").write_bytes(b"mine")
    repair = repair_wav(part)
    assert repair.outcome == "failed"
    assert "a.wav is there already" in str(repair.problem)
    assert (tmp_path / "a.wav").read_bytes() == b"mine"
    assert part.exists()


def patched(octets: bytes, riff_size: int, data_size: int) -> bytes:
    at = octets.index(b"data") + 4
    octets = octets[:at] + struct.pack("<I", data_size) + octets[at + 4 :]
    return octets[:4] + struct.pack("<I", riff_size) + octets[8:]


@pytest.mark.parametrize(
    ("riff_size", "data_size"),
    [
        pytest.param(0, 0, id="zeros"),
        pytest.param(0xFFFFFFFF, 0xFFFFFFFF, id="piped"),
        pytest.param(36, 0, id="stdlib wave, killed"),
        pytest.param(0, 0xFFFFFFFF, id="mixed"),
    ],
)
def test_placeholders_of_other_writers_are_mended(riff_size: int, data_size: int, tmp_path: Path) -> None:
    path = tmp_path / "theirs.wav"
    path.write_bytes(patched(riff((b"fmt ", PCM_FMT), (b"data", ramp(101))), riff_size, data_size) + b"\1")
    repair = repair_wav(path)
    assert (repair.outcome, repair.n_samples, repair.gained_samples) == ("mended", 101, 101)
    with wave.open(str(path), "rb") as file:
        assert file.readframes(1000) == ramp(101)
    assert struct.unpack_from("<I", path.read_bytes(), 4)[0] == path.stat().st_size - 8


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(riff((b"fmt ", PCM_FMT), (b"data", ramp(100))), id="plain"),
        pytest.param(riff((b"fmt ", PCM_FMT), (b"data", b"")), id="empty"),
        pytest.param(riff((b"fmt ", PCM_FMT), (b"data", b""), (b"LIST", b"INFOabcd")), id="empty, with a list behind"),
        pytest.param(riff((b"fmt ", PCM_FMT), (b"data", ramp(100)), (b"LIST", b"INFOabcd")), id="with a list behind"),
        pytest.param(riff((b"fmt ", PCM_FMT), (b"data", ramp(100))) + b"trailing", id="with more behind"),
    ],
)
def test_healthy_files_are_not_touched(octets: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(octets)
    os.utime(path, ns=(10**18, 10**18))
    path.chmod(0o444)
    assert repair_wav(path).outcome == "healthy"
    assert path.read_bytes() == octets
    assert path.stat().st_mtime_ns == 10**18


def test_what_is_no_wav_is_told_and_left(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"ID3 something else")
    repair = repair_wav(tmp_path / "a.wav")
    assert repair.outcome == "failed"
    assert "no WAV file" in str(repair.problem)
    assert (tmp_path / "a.wav").read_bytes() == b"ID3 something else"


DIES = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from tests.record.test_folder import CallFolder, Hole, STEREO, Transcript, frame
folder = CallFolder(sys.argv[1], STEREO, conversation_id="c-9", clean=True)
folder.transcript(Transcript("said before the end", 0.5, 100, 0, "external"))
for index in range(150):
    for channel in (0, 1):
        folder.frame(frame(channel, index * 160, index), index * 0.02)
    if index == 40:
        folder.hole(Hole(3200, 320, "lost"))
        folder.mask(4800, 320, "silence")
if len(sys.argv) > 3:
    print("at it", flush=True)
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""
ROOT = Path(__file__).parents[2]


def test_a_call_that_was_cut_off_gets_its_manifest(tmp_path: Path) -> None:
    call = tmp_path / "room" / "c-9"
    assert subprocess.run([sys.executable, "-c", DIES, call, ROOT], check=False).returncode == -signal.SIGKILL
    cut_off = verify_call(call)
    assert (cut_off.state, cut_off.ok) == ("cut off", False)
    outcomes = {Path(repair.path).name: repair.outcome for repair in repair_room(tmp_path / "room")}
    wavs = {f"{kind}-{name}.wav": "mended" for kind in ("raw", "clean") for name in STEREO.channels}
    assert outcomes == wavs | {"timeline.json": "recovered"}
    proven = verify_call(call)
    assert proven.ok, proven.problems
    assert proven.recovered
    assert not proven.complete
    timeline = Timeline.load(call / "timeline.json")
    assert timeline.holes == [Hole(3200, 320, "lost")]
    assert timeline.masks == [(4800, 320, "silence")]
    assert timeline.n_samples >= 100 * 160
    assert set(timeline.tracks) == set(wavs)
    assert "said before the end" in (call / "transcript.vtt").read_text()
    samples = array("h", read_wav(call / "raw-internal.wav").data)
    assert list(samples[::160]) == list(range(len(samples) // 160))
    before = state(call)
    assert {repair.outcome for repair in repair_room(tmp_path)} == {"healthy"}
    assert state(call) == before


def test_a_call_that_lives_is_left_alone(tmp_path: Path) -> None:
    call = tmp_path / "c-9"
    with subprocess.Popen(
        [sys.executable, "-c", DIES, call, ROOT, "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at it\n"
        before = state(call)
        assert [repair.outcome for repair in repair_call(call)] == ["open"]
        assert repair_wav(call / "raw-external.wav.part").outcome == "open"
        assert verify_call(call).state == "open"
        assert state(call) == before
        process.kill()
    assert {repair.outcome for repair in repair_call(call)} == {"mended", "recovered"}


def test_a_journal_that_was_left_beside_its_manifest_only_goes(tmp_path: Path) -> None:
    record_call(tmp_path)
    before = state(tmp_path)
    (tmp_path / "timeline.jsonl.part").write_text('{"call":')
    repair_call(tmp_path)
    assert state(tmp_path) == before


def test_rooms_are_looked_through_at_any_depth(tmp_path: Path) -> None:
    record_call(tmp_path / "2026" / "11" / "finished")
    part = abandoned(tmp_path / "2026" / "a.wav", 10)
    assert list(call_folders(tmp_path)) == [tmp_path / "2026", tmp_path / "2026" / "11" / "finished"]
    assert list(call_folders(tmp_path, unfinished=True)) == [part.parent]
    with CallFolder(tmp_path / "live", STEREO, conversation_id="c", clean=False) as folder:
        folder.frame(frame(0, 0), 0.0)
        outcomes = [repair.outcome for repair in repair_room(tmp_path, unfinished=True)]
        assert outcomes == ["mended", "open"]
