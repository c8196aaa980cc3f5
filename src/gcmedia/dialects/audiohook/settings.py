"""Settings of the two machines and of the verifier, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ConfigError
from .media import CHANNELS

__all__ = ["AudioHookClientConfig", "AudioHookConfig", "SignatureConfig"]

_HOUR = 3600.0


def _within(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name} is {value}{unit}, not in [{low}, {high}]")


def _some_of(name: str, values: tuple[object, ...], known: tuple[object, ...]) -> None:
    if not values or len(set(values)) != len(values) or not set(values) <= set(known):
        raise ConfigError(f"{name} is {values!r}, not one or more different ones of {known!r}")


@dataclass(frozen=True, slots=True)
class AudioHookConfig:
    """The server's end.

    Attributes
    ----------
    formats : tuple of str
        ``"PCMU"`` and ``"L16"``: taken, the one liked best first.
    channels : tuple of str
        ``"both"``, ``"external"``, ``"internal"``: taken, the one liked best first.
    rates : tuple of int
        Hz that are taken.  The platform offers 8000.
    l16_byteorder : str
        ``"little"`` or ``"big"``.  What the platform sends is not published; its sample code reads little.
    start_paused : bool
        Ask the client to begin paused.
    supported_languages : tuple of str
        Told in ``opened`` when the client asks for it; None of them tells nothing.
    two_way : bool
        The product is Audio Connector: audio may be sent to the client.
    reconnect : bool
        The integration has the reconnect feature; else asking for one is refused here.
    holes : str
        ``"counted"``: a hole is as long as the client says and lies where the audio before it ended; another place
        is counted as an anomaly.  ``"declared"``: where the client's own place or position is ahead, what lies
        between is a hole too, of cause ``"lost"``.
    max_hole_s, max_position_s : float
        Longest hole, and longest timeline, that a client's word can make; what goes beyond is an anomaly.
    open_timeout_s : float
        For ``open`` after the connection was made; then the client is asked to leave.
    idle_timeout_s : float
        Without a message of any kind.  Clients ping every 5 s, so several pings are missing then.
    close_timeout_s : float
        For ``close`` after ``disconnect``, and for the client to close the connection after ``closed``.
    final_events_s : float
        After ``close``, how long `ServerMachine.finish` may wait; 0 answers at once.  Clients give up after 10 s.
    max_text_octets, max_binary_octets : int
        Longest message.  Clients send at most 64,000.
    max_entities_octets : int
        Longest ``event``, ``disconnect`` or ``closed`` that is composed.
    """

    formats: tuple[str, ...] = ("PCMU", "L16")
    channels: tuple[str, ...] = ("both", "external", "internal")
    rates: tuple[int, ...] = (8000,)
    l16_byteorder: str = "little"
    start_paused: bool = False
    supported_languages: tuple[str, ...] = ()
    two_way: bool = False
    reconnect: bool = False
    holes: str = "counted"
    max_hole_s: float = 4 * _HOUR
    max_position_s: float = 48 * _HOUR
    open_timeout_s: float = 10.0
    idle_timeout_s: float = 45.0
    close_timeout_s: float = 10.0
    final_events_s: float = 0.0
    max_text_octets: int = 65_536
    max_binary_octets: int = 65_536
    max_entities_octets: int = 64_000

    def __post_init__(self) -> None:
        _some_of("formats", self.formats, ("PCMU", "L16"))
        _some_of("channels", self.channels, ("both", *CHANNELS))
        if not self.rates or any(rate % 1000 or not 8000 <= rate <= 48_000 for rate in self.rates):
            raise ConfigError(f"rates are {self.rates} Hz, not multiples of 1000 in [8000, 48000]")
        _some_of("l16_byteorder", (self.l16_byteorder,), ("little", "big"))
        _some_of("holes", (self.holes,), ("counted", "declared"))
        _within("max_hole_s", self.max_hole_s, 0.0, 366 * 24 * _HOUR, " s")
        _within("max_position_s", self.max_position_s, 1.0, 366 * 24 * _HOUR, " s")
        _within("open_timeout_s", self.open_timeout_s, 0.001, _HOUR, " s")
        _within("idle_timeout_s", self.idle_timeout_s, 0.001, 24 * _HOUR, " s")
        _within("close_timeout_s", self.close_timeout_s, 0.001, _HOUR, " s")
        _within("final_events_s", self.final_events_s, 0.0, 9.0, " s")
        _within("max_text_octets", self.max_text_octets, 1024, 16 << 20)
        _within("max_binary_octets", self.max_binary_octets, 1024, 16 << 20)
        _within("max_entities_octets", self.max_entities_octets, 1024, 16 << 20)


@dataclass(frozen=True, slots=True)
class AudioHookClientConfig:
    """The client's end; the defaults are what the platform's client is known to do.

    Attributes
    ----------
    two_way : bool
        The product is Audio Connector: the server may send audio.
    strict : bool
        Leave, as the platform's client does, when the server breaks a rule; else only tell.
    paused_position : str
        ``"advances"`` or ``"stands"``: whether the position goes on while paused, so that the audio that was not
        sent is told as discarded.
    open_timeout_s, close_timeout_s, pong_timeout_s : float
        For ``opened``, ``closed`` and ``pong``.
    first_ping_s, ping_interval_s : float
        After ``opened``, and from then on; 0 for the interval sends none.
    max_text_octets, max_binary_octets : int
        Longest message that the server may send.
    """

    two_way: bool = False
    strict: bool = True
    paused_position: str = "advances"
    open_timeout_s: float = 5.0
    close_timeout_s: float = 10.0
    pong_timeout_s: float = 5.0
    first_ping_s: float = 1.0
    ping_interval_s: float = 5.0
    max_text_octets: int = 65_536
    max_binary_octets: int = 65_536

    def __post_init__(self) -> None:
        _some_of("paused_position", (self.paused_position,), ("advances", "stands"))
        _within("open_timeout_s", self.open_timeout_s, 0.001, _HOUR, " s")
        _within("close_timeout_s", self.close_timeout_s, 0.001, _HOUR, " s")
        _within("pong_timeout_s", self.pong_timeout_s, 0.001, _HOUR, " s")
        _within("first_ping_s", self.first_ping_s, 0.0, _HOUR, " s")
        _within("ping_interval_s", self.ping_interval_s, 0.0, _HOUR, " s")
        _within("max_text_octets", self.max_text_octets, 1024, 16 << 20)
        _within("max_binary_octets", self.max_binary_octets, 1024, 16 << 20)


@dataclass(frozen=True, slots=True)
class SignatureConfig:
    """How upgrade requests are verified.

    Attributes
    ----------
    authority : str or None
        ``host`` or ``host:port`` under which clients reach this server; None takes the request's ``Host``.  Proxies
        rewrite that, so name it when there is one.
    tls : bool
        Clients reach the server by ``wss``; decides which port is left out of the authority, 443 or 80.
    max_age_s, skew_s : int
        A signature is good from ``created - skew_s`` to ``created + max_age_s + skew_s``, and, when it says when it
        expires, until ``expires + skew_s``.
    min_nonce : int
        Characters.
    max_nonces : int
        Nonces remembered at a time, each until its signature is too old.  Only nonces of good signatures are; at the
        bound further requests are refused as overloaded, never let through.
    failure_delay_s : float
        After its arrival, how long a refused request waits for its answer, whatever the reason.
    """

    authority: str | None = None
    tls: bool = True
    max_age_s: int = 10
    skew_s: int = 5
    min_nonce: int = 22
    max_nonces: int = 65_536
    failure_delay_s: float = 0.5

    def __post_init__(self) -> None:
        if self.authority is not None and (
            not self.authority.isascii() or not self.authority.isprintable() or set(self.authority) & set(" /@?#")
        ):
            raise ConfigError(f"authority is {self.authority!r}, not host or host:port")
        _within("max_age_s", self.max_age_s, 1, 3600, " s")
        _within("skew_s", self.skew_s, 0, 600, " s")
        _within("min_nonce", self.min_nonce, 1, 1024, " characters")
        _within("max_nonces", self.max_nonces, 1, 10_000_000)
        _within("failure_delay_s", self.failure_delay_s, 0.0, 60.0, " s")
