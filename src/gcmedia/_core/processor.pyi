from typing import Self, final

from gcmedia.config import CompressorConfig, GateConfig, SilenceConfig

@final
class Channel:
    def __new__(
        cls,
        sample_rate: int,
        conceal: str,
        silence: SilenceConfig | None,
        gate: GateConfig | None,
        compressor: CompressorConfig | None,
    ) -> Self: ...

@final
class Processor:
    @property
    def encoding(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def n_channels(self) -> int: ...
    @property
    def frame_samples(self) -> int: ...
    @property
    def delay_samples(self) -> int: ...
    def __new__(
        cls,
        encoding: str = "PCMU",
        sample_rate: int = 8000,
        n_channels: int = 1,
        *,
        frame_ms: int = 20,
        conceal: str = "pitch",
        silence: SilenceConfig | None = None,
        gate: GateConfig | None = None,
        compressor: CompressorConfig | None = None,
    ) -> Self: ...
