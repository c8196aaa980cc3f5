"""What recordings are passed through."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import __version__
from ..config import CompressorConfig, GateConfig, SilenceConfig
from ..errors import ConfigError

__all__ = ["ProcessConfig"]


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """Stages of processing; the defaults are those of a capture with a gate.

    Attributes
    ----------
    gate : GateConfig or None
        Noise gate; None for none.
    compressor : CompressorConfig or None
        Compressor behind it; None for none.
    silence : SilenceConfig
        When a frame counts as silent.
    sample_rate : int or None
        Hz to resample to, behind all else, as `gcmedia.Resampler` does it (extra ``dsp``); None keeps that of the
        file.
    split : bool
        Whether the channels of a file go to files of their own.
    """

    gate: GateConfig | None = field(default_factory=GateConfig)
    compressor: CompressorConfig | None = None
    silence: SilenceConfig = field(default_factory=SilenceConfig)
    sample_rate: int | None = None
    split: bool = False

    def __post_init__(self) -> None:
        if self.sample_rate is not None:
            from ..resample import RATES  # which takes numpy

            if self.sample_rate not in RATES:
                raise ConfigError(f"sample_rate is {self.sample_rate} Hz, not one of {', '.join(map(str, RATES))}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings and of the version that carries them out: equal ones give equal results."""
        text = json.dumps(self.as_dict() | {"version": __version__}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
