"""The calls of this process that are going on: who captures announces them, monitor and metrics look at them.

Nothing here runs by itself.  What a call leaves behind lies in rings of fixed size, and is read by whoever looks, from
whatever thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ._core.counters import COUNTERS, read_counters
from ._core.jitter import JitterBuffer
from ._core.meter import Meter
from ._core.receiver import Receiver
from ._core.stream import StreamReceiver
from .errors import ConfigError
from .types import Hole, Stats, Transcript

if TYPE_CHECKING:
    from .fanout import Stream

__all__ = ["LiveCall", "LiveCalls", "Tail"]

MAX_HOLES = 1000
MAX_EVENTS = 300
MAX_TRANSCRIPTS = 300
MAX_QA = 40
MAX_SOURCES = 20  # told apart
MAX_REASONS = 20  # of refusals and failures that are counted apart
MAX_REQUESTS = 100

T = TypeVar("T")


class Tail(Generic[T]):
    """The last of what there was, numbered from 0; read from any thread.

    Parameters
    ----------
    limit : int
        Items that are kept; then the oldest give way.
    """

    __slots__ = ("_items",)

    def __init__(self, limit: int) -> None:
        self._items: deque[tuple[int, T]] = deque(maxlen=limit)

    def append(self, item: T) -> None:
        """Take one more."""
        items = self._items
        items.append((items[-1][0] + 1 if items else 0, item))

    def since(self, number: int) -> tuple[int, list[tuple[int, T]]]:
        """The number after the last one, and the items from ``number`` on with theirs, as far as they are there."""
        items = list(self._items)
        return (items[-1][0] + 1 if items else 0), [item for item in items if item[0] >= number]


class Capturing(Protocol):
    """What is read of a call: a `Delivery`, or whatever else an embedding service has."""

    state: str
    reconnects: int

    @property
    def dropped_frames(self) -> int:
        """Frames that consumers were too slow for."""

    @property
    def folder(self) -> Path | None:
        """Where the call is recorded."""

    def subscribe(self, name: str, *, max_frames: int = 1000, overflow: str = "drop_oldest") -> Stream[Any]:
        """Another consumer of the frames."""

    def stats(self) -> Stats:
        """Counters so far."""

    def note(self, kind: str, **details: Any) -> None:
        """Put an event on the timeline of the call, and into its audit."""


class LiveCall:
    """One call as monitor and metrics see it; made by `LiveCalls.announce`.

    Attributes
    ----------
    number : int
        Of this process; it stands in addresses, in the place of the conversation's id.
    conversation_id : str
        The conversation.
    channels : tuple of str
        Their names.
    sample_rate : int
        Hz.
    source : str
        What it comes from: ``"platform-media"``, ``"media-streams"``, ``"audiohook"``, ...
    started_at : float
        Seconds of Unix time.
    receiver : Receiver, StreamReceiver or JitterBuffer
        Whose counters these are.
    meter : Meter or None
        What the frames look like; None where nothing is decoded.
    call : object or None
        A `gcmedia.delivery.Delivery`, or what has its attributes.
    holes, events, transcripts, qa : Tail
        The last of each; ``qa`` are the QA records.
    told : tuple of float or None
        Counters that another process has told of, in place of the receiver's.
    ended, failed : bool
        Whether it is over, and how.
    """

    def __init__(
        self,
        number: int,
        conversation_id: str,
        *,
        receiver: Receiver | StreamReceiver | JitterBuffer,
        channels: tuple[str, ...],
        sample_rate: int,
        source: str,
        call: Capturing | None,
        started_at: float,
    ) -> None:
        self.number = number
        self.conversation_id = conversation_id
        self.receiver = receiver
        self.meter: Meter | None = None if isinstance(receiver, JitterBuffer) else receiver.meter()
        self.channels = channels
        self.sample_rate = sample_rate
        self.source = source
        self.call = call
        self.started_at = started_at
        self.holes: Tail[Hole] = Tail(MAX_HOLES)
        self.events: Tail[dict[str, Any]] = Tail(MAX_EVENTS)
        self.transcripts: Tail[Transcript] = Tail(MAX_TRANSCRIPTS)
        self.qa: Tail[dict[str, Any]] = Tail(MAX_QA)
        self.told: tuple[float, ...] | None = None
        self.ended = self.failed = False
        self._requests: deque[Callable[[], object]] = deque(maxlen=MAX_REQUESTS)

    def __repr__(self) -> str:
        return f"LiveCall({self.number}, source={self.source!r}, state={self.state!r})"

    @property
    def state(self) -> str:
        """``"live"``, ``"paused"``, ``"reconnecting"``, ... and ``"ended"`` or ``"failed"`` in the end."""
        if self.ended:
            return "failed" if self.failed else "ended"
        return "live" if self.call is None else self.call.state

    @property
    def dropped_frames(self) -> int:
        """Frames that consumers were too slow for."""
        return 0 if self.call is None else self.call.dropped_frames

    def stats(self) -> Stats:
        """Counters so far."""
        return self.receiver.stats() if self.told is None else _as_stats(self.told)

    # From another thread: what the call's own thread is to do

    def request(self, function: Callable[[], object]) -> None:
        """Have a function called in the thread of the call, when it hands frames on or writes its metrics.

        At most 100 wait; then the oldest give way.
        """
        self._requests.append(function)

    def serve_requests(self) -> None:
        """Call what was asked for; the call's own thread does it."""
        while self._requests:
            self._requests.popleft()()


def _as_stats(row: tuple[float, ...]) -> Stats:
    """Counters as numbers, in the order of `COUNTERS`, under their names; refusals have no reasons here."""
    found: dict[str, Any] = dict(zip(COUNTERS, row, strict=True))
    known = {field.name: field.type for field in fields(Stats)}
    values = {name: int(value) if known[name] == "int" else value for name, value in found.items() if name in known}
    return Stats(**values, interval_ms=20.0, malformed={})


class LiveCalls:
    """The calls of a process that are going on, what became of the others, and what they need.

    Pass one to ``capture(..., live=calls)``, to ``capture_streams``, to ``AudioHookServer``, or announce calls of your
    own; give the same one to `gcmedia.monitor.serve_monitor` and to `gcmedia.metrics.Collector`.

    Attributes
    ----------
    opened, ended, failed, refused : int
        Calls with media so far; those of them that are over; those that failed, with media or before; those that were
        turned away.
    """

    def __init__(self) -> None:
        self.opened = self.ended = self.failed = self.refused = 0
        self._calls: dict[int, LiveCall] = {}
        self._next = 1
        self._past: dict[str, list[float]] = {}  # by source
        self._past_dropped = 0
        self._past_reconnects = 0
        self._sources: set[str] = set()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._folders: list[Path] = []
        self._tokens: list[Any] = []
        self._lock = threading.Lock()

    # The captures' side

    def announce(
        self,
        conversation_id: str,
        *,
        receiver: Receiver | StreamReceiver | JitterBuffer,
        channels: Iterable[str] = ("mixed",),
        sample_rate: int = 8000,
        source: str = "",
        call: Capturing | None = None,
    ) -> LiveCall:
        """A call has media.

        Parameters
        ----------
        conversation_id : str
            For people; no address, log or metric holds it.
        receiver : Receiver, StreamReceiver or JitterBuffer
            What its packets go through.
        channels : iterable of str
            Their names.
        sample_rate : int
            Hz.
        source : str
            What it comes from; a label of metrics, so one of a few.
        call : Delivery, optional
            For its state, drops, folder and frames; without it there is no listening in.
        """
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._sources.add(source if source in self._sources or len(self._sources) < MAX_SOURCES else "other")
            live = LiveCall(
                number,
                conversation_id,
                receiver=receiver,
                channels=tuple(channels),
                sample_rate=sample_rate,
                source=source if source in self._sources else "other",
                call=call,
                started_at=time.time(),
            )
            self._calls[number] = live
            self.opened += 1
            folder = None if call is None else call.folder
            if folder is not None and folder.parent not in self._folders and len(self._folders) < 100:
                self._folders.append(folder.parent)
        return live

    def leave(self, live: LiveCall, *, failed: bool = False, reason: str = "") -> None:
        """A call is over; its counters stay in the totals.

        Parameters
        ----------
        live : LiveCall
            The call; again does nothing.
        failed : bool
            Whether it ended with an error.
        reason : str
            The kind of error, a word; of more than 20 kinds the rest is one.
        """
        row = self.read([live])[0]
        with self._lock:
            if self._calls.pop(live.number, None) is None:
                return
            past = self._past.get(live.source, [0.0] * len(COUNTERS))
            self._past[live.source] = [before + value for before, value in zip(past, row, strict=True)]
            self._past_dropped += live.dropped_frames
            self._past_reconnects += 0 if live.call is None else live.call.reconnects
            live.ended, live.failed = True, failed
            self.ended += 1
            if failed:
                self.failed += 1
                self._reason("failed", reason)

    def fail(self, reason: str = "") -> None:
        """A call failed before it had media."""
        with self._lock:
            self.failed += 1
            self._reason("failed", reason)

    def refuse(self, reason: str = "") -> None:
        """A call was turned away: no room, a wrong signature, ..."""
        with self._lock:
            self.refused += 1
            self._reason("refused", reason)

    def _reason(self, kind: str, reason: str) -> None:
        known = (kind, reason) in self._reasons or len(self._reasons) < MAX_REASONS
        self._reasons[(kind, (reason or "unknown") if known else "other")] += 1

    def watch_folder(self, folder: str | os.PathLike[str]) -> None:
        """Show how much room there is where calls will be recorded."""
        path = Path(folder)
        with self._lock:
            if path not in self._folders:
                self._folders.append(path)

    def watch_token(self, provider: Any) -> None:
        """Show how old the token is; anything with ``age_s`` and ``expires_in_s``."""
        if not hasattr(provider, "age_s"):
            return  # a fixed token, or one from elsewhere, has no age that anyone here knows
        with self._lock:
            if provider not in self._tokens:
                self._tokens = [*self._tokens[-9:], provider]

    # The onlookers' side

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def calls(self) -> tuple[LiveCall, ...]:
        """Those that are going on, the oldest first."""
        with self._lock:
            return tuple(self._calls.values())

    def get(self, number: int) -> LiveCall | None:
        """One of them; None when it is over, or never was."""
        return self._calls.get(number)

    @staticmethod
    def read(calls: Iterable[LiveCall], *, levels: bool = False) -> list[tuple[float, ...]]:
        """Counters of calls, a row each, in the order of `COUNTERS`."""
        calls, size = list(calls), len(COUNTERS)
        flat = memoryview(read_counters([call.receiver for call in calls], levels)).cast("d").tolist()
        rows = [tuple(flat[at : at + size]) for at in range(0, len(flat), size)]
        return [row if call.told is None else call.told for call, row in zip(calls, rows, strict=True)]

    def snapshot(self) -> tuple[tuple[LiveCall, ...], dict[str, list[float]]]:
        """Those that are going on; and by source the counters of those that are over, in the order of `COUNTERS`.

        No call is in both, and none in neither.
        """
        with self._lock:
            return tuple(self._calls.values()), {source: list(row) for source, row in self._past.items()}

    @property
    def dropped_frames(self) -> int:
        """Frames that consumers were too slow for, of all calls so far."""
        return self._past_dropped + sum(call.dropped_frames for call in self.calls)

    @property
    def reconnects(self) -> int:
        """Connections that took over from a lost one, of all calls so far."""
        return self._past_reconnects + sum(call.call.reconnects for call in self.calls if call.call is not None)

    @property
    def reasons(self) -> dict[tuple[str, str], int]:
        """How often calls have ``"failed"`` or were ``"refused"``, by kind and reason."""
        with self._lock:
            return dict(self._reasons)

    @property
    def token_age_s(self) -> float | None:
        """Age of the oldest token in use, in seconds; None when none is known."""
        return max((age for age in (one.age_s for one in self._tokens) if age is not None), default=None)

    @property
    def token_left_s(self) -> float | None:
        """Seconds until the first token in use ends; None when none is known."""
        return min((left for left in (one.expires_in_s for one in self._tokens) if left is not None), default=None)

    def disk(self) -> list[tuple[int, int]]:
        """Octets free to us and in all, of each file system that calls are recorded on, the fullest first."""
        found: dict[int, tuple[int, int]] = {}
        for folder in tuple(self._folders):
            try:
                while not folder.exists() and folder != folder.parent:
                    folder = folder.parent
                about = os.statvfs(folder)
                found[os.stat(folder).st_dev] = (about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize)
            except OSError:
                continue  # gone, or not to be read: the recording itself tells of it
        return sorted(found.values())


def as_live(live: LiveCalls | None) -> LiveCalls | None:
    """Check what a caller passed as ``live``."""
    if live is not None and not isinstance(live, LiveCalls):
        raise ConfigError(f"live is a {type(live).__name__}, not a LiveCalls")
    return live
