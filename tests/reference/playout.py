"""The playout estimator said plainly: every packet is kept, with its weight, and everything is looked up anew."""

from __future__ import annotations

import math


class ModelEstimator:
    """Slow and without bins: the quantile is that of the weighted packets themselves.

    The real one resolves a bin and no more, so the two agree to about that.  This model has no clocks that leap.
    """

    def __init__(self, quantile: float, low: float, high: float, memory: int) -> None:
        self.allowed = 1.0 - quantile
        self.low, self.high, self.memory = low, high, memory
        self.share = self.allowed
        self.packets: list[tuple[float, float]] = []  # arrival, transit: all of them
        self.weighed: list[float] = []  # transits that the quantile is of, oldest first
        self.raised = 0.0
        self.target = min(max(0.060, low), high)
        self.base = 0.0
        self.last_media_time = 0.0
        self.draining = False

    def push(self, arrival: float, media_time: float) -> bool:
        transit = arrival - media_time
        first = not self.packets
        late = not first and transit > self.base + self.target
        waited = 0.0 if first else arrival - self.packets[-1][0]
        queued = self.draining and waited < 0.5 * (media_time - self.last_media_time)
        self.draining, self.last_media_time = late or queued, media_time
        self.packets.append((arrival, transit))
        span = math.floor(arrival / 2.5)
        before = self.base
        self.base = min(t for a, t in self.packets if math.floor(a / 2.5) > span - 8)
        if 0.0 < abs(self.base - before) <= 0.002 and not first:
            self.weighed = [t + self.base - before for t in self.weighed]
        if not queued and transit <= self.base + self.high:
            self.weighed.append(transit)
            self.share *= 0.97 if late else 0.97 ** (-self.allowed / (1.0 - self.allowed))
            self.share = min(max(self.share, self.allowed / 8), min(self.allowed * 8, 0.5))
        self.raised *= max(0.0, 1.0 - waited / 0.1)
        if late or queued:
            self.raised = transit - self.base
        delay = self.quantile() - self.base
        if len(self.packets) < 25:
            delay = max(delay, 0.060 * (1 - len(self.packets) / 25))
        self.target = min(max(delay, self.raised, self.low), self.high)
        return late

    def due(self, media_time: float) -> float:
        """When a packet of this media time is due."""
        return media_time + self.base + self.target

    def reset(self) -> None:
        """The sender's clock begins anew."""
        self.__init__(1.0 - self.allowed, self.low, self.high, self.memory)  # type: ignore[misc]

    def quantile(self) -> float:
        """The transit over which only the asked-for share of the weight lies."""
        forget = 1.0 - 1.0 / self.memory
        weights = [forget ** (len(self.weighed) - 1 - i) for i in range(len(self.weighed))]
        over = self.share * sum(weights)
        for transit, weight in sorted(zip(self.weighed, weights, strict=True), reverse=True):
            over -= weight
            if over < 0.0:
                return transit
        return min(self.weighed)
