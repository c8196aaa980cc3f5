from typing import Self, final, overload

from gcmedia._core.buffer import _Out, _Readable
from gcmedia.config import LoudnessConfig

@final
class LoudnessNormalizer:
    def __new__(
        cls,
        sample_rate: int = 8000,
        config: LoudnessConfig | None = None,
        *,
        target_dbov: float = ...,
        max_gain_db: float = ...,
        max_cut_db: float = ...,
        rise_db_per_s: float = ...,
        fall_db_per_s: float = ...,
        ceiling_dbov: float = ...,
    ) -> Self: ...
    @property
    def config(self) -> LoudnessConfig: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def delay_samples(self) -> int: ...
    @property
    def gain_db(self) -> float: ...
    @property
    def speech_dbov(self) -> float: ...
    @overload
    def process(self, pcm: _Readable, out: None = None) -> bytes: ...
    @overload
    def process(self, pcm: _Readable, out: _Out) -> _Out: ...
    def flush(self) -> bytes: ...
    def reset(self) -> None: ...
