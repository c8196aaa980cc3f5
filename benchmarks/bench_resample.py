"""What does it cost to bring 20 ms from 8 to 16 kHz, the state carried along?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gcmedia
import peers

pytestmark = pytest.mark.benchmark(group="resample 20 ms, 8 to 16 kHz")


@pytest.fixture
def resample(benchmark: Any, pcm_frames: list[bytes]) -> Callable[..., None]:
    def time(make: Callable[[], Callable[[bytes], int]]) -> None:
        """``make()`` gives a function from octets to how many samples came out."""
        process = make()
        given = sum(process(frame) for frame in pcm_frames)
        assert 0 <= 320 * len(pcm_frames) - given <= 16 * 120  # ms that a filter may hold back

        def run() -> None:
            for frame in pcm_frames:
                process(frame)

        benchmark.extra_info["calls"] = len(pcm_frames)
        benchmark(run)

    return time


@pytest.mark.parametrize("quality", ["VHQ", "QQ"])
def test_gcmedia(resample: Any, benchmark: Any, quality: str) -> None:
    peers.load("soxr")
    benchmark.extra_info["note"] = f"{quality}, int16 to int16 by float32, not dithered"

    def make() -> Callable[[bytes], int]:
        process = gcmedia.Resampler(quality=quality).process
        return lambda frame: len(process(frame)) // 2

    resample(make)


def test_soxr(resample: Any, benchmark: Any) -> None:
    soxr = peers.load("soxr")
    benchmark.extra_info["note"] = "ResampleStream itself, int16, VHQ; the dither depends on the chunks"

    def make() -> Callable[[bytes], int]:
        stream = soxr.ResampleStream(8000, 16_000, 1, dtype="int16", quality="VHQ")
        return lambda frame: len(stream.resample_chunk(np.frombuffer(frame, np.int16)))

    resample(make)


def test_audioop(resample: Any, benchmark: Any) -> None:
    audioop = peers.load("audioop")
    benchmark.extra_info["reference"] = True
    benchmark.extra_info["note"] = "less work: straight lines between the samples"

    def make() -> Callable[[bytes], int]:
        state: list[Any] = [None]

        def process(frame: bytes) -> int:
            out, state[0] = audioop.ratecv(frame, 2, 1, 8000, 16_000, state[0])
            return len(out) // 2

        return process

    resample(make)
