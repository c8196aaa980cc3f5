"""The client's end of a session."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Literal

from ...errors import LocalProtocolError, RemoteProtocolError, StateError
from .durations import format_samples, format_seconds
from .envelope import MAX_QUOTE, VERSION, ServerEnvelope, compose, read_server
from .events import (
    Anomaly,
    Audio,
    Closed,
    Disconnecting,
    Ended,
    EventReceived,
    Failed,
    OpenAnswered,
    Pong,
    Reconnect,
    Requested,
    Unknown,
    Updated,
)
from .machine import Machine
from .media import Media
from .open import Open
from .parameters import as_object, read_media, samples_in, text_in
from .settings import AudioHookClientConfig

__all__ = ["ClientMachine", "ClientState"]

ClientState = Literal["new", "opening", "active", "closing", "closed"]

#: Reasons of ``close``.
REASONS = ("end", "error", "disconnect", "reconnect")

MAX_BINARY_OUT = 64_000
MAX_INFO = 200
MAX_VIOLATIONS = 100


class ClientMachine(Machine[ClientState]):
    """The client's end, as the platform plays it: for tests, load and whoever sends audio to an AudioHook server.

    Parameters
    ----------
    open : Open
        What is offered; its position is where the stream begins.
    session_id : str
        UUID; the same as in the upgrade request.
    config : AudioHookClientConfig, optional
        Settings.

    Attributes
    ----------
    state : str
        ``"new"``, ``"opening"``, ``"active"``, ``"closing"`` (close sent) or ``"closed"``.
    media : Media or None
        What the server chose.
    position : int
        Where the stream stands, in samples: sent, dropped and paused over.
    paused : bool
        Whether audio is dropped now; ``paused_by_server`` and ``paused_by_client`` say for whom.
    sent_frames, sent_samples, dropped_samples : int
        Audio so far; what was dropped has been told to the server, or will be with ``resumed``.
    received_samples : int
        Audio of the server (Audio Connector).
    rtt_s : float or None
        What the last ping took.
    violations : list of str
        Rules that the server broke; at most 100, further ones are counted in ``anomalies``.
    """

    __slots__ = (
        "_close_reason",
        "_close_seq",
        "_config",
        "_gave_up",
        "_next_ping",
        "_open",
        "_paused_at",
        "_ping_sent_at",
        "_ping_seq",
        "dropped_samples",
        "media",
        "paused_by_client",
        "paused_by_server",
        "position",
        "received_samples",
        "rtt_s",
        "sent_frames",
        "sent_samples",
        "violations",
    )

    def __init__(
        self,
        open: Open,
        *,
        session_id: str,
        config: AudioHookClientConfig | None = None,
    ) -> None:
        super().__init__(session_id, "new")
        self._open = open
        self._config = config or AudioHookClientConfig()
        self.media: Media | None = None
        self.position = open.position
        self.paused_by_server = False
        self.paused_by_client = False
        self.sent_frames = 0
        self.sent_samples = 0
        self.dropped_samples = 0
        self.rtt_s: float | None = None
        self.received_samples = 0
        self.violations: list[str] = []
        self._paused_at = 0
        self._next_ping = inf
        self._ping_seq = 0  # of the ping that waits for its pong, 0 for none
        self._ping_sent_at = 0.0
        self._close_seq = 0
        self._close_reason = ""
        self._gave_up = False

    @property
    def sample_rate(self) -> int:
        """Hz: of the media chosen, before that of the first offered."""
        media = self.media or (self._open.media[0] if self._open.media else None)
        return media.rate if media else 8000

    @property
    def _active(self) -> bool:
        return self.state == "active" and not self.over

    @property
    def paused(self) -> bool:
        """Whether audio is dropped now."""
        return self.paused_by_server or self.paused_by_client

    @property
    def next_deadline(self) -> float:
        """When `advance` is to be called next: to send a ping, or to miss an answer; infinity for never."""
        if self._active:
            return min(self._next_ping, self._deadline)
        return self._deadline

    # Messages in

    def receive(self, message: str | bytes, now: float) -> list[Any]:
        """Take a message of the server, ``str`` as text and ``bytes`` as audio; return what has happened."""
        if isinstance(message, str):
            self.receive_text(message, now)
        else:
            self.receive_audio(message, now)
        return self.events()

    def receive_audio(self, payload: bytes, now: float) -> None:
        """Take a binary message of the server (Audio Connector)."""
        n_octets = len(payload)
        if self.over:
            self._count("message after closed")
            return
        if self.media is None or not self._config.two_way:
            return self._violation(415, f"binary message of {n_octets} octets", now, fatal=True)
        if n_octets > self._config.max_binary_octets:
            limit = self._config.max_binary_octets
            return self._violation(413, f"binary message of {n_octets} octets, more than {limit}", now, fatal=True)
        n_samples, rest = divmod(n_octets, self.media.block_octets)
        if rest or not n_samples:
            block = self.media.block_octets
            return self._violation(400, f"binary message of {n_octets} octets, no multiple of {block}", now, fatal=True)
        self._events.append(Audio(self.received_samples, n_samples, payload))
        self.received_samples += n_samples

    def receive_text(self, text: str | bytes, now: float) -> None:
        """Take a text message of the server, also as UTF-8; see `events` and `messages_to_send`."""
        if self.over:
            self._count("message after closed")
            return
        if len(text) > self._config.max_text_octets:
            limit = self._config.max_text_octets
            return self._violation(413, f"text message of {len(text)}, more than {limit}", now, fatal=True)
        try:
            envelope = read_server(text)
        except RemoteProtocolError as error:
            return self._violation(400, str(error), now, fatal=True)
        code, fault = self._fault(envelope)
        if fault:
            self._violation(code, fault, now, fatal=True)
            if self._config.strict and envelope.type != "closed":
                return
        handler = _HANDLERS.get(envelope.type)
        if handler is None:
            self._count("unknown type")
            self._events.append(Unknown(envelope.type[:MAX_QUOTE]))
            return self._violation(500, f"unknown type {self._quoted(envelope.type)}", now, fatal=True)
        if self.state == "opening" and envelope.type not in ("opened", "disconnect", "closed"):
            self._violation(409, f"{envelope.type} before opened", now, fatal=True)
            return
        handler(self, envelope, as_object(envelope.parameters), now)

    def advance(self, now: float) -> list[Any]:
        """Let time pass: send the ping that is due, or act on an answer that is not there."""
        if self.over:
            return self.events()
        if now >= self._deadline:
            if self.state == "opening":
                self._give_up(408, "Timed out waiting for opened response", now)
            elif self.state == "active":
                self._give_up(408, "Timeout waiting for pong", now)
            else:
                self._send("error", {"code": 408, "message": "Timed out waiting for closed response"})
                self._end(Ended("no closed", False))
        elif self.state == "active" and now >= self._next_ping:
            if self._ping_seq:
                self._give_up(408, "Timeout waiting for pong", now)
            else:
                self._next_ping += self._config.ping_interval_s
                if self._next_ping <= now:  # called late: no burst of pings
                    self._next_ping = now + self._config.ping_interval_s
                self._ping(now)
        return self.events()

    def _fault(self, envelope: ServerEnvelope) -> tuple[int, str]:
        """What breaks the rules that every message has, and the code for it."""
        expected, self.peer_seq = self.peer_seq + 1, envelope.seq
        if envelope.version != VERSION:
            return 400, f"version is {self._quoted(envelope.version)}, not {VERSION!r}"
        if envelope.id.lower() != self.session_id.lower():
            return 400, f"id is {self._quoted(envelope.id)}, not that of the session"
        if envelope.seq != expected:
            return 500, f"seq is {envelope.seq}, not {expected}"
        if envelope.clientseq > self.sent_seq:
            return 400, f"clientseq is {envelope.clientseq}, and {self.sent_seq} was the last sent"
        if not isinstance(envelope.parameters, dict):
            return 400, f"{self._quoted(envelope.type)} has no parameters"
        return 0, ""

    # The server's messages, by type

    def _on_opened(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        if self.state != "opening":
            return self._violation(409, "opened when nothing was to be opened", now, fatal=self.state == "active")
        if envelope.clientseq != self.sent_seq:
            self._violation(400, f"opened has clientseq {envelope.clientseq}, open was {self.sent_seq}", now)
        listed = parameters.get("media")
        media = read_media(listed)
        if not isinstance(listed, list) or len(media) != len(listed) or len(media) > 1:
            return self._violation(400, "opened has not one entry of media or none", now, fatal=True)
        if media and (media[0] not in self._open.media or not media[0].usable):
            return self._violation(400, "opened has media that were not offered", now, fatal=True)
        self.state = "active"
        self.media = media[0] if media else None
        self._deadline = inf
        self._next_ping = now + self._config.first_ping_s if self._config.ping_interval_s else inf
        start_paused = parameters.get("startPaused") is True
        discard_to = samples_in(parameters.get("discardTo"), self.sample_rate)
        skip = max(0, (discard_to or 0) - self.position)
        self._block = self.media.block_octets if self.media else 0
        if skip:
            self.discard(skip, now)
        if start_paused:
            self._hold()
            self.paused_by_server = True
            self._send("paused")
        languages = parameters.get("supportedLanguages")
        self._events.append(
            OpenAnswered(
                self.media,
                start_paused,
                skip,
                tuple(str(one)[:MAX_QUOTE] for one in languages) if isinstance(languages, list) else (),
            )
        )

    def _on_closed(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        if self.state != "closing":
            return self._violation(409, "closed, and no close was sent", now, fatal=True)
        if envelope.clientseq != self._close_seq:
            self._violation(400, f"closed has clientseq {envelope.clientseq}, close was {self._close_seq}", now)
        self.state = "closed"
        self._events.append(Closed(as_object(parameters.get("outputVariables"))))
        self._end(Ended(self._close_reason, not self._gave_up))

    def _on_pong(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        if not self._ping_seq:
            if self.state == "active":
                self._violation(409, "pong, and no ping was sent", now)
            return
        if envelope.clientseq != self._ping_seq:
            return self._violation(400, f"pong has clientseq {envelope.clientseq}, ping was {self._ping_seq}", now)
        first = self.rtt_s is None
        self.rtt_s = now - self._ping_sent_at
        self._ping_seq = 0
        self._events.append(Pong(self.rtt_s))
        if self.state == "active":
            self._deadline = inf
            if first:
                self._ping(now)

    def _on_pause(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        if self.state != "active":
            return
        self._hold()
        self.paused_by_server = True
        self._send("paused")
        self._events.append(Requested("pause", True))

    def _on_resume(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        if self.state != "active":
            return
        was_paused = self.paused
        self.paused_by_server = False
        self._go_on(was_paused)
        self._events.append(Requested("resume", self.paused))

    def _on_event(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        entities = parameters.get("entities")
        if not isinstance(entities, list) or not all(isinstance(one, dict) and "type" in one for one in entities):
            return self._violation(400, "event has no list of entities with a type", now, fatal=True)
        self._events.append(EventReceived(tuple(entities)))

    def _on_updated(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._events.append(Updated())

    def _on_disconnect(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        if self.state == "closing":
            return
        self._events.append(
            Disconnecting(
                text_in(parameters, "reason", MAX_QUOTE),
                text_in(parameters, "info"),
                as_object(parameters.get("outputVariables")),
            )
        )
        self.close("disconnect", now)

    def _on_reconnect(self, envelope: ServerEnvelope, parameters: dict[str, Any], now: float) -> None:
        self._events.append(Reconnect(text_in(parameters, "info")))

    # What this end can do.  Each returns False, and does nothing, when the session is not there yet or too far.

    def start(self, now: float) -> None:
        """The connection is made: send ``open``.

        Raises
        ------
        StateError
            If that has been done.
        """
        if self.state != "new":
            raise StateError(f"the session is {self.state}, and opens but once")
        self.state = "opening"
        self._deadline = now + self._config.open_timeout_s
        self._send("open", self._open.to_wire())

    def audio(self, payload: bytes | memoryview, now: float) -> bool:
        """Hand over the next audio of the source, whole samples of all channels, at most 64,000 octets.

        Returns
        -------
        bool
            True when ``payload`` is to be sent now as a binary frame, behind what `messages_to_send` has; the machine
            does not queue it.  False when it is dropped: paused, or not open.

        Raises
        ------
        LocalProtocolError
            If it is longer, or ends amid a sample.
        """
        n_octets = len(payload)
        block = self._block
        if block and n_octets <= MAX_BINARY_OUT and not n_octets % block:
            n_samples = n_octets // block
            self.position += n_samples
            self.sent_samples += n_samples
            self.sent_frames += 1
            return True
        if self.media is None or not self._active:
            return False
        block = self.media.block_octets
        if n_octets > MAX_BINARY_OUT or n_octets % block:
            raise LocalProtocolError(f"audio of {n_octets} octets, not a multiple of {block} up to {MAX_BINARY_OUT}")
        return self.skip(n_octets // block, now)

    def skip(self, n_samples: int, now: float) -> bool:
        """The source goes on by so many samples that nobody is to get, while paused or without media; always False.

        The same as `audio` with a payload of that length, which need not be made then.
        """
        if self._config.paused_position == "advances" and (self.paused or self.media is None):
            self.position += n_samples
            if self.paused:
                self.dropped_samples += n_samples
        return False

    def discard(self, n_samples: int, now: float) -> bool:
        """Tell that the source drops so many samples here.  False unless audio flows."""
        if not self._block or n_samples < 0:
            return False
        start, self.position = self.position, self.position + n_samples
        self.dropped_samples += n_samples
        self._send("discarded", self._span(start, n_samples))
        return True

    def pause(self, now: float) -> bool:
        """Hold the audio for reasons of this end, as for a card number.  False unless the session is active."""
        if not self._active:
            return False
        self._hold()
        self.paused_by_client = True
        self._send("paused")
        return True

    def resume(self, now: float) -> bool:
        """End `pause`; the server may go on pausing."""
        if not self._active or not self.paused_by_client:
            return False
        self.paused_by_client = False
        self._go_on(True)
        return True

    def update(self, language: str, now: float) -> bool:
        """Tell a change of the language."""
        return self._active and self._send("update", {"language": language})

    def dtmf(self, digit: str, now: float) -> bool:
        """Tell of a key pressed: one of ``0-9*#A-D`` (Audio Connector)."""
        return self._active and self._send("dtmf", {"digit": digit})

    def playback(self, started: bool, now: float) -> bool:
        """Tell that the server's audio begins to play, or has all been played (Audio Connector)."""
        return self._active and self._send("playback_started" if started else "playback_completed")

    def error(self, code: int, message: str, now: float, *, retry_after_s: float | None = None) -> bool:
        """Tell the server of an error; nothing ends by it."""
        if self.over or self.state not in ("opening", "active"):
            return False
        parameters: dict[str, Any] = {"code": code, "message": message}
        if retry_after_s is not None:
            parameters["retryAfter"] = format_seconds(retry_after_s)
        return self._send("error", parameters)

    def close(self, reason: str, now: float) -> bool:
        """End the session: ``"end"``, ``"error"``, ``"disconnect"`` or ``"reconnect"``.  False when it ends."""
        if reason not in REASONS:
            raise LocalProtocolError(f"reason is {reason!r}, not one of {', '.join(REASONS)}")
        if self.state not in ("opening", "active") or self.over:
            return False
        self._block = 0
        self._ping_seq = 0
        self.state = "closing"
        self._close_reason = reason
        self._deadline = now + self._config.close_timeout_s
        self._send("close", {"reason": reason})
        self._close_seq = self.sent_seq
        return True

    # Within

    def _ping(self, now: float) -> None:
        self._ping_sent_at = now
        self._deadline = now + self._config.pong_timeout_s
        self._send("ping", {"rtt": format_seconds(max(0.0, self.rtt_s))} if self.rtt_s is not None else None)
        self._ping_seq = self.sent_seq

    def _hold(self) -> None:
        """Audio is dropped from here on, if it is not already."""
        if not self.paused:
            self._paused_at = self.position
            self._block = 0

    def _go_on(self, was_paused: bool) -> None:
        """Tell what a wish to resume came to."""
        if self.paused:
            self._send("paused")
            return
        start = self._paused_at if was_paused else self.position
        self._block = self.media.block_octets if self.media else 0
        self._send("resumed", self._span(start, self.position - start))

    def _span(self, start: int, n_samples: int) -> dict[str, Any]:
        rate = self.sample_rate
        return {"start": format_samples(start, rate), "discarded": format_samples(n_samples, rate)}

    def _send(self, type_: str, parameters: dict[str, Any] | None = None) -> bool:
        self.sent_seq += 1
        position = format_samples(self.position, self.sample_rate)
        self._outgoing.append(compose(type_, self.session_id, self.sent_seq, self.peer_seq, parameters or {}, position))
        return True

    def _violation(self, code: int, detail: str, now: float, *, fatal: bool = False) -> None:
        """The server broke a rule: say so, and leave if it is one of those after which nothing can be trusted."""
        self._count("violation")
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(f"{code}: {detail}")
        if not (fatal and self._config.strict):
            self._events.append(Anomaly("violation", f"{code}: {detail}"))
            if self._config.strict and not fatal:
                self.error(code, detail[:MAX_INFO], now)
            return
        self._give_up(code, detail, now)

    def _give_up(self, code: int, detail: str, now: float) -> None:
        if self.state in ("opening", "active") and not self._gave_up:
            self._gave_up = True
            self._events.append(Failed("timeout" if code == 408 else "protocol", code, detail))
            self.error(code, detail[:MAX_INFO], now)
            self.close("error", now)

    def _how_it_ended(self) -> Ended:
        return Ended("connection lost", False)


Handler = Callable[[ClientMachine, ServerEnvelope, dict[str, Any], float], None]

_HANDLERS: dict[str, Handler] = {
    "opened": ClientMachine._on_opened,
    "closed": ClientMachine._on_closed,
    "pong": ClientMachine._on_pong,
    "pause": ClientMachine._on_pause,
    "resume": ClientMachine._on_resume,
    "event": ClientMachine._on_event,
    "updated": ClientMachine._on_updated,
    "disconnect": ClientMachine._on_disconnect,
    "reconnect": ClientMachine._on_reconnect,
}
