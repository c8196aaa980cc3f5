"""What was really sent: the record that a capture is compared with.  It never holds a token or a secret."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

__all__ = ["Connection", "HttpExchange", "Journal", "Record", "SaidLine", "Truth", "TruthHole"]


class Record(NamedTuple):
    """One message that was sent, or one thing that happened instead.

    ``kind`` is ``"packet"``, ``"duplicate"``, ``"malformed"``, ``"transcript"``, ``"ack"``, ``"ended"``,
    ``"refused"`` (an error message), ``"lost"`` (a packet withheld), ``"outage"`` (media that passed without a
    connection) or ``"disconnect"``.  ``note`` says more: the cause of a loss, the kind of a malformed message.
    """

    connection: int
    conversation_id: str
    kind: str
    sequence_number: int | None
    timestamp: int | None
    note: str = ""


class HttpExchange(NamedTuple):
    """An HTTP request, upgrades included, without its query, and the status it got."""

    connection: int
    method: str
    path: str
    status: int


@dataclass(slots=True)
class Connection:
    """A media connection: when it ended, ``end`` says how.

    ``end`` is ``"ended"`` (the call was over), ``"abnormal"``, ``"close:CODE"``, ``"half_open"``, ``"refused"``,
    ``"left"`` (the client went), ``"replaced"`` (a newer connection took the call), ``"stalled"`` (the client did
    not read for too long), ``"shutdown"``, or ``""`` while it lives.
    """

    number: int
    conversation_id: str = ""
    messages_sent: int = 0
    messages_ignored: int = 0
    end: str = ""


@dataclass(frozen=True, slots=True)
class TruthHole:
    """Media without packets that a receiver can number: ``start_ms`` from the start of the call."""

    start_ms: int
    length_ms: int
    cause: str
    """``"outage"`` or ``"idle"``."""


@dataclass(frozen=True, slots=True)
class SaidLine:
    """A line of the transcript, its true time, and its fate.

    ``fate`` is ``"pending"``, ``"sent"``, ``"lost"`` or ``"missed"`` (its time fell into an outage).
    """

    channel: str
    text: str = field(repr=False)
    start_ms: float
    duration_ms: float
    timestamp: int
    fate: str


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything about one conversation so far, in numbers.

    ``packets_generated = packets_sent + packets_lost + packets_missed + packets_undelivered`` always holds.

    Attributes
    ----------
    conversation_id : str
    first_sequence_number : int
    start_timestamp_ms : int
        Media time of the first sample.
    sample_rate, n_samples, duration_ms : int
        Of the whole call as it is played: Hz, samples per channel at that rate, ms.
    packets_generated : int
        Sequence numbers used so far.
    packets_sent : int
        Of those, sent (once).
    packets_lost : int
        Withheld by a fault; ``lost_by_cause`` has them as ``"loss"``, ``"burst"`` and ``"gap"``.
    packets_missed : int
        Their time fell into an outage.
    packets_undelivered : int
        On their way, or under way when the client left.
    duplicates_sent, packets_reordered : int
        Copies sent; packets sent after a later one.
    malformed_sent : dict
        Malformed messages by kind.
    sequence_restarts, sequence_jumps, timestamp_jumps : int
    disconnects : int
        Planned ends of the connection that took place.
    holes : tuple of TruthHole
    transcripts : tuple of SaidLine
    ended : bool
        Whether the end of the call has been sent.
    """

    conversation_id: str
    first_sequence_number: int
    start_timestamp_ms: int
    sample_rate: int
    n_samples: int
    duration_ms: int
    packets_generated: int
    packets_sent: int
    packets_lost: int
    packets_missed: int
    packets_undelivered: int
    duplicates_sent: int
    packets_reordered: int
    malformed_sent: dict[str, int]
    lost_by_cause: dict[str, int]
    sequence_restarts: int
    sequence_jumps: int
    timestamp_jumps: int
    disconnects: int
    holes: tuple[TruthHole, ...]
    transcripts: tuple[SaidLine, ...]
    ended: bool


class Journal:
    """The last records, and exact counts of all.

    May be read from any thread while the server runs; what is returned is a copy.

    Parameters
    ----------
    limit : int
        Records, exchanges and connections kept, each; older ones are dropped and counted in ``dropped``.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._records: deque[Record] = deque(maxlen=limit)
        self._requests: deque[HttpExchange] = deque(maxlen=limit)
        self._connections: deque[Connection] = deque(maxlen=limit)
        self._counts: Counter[str] = Counter()
        self._limit = limit
        self._lock = Lock()
        self._dropped = 0
        self._token_requests = 0
        self._pings = 0
        self._failures = 0

    @property
    def records(self) -> tuple[Record, ...]:
        """What was sent, in order."""
        with self._lock:
            return tuple(self._records)

    @property
    def requests(self) -> tuple[HttpExchange, ...]:
        """HTTP requests and their answers, in order."""
        with self._lock:
            return tuple(self._requests)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Media connections, in order of their upgrade."""
        with self._lock:
            return tuple(self._connections)

    @property
    def counts(self) -> dict[str, int]:
        """How many records of each kind there were, dropped ones included."""
        with self._lock:
            return dict(self._counts)

    @property
    def dropped(self) -> int:
        """Records that were let go because there were too many."""
        return self._dropped

    @property
    def token_requests(self) -> int:
        """Requests to the token endpoint, refused ones included."""
        return self._token_requests

    @property
    def pings(self) -> int:
        """WebSocket pings answered."""
        return self._pings

    @property
    def failures(self) -> int:
        """Requests and connections that ended by a fault of the simulator itself; their trace is in the log."""
        return self._failures

    def add(self, record: Record) -> None:
        """Append a record."""
        with self._lock:
            if len(self._records) == self._limit:
                self._dropped += 1
            self._records.append(record)
            self._counts[record.kind] += 1

    def add_request(self, exchange: HttpExchange) -> None:
        """Append an exchange."""
        with self._lock:
            self._requests.append(exchange)

    def open_connection(self, number: int) -> Connection:
        """Begin the record of a connection; its owner fills it in."""
        connection = Connection(number)
        with self._lock:
            self._connections.append(connection)
        return connection

    def count_token_request(self) -> None:
        """One more request for a token."""
        self._token_requests += 1

    def count_ping(self) -> None:
        """One more ping answered."""
        self._pings += 1

    def count_failure(self) -> None:
        """One more fault of our own."""
        self._failures += 1
