"""What does it cost to fill 20 ms that never came, with 80 ms of good audio before each such hole?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gcmedia
import peers
from peers import spandsp

pytestmark = pytest.mark.benchmark(group="conceal one packet of five, 20 ms each")


@pytest.fixture
def repair(benchmark: Any, pcm_frames: list[bytes]) -> Callable[[Callable[[], Any]], None]:
    samples = [np.frombuffer(frame, np.int16) for frame in pcm_frames]

    def time(make: Callable[[], Any]) -> None:
        def run() -> int:
            concealer = make()
            n_octets = 0
            for i, frame in enumerate(samples):
                n_octets += len(concealer.conceal(160) if i % 5 == 4 else concealer.push(frame))
            return n_octets

        benchmark.extra_info["calls"] = len(samples)
        assert benchmark(run) == 320 * len(samples)

    return time


@pytest.mark.parametrize("method", ["pitch", "repeat"])
def test_gcmedia(repair: Any, benchmark: Any, method: str) -> None:
    benchmark.extra_info["note"] = f"{method}; from Python, a call a packet"
    repair(lambda: gcmedia.Concealer(method))


def test_spandsp(repair: Any, benchmark: Any) -> None:
    if spandsp.find() is None:
        peers.skip("libspandsp2 is absent")
    benchmark.extra_info["note"] = "libspandsp's plc, through ctypes, which is some of it"
    repair(spandsp.Concealer)
