"""What a machine tells of: plain values, in the order in which things happened."""

from __future__ import annotations

from typing import Any

import msgspec

from ...types import Hole
from .media import Media
from .open import Open

__all__ = [
    "Anomaly",
    "Audio",
    "Closed",
    "Closing",
    "Discarded",
    "Disconnecting",
    "Dtmf",
    "Ended",
    "EventReceived",
    "Failed",
    "OpenAnswered",
    "Opened",
    "Paused",
    "PeerError",
    "Ping",
    "Playback",
    "Pong",
    "Reconnect",
    "Requested",
    "Resumed",
    "Unknown",
    "Update",
    "Updated",
]


# Of both ends


class Audio(msgspec.Struct, frozen=True):
    """A frame of audio; ``position`` is its first sample, ``payload`` interleaved as negotiated.

    From the server (Audio Connector) the position counts the samples that it has sent.
    """

    position: int
    n_samples: int
    payload: bytes

    def __repr__(self) -> str:
        return f"Audio(position={self.position}, n_samples={self.n_samples}, {len(self.payload)} octets)"


class Anomaly(msgspec.Struct, frozen=True):
    """Something that does not fit and is put up with; counted by ``kind`` in ``anomalies`` too."""

    kind: str
    detail: str


class Unknown(msgspec.Struct, frozen=True):
    """A message of a type that this version does not have; counted in ``anomalies`` as ``"unknown type"`` too."""

    type: str


class Failed(msgspec.Struct, frozen=True):
    """The session cannot go on, and the peer has been told by the protocol's own message.

    ``cause`` is ``"protocol"``, ``"timeout"`` or ``"unauthorized"``, ``code`` the protocol's error code that fits
    (400, 401, 408, 409, 413, 415, 500), ``detail`` for the log of this end alone.
    """

    cause: str
    code: int
    detail: str


class Ended(msgspec.Struct, frozen=True):
    """The last event of every session: the connection is closed, or is to be closed now.

    ``clean`` says that ``close`` and ``closed`` were exchanged; ``reason`` is that of ``close``, or what was missing.
    """

    reason: str
    clean: bool


# Of the server's end


class Opened(msgspec.Struct, frozen=True):
    """The client's ``open``, already answered.

    ``media`` is what was chosen, None for a session without audio; ``position`` of its first audio is in samples, as
    is all that follows; ``probe`` says that an administrator is testing the connection, so there is no call.
    """

    offer: Open
    media: Media | None
    position: int
    probe: bool


class Ping(msgspec.Struct, frozen=True):
    """The client's ``ping``, already answered; ``rtt_s`` is what the client measured last."""

    position: int
    rtt_s: float | None = None


class Paused(msgspec.Struct, frozen=True):
    """No audio comes from here on.

    ``by_server`` says that this end had asked; the client may hold it as well.  ``repeated`` says that it had been
    paused before: the answer to a further ``pause``, or to a ``resume`` while the client holds on.
    """

    position: int
    by_server: bool
    repeated: bool = False


class Resumed(msgspec.Struct, frozen=True):
    """Audio comes again, from ``position`` on; ``holes`` are what the pause took, none when nothing was dropped."""

    position: int
    holes: tuple[Hole, ...] = ()
    repeated: bool = False


class Discarded(msgspec.Struct, frozen=True):
    """The client has dropped audio, for ``discardTo``, for slowness of this end, or for its own reasons."""

    position: int
    holes: tuple[Hole, ...] = ()


class Update(msgspec.Struct, frozen=True):
    """The language has changed; answer with `ServerMachine.updated`, ``pause`` or ``disconnect``, or not at all."""

    language: str


class PeerError(msgspec.Struct, frozen=True):
    """An ``error`` of the client: information, and no reason to end anything; 429 asks to send less."""

    code: int
    message: str
    retry_after_s: float | None = None


class Dtmf(msgspec.Struct, frozen=True):
    """A key was pressed (Audio Connector); in no repr, as it may be part of a card number."""

    digit: str

    def __repr__(self) -> str:
        return "Dtmf()"


class Playback(msgspec.Struct, frozen=True):
    """The client began to play the server's audio, or has played all of it (Audio Connector)."""

    started: bool


class Closing(msgspec.Struct, frozen=True):
    """The client's ``close``: no more audio comes.

    ``reason`` is ``"end"``, ``"error"``, ``"disconnect"`` (this end had asked) or ``"reconnect"``; ``holes`` is what
    the timeline lacks up to ``position``, as of a pause that went on to the end.
    """

    reason: str
    position: int
    holes: tuple[Hole, ...] = ()


# Of the client's end


class OpenAnswered(msgspec.Struct, frozen=True):
    """The server's ``opened``.

    ``skip_samples`` is how much of the source is to be dropped first, because the server wants none of it; the
    machine has told it as discarded already.  ``start_paused``: audio is dropped until the server resumes.
    """

    media: Media | None
    start_paused: bool = False
    skip_samples: int = 0
    supported_languages: tuple[str, ...] = ()


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping, and the time from one to the other."""

    rtt_s: float


class Requested(msgspec.Struct, frozen=True):
    """The server asked to ``"pause"`` or to ``"resume"``; answered already.  ``paused`` is how things are now."""

    what: str
    paused: bool


class EventReceived(msgspec.Struct, frozen=True):
    """Entities of the server's ``event``, as they came: each has ``type`` and ``data``."""

    entities: tuple[dict[str, Any], ...]


class Updated(msgspec.Struct, frozen=True):
    """The server's answer to ``update``."""


class Disconnecting(msgspec.Struct, frozen=True):
    """The server asked to end the session; ``close`` has been sent."""

    reason: str
    info: str = ""
    output_variables: dict[str, Any] = {}


class Reconnect(msgspec.Struct, frozen=True):
    """The server asks for a new session in place of this one; open it, then close this with ``"reconnect"``."""

    info: str = ""


class Closed(msgspec.Struct, frozen=True):
    """The server's ``closed``; the client closes the connection now."""

    output_variables: dict[str, Any] = {}
