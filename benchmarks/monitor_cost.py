"""What do metrics and monitor cost a packet, while nobody looks and while somebody does?

    python benchmarks/monitor_cost.py                  times
    python benchmarks/monitor_cost.py instructions     by callgrind, whose counts repeat (valgrind on PATH)

The same packets go through receivers in turn, without a meter, with one, and with one that is watched, `ROUNDS` times
in changing order.  Told are the least time of each, and the median over the rounds of what a meter adds to the round
time without one, and one scrape of 5,000 streams spread over the packets that they get in the 15 s between two
scrapes.
"""

from __future__ import annotations

import gc
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import gcmedia
import instructions
import workloads
from gcmedia._core.stream import StreamReceiver

ROUNDS = 100
SCRAPE_S = 15.0
STREAMS = 5000
KINDS = ("without", "noted", "watched")


def metered(receiver: Any, kind: str) -> Any:
    """The receiver as it is, with a meter, or with one that is watched."""
    if kind != "without":
        meter = receiver.meter()
        if kind == "watched":
            meter.watch()
    return receiver


def push_into(kind: str, packets: list[bytes]) -> Callable[[int], None]:
    push, out = metered(gcmedia.Receiver(), kind).push_into, bytearray(200 * 320)
    timed = list(zip(packets, workloads.arrivals(len(packets)), strict=True))

    def run(n_packets: int) -> None:
        for packet, now in timed[:n_packets]:
            push(packet, now, out)

    return run


def push_frames(kind: str, packets: list[bytes]) -> Callable[[int], None]:
    receiver = metered(gcmedia.Receiver(), kind)
    push, frames = receiver.push, receiver.frames
    timed = list(zip(packets, workloads.arrivals(len(packets)), strict=True))

    def run(n_packets: int) -> None:
        for packet, now in timed[:n_packets]:
            push(packet, now)
            for _ in frames(now):
                pass

    return run


def stream_into(kind: str, packets: list[bytes]) -> Callable[[int], None]:
    receiver, out = metered(StreamReceiver(), kind), bytearray(320)
    push, read_into = receiver.push, receiver.read_into
    payloads = [packet[workloads.HEADER.size :] for packet in packets]

    def run(n_packets: int) -> None:
        for payload in payloads[:n_packets]:
            push(payload)
            read_into(out)

    return run


CASES = {
    "Receiver.push_into": push_into,
    "Receiver.push and frames": push_frames,
    "StreamReceiver.push and read_into": stream_into,
}


def compare(name: str, packets: list[bytes], scrape_ns: float) -> None:
    """Time a case."""
    rng = random.Random(workloads.SEED)
    rounds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in rng.sample(KINDS, 3):
            elsewhere = [bytearray(rng.randrange(64, 8192)) for _ in range(4)]  # no layout of the heap is favoured
            run = CASES[name](kind, packets)
            begin = time.perf_counter_ns()
            run(len(packets))
            rounds[kind].append((time.perf_counter_ns() - begin) / len(packets))
            del elsewhere
    least = min(rounds["without"])
    share = statistics.median(
        (noted + scrape_ns) / without - 1 for noted, without in zip(rounds["noted"], rounds["without"], strict=True)
    )
    print(
        f"{name:34} {least:6.1f} ns, noted {min(rounds['noted']) - least:+5.2f},"
        f" watched {min(rounds['watched']) - least:+6.2f}; metrics and monitor {100 * share:+5.2f} %"
    )


def scrape_ns() -> float:
    """One scrape of `STREAMS` streams, in nanoseconds; the least of some."""
    from gcmedia.live import LiveCalls
    from gcmedia.metrics import Collector

    calls = LiveCalls()
    for number in range(STREAMS):
        calls.announce(f"call-{number}", receiver=gcmedia.Receiver())
    collector = Collector(calls)
    found = []
    for _ in range(10):
        begin = time.perf_counter_ns()
        list(collector.collect())
        found.append(time.perf_counter_ns() - begin)
    return min(found)


def times() -> None:
    packets = workloads.in_order()
    scrape = scrape_ns()
    per_packet = scrape / (STREAMS * 50 * SCRAPE_S)
    print(f"one scrape of {STREAMS} streams: {scrape / 1e6:.1f} ms, {per_packet:.2f} ns a packet")
    for name in CASES:
        compare(name, packets, per_packet)


def count() -> None:
    """Instructions a packet, of each case and kind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("valgrind is not on PATH")
    few, many = instructions.FEW, instructions.MANY
    for name in CASES:
        found = {}
        for kind in KINDS:
            case = f"{name}/{kind}"
            both = [instructions.collected(valgrind, case, n, __file__) for n in (few, many)]
            found[kind] = (both[1] - both[0]) / (many - few)
        noted = found["noted"] - found["without"]
        print(
            f"{name:34} {found['without']:7.0f} instructions, noted {noted:+5.1f} ({noted / found['without']:+.2%}),"
            f" watched {found['watched'] - found['without']:+6.1f}"
        )


if __name__ == "__main__":
    gc.disable()
    if len(sys.argv) == 3:  # under callgrind
        name, _, kind = sys.argv[1].partition("/")
        CASES[name](kind, workloads.in_order(instructions.MANY))(int(sys.argv[2]))
    elif sys.argv[1:] == ["instructions"]:
        count()
    else:
        times()
