"""A slow, plain compressor after the Web Audio specification: one sample at a time, double precision."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

#: Release time over how far the gain is from where it has to go (-12 dB at 0, 0 dB at 3), as a share of ``release_s``:
#: Chromium's quartic, the highest power first.  It passes through 0.09, 0.16, 0.42 and 0.98.
RELEASE = (0.00094632, 0.01265542, 0.05040951, 0.00598875, 0.09)


def decibels(x: float) -> float:
    return 20 * math.log10(x)


def linear(db: float) -> float:
    return float(10 ** (db / 20))


@dataclass
class Compressor:
    rate: int = 8000
    threshold_db: float = -24.0
    knee_db: float = 30.0
    ratio: float = 12.0
    attack_s: float = 0.003
    release_s: float = 0.25
    makeup_db: float | None = None
    lookahead_s: float = 0.006
    detector: float = field(default=0.0, init=False)
    gain: float = field(default=1.0, init=False)
    deepest_db: float = field(default=-1.0, init=False)

    def __post_init__(self) -> None:
        self.threshold = linear(self.threshold_db)
        self.knee_end = linear(self.threshold_db + self.knee_db)
        self.delay = int(self.lookahead_s * self.rate + 1e-6)
        self.k = self.bent_so_that(1 / self.ratio)
        self.knee_out_db = decibels(self.knee(self.knee_end))
        makeup = self.shaped(1.0) ** -0.6
        self.makeup = makeup if self.makeup_db is None else linear(self.makeup_db)
        self.release = self.release_s * self.rate

    def knee(self, x: float, k: float | None = None) -> float:
        k = self.k if k is None else k
        if x < self.threshold:
            return x
        return self.threshold + (1 - math.exp(-k * (x - self.threshold))) / k

    def shaped(self, x: float) -> float:
        """The static curve."""
        if x < self.knee_end:
            return self.knee(x)
        return linear(self.knee_out_db + (decibels(x) - decibels(self.knee_end)) / self.ratio)

    def bent_so_that(self, slope: float) -> float:
        """The k for which the knee ends with this slope, in decibels per decibel."""
        low, high, k = 0.1, 10_000.0, 5.0
        x = self.knee_end
        for _ in range(15):
            rise = decibels(self.knee(x * 1.001, k)) - decibels(self.knee(x, k))
            if rise / decibels(1.001) < slope:
                high = k
            else:
                low = k
            k = math.sqrt(low * high)
        return k

    def envelope(self) -> tuple[float, float]:
        """What the gain goes towards, and its rate: a share if under 1, a factor otherwise."""
        target = math.asin(self.detector) / (math.pi / 2)
        away_db = decibels(self.gain / target) if target else 1.0
        if target > self.gain:
            self.deepest_db = -1.0
            x = 0.25 * (min(max(away_db, -12.0), 0.0) + 12)
            return target, linear(5 / max(float(np.polyval(RELEASE, x)) * self.release, 0.01))
        self.deepest_db = max(self.deepest_db, away_db)
        attack = max(self.attack_s, 0.001) * self.rate
        return target, 1 - (0.25 / max(self.deepest_db, 0.5)) ** (1 / attack)

    def process(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        out = np.empty(len(x))
        delayed = np.concatenate([np.zeros(self.delay), x])
        for i, sample in enumerate(np.abs(x)):
            if i % 32 == 0:
                target, rate = self.envelope()
            wanted = 1.0 if sample <= 0.0001 else self.shaped(float(sample)) / float(sample)
            if wanted > self.detector:
                back_db = max(-decibels(wanted), 2.0)
                self.detector += (wanted - self.detector) * (linear(back_db / (0.0025 * self.rate)) - 1)
            else:
                self.detector = wanted
            self.detector = min(self.detector, 1.0)
            if rate < 1:
                self.gain += (target - self.gain) * rate
            else:
                self.gain = min(self.gain * rate, 1.0)
            out[i] = delayed[i] * self.makeup * math.sin(math.pi / 2 * self.gain)
        return out
