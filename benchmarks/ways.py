"""A stream of packets through a receiver, each way that the benchmarks of whole paths time."""

from __future__ import annotations

from typing import Any

import gcmedia

Items = list[tuple[bytes, float]]  # packets and when they come


def as_frames(receiver: gcmedia.Receiver, items: Items) -> list[gcmedia.Frame]:
    """All frames, each taken when its packet has come."""
    out: list[gcmedia.Frame] = []
    push, frames, keep = receiver.push, receiver.frames, out.extend
    for packet, now in items:
        push(packet, now)
        keep(frames(now))
    receiver.flush()
    keep(frames(60.0))
    return out


def into_buffer(receiver: Any, items: Items, out: bytearray) -> int:
    """Frames into the same buffer again and again; how many samples have been there."""
    push, written = receiver.push_into, 0
    for packet, now in items:
        written += push(packet, now, out)
    receiver.flush()
    return written + int(receiver.read_into(out, 60.0))
