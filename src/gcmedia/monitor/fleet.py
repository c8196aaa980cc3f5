"""All calls at a glance: one snapshot a second, worked out once however many look, and not at all when none does."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from .._core.counters import COUNTERS
from ..live import LiveCall, LiveCalls
from . import wire

__all__ = ["Fleet"]

HISTORY_S = 60
MAX_SHOWN = 2000  # calls that a page gets; more are only counted
LEVEL, LEVEL2 = COUNTERS.index("level_first"), COUNTERS.index("level_second")
EXPECTED, LOST = COUNTERS.index("packets_expected"), COUNTERS.index("packets_lost")
JITTER, LOSS_RATE = COUNTERS.index("jitter"), COUNTERS.index("loss_rate")
DEPTH, TARGET = COUNTERS.index("buffer_depth"), COUNTERS.index("buffer_target")
RECEIVED, DISCARDED = COUNTERS.index("packets_received"), COUNTERS.index("packets_discarded")


class _Past:
    """What is known of one call from before: its last minute, and its counters a second ago."""

    __slots__ = ("expected", "history", "lost")

    def __init__(self, live: LiveCall, expected: float, lost: float) -> None:
        self.expected, self.lost = expected, lost
        self.history = array("B", (0, wire.UNKNOWN) * HISTORY_S)
        for record in _seconds(record for _, record in live.qa.since(0)[1]):
            self.add(
                wire.loss_code(float(record.get("packetLossRate") or 0)),
                wire.jitter_code(float(record.get("jitterMs") or 0) / 1000),
            )

    def add(self, loss: int, jitter: int) -> None:
        del self.history[:2]
        self.history.extend((loss, jitter))


def _seconds(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """QA records, each as often as seconds pass until the next one."""
    found: list[dict[str, Any]] = []
    before: float | None = None
    for record in records:
        at = float(record.get("timestamp") or 0) / 1000
        n = 1 if before is None else max(1, min(HISTORY_S, round(at - before)))
        before = at
        found += [record] * n
    return found[-HISTORY_S:]


class Fleet:
    """Snapshots of all calls.

    Attributes
    ----------
    number : int
        Of the newest snapshot.
    rows : bytes
        Its message of rows.
    totals : dict
        Its figures over all calls.
    """

    def __init__(self, calls: LiveCalls) -> None:
        self._calls = calls
        self._pasts: dict[int, _Past] = {}
        self._drops: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=64)
        self.number = 0
        self.rows = wire.message(wire.ROWS, b"")
        self.totals: dict[str, Any] = {}
        self.shown: tuple[LiveCall, ...] = ()
        self._taken_at = -1e9

    def look(self) -> None:
        """Take a snapshot unless the newest is younger than 0.8 s."""
        now = time.monotonic()
        if now - self._taken_at < 0.8:
            return
        fresh = now - self._taken_at > 5.0  # nobody has looked for long: counters of before tell of another time
        self._taken_at = now
        every, over = self._calls.snapshot()
        self.shown = every[:MAX_SHOWN]
        table = self._calls.read(every, levels=True)
        rows = []
        for live, row in zip(self.shown, table, strict=False):
            past = self._pasts.get(live.number)
            if past is None or fresh:
                past = self._pasts[live.number] = _Past(live, row[EXPECTED], row[LOST])
                loss = row[LOSS_RATE]
            else:
                expected = row[EXPECTED] - past.expected
                loss = max(0.0, (row[LOST] - past.lost) / expected) if expected > 0 else 0.0
                past.expected, past.lost = row[EXPECTED], row[LOST]
            codes = wire.loss_code(loss), wire.jitter_code(row[JITTER])
            past.add(*codes)
            rows.append(
                wire.row(
                    live.number, live.state, len(live.channels), (int(row[LEVEL]), int(row[LEVEL2])), *codes,
                    int(row[DEPTH]), int(row[TARGET]),
                )
            )  # fmt: skip
        self.rows = wire.message(wire.ROWS, b"".join(rows))
        there = {live.number for live in self.shown}
        for number in self._pasts.keys() - there:
            del self._pasts[number]
        self.totals = self._totals([*table, *over.values()], len(every), now)
        self.number += 1

    def note_drops(self) -> None:
        """Note the drops so far, for the last minute of those who look later."""
        self._drop_window(time.monotonic())

    def history(self, live: LiveCall) -> bytes:
        """The last minute of a call's loss and jitter."""
        past = self._pasts.get(live.number)
        return b"" if past is None else wire.message(
            wire.HISTORY, live.number.to_bytes(4, "little") + past.history.tobytes()
        )  # fmt: skip

    def _drop_window(self, now: float) -> tuple[int, float]:
        """Drops in the last minute, and how long that minute really is, in seconds."""
        drops = self._calls.dropped_frames
        if now - self._drops[-1][0] >= 0.8:
            self._drops.append((now, drops))
        while len(self._drops) > 1 and self._drops[1][0] <= now - 60.0:
            self._drops.popleft()
        begin, before = self._drops[0]
        return max(0, drops - before), now - begin

    def _totals(self, table: Sequence[Sequence[float]], n_live: int, now: float) -> dict[str, Any]:
        calls = self._calls
        drops, span_s = self._drop_window(now)
        disk = calls.disk()

        def total(column: int) -> int:
            return int(sum(row[column] for row in table))

        return {
            "live": n_live,
            "opened": calls.opened,
            "ended": calls.ended,
            "failed": calls.failed,
            "refused": calls.refused,
            "reconnects": calls.reconnects,
            "received": total(RECEIVED),
            "lost": total(LOST),
            "expected": total(EXPECTED),
            "discarded": total(DISCARDED),
            "drops": drops,
            "dropsSpanS": round(min(span_s, 60.0)),
            "tokenAgeS": _rounded(calls.token_age_s),
            "tokenLeftS": _rounded(calls.token_left_s),
            "diskFree": disk[0][0] if disk else None,
            "diskTotal": disk[0][1] if disk else None,
            "hidden": max(0, n_live - MAX_SHOWN),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value)
