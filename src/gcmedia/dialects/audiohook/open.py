"""The client's ``open``: who calls whom, and which media it can send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .durations import format_samples
from .media import Media

__all__ = ["NIL_ID", "ContinuedSession", "Open", "Participant"]

#: Conversation and participant of a connection probe.
NIL_ID = "00000000-0000-0000-0000-000000000000"


class Participant(msgspec.Struct, frozen=True):
    """Whom the session follows, as a rule the customer; numbers and names are in no repr."""

    id: str = NIL_ID
    ani: str = ""
    ani_name: str = ""
    dnis: str = ""

    def __repr__(self) -> str:
        return f"Participant(id={self.id!r})"


class ContinuedSession(msgspec.Struct, frozen=True):
    """An earlier session that this one takes over, and how far each end had come in it."""

    id: str
    serverseq: int
    clientseq: int


class Open(msgspec.Struct, frozen=True):
    """Parameters of ``open``, and the position that came with it, in samples.

    What is not known yet is in ``extra``, by its name on the wire.
    """

    organization_id: str
    conversation_id: str
    participant: Participant
    media: tuple[Media, ...]
    position: int = 0
    language: str | None = None
    supported_languages: bool = False
    continued_sessions: tuple[ContinuedSession, ...] = ()
    custom_config: Any = None
    input_variables: Mapping[str, Any] = {}
    extra: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"Open(conversation_id={self.conversation_id!r}, organization_id={self.organization_id!r})"

    @property
    def probe(self) -> bool:
        """Whether this is the test of an administrator's settings, and no call."""
        return self.conversation_id == NIL_ID and self.participant.id == NIL_ID

    def to_wire(self) -> dict[str, Any]:
        """The parameters as they stand in a message."""
        wire: dict[str, Any] = {
            "organizationId": self.organization_id,
            "conversationId": self.conversation_id,
            "participant": {
                "id": self.participant.id,
                "ani": self.participant.ani,
                "aniName": self.participant.ani_name,
                "dnis": self.participant.dnis,
            },
            "media": [media.to_wire() for media in self.media],
        }
        if self.language is not None:
            wire["language"] = self.language
        if self.supported_languages:
            wire["supportedLanguages"] = True
        if self.continued_sessions:
            wire["continuedSessions"] = [
                {"id": one.id, "serverseq": one.serverseq, "clientseq": one.clientseq}
                for one in self.continued_sessions
            ]
        if self.custom_config is not None:
            wire["customConfig"] = self.custom_config
        if self.input_variables:
            wire["inputVariables"] = dict(self.input_variables)
        return wire | dict(self.extra)

    @property
    def position_text(self) -> str:
        """The position as it stands in a message."""
        return format_samples(self.position, self.media[0].rate if self.media else 8000)
