"""Late loss against mean delay: what a playout that adapts and one that does not make of a trace.

A packet is late when it arrives after it was due by what was known before it came.  The delay is the mean over the
packets in time: from the floor of the path, which moves with the sender's clock where that drifts, to when they were
due.  Both players are compared at their best setting with no more than `GOAL` late.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gcmedia._core.playout import PlayoutEstimator
from tests.reference.traces import FLOOR, Trace

GOAL = 0.01
LADDER = [1.0 - n / 10_000 for n in range(120, 24, -1)]  # quantiles, 0.988 to 0.9975


class Point(NamedTuple):
    """Of one player on one trace."""

    late: float  # share of the packets
    delay_ms: float


def point(trace: Trace, dues: list[float], drift: float) -> Point:
    """What comes of packets that are due then."""
    late, total = 0, 0.0
    for (arrival, media_time), due in zip(trace, dues, strict=True):
        if arrival > due:
            late += 1
        else:
            total += due - media_time * (1.0 + drift) - FLOOR
    return Point(late / len(trace), 1000.0 * total / max(len(trace) - late, 1))


def adaptive(trace: Trace, drift: float, quantile: float = 0.99) -> Point:
    """The estimator; it may set its delay anew with each packet, as a player that stretches time does."""
    estimator = PlayoutEstimator(quantile=quantile)
    dues: list[float] = []
    for arrival, media_time in trace:
        dues.append(estimator.due(media_time) if dues else arrival)
        estimator.push(arrival, media_time)
    return point(trace, dues, drift)


def best_adaptive(trace: Trace, drift: float, late: float = GOAL) -> Point:
    """The estimator at the least strict quantile of the ladder that has no more late packets than this."""
    low, high = 0, len(LADDER) - 1
    best = adaptive(trace, drift, LADDER[high])
    while low < high:
        middle = (low + high) // 2
        found = adaptive(trace, drift, LADDER[middle])
        if found.late <= late:
            best, high = found, middle
        else:
            low = middle + 1
    return best


def fixed(trace: Trace, drift: float, delay: float, follow: float = 0.0) -> Point:
    """Delay in seconds over the floor at the start; ``follow`` is the drift that the player takes out."""
    return point(trace, [m * (1.0 + follow) + FLOOR + delay for _, m in trace], drift)


def best_fixed(trace: Trace, drift: float, late: float = GOAL, follow: float = 0.0) -> Point:
    """The clairvoyant's: the least fixed delay with no more late packets than this."""
    delays = sorted(a - m * (1.0 + follow) - FLOOR for a, m in trace)
    least = delays[math.ceil(len(delays) * (1.0 - late)) - 1]
    return fixed(trace, drift, least + 1e-9, follow)
