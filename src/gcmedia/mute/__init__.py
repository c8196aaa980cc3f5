"""Mute and unmute an agent, and know that it happened: muted means that the server confirmed it."""

from .audio_control import Audio, AudioControl
from .control import MuteControl, Subscription
from .conversations import ConversationsStrategy
from .interactive_sessions import InteractiveSessions, organization_region
from .opening import STRATEGIES, MuteTarget, default_config, open_mute
from .result import MuteEvent, MuteResult, MuteState, MuteStatus
from .strategy import CallState, MuteStrategy, Observation
from .webchat_edge import WebchatEdge, edge_url

__all__ = [
    "STRATEGIES",
    "Audio",
    "AudioControl",
    "CallState",
    "ConversationsStrategy",
    "InteractiveSessions",
    "MuteControl",
    "MuteEvent",
    "MuteResult",
    "MuteState",
    "MuteStatus",
    "MuteStrategy",
    "MuteTarget",
    "Observation",
    "Subscription",
    "WebchatEdge",
    "default_config",
    "edge_url",
    "open_mute",
    "organization_region",
]
