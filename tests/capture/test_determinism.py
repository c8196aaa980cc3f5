"""The same seed gives the same frames, bit for bit: on either backend, at any speed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from gcmedia import CompressorConfig, Frame, GateConfig
from gcmedia.demo import run_demo
from gcmedia.simulator import Call, Disconnect, Faults, Span

from .running import BACKENDS, Run, patient, run

FAULTS = Faults(
    seed=11,
    loss=0.03,
    burst_enter=0.01,
    duplicates=0.05,
    reorder=0.1,
    jitter_ms=30.0,
    malformed=0.02,
    gaps=(Span(2000, 400),),
    stalls=(Span(1000, 180),),
    disconnects=(Disconnect(3000, "abnormal", 300),),
    restart_sequence_on_reconnect=True,
)


def digest(frames: Sequence[Frame]) -> str:
    """Of everything that a frame says."""
    found = hashlib.sha256()
    for frame in frames:
        said = (frame.channel, frame.position, frame.n_samples, frame.silent, frame.concealed_samples, frame.level_dbov)
        found.update(repr(said).encode() + bytes(frame.raw) + bytes(frame.pcm))
    return found.hexdigest()


async def capture_one(speed: float | None, **options: Any) -> Run:
    return await run(
        Call.demo(seconds=4, noise_db=-40.0, seed=11),
        FAULTS,
        speed=speed,
        profile=patient(speed or 500.0),
        gate=GateConfig(),
        compressor=CompressorConfig(),
        **options,
    )


def test_show_2_the_same_frames_on_either_backend_and_at_any_speed() -> None:
    runs = [
        anyio.run(partial(capture_one, speed), backend=backend)
        for backend, speed in (("asyncio", None), ("trio", None), ("asyncio", 40.0), ("trio", 200.0))
    ]
    assert {run.error for run in runs} == {None}
    assert len({digest(run.frames) for run in runs}) == 1
    assert len({run.stats.identity() for run in runs}) == 1
    assert len({tuple(run.transcripts) for run in runs}) == 1
    assert len({tuple(run.events) for run in runs}) == 1


@pytest.mark.anyio
async def test_the_recording_does_not_depend_on_who_listens(tmp_path: Path) -> None:
    """A consumer that loses frames to its queue, one that waits, and none at all: one and the same recording."""
    recordings = []
    for overflow, max_frames in (("wait", 1), ("drop_oldest", 3), ("drop_newest", 1)):
        folder = tmp_path / f"{overflow}-{max_frames}"
        await capture_one(None, overflow=overflow, max_frames=max_frames, folder=folder)
        recordings.append({path.name: path.read_bytes() for path in folder.glob("*.wav")})
    assert recordings[0] == recordings[1] == recordings[2]
    assert len(recordings[0]) == 4


def test_show_2_the_demo_records_the_same_bits_on_either_backend(tmp_path: Path) -> None:
    recordings = []
    for backend, speed in zip(BACKENDS, (60.0, 25.0), strict=True):
        folder = tmp_path / backend
        frames: list[Frame] = []
        result = anyio.run(
            partial(run_demo, folder, seconds=4, speed=speed, seed=3, on_frame=frames.append), backend=backend
        )
        assert result.holds, result.checks
        recordings.append((digest(frames), {path.name: path.read_bytes() for path in folder.glob("*.wav")}))
    assert recordings[0] == recordings[1]


def test_the_demo_holds_where_the_last_packet_is_lost(tmp_path: Path) -> None:
    result = anyio.run(partial(run_demo, tmp_path, seconds=2, speed=60.0, seed=57))
    assert result.truth.packets_lost == result.stats.packets_lost + 1
    assert result.holds, result.checks


def test_another_seed_gives_another_call(tmp_path: Path) -> None:
    first, second = (
        anyio.run(partial(run, Call.demo(seconds=2), Faults(seed=seed, loss=0.1, jitter_ms=5.0))) for seed in (1, 2)
    )
    assert digest(first.frames) != digest(second.frames)
