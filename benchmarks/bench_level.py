"""What does the level of a frame of 20 ms cost, and whom?

A frame is timed by the thousand calls, so microseconds read as nanoseconds a call.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import gcmedia

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop  # the standard library's up to 3.12, audioop-lts from 3.13

FRAME = "rms of 20 ms"
MINUTE = "rms of a minute"


def note(benchmark: Any, pcm: bytes) -> None:
    benchmark.extra_info["octets"] = len(pcm)
    benchmark.extra_info["unit"] = "one call"


def numpy_rms(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, dtype=np.int16).astype(np.float32)
    return math.sqrt(np.dot(samples, samples) / len(samples)) / 32768


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia(thousand: Any, pcm_frame: bytes) -> None:
    level = thousand(gcmedia.rms, pcm_frame)
    assert int(level * 32768) == audioop.rms(pcm_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia_set(thousand: Any, pcm_frame: bytes, kernels: str) -> None:
    thousand(gcmedia.rms, pcm_frame)


@pytest.mark.benchmark(group=FRAME)
def test_frame_audioop(thousand: Any, pcm_frame: bytes) -> None:
    thousand(audioop.rms, pcm_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_numpy(thousand: Any, pcm_frame: bytes) -> None:
    level = thousand(numpy_rms, pcm_frame)
    assert level == pytest.approx(gcmedia.rms(pcm_frame), rel=1e-5)


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia_silence_detector(thousand: Any, pcm_frame: bytes) -> None:
    thousand(gcmedia.SilenceDetector().push, pcm_frame)


@pytest.mark.benchmark(group=MINUTE)
def test_minute_gcmedia(benchmark: Any, pcm_minute: bytes) -> None:
    note(benchmark, pcm_minute)
    benchmark(gcmedia.rms, pcm_minute)


@pytest.mark.benchmark(group=MINUTE)
def test_minute_audioop(benchmark: Any, pcm_minute: bytes) -> None:
    note(benchmark, pcm_minute)
    benchmark(audioop.rms, pcm_minute, 2)


@pytest.mark.benchmark(group=MINUTE)
def test_minute_numpy(benchmark: Any, pcm_minute: bytes) -> None:
    note(benchmark, pcm_minute)
    benchmark(numpy_rms, pcm_minute)
