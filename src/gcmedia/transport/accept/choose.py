"""Which transport: the one that was asked for, else the fastest that is there and fits the running backend."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ...errors import ConfigError

__all__ = ["TRANSPORTS", "choose_transport", "running_backend"]

TRANSPORTS = ("auto", "websockets", "picows")


def running_backend() -> str:
    """``"asyncio"`` or ``"trio"``, whichever runs this task."""
    trio = sys.modules.get("trio")
    return "trio" if trio is not None and trio.lowlevel.in_trio_task() else "asyncio"


def choose_transport(wanted: str, backend: str) -> str:
    """Choose between ``"websockets"`` and ``"picows"``.

    Raises
    ------
    ConfigError
        If there is no such transport, it is not installed, or does not run on ``backend``.
    """
    if wanted not in TRANSPORTS:
        raise ConfigError(f"transport is {wanted!r}, not one of {', '.join(TRANSPORTS)}")
    installed = find_spec("picows") is not None
    if wanted == "auto":
        return "picows" if installed and backend == "asyncio" else "websockets"
    if wanted == "picows":
        if backend != "asyncio":
            raise ConfigError(f"transport 'picows' runs on asyncio only, not on {backend}")
        if not installed:
            raise ConfigError("transport 'picows' is not installed: pip install 'gcmedia[fast]'")
    return wanted
