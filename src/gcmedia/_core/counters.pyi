from collections.abc import Iterable

from .jitter import JitterBuffer
from .receiver import Receiver

COUNTERS: tuple[str, ...]

def read_counters(streams: Iterable[Receiver | JitterBuffer]) -> bytes: ...
