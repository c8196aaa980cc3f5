"""The media streams WebSocket: many interactions over one socket.  The format is told in docs/media-streams.md.

Packets are JSON with their audio in base64, and are decoded in one pass.  Nothing that a server sends raises: what
cannot be used becomes `Malformed` or `Unknown`, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from ..errors import FormatError
from ..types import MediaFormat

__all__ = [
    "CODECS",
    "Ack",
    "Ended",
    "Event",
    "Failure",
    "Granted",
    "Malformed",
    "Media",
    "Packet",
    "SequenceUnwrap",
    "TimestampUnwrap",
    "Unknown",
    "codec_of",
    "ended_at",
    "format_of",
    "receive",
    "subscription",
    "unsubscription",
]

#: Encoding and clock rate of each codec; Opus always counts 48 kHz (RFC 7587 section 4.1), and is decoded to that.
CODECS = {"pcmu": ("PCMU", 8000), "pcma": ("PCMA", 8000), "opus": ("L16LE", 48_000)}

MAX_ID = 200  # characters
MAX_QUOTE = 64

InteractionId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
SequenceNumber = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Timestamp = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Media(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One packet; ``payload`` was base64.  ``codec`` is there when the server says it with every packet."""

    interaction_id: InteractionId
    sequence_number: SequenceNumber
    timestamp: Timestamp
    payload: bytes
    codec: str | None = None


class Packet(msgspec.Struct, frozen=True):
    """A binary message that is no JSON: audio alone, which only a connection with one interaction can place."""

    octets: bytes


class Granted(msgspec.Struct, frozen=True):
    """What one interaction of a subscription got; ``status`` is an HTTP status, 200 when none is told."""

    interaction_id: str
    codec: str | None = None
    sample_rate: int | None = None
    status: int = 200
    code: str | None = None


class Ack(msgspec.Struct, frozen=True):
    """The server's answer to a subscription, one entry an interaction; the published clients get none."""

    granted: tuple[Granted, ...]


class Ended(msgspec.Struct, frozen=True):
    """An interaction is over; ``timestamp`` is its end on the media clock, when told."""

    interaction_id: str
    timestamp: int | None = None


class Failure(msgspec.Struct, frozen=True):
    """An error; without ``interaction_ids`` it concerns what has been asked for and not been answered yet."""

    interaction_ids: tuple[str, ...] = ()
    status: int | None = None
    code: str | None = None
    message: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """A message of a type that this dialect does not have; servers may add some."""

    type: str


class Malformed(msgspec.Struct, frozen=True):
    """A message that cannot be read: what, where and how much; and of whom, if that much can be read."""

    reason: str
    interaction_id: str | None = None


Event = Media | Packet | Ack | Ended | Failure | Unknown | Malformed

_decode = msgspec.json.Decoder(Media).decode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)  # ValidationError is a DecodeError


def receive(message: bytes | str) -> Event:
    """Read one WebSocket message.

    Parameters
    ----------
    message : bytes or str
        A binary or a text message, as the transport hands it over.  Binary ones may hold the same JSON.

    Returns
    -------
    Event
        Never raises for anything that a server may send.
    """
    try:
        return _decode(message)
    except _UNREADABLE as error:
        return _other(message, error)


def _other(message: bytes | str, error: Exception) -> Event:
    """What a message is that is no packet."""
    kind = "binary" if isinstance(message, bytes) else "text"
    where = f"{kind} message of {len(message)} {'octets' if isinstance(message, bytes) else 'characters'}"
    try:
        found = _decode_object(message)
    except _UNREADABLE:
        if isinstance(message, bytes) and not message.startswith(b"{"):
            return Packet(message)
        return Malformed(f"{where}: {error}")
    type_ = found.get("type")
    if "payload" not in found:
        if type_ == "error" or (type_ is None and _is_error(found)):
            return _failure(found)
        if type_ in ("ack", "subscribed"):
            entries = _entries(found)
            if entries is not None:
                return Ack(tuple(entries))
        elif type_ == "ended":
            ended = _text(found, "interactionId", MAX_ID)
            if ended:
                return Ended(ended, _whole(found, "timestamp"))
        elif isinstance(type_, str):
            return Unknown(type_[:MAX_QUOTE])
    return Malformed(f"{where}: {error}", _text(found, "interactionId", MAX_ID))


def _is_error(found: Mapping[str, object]) -> bool:
    status = _whole(found, "status")
    return isinstance(found.get("code"), str) or (status is not None and status >= 400)


def _failure(found: Mapping[str, object]) -> Failure:
    ids = [_text(found, "interactionId", MAX_ID)]
    listed = found.get("interactions")
    for entry in listed if isinstance(listed, list) else ():
        ids.append(_text(entry, "interactionId", MAX_ID) if isinstance(entry, dict) else entry)
    return Failure(
        tuple(dict.fromkeys(one for one in ids if isinstance(one, str) and one)),
        _whole(found, "status"),
        _text(found, "code", MAX_QUOTE),
        _text(found, "message", 1000) or "",
    )


def _entries(found: Mapping[str, object]) -> list[Granted] | None:
    listed = found.get("interactions")
    if not isinstance(listed, list):
        return None
    entries = []
    for entry in listed:
        if isinstance(entry, str):
            entry = {"interactionId": entry}
        name = _text(entry, "interactionId", MAX_ID) if isinstance(entry, dict) else None
        if not name:
            return None
        status = _whole(entry, "status")
        code = _text(entry, "code", MAX_QUOTE)
        entries.append(
            Granted(
                name,
                _text(entry, "codec", MAX_QUOTE),
                _whole(entry, "sampleRate"),
                status if status is not None else 400 if code else 200,
                code,
            )
        )
    return entries


def _text(found: Mapping[str, object], name: str, longest: int) -> str | None:
    value = found.get(name)
    return value[:longest] if isinstance(value, str) else None


def _whole(found: Mapping[str, object], name: str) -> int | None:
    value = found.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 1 << 62 else None


def subscription(interaction_ids: Iterable[str], *, media_type: str = "voice", codecs: Iterable[str]) -> str:
    """Compose the message that asks for the media of interactions, in the shape that the published clients send."""
    preferences = list(codecs)
    return msgspec.json.encode(
        {
            "interactions": [
                {"interactionId": one, "mediaType": media_type, "codecPreferences": preferences}
                for one in interaction_ids
            ]
        }
    ).decode()


def unsubscription(interaction_ids: Iterable[str]) -> str:
    """Compose the message that asks for no more of interactions; the published clients have none."""
    interactions = [{"interactionId": one} for one in interaction_ids]
    return msgspec.json.encode({"type": "unsubscribe", "interactions": interactions}).decode()


def codec_of(name: str) -> str:
    """The codec that a server names, in our spelling.

    Raises
    ------
    FormatError
        If there is no such codec here.
    """
    codec = name.lower()
    if codec not in CODECS:
        raise FormatError(f"the server sends codec {name[:MAX_QUOTE]!r}; known are {', '.join(CODECS)}")
    return codec


def format_of(codec: str, sample_rate: int | None = None) -> MediaFormat:
    """Format of the decoded stream of a codec; mono, both parties mixed.

    Raises
    ------
    FormatError
        If the server names another sample rate than the codec has.
    """
    encoding, rate = CODECS[codec]
    if sample_rate is not None and sample_rate != rate:
        raise FormatError(f"the server sends {codec} at {sample_rate} Hz; {rate} Hz is what it is decoded at")
    return MediaFormat(encoding, rate)


class SequenceUnwrap:
    """Sequence numbers of 16 bits, made to go on to 32.

    As in RFC 3550 A.1 a step of up to 3,000 is the stream going on, whichever side of the wrap it lands on; what is
    further is taken at its word, and the stream follows it when the next number does.

    Parameters
    ----------
    bits : int
        16, or 32 for numbers that are passed on as they are.  A number beyond 16 bits shows 32.
    """

    NEAR = 3000

    def __init__(self, bits: int = 16) -> None:
        self._wide = bits == 32
        self._last: int | None = None  # unwrapped
        self._far: int | None = None  # unwrapped; the one that did not fit

    def __call__(self, number: int) -> int:
        """The number in 32 bits."""
        last = self._last
        if last is not None and number <= 0xFFFF and not self._wide:
            step = (number - last) & 0xFFFF
            if 0 < step <= self.NEAR:  # nearly always
                self._last = last = last + step
                return last & 0xFFFFFFFF
        return self._unusual(number)

    def _unusual(self, number: int) -> int:
        if self._wide or number > 0xFFFF:
            self._wide = True
            return number
        if self._last is None:
            self._last = number
            return number
        extended = self._near(self._last, number)
        if extended is not None:
            return extended & 0xFFFFFFFF
        if self._far is not None:
            extended = self._near(self._far, number)
            if extended is not None:
                self._last, self._far = max(self._far, extended), None
                return extended & 0xFFFFFFFF
        self._far = (self._last & ~0xFFFF) | number
        return self._far & 0xFFFFFFFF

    def wire(self, number: int) -> int:
        """The number as it was sent."""
        return number if self._wide else number & 0xFFFF

    def _near(self, last: int, number: int) -> int | None:
        step = ((number - last + 0x8000) & 0xFFFF) - 0x8000
        return last + step if abs(step) <= self.NEAR else None


class TimestampUnwrap:
    """Timestamps of 32 bits, made to go on for ever; wider ones are left as they are."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._wide = False

    def __call__(self, timestamp: int) -> int:
        """The timestamp on a scale that does not wrap."""
        last = self._last
        if last is None or self._wide or timestamp > 0xFFFFFFFF:
            self._wide = timestamp > 0xFFFFFFFF or self._wide
            self._last = timestamp
            return timestamp
        step = ((timestamp - last + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        unwrapped = last + step
        if step > 0:
            self._last = unwrapped
        return unwrapped

    def wire(self, timestamp: int) -> int:
        """The timestamp as it was sent."""
        return timestamp if self._wide else timestamp & 0xFFFFFFFF


def ended_at(conversation: bytes) -> float | None:
    """When a conversation ended, as its REST description says.

    That is its ``endTime``, or the last of its participants' when all of them have one.

    Returns
    -------
    float or None
        Unix time; None while it goes on.

    Raises
    ------
    FormatError
        If the description cannot be read.
    """
    try:
        found = _decode_object(conversation)
        end = found.get("endTime")
        if isinstance(end, str):
            return _unix(end)
        participants = found.get("participants")
        if not isinstance(participants, list) or not participants:
            return None
        ends = [one.get("endTime") if isinstance(one, dict) else None for one in participants]
        return max(_unix(str(one)) for one in ends) if all(ends) else None
    except (*_UNREADABLE, ValueError, OverflowError) as error:
        raise FormatError(f"the description of the conversation cannot be read: {type(error).__name__}") from None


def _unix(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
