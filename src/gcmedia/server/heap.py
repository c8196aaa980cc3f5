"""Memory that is free, given back to the system.

The C library keeps what is free between what is not: audio of all calls comes and goes in pieces of different sizes,
and a storm of new calls would be paid for in memory as long as the process lives.
"""

from __future__ import annotations

import ctypes

import anyio
import anyio.to_thread

__all__ = ["give_back_free_memory"]

TRIM_S = 2.0


async def give_back_free_memory(period_s: float = TRIM_S) -> None:
    """Do so again and again, until cancelled; takes some milliseconds of a thread each time.

    Where the C library is not glibc it returns at once: others give memory back by themselves.
    """
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    while True:
        await anyio.sleep(period_s)
        await anyio.to_thread.run_sync(malloc_trim, 0)
