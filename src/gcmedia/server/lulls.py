"""Who has been silent for a while, at no cost for those who have not.

To ask each of thousands of calls, once a second, whether it has anything that waits in vain is a quarter of the work of
a busy server: what has to be looked at for it lies all over the memory.  So calls say when they have passed something
on, which puts them into a set, and the difference of a few sets are those that have not for a while.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Lulls"]

GENERATIONS = 3

T = TypeVar("T")


class Lulls(Generic[T]):
    """Members that were heard of, and have not been since.

    Parameters
    ----------
    wait_s : float
        How long; before a member is told of it may become a third more, and four times as long as `over` is not called.
    now : float
        Seconds of a steady clock, as everywhere here.

    Attributes
    ----------
    heard_of : callable
        Takes a member; one that is unknown is known from then on.  Not to be kept: look it up for each call.
    """

    def __init__(self, wait_s: float, now: float) -> None:
        self._period_s = wait_s / GENERATIONS
        self._turns_at = now + self._period_s
        self._heard: deque[set[T]] = deque([set() for _ in range(GENERATIONS + 1)])  # the newest last
        self.heard_of = self._heard[-1].add

    def over(self, now: float) -> set[T]:
        """Those of which nothing was heard for ``wait_s``; they are forgotten until they are heard of again."""
        if now < self._turns_at:
            return set()
        self._turns_at = now + self._period_s  # whole ones, also after a delay, as that was one for all
        silent = self._heard.popleft()
        for later in self._heard:
            silent -= later
        self._heard.append(set())
        self.heard_of = self._heard[-1].add
        return silent

    def forget(self, member: T) -> None:
        """It is over; nothing is told of it."""
        for heard in self._heard:
            heard.discard(member)
