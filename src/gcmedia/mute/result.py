"""What a wish for a state of the microphone came to, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from ..errors import GcmediaError, MuteError, NoActiveCall
from .strategy import CallState

__all__ = ["MuteEvent", "MuteResult", "MuteState", "MuteStatus"]


class MuteStatus(StrEnum):
    """How a wish ended."""

    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    ALREADY = "already"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    TIMEOUT = "timeout"
    CALL_ENDED = "call_ended"


@dataclass(frozen=True, slots=True)
class MuteResult:
    """What became of one wish.

    Attributes
    ----------
    status : MuteStatus
        ``accepted``: the server took the request, and nobody waits for, or can tell, its effect.  ``confirmed``: the
        server has said that it is so.  ``already``: it was so, and nothing was sent.  ``superseded``: a newer wish
        took its place.  ``rejected``: the server refused; ``error`` says why.  ``timeout``: the server took the
        request, and did not confirm it in time; it may still take effect.  ``call_ended``: the call was over first.
    muted : bool
        What was wished for.
    latency_s : float
        Seconds from the wish to this result.
    attempts : int
        Requests that were made for it.
    confirmed : bool or None
        What the server was known to have at that moment; None when it was not known.
    error : GcmediaError or None
        Why it was rejected, or what stood in the way of a confirmation.
    """

    status: MuteStatus
    muted: bool
    latency_s: float
    attempts: int
    confirmed: bool | None
    error: GcmediaError | None = None

    @property
    def ok(self) -> bool:
        """Whether the server has said that it is as wished: confirmed or already."""
        return self.status in (MuteStatus.CONFIRMED, MuteStatus.ALREADY)

    def check(self) -> Self:
        """Return this result if it is `ok`, else raise.

        Raises
        ------
        GcmediaError
            The server's refusal; `NoActiveCall` when the call is over; else a `MuteError`.
        """
        if self.ok:
            return self
        wish = "muted" if self.muted else "unmuted"
        if self.status is MuteStatus.REJECTED and self.error is not None:
            raise self.error
        if self.status is MuteStatus.CALL_ENDED:
            raise NoActiveCall(f"the call was over before the agent was known to be {wish}") from self.error
        known = {None: "unknown", True: "muted", False: "unmuted"}[self.confirmed]
        raise MuteError(
            f"the agent is not known to be {wish}: {self.status} after {self.latency_s:.3f} s"
            f" and {self.attempts} requests; the state is {known}"
        ) from self.error


@dataclass(frozen=True, slots=True)
class MuteState:
    """What is known at one moment.

    Attributes
    ----------
    call_state : CallState
        Where the agent's leg stands.
    confirmed : bool or None
        Whether the microphone is muted, as the server said last; None when that is unknown or in doubt.
    desired : bool or None
        What is being asked for; None when no wish is under way.
    can_mute : bool
        Whether the state of the call allows muting, as far as known.
    """

    call_state: CallState
    confirmed: bool | None
    desired: bool | None
    can_mute: bool

    @property
    def unknown(self) -> bool:
        """Whether nobody knows if the microphone is muted."""
        return self.confirmed is None


@dataclass(frozen=True, slots=True)
class MuteEvent:
    """Something that happened.

    Attributes
    ----------
    kind : str
        ``"state"`` when the state changed; ``"retry"`` when an attempt failed and another one follows.
    state : MuteState
        As it is now.
    external : bool
        Whether the confirmed state became another one without a wish of ours: a supervisor, or another client.
    attempt, wait_s, reason : int, float, str
        Of a retry: attempts made, seconds until the next, and what was wrong.
    """

    kind: str
    state: MuteState
    external: bool = False
    attempt: int = 0
    wait_s: float = 0.0
    reason: str = ""
