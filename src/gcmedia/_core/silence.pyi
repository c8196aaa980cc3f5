from typing import Self, final

from gcmedia._core.buffer import _Readable
from gcmedia.config import SilenceConfig

@final
class SilenceDetector:
    def __new__(
        cls,
        config: SilenceConfig | None = None,
        *,
        threshold: float = ...,
        metric: str = ...,
        window_frames: int = ...,
        hysteresis_db: float = ...,
        hangover_frames: int = ...,
    ) -> Self: ...
    @property
    def config(self) -> SilenceConfig: ...
    @property
    def level_dbov(self) -> float: ...
    @property
    def silent(self) -> bool: ...
    def push(self, pcm: _Readable) -> bool: ...
    def calibrate(self, ambient_pcm: _Readable, margin_db: float = 6.0) -> float: ...
    def reset(self) -> None: ...
