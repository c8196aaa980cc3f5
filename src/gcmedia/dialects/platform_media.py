"""The platform media WebSocket: what is sent, and what comes back.  The format is told in docs/platform-media.md.

Binary messages are packets and go to the receiver as they are; everything else is JSON and is parsed here.  Nothing
that a server sends raises: what cannot be used becomes `Malformed` or `Unknown`, with the reason.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..errors import FormatError
from ..types import MediaFormat

__all__ = [
    "Ack",
    "Event",
    "Failure",
    "Malformed",
    "Media",
    "Packet",
    "TranscriptText",
    "Unknown",
    "negotiated",
    "receive",
    "subscription",
]

#: Encoding of the audio for each value of ``format``.
ENCODINGS = {"raw": "L16LE", "pcmu": "PCMU", "pcma": "PCMA"}

MAX_DURATION_MS = 86_400_000  # of one transcript

SequenceNumber = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Timestamp = Annotated[int, msgspec.Meta(ge=-(1 << 62), le=1 << 62)]


class Media(msgspec.Struct, tag="media", frozen=True):
    """One packet as JSON; ``payload`` was base64."""

    sequence_number: SequenceNumber = msgspec.field(name="seq")
    timestamp: Timestamp
    payload: bytes = msgspec.field(name="audioData")

    def __repr__(self) -> str:
        return f"Media(sequence_number={self.sequence_number}, timestamp={self.timestamp}, {len(self.payload)} octets)"


class TranscriptText(msgspec.Struct, tag="transcript", frozen=True):
    """Something said; ``timestamp`` is the media time, in milliseconds, at which it begins."""

    timestamp: Timestamp
    text: str
    confidence: float = 0.0
    duration_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_DURATION_MS)] = msgspec.field(name="durationMs", default=0)
    channel: str = ""

    def __repr__(self) -> str:
        return f"TranscriptText(timestamp={self.timestamp}, {len(self.text)} characters, channel={self.channel!r})"


class Ack(msgspec.Struct, tag="ack", frozen=True):
    """The server's answer to a subscription, or with status ``"ended"`` its word that the call is over."""

    status: str | None = None
    timestamp: Timestamp | None = None
    format: str | None = None
    sample_rate: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] | None = msgspec.field(name="sampleRate", default=None)
    channels: tuple[str, ...] | Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] | None = None

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self.status == "ended"


class Failure(msgspec.Struct, tag="error", frozen=True):
    """An error that the server reports."""

    status: int | None = None
    code: str | None = None
    message: str = ""


class Packet(msgspec.Struct, frozen=True):
    """One binary message: header and audio, as received."""

    octets: bytes


class Unknown(msgspec.Struct, frozen=True):
    """A message of a type that this dialect does not have; servers may add some."""

    type: str


class Malformed(msgspec.Struct, frozen=True):
    """A message that cannot be read: what, where and how much."""

    reason: str


Event = Media | TranscriptText | Ack | Failure | Packet | Unknown | Malformed

_TAGS = ("media", "transcript", "ack", "error")
_decode = msgspec.json.Decoder(Media | TranscriptText | Ack | Failure).decode
_decode_type = msgspec.json.Decoder(dict[str, object]).decode


def receive(message: bytes | str) -> Event:
    """Read one WebSocket message.

    Parameters
    ----------
    message : bytes or str
        A binary or a text message, as the transport hands it over.

    Returns
    -------
    Event
        Never raises for anything that a server may send.
    """
    if isinstance(message, bytes):
        return Packet(message)
    try:
        event: Event = _decode(message)
        return event
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:  # ValidationError is a DecodeError
        return _explain(message, error)


def _explain(message: str, error: Exception) -> Event:
    try:
        kind = _decode_type(message).get("type")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return Malformed(f"text message of {len(message)} characters: {error}")
    if isinstance(kind, str) and kind not in _TAGS:
        return Unknown(kind[:64])
    return Malformed(f"text message of {len(message)} characters: {error}")


def subscription(conversation_id: str, *, format: str = "raw", sample_rate: int = 16_000, n_channels: int = 1) -> str:
    """Compose the message that asks for the media of a conversation.

    ``channels`` is left out for mono, as the published clients do.

    Raises
    ------
    FormatError
        If ``format`` is not one of the dialect's.
    """
    if format not in ENCODINGS:
        raise FormatError(f"format is {format!r}, not one of {', '.join(ENCODINGS)}")
    message: dict[str, object] = {
        "type": "subscribe",
        "conversationId": conversation_id,
        "format": format,
        "sampleRate": sample_rate,
    }
    if n_channels > 1:
        message["channels"] = n_channels
    return msgspec.json.encode(message).decode()


def negotiated(ack: Ack | None, *, format: str = "raw", sample_rate: int = 16_000, n_channels: int = 1) -> MediaFormat:
    """Tell what the server sends: its own words first, then what was asked for.

    Raises
    ------
    FormatError
        If the server names a format, a rate or channels that cannot be used.
    """
    channels: tuple[str, ...] | int | None = n_channels
    if ack is not None:
        format = ack.format if ack.format is not None else format
        sample_rate = ack.sample_rate if ack.sample_rate is not None else sample_rate
        channels = ack.channels if ack.channels is not None else channels
    if format not in ENCODINGS:
        raise FormatError(f"the server sends format {format[:64]!r}; known are {', '.join(ENCODINGS)}")
    if not 8000 <= sample_rate <= 48_000 or sample_rate % 1000:
        raise FormatError(f"the server sends {sample_rate} Hz; a multiple of 1000 in [8000, 48000] is needed")
    if isinstance(channels, int):
        names = {1: ("mixed",), 2: ("external", "internal")}.get(channels, ())
    else:
        names = tuple(channels or ())
    if not 1 <= len(names) <= 8 or len(set(names)) != len(names):
        raise FormatError(f"the server names channels {channels!r:.200}; 1 to 8 different ones are needed")
    if not all(name.isidentifier() and len(name) <= 32 for name in names):  # they become file names
        raise FormatError(f"the server names channels {channels!r:.200}; plain names of up to 32 letters are needed")
    return MediaFormat(ENCODINGS[format], sample_rate, names)
