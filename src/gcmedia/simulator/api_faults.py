"""Faults to order of the REST API and the notification sockets, by seed."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["ApiFaults"]

_FOREVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiFaults:
    """What goes wrong with the platform's API and its notification channels.  Every fault is off by default.

    Times are seconds of the simulated cloud, pairs of them are drawn evenly from ``(low, high)``; shares are 0 to 1.
    What becomes of a leg, and of the tellings about it, is ordered by `MuteFaults`.

    Attributes
    ----------
    seed : int
        Of everything random.
    requests_per_minute : int
        Of one token; the requests beyond are refused with 429 until the minute is over.
    api_refusals : tuple of (int, str)
        Status and code that answer the first requests for conversations and agents, whatever they ask for.
    mute_refusals : tuple of (int, str)
        The same for the first requests to change a participant.
    channel_refusals : tuple of (int, str)
        The same for the first requests about notification channels and subscriptions.
    socket_refusals : tuple of int
        Status of the answers to the first notification sockets.
    retry_after_s : float
        The wait that refusals with 429 and 503 ask for.
    rejected_topics : tuple of (str, str)
        End of a topic, and the permission that is missing for it.
    heartbeat_interval_s, channel_lifetime_s : float
        Of every socket; of every channel, from its last subscription on.
    starved_channels : int
        So many channels, the first ones, live and tell nothing.
    announce_close_after_s : tuple of float, optional
        From a socket's opening until it is told that it will be closed.
    close_grace_s : float
        From that until it is closed.
    cut_after_s : tuple of float, optional
        From a socket's opening to its end without a close frame.
    overlap_s : float
        How long the old socket of a channel is still served when a new one opens.
    malformed : float
        Share of the notifications before which something unreadable is sent.
    """

    seed: int = 0
    requests_per_minute: int = 300
    api_refusals: tuple[tuple[int, str], ...] = ()
    mute_refusals: tuple[tuple[int, str], ...] = ()
    channel_refusals: tuple[tuple[int, str], ...] = ()
    socket_refusals: tuple[int, ...] = ()
    retry_after_s: float = 1.0
    rejected_topics: tuple[tuple[str, str], ...] = ()
    heartbeat_interval_s: float = 30.0
    channel_lifetime_s: float = 86_400.0
    starved_channels: int = 0
    announce_close_after_s: tuple[float, float] | None = None
    close_grace_s: float = 60.0
    cut_after_s: tuple[float, float] | None = None
    overlap_s: float = 0.0
    malformed: float = 0.0

    def __post_init__(self) -> None:
        if self.requests_per_minute < 1:
            raise ConfigError(f"requests_per_minute is {self.requests_per_minute}, less than 1")
        for name in ("retry_after_s", "heartbeat_interval_s", "channel_lifetime_s", "close_grace_s", "overlap_s"):
            if not 0.0 <= getattr(self, name) < _FOREVER:
                raise ConfigError(f"{name} is {getattr(self, name)} s, not a time")
        if self.heartbeat_interval_s == 0.0:
            raise ConfigError("heartbeat_interval_s is 0 s, so that nothing else would be sent")
        for name in ("announce_close_after_s", "cut_after_s"):
            low, high = getattr(self, name) or (0.0, 0.0)
            if not 0.0 <= low <= high < _FOREVER:
                raise ConfigError(f"{name} is ({low}, {high}) s, not two times in order")
        if not 0.0 <= self.malformed <= 1.0:
            raise ConfigError(f"malformed is {self.malformed}, not in [0, 1]")
        if self.starved_channels < 0:
            raise ConfigError(f"starved_channels is {self.starved_channels}, less than 0")
