"""Mute and unmute an agent, and know that it happened: muted means that the server confirmed it."""

from .control import MuteControl, Subscription
from .conversations import ConversationsStrategy
from .result import MuteEvent, MuteResult, MuteState, MuteStatus
from .strategy import CallState, MuteStrategy, Observation

__all__ = [
    "CallState",
    "ConversationsStrategy",
    "MuteControl",
    "MuteEvent",
    "MuteResult",
    "MuteState",
    "MuteStatus",
    "MuteStrategy",
    "Observation",
    "Subscription",
]
