"""The notification socket: what comes over it, and what one socket owes by the clock.

Nothing that a server sends raises: what cannot be used becomes `Malformed` or `Unknown`, with the reason and never
the content, which may be personal.  Time is an argument.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from ..types import Transcript
from .conversations import Conversation, timestamp_ms

__all__ = [
    "MAX_TOPIC_CHARACTERS",
    "PING",
    "Channel",
    "Event",
    "Heartbeat",
    "Malformed",
    "NoLongerSubscribed",
    "Notification",
    "Overlap",
    "Pong",
    "Reply",
    "SocketClosing",
    "SocketState",
    "TokenRevoked",
    "TopicState",
    "Transcription",
    "Unknown",
    "Utterance",
    "UtteranceLog",
    "Word",
    "conversation_calls_topic",
    "conversations_topic",
    "pinned",
    "read_channel",
    "read_subscriptions",
    "receive",
    "subscriptions_body",
    "topic_problem",
    "transcription_topic",
    "utterances",
]

#: Health check; the server answers with `Pong`.
PING = '{"message":"ping"}'
MAX_TOPIC_CHARACTERS = 200
CHANNEL_LIFETIME_S = 86_400.0

_METADATA = "channel.metadata"
_SYSTEM = "v2.system."


# What comes


class Heartbeat(msgspec.Struct, frozen=True):
    """The server's sign of life, about every 30 s."""


class Pong(msgspec.Struct, frozen=True):
    """Its answer to `PING`."""


class SocketClosing(msgspec.Struct, frozen=True):
    """Maintenance: the server closes this socket in about a minute."""


class NoLongerSubscribed(msgspec.Struct, frozen=True):
    """Another channel has taken a subscription over; ``subject`` is what the server names, ``reason`` its own."""

    subject: str
    reason: str = ""


class TokenRevoked(msgspec.Struct, frozen=True):
    """The token is worth nothing any more, and with it the channel."""

    reason: str = ""


class Reply(msgspec.Struct, frozen=True):
    """The answer to a subscription made in the socket: HTTP-like result and status word."""

    result: str
    status: str


class Unknown(msgspec.Struct, frozen=True):
    """A message that this dialect does not have; servers may add some."""

    topic: str


class Malformed(msgspec.Struct, frozen=True):
    """A message that cannot be read: what, where and how much."""

    reason: str
    topic: str = ""


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """How a transcription session stands: ``SESSION_ONGOING``, ``SESSION_ENDED`` or ``UNKNOWN``."""

    offset_ms: float | None = None
    status: str | None = None


class _Word(msgspec.Struct, frozen=True, rename="camel"):
    word: str | None = None
    confidence: float | None = None
    offset_ms: float | None = None
    duration_ms: float | None = None
    start_time_ms: float | None = None

    def __repr__(self) -> str:  # what was said stays out of logs
        return f"_Word(offset_ms={self.offset_ms})"


class _Alternative(msgspec.Struct, frozen=True, rename="camel"):
    confidence: float | None = None
    offset_ms: float | None = None
    duration_ms: float | None = None
    transcript: str | None = None
    decorated_transcript: str | None = None
    words: list[_Word] | None = None
    decorated_words: list[_Word] | None = None

    def __repr__(self) -> str:
        return f"_Alternative(offset_ms={self.offset_ms})"


class _Transcript(msgspec.Struct, frozen=True, rename="camel"):
    utterance_id: str | None = None
    is_final: bool | None = None
    channel: str | None = None
    alternatives: list[_Alternative] | None = None


class Transcription(msgspec.Struct, frozen=True, rename="camel"):
    """A batch of transcripts, or only the status of the session; `utterances` reads it."""

    event_time: str | None = None
    conversation_id: str | None = None
    communication_id: str | None = None
    session_start_time_ms: float | None = None
    transcription_start_time_ms: float | None = None
    status: Status | None = None
    transcripts: list[_Transcript] | None = None

    @property
    def ended(self) -> bool:
        """Whether no more will come of this session."""
        return self.status is not None and self.status.status == "SESSION_ENDED"

    @property
    def origin_ms(self) -> int | None:
        """Epoch ms from which its offsets count; None when it names none."""
        for origin in (self.transcription_start_time_ms, self.session_start_time_ms):
            if origin is not None and _sane(origin):
                return round(origin)
        return None


@dataclass(frozen=True, slots=True)
class Notification:
    """An event of a topic.

    Attributes
    ----------
    topic : str
        As the server names it.
    body : Conversation, Transcription or msgspec.Raw
        Typed for the topics that this dialect knows; else the JSON as it came (``msgspec.json.decode(body)``).
    correlation_id : str
        Of the event, when the server gave one.
    """

    topic: str
    body: Conversation | Transcription | msgspec.Raw = field(repr=False)
    correlation_id: str = ""


Event = (
    Heartbeat | Pong | SocketClosing | NoLongerSubscribed | TokenRevoked | Reply | Notification | Unknown | Malformed
)

_NULL = msgspec.Raw(b"null")


class _Envelope(msgspec.Struct, rename={"topic_name": "topicName", "event_body": "eventBody"}):
    topic_name: str | None = None
    event_body: msgspec.Raw = _NULL
    metadata: msgspec.Raw = _NULL
    result: str | int | None = None
    status: str | int | None = None


class _Message(msgspec.Struct):
    message: str | None = None
    reason: str | None = None


class _Metadata(msgspec.Struct, rename={"correlation_id": "CorrelationId"}):
    correlation_id: str | None = None


_envelope = msgspec.json.Decoder(_Envelope).decode
_message = msgspec.json.Decoder(_Message).decode
_metadata = msgspec.json.Decoder(_Metadata).decode
_conversation = msgspec.json.Decoder(Conversation).decode
_transcription = msgspec.json.Decoder(Transcription).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def receive(message: bytes | str) -> Event:
    """Read one WebSocket message.

    Parameters
    ----------
    message : bytes or str
        As the transport hands it over.

    Returns
    -------
    Event
        Never raises for anything that a server may send.
    """
    try:
        envelope = _envelope(message)
    except _UNREADABLE as error:
        return Malformed(f"message of {len(message)} characters: {error}")
    topic = envelope.topic_name
    if topic is None:
        if envelope.result is not None or envelope.status is not None:
            return Reply(_text(envelope.result), _text(envelope.status))
        return Malformed(f"message of {len(message)} characters names no topic")
    lowered = topic.lower()
    if lowered == _METADATA:
        said = _said(envelope.event_body).message or ""
        if said == "pong":
            return Pong()
        return Heartbeat() if said.lower() == "websocket heartbeat" else Unknown(topic)
    if lowered.startswith(_SYSTEM):
        return _system(topic, lowered, envelope.event_body)
    body: Conversation | Transcription | msgspec.Raw
    try:
        if lowered.endswith((".conversations", ".conversations.calls")) and lowered.startswith("v2.users."):
            body = _conversation(envelope.event_body)
        elif lowered.endswith(".transcription") and lowered.startswith("v2.conversations."):
            body = _transcription(envelope.event_body)
        else:
            body = msgspec.Raw(bytes(envelope.event_body))  # a copy: the message need not be kept for it
    except _UNREADABLE as error:
        return Malformed(
            f"eventBody of {len(bytes(envelope.event_body))} octets: {error}", topic[:MAX_TOPIC_CHARACTERS]
        )
    return Notification(topic, body, _correlation(envelope.metadata))


def _system(topic: str, lowered: str, body: msgspec.Raw) -> Event:
    name = lowered.removeprefix(_SYSTEM)
    if name.startswith("socket_closing"):
        return SocketClosing()
    reason = (_said(body).reason or "")[:100]
    if name.startswith("no_longer_subscribed"):
        return NoLongerSubscribed(topic[len(_SYSTEM + "no_longer_subscribed.") :], reason)
    if name.startswith("token_revoked"):
        return TokenRevoked(reason)
    return Unknown(topic[:MAX_TOPIC_CHARACTERS])


def _said(body: msgspec.Raw) -> _Message:
    """What a body of the server's own says; nothing when it is not as expected, since the topic says enough."""
    try:
        return _message(body)
    except _UNREADABLE:
        return _Message()


def _correlation(metadata: msgspec.Raw) -> str:
    try:
        return (_metadata(metadata).correlation_id or "")[:100]
    except _UNREADABLE:
        return ""


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)[:100]


# Topics and channels


def conversation_calls_topic(user_id: str) -> str:
    """Calls of a user, participants flat."""
    return f"v2.users.{user_id}.conversations.calls"


def conversations_topic(user_id: str) -> str:
    """Conversations of a user, participants nested."""
    return f"v2.users.{user_id}.conversations"


def transcription_topic(conversation_id: str) -> str:
    """What is said in a conversation."""
    return f"v2.conversations.{conversation_id}.transcription"


def topic_problem(topic: str) -> str | None:
    """Why a topic cannot be subscribed to, or None."""
    if not topic or len(topic) > MAX_TOPIC_CHARACTERS:
        return f"a topic id has 1 to {MAX_TOPIC_CHARACTERS} characters, this one {len(topic)}"
    if topic.lower() == _METADATA or topic.lower().startswith(_SYSTEM):
        return "comes by itself and cannot be subscribed to"
    return None


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as the server made it.  The URI is its only credential and in no repr.

    Attributes
    ----------
    id : str
        For the REST calls about it.  Who knows it can guess the URI, so it is shown shortened only.
    connect_uri : str
        Where the socket is.
    expires_ms : int or None
        Epoch ms of its end; None when the server did not say so.
    """

    id: str = field(repr=False)
    connect_uri: str = field(repr=False)
    expires_ms: int | None = None


class _Channel(msgspec.Struct, rename={"connect_uri": "connectUri"}):
    id: str
    connect_uri: str
    expires: str | None = None


class _TopicEntity(msgspec.Struct, rename="camel"):
    id: str
    state: str | None = None
    rejection_reason: str | None = None
    missing_permissions: list[str] | None = None


class _Topics(msgspec.Struct):
    entities: list[_TopicEntity] | None = None


@dataclass(frozen=True, slots=True)
class TopicState:
    """What became of a subscription.

    Attributes
    ----------
    topic : str
        Its id.
    permitted : bool
        Whether events will come.
    reason : str
        Why not, and which permissions are missing.
    """

    topic: str
    permitted: bool
    reason: str = ""


def read_channel(body: bytes) -> Channel:
    """Read the answer to the creation of a channel; raises `msgspec.DecodeError`, which holds no URI."""
    channel = msgspec.json.decode(body, type=_Channel)
    return Channel(channel.id, channel.connect_uri, timestamp_ms(channel.expires))


def read_subscriptions(body: bytes) -> list[TopicState]:
    """Read the answer to a change of subscriptions; raises `msgspec.DecodeError`."""
    found = []
    for entity in msgspec.json.decode(body, type=_Topics).entities or []:
        permitted = (entity.state or "Permitted").lower() != "rejected"
        parts = [entity.rejection_reason or "", ", ".join(entity.missing_permissions or ())]
        reason = "; missing permissions: ".join(filter(None, parts)) if parts[1] else parts[0]
        found.append(TopicState(entity.id, permitted, "" if permitted else (reason or "refused without a reason")))
    return found


def subscriptions_body(topics: Iterable[str]) -> list[dict[str, str]]:
    """Compose the body that names topics."""
    return [{"id": topic} for topic in topics]


# One socket by the clock


class SocketState:
    """What one socket owes, and what is owed to it.

    Parameters
    ----------
    now : float
        Monotonic seconds at which it opened.
    watchdog_s : float
        A socket that is silent for so long is dead.
    ping_interval_s : float
        Silence after which a ping is sent, and time between two.

    Attributes
    ----------
    closing : bool
        Whether the server has said that it will close.
    counts : Counter of str
        Messages by kind, in lower case: ``heartbeat``, ``notification``, ``malformed``, ...
    """

    def __init__(self, now: float, *, watchdog_s: float = 35.0, ping_interval_s: float = 15.0) -> None:
        self._watchdog_s = watchdog_s
        self._ping_interval_s = ping_interval_s
        self._heard_at = now
        self._pinged_at = -math.inf
        self.closing = False
        self.counts: Counter[str] = Counter()

    def receive(self, message: bytes | str, now: float) -> Event:
        """Read a message that came at ``now``; any message is a sign of life."""
        event = receive(message)
        self._heard_at = now
        self._pinged_at = -math.inf
        self.counts[type(event).__name__.lower()] += 1
        self.closing = self.closing or isinstance(event, SocketClosing)
        return event

    def dead(self, now: float) -> bool:
        """Whether it has been silent for too long."""
        return now >= self._heard_at + self._watchdog_s

    def ping_due(self, now: float) -> bool:
        """Whether to send `PING` now; then `pinged` is to be called."""
        return now >= self._next_ping

    def pinged(self, now: float) -> None:
        """A ping was sent."""
        self._pinged_at = now

    @property
    def _next_ping(self) -> float:
        return max(self._heard_at, self._pinged_at) + self._ping_interval_s

    def next_deadline(self) -> float:
        """When to ask `dead` and `ping_due` again."""
        return min(self._heard_at + self._watchdog_s, self._next_ping)

    @staticmethod
    def renew_at(now: float, lifetime_s: float | None, renew_after_s: float) -> float:
        """When to renew a channel made or renewed at ``now``.

        ``renew_after_s`` later, but at the latest when 23/24 of its lifetime have gone by; a lifetime that the server
        did not tell is taken for 24 h, and none is believed to be under a minute.
        """
        lifetime = CHANNEL_LIFETIME_S if lifetime_s is None else min(max(lifetime_s, 60.0), CHANNEL_LIFETIME_S)
        return now + min(renew_after_s, lifetime * 23 / 24)


class Overlap:
    """Tells, while two sockets are open at once, which of their messages have come over the other already.

    The same snapshot may rightly be told twice (muted, unmuted, muted), so what counts is how often each has told it:
    a message is new as long as its socket has told it more often than the other.

    Parameters
    ----------
    max_messages : int
        Different messages remembered; beyond, the oldest is forgotten and would count as new once more.
    """

    def __init__(self, max_messages: int = 4096) -> None:
        self._max_messages = max_messages
        self._seen: OrderedDict[tuple[int, int], list[int]] = OrderedDict()
        self.duplicates = 0

    def new(self, socket: int, message: bytes | str) -> bool:
        """Whether a message of socket 0 (old) or 1 (new) is to be handed on."""
        key = (hash(message), len(message))
        counts = self._seen.setdefault(key, [0, 0])
        counts[socket] += 1
        if len(self._seen) > self._max_messages:
            self._seen.popitem(last=False)
        fresh = counts[socket] > counts[1 - socket]
        self.duplicates += not fresh
        return fresh


# Transcripts


@dataclass(frozen=True, slots=True)
class Word:
    """One word and when it was said, epoch ms."""

    text: str = field(repr=False)
    start_ms: int | None
    duration_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something said, with its absolute time.  What was said is in no repr.

    Attributes
    ----------
    utterance_id : str
        The same when it is told again.
    conversation_id, communication_id : str
        Where it was said.
    channel : str
        ``"internal"`` (the agent's side), ``"external"`` (the customer's), ``"both"``, or ``""`` when unknown.
    start_ms : int or None
        Epoch ms; None when the server told no origin.
    duration_ms : int
        0 when unknown.
    text : str
        The best alternative, with punctuation where the server has it.
    confidence : float
        0 to 1.
    final : bool
        Whether it stays as it is, unless a later final one replaces it.
    words : tuple of Word
        With times of their own.
    """

    utterance_id: str
    conversation_id: str
    communication_id: str
    channel: str
    start_ms: int | None
    duration_ms: int
    text: str = field(repr=False)
    confidence: float
    final: bool
    words: tuple[Word, ...] = field(default=(), repr=False)


_CHANNELS = {"INTERNAL": "internal", "EXTERNAL": "external", "BOTH": "both"}
_SANE_MS = float(1 << 53)


def _sane(number: float) -> bool:
    return math.isfinite(number) and abs(number) < _SANE_MS


def _whole(number: float | None) -> int:
    return round(number) if number is not None and _sane(number) else 0


def _share(number: float | None) -> float:
    return min(max(number, 0.0), 1.0) if number is not None and math.isfinite(number) else 0.0


def _at(origin_ms: int | None, offset_ms: float | None) -> int | None:
    if origin_ms is None or offset_ms is None or not _sane(offset_ms):
        return None
    return origin_ms + round(offset_ms)


def utterances(event: Transcription) -> list[Utterance]:
    """Read what an event tells as said; offsets, those of words too, count from the session's start."""
    origin = event.origin_ms
    found = []
    for transcript in event.transcripts or []:
        # The first of the best: servers put it first, and sort by nothing that they document.
        best = max(transcript.alternatives or [], key=lambda one: _share(one.confidence), default=None)
        if best is None or not transcript.utterance_id:
            continue
        words = tuple(
            Word(
                word.word or "",
                _whole(word.start_time_ms) or _at(origin, word.offset_ms),
                max(0, _whole(word.duration_ms)),
                _share(word.confidence),
            )
            for word in best.decorated_words or best.words or []
        )
        found.append(
            Utterance(
                utterance_id=transcript.utterance_id,
                conversation_id=event.conversation_id or "",
                communication_id=event.communication_id or "",
                channel=_CHANNELS.get((transcript.channel or "").upper(), ""),
                start_ms=_at(origin, best.offset_ms),
                duration_ms=max(0, _whole(best.duration_ms)),
                text=best.decorated_transcript or best.transcript or "",
                confidence=_share(best.confidence),
                final=bool(transcript.is_final),
                words=words,
            )
        )
    return found


def pinned(utterance: Utterance, origin_ms: float, sample_rate: int) -> Transcript | None:
    """Put an utterance on a timeline of samples.

    Parameters
    ----------
    utterance : Utterance
        With an absolute time.
    origin_ms : float
        Epoch ms of the timeline's first sample.  Where the media timestamps of a capture are epoch ms too, any of its
        transcripts tells it: ``said.server_timestamp - said.position * 1000 / sample_rate``.
    sample_rate : int
        Hz of the timeline.

    Returns
    -------
    Transcript or None
        None when the utterance has no time, or ended before the timeline began; one that began before it begins
        with it.
    """
    if utterance.start_ms is None:
        return None
    begin = round((utterance.start_ms - origin_ms) * sample_rate / 1000)
    end = begin + round(utterance.duration_ms * sample_rate / 1000)
    if end < 0:
        return None
    position = max(0, begin)
    return Transcript(
        text=utterance.text,
        confidence=utterance.confidence,
        position=position,
        n_samples=end - position,
        channel=utterance.channel,
        server_timestamp=utterance.start_ms,
    )


class UtteranceLog:
    """What was said so far; the last final word on an utterance wins.

    Parameters
    ----------
    max_utterances : int
        Remembered; beyond, the oldest is forgotten, and told anew if it came again.
    """

    def __init__(self, max_utterances: int = 10_000) -> None:
        self._max_utterances = max_utterances
        self._latest: OrderedDict[tuple[str, str], Utterance] = OrderedDict()

    def add(self, event: Transcription) -> list[Utterance]:
        """Take an event in; returns what it changes: new utterances, and new wordings of old ones.

        An interim wording never replaces a final one, and what is told again unchanged is no news.
        """
        news = []
        for utterance in utterances(event):
            key = (utterance.communication_id, utterance.utterance_id)
            known = self._latest.get(key)
            if known is not None and (known == utterance or (known.final and not utterance.final)):
                continue
            self._latest[key] = utterance
            if len(self._latest) > self._max_utterances:
                self._latest.popitem(last=False)
            news.append(utterance)
        return news

    @property
    def latest(self) -> list[Utterance]:
        """All remembered, in order of their time."""
        return sorted(self._latest.values(), key=lambda one: -1 if one.start_ms is None else one.start_ms)
