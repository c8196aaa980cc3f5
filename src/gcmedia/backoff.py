"""How long to wait before trying again: a pure policy, and the reading of Retry-After."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from .config import ReconnectConfig

__all__ = ["delay", "parse_http_date", "parse_retry_after", "retry_after_of"]

_WHOLE_SECONDS = re.compile(r"([+-]?)([0-9]+)", re.ASCII)


def delay(config: ReconnectConfig, attempt: int, rng: random.Random, retry_after: float | None = None) -> float:
    """Wait before the next attempt.

    Parameters
    ----------
    config : ReconnectConfig
        First wait, growth, ceiling and jitter.
    attempt : int
        How many attempts in a row have failed before, from 0.
    rng : random.Random
        Source of the jitter; seeded, it gives the same waits again.
    retry_after : float, optional
        Seconds that the server asked for.  The result is never less.

    Returns
    -------
    float
        Seconds: ``min(base_s * factor**attempt, cap_s)`` times a share drawn from ``[jitter_low, 1]``, or
        ``retry_after`` when that is longer.

    Raises
    ------
    ValueError
        If ``attempt`` is negative.
    """
    if attempt < 0:
        raise ValueError(f"attempt is {attempt}, less than 0")
    try:
        ceiling = min(config.base_s * config.factor**attempt, config.cap_s)
    except OverflowError:  # factor**attempt is beyond a float, so beyond the cap too, unless nothing is to grow
        ceiling = config.cap_s if config.base_s > 0.0 else 0.0
    wait = ceiling * rng.uniform(config.jitter_low, 1.0)
    return wait if retry_after is None else max(wait, retry_after)


def parse_http_date(value: str) -> float | None:
    """Unix time of an HTTP-date in any of its three forms (RFC 9110 section 5.6.7), or None."""
    try:
        moment = parsedate_to_datetime(value)
        # The asctime form names no zone; it is in UTC like the others.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_retry_after(value: str | None, wall_now: float) -> float | None:
    """Read a ``Retry-After`` field (RFC 9110 section 10.2.3).

    Parameters
    ----------
    value : str or None
        The field: whole seconds or an HTTP-date.
    wall_now : float
        Unix time against which a date is read: the answer's own ``Date`` when it has one.

    Returns
    -------
    float or None
        Seconds to wait; 0 for a moment gone by or a negative number; None when there is nothing to read.
    """
    if value is None:
        return None
    text = value.strip()
    if number := _WHOLE_SECONDS.fullmatch(text):
        return 0.0 if number[1] == "-" else float(number[2])
    moment = parse_http_date(text)
    return None if moment is None else max(0.0, moment - wall_now)


def retry_after_of(headers: Mapping[str, str], wall_now: float) -> float | None:
    """Seconds that the ``Retry-After`` among ``headers`` asks for, or None.

    A date is measured against the ``Date`` of the same answer, if it has one, so that a difference between
    the two machines' clocks neither shortens nor stretches the wait.
    """
    sent = headers.get("Date")
    moment = parse_http_date(sent) if sent else None
    return parse_retry_after(headers.get("Retry-After"), wall_now if moment is None else moment)
