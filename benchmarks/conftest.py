"""Seeded workloads: the same octets in every run, shaped like a call."""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest

import gcmedia
from gcmedia._core import cpu

SAMPLE_RATE = 8000  # Hz
FRAME = 160  # samples: 20 ms at 8 kHz
SEED = 20240607


def voiced(n_samples: int, seed: int = SEED) -> array[int]:
    """Synthesise something with the levels of speech: gliding harmonics in bursts, noise at -54 dBov under them."""
    rng = random.Random(seed)
    samples = array("h", bytes(2 * n_samples))
    phase = 0.0
    for position in range(n_samples):
        seconds = position / SAMPLE_RATE
        loud = max(0.0, math.sin(2 * math.pi * 0.7 * seconds)) ** 0.5
        phase += 2 * math.pi * (140 + 40 * math.sin(2 * math.pi * 0.9 * seconds)) / SAMPLE_RATE
        tone = sum(math.sin(k * phase) / k for k in (1, 2, 3, 5, 8))
        samples[position] = max(-32768, min(32767, round(4200 * loud * tone + rng.gauss(0, 65))))
    return samples


def packet(sequence_number: int, timestamp: int, payload: bytes) -> bytes:
    """Frame ``payload`` in the ``padded16`` layout: u32 sequence number, 4 octets of padding, i64 timestamp."""
    return struct.pack(">I4xq", sequence_number, timestamp) + payload


@pytest.fixture(scope="session")
def pcm_frame() -> bytes:
    """20 ms of 8 kHz int16, native order."""
    return voiced(FRAME).tobytes()


@pytest.fixture(scope="session")
def pcm_minute() -> bytes:
    """One minute of 8 kHz int16, native order."""
    return voiced(60 * SAMPLE_RATE).tobytes()


@pytest.fixture(scope="session")
def ulaw_frame() -> bytes:
    """20 ms of PCMU: 160 octets, every code as likely."""
    return random.Random(SEED).randbytes(FRAME)


@pytest.fixture(scope="session")
def ulaw_megabyte() -> bytes:
    """1,000,000 octets of PCMU."""
    return random.Random(SEED).randbytes(1_000_000)


@pytest.fixture(scope="session")
def packets() -> list[bytes]:
    """One minute of PCMU packets in order: 3,000 of 20 ms, timestamps in milliseconds."""
    rng = random.Random(SEED)
    return [packet(number, 20 * number, rng.randbytes(FRAME)) for number in range(3000)]


@pytest.fixture(scope="session")
def rough_packets(packets: list[bytes]) -> list[bytes]:
    """The same minute over a bad network: 2 % lost, 1 % twice, 5 % up to four places late."""
    rng = random.Random(SEED + 1)
    arrivals: list[tuple[float, bytes]] = []
    for place, item in enumerate(packets):
        if rng.random() < 0.02:
            continue
        arrivals.append((place + (rng.uniform(1, 4) if rng.random() < 0.05 else 0), item))
        if rng.random() < 0.01:
            arrivals.append((place + 0.5, item))
    arrivals.sort(key=lambda arrival: arrival[0])
    return [item for _, item in arrivals]


@pytest.fixture(params=gcmedia.cpu_features().available)
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each set of kernels in turn; benchmarks without this fixture run the widest, as users do."""
    before = gcmedia.cpu_features().kernels
    cpu.select(request.param)
    yield request.param
    cpu.select(before)


@pytest.fixture
def thousand(benchmark: Any) -> Callable[..., Any]:
    """Time 1,000 plain calls in a loop, so that microseconds read as nanoseconds a call; give the last result.

    For what takes some tens of nanoseconds: called one by one, as ``benchmark`` does it, each would pay as much again.
    """

    def time(function: Callable[..., Any], first: Any, *second: Any) -> Any:
        def one() -> Any:
            for _ in repeat(None, 999):
                function(first)
            return function(first)

        def two() -> Any:
            (other,) = second
            for _ in repeat(None, 999):
                function(first, other)
            return function(first, other)

        benchmark.extra_info["calls"] = 1000
        return benchmark(two if second else one)

    return time
