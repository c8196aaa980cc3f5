"""The other side of a load: what the server counted, and what its processes cost (Linux)."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, TransportError

__all__ = ["Cost", "ProcessWatch", "parse_metrics", "scrape"]

MAX_METRICS_OCTETS = 16 << 20
TIMEOUT_S = 10.0
PERIOD_S = 0.5

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def parse_metrics(text: str) -> dict[str, float]:
    """Read Prometheus' text format: the sum of each name over its labels; what cannot be read is left out."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition("{")
        value = rest.rpartition("}")[2] if rest else line.partition(" ")[2]
        name = name.partition(" ")[0]
        try:
            number = float(value.split()[0])
        except (ValueError, IndexError):
            continue
        found[name] = found.get(name, 0.0) + number
    return found


def scrape(urls: tuple[str, ...]) -> dict[str, float]:
    """Fetch the metrics of a server, one URL for each of its processes, and add them up.

    Raises
    ------
    TransportError
        If one cannot be had.
    ConfigError
        If one is no HTTP URL.
    """
    total: dict[str, float] = {}
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"metrics are at {url!r}, which is no HTTP URL")
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked above
                text = answer.read(MAX_METRICS_OCTETS).decode(errors="replace")
        except (OSError, ValueError) as error:
            reason = error.code if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            raise TransportError(f"cannot fetch metrics from {url}: {reason}") from None
        for name, value in parse_metrics(text).items():
            total[name] = total.get(name, 0.0) + value
    return total


@dataclass(frozen=True, slots=True)
class Cost:
    """What processes had used at a moment.

    Attributes
    ----------
    at : float
        When, on the monotonic clock.
    cpu_s : float
        Processor time since each began.
    resident_octets : int
        Memory, with what they share counted in each.
    """

    at: float
    cpu_s: float
    resident_octets: int


class ProcessWatch:
    """Looks at a process and its descendants twice a second, from a thread.

    Parameters
    ----------
    pid : int
        The server's.

    Attributes
    ----------
    costs : list of Cost
        In order.

    Raises
    ------
    ConfigError
        If there is no such process, or no /proc.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gcmedia-load-watch", daemon=True)
        self.costs: list[Cost] = []
        if self._look() is None:
            raise ConfigError(f"there is no process {pid} to watch")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look once more, and end."""
        self._stopped.set()
        self._thread.join()

    def during(self, began: float, ended: float) -> tuple[Cost, Cost] | None:
        """The first and the last look of a time; None when there were not two."""
        within = [cost for cost in self.costs if began <= cost.at <= ended]
        return (within[0], within[-1]) if len(within) > 1 else None

    def _watch(self) -> None:
        while True:
            cost = self._look()
            if cost is not None:
                self.costs.append(cost)
            if self._stopped.wait(PERIOD_S):
                return

    def _look(self) -> Cost | None:
        cpu, pages, found = 0.0, 0, False
        for pid in _family(self._pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                cpu += (int(fields[11]) + int(fields[12])) / _TICKS
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                found = True
            except (OSError, IndexError):
                continue
        return Cost(time.monotonic(), cpu, pages * _PAGE) if found else None


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    found, place = [pid], 0
    while place < len(found):
        try:
            for task in Path(f"/proc/{found[place]}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass
        place += 1
    return found
