"""Which transport: the one that was asked for, else the fastest that is there and fits the running backend."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from ...errors import ConfigError

__all__ = ["TRANSPORTS", "choose_transport", "running_backend"]

TRANSPORTS = ("auto", "websockets", "picows")
PICOWS = "2.3"  # the release of which `on_picows` knows what lies behind its public names


def running_backend() -> str:
    """``"asyncio"`` or ``"trio"``, whichever runs this task."""
    trio = sys.modules.get("trio")
    return "trio" if trio is not None and trio.lowlevel.in_trio_task() else "asyncio"


def choose_transport(wanted: str, backend: str) -> str:
    """Choose between ``"websockets"`` and ``"picows"``.

    Raises
    ------
    ConfigError
        If there is no such transport, it is not installed or is of another release, or does not run on ``backend``.
    """
    if wanted not in TRANSPORTS:
        raise ConfigError(f"transport is {wanted!r}, not one of {', '.join(TRANSPORTS)}")
    found = _picows()
    known = found is not None and found.startswith(f"{PICOWS}.")
    if wanted == "auto":
        return "picows" if known and backend == "asyncio" else "websockets"
    if wanted == "picows":
        if backend != "asyncio":
            raise ConfigError(f"transport 'picows' runs on asyncio only, not on {backend}")
        if found is None:
            raise ConfigError("transport 'picows' is not installed: pip install 'gcmedia[fast]'")
        if not known:
            raise ConfigError(f"transport 'picows' needs picows {PICOWS}, not {found}: pip install 'gcmedia[fast]'")
    return wanted


def _picows() -> str | None:
    """The release that is installed."""
    try:
        return version("picows")
    except PackageNotFoundError:
        return None
