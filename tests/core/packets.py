"""Packets of known content for the tests of the core."""

from __future__ import annotations

import array
import struct
import sys

FULL = 1 << 32


def packet(number: int, timestamp: int, payload: bytes, layout: str = "padded16") -> bytes:
    """Header and audio as on the wire."""
    form = "<I4xq" if layout == "padded16" else "<Iq"
    return struct.pack(form, number % FULL, timestamp) + payload


def constant(value: int, n_samples: int) -> bytes:
    """int16 samples of one value, little-endian."""
    samples = array.array("h", [value]) * n_samples
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
