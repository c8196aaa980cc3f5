"""What the page is sent: small messages one behind the other in the body of one response.

    kind, 1 octet | length, 3 octets, big-endian | payload

Numbers within payloads are little-endian.  docs/monitor.md has the table.
"""

from __future__ import annotations

import struct
from typing import Any

from ..record.lines import to_json

__all__ = ["AUDIO", "COLUMNS", "HISTORY", "POINT", "ROWS", "TEXT", "column_message", "message", "point", "row", "text"]

TEXT = 1  # JSON
ROWS = 2  # of the fleet, one a call
COLUMNS = 3  # of a call, one a 40 ms and channel
POINT = 4  # of a call's buffer and network
HISTORY = 5  # a minute of loss and jitter of one call
AUDIO = 6  # PCMU

UNKNOWN = 255  # jitter of a second of which nothing is known

STATES = ("other", "live", "paused", "reconnecting", "ended", "failed")

_HEAD = struct.Struct(">I")
_ROW = struct.Struct("<IBBBBBBBB")
_POINT = struct.Struct("<IBBHH")
_COLUMNS = struct.Struct("<I")


def message(kind: int, payload: bytes) -> bytes:
    """Frame a payload."""
    return _HEAD.pack(kind << 24 | len(payload)) + payload


def text(value: Any) -> bytes:
    """A JSON message; what JSON cannot hold becomes null."""
    return message(TEXT, to_json(value))


def loss_code(loss: float) -> int:
    """Steps of 0.2 %."""
    return max(0, min(255, round(loss * 500)))


def jitter_code(jitter_s: float) -> int:
    """Steps of 0.5 ms; `UNKNOWN` is none of them."""
    return max(0, min(UNKNOWN - 1, round(jitter_s * 2000)))


def row(
    number: int, state: str, n_channels: int, levels: tuple[int, int], loss: int, jitter: int, depth: int, target: int
) -> bytes:
    """One call of the fleet: 12 octets."""
    code = STATES.index(state) if state in STATES else 0
    return _ROW.pack(
        number & 0xFFFFFFFF, code, n_channels, *levels, loss, jitter, max(0, min(depth, 255)), max(0, min(target, 255))
    )


def point(position_ms: int, depth: int, target: int, jitter_s: float, loss: float) -> bytes:
    """State of buffer and network at a position: 10 octets; jitter in 0.1 ms, loss in 0.01 %."""
    return message(
        POINT,
        _POINT.pack(
            position_ms & 0xFFFFFFFF,
            max(0, min(depth, 255)),
            max(0, min(target, 255)),
            max(0, min(65_535, round(jitter_s * 10_000))),
            max(0, min(10_000, round(loss * 10_000))),
        ),
    )


def column_message(first: int, octets: bytes) -> bytes:
    """Columns of a call from ``first`` on."""
    return message(COLUMNS, _COLUMNS.pack(first & 0xFFFFFFFF) + octets)
