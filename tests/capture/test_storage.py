"""A disk that is full, fails, is read-only or goes away: the call goes on, one alarm, and recording resumes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gcmedia.record import Timeline, read_wav, verify_call
from gcmedia.simulator import Call
from tests.reference.g711 import ulaw_decode, ulaw_encode

ROOT = Path(__file__).parents[2]
SECONDS, RATE = 20, 8000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 800 KiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if done.returncode:
        # Only root may mount, and a developer need not be; in CI it is root, and the test runs.
        pytest.skip(f"no small filesystem can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def capture(folder: Path, how: str, backend: str = "asyncio", **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.capture.storage", folder, how, backend],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["frames"] == 2 * 50 * SECONDS  # not one is missing for those who listen
    assert found["balanced"]
    assert found["events"].count("storage_failed") == 1
    assert found["failures"] == found["counted"] == 1
    assert done.stderr.count("the call goes on") == 1
    return found


def check_lost_in_place(folder: Path) -> int:
    """All is at its place: what is not listed as unwritten is what was said, the rest is silence.  How much that is."""
    found = verify_call(folder)
    assert found.ok, found.problems
    timeline = Timeline.load(folder / "timeline.json")
    assert timeline.n_samples == SECONDS * RATE
    spoken = ulaw_decode(ulaw_encode(Call.demo(seconds=SECONDS).pcm(RATE, 2)))
    lost = 0
    for channel, name in enumerate(("external", "internal")):
        track = timeline.tracks[f"raw-{name}.wav"]
        raw = np.frombuffer(read_wav(folder / f"raw-{name}.wav").data, np.int16)
        assert len(raw) == SECONDS * RATE
        kept = np.ones(len(raw), bool)
        for position, n_samples in track["unwritten"]:
            kept[position : position + n_samples] = False
        assert np.count_nonzero(~kept) == track["n_unwritten"]
        assert track["incomplete"] == (track["n_unwritten"] > 0)
        assert not raw[~kept].any()
        assert np.array_equal(raw[kept], spoken[kept, channel])
        lost += track["n_unwritten"]
    assert timeline.complete == (lost == 0 and timeline.storage["lost_lines"] == 0)
    assert timeline.storage["unwritten_samples"] == lost
    assert timeline.storage["failures"] == 1
    return lost


def test_a_full_disk(small_disk: Path) -> None:
    found = capture(small_disk / "call", "full", "trio")
    assert "storage_resumed" in found["events"]
    assert check_lost_in_place(small_disk / "call") > RATE  # it was full for longer than a second
    timeline = Timeline.load(small_disk / "call" / "timeline.json")
    assert {"storage_failed", "storage_resumed"} <= {event["kind"] for event in timeline.events}


def test_a_disk_that_is_read_only_when_the_call_begins(small_disk: Path) -> None:
    found = capture(small_disk / "call", "read_only")
    assert "storage_resumed" in found["events"]
    assert check_lost_in_place(small_disk / "call") > RATE


def test_writes_that_fail(tmp_path: Path) -> None:
    cc = shutil.which("cc") or shutil.which("gcc")
    if cc is None:
        # An installed wheel is tested without one too; in CI there is one, and the test runs.
        pytest.skip("no C compiler to make the library that lets writes fail")
    library = tmp_path / "failing_writes.so"
    source = Path(__file__).with_name("failing_writes.c")
    subprocess.run([cc, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    found = capture(
        tmp_path / "call",
        "input_output",
        LD_PRELOAD=str(library),
        FAILING_WRITES=str(tmp_path / "flag"),
        FAILING_FOLDER=str(tmp_path / "call"),
    )
    assert "storage_resumed" in found["events"]
    assert check_lost_in_place(tmp_path / "call") > RATE


def test_a_folder_that_is_removed(tmp_path: Path) -> None:
    found = capture(tmp_path / "call", "removed", "trio")
    assert "storage_resumed" in found["events"]
    assert check_lost_in_place(tmp_path / "call") == 0


def test_a_folder_that_is_moved_with_something_in_its_place(tmp_path: Path) -> None:
    found = capture(tmp_path / "call", "moved")
    assert "storage_resumed" in found["events"]
    assert check_lost_in_place(tmp_path / "call") == 0


NO_DESCRIPTORS = """
import os, resource, sys
sys.path.insert(0, sys.argv[2])
from tests.record.test_folder import STEREO, CallFolder, frame
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
os.listdir("/proc/self/fd")
events = []
first_free = os.dup(0)
os.close(first_free)
resource.setrlimit(resource.RLIMIT_NOFILE, (first_free + int(sys.argv[3]), hard))
tell = lambda *event: events.append(event)
folder = CallFolder(sys.argv[1], STEREO, conversation_id="c", clean=False, on_storage=tell)
for index in range(500):
    if index == 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for channel in (0, 1):
        assert folder.frame(frame(channel, index * 160, index + 1), index * 0.02)
folder.close()
assert [kind for kind, *_ in events] == ["storage_failed", "storage_resumed"], events
assert "Too many open files" in events[0][2]["reason"], events
assert folder.storage_failures == 1
"""


@pytest.mark.parametrize("n_free", [0, 1, 3])
def test_no_descriptors_when_the_call_begins(n_free: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_DESCRIPTORS, tmp_path / "call", ROOT, str(n_free)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the call goes on") == 1
    found = verify_call(tmp_path / "call")
    assert found.ok, found.problems
    assert found.n_samples == 500 * 160
    timeline = Timeline.load(tmp_path / "call" / "timeline.json")
    for track in timeline.tracks.values():
        if n_free == 0:
            assert track["incomplete"]
            assert track["unwritten"][0][0] == 0
        assert sum(n for _, n in track["unwritten"]) == track["n_unwritten"] <= 250 * 160
