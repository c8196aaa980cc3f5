"""SIGKILL at random moments of a real recording process: what is left opens everywhere, and repair mends only that.

``GCMEDIA_KILLS=1000`` runs as many; the seed of each is its number, so a failure can be had again alone.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
import wave
from array import array
from pathlib import Path

import pytest
import soundfile

from gcmedia.record import call_folders, read_wav, repair_room, verify_room

KILLS = int(os.environ.get("GCMEDIA_KILLS", "25"))
FLUSH_S = 0.95
FRAME_S = 0.02

# Calls one after the other, frames as fast as they go: each second of the recorder's clock is some milliseconds.  How
# far it has come stands in shared memory, which outlives it.
RECORDER = """
import mmap, os, struct, sys
from array import array
from pathlib import Path
from gcmedia.record import CallFolder, RecordConfig
from gcmedia.types import Hole, MediaFormat, Transcript
room, seen, layout, rotate = sys.argv[1:]
shared = mmap.mmap(os.open(seen, os.O_RDWR), 16)
class Frame:
    silent = concealed = False
    level_dbov = -20.0
    n_samples = 160
config = RecordConfig(layout=layout, rotate_s=float(rotate) or None)
print("ready", flush=True)
call = 0
while True:
    folder = CallFolder(Path(room) / f"call-{call:04}", MediaFormat("PCMU", 8000, ("a", "b")), conversation_id="c",
                        clean=True, config=config)
    shared[:16] = struct.pack("<qq", call, 0)
    for index in range(400):
        for channel in (0, 1):
            frame = Frame()
            frame.channel, frame.position = channel, index * 160
            frame.raw = frame.pcm = array("h", [index + 1] * 160)
            folder.frame(frame, index * 0.02)
        shared[:16] = struct.pack("<qq", call, index + 1)
        if index % 100 == 50:
            folder.transcript(Transcript("words", 0.5, index * 160, 0, "a"))
            folder.event("muted", index * 160, actor="supervisor")
    shared[:16] = struct.pack("<qq", call + 1, 0)
    folder.close()
    call += 1
"""


def kill_one(number: int, room: Path) -> tuple[int, int]:
    """Record and be killed; the call that was going on, and the frames of it that had been recorded."""
    rng = random.Random(number)
    layout, rotate = rng.choice(["apart", "interleaved"]), rng.choice(["0", "2"])
    seen = room.parent / f"seen-{number}"
    seen.write_bytes(bytes(16))
    with (
        subprocess.Popen(
            [sys.executable, "-c", RECORDER, room, seen, layout, rotate], stdout=subprocess.PIPE, text=True
        ) as process,
        seen.open("r+b") as file,
        mmap.mmap(file.fileno(), 16) as shared,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.random() * 0.12)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        call, n_frames = struct.unpack("<qq", shared[:16])
    seen.unlink()
    return call, n_frames


def numbers(path: Path) -> list[int]:
    """The numbers of the frames in a file, one a frame, after every reader has agreed on what is in it."""
    with wave.open(str(path), "rb") as file:
        n_channels, pcm = file.getnchannels(), file.readframes(file.getnframes())
    data, sample_rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert sample_rate == 8000
    assert data.tobytes() == pcm == read_wav(path).data
    samples = array("h", pcm)
    for channel in range(1, n_channels):
        assert samples[channel::n_channels] == samples[::n_channels]
    return list(samples[:: 160 * n_channels])


def tracks(folder: Path) -> dict[str, list[Path]]:
    """The files of each track in order."""
    found: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if ".wav" in path.name and not path.name.startswith("."):
            found.setdefault(path.name.split(".")[0], []).append(path)
    for paths in found.values():
        paths.sort(key=lambda path: int(part) if (part := path.name.split(".")[1]).isdecimal() else 1)
    return found


def check(room: Path, call: int, n_frames: int) -> None:
    for folder in call_folders(room):
        number = int(folder.name[-4:])
        expected = 400 if number < call else n_frames if number == call else 0
        for paths in tracks(folder).values():
            kept = [value for path in paths for value in numbers(path)]
            assert kept == list(range(1, len(kept) + 1)), folder
            assert len(kept) * FRAME_S >= expected * FRAME_S - FLUSH_S, (folder, len(kept), expected)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_sigkill_leaves_opens_and_is_mended_and_the_rest_is_not_touched(tmp_path: Path) -> None:
    cut_off = 0
    for number in range(KILLS):
        room = tmp_path / f"{number}" / "room"
        room.mkdir(parents=True)
        call, n_frames = kill_one(number, room)
        check(room, call, n_frames)
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in room.rglob("*.wav")}
        repairs = repair_room(room)
        assert not [repair for repair in repairs if repair.problem is not None], repairs
        cut_off += any(repair.outcome == "recovered" for repair in repairs)
        for path, (octets, mtime_ns) in before.items():  # those had their names, and so were whole
            assert path.read_bytes() == octets
            assert path.stat().st_mtime_ns == mtime_ns
        assert not list(room.rglob("*.part*"))
        check(room, call, n_frames)
        found = verify_room(room)
        assert found or n_frames == 0  # else it had not begun
        assert all(one.ok for one in found), [one.problems for one in found]
        assert {repair.outcome for repair in repair_room(room)} <= {"healthy"}
    assert cut_off > KILLS // 3  # else it was not the middle of calls that was hit
