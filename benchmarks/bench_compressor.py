"""What does it cost to compress 20 ms at 8 kHz?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gcmedia
import peers
from peers.composition import numpy_compressor
from peers.filters import AvFilter

pytestmark = pytest.mark.benchmark(group="compressor, 20 ms")


def crest(pcm: bytes) -> float:
    """Loudest tenth of a second over the mean, by rms: what compression makes smaller."""
    samples = np.frombuffer(pcm, np.int16).astype(np.float64)
    blocks = np.sqrt(np.mean(samples[: len(samples) // 800 * 800].reshape(-1, 800) ** 2, axis=1))
    return float(blocks.max() / blocks.mean())


@pytest.fixture
def compress(benchmark: Any, pcm_frames: list[bytes]) -> Callable[..., None]:
    def time(make: Callable[[], Callable[[bytes], Any]]) -> None:
        process, whole = make(), b"".join(pcm_frames)
        out = b"".join(bytes(process(frame)) for frame in pcm_frames)
        assert abs(len(out) - len(whole)) <= 0.1 * len(whole)
        half = len(whole) // 2  # one that begins at nothing, as Web Audio's, has settled by then
        assert crest(out[half:]) < 0.99 * crest(whole[half:])
        process = make()

        def run() -> None:
            for frame in pcm_frames:
                process(frame)

        benchmark.extra_info["calls"] = len(pcm_frames)
        benchmark(run)

    return time


def test_gcmedia(compress: Any) -> None:
    compress(lambda: gcmedia.Compressor().process)


def test_gcmedia_into_out(compress: Any) -> None:
    def make() -> Callable[[bytes], Any]:
        process, out = gcmedia.Compressor().process, bytearray(320)
        return lambda frame: process(frame, out)

    compress(make)


def test_av(compress: Any, benchmark: Any) -> None:
    peers.load("av")
    benchmark.extra_info["note"] = "FFmpeg's acompressor through PyAV"
    compress(lambda: AvFilter("acompressor", "threshold=-24dB:ratio=12:attack=3:release=250:knee=8"))


def test_numpy(compress: Any, benchmark: Any) -> None:
    benchmark.extra_info["reference"] = True
    benchmark.extra_info["note"] = "less work: one gain a millisecond, hard knee"
    compress(numpy_compressor)
