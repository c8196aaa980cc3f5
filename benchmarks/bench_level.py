"""What does it cost to tell how loud 20 ms are?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gcmedia
import peers

pytestmark = pytest.mark.benchmark(group="level of 20 ms")


def test_gcmedia(thousand: Any, pcm_frame: bytes) -> None:
    level = thousand(gcmedia.rms, pcm_frame)
    assert level == pytest.approx(numpy_rms(pcm_frame), rel=1e-5)


def test_gcmedia_set(thousand: Any, pcm_frame: bytes, kernels: str) -> None:
    level = thousand(gcmedia.rms, pcm_frame)
    assert level == pytest.approx(numpy_rms(pcm_frame), rel=1e-5)


def test_gcmedia_silence_detector(thousand: Any, pcm_frame: bytes) -> None:
    assert thousand(gcmedia.SilenceDetector().push, pcm_frame) is False


def test_audioop(thousand: Any, pcm_frame: bytes) -> None:
    level = thousand(peers.load("audioop").rms, pcm_frame, 2)
    assert level == int(gcmedia.rms(pcm_frame) * 32768)


def numpy_rms(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, dtype=np.int16).astype(np.float32)
    return math.sqrt(np.dot(samples, samples) / len(samples)) / 32768


def test_numpy(thousand: Any, pcm_frame: bytes) -> None:
    level = thousand(numpy_rms, pcm_frame)
    assert level == pytest.approx(gcmedia.rms(pcm_frame), rel=1e-5)


def test_webrtcvad(thousand: Any, benchmark: Any, pcm_frame: bytes) -> None:
    vad = peers.load("webrtcvad").Vad(3)
    benchmark.extra_info["reference"] = True
    benchmark.extra_info["note"] = "more work: speech or not, from band energies; for reference"
    assert thousand(lambda frame: vad.is_speech(frame, 8000), pcm_frame) in (True, False)
