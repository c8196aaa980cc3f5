"""Mute and unmute an agent, and know that it happened: muted means that the server confirmed it."""

from .conversations import ConversationsStrategy
from .strategy import CallState, MuteStrategy, Observation

__all__ = ["CallState", "ConversationsStrategy", "MuteStrategy", "Observation"]
