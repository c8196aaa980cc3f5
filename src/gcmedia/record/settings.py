"""How a call is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["RecordConfig"]


@dataclass(frozen=True, slots=True)
class RecordConfig:
    """How a call is recorded.

    Attributes
    ----------
    encoding : str
        Of the raw track: ``"L16"``, or ``"received"``, which keeps PCMU and PCMA as they are (of the two octets that
        mean zero one remains, and made-up samples are rounded to the law).  The cleaned track is always L16.
    layout : str
        ``"apart"``: a file a channel; ``"interleaved"``: one file with all channels.
    clean : bool
        Whether the cleaned track is recorded too, where there is a gate or a compressor.
    flush_s : float
        Seconds between writes and header updates, at most 1: what a process that dies may lose.
    sync_s : float or None
        Seconds between ``fdatasync``: what a machine that dies may lose; None leaves it to the kernel till the end.
    rotate_s : float or None
        Seconds of audio after which a track goes on in another file, ``raw-NAME.2.wav`` and so on; None for never.
    rotate_octets : int or None
        Octets of audio after which it does so; None for never.
    """

    encoding: str = "L16"
    layout: str = "apart"
    clean: bool = True
    flush_s: float = 0.95
    sync_s: float | None = None
    rotate_s: float | None = None
    rotate_octets: int | None = None

    def __post_init__(self) -> None:
        if self.encoding not in ("L16", "received"):
            raise ConfigError(f"encoding is {self.encoding!r}, not 'L16' or 'received'")
        if self.layout not in ("apart", "interleaved"):
            raise ConfigError(f"layout is {self.layout!r}, not 'apart' or 'interleaved'")
        if not 0.0 <= self.flush_s <= 1.0:
            raise ConfigError(f"flush_s is {self.flush_s} s, not in [0, 1]")
        if self.sync_s is not None and not 0.0 <= self.sync_s <= 86_400.0:
            raise ConfigError(f"sync_s is {self.sync_s} s, not in [0, 86400]")
        if self.rotate_s is not None and not 1.0 <= self.rotate_s <= 10_000_000.0:
            raise ConfigError(f"rotate_s is {self.rotate_s} s, not in [1, 10000000]")
        if self.rotate_octets is not None and not 100_000 <= self.rotate_octets <= 1 << 50:
            raise ConfigError(f"rotate_octets is {self.rotate_octets}, not in [100000, {1 << 50}]")
