"""Settings of the AudioHook server: bounds, deadlines, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["ServerConfig"]


def _within(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name} is {value}{unit}, not in [{low}, {high}]")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How much an `AudioHookServer` takes, and what it does at each bound.

    Attributes
    ----------
    max_sessions, max_sessions_per_key : int
        Sessions at a time, of a process and of one API key in it; further upgrades are answered with 503.
    max_waiting : int
        Connections that are not WebSockets yet; further ones are not accepted until one of them is done, or has been
        silent for 2 s and is cut for it.
    max_message_octets : int
        A longer WebSocket message ends the connection with 1009.  A shorter one beyond the limits of `AudioHookConfig`
        is answered with the protocol's ``disconnect``.
    max_buffered_octets : int
        What a client may leave untaken before it is cut.
    head_timeout_s : float
        Time for the upgrade request, and for the verdict on it.
    key_timeout_s : float
        Time for a callable to answer for an API key; then the upgrade is answered with 503.
    close_timeout_s : float
        Time for the client to answer a WebSocket close frame.
    max_frames : int
        Bound of each queue of frames: 3000 are 30 s of both channels, which is what a client may send at once.
    overflow : str
        What a full queue does: ``"drop_oldest"`` or ``"drop_newest"``; the recording misses nothing.  ``"wait"`` does
        not exist here, as it would hold back the pings too.
    fill_s : float
        A hole up to this long is filled with silent frames, a longer one jumped over.
    rate_per_s, burst : float
        Messages to a client, text and audio apart: what it takes in the long run, and at once.
    max_entities, max_audio_s : int, float
        Entities, and seconds of audio, that wait for their turn.  Beyond the first the oldest is dropped and counted;
        beyond the second the sender waits.
    unauthorized : str
        ``"upgrade"``: 401 to the request.  ``"session"``: the WebSocket opens, and ``disconnect`` with
        ``unauthorized`` follows.
    handler_grace_s : float
        Time for a handler to end after its call; then it is cancelled.
    on_handler_error : str
        What becomes of a call whose handler raises: ``"disconnect"`` asks the client to end it, ``"continue"`` goes on
        recording, ``"auto"`` goes on where there is a recording.
    drain_s : float
        When stopped: how long calls may go on before they are asked to end.
    reconnect : bool
        When stopped: ask clients to open another session elsewhere, while the old ones go on for ``drain_s``.
    metrics_period_s : float
        Time between the QA records of a call.
    """

    max_sessions: int = 5000
    max_sessions_per_key: int = 5000
    max_waiting: int = 2000
    max_message_octets: int = 1 << 20
    max_buffered_octets: int = 1 << 20
    head_timeout_s: float = 10.0
    key_timeout_s: float = 3.0
    close_timeout_s: float = 5.0
    max_frames: int = 3200
    overflow: str = "drop_oldest"
    fill_s: float = 10.0
    rate_per_s: float = 5.0
    burst: float = 25.0
    max_entities: int = 500
    max_audio_s: float = 60.0
    unauthorized: str = "upgrade"
    handler_grace_s: float = 10.0
    on_handler_error: str = "auto"
    drain_s: float = 0.0
    reconnect: bool = False
    metrics_period_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("max_sessions", "max_sessions_per_key", "max_waiting"):
            _within(name, getattr(self, name), 1, 1_000_000)
        for name in ("max_message_octets", "max_buffered_octets"):
            _within(name, getattr(self, name), 65_536, 1 << 30, " octets")
        for name in ("head_timeout_s", "key_timeout_s", "close_timeout_s", "handler_grace_s", "metrics_period_s"):
            _within(name, getattr(self, name), 0.001, 3600.0, " s")
        _within("max_frames", self.max_frames, 1, 1_000_000)
        _within("fill_s", self.fill_s, 0.0, 3600.0, " s")
        _within("rate_per_s", self.rate_per_s, 0.001, 10_000.0)
        _within("burst", self.burst, 1.0, 10_000.0)
        _within("max_entities", self.max_entities, 1, 100_000)
        _within("max_audio_s", self.max_audio_s, 1.0, 3600.0, " s")
        _within("drain_s", self.drain_s, 0.0, 24 * 3600.0, " s")
        if self.overflow == "wait":
            raise ConfigError("overflow is 'wait', which would hold back the pings behind the audio")
        for name, known in (
            ("overflow", ("drop_oldest", "drop_newest")),
            ("unauthorized", ("upgrade", "session")),
            ("on_handler_error", ("auto", "continue", "disconnect")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, not one of {', '.join(known)}")
