"""Parameters of the client's messages, read with tolerance: what cannot be read is left out, never a reason to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import FormatError, RemoteProtocolError
from .durations import parse_samples, parse_seconds
from .envelope import MAX_QUOTE, is_uuid
from .media import Media
from .open import ContinuedSession, Open, Participant

__all__ = ["as_object", "duration_in", "read_media", "read_open", "samples_in", "text_in", "whole_in"]

MAX_TEXT = 1000
MAX_ENTRIES = 100

_KNOWN = {
    "organizationId",
    "conversationId",
    "participant",
    "media",
    "language",
    "supportedLanguages",
    "continuedSessions",
    "customConfig",
    "inputVariables",
}


def as_object(value: object) -> dict[str, Any]:
    """A JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def text_in(found: Mapping[str, Any], name: str, longest: int = MAX_TEXT) -> str:
    """A string, cut at ``longest`` characters; ``""`` when there is none."""
    value = found.get(name)
    return value[:longest] if isinstance(value, str) else ""


def whole_in(found: Mapping[str, Any], name: str) -> int | None:
    """A whole number of at most 62 bits, or None."""
    value = found.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 1 << 62 else None


def samples_in(value: object, sample_rate: int) -> int | None:
    """A duration as samples, or None."""
    try:
        return parse_samples(value, sample_rate) if isinstance(value, str) else None
    except FormatError:
        return None


def duration_in(value: object) -> float | None:
    """A duration as seconds, or None."""
    try:
        return parse_seconds(value) if isinstance(value, str) else None
    except FormatError:
        return None


def read_media(value: object) -> tuple[Media, ...]:
    """The entries of an offer that can be read; others are left out, as no choice could fall on them."""
    found = []
    for entry in value[:MAX_ENTRIES] if isinstance(value, list) else ():
        entry = as_object(entry)
        channels, rate = entry.get("channels"), whole_in(entry, "rate")
        if rate is None or not isinstance(channels, list) or not all(isinstance(one, str) for one in channels):
            continue
        found.append(Media(text_in(entry, "format"), tuple(channels[:8]), rate, text_in(entry, "type")))
    return tuple(found)


def read_open(found: Mapping[str, Any], position: object) -> Open:
    """The parameters of ``open``.

    Raises
    ------
    RemoteProtocolError
        If an id is no UUID: they name folders and sessions, so nothing else is let through.
    """
    organization_id, conversation_id = found.get("organizationId"), found.get("conversationId")
    for name, value in (("organizationId", organization_id), ("conversationId", conversation_id)):
        if not is_uuid(value):
            raise RemoteProtocolError(f"{name} is {str(value)[:MAX_QUOTE]!r}, no UUID", status=400)
    media = read_media(found.get("media"))
    who = as_object(found.get("participant"))
    participant_id = who.get("id")
    earlier = found.get("continuedSessions")
    language = found.get("language")
    return Open(
        organization_id=str(organization_id),
        conversation_id=str(conversation_id),
        participant=Participant(
            str(participant_id) if is_uuid(participant_id) else "",
            text_in(who, "ani"),
            text_in(who, "aniName"),
            text_in(who, "dnis"),
        ),
        media=media,
        position=samples_in(position, media[0].rate if media else 8000) or 0,
        language=language[:MAX_TEXT] if isinstance(language, str) else None,
        supported_languages=found.get("supportedLanguages") is True,
        continued_sessions=_read_continued(earlier if isinstance(earlier, list) else []),
        custom_config=found.get("customConfig"),
        input_variables=as_object(found.get("inputVariables")),
        extra={name: value for name, value in found.items() if name not in _KNOWN},
    )


def _read_continued(listed: list[Any]) -> tuple[ContinuedSession, ...]:
    found = []
    for entry in map(as_object, listed[:MAX_ENTRIES]):
        serverseq, clientseq = whole_in(entry, "serverseq"), whole_in(entry, "clientseq")
        if is_uuid(entry.get("id")) and serverseq is not None and clientseq is not None:
            found.append(ContinuedSession(entry["id"], serverseq, clientseq))
    return tuple(found)
