"""A client written out by hand, message by message, for what no decent machine would send."""

from __future__ import annotations

import json
from typing import Any

from gcmedia.dialects.audiohook import AudioHookConfig, Identity, ServerMachine

from .pair import CONVERSATION_ID, IDENTITY
from .recorded import SESSION_ID
from .signing import ORGANIZATION_ID

STEREO_WIRE = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
MONO_WIRE = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
WHO = {"id": "883efee8-3d6c-4537-b500-6d7ca4b92fa0", "ani": "", "aniName": "", "dnis": ""}


def open_parameters(**changes: Any) -> dict[str, Any]:
    """Parameters of ``open``; a change to None leaves one out."""
    whole = {
        "organizationId": ORGANIZATION_ID,
        "conversationId": CONVERSATION_ID,
        "participant": WHO,
        "media": [STEREO_WIRE, MONO_WIRE],
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


class Wire:
    """Says what it is told to a server machine, counting for itself."""

    def __init__(
        self, config: AudioHookConfig | None = None, *, identity: Identity | None = IDENTITY, answer: Any = None
    ) -> None:
        self.now = 50.0
        self.server = ServerMachine(config, now=self.now, identity=identity, answer=answer)
        self.seq = 0
        self.serverseq = 0
        self.heard: list[dict[str, Any]] = []

    def message(self, type_: str, parameters: object = None, /, **changes: Any) -> str:
        self.seq += 1
        whole = {
            "version": "2",
            "type": type_,
            "id": SESSION_ID,
            "seq": self.seq,
            "serverseq": self.serverseq,
            "position": "PT0S",
            "parameters": {} if parameters is None else parameters,
            **changes,
        }
        self.seq = whole["seq"] if isinstance(whole["seq"], int) else self.seq
        return json.dumps({name: value for name, value in whole.items() if value != "left out"})

    def say(self, type_: str, parameters: object = None, /, **changes: Any) -> list[Any]:
        """Send a message; the events come back, and what the server answers is in ``heard``."""
        return self.send(self.message(type_, parameters, **changes))

    def send(self, message: str | bytes) -> list[Any]:
        events = self.server.receive(message, self.now)
        self.listen()
        return events

    def listen(self) -> list[dict[str, Any]]:
        """What the server has said since the last time."""
        said = [json.loads(message) for message in self.server.messages_to_send() if isinstance(message, str)]
        if said:
            self.serverseq = said[-1]["seq"]
        self.heard += said
        return said

    def open(self, **changes: Any) -> list[Any]:
        return self.say("open", open_parameters(**changes))

    def wait(self, seconds: float) -> list[Any]:
        self.now += seconds
        events = self.server.advance(self.now)
        self.listen()
        return events

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.heard]


def opened(config: AudioHookConfig | None = None, **changes: Any) -> Wire:
    """A session that has been opened."""
    wire = Wire(config)
    wire.open(**changes)
    assert wire.types == ["opened"]
    return wire
