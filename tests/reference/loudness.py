"""A slow, plain level normaliser and true-peak limiter: whole arrays, double precision."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]


def weighting_db(hz: float, rate: int) -> float:
    """Response of BS.1770's two filters, from their analogue forms through the bilinear transform."""
    total = 1.0 + 0j
    z = cmath.exp(2j * math.pi * hz / rate)
    for corner, q, kind in (
        (1681.974450955533, 0.7071752369554196, "shelf"),
        (38.13547087602444, 0.5003270373238773, "high"),
    ):
        s = (z - 1) / (z + 1) / math.tan(math.pi * corner / rate)
        below = s * s + s / q + 1
        if kind == "shelf":
            high = 10 ** (3.999843853973347 / 20)
            total *= (high * s * s + high**0.4996667741545416 * s / q + 1) / below
        else:
            a0 = 1 + math.tan(math.pi * corner / rate) / q + math.tan(math.pi * corner / rate) ** 2
            total *= s * s / below * a0  # the recommendation leaves the numerator 1, -2, 1
    return 20 * math.log10(abs(total))


def weighted(x: Samples, rate: int) -> Samples:
    """The same filters on samples, by their difference equations."""
    for corner, q, kind in (
        (1681.974450955533, 0.7071752369554196, "shelf"),
        (38.13547087602444, 0.5003270373238773, "high"),
    ):
        k = math.tan(math.pi * corner / rate)
        a0 = 1 + k / q + k * k
        high = 10 ** (3.999843853973347 / 20)
        mid = high**0.4996667741545416
        b = [(high + mid * k / q + k * k) / a0, 2 * (k * k - high) / a0, (high - mid * k / q + k * k) / a0]
        b = b if kind == "shelf" else [1.0, -2.0, 1.0]
        a1, a2 = 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0
        y = np.zeros(len(x) + 2)
        padded = np.concatenate([np.zeros(2), x])
        for i in range(2, len(y)):
            y[i] = b[0] * padded[i] + b[1] * padded[i - 1] + b[2] * padded[i - 2] - a1 * y[i - 1] - a2 * y[i - 2]
        x = y[2:]
    return x


def gains_db(
    x: Samples,
    rate: int,
    target: float = -22.0,
    most: float = 24.0,
    cut: float = 12.0,
    rise: float = 6.0,
    fall: float = 12.0,
) -> list[float]:
    """Gain behind each whole block of 10 ms."""
    block = rate // 100
    powers = (weighted(x, rate)[: len(x) // block * block].reshape(-1, block) ** 2).mean(axis=1)
    found, gain, speech, n = [], 0.0, 0.0, 0
    for i, power in enumerate(powers):
        span = i // 150 * 150
        heard = [p for p in powers[max(span - 150, 0) : i + 1] if p > 1e-9]
        if i % 150 == 149:  # the span that ends is the one before now
            heard = [p for p in powers[span : i + 1] if p > 1e-9]
        floor = min(heard, default=16.0)
        stands_out = power >= 1e-6 and power >= 6.3 * floor
        if stands_out and power >= 0.01 * speech:
            n = min(n + 1, 150)
            speech += (power - speech) / n
            wanted = min(max(target - 10 * math.log10(speech), -cut), most)
            gain += min(max(wanted - gain, -fall / 100), rise / 100)
        elif stands_out:
            speech *= 0.98
        found.append(gain)
    return found


def oversampled(x: npt.NDArray[Any], factor: int) -> Samples:
    """Samples in between, exactly, by the spectrum; zeros at both ends keep it from going round."""
    padded = np.concatenate([np.zeros(256), np.asarray(x, np.float64), np.zeros(256)])
    spectrum = np.fft.rfft(padded)
    return np.fft.irfft(np.pad(spectrum, (0, (factor - 1) * len(padded) // 2)), factor * len(padded)) * factor
