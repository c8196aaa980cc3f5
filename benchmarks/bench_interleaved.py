"""How much more does a packet cost when thousands of calls take turns, each with its state out of the cache?"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any

import pytest

import gcmedia
import workloads

ROUNDS = 40
PACKETS = 3000  # a round


@pytest.fixture(params=[1, 300, 3000], ids=lambda n: f"{n} calls")
def n_calls(request: pytest.FixtureRequest, benchmark: Any) -> int:
    benchmark.group = "calls taking turns"
    return int(request.param)


def take_turns(benchmark: Any, n_calls: int, make: Callable[[], gcmedia.Receiver], into: bool = False) -> None:
    """Push the next packet into every call and take its frames; the same packets for all, calls in random order."""
    receivers = [make() for _ in range(n_calls)]
    random.Random(workloads.SEED).shuffle(receivers)
    turns = PACKETS // n_calls
    warm_up = max(10, 80 // turns)  # rounds until every receiver has been around its ring, so no page is new
    packets = iter(workloads.in_order((ROUNDS + warm_up) * turns))
    out: list[int] = []
    buffer = bytearray(20 * 2 * workloads.FRAME)
    pushes: list[Any] = [getattr(receiver, "push_into", None) for receiver in receivers]

    def run_into(batch: list[bytes]) -> None:
        samples = 0
        for packet in batch:
            for push in pushes:
                samples += push(packet, 0.0, buffer)
        out.append(samples // workloads.FRAME)

    def run_frames(batch: list[bytes]) -> None:
        taken = 0
        for packet in batch:
            for receiver in receivers:
                receiver.push(packet, 0.0)
                for _ in receiver.frames(0.0):
                    taken += 1
        out.append(taken)

    run = run_into if into else run_frames

    def setup() -> tuple[tuple[list[bytes]], dict[str, Any]]:
        return ([next(packets) for _ in range(turns)],), {}

    for _ in range(warm_up):
        run(*setup()[0])
    out.clear()
    benchmark.extra_info["calls"] = PACKETS
    benchmark.pedantic(run, setup=setup, rounds=ROUNDS)
    assert out == [PACKETS] * ROUNDS


def test_gcmedia(benchmark: Any, n_calls: int) -> None:
    take_turns(benchmark, n_calls, gcmedia.Receiver)


def test_gcmedia_into_out(benchmark: Any, n_calls: int) -> None:
    take_turns(benchmark, n_calls, gcmedia.Receiver, into=True)


def test_gcmedia_gate(benchmark: Any, n_calls: int) -> None:
    take_turns(benchmark, n_calls, lambda: gcmedia.Receiver(gate=gcmedia.GateConfig()))


def test_gcmedia_bank(benchmark: Any, n_calls: int) -> None:
    """One call of `ReceiverBank.push` for a packet of each stream."""
    order = list(range(n_calls))
    random.Random(workloads.SEED).shuffle(order)
    bank = gcmedia.ReceiverBank(n_calls)
    turns = PACKETS // n_calls
    warm_up = max(10, 80 // turns)
    packets = iter(workloads.in_order((ROUNDS + warm_up) * turns))
    indices = array("i", order * turns)
    size = 16 + workloads.FRAME
    offsets = array("q", range(0, (PACKETS + 1) * size, size))
    room = bytearray(2 * workloads.FRAME * n_calls * (turns + 1))
    counts = array("i", bytes(4 * n_calls))
    out: list[int] = []

    def run(buffer: bytes) -> None:
        bank.push(indices, buffer, offsets, 0.0, room, counts)
        out.append(sum(counts) // workloads.FRAME)

    def setup() -> tuple[tuple[bytes], dict[str, Any]]:
        return (b"".join(next(packets) * n_calls for _ in range(turns)),), {}

    for _ in range(warm_up):
        run(*setup()[0])
    out.clear()
    benchmark.extra_info["calls"] = PACKETS
    benchmark.extra_info["note"] = "all streams in one call, on one thread"
    benchmark.pedantic(run, setup=setup, rounds=ROUNDS)
    assert out == [PACKETS] * ROUNDS
