"""What both machines have in common: counters, what is to be sent, what has happened, and the next deadline."""

from __future__ import annotations

from math import inf
from typing import Any, Generic, TypeVar

from .envelope import MAX_QUOTE
from .events import Anomaly, Ended

__all__ = ["Machine"]

MAX_KINDS = 64

State = TypeVar("State", bound=str)


class Machine(Generic[State]):
    """One end of one session, without a socket and without a clock.

    Feed it messages and the time; send what `messages_to_send` gives, in that order and without others between; arm
    one timer for `next_deadline` and call `advance` when it fires.  ``now`` is in seconds on one monotonic clock.
    Nothing that a peer sends raises.

    Attributes
    ----------
    state : str
        Where the session stands.
    session_id : str
        ``id`` of its messages.
    sent_seq, peer_seq : int
        Number of the last message sent, and of the last one taken from the peer.
    anomalies : dict of str to int
        What did not fit and was put up with, by kind.
    over : bool
        Nothing more will happen; the connection is to be closed if it is not.
    """

    __slots__ = (
        "_block",
        "_deadline",
        "_events",
        "_outgoing",
        "anomalies",
        "over",
        "peer_seq",
        "sent_seq",
        "session_id",
        "state",
    )

    def __init__(self, session_id: str, state: State) -> None:
        self.session_id = session_id
        self.state = state
        self.sent_seq = 0
        self.peer_seq = 0
        self.anomalies: dict[str, int] = {}
        self.over = False
        self._block = 0  # octets of a sample of all channels; 0 while no audio passes
        self._deadline = inf
        self._events: list[Any] = []
        self._outgoing: list[str | bytes] = []

    def messages_to_send(self) -> list[str | bytes]:
        """Take what is to be sent: ``str`` as text frames, ``bytes`` as binary ones, in this order."""
        messages, self._outgoing = self._outgoing, []
        return messages

    def events(self) -> list[Any]:
        """Take what has happened since the last call."""
        events, self._events = self._events, []
        return events

    def transport_closed(self, now: float) -> list[Any]:
        """The connection is gone, whoever closed it; returns the last events."""
        self._end(self._how_it_ended())
        return self.events()

    def _how_it_ended(self) -> Ended:
        raise NotImplementedError  # the two ends word it differently: each subclass has its own

    def _end(self, ended: Ended) -> None:
        if not self.over:
            self.over = True
            self._block = 0
            self._deadline = inf
            self._events.append(ended)

    def _note(self, kind: str, detail: str) -> None:
        """Count an anomaly and tell of it."""
        self._count(kind)
        self._events.append(Anomaly(kind, detail))

    def _count(self, kind: str) -> None:
        if kind in self.anomalies or len(self.anomalies) < MAX_KINDS:
            self.anomalies[kind] = self.anomalies.get(kind, 0) + 1

    @staticmethod
    def _quoted(text: str) -> str:
        return repr(text[:MAX_QUOTE])
