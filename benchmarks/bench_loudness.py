"""What does it cost to level 20 ms of speech at 8 kHz?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gcmedia
import peers
from peers.filters import AvFilter

pytestmark = pytest.mark.benchmark(group="level normaliser, 20 ms")


@pytest.fixture
def level(benchmark: Any, pcm_frames: list[bytes]) -> Callable[..., None]:
    def time(make: Callable[[], Callable[[bytes], Any]]) -> None:
        process = make()

        def run() -> None:
            for frame in pcm_frames:
                process(frame)

        benchmark.extra_info["calls"] = len(pcm_frames)
        benchmark(run)

    return time


def test_gcmedia(level: Any) -> None:
    level(lambda: gcmedia.LoudnessNormalizer().process)


def test_av(level: Any, benchmark: Any) -> None:
    peers.load("av")
    benchmark.extra_info["note"] = "FFmpeg's speechnorm through PyAV: by peaks, no true-peak limit"
    level(lambda: AvFilter("speechnorm", "e=4:r=0.0001:l=1"))
