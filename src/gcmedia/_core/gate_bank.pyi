from typing import Self, final, overload

from gcmedia._core.buffer import _Out, _Readable
from gcmedia.config import GateConfig

@final
class SpectralGateBank:
    def __new__(
        cls,
        n: int,
        sample_rate: int = 8000,
        config: GateConfig | None = None,
        *,
        kind: str = ...,
        floor_db: float = ...,
        reduction_db: float = ...,
        low_delay: bool = ...,
    ) -> Self: ...
    @property
    def config(self) -> GateConfig: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def delay_samples(self) -> int: ...
    def __len__(self) -> int: ...
    @overload
    def process(self, pcm: _Readable, out: None = None) -> bytes: ...
    @overload
    def process(self, pcm: _Readable, out: _Out) -> _Out: ...
    def flush(self) -> bytes: ...
    def reset(self, index: int | None = None) -> None: ...
