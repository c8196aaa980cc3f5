"""A token bucket: what a client takes in the long run, and at once."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """Tokens that come at a rate, up to a burst; what must not wait may take more than there are.

    Parameters
    ----------
    rate_per_s, burst : float
        Tokens per second, and at most at a time.
    now : float
        Seconds of a steady clock, as everywhere here; the bucket is full then.
    """

    __slots__ = ("_at", "_burst", "_held_until", "_rate", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now: float) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at = now
        self._held_until = now

    def take(self, now: float) -> bool:
        """Take a token if there is one and nothing holds."""
        if not self.ready(now):
            return False
        self._tokens -= 1.0
        return True

    def ready(self, now: float) -> bool:
        """Whether `take` would give one."""
        self._fill(now)
        return self._tokens >= 1.0 and now >= self._held_until

    def charge(self, now: float) -> None:
        """Count a message that must not wait, even beyond what there is; never further than one burst."""
        self._fill(now)
        self._tokens = max(self._tokens - 1.0, -self._burst)

    def hold(self, seconds: float, now: float) -> None:
        """Give nothing for so long: the client has asked for it."""
        self._held_until = max(self._held_until, now + seconds)

    def wait_s(self, now: float) -> float:
        """Seconds until there is a token."""
        self._fill(now)
        return max(0.0, self._held_until - now, (1.0 - self._tokens) / self._rate)

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
