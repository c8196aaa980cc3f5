from typing import Self, final, overload

from gcmedia._core.buffer import _Out, _Readable
from gcmedia.config import CompressorConfig

@final
class Compressor:
    def __new__(
        cls,
        sample_rate: int = 8000,
        config: CompressorConfig | None = None,
        *,
        threshold_db: float = ...,
        knee_db: float = ...,
        ratio: float = ...,
        attack_s: float = ...,
        release_s: float = ...,
        makeup_db: float | None = ...,
        lookahead_s: float = ...,
    ) -> Self: ...
    @property
    def config(self) -> CompressorConfig: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def delay_samples(self) -> int: ...
    @property
    def makeup_db(self) -> float: ...
    @overload
    def process(self, pcm: _Readable, out: None = None) -> bytes: ...
    @overload
    def process(self, pcm: _Readable, out: _Out) -> _Out: ...
    def flush(self) -> bytes: ...
    def reset(self) -> None: ...
