"""Python's search for garbage, when calls have ended rather than when they come in.

By itself Python looks through all objects whenever their number has grown by a quarter: while thousands of calls come
in that stops the event loop for 0.3 s and more, again and again, and finds nothing.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

__all__ = ["collections_after"]

YOUNG_OBJECTS = 5000  # more than Python's 700, as each message of a call makes some
NEVER = 1_000_000_000
MAX_ENDED = 5000  # calls of which handlers may have left something
MAX_WAIT_S = 300.0  # for what handlers leave


@asynccontextmanager
async def collections_after(n_ended: Callable[[], int], *, period_s: float = 1.0) -> AsyncIterator[None]:
    """Within, look through all objects after so many ended calls, or so long; through young ones as ever.

    Parameters
    ----------
    n_ended : callable
        How many calls have ended.
    period_s : float
        How often it is asked.
    """
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, usual[1], NEVER)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_collect, n_ended, n_ended(), period_s)
            yield
            tasks.cancel_scope.cancel()
    finally:
        gc.set_threshold(*usual)


async def _collect(n_ended: Callable[[], int], n_before: int, period_s: float) -> None:
    waited_s = 0.0
    while True:
        await anyio.sleep(period_s)
        waited_s += period_s
        if n_ended() - n_before >= MAX_ENDED or waited_s >= MAX_WAIT_S:
            gc.collect()
            n_before, waited_s = n_ended(), 0.0
