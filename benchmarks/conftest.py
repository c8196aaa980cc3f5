"""Workloads as fixtures, and how a benchmark is timed: `thousand` for calls of nanoseconds, `stream` for packets."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gcmedia
import workloads
from gcmedia._core import cpu


@pytest.fixture(scope="session")
def pcm_frame() -> bytes:
    """20 ms of 8 kHz int16, native order."""
    return workloads.voiced(workloads.FRAME).tobytes()


@pytest.fixture(scope="session")
def pcm_frames() -> list[bytes]:
    """Two seconds of speech over noise as frames of 20 ms, int16."""
    pcm = workloads.voiced(100 * workloads.FRAME).tobytes()
    return [pcm[at : at + 320] for at in range(0, len(pcm), 320)]


@pytest.fixture(scope="session")
def ulaw_frame() -> bytes:
    """20 ms of G.711: 160 octets, every code as likely."""
    return random.Random(workloads.SEED).randbytes(workloads.FRAME)


@pytest.fixture(scope="session")
def ulaw_megabyte() -> bytes:
    """1,000,000 octets of G.711."""
    return random.Random(workloads.SEED).randbytes(1_000_000)


@pytest.fixture(scope="session")
def packets() -> list[bytes]:
    """One minute of PCMU packets in order: 3,000 of 20 ms, timestamps in milliseconds."""
    return workloads.in_order()


@pytest.fixture(scope="session")
def rough_packets(packets: list[bytes]) -> list[bytes]:
    """The same minute over a bad network: 1 % lost, 1 % twice, 1 % up to four places late."""
    return workloads.roughen(packets)


@pytest.fixture(params=gcmedia.cpu_features().available)
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each set of kernels in turn; benchmarks without this fixture run the widest, as users do."""
    before = gcmedia.cpu_features().kernels
    cpu.select(request.param)
    yield request.param
    cpu.select(before)


@pytest.fixture
def thousand(benchmark: Any) -> Callable[..., Any]:
    """Time 1,000 plain calls in a loop; give the last result.

    For what takes some tens of nanoseconds: called one by one, as ``benchmark`` does it, each would pay as much again.
    """

    def time(function: Callable[..., Any], first: Any, *second: Any) -> Any:
        def one() -> Any:
            for _ in range(999):
                function(first)
            return function(first)

        def two() -> Any:
            (other,) = second
            for _ in range(999):
                function(first, other)
            return function(first, other)

        benchmark.extra_info["calls"] = 1000
        return benchmark(two if second else one)

    return time


@pytest.fixture
def stream(benchmark: Any) -> Callable[..., Any]:
    """Time a function over a whole stream, a fresh object for each round; give the last result.

    ``make()`` gives the arguments of ``run``, untimed; ``calls`` units are worked on in a round.
    """

    def time(run: Callable[..., Any], make: Callable[[], tuple[Any, ...]], calls: int, rounds: int = 30) -> Any:
        benchmark.extra_info["calls"] = calls
        return benchmark.pedantic(run, setup=lambda: (make(), {}), rounds=rounds, warmup_rounds=1)

    return time


@pytest.fixture
def reported(benchmark: Any, request: pytest.FixtureRequest) -> Callable[[list[float], int], None]:
    """Enter times that a peer outside Python has measured of itself, seconds a round.

    The benchmark's clock must be `peers.REPORTED`, which stands still but for them.
    """
    from peers import REPORTED

    def enter(seconds: list[float], calls: int) -> None:
        benchmark.extra_info["calls"] = calls
        times = iter(seconds)
        benchmark.pedantic(lambda: REPORTED.pass_by(next(times)), rounds=len(seconds), iterations=1)

    return enter
