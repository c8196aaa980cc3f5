"""Wall time and samples: where on the timeline something was that is told of by the time of day."""

from __future__ import annotations

from bisect import bisect_right

from ..errors import ConfigError

__all__ = ["WallMap"]

WINDOW_MS = 2000.0  # of which one pair is kept
STEP_MS = 10_000.0  # a clock that goes back further was set, and what was known before is void
MAX_PAIRS = 100_000  # some 55 h; then every other one goes


class WallMap:
    """Pairs of wall time and sample position, noted along a call.

    Of each two seconds the pair with the most samples is kept, whose packet came with the least delay.  Clocks that
    drift against the samples, pauses and reconnects are in the pairs.

    Parameters
    ----------
    sample_rate : int
        Hz of the timeline.
    """

    def __init__(self, sample_rate: int) -> None:
        if sample_rate < 1:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, less than 1")
        self.sample_rate = sample_rate
        self._walls: list[float] = []
        self._positions: list[int] = []
        self._window = float("-inf")

    def __len__(self) -> int:
        return len(self._walls)

    def note(self, wall_ms: float, position: int) -> None:
        """At that time (epoch ms) the newest sample received was this one."""
        walls, positions = self._walls, self._positions
        if walls and wall_ms <= walls[-1]:
            if wall_ms > walls[-1] - STEP_MS:
                return
            walls.clear()
            positions.clear()
            self._window = float("-inf")
        if wall_ms < self._window + WINDOW_MS:
            earlier = positions[-1] - walls[-1] * self.sample_rate / 1000
            if position - wall_ms * self.sample_rate / 1000 >= earlier:
                walls[-1], positions[-1] = wall_ms, position
            return
        if len(walls) == MAX_PAIRS:
            del walls[1::2], positions[1::2]
        self._window = wall_ms
        walls.append(wall_ms)
        positions.append(position)

    def position_at(self, wall_ms: float) -> int | None:
        """The sample of that time (epoch ms), None before anything is known; negative before the timeline began."""
        if not self._walls:
            return None
        index = max(0, bisect_right(self._walls, wall_ms) - 1)
        position = self._positions[index] + round((wall_ms - self._walls[index]) * self.sample_rate / 1000)
        if index + 1 < len(self._walls) and wall_ms > self._walls[index]:
            position = min(position, self._positions[index + 1])  # the stream stood still meanwhile
        return position
