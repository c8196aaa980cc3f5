"""Recorded sessions and the two machines: whichever end is ours must say what was recorded of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcmedia.dialects.audiohook import ClientMachine, Media, Open, Participant, ServerMachine
from gcmedia.dialects.audiohook.durations import parse_samples

VECTORS = Path(__file__).parent / "vectors"
SESSIONS = ("plain", "start-paused-update", "discard-pause-resume-disconnect", "no-media", "mono-partial-last-frame")
SESSION_ID = "30b0e395-84d3-4570-ac13-9a62d8f514c0"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Step:
    """One entry of a recording: a text message, or frames of audio in a row."""

    now: float
    by_client: bool
    message: dict[str, Any] | None
    n_octets: int = 0
    count: int = 0

    @property
    def type(self) -> str:
        return self.message["type"] if self.message else "audio"

    @property
    def parameters(self) -> dict[str, Any]:
        assert self.message is not None
        found: dict[str, Any] = self.message["parameters"]
        return found


def session(name: str) -> list[Step]:
    return [
        Step(
            entry["t_ms"] / 1000,
            entry["dir"] == "client->server",
            entry.get("msg"),
            entry.get("bytes", 0),
            entry.get("count", 0),
        )
        for entry in vectors(f"session-{name}")
    ]


def texts(machine: ServerMachine | ClientMachine) -> list[dict[str, Any]]:
    return [json.loads(message) for message in machine.messages_to_send()]


def offered(step: Step) -> Open:
    """The ``open`` of a recording, as a client would be told to send it."""
    wire = step.parameters
    who = wire["participant"]
    return Open(
        wire["organizationId"],
        wire["conversationId"],
        Participant(who["id"], who["ani"], who["aniName"], who["dnis"]),
        tuple(Media(one["format"], tuple(one["channels"]), one["rate"]) for one in wire["media"]),
        language=wire.get("language"),
        supported_languages=wire.get("supportedLanguages", False),
    )


def position_of(step: Step) -> int:
    assert step.message is not None
    return parse_samples(step.message["position"])
