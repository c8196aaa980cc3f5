"""The web chat edge WebSocket: sign in by the first message, commands flat, events nested.

Pure functions: what to send, and what a message of the server means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError, RemoteProtocolError

__all__ = ["Authed", "EdgeFailure", "MediaState", "Unknown", "auth_message", "command", "receive"]

DIRECTIONS = ("outbound", "inbound")  # what the agent sends, and hears
MEDIA_TYPES = ("audio", "video")
_ACTIONS = {"mute": True, "unmute": False}


@dataclass(frozen=True, slots=True)
class Authed:
    """The server accepts the token."""


@dataclass(frozen=True, slots=True)
class MediaState:
    """A stream was muted or unmuted, or is so at the start.

    Attributes
    ----------
    muted : bool
        Its state now.
    stream_id : str or None
        Which stream; None when the message does not name one.
    direction, media_type : str
        ``"outbound"`` audio is the agent's microphone.
    """

    muted: bool
    stream_id: str | None
    direction: str
    media_type: str

    @property
    def microphone(self) -> bool:
        """Whether this is about what the agent says."""
        return self.direction == "outbound" and self.media_type == "audio"


@dataclass(frozen=True, slots=True)
class EdgeFailure:
    """The server reports an error.

    Attributes
    ----------
    message : str
        In its words, which may hold anything: not for logs as it is, and not in the repr.
    muted : bool or None
        The state whose command failed; None when the error is of something else.
    status : int
        The one it names, else what its code or words come to: 401, 403, 404, 429, or 400.
    code : str or None
        Its code.
    retry_after : float or None
        Seconds that it asks to wait.
    stream_id : str or None
        The stream that it names.
    """

    message: str = field(repr=False)
    muted: bool | None
    status: int
    code: str | None
    retry_after: float | None
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that has no meaning here."""

    type: str


def auth_message(token: str) -> str:
    """The first message; it holds the token, so it is never to be logged."""
    return json.dumps({"type": "auth", "payload": {"token": token}})


def command(
    muted: bool,
    *,
    stream_id: str | None = None,
    conversation_id: str | None = None,
    direction: str = "outbound",
    media_type: str = "audio",
) -> str:
    """Ask to mute or unmute.

    Parameters
    ----------
    muted : bool
        The state wanted.
    stream_id : str, optional
        Which stream; left out of the message unless given, and the server takes the default one then.
    conversation_id : str, optional
        Left out unless given; the published message has no such field.
    direction, media_type : str
        The microphone by default.

    Raises
    ------
    ConfigError
        If direction or media type is not a known one.
    """
    for name, value, known in (("direction", direction, DIRECTIONS), ("media_type", media_type, MEDIA_TYPES)):
        if value not in known:
            raise ConfigError(f"{name} is {value!r}, not one of {', '.join(known)}")
    message = {"type": "media", "action": "mute" if muted else "unmute"}
    if stream_id is not None:
        message["streamId"] = stream_id
    message |= {"direction": direction, "mediaType": media_type}
    if conversation_id is not None:
        message["conversationId"] = conversation_id
    return json.dumps(message)


def receive(message: str | bytes) -> Authed | MediaState | EdgeFailure | Unknown:
    """What a message of the server means.

    Raises
    ------
    RemoteProtocolError
        If it cannot be read: no JSON, no type, or a media event without an action.
    """
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise RemoteProtocolError(f"a message of {len(message)} octets is not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise RemoteProtocolError("a message is no object with a type")
    kind = value["type"]
    if kind == "authed":
        return Authed()
    nested = value.get("payload")
    payload: Mapping[str, Any] = nested if isinstance(nested, dict) else value  # flat ones are tolerated
    if kind == "media":
        return _media(payload)
    if kind == "error":
        return _failure(payload, nested)
    return Unknown(kind[:40])


def _media(payload: Mapping[str, Any]) -> MediaState | Unknown:
    action = payload.get("action")
    if not isinstance(action, str):
        raise RemoteProtocolError("a media event names no action")
    if action not in _ACTIONS:
        return Unknown(f"media {action[:40]}")
    return MediaState(
        _ACTIONS[action],
        _text(payload.get("streamId")),
        _text(payload.get("direction")) or "outbound",
        _text(payload.get("mediaType")) or "audio",
    )


def _failure(payload: Mapping[str, Any], nested: object) -> EdgeFailure:
    message = _text(payload.get("message")) or (nested if isinstance(nested, str) else "") or "no reason given"
    code = payload.get("code")
    status = _number(payload.get("status")) or _number(code) or 0.0
    if not 400 <= status <= 599:
        status = _status_of(f"{code} {message}".lower())
    wait = payload.get("retryAfter")
    if isinstance(wait, str) and wait.strip().isdecimal():
        wait = int(wait)
    seconds = _number(wait)
    action = payload.get("action")
    return EdgeFailure(
        message,
        _ACTIONS.get(action) if isinstance(action, str) else None,
        int(status),
        _text(code),
        seconds if seconds is not None and 0 <= seconds < float("inf") else None,
        _text(payload.get("streamId")),
    )


def _status_of(words: str) -> int:
    """The server gives words only; these are the ones that were published."""
    for found, status in (("not found", 404), ("too many", 429), ("forbidden", 403), ("unauthor", 401), ("token", 401)):
        if found in words:
            return status
    return 400


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
