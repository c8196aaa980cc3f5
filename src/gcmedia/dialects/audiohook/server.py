"""The server's end of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from ...errors import LocalProtocolError, RemoteProtocolError
from ...types import Hole, MediaFormat
from .durations import format_samples
from .entities import Entity, to_wire
from .envelope import MAX_QUOTE, VERSION, ClientEnvelope, compose, is_uuid, read_client
from .events import (
    Audio,
    Closing,
    Discarded,
    Dtmf,
    Ended,
    Failed,
    Opened,
    Paused,
    PeerError,
    Ping,
    Playback,
    Resumed,
    Unknown,
    Update,
)
from .machine import Machine
from .media import Media, choose
from .open import NIL_ID, ContinuedSession, Open
from .parameters import as_object, duration_in, read_open, samples_in, text_in, whole_in
from .settings import AudioHookConfig
from .timeline import StreamTimeline
from .upgrade import Identity

__all__ = ["Answer", "ServerMachine", "ServerState"]

ServerState = Literal["waiting", "active", "leaving", "finishing", "closed"]

#: Reasons of ``disconnect``.
REASONS = ("completed", "unauthorized", "error", "rejected")

MAX_BINARY_OUT = 64_000
DIGITS = "0123456789*#ABCD"

# What the client is told; the details are for this end alone.
_INFO = {"protocol": "protocol error", "timeout": "timeout", "unauthorized": "unauthorized"}


class Answer(msgspec.Struct, frozen=True):
    """How an ``open`` is answered where it differs from the settings; see ``answer`` of `ServerMachine`.

    Attributes
    ----------
    media : Media or None
        One of the offer; None for no audio.
    start_paused : bool
        Ask the client to begin paused.
    discard_to : int or None
        Samples: the client may leave out what comes before, as after a reconnect.
    """

    media: Media | None
    start_paused: bool = False
    discard_to: int | None = None


class ServerMachine(Machine[ServerState]):
    """The server's end: the platform is the client, sends the call's audio and takes control messages.

    Parameters
    ----------
    config : AudioHookConfig, optional
        Settings.
    now : float
        When the connection was made.
    identity : Identity, optional
        What the upgrade request said; ``open`` must say the same.  Without it nothing is compared.
    answer : callable, optional
        ``answer(open, media)`` returns an `Answer` in place of the one that the settings give; ``media`` is what they
        would choose.  It is called before ``opened`` is composed, so it must be quick and never be a user's code; if it
        raises, the settings' answer stands and ``anomalies`` counts it.

    Attributes
    ----------
    state : str
        ``"waiting"`` for open, ``"active"``, ``"leaving"`` (disconnect sent), ``"finishing"`` (close received, last
        events may be sent) or ``"closed"``.
    media : Media or None
        What was chosen.
    paused, pause_requested : bool
        What the client said last; whether this end has asked for it.
    audio_frames : int
        Binary messages taken.
    output_variables : dict
        Told in ``disconnect`` and ``closed`` when not empty (Audio Connector).

    Notes
    -----
    The cheap way for audio is `receive_audio`: one call, no object.  `receive` takes any message.

    ``open``, ``ping`` and ``close`` are answered within the call that takes them.  Where messages are paced, pace
    before calling `send_event` and its like: a message has its number as soon as it is composed.
    """

    __slots__ = (
        "_answer",
        "_close_reason",
        "_config",
        "_failed",
        "_heard",
        "_identity",
        "_max_binary",
        "_opened",
        "_pause_is_quiet",
        "_timeline",
        "audio_frames",
        "media",
        "offer",
        "output_variables",
        "pause_requested",
        "paused",
        "sent_samples",
    )

    def __init__(
        self,
        config: AudioHookConfig | None = None,
        *,
        now: float,
        identity: Identity | None = None,
        answer: Callable[[Open, Media | None], Answer] | None = None,
    ) -> None:
        super().__init__(identity.session_id if identity else NIL_ID, "waiting")
        self._config = config or AudioHookConfig()
        self._identity = identity
        self._answer = answer
        self._heard = now
        self._deadline = now + self._config.open_timeout_s
        self._timeline: StreamTimeline = self._new_timeline(0, 8000)
        self._opened = False
        self._failed = False
        self._pause_is_quiet = True
        self._close_reason = ""
        self._max_binary = self._config.max_binary_octets
        self.offer: Open | None = None
        self.media: Media | None = None
        self.paused = False
        self.pause_requested = False
        self.audio_frames = 0
        self.sent_samples = 0
        self.output_variables: dict[str, Any] = {}

    # What is known

    @property
    def position(self) -> int:
        """Where the timeline stands, in samples: received, and told as dropped."""
        return self._timeline.position

    @property
    def received_samples(self) -> int:
        """Samples of audio received, per channel."""
        return self._timeline.received

    @property
    def missing_samples(self) -> int:
        """Samples of all holes."""
        return self._timeline.missing

    @property
    def sample_rate(self) -> int:
        """Hz; 8000 until media are chosen, and without any."""
        return self.media.rate if self.media else 8000

    @property
    def format(self) -> MediaFormat | None:
        """What the payload of the frames is, for the core; None without audio."""
        return self.media.to_format(self._config.l16_byteorder) if self.media else None

    @property
    def checkpoint(self) -> ContinuedSession:
        """How far this session has come, as a later one would name it."""
        return ContinuedSession(self.session_id, self.sent_seq, self.peer_seq)

    @property
    def next_deadline(self) -> float:
        """When `advance` is to be called next; infinity for never.

        While the session is active it moves on with every message, so a timer may be left as it is and this be asked
        again when it fires.
        """
        if self.state == "active" and not self.over:
            return self._heard + self._config.idle_timeout_s
        return self._deadline

    # Messages in

    def receive(self, message: str | bytes, now: float) -> list[Any]:
        """Take a message, ``str`` as text and ``bytes`` as audio; return what has happened."""
        if isinstance(message, str):
            self.receive_text(message, now)
        else:
            position = self.receive_audio(message, now)
            if position >= 0:
                self._events.append(Audio(position, self._timeline.position - position, message))
        return self.events()

    def receive_audio(self, payload: bytes | memoryview, now: float) -> int:
        """Take a binary message.

        Parameters
        ----------
        payload : bytes or memoryview of octets
            Interleaved as negotiated; only its length is looked at.
        now : float
            Seconds.

        Returns
        -------
        int
            Position of its first sample; -1 when it is not to be used, and then see `events`.
        """
        self._heard = now
        n_octets = len(payload)
        block = self._block
        if block and 0 < n_octets <= self._max_binary and not n_octets % block:
            self.audio_frames += 1
            timeline = self._timeline
            position = timeline.position
            n_samples = n_octets // block
            timeline.position = position + n_samples
            timeline.received += n_samples
            return position
        return self._unusual_audio(n_octets, now)

    @property
    def plain_block(self) -> int:
        """Octets of a sample of all channels while there is nothing to decide about audio; else 0.

        Meanwhile a driver may take messages of 1 to ``max_binary_octets`` octets by itself, as long as they hold whole
        samples, and tell of them by `took_audio` before anything else happens to this machine.
        """
        return self._block

    def took_audio(self, n_messages: int, n_octets: int, now: float) -> None:
        """Account for binary messages that the driver has taken by itself, see `plain_block`."""
        assert self.media is not None
        self._heard = now
        self.audio_frames += n_messages
        self._timeline.audio(n_octets // (self._block or self.media.block_octets))

    def receive_text(self, text: str | bytes, now: float) -> None:
        """Take a text message, also as UTF-8; see `events` and `messages_to_send`."""
        self._heard = now
        if self.state == "finishing" or self.state == "closed" or self.over:
            self._count("message after close")
            return
        if len(text) > self._config.max_text_octets:
            limit = self._config.max_text_octets
            return self._fail("protocol", 413, f"text message of {len(text)}, more than {limit}", now)
        try:
            envelope = read_client(text)
        except RemoteProtocolError as error:
            return self._fail("protocol", 400, str(error), now)
        fault = self._fault(envelope)
        if fault:
            self._fail("protocol", 400, fault, now)
        type_ = envelope.type
        if self._failed and type_ not in ("close", "ping"):
            self._count("message after failure")
            return
        handler = _HANDLERS.get(type_)
        if self.state == "waiting" and type_ not in ("open", "close", "ping", "error"):
            return self._fail("protocol", 409, f"{self._quoted(type_)} before open", now)
        if not isinstance(envelope.parameters, dict):
            self._count("no parameters")
        if type_ not in _PLACED:
            self._check_position(envelope)
        if handler is None:
            self._count("unknown type")
            self._events.append(Unknown(type_[:MAX_QUOTE]))
            return
        handler(self, envelope, as_object(envelope.parameters), now)

    def advance(self, now: float) -> list[Any]:
        """Let time pass: act on deadlines that have come; return what has happened."""
        if now >= self.next_deadline:
            if self.state == "active":
                self._fail("timeout", 408, f"nothing heard for {self._config.idle_timeout_s} s", now)
            elif self.state == "waiting":
                self._fail("timeout", 408, f"no open within {self._config.open_timeout_s} s", now)
            elif self.state == "leaving":
                self._end(Ended("no close", False))
            elif self.state == "finishing":
                self.finish(now)
            else:
                self._end(self._how_it_ended())
        return self.events()

    def _fault(self, envelope: ClientEnvelope) -> str:
        """What breaks the order of messages, ``""`` when nothing does; the counters follow the client either way."""
        expected, self.peer_seq = self.peer_seq + 1, envelope.seq
        if envelope.id != self.session_id:  # which has the form of one
            if not is_uuid(envelope.id):
                return f"id is {self._quoted(envelope.id)}, no UUID"
            if self.session_id == NIL_ID and self._identity is None and self.state == "waiting":
                self.session_id = envelope.id
        if envelope.version != VERSION:
            return f"version is {self._quoted(envelope.version)}, not {VERSION!r}"
        if envelope.id != self.session_id and envelope.id.lower() != self.session_id.lower():
            return f"id is {envelope.id}, not that of the session, {self.session_id}"
        if envelope.seq != expected:
            return f"seq is {envelope.seq}, not {expected}"
        if envelope.serverseq > self.sent_seq:
            return f"serverseq is {envelope.serverseq}, and {self.sent_seq} was the last sent"
        return ""

    def _unusual_audio(self, n_octets: int, now: float) -> int:
        """Audio that does not simply go on: taken all the same, put up with, or the end of the session."""
        if self.over or self._failed or self.state in ("finishing", "closed"):
            self._count("audio after close" if not self._failed else "audio after failure")
        elif not self._opened:
            if self.state == "leaving":
                self._count("audio after close")
            else:
                self._fail("protocol", 409, f"binary message of {n_octets} octets before open", now)
        elif self.media is None:
            self._fail("protocol", 415, f"binary message of {n_octets} octets in a session without audio", now)
        elif n_octets > self._max_binary:
            self._fail("protocol", 413, f"binary message of {n_octets} octets, more than {self._max_binary}", now)
        elif n_octets % self.media.block_octets:
            block = self.media.block_octets
            self._fail("protocol", 400, f"binary message of {n_octets} octets, no multiple of {block}", now)
        elif n_octets == 0:
            self._count("empty frame")
        else:  # paused
            if self._pause_is_quiet:
                self._pause_is_quiet = False
                self._note("audio while paused", f"{n_octets} octets at {self.position} samples; taken")
            else:
                self._count("audio while paused")
            self.audio_frames += 1
            return self._timeline.audio(n_octets // self.media.block_octets)
        return -1

    def _check_position(self, envelope: ClientEnvelope) -> None:
        position = self._position_of(envelope)
        if position is not None:
            self._tell(*self._timeline.declare(position, paused=self.paused))

    def _position_of(self, envelope: ClientEnvelope) -> int | None:
        """The client's position, None without audio and when there is none that can be read."""
        if self.media is None:
            return None
        position = samples_in(envelope.position, self.media.rate)
        if position is None:
            self._count("no position")
        return position

    def _tell(self, holes: tuple[Hole, ...], detail: str) -> None:
        if detail:
            self._note("position", detail)
        if holes:
            self._events.append(Discarded(self.position, holes))

    def _dropped(self, parameters: dict[str, Any], cause: str) -> tuple[Hole, ...]:
        """The holes that ``resumed`` and ``discarded`` tell of."""
        if self.media is None:
            return ()
        start = samples_in(parameters.get("start"), self.media.rate)
        n_samples = samples_in(parameters.get("discarded"), self.media.rate)
        if start is None or n_samples is None:
            self._note("position", "start or discarded is missing or no duration")
            start = self.position if start is None else start
        holes, detail = self._timeline.hole(start, n_samples or 0, cause)
        if detail:
            self._note("position", detail)
        return holes

    # The client's messages, by type

    def _on_open(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        if self._opened:
            return self._fail("protocol", 409, "open for the second time", now)
        if self.state == "leaving":
            self._count("open after disconnect")
            return
        try:
            offer = read_open(parameters, envelope.position)
        except RemoteProtocolError as error:
            return self._fail("protocol", 400, str(error), now)
        if self._identity and offer.organization_id.lower() != self._identity.organization_id.lower():
            detail = f"organizationId is {offer.organization_id}, not that of the upgrade request"
            return self._fail("unauthorized", 401, detail, now)
        answer = self._answer_to(offer)
        self.offer = offer
        self.media = answer.media
        rate = self.sample_rate
        position = samples_in(envelope.position, rate)
        if position is None:
            self._note("no position", "open has no position; taken as 0")
        self._timeline = self._new_timeline(position or 0, rate)
        self._opened = True
        self.state = "active"
        self._block = answer.media.block_octets if answer.media else 0
        self.pause_requested = answer.start_paused
        opened: dict[str, Any] = {
            "media": [answer.media.to_wire()] if answer.media else [],
            "startPaused": answer.start_paused,
        }
        if answer.discard_to is not None:
            opened["discardTo"] = format_samples(answer.discard_to, rate)
        if offer.supported_languages and self._config.supported_languages:
            opened["supportedLanguages"] = list(self._config.supported_languages)
        self._send("opened", opened)
        self._events.append(Opened(offer, answer.media, self.position, offer.probe))

    def _answer_to(self, offer: Open) -> Answer:
        config = self._config
        media = choose(offer.media, formats=config.formats, channels=config.channels, rates=config.rates)
        usual = Answer(media, config.start_paused)
        if media is None and offer.media:
            self._note("no media", f"none of {len(offer.media)} media offered can be used")
        if self._answer is None:
            return usual
        try:
            answer = self._answer(offer, media)
            if answer.media is not None and (answer.media not in offer.media or not answer.media.usable):
                raise LocalProtocolError("the media answered were not offered")
            if answer.discard_to is not None and answer.discard_to < 0:
                raise LocalProtocolError(f"discard_to is {answer.discard_to} samples, less than 0")
        except Exception as error:  # whatever it is, the client gets its answer
            self._note("answer", f"{type(error).__name__}: {error}")
            return usual
        return answer

    def _on_close(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._block = 0
        holes: tuple[Hole, ...] = ()
        position = self._position_of(envelope) if self._opened and not self._failed else None
        if position is not None:
            holes, detail = self._timeline.end(position, paused=self.paused)
            if detail:
                self._note("position", detail)
        self._close_reason = text_in(parameters, "reason", MAX_QUOTE)
        self._events.append(Closing(self._close_reason, self.position, holes))
        self.state = "finishing"
        self._deadline = now + self._config.final_events_s
        if not (self._opened and self._config.final_events_s) or self._failed:
            self.finish(now)

    def _on_ping(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._send("pong")
        self._events.append(Ping(self.position, duration_in(parameters.get("rtt"))))

    def _on_paused(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._check_position(envelope)
        repeated, self.paused = self.paused, True
        if not repeated:
            self._block = 0
            self._pause_is_quiet = True
        self._events.append(Paused(self.position, self.pause_requested, repeated))

    def _on_resumed(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        repeated, self.paused = not self.paused, False
        holes = self._dropped(parameters, "paused")
        self._block = self.media.block_octets if self.media else 0
        self._events.append(Resumed(self.position, holes, repeated))
        self._check_position(envelope)

    def _on_discarded(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        holes = self._dropped(parameters, "discarded")
        self._events.append(Discarded(self.position, holes))
        self._check_position(envelope)

    def _on_update(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._events.append(Update(text_in(parameters, "language", MAX_QUOTE)))

    def _on_error(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        code = whole_in(parameters, "code")
        message = text_in(parameters, "message")
        self._events.append(PeerError(code or 0, message, duration_in(parameters.get("retryAfter"))))

    def _on_dtmf(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        digit = text_in(parameters, "digit", 2)
        if len(digit) == 1 and digit in DIGITS:
            self._events.append(Dtmf(digit))
        else:
            self._count("unreadable dtmf")

    def _on_playback_started(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._events.append(Playback(True))

    def _on_playback_completed(self, envelope: ClientEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._events.append(Playback(False))

    # What this end can do.  Each returns False, and does nothing, when the session is too far for it.

    def pause(self, now: float) -> bool:
        """Ask for no more audio; `Paused` tells when it stops.  May be repeated."""
        if self.state != "active" or self.over:
            return False
        self.pause_requested = True
        return self._send("pause")

    def resume(self, now: float) -> bool:
        """Take back `pause`; the client may go on holding the audio for reasons of its own."""
        if self.state != "active" or self.over:
            return False
        self.pause_requested = False
        return self._send("resume")

    def send_event(self, entities: Iterable[Entity], now: float) -> bool:
        """Send entities, all in one message.

        Raises
        ------
        LocalProtocolError
            If the message is longer than ``max_entities_octets``.
        """
        if not self._opened or self._failed or self.over or self.state == "closed":
            return False
        return self._send("event", {"entities": to_wire(entities, self.sample_rate)})

    def updated(self, now: float) -> bool:
        """Answer an update of the language; optional in the protocol."""
        return self.state == "active" and not self.over and self._send("updated")

    def reconnect(self, info: str, now: float) -> bool:
        """Ask the client to open another session in place of this one.

        Raises
        ------
        LocalProtocolError
            If the settings say that the integration has no reconnect.
        """
        if not self._config.reconnect:
            raise LocalProtocolError("reconnect is off in the settings; a client that does not know it would leave")
        return self.state == "active" and not self.over and self._send("reconnect", {"info": info} if info else {})

    def send_audio(self, payload: bytes, now: float) -> bool:
        """Send audio of the chosen media, in messages of at most 64,000 octets.

        Raises
        ------
        LocalProtocolError
            If the product does not allow it (``two_way``), or the payload ends amid a sample.
        """
        if not self._config.two_way:
            raise LocalProtocolError("two_way is off in the settings; only Audio Connector takes audio from the server")
        if self.media is None or self.state != "active" or self.over:
            return False
        block = self.media.block_octets
        if len(payload) % block:
            raise LocalProtocolError(f"audio of {len(payload)} octets, no multiple of {block}")
        step = MAX_BINARY_OUT // block * block
        self._outgoing.extend(bytes(payload[at : at + step]) for at in range(0, len(payload), step))
        self.sent_samples += len(payload) // block
        return True

    def disconnect(self, reason: str, now: float, *, info: str = "") -> bool:
        """Ask the client to end the session; also before ``open``, to reject it.

        Parameters
        ----------
        reason : str
            ``"completed"``, ``"unauthorized"``, ``"error"`` or ``"rejected"``.
        info : str
            For the client's log; no secrets, nothing personal.
        """
        if reason not in REASONS:
            raise LocalProtocolError(f"reason is {reason!r}, not one of {', '.join(REASONS)}")
        if self.state not in ("waiting", "active") or self.over:
            return False
        parameters: dict[str, Any] = {"reason": reason}
        if info:
            parameters["info"] = info
        self._send("disconnect", parameters | self._output())
        self.state = "leaving"
        self._deadline = now + self._config.close_timeout_s
        return True

    def finish(self, now: float) -> bool:
        """The last events have been sent: answer ``close`` now, ahead of ``final_events_s``."""
        if self.state != "finishing" or self.over:
            return False
        self._send("closed", self._output())
        self.state = "closed"
        self._deadline = now + self._config.close_timeout_s
        return True

    # Within

    def _output(self) -> dict[str, Any]:
        return {"outputVariables": dict(self.output_variables)} if self.output_variables else {}

    def _send(self, type_: str, parameters: dict[str, Any] | None = None) -> bool:
        message = compose(type_, self.session_id, self.sent_seq + 1, self.peer_seq, parameters or {})
        limit = self._config.max_entities_octets
        if 4 * len(message) > limit and len(message.encode()) > limit:
            raise LocalProtocolError(f"{type_} of {len(message.encode())} octets, more than {limit}")
        self.sent_seq += 1
        self._outgoing.append(message)
        return True

    def _fail(self, cause: str, code: int, detail: str, now: float) -> None:
        """The session cannot go on: one ``disconnect``, then only ``close`` and pings are answered."""
        self._block = 0
        if self._failed:
            self._count("failure after failure")
            return
        self._failed = True
        self._events.append(Failed(cause, code, detail))
        self.output_variables = {}
        reason = "unauthorized" if cause == "unauthorized" else "error"
        self.disconnect(reason, now, info=_INFO[cause])

    def _how_it_ended(self) -> Ended:
        if self.state == "closed":
            return Ended(self._close_reason, not self._failed)
        return Ended(self._close_reason or "connection lost", False)

    def _new_timeline(self, position: int, rate: int) -> StreamTimeline:
        return StreamTimeline(
            position,
            declared=self._config.holes == "declared",
            max_hole=int(self._config.max_hole_s * rate),
            max_position=position + int(self._config.max_position_s * rate),
        )


Handler = Callable[[ServerMachine, ClientEnvelope, dict[str, Any], float], None]

_HANDLERS: dict[str, Handler] = {
    "open": ServerMachine._on_open,
    "close": ServerMachine._on_close,
    "ping": ServerMachine._on_ping,
    "paused": ServerMachine._on_paused,
    "resumed": ServerMachine._on_resumed,
    "discarded": ServerMachine._on_discarded,
    "update": ServerMachine._on_update,
    "error": ServerMachine._on_error,
    "dtmf": ServerMachine._on_dtmf,
    "playback_started": ServerMachine._on_playback_started,
    "playback_completed": ServerMachine._on_playback_completed,
}

# Their position is compared within, with the audio or the hole that they tell of.
_PLACED = {"open", "close", "paused", "resumed", "discarded"}
