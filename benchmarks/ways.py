"""A stream of packets through a receiver, each way that the benchmarks of whole paths time."""

from __future__ import annotations

from typing import Any

import gcmedia

Items = list[tuple[Any, float]]  # packets, or batches of them, and when they come


def as_frames(receiver: gcmedia.Receiver, items: Items, batches: bool = False) -> list[gcmedia.Frame]:
    """All frames, each taken when its packet, or its batch, has come."""
    out: list[gcmedia.Frame] = []
    push: Any = receiver.push_many if batches else receiver.push
    frames, keep = receiver.frames, out.extend
    for what, now in items:
        push(what, now)
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
