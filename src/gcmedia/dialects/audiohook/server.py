"""The server's end of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Literal

import msgspec

from ...errors import LocalProtocolError, RemoteProtocolError
from ...types import MediaFormat
from .durations import format_samples
from .entities import Entity, to_wire
from .envelope import ClientEnvelope, compose, is_uuid, read_client
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

    ``open``, ``ping`` and ``close`` are answered within the call that takes them.  Where messages are paced, pace before
    calling `send_event` and its like: a message has its number as soon as it is composed.
    """

    __slots__ = (
        "_answer",
        "_block",
        "_close_reason",
        "_config",
        "_final_by",
        "_handlers",
        "_heard",
        "_identity",
        "_max_binary",
        "_opened",
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
        self._close_reason = ""
        self._block = 0  # octets of a sample of all channels; 0 while no audio is taken
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
                n_samples = len(message) // self._block
                self._events.append(Audio(position, n_samples, message))
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
        raise NotImplementedError

    def receive_text(self, text: str | bytes, now: float) -> None:
        """Take a text message, also as UTF-8; see `events` and `messages_to_send`."""
        raise NotImplementedError

    def advance(self, now: float) -> list[Any]:
        """Let time pass: act on deadlines that have come; return what has happened."""
        raise NotImplementedError

    # What this end can do.  Each returns False, and does nothing, when the session is too far for it.

    def pause(self, now: float) -> bool:
        """Ask for no more audio; `Paused` tells when it stops.  May be repeated."""
        raise NotImplementedError

    def resume(self, now: float) -> bool:
        """Take back `pause`; the client may go on holding the audio for reasons of its own."""
        raise NotImplementedError

    def send_event(self, entities: Iterable[Entity], now: float) -> bool:
        """Send entities, all in one message.

        Raises
        ------
        LocalProtocolError
            If the message is longer than ``max_entities_octets``.
        """
        raise NotImplementedError

    def updated(self, now: float) -> bool:
        """Answer an update of the language; optional in the protocol."""
        raise NotImplementedError

    def reconnect(self, info: str, now: float) -> bool:
        """Ask the client to open another session in place of this one.

        Raises
        ------
        LocalProtocolError
            If the settings say that the integration has no reconnect.
        """
        raise NotImplementedError

    def send_audio(self, payload: bytes, now: float) -> bool:
        """Send audio of the chosen media, in messages of at most 64,000 octets.

        Raises
        ------
        LocalProtocolError
            If the product does not allow it (``two_way``), or the payload ends amid a sample.
        """
        raise NotImplementedError

    def disconnect(self, reason: str, now: float, *, info: str = "") -> bool:
        """Ask the client to end the session; also before ``open``, to reject it.

        Parameters
        ----------
        reason : str
            ``"completed"``, ``"unauthorized"``, ``"error"`` or ``"rejected"``.
        info : str
            For the client's log; no secrets, nothing personal.
        """
        raise NotImplementedError

    def finish(self, now: float) -> bool:
        """The last events have been sent: answer ``close`` now, ahead of ``final_events_s``."""
        raise NotImplementedError

    def _new_timeline(self, position: int, rate: int) -> StreamTimeline:
        return StreamTimeline(
            position,
            declared=self._config.holes == "declared",
            max_hole=int(self._config.max_hole_s * rate),
            max_position=position + int(self._config.max_position_s * rate),
        )
