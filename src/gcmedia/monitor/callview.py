"""One call, followed: from where it was when somebody began to look, in small messages."""

from __future__ import annotations

from collections import deque
from typing import Any

from .._core.counters import COUNTERS
from ..errors import StateError
from ..live import LiveCall, LiveCalls
from ..types import Stats
from . import wire

__all__ = ["CallView"]

COLUMN_FRAMES = 2
TICKS_PER_STATS = 5
LOSS_TICKS = 5  # ticks over which loss is told: a second
EXPECTED, LOST = COUNTERS.index("packets_expected"), COUNTERS.index("packets_lost")
JITTER, LOSS_RATE = COUNTERS.index("jitter"), COUNTERS.index("loss_rate")
DEPTH, TARGET = COUNTERS.index("buffer_depth"), COUNTERS.index("buffer_target")
POSITION, RATE = COUNTERS.index("position"), COUNTERS.index("sample_rate")


class CallView:
    """What one onlooker of a call has seen so far.

    The rings of the call are the queue: one who is too slow finds that the oldest has given way, and is told so.
    """

    def __init__(self, calls: LiveCalls, live: LiveCall, *, listening: bool) -> None:
        self._calls = calls
        self._live = live
        self._listening = listening
        self._column = 0
        self._holes = self._events = self._transcripts = 0
        self._ticks = 0
        self._packets: deque[tuple[float, float]] = deque(maxlen=LOSS_TICKS + 1)  # expected, lost
        self.over = False

    def begin(self) -> bytes:
        """What stays the same, and what lies behind."""
        live, meter = self._live, self._live.meter
        about = {
            "call": live.number,
            "id": live.conversation_id,
            "channels": live.channels,
            "rate": live.sample_rate,
            "source": live.source,
            "startedAt": live.started_at,
            "start": 0 if meter is None else meter.start,
            "columnSamples": 0 if meter is None else COLUMN_FRAMES * meter.frame_samples,
            "listen": self._listening and live.call is not None and meter is not None,
        }
        points = []
        for _, record in live.qa.since(0)[1]:
            points.append(
                wire.point(
                    int(record.get("positionMs") or 0),
                    int(record.get("bufferDepth") or 0),
                    int(record.get("adaptiveThreshold") or 0),
                    float(record.get("jitterMs") or 0) / 1000,
                    float(record.get("packetLossRate") or 0),
                )
            )
        return wire.text({"about": about}) + b"".join(points) + self.tick()

    def tick(self) -> bytes:
        """What is new."""
        live, meter = self._live, self._live.meter
        over = live.ended  # asked first: what comes before the end is still told
        out = []
        if meter is not None:
            while True:
                wanted = self._column
                first, octets = meter.read(wanted)
                if not octets:
                    break
                if first > wanted and self._ticks:
                    out.append(wire.text({"skipped": first - wanted}))
                self._column = first + len(octets) // (4 * meter.n_channels)
                out.append(wire.column_message(first, octets))
        row = self._calls.read([live])[0]
        self._packets.append((row[EXPECTED], row[LOST]))
        if row[RATE]:
            out.append(
                wire.point(
                    int(row[POSITION] * 1000 // row[RATE]), int(row[DEPTH]), int(row[TARGET]), row[JITTER],
                    self._loss(row[LOSS_RATE]),
                )
            )  # fmt: skip
        news = self._news()
        if self._ticks % TICKS_PER_STATS == 0 or over:
            try:
                news["stats"] = figures(live.stats())
            except StateError:
                pass  # a batch of packets is being pushed at this moment; the next tick has them
            news["state"] = live.state
            news["drops"] = live.dropped_frames
            news["reconnects"] = 0 if live.call is None else live.call.reconnects
        if over:
            news["over"] = True
        if news:
            out.append(wire.text(news))
        self._ticks += 1
        self.over = over
        return b"".join(out)

    def _loss(self, lately: float) -> float:
        """Share of the packets expected in the last second that have not come; at first that of the last 256."""
        (expected0, lost0), (expected, lost) = self._packets[0], self._packets[-1]
        if len(self._packets) <= LOSS_TICKS or expected <= expected0:
            return lately
        return max(0.0, (lost - lost0) / (expected - expected0))

    def _news(self) -> dict[str, Any]:
        live = self._live
        news: dict[str, Any] = {}
        n_holes, holes = live.holes.since(self._holes)
        n_events, events = live.events.since(self._events)
        n_transcripts, transcripts = live.transcripts.since(self._transcripts)
        missed = sum(
            found[0][0] - wanted
            for found, wanted in ((holes, self._holes), (events, self._events), (transcripts, self._transcripts))
            if found and wanted
        )
        self._holes, self._events, self._transcripts = n_holes, n_events, n_transcripts
        if holes:
            news["holes"] = [(hole.position, hole.n_samples, hole.cause) for _, hole in holes]
        if events:
            news["events"] = [event for _, event in events]
        if transcripts:
            news["transcripts"] = [
                {"position": said.position, "nSamples": said.n_samples, "channel": said.channel, "text": said.text}
                for _, said in transcripts
            ]
        if missed:
            news["missed"] = missed
        return news


def figures(stats: Stats) -> dict[str, Any]:
    """Counters as the page shows them, and whether they add up."""
    return {
        "received": stats.packets_received,
        "played": stats.packets_played,
        "late": stats.packets_late,
        "duplicate": stats.packets_duplicate,
        "discarded": stats.packets_discarded,
        "refused": stats.packets_refused,
        "buffered": stats.packets_buffered,
        "expected": stats.packets_expected,
        "unique": stats.unique_received,
        "lost": stats.packets_lost,
        "balanced": stats.balanced,
        "concealed": stats.concealed_samples,
        "underruns": stats.underruns,
        "jitterMs": round(stats.jitter * 1000, 2),
        "playoutDelayMs": round(stats.playout_delay_ms, 1),
    }
