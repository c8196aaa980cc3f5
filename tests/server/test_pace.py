"""What clients are sent, and when: time is an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.errors import ConfigError
from gcmedia.server import ServerConfig
from gcmedia.server.bucket import TokenBucket


@given(st.lists(st.floats(0.0, 2.0), max_size=200))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(gaps: list[float]) -> None:
    bucket = TokenBucket(5.0, 25.0, 0.0)
    now, given_at = 0.0, []
    for gap in gaps:
        now += gap
        while bucket.take(now):
            given_at.append(now)
    for first in range(len(given_at)):
        for last in range(first, len(given_at)):
            assert last - first + 1 <= 25.0 + 5.0 * (given_at[last] - given_at[first]) + 1e-6


def test_a_bucket_that_is_empty_tells_how_long_to_wait() -> None:
    bucket = TokenBucket(5.0, 2.0, 10.0)
    assert bucket.take(10.0)
    assert bucket.take(10.0)
    assert not bucket.take(10.0)
    assert bucket.wait_s(10.0) == pytest.approx(0.2)
    assert bucket.take(10.21)
    assert not bucket.take(10.21)


def test_what_must_not_wait_is_counted_but_never_beyond_a_burst() -> None:
    bucket = TokenBucket(1.0, 3.0, 0.0)
    for _ in range(100):
        bucket.charge(0.0)
    assert not bucket.ready(3.9)
    assert bucket.ready(4.1)


def test_a_hold_is_kept_even_with_tokens() -> None:
    bucket = TokenBucket(5.0, 25.0, 0.0)
    bucket.hold(3.0, 0.0)
    bucket.hold(1.0, 0.5)  # a shorter one does not cut it
    assert not bucket.take(2.9)
    assert bucket.wait_s(1.0) == pytest.approx(2.0)
    assert bucket.take(3.0)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"overflow": "wait"}, "would hold back the pings"),
        ({"overflow": "drop"}, "not one of"),
        ({"max_sessions": 0}, "max_sessions is 0"),
        ({"burst": 0.5}, "burst is 0.5"),
        ({"drain_s": float("nan")}, "drain_s is nan"),
        ({"on_handler_error": "panic"}, "not one of auto, continue, disconnect"),
    ],
)
def test_settings_out_of_range_are_named(setting: dict[str, float], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        ServerConfig(**setting)  # type: ignore[arg-type]
