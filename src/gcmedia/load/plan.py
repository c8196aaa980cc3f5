"""What load is to be made, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import ConfigError

__all__ = ["LoadPlan"]

MAX_SESSIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Sessions, how fast they come, and what they send.

    Attributes
    ----------
    url : str
        ``ws://`` or ``wss://``.
    sessions : int
        How many, over all workers.
    rate_per_s : float
        Sessions opened each second, over all workers.
    seconds : float
        How long all of them are held once the last one has been opened.
    close_s : float
        Over how long they are closed at the end.
    stereo : bool
        Both channels, or the external one.
    format : str
        ``"PCMU"``, or ``"L16"`` (little-endian).
    speech : tuple of str
        WAV files, as for `gcmedia.simulator.audiohook.Speech`; the call that comes with the simulator by default.
    frame_ms : int
        Audio in one message.
    idle : bool
        Send no audio: what an open session costs by itself.
    workers : int
        Processes.
    api_key, secret : str
        Of the upgrade requests; without a secret they are not signed.
    late_pong_s : float
        A pong that takes longer counts as late.
    stop_when_late : bool
        Open no more sessions once a pong was late, and hold only those that there are.
    loop : str
        ``"auto"`` (uvloop if it is there), ``"uvloop"`` or ``"asyncio"``.
    max_pending_octets : int
        What a connection that the server does not read may have waiting here; beyond that its audio is dropped, and
        told as discarded.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    """

    url: str
    sessions: int = 100
    rate_per_s: float = 50.0
    seconds: float = 30.0
    close_s: float = 3.0
    stereo: bool = True
    format: str = "PCMU"
    speech: tuple[str, ...] = ()
    frame_ms: int = 200
    idle: bool = False
    workers: int = 1
    api_key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    late_pong_s: float = 0.25
    stop_when_late: bool = False
    loop: str = "auto"
    max_pending_octets: int = 128 * 1024

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("sessions", self.sessions, 1, MAX_SESSIONS),
            ("rate_per_s", self.rate_per_s, 0.01, 100_000),
            ("seconds", self.seconds, 0, 7 * 86_400),
            ("close_s", self.close_s, 0, 3600),
            ("frame_ms", self.frame_ms, 20, 4000),
            ("workers", self.workers, 1, 1024),
            ("late_pong_s", self.late_pong_s, 0.0001, 60),
            ("max_pending_octets", self.max_pending_octets, 4096, 1 << 30),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}, not in [{low}, {high}]")
        if self.workers > self.sessions:
            raise ConfigError(f"workers is {self.workers}, more than the {self.sessions} sessions")
        if self.format not in ("PCMU", "L16"):
            raise ConfigError(f"format is {self.format!r}, not PCMU or L16")
        if self.loop not in ("auto", "uvloop", "asyncio"):
            raise ConfigError(f"loop is {self.loop!r}, not auto, uvloop or asyncio")
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigError("the URL is not one of a WebSocket server (ws:// or wss://)")

    @property
    def channels(self) -> int:
        """In a frame of audio."""
        return 2 if self.stereo else 1

    def share(self, worker: int) -> int:
        """How many of the sessions worker ``worker`` opens, beginning with 0."""
        return self.sessions // self.workers + (worker < self.sessions % self.workers)
