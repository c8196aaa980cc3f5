"""An AudioHook server: the route by which Genesys Cloud hands out live audio; see docs/audiohook.md."""

from __future__ import annotations

from .call import HookCall
from .counters import Counters
from .serve import serve
from .server import AudioHookServer, Handler
from .settings import ServerConfig
from .status import StatusServer, exposition

__all__ = [
    "AudioHookServer",
    "Counters",
    "Handler",
    "HookCall",
    "ServerConfig",
    "StatusServer",
    "exposition",
    "serve",
]
