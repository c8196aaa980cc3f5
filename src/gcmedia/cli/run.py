"""Run a command's coroutine on the backend that was asked for, and stop it on a signal."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TypeVar

import anyio
import anyio.abc

from ..errors import ConfigError

__all__ = ["run_async", "stop_on_signal"]

BACKENDS = ("asyncio", "trio")

T = TypeVar("T")


def run_async(function: Callable[[], Awaitable[T]], backend: str) -> T:
    """Run it to its end.

    Raises
    ------
    ConfigError
        If there is no such backend, or its library is not installed.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend is {backend!r}, not one of {', '.join(BACKENDS)}")
    if find_spec(backend) is None:
        raise ConfigError(f"the backend {backend} is not installed: pip install 'gcmedia[{backend}]'")
    return anyio.run(function, backend=backend)


async def stop_on_signal(stop: Callable[[], Awaitable[None]], *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Stop at the first signal; the second one, if it comes, does what it always does."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            await stop()
            return
