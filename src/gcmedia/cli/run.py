"""Run a command's coroutine on the backend that was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TypeVar

import anyio

from ..errors import ConfigError

__all__ = ["run_async"]

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
