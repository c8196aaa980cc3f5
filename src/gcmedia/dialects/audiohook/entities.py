"""Entities of the server's ``event``: transcripts, agent assist, and those of Audio Connector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .durations import format_samples

__all__ = ["AgentAssist", "BargeIn", "BotTurn", "Entity", "Transcript", "Word", "to_wire"]


class Word(msgspec.Struct, frozen=True):
    """One word; ``position`` and ``n_samples`` are on the timeline of the session."""

    text: str
    confidence: float
    position: int
    n_samples: int
    language: str | None = None


class Transcript(msgspec.Struct, frozen=True):
    """Something said.

    Attributes
    ----------
    id : str
        UUID; later versions of the same utterance have the same.
    channel : int
        Index into the negotiated channels.
    text : str
        As it is to be shown; in no repr.
    is_final : bool
        Whether it stays as it is.  Final ones need ``words``.
    position, n_samples : int or None
        Where it lies, in samples.
    """

    id: str
    channel: int
    text: str
    is_final: bool
    confidence: float = 1.0
    position: int | None = None
    n_samples: int | None = None
    words: tuple[Word, ...] = ()
    languages: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Transcript(id={self.id!r}, channel={self.channel}, {len(self.text)} characters)"

    def to_wire(self, sample_rate: int) -> dict[str, Any]:
        """The entity as it stands in a message."""
        interpretation: dict[str, Any] = {"type": "display", "transcript": self.text}
        if self.words:
            interpretation["tokens"] = [_token(word, sample_rate) for word in self.words]
        alternative: dict[str, Any] = {"confidence": self.confidence, "interpretations": [interpretation]}
        if self.languages:
            alternative["languages"] = list(self.languages)
        data: dict[str, Any] = {"id": self.id, "channelId": self.channel, "isFinal": self.is_final}
        if self.position is not None:
            data["offset"] = format_samples(self.position, sample_rate)
        if self.n_samples is not None:
            data["duration"] = format_samples(self.n_samples, sample_rate)
        data["alternatives"] = [alternative]
        return {"type": "transcript", "data": data}


def _token(word: Word, sample_rate: int) -> dict[str, Any]:
    token: dict[str, Any] = {
        "type": "word",
        "value": word.text,
        "confidence": word.confidence,
        "offset": format_samples(word.position, sample_rate),
        "duration": format_samples(word.n_samples, sample_rate),
    }
    if word.language is not None:
        token["language"] = word.language
    return token


class AgentAssist(msgspec.Struct, frozen=True):
    """Utterances and suggestions for the agent (experimental in the protocol), each as it stands in a message."""

    id: str
    utterances: tuple[Mapping[str, Any], ...] = ()
    suggestions: tuple[Mapping[str, Any], ...] = ()

    def to_wire(self, sample_rate: int) -> dict[str, Any]:
        """The entity as it stands in a message."""
        data: dict[str, Any] = {"id": self.id}
        if self.utterances:
            data["utterances"] = [dict(one) for one in self.utterances]
        if self.suggestions:
            data["suggestions"] = [dict(one) for one in self.suggestions]
        return {"type": "agentassist", "data": data}


class BargeIn(msgspec.Struct, frozen=True):
    """The caller speaks over the bot: the client drops what it has not played yet (Audio Connector)."""

    def to_wire(self, sample_rate: int) -> dict[str, Any]:
        """The entity as it stands in a message."""
        return {"type": "barge_in", "data": {}}


class BotTurn(msgspec.Struct, frozen=True):
    """The bot's turn is over; ``disposition`` is ``"no_input"``, ``"no_match"`` or ``"match"`` (Audio Connector)."""

    disposition: str
    text: str | None = None
    confidence: float | None = None

    def to_wire(self, sample_rate: int) -> dict[str, Any]:
        """The entity as it stands in a message."""
        data: dict[str, Any] = {"disposition": self.disposition}
        if self.text is not None:
            data["text"] = self.text
        if self.confidence is not None:
            data["confidence"] = self.confidence
        return {"type": "bot_turn_response", "data": data}


#: One of ours, or any mapping with ``type`` and ``data``.
Entity = Transcript | AgentAssist | BargeIn | BotTurn | Mapping[str, Any]


def to_wire(entities: Iterable[Entity], sample_rate: int) -> list[dict[str, Any]]:
    """Entities as they stand in a message."""
    return [dict(one) if isinstance(one, Mapping) else one.to_wire(sample_rate) for one in entities]
