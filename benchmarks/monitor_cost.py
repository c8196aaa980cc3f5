"""What do metrics and monitor cost a packet, while nobody looks and while somebody does?

    python benchmarks/monitor_cost.py

The same packets go through two receivers in turn, `ROUNDS` times, once with a meter and once without; the least of each
counts.  Also told: one scrape of 5,000 streams, spread over the packets that they get in the 15 s between two of them.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from typing import Any

import gcmedia
import workloads

ROUNDS = 60
SCRAPE_S = 15.0
STREAMS = 5000


def pushed(packets: list[tuple[bytes, float]], out: bytearray, **settings: Any) -> Callable[[str], float]:
    """Nanoseconds a packet of a new receiver: without a meter, with one, or with one that is watched."""

    def once(kind: str) -> float:
        receiver = gcmedia.Receiver(**settings)
        if kind != "without":
            meter = receiver.meter()
            if kind == "watched":
                meter.watch()
        push = receiver.push_into
        begin = time.perf_counter_ns()
        for packet, now in packets:
            push(packet, now, out)
        return (time.perf_counter_ns() - begin) / len(packets)

    return once


def as_frames(packets: list[tuple[bytes, float]]) -> Callable[[str], float]:
    """The same with frames as objects."""

    def once(kind: str) -> float:
        receiver = gcmedia.Receiver()
        if kind != "without":
            meter = receiver.meter()
            if kind == "watched":
                meter.watch()
        push, frames = receiver.push, receiver.frames
        begin = time.perf_counter_ns()
        for packet, now in packets:
            push(packet, now)
            for _ in frames(now):
                pass
        return (time.perf_counter_ns() - begin) / len(packets)

    return once


def compare(name: str, once: Callable[[str], float], extra_ns: float = 0.0) -> float:
    kinds = ("without", "noted", "watched")
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    rng = random.Random(workloads.SEED)
    for _ in range(ROUNDS):
        for kind in kinds:
            elsewhere = [bytearray(rng.randrange(64, 8192)) for _ in range(4)]  # no layout of the heap is favoured
            times[kind].append(once(kind))
            del elsewhere
    least = {kind: min(found) for kind, found in times.items()}
    share = (least["noted"] + extra_ns) / least["without"] - 1
    print(
        f"{name:34} {least['without']:7.1f} ns  noted {least['noted'] - least['without']:+5.2f} ns"
        f"  scrapes {extra_ns:+5.2f} ns  together {100 * share:+5.2f} %"
        f"  (watched {least['watched'] - least['without']:+5.1f} ns)"
    )
    return share


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


def main() -> None:
    packets = workloads.in_order()
    timed = list(zip(packets, workloads.arrivals(len(packets)), strict=True))
    out = bytearray(200 * 320)
    gc.disable()
    try:
        scrape = scrape_ns()
        per_packet = scrape / (STREAMS * 50 * SCRAPE_S)
        print(f"one scrape of {STREAMS} streams: {scrape / 1e6:.1f} ms, {per_packet:.2f} ns a packet")
    except ImportError:
        per_packet = 0.0
    compare("push_into, PCMU, 20 ms", pushed(timed, out), per_packet)
    compare("push and frames, PCMU, 20 ms", as_frames(timed), per_packet)


if __name__ == "__main__":
    main()
