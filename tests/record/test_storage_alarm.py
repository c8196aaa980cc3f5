"""One alarm for one disk that fails, however it flickers: files that may only grow so far, and then further."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from gcmedia.record import CallFolder, Timeline, verify_call
from gcmedia.types import MediaFormat

from .test_folder import frame

MONO = MediaFormat("PCMU", 8000, ("mixed",))
PACKET_OCTETS = 2 * 160


class Disk:
    """A call that is recorded, and a limit on how long its files may become."""

    def __init__(self, path: Path) -> None:
        self.told: list[tuple[str, int, dict[str, Any]]] = []
        self.folder = CallFolder(
            path,
            MONO,
            conversation_id="c-1",
            clean=False,
            on_storage=lambda *said: self.told.append(said),
        )
        self.audio = path / "raw-mixed.wav.part"
        self.n_frames = 0

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.told]

    def record(self, n_frames: int) -> None:
        """Frames, each written at once."""
        for _ in range(n_frames):
            now = 50.0 + self.n_frames * 0.02
            self.folder.frame(frame(0, self.n_frames * 160, 1000), now)
            self.folder.flush(now)
            self.n_frames += 1

    def leave_room(self, octets: int | None) -> None:
        """Let the audio grow by so much and no more; None for as far as it likes."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        soft = hard if octets is None else self.audio.stat().st_size + octets
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def disk(tmp_path: Path) -> Any:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = Disk(tmp_path / "call")
    yield made
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    made.folder.close()


def fail_and_flicker(disk: Disk) -> None:
    """A disk that is full, and on which a little finds room now and then."""
    disk.record(250)  # longer than any other file will become
    disk.leave_room(0)
    disk.record(10)
    assert disk.kinds == ["storage_failed"]
    for _ in range(5):
        disk.leave_room(10 * PACKET_OCTETS)
        disk.record(15)
        assert disk.kinds == ["storage_failed"], "a little that finds room is no disk that is well"


def test_an_alarm_is_taken_back_after_a_second_of_writing(disk: Disk, tmp_path: Path) -> None:
    fail_and_flicker(disk)
    disk.leave_room(None)
    disk.record(49)
    assert disk.kinds == ["storage_failed"]
    disk.record(2)
    assert disk.kinds == ["storage_failed", "storage_resumed"]
    disk.record(100)
    disk.folder.close()
    check(disk, tmp_path / "call")


def test_an_alarm_is_taken_back_at_the_end(disk: Disk, tmp_path: Path) -> None:
    fail_and_flicker(disk)
    disk.leave_room(None)
    disk.record(5)
    assert disk.kinds == ["storage_failed"]
    disk.folder.close()
    check(disk, tmp_path / "call")


def test_a_disk_that_stays_full_is_never_said_to_be_well(disk: Disk, tmp_path: Path) -> None:
    fail_and_flicker(disk)
    disk.leave_room(0)
    disk.record(100)
    assert not disk.folder.close()
    assert disk.kinds == ["storage_failed"]


def check(disk: Disk, path: Path) -> None:
    """One alarm, taken back once, and what is missing is listed."""
    assert disk.kinds == ["storage_failed", "storage_resumed"]
    assert disk.folder.storage_failures == 1
    timeline = Timeline.load(path / "timeline.json")
    assert timeline.n_samples == disk.n_frames * 160
    told = [event["kind"] for event in timeline.events if event["kind"].startswith("storage")]
    assert told == disk.kinds
    unwritten = timeline.tracks["raw-mixed.wav"]["n_unwritten"]
    assert unwritten == timeline.storage["unwritten_samples"] == disk.told[-1][2]["unwritten"] > 0
    assert verify_call(path).ok
