"""A clock for tests that hurry on a busy machine."""

from __future__ import annotations

from contextlib import AbstractContextManager

import anyio

from gcmedia.clock import ScaledClock

__all__ = ["HurriedClock"]

#: No timer that a test sets for this clock is as short.
GUARD_S = 15.0


class HurriedClock(ScaledClock):
    """Its waits hurry; limits that tests leave as they are by default, 15 s or less, are a minute of the world's.

    Such a limit ends what hangs.  Hurried, it would end what is merely slow: a token request in 30 ms.
    """

    def real(self, seconds: float) -> float:
        """As for any clock, but for limits."""
        return 60.0 if 0.0 < seconds <= GUARD_S else super().real(seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        await anyio.sleep(max(0.0, super().real(seconds)))

    def fail_after(self, seconds: float) -> AbstractContextManager[anyio.CancelScope]:
        """A limit."""
        return anyio.fail_after(self.real(seconds))

    def move_on_after(self, seconds: float) -> anyio.CancelScope:
        """Wait with an end, which is no limit: hurried."""
        return anyio.move_on_after(super().real(seconds))
