"""The edge's only source of time: a clock that can be handed in, and one that runs faster than the world."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

import anyio

from .errors import ConfigError

__all__ = ["Clock", "Deadline", "ScaledClock"]


class Clock:
    """Monotonic seconds, and waiting in the same seconds.

    Everything at the edge that measures or waits asks a clock, so a test may hand in one that it moves by
    hand (override :meth:`now` and :meth:`sleep`), and a demonstration one that hurries.

    Attributes
    ----------
    speed : float
        Seconds of this clock in one real second.
    """

    speed: float = 1.0

    #: ``now()``: seconds since an arbitrary origin; never goes back.  As it is, as every message asks for it.
    now = staticmethod(time.monotonic)

    def wall(self) -> float:
        """Seconds of Unix time, unscaled: for display and HTTP dates, never for durations."""
        return time.time()

    def real(self, seconds: float) -> float:
        """Length in real seconds of ``seconds`` of this clock, for timers that belong to a library."""
        return seconds / self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock; 0 or less is a checkpoint."""
        await anyio.sleep(max(0.0, self.real(seconds)))

    def fail_after(self, seconds: float) -> AbstractContextManager[anyio.CancelScope]:
        """Context manager that cancels its body after ``seconds`` and raises ``TimeoutError``."""
        return anyio.fail_after(self.real(seconds))

    def move_on_after(self, seconds: float) -> anyio.CancelScope:
        """Context manager that cancels its body after ``seconds`` and goes on behind it."""
        return anyio.move_on_after(self.real(seconds))

    def deadline(self, seconds: float) -> Deadline:
        """The moment ``seconds`` from now, to be asked how much is left."""
        return Deadline(self, self.now() + seconds)


class ScaledClock(Clock):
    """A clock of which ``speed`` seconds pass in one real second.

    Parameters
    ----------
    speed : float
        More than 0; 8 plays a minute in 7.5 s.

    Raises
    ------
    ConfigError
        If ``speed`` is not in (0, 10000].
    """

    def __init__(self, speed: float) -> None:
        if not 0.0 < speed <= 10_000.0:
            raise ConfigError(f"speed is {speed}, not in (0, 10000]")
        self.speed = speed
        self._origin = time.monotonic()

    def now(self) -> float:
        """Seconds since an arbitrary origin; never goes back."""
        return self._origin + (time.monotonic() - self._origin) * self.speed


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a clock.

    Attributes
    ----------
    clock : Clock
        Where the moment is read.
    at : float
        The moment, in the seconds of that clock.
    """

    clock: Clock
    at: float

    @property
    def remaining(self) -> float:
        """Seconds left, never less than 0."""
        return max(0.0, self.at - self.clock.now())

    @property
    def expired(self) -> bool:
        """Whether the moment has come."""
        return self.clock.now() >= self.at
