from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.backoff import delay, parse_retry_after, retry_after_of
from gcmedia.config import ReconnectConfig

NOON = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7


@given(st.integers(0, 5000), st.integers(), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_delay_keeps_to_its_bounds(attempt: int, seed: int, low: float, retry_after: float | None) -> None:
    config = ReconnectConfig(base_s=1.0, factor=2.0, cap_s=30.0, jitter_low=low)
    wait = delay(config, attempt, random.Random(seed), retry_after)
    ceiling = 30.0 if attempt > 4 else 2.0**attempt
    floor = ceiling * low
    assert wait >= (retry_after or 0.0)
    assert floor - 1e-9 <= wait <= max(ceiling, retry_after or 0.0) + 1e-9


def test_delays_without_jitter_double_up_to_the_cap() -> None:  # 003-15
    config = ReconnectConfig(jitter_low=1.0)
    assert [delay(config, n, random.Random(0)) for n in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_delay_is_the_same_for_the_same_seed() -> None:
    config = ReconnectConfig()
    first, second = random.Random(7), random.Random(7)
    assert [delay(config, n, first) for n in range(9)] == [delay(config, n, second) for n in range(9)]


def test_delay_of_an_absurd_attempt_is_finite() -> None:
    config = ReconnectConfig(factor=10.0, jitter_low=1.0)
    assert delay(config, 1_000_000, random.Random(0)) == 30.0
    assert delay(ReconnectConfig(base_s=0.0, factor=10.0), 1_000_000, random.Random(0)) == 0.0


def test_delay_refuses_a_negative_attempt() -> None:
    with pytest.raises(ValueError, match="-1"):
        delay(ReconnectConfig(), -1, random.Random(0))


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        pytest.param("120", 120.0, id="RFC 9110 10.2.3 seconds"),
        pytest.param(" 7 ", 7.0, id="blanks"),
        pytest.param("0", 0.0, id="zero"),
        pytest.param("-5", 0.0, id="negative"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", 100.0, id="IMF-fixdate"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", 100.0, id="RFC 850"),
        pytest.param("Sun Nov  6 08:49:37 1994", 100.0, id="asctime"),
        pytest.param("Sun, 06 Nov 1994 08:40:00 GMT", 0.0, id="past"),
        pytest.param("soon", None, id="word"),
        pytest.param("1.5", None, id="fraction"),
        pytest.param("\u0661\u0662", None, id="digits of another script"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="absent"),
        pytest.param("9" * 5000, math.inf, id="beyond a float"),
    ],
)
def test_retry_after(field: str | None, seconds: float | None) -> None:  # 004-07
    assert parse_retry_after(field, NOON - 100.0) == seconds


@given(st.text())
def test_retry_after_never_raises(field: str) -> None:
    seconds = parse_retry_after(field, NOON)
    assert seconds is None or seconds >= 0.0


@given(st.integers(0, 100_000))
def test_retry_after_date_is_measured_by_the_servers_own_clock(seconds: int) -> None:
    headers = {
        "Date": "Sun, 06 Nov 1994 08:49:37 GMT",
        "Retry-After": format_datetime(datetime.fromtimestamp(NOON + seconds, UTC), usegmt=True),
    }
    assert retry_after_of(headers, NOON + 3600.0) == seconds
    assert retry_after_of(headers, NOON - 3600.0) == seconds
