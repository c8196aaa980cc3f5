from collections.abc import Iterable

from .jitter import JitterBuffer
from .receiver import Receiver
from .stream import StreamReceiver

COUNTERS: tuple[str, ...]

def read_counters(streams: Iterable[Receiver | StreamReceiver | JitterBuffer], levels: bool = False) -> bytes: ...
def tally_counters(
    streams: list[Receiver | StreamReceiver | JitterBuffer],
    groups: list[int],
    n_groups: int,
    jitter_bounds: tuple[float, ...],
    loss_bounds: tuple[float, ...],
) -> bytes: ...
