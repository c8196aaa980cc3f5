"""Ages and sizes as people write them."""

from __future__ import annotations

import re

from ..errors import ConfigError

__all__ = ["age_s", "octets"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_OCTETS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def age_s(text: str) -> float:
    """``30d``, ``12h``, ``45m``, ``90s`` or ``2w`` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    if match is None:
        raise ConfigError(f"{text!r} is no age like 30d, 12h, 45m or 90s")
    return float(match[1]) * _SECONDS[match[2]]


def octets(text: str) -> int:
    """``500M``, ``20G``, ``1T`` (powers of 1000), ``4GiB`` (of 1024), or plain octets."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?|[kmg]i)b?", text.strip().lower())
    if match is None:
        raise ConfigError(f"{text!r} is no size like 500M, 20G or 4GiB")
    return int(float(match[1]) * _OCTETS[match[2]])
