from collections.abc import Callable
from typing import Any, final

from typing_extensions import Buffer

from .stream import StreamReceiver

@final
class Intake:
    receiver: StreamReceiver
    on_ready: Callable[[], object] | None
    otherwise: Callable[[Any], object] | None
    on_error: Callable[[Exception], object] | None
    block_octets: int
    max_octets: int
    enough: int
    @property
    def n_payloads(self) -> int: ...
    @property
    def n_octets(self) -> int: ...
    def __new__(cls, receiver: StreamReceiver) -> Intake: ...
    def __call__(self, payload: Buffer) -> None: ...
    def settle(self) -> tuple[int, int]: ...
