"""Options that several commands have: how calls are recorded."""

from __future__ import annotations

from typing import Annotated

import typer

from ..record import RecordConfig
from .units import octets

__all__ = ["AsReceived", "Interleaved", "Rotate", "RotateSize", "Sync", "recording_of"]

Interleaved = Annotated[bool, typer.Option("--interleaved", help="One file with all channels.")]
AsReceived = Annotated[
    bool, typer.Option("--as-received", help="Keep PCMU and PCMA in the raw track, instead of 16-bit.")
]
Sync = Annotated[float | None, typer.Option(help="Seconds between fdatasync; else when the kernel likes.")]
Rotate = Annotated[float | None, typer.Option(help="Seconds of audio after which a new file begins.")]
RotateSize = Annotated[str, typer.Option(help="Size from which on a new file begins: 500M, 2GiB.")]


def recording_of(
    interleaved: bool, as_received: bool, sync: float | None, rotate: float | None, rotate_size: str
) -> RecordConfig:
    """What these options ask for."""
    return RecordConfig(
        encoding="received" if as_received else "L16",
        layout="interleaved" if interleaved else "apart",
        sync_s=sync,
        rotate_s=rotate,
        rotate_octets=octets(rotate_size) if rotate_size else None,
    )
