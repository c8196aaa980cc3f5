"""What `MuteControl` asks of a way to mute; each API that can mute has one of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ..errors import GcmediaError

__all__ = ["CallState", "MuteStrategy", "Observation"]


class CallState(StrEnum):
    """Where the agent's leg of a call stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    RINGING = "ringing"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the server said about the agent's leg at one moment.

    Attributes
    ----------
    state : CallState
        Where the leg stands; ``UNKNOWN`` when this message did not say.
    muted : bool or None
        Whether its microphone is muted; None when this message did not say.  Of ``"refused"``: what was refused.
    source : str
        ``"event"`` for what the server told by itself, ``"read"`` for an answer to `MuteStrategy.read`, and
        ``"lost"`` when the connection over which events come is down: what was known is known no longer.
        ``"refused"`` where the server refuses a request after `MuteStrategy.request` has returned; ``error`` is why.
    error : GcmediaError or None
        Of ``"refused"``; classified as those that `MuteStrategy.request` raises.
    """

    state: CallState
    muted: bool | None
    source: str
    error: GcmediaError | None = None


class MuteStrategy(Protocol):
    """How one call is muted over one API.

    A strategy knows messages and connections.  It neither decides when to ask, nor waits for an effect, nor repeats:
    that is `MuteControl`'s.

    Attributes
    ----------
    name : str
        As in ``strategy="conversations"``.
    confirmed_by : str
        ``"event"`` when the server tells the effect of a request by itself, ``"read"`` when only reading shows it,
        ``"none"`` when neither does.
    readable : bool
        Whether `read` can answer.
    """

    name: str
    confirmed_by: str
    readable: bool

    async def run(self, observe: Callable[[Observation], None], ready: Callable[[], None]) -> None:
        """Hold the connections that are needed until cancelled, and reconnect them.

        Calls ``ready`` when requests can be made for the first time, and ``observe`` for all that the server says, in
        the order in which it came.  After a reconnect it calls ``observe`` with ``"lost"`` before anything new.

        Raises
        ------
        GcmediaError
            If it cannot go on: credentials refused, reconnect attempts used up.
        """
        ...

    async def request(self, muted: bool) -> None:
        """Ask once for a state; return when the server has accepted the request.

        Raises
        ------
        GcmediaError
            If it has not.  `TransportError` and `ApiError` with a status of 408, 425, 429 or 5xx may pass by waiting.
        """
        ...

    async def read(self) -> Observation:
        """Ask the server how the leg stands."""
        ...
