"""Percentiles from buckets, against sorting."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.load import Histogram

seconds = st.one_of(
    st.floats(0, 4000, allow_nan=False),
    st.floats(0, 0.01, allow_nan=False),
    st.integers(0, 2_000).map(lambda ns: ns / 1e9),
    st.integers(0, 41).flatmap(lambda bits: st.integers(-2, 2).map(lambda off: max(0, (1 << bits) + off) / 1e9)),
)


def nearest_rank(values: list[float], percent: float) -> float:
    """The smallest value that is not below that share of all, by sorting."""
    return sorted(values)[max(1, ceil(len(values) * percent / 100)) - 1]


def of(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@given(st.lists(seconds, min_size=1, max_size=200), st.floats(0, 100))
def test_a_percentile_is_at_most_a_128th_above_that_of_sorting(values: list[float], percent: float) -> None:
    found = of(values).percentile(percent)
    exact = nearest_rank(values, percent)
    assert found is not None
    assert exact - 1e-9 <= found <= exact * (1 + 1 / 128) + 1e-9
    assert found <= max(values) + 1e-9


@given(st.lists(seconds, max_size=100), st.lists(seconds, max_size=100), st.floats(0, 100))
def test_two_add_up_to_one_of_all(first: list[float], second: list[float], percent: float) -> None:
    together, apart = of(first + second), of(first)
    apart.merge(Histogram.from_state(of(second).to_state()))
    assert apart.n == together.n == len(first) + len(second)
    assert apart.max_s == together.max_s
    assert apart.percentile(percent) == together.percentile(percent)


@given(st.lists(st.tuples(seconds, st.integers(1, 5)), min_size=1, max_size=50))
def test_counting_a_value_several_times_is_adding_it_so_often(pairs: list[tuple[float, int]]) -> None:
    counted = Histogram()
    for value, count in pairs:
        counted.add(value, count)
    each = of([value for value, count in pairs for _ in range(count)])
    assert counted.as_dict() == each.as_dict()


def test_none_has_no_percentile_and_a_wrong_one_is_refused() -> None:
    assert Histogram().percentile(50) is None
    assert Histogram().as_dict()["max_ms"] is None
    with pytest.raises(ValueError, match=r"percent is 101, not in \[0, 100\]"):
        of([1.0]).percentile(101)


def test_negative_and_endless_times_are_kept_within_bounds() -> None:
    made = of([-1.0, 1e12])
    assert made.percentile(0) == 0.0
    assert made.max_s == pytest.approx((1 << 42) / 1e9)
