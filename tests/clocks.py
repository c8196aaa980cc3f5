"""A clock for tests that hurry on a busy machine."""

from __future__ import annotations

from contextlib import AbstractContextManager

import anyio

from gcmedia.clock import ScaledClock

__all__ = ["HurriedClock"]

#: No limit that a test sets for this clock is as short.
DEFAULT_S = 15.0


class HurriedClock(ScaledClock):
    """Its waits are short; limits that a test leaves at their defaults, 15 s or less, are a minute of the world's.

    Such a limit ends what hangs.  Hurried, it would end what is merely slow: a token request in 30 ms.
    """

    def fail_after(self, seconds: float) -> AbstractContextManager[anyio.CancelScope]:
        """A limit."""
        return anyio.fail_after(60.0 if seconds <= DEFAULT_S else self.real(seconds))
