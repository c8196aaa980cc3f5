"""The client's end of a session."""

from __future__ import annotations

from typing import Any, Literal

from .machine import Machine
from .media import Media
from .open import Open
from .settings import AudioHookClientConfig

__all__ = ["ClientMachine", "ClientState"]

ClientState = Literal["new", "opening", "active", "closing", "closed"]

#: Reasons of ``close``.
REASONS = ("end", "error", "disconnect", "reconnect")


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
    rtt_s : float or None
        What the last ping took.
    violations : list of str
        Rules that the server broke; at most 100, further ones are counted in ``anomalies``.
    """

    __slots__ = (
        "_block",
        "_config",
        "_dropped_from",
        "_next_ping",
        "_open",
        "_ping_sent_at",
        "_ping_seq",
        "dropped_samples",
        "media",
        "paused_by_client",
        "paused_by_server",
        "position",
        "rtt_s",
        "sent_frames",
        "sent_samples",
        "violations",
    )

    def __init__(
        self,
        open: Open,  # noqa: A002 - the protocol's word
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
        self.violations: list[str] = []

    @property
    def paused(self) -> bool:
        """Whether audio is dropped now."""
        return self.paused_by_server or self.paused_by_client

    @property
    def next_deadline(self) -> float:
        """When `advance` is to be called next: to send a ping, or to miss an answer."""
        raise NotImplementedError

    def start(self, now: float) -> None:
        """The connection is made: send ``open``."""
        raise NotImplementedError

    def receive(self, message: str | bytes, now: float) -> list[Any]:
        """Take a message of the server, ``str`` as text and ``bytes`` as audio; return what has happened."""
        raise NotImplementedError

    def advance(self, now: float) -> list[Any]:
        """Let time pass: send the ping that is due, or act on an answer that is not there."""
        raise NotImplementedError

    def audio(self, payload: bytes, now: float) -> bool:
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
        raise NotImplementedError

    def discard(self, n_samples: int, now: float) -> bool:
        """Tell that the source drops so many samples here.  False unless audio flows."""
        raise NotImplementedError

    def pause(self, now: float) -> bool:
        """Hold the audio for reasons of this end, as for a card number.  False unless the session is active."""
        raise NotImplementedError

    def resume(self, now: float) -> bool:
        """End `pause`; the server may go on pausing."""
        raise NotImplementedError

    def update(self, language: str, now: float) -> bool:
        """Tell a change of the language."""
        raise NotImplementedError

    def dtmf(self, digit: str, now: float) -> bool:
        """Tell of a key pressed: one of ``0-9*#A-D`` (Audio Connector)."""
        raise NotImplementedError

    def playback(self, started: bool, now: float) -> bool:
        """Tell that the server's audio begins to play, or has all been played (Audio Connector)."""
        raise NotImplementedError

    def error(self, code: int, message: str, now: float, *, retry_after_s: float | None = None) -> bool:
        """Tell the server of an error; nothing ends by it."""
        raise NotImplementedError

    def close(self, reason: str, now: float) -> bool:
        """End the session: ``"end"``, ``"error"``, ``"disconnect"`` or ``"reconnect"``.  False when that is under way."""
        raise NotImplementedError
