"""What the sessions of a worker counted, second by second and in all; tallies of workers add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

from .histogram import Histogram

__all__ = ["Second", "Tally"]

_COUNTS = (
    "started",
    "opened",
    "clean",
    "failed",
    "late_pongs",
    "texts_sent",
    "frames_sent",
    "samples_sent",
    "octets_sent",
    "frames_dropped",
)
_VALUES = ("cpu_s", "held_cpu_s", "busiest", "held_from", "held_until", "first_late")
_HISTOGRAMS = ("connect", "opened_after", "rtt", "closed_after", "lag")


class Second:
    """One second of a run.

    Attributes
    ----------
    open : int
        Sessions that were open at its end.
    rtt, lag : Histogram
        Round trips that ended in it; how late audio was sent.
    late_pongs : int
        Of the round trips.
    """

    __slots__ = ("lag", "late_pongs", "open", "rtt")

    def __init__(self) -> None:
        self.open = 0
        self.late_pongs = 0
        self.rtt = Histogram()
        self.lag = Histogram()

    def merge(self, other: Second) -> None:
        """Add the same second of another worker."""
        self.open += other.open
        self.late_pongs += other.late_pongs
        self.rtt.merge(other.rtt)
        self.lag.merge(other.lag)

    def to_state(self) -> dict[str, Any]:
        """All there is, as plain values for another process."""
        return {
            "open": self.open,
            "late_pongs": self.late_pongs,
            "rtt": self.rtt.to_state(),
            "lag": self.lag.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The second of `to_state`."""
        made = cls()
        made.open, made.late_pongs = state["open"], state["late_pongs"]
        made.rtt, made.lag = Histogram.from_state(state["rtt"]), Histogram.from_state(state["lag"])
        return made


class Tally:
    """Counters and durations.

    Attributes
    ----------
    started, opened, clean, failed : int
        Sessions for which a connection was begun; that the server opened; that ended with ``closed`` and an orderly
        close; that did not.
    late_pongs : int
        Pongs that took longer than the plan allows.
    texts_sent, frames_sent, samples_sent, octets_sent : int
        Text messages; messages of audio, their samples per channel, and their octets.
    frames_dropped : int
        Messages of audio that were not sent because the server did not read.
    connect, opened_after, rtt, closed_after, lag : Histogram
        From the beginning to the upgrade; from ``open`` to ``opened``; from ping to pong; from ``close`` to ``closed``;
        from when a message of audio was due to when it was sent.
    failures : Counter of str
        Sessions that failed, by cause.
    seconds : dict of int to Second
        By the second of the run.
    cpu_s, held_cpu_s : float
        Processor time of the workers, in all and while all sessions were held.
    busiest : float
        The share of one processor that the busiest worker took meanwhile.
    held_from, held_until : float or None
        When that was, on the monotonic clock.
    first_late : float or None
        Seconds from the start to the first pong that was late.
    """

    def __init__(self) -> None:
        self.started = self.opened = self.clean = self.failed = self.late_pongs = 0
        self.texts_sent = self.frames_sent = self.samples_sent = self.octets_sent = self.frames_dropped = 0
        self.connect = Histogram()
        self.opened_after = Histogram()
        self.rtt = Histogram()
        self.closed_after = Histogram()
        self.lag = Histogram()
        self.failures: Counter[str] = Counter()
        self.seconds: dict[int, Second] = {}
        self.cpu_s = 0.0
        self.held_cpu_s = 0.0
        self.busiest = 0.0
        self.held_from: float | None = None
        self.held_until: float | None = None
        self.first_late: float | None = None

    def hold(self, began: float, ended: float, cpu_s: float) -> None:
        """All sessions were held for that long, and this process took so much processor time."""
        self.held_from, self.held_until, self.held_cpu_s = began, ended, cpu_s
        self.busiest = cpu_s / max(1e-3, ended - began)

    @property
    def held_s(self) -> float:
        """How long all sessions were held."""
        return 0.0 if self.held_from is None or self.held_until is None else max(0.0, self.held_until - self.held_from)

    def second(self, number: int) -> Second:
        """That second of the run."""
        found = self.seconds.get(number)
        if found is None:
            found = self.seconds[number] = Second()
        return found

    def merge(self, other: Tally) -> None:
        """Add the tally of another worker of the same run."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))
        self.failures.update(other.failures)
        for number, second in other.seconds.items():
            self.second(number).merge(second)
        self.cpu_s += other.cpu_s
        self.held_cpu_s += other.held_cpu_s
        self.busiest = max(self.busiest, other.busiest)
        self.held_from = _of(max, self.held_from, other.held_from)
        self.held_until = _of(min, self.held_until, other.held_until)
        self.first_late = _of(min, self.first_late, other.first_late)

    def to_state(self) -> dict[str, Any]:
        """All there is, as plain values for another process."""
        state: dict[str, Any] = {name: getattr(self, name) for name in (*_COUNTS, *_VALUES)}
        state |= {name: getattr(self, name).to_state() for name in _HISTOGRAMS}
        state["failures"] = dict(self.failures)
        state["seconds"] = [(number, second.to_state()) for number, second in self.seconds.items()]
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The tally of `to_state`."""
        made = cls()
        for name in (*_COUNTS, *_VALUES):
            setattr(made, name, state[name])
        for name in _HISTOGRAMS:
            setattr(made, name, Histogram.from_state(state[name]))
        made.failures = Counter(state["failures"])
        made.seconds = {number: Second.from_state(second) for number, second in state["seconds"]}
        return made


def _of(choose: Callable[..., float], one: float | None, other: float | None) -> float | None:
    there = [value for value in (one, other) if value is not None]
    return choose(there) if there else None
