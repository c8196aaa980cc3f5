"""Recordings written by threads: the same files, and nobody waits."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from gcmedia._core.stream import StreamReceiver
from gcmedia.record import CallFolder, Writers, read_wav
from gcmedia.types import Hole, MediaFormat

FORMAT = MediaFormat("PCMU", 8000, ("external", "internal"))


def fill(folder: object, n_messages: int) -> StreamReceiver:
    receiver = StreamReceiver("PCMU", 8000, 2)
    noise = np.random.default_rng(1)
    for n in range(n_messages):
        receiver.push(noise.integers(0, 256, 3200, np.uint8).tobytes())
        folder.block(receiver.block(), n * 0.2)  # type: ignore[attr-defined]
        if n == 2:
            receiver.hole(800, "paused")
            folder.hole(Hole(4800, 800, "paused"))  # type: ignore[attr-defined]
            folder.event("paused", 4800, by_server=True)  # type: ignore[attr-defined]
    return receiver


def made(path: Path) -> CallFolder:
    return CallFolder(path, FORMAT, conversation_id="c", clean=False, clock=lambda: 0.0)


def test_what_is_written_behind_is_what_is_written_at_once(tmp_path: Path) -> None:
    at_once = made(tmp_path / "at-once")
    stats = fill(at_once, 20).stats()
    assert at_once.close(stats)
    writers = Writers(2)
    behind = writers.open(lambda: made(tmp_path / "behind"), lambda error: pytest.fail(str(error)))
    fill(behind, 20)
    assert behind.close(stats)
    writers.stop()
    assert behind.path == tmp_path / "behind"
    assert writers.octets_behind == 0
    for name in ("raw-external.wav", "raw-internal.wav", "timeline.json", "audit.jsonl"):
        assert (tmp_path / "behind" / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes()


def test_a_disk_that_hangs_holds_back_nobody_and_what_finds_no_room_is_left_out_and_told(tmp_path: Path) -> None:
    hangs = threading.Event()

    def slowly() -> CallFolder:
        hangs.wait()
        return made(tmp_path / "slow")

    writers = Writers(2)
    slow = writers.open(slowly, lambda error: pytest.fail(str(error)))
    quick = writers.open(lambda: made(tmp_path / "quick"), lambda error: pytest.fail(str(error)))
    fill(slow, 400)  # 80 s, of which 60 wait
    stats = fill(quick, 20).stats()
    assert quick.close(stats)
    assert slow.incomplete
    hangs.set()
    assert not slow.close()
    writers.stop()
    n_samples = len(read_wav(tmp_path / "slow" / "raw-external.wav").data) // 2
    assert 60 * 8000 <= n_samples <= 61 * 8000
    kinds = [event["kind"] for event in json.loads((tmp_path / "slow" / "timeline.json").read_text())["events"]]
    assert kinds.count("storage_failed") == 1


def test_a_recording_that_cannot_be_begun_is_told_once_and_takes_what_comes(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    told: list[Exception] = []
    writers = Writers(1)
    folder = writers.open(lambda: made(tmp_path / "in-the-way"), told.append)
    fill(folder, 5)
    assert not folder.close()
    writers.stop()
    assert len(told) == 1
    assert folder.incomplete
    assert writers.octets_behind == 0
