"""Durations counted in buckets: percentiles of millions of them in a few kilobytes, and exact to add up."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Self

__all__ = ["Histogram"]

SUB_BITS = 7
SUB = 1 << SUB_BITS  # buckets in each doubling, so a percentile is less than 1/128 too high
MAX_NS = 1 << 42  # an hour and more; longer ones count as this


class Histogram:
    """Counts of durations.

    Buckets are one nanosecond wide up to 256 ns, from there on 1/128 of the power of two below.  Two histograms add up
    to the one that all their values together would have made, so workers may count apart.

    Attributes
    ----------
    n : int
        How many values.
    max_s : float
        The largest one, exactly; 0 without any.
    """

    __slots__ = ("_counts", "_max_ns", "n")

    def __init__(self) -> None:
        self.n = 0
        self._max_ns = 0
        self._counts: dict[int, int] = {}

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a value, ``count`` times; a negative one is 0."""
        value = int(seconds * 1e9)
        if value < 0:
            value = 0
        elif value > MAX_NS:
            value = MAX_NS
        if value > self._max_ns:
            self._max_ns = value
        shift = value.bit_length() - SUB_BITS - 1
        index = value if shift <= 0 else (shift << SUB_BITS) + (value >> shift)
        counts = self._counts
        counts[index] = counts.get(index, 0) + count
        self.n += count

    def merge(self, other: Histogram) -> None:
        """Add another one's values."""
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self.n += other.n
        self._max_ns = max(self._max_ns, other._max_ns)

    @property
    def max_s(self) -> float:
        """The largest value, in seconds."""
        return self._max_ns / 1e9

    def percentile(self, percent: float) -> float | None:
        """The smallest value that is not below ``percent`` of all, in seconds (nearest rank); None without any.

        What is returned is the upper end of its bucket, and never more than the largest value.

        Raises
        ------
        ValueError
            If ``percent`` is not in [0, 100].
        """
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"percent is {percent}, not in [0, 100]")
        if self.n == 0:
            return None
        rank = max(1, ceil(self.n * percent / 100.0))
        seen = 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= rank:
                return min(_upper_ns(index), self._max_ns) / 1e9
        raise AssertionError("counts are fewer than n")

    def as_dict(self) -> dict[str, Any]:
        """Count, percentiles and maximum, in milliseconds."""
        found: dict[str, Any] = {"n": self.n}
        for percent in (50, 90, 99, 99.9):
            value = self.percentile(percent)
            found[f"p{percent}_ms"] = None if value is None else round(value * 1e3, 3)
        found["max_ms"] = round(self.max_s * 1e3, 3) if self.n else None
        return found

    def to_state(self) -> dict[str, Any]:
        """All there is, as plain values for another process."""
        return {"max_ns": self._max_ns, "counts": list(self._counts.items())}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The histogram of `to_state`."""
        made = cls()
        made._max_ns = state["max_ns"]
        made._counts = dict(state["counts"])
        made.n = sum(made._counts.values())
        return made


def _upper_ns(index: int) -> int:
    if index < 2 * SUB:
        return index
    shift = (index >> SUB_BITS) - 1
    return (((index & (SUB - 1)) + SUB + 1) << shift) - 1
