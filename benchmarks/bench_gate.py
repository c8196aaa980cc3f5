"""What does it cost to take the noise out of 20 ms at 8 kHz?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gcmedia
import peers
import workloads
from peers.composition import NumpyGate
from peers.filters import AvFilter

pytestmark = pytest.mark.benchmark(group="noise gate, 20 ms")


def rms(pcm: bytes) -> float:
    return math.sqrt(float(np.mean(np.square(np.frombuffer(pcm, np.int16).astype(np.float64)))))


@pytest.fixture(scope="module")
def noise_frames() -> list[bytes]:
    """Two seconds of white noise 50 dB under full scale."""
    pcm = workloads.noise(100 * workloads.FRAME, rms=100.0).tobytes()
    return [pcm[at : at + 320] for at in range(0, len(pcm), 320)]


def quieter(process: Callable[[bytes], Any], noise_frames: list[bytes], least_db: float) -> bool:
    """Whether as much comes out as went in, and the noise is turned down in the second half."""
    out = b"".join(bytes(process(frame)) for frame in noise_frames)
    whole = b"".join(noise_frames)
    assert abs(len(out) - len(whole)) <= 0.1 * len(whole)
    return 20 * math.log10(rms(out[len(out) // 2 :]) / rms(whole[len(whole) // 2 :])) <= -least_db


@pytest.fixture
def gate(benchmark: Any, pcm_frames: list[bytes], noise_frames: list[bytes]) -> Callable[..., None]:
    def time(
        make: Callable[[], Callable[[bytes], Any]],
        least_db: float = 6.0,
        prepare: Callable[[bytes], bytes] = bytes,
        restore: Callable[[Any], bytes] = bytes,
    ) -> None:
        process = make()
        assert quieter(lambda frame: restore(process(prepare(frame))), noise_frames, least_db)
        process = make()
        frames = [prepare(frame) for frame in pcm_frames]

        def run() -> None:
            for frame in frames:
                process(frame)

        benchmark.extra_info["calls"] = len(pcm_frames)
        benchmark(run)

    return time


def test_gcmedia(gate: Any) -> None:
    gate(lambda: gcmedia.SpectralGate().process)


def test_gcmedia_into_out(gate: Any) -> None:
    def make() -> Callable[[bytes], Any]:
        process, out = gcmedia.SpectralGate().process, bytearray(320)
        return lambda frame: process(frame, out)

    gate(make)


def test_gcmedia_bank_of_16(benchmark: Any, pcm_frames: list[bytes], noise_frames: list[bytes]) -> None:
    benchmark.extra_info["note"] = "16 calls in step, per call"

    def make() -> Callable[[bytes], Any]:
        process, out = gcmedia.SpectralGateBank(16).process, bytearray(16 * 320)
        return lambda rows: process(rows, out)

    process = make()
    assert quieter(lambda frame: process(16 * frame)[9 * 320 : 10 * 320], noise_frames, 6.0)
    process = make()
    # Each call is at another place of the same speech.
    steps = [b"".join(pcm_frames[(at + 7 * i) % len(pcm_frames)] for i in range(16)) for at in range(len(pcm_frames))]

    def run() -> None:
        for rows in steps:
            process(rows)

    benchmark.extra_info["calls"] = 16 * len(steps)
    benchmark(run)


def test_gcmedia_sample(gate: Any, benchmark: Any) -> None:
    benchmark.extra_info["note"] = "the tutorials' gate: each sample by itself"
    gate(lambda: gcmedia.SpectralGate(kind="sample").process, least_db=3.0)


def test_speexdsp(gate: Any) -> None:
    speex = peers.load("speexdsp_ns")
    gate(lambda: speex.NoiseSuppression.create(160, 8000).process)


def test_webrtc_noise_gain(gate: Any, benchmark: Any) -> None:
    webrtc = peers.load("webrtc_noise_gain")
    benchmark.extra_info["note"] = "two calls of 10 ms; takes 16 kHz only, resampling not counted"

    def make() -> Callable[[bytes], Any]:
        process = webrtc.AudioProcessor(0, 2).Process10ms
        return lambda wide: (process(wide[:320]).audio, process(wide[320:]).audio)

    gate(
        make,
        prepare=lambda pcm: np.repeat(np.frombuffer(pcm, np.int16), 2).tobytes(),
        restore=lambda halves: np.frombuffer(b"".join(halves), np.int16)[::2].tobytes(),
    )


def test_numpy(gate: Any, benchmark: Any) -> None:
    benchmark.extra_info["note"] = "a gate by numpy.fft, no noise floor kept"
    gate(NumpyGate)


def test_av(gate: Any, benchmark: Any) -> None:
    peers.load("av")
    benchmark.extra_info["note"] = "FFmpeg's afftdn through PyAV"
    gate(lambda: AvFilter("afftdn", "nr=20:nf=-45"), least_db=3.0)
