"""A slow, plain concealer by pitch: whole arrays, double precision, one hole at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]


def best_lag(pcm: Samples, window: int, shortest: int, longest: int) -> int:
    """The lag at which the last ``window`` samples resemble earlier ones most."""
    best, best_score = 0, -1.0
    near = pcm[len(pcm) - window :]
    for lag in range(shortest, min(longest, len(pcm) - window) + 1):
        far = pcm[len(pcm) - window - lag : len(pcm) - lag]
        product = float(near @ far)
        score = product / float(np.sqrt(far @ far)) if product > 0 else 0.0
        if score > best_score:
            best, best_score = lag, score
    return best


def smooth_period(pcm: Samples, length: int, overlap: int) -> Samples:
    """The last ``length`` samples, whose end goes over into what lies before their beginning."""
    period = pcm[len(pcm) - length :].copy()
    if overlap:
        rise = (np.arange(overlap) + 0.5) / overlap
        before = pcm[len(pcm) - length - overlap : len(pcm) - length]
        period[-overlap:] = period[-overlap:] * (1 - rise) + before * rise
    return period


def extrapolated(pcm: Samples, n: int, rate: int, period: int, stages: bool, overlap: int) -> Samples:
    """``n`` samples beyond ``pcm``, not turned down, begun without a step."""
    ten_ms = rate // 100
    bases = [smooth_period(pcm, period * m, overlap) for m in ((1, 2, 3) if stages else (1,))]

    def at(stage: int, i: int) -> float:
        begin = stage * ten_ms
        return float(bases[stage][(begin % period + i - begin) % len(bases[stage])])

    out = np.empty(n)
    for i in range(n):
        stage = min(i // ten_ms, 2) if stages else 0
        out[i] = at(stage, i)
        into = i - stage * ten_ms
        if stage and into < overlap:
            w = (into + 0.5) / overlap
            out[i] = at(stage - 1, i) * (1 - w) + out[i] * w
    fade = max(rate * 15 // 4000, 1)
    step = pcm[-1] - bases[0][-1]
    return np.asarray(out + step * np.clip(1 - (np.arange(n) + 0.5) / fade, 0, 1))


def gain(n: int, rate: int, per_ten_ms: float) -> Samples:
    return np.clip(1 - per_ten_ms * (np.arange(n) - rate // 100).clip(0) / (rate / 100), 0, 1)


def conceal(before: npt.NDArray[Any], n: int, rate: int = 8000, following: npt.NDArray[Any] | None = None) -> Samples:
    """Fill a hole of ``n`` samples, without comfort noise."""
    history = np.concatenate([np.zeros(rate), before.astype(np.float64)])[-3 * (rate // 50) :]
    shortest, longest = rate // 200, rate * 15 // 1000
    period = best_lag(history, rate // 100, shortest, longest)
    back = 0
    if following is not None:
        after = following[: rate // 50][::-1].astype(np.float64)
        if len(after) == rate // 50:
            back = best_lag(after, rate // 200, shortest, longest)
        elif len(after) >= rate // 100:
            back = min(period, len(after))
    bridged = rate * 120 // 1000
    envelope = gain(n, rate, 0.1 if back and n <= bridged else 0.2)
    out = extrapolated(history, n, rate, period, True, max(period // 4, 1)) * envelope
    if back:
        overlap = max(back // 4, 1)
        overlap = overlap if back + overlap <= len(after) else 0
        other = (extrapolated(after, n, rate, back, False, overlap) * envelope)[::-1]
        join = min(n, bridged)
        rise = (np.arange(join) + 0.5) / join
        out[n - join :] = out[n - join :] * (1 - rise) + other[n - join :] * rise
    return out
