"""Durations of the wire: the published validator and parser, and exact samples."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import FormatError
from gcmedia.dialects.audiohook.durations import (
    format_samples,
    format_seconds,
    parse_samples,
    parse_seconds,
)

from .recorded import vectors

VECTORS = [tuple(row) for row in vectors("durations")]
TOO_LONG = "PT123456789012345678901234567890S"


@pytest.mark.parametrize(("text", "valid", "nanoseconds"), VECTORS, ids=[repr(row[0]) for row in VECTORS])
def test_published_durations(text: str, valid: bool, nanoseconds: float | None) -> None:
    """What the published validator takes is read, but for an absurd one; what neither takes is refused."""
    if nanoseconds is not None:
        assert parse_seconds(text) == pytest.approx(nanoseconds / 1e9, rel=1e-15)
        assert parse_samples(text, 8000) == round(Fraction(nanoseconds) * 8000 / 10**9)
    elif valid and text != TOO_LONG:
        assert parse_seconds(text) > 1e6
    else:
        with pytest.raises(FormatError, match="duration is"):
            parse_samples(text)


@pytest.mark.parametrize(
    ("n_samples", "text"),
    [
        (0, "PT0S"),
        (1, "PT0.000125S"),
        (3, "PT0.000375S"),
        (160, "PT0.02S"),
        (1600, "PT0.2S"),
        (8001, "PT1.000125S"),
        (28_800_000, "PT3600S"),
    ],
)
def test_samples_are_written_exactly(n_samples: int, text: str) -> None:
    assert format_samples(n_samples) == text
    assert parse_samples(text) == n_samples


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(500e-9, "PT0.0000005S"), (1e-6, "PT0.000001S"), (0.001270466, "PT0.001270466S"), (60.0, "PT60S"), (0.0, "PT0S")],
)
def test_seconds_are_written_in_plain_decimals(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
    assert parse_seconds(text) == seconds


@given(st.integers(0, 2**44), st.sampled_from([8000, 16_000, 11_000, 48_000]))
def test_samples_come_back_as_they_were(n_samples: int, sample_rate: int) -> None:
    text = format_samples(n_samples, sample_rate)
    assert parse_samples(text, sample_rate) == n_samples
    assert text.isascii()
    assert "e" not in text


@given(st.integers(0, 10**9), st.text("0123456789", max_size=20), st.sampled_from([8000, 48_000]))
def test_fractions_are_rounded_to_the_nearest_sample(whole: int, fraction: str, sample_rate: int) -> None:
    exact = (whole + Fraction(int(fraction or 0), 10 ** len(fraction))) * sample_rate
    samples = parse_samples(f"PT{whole}.{fraction}S", sample_rate)
    assert abs(samples - exact) <= Fraction(1, 2)


@given(st.text(max_size=80) | st.from_regex(r"PT[0-9.]{0,70}S", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        n_samples = parse_samples(text)
    except FormatError:
        return
    assert n_samples >= 0


def test_nothing_is_less_than_0() -> None:
    with pytest.raises(ValueError, match="less than 0"):
        format_samples(-1)
