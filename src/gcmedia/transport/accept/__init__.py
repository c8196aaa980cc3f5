"""WebSocket connections that others make to us: upgrade requests in, verdicts out, then messages both ways.

What listens is one of three drivers with one behaviour: ``websockets`` on asyncio, the same on trio, and ``picows``.
"""

from __future__ import annotations

from .choose import TRANSPORTS, choose_transport
from .listener import Listener, listen
from .sockets import bind
from .types import Accept, Admit, Connection, Limits, Reject, Session, UpgradeRequest, Verdict

__all__ = [
    "TRANSPORTS",
    "Accept",
    "Admit",
    "Connection",
    "Limits",
    "Listener",
    "Reject",
    "Session",
    "UpgradeRequest",
    "Verdict",
    "bind",
    "choose_transport",
    "listen",
]
