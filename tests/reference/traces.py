"""Seeded arrivals of packets of 20 ms, as networks of five kinds would have them.

A trace is a list of ``(arrival, media_time)`` in seconds, in the order of arrival.  Media time begins at 0 and the
least transit is about `FLOOR` seconds; what a path adds to it is the generator's subject.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial

PACKET = 0.020
FLOOR = 0.050

Trace = list[tuple[float, float]]


def _in_order(delays: Iterable[float], drift: float = 0.0) -> Trace:
    """Packets of these delays over the floor; none overtakes another, as on one TCP connection."""
    trace: Trace = []
    latest = 0.0
    for i, delay in enumerate(delays):
        media_time = i * PACKET
        latest = max(latest, media_time * (1.0 + drift) + FLOOR + delay)
        trace.append((latest, media_time))
    return trace


def _usual(rng: random.Random) -> float:
    """Delay over the floor of a quiet path, 6 ms on average."""
    return rng.gammavariate(2.0, 0.003)


def steady(seconds: float = 300.0, seed: int = 1) -> Trace:
    """A quiet path whose statistics do not change; packets may overtake each other."""
    rng = random.Random(seed)
    packets = [(i * PACKET + FLOOR + _usual(rng), i * PACKET) for i in range(round(seconds / PACKET))]
    return sorted(packets)


def bursty(seconds: float = 300.0, seed: int = 2) -> Trace:
    """Gilbert-Elliott: good for 8 s on average, then bad for 1.5 s, with queues of 40 ms on average."""
    rng = random.Random(seed)
    bad = False

    def delays() -> Iterable[float]:
        nonlocal bad
        for _ in range(round(seconds / PACKET)):
            if rng.random() < PACKET / (1.5 if bad else 8.0):
                bad = not bad
            yield _usual(rng) + (rng.gammavariate(2.0, 0.020) if bad else 0.0)

    return _in_order(delays())


def spikes(seconds: float = 300.0, seed: int = 3) -> Trace:
    """Wi-Fi: about every 5 s the air is taken for 80 to 250 ms, then everything that queued comes at once."""
    rng = random.Random(seed)
    taken_until = 0.0
    next_spike = rng.expovariate(1 / 5.0)

    def delays() -> Iterable[float]:
        nonlocal taken_until, next_spike
        for i in range(round(seconds / PACKET)):
            sent = i * PACKET
            if sent >= next_spike:
                taken_until = sent + rng.uniform(0.080, 0.250)
                next_spike = taken_until + rng.expovariate(1 / 5.0)
            yield max(taken_until - sent, 0.0) + _usual(rng)

    return _in_order(delays())


def drift(seconds: float = 3600.0, seed: int = 4, ppm: float = 200.0) -> Trace:
    """A quiet path, and a sender whose clock is slower than ours by ``ppm``."""
    rng = random.Random(seed)
    return _in_order((_usual(rng) for _ in range(round(seconds / PACKET))), drift=ppm * 1e-6)


def stall(seconds: float = 300.0, seed: int = 5, length: float = 2.0) -> Trace:
    """A quiet path on which nothing comes for ``length`` seconds in the middle, then all of it at once."""
    rng = random.Random(seed)
    begin = seconds / 2

    def delays() -> Iterable[float]:
        for i in range(round(seconds / PACKET)):
            sent = i * PACKET
            yield _usual(rng) + (max(begin + length - sent, 0.0) if sent >= begin else 0.0)

    return _in_order(delays())


# By name; each takes a seed.
TRACES: dict[str, Callable[..., Trace]] = {
    "steady": steady,
    "bursty": bursty,
    "spikes": spikes,
    "drift +200 ppm": partial(drift, ppm=200.0),
    "drift -200 ppm": partial(drift, ppm=-200.0),
    "stall": stall,
}
DRIFT = dict.fromkeys(TRACES, 0.0) | {"drift +200 ppm": 200e-6, "drift -200 ppm": -200e-6}
