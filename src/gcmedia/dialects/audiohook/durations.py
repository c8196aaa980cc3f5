"""Durations and positions as AudioHook writes them: ``PT1.5S``, seconds only, never negative.

Inside, a position is a whole number of samples, so that nothing is ever rounded twice.
"""

from __future__ import annotations

import re

from ...errors import FormatError

__all__ = ["format_samples", "format_seconds", "parse_samples", "parse_seconds"]

NANO = 1_000_000_000
MAX_TEXT = 64  # characters; a longer one is no duration that anybody means
MAX_DURATION_S = 1 << 32  # a century and more

_DURATION = re.compile(r"PT(?=[0-9.]*[0-9])([0-9]*)(?:\.([0-9]*))?S", re.ASCII)


def _split(text: str) -> tuple[int, int, int]:
    """Whole seconds, and the fraction as numerator and denominator."""
    match = _DURATION.fullmatch(text) if len(text) <= MAX_TEXT else None
    if match is None:
        quoted = text[:MAX_TEXT] + "..." * (len(text) > MAX_TEXT)
        raise FormatError(f"duration is {quoted!r}, not PT<seconds>S")
    whole, fraction = int(match[1] or 0), match[2] or ""
    if whole > MAX_DURATION_S:
        raise FormatError(f"duration is {text!r}, more than {MAX_DURATION_S} s")
    return whole, int(fraction or 0), 10 ** len(fraction)


def parse_samples(text: str, sample_rate: int = 8000) -> int:
    """Read a duration as samples, rounded to the nearest.

    Parameters
    ----------
    text : str
        ``PT<seconds>S``; digits may be missing on one side of the point.
    sample_rate : int
        Hz.

    Raises
    ------
    FormatError
        If it is no such duration, or longer than 2**32 s.
    """
    whole, numerator, denominator = _split(text)
    return whole * sample_rate + (2 * numerator * sample_rate + denominator) // (2 * denominator)


def parse_seconds(text: str) -> float:
    """Read a duration as seconds; see `parse_samples`."""
    whole, numerator, denominator = _split(text)
    return whole + numerator / denominator


def format_samples(n_samples: int, sample_rate: int = 8000) -> str:
    """Write a number of samples as a duration, exact to the nanosecond, in plain decimals."""
    return _format((2 * n_samples * NANO + sample_rate) // (2 * sample_rate))


def format_seconds(seconds: float) -> str:
    """Write seconds as a duration, rounded to the nanosecond, in plain decimals."""
    return _format(round(seconds * NANO))


def _format(nanoseconds: int) -> str:
    if nanoseconds < 0:
        raise ValueError(f"duration is {nanoseconds} ns, less than 0")
    whole, fraction = divmod(nanoseconds, NANO)
    return f"PT{whole}.{fraction:09d}".rstrip("0").rstrip(".") + "S" if fraction else f"PT{whole}S"
