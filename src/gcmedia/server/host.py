"""What sessions and their admission need of the server that they belong to."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from ..clock import Clock
from ..dialects.audiohook import AudioHookConfig, events
from ..live import LiveCalls
from .call import HookCall
from .counters import Counters
from .settings import ServerConfig

__all__ = ["Host"]


class Host(Protocol):
    """`AudioHookServer`, as seen from below."""

    log: logging.Logger
    config: ServerConfig
    protocol: AudioHookConfig
    clock: Clock
    counters: Counters
    sessions: set[Any]
    refused: set[Any]
    pacing: set[Any]
    draining: bool
    max_sessions: int
    live: LiveCalls | None

    @property
    def n_sessions(self) -> int:
        """Sessions that are open, or about to be."""

    def now(self) -> float:
        """Seconds of the server's clock."""

    def begin(self, session: Any, opened: events.Opened) -> HookCall:
        """Make the call of a session that was opened."""

    def finish(self, session: Any, call: HookCall, failure: Exception | None, cause: str) -> None:
        """No more audio comes for a call."""

    def forget(self, session: Any) -> None:
        """The connection of a session is closed."""
