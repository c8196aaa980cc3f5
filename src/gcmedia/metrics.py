"""Prometheus metrics, read from the counters of the core when somebody scrapes, and never before.

The names are those of W3C webrtc-stats (RTCInboundRtpStreamStats) where it has one, in Prometheus' spelling;
docs/metrics.md maps each.  Labels are few and bounded: what a call comes from, and kinds of failure.  Those of single
calls are asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from ._core.counters import COUNTERS, tally_counters
from .errors import ConfigError
from .live import LiveCall, LiveCalls

__all__ = ["Collector", "exposition"]

JITTER_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5)
LOSS_BUCKETS = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)

#: Name without prefix and suffix, column, what it counts.
TOTALS = (
    ("packets_received", "packets_received", "packetsReceived: every packet handed in, whatever became of it"),
    ("packets_played", "packets_played", "Packets whose audio is in the frames"),
    ("packets_late", "packets_late", "Packets that came after their place had been filled"),
    ("packets_duplicate", "packets_duplicate", "packetsDuplicated: their number had come before"),
    ("packets_discarded", "packets_discarded", "packetsDiscarded: dropped here, paused or for want of room"),
    ("packets_refused", "packets_refused", "Packets malformed, oversized, or of a number that fits nowhere"),
    ("packets_reordered", "packets_reordered", "Packets that came after a higher number"),
    ("packets_expected", "packets_expected", "Numbers that the senders have used (RFC 3550 A.3)"),
    ("bytes_received", "bytes_received", "bytesReceived and headerBytesReceived: octets of all packets"),
    ("samples_received", "total_samples", "totalSamplesReceived: length of the timelines, concealed samples included"),
    ("concealed_samples", "concealed_samples", "concealedSamples: made up for missing ones"),
    ("silent_concealed_samples", "silent_concealed_samples", "silentConcealedSamples: those that are plain silence"),
    ("concealment_events", "concealment_events", "concealmentEvents: runs of concealed samples"),
    ("jitter_buffer_delay_seconds", "jitter_buffer_delay", "jitterBufferDelay, summed over packets"),
    ("jitter_buffer_target_delay_seconds", "jitter_buffer_target_delay", "jitterBufferTargetDelay, likewise"),
    ("jitter_buffer_emitted", "jitter_buffer_emitted_count", "jitterBufferEmittedCount, in packets"),
    ("sequence_gaps", "gaps", "Jumps ahead of sequence numbers"),
    ("sequence_resets", "resets", "Sequences begun anew"),
    ("jitter_buffer_flushes", "flushes", "Holes longer than the gap tolerance"),
    ("jitter_buffer_underruns", "underruns", "The buffer ran dry"),
    ("jitter_buffer_overruns", "overruns", "A packet found no room"),
    ("timestamp_jumps", "timestamp_jumps", "Media timestamps that the sequence does not explain"),
)
#: Of each call, where that is asked for.
PER_CALL = (
    ("packets_received", "packets_received", True),
    ("packets_expected", "packets_expected", True),
    ("concealed_samples", "concealed_samples", True),
    ("jitter_seconds", "jitter", False),
    ("loss_ratio", "loss_rate", False),
    ("buffer_depth_packets", "buffer_depth", False),
    ("buffer_target_packets", "buffer_target", False),
)

COLUMN = {name: index for index, name in enumerate(COUNTERS)}
WIDTH = len(COUNTERS) + len(JITTER_BUCKETS) + 1 + len(LOSS_BUCKETS) + 1 + 2


class Tally:
    """Counters of the calls of one source, added up: those that are going on, and those that are over."""

    def __init__(self, row: list[float]) -> None:
        jitter_at, loss_at = len(COUNTERS), len(COUNTERS) + len(JITTER_BUCKETS) + 1
        self._sums = row[:jitter_at]
        self.jitter, self.loss = row[jitter_at:loss_at], row[loss_at:-2]
        self.unbalanced, self.n = row[-2:]
        self.over: list[float] = [0.0] * len(COUNTERS)

    def add(self, call: LiveCall) -> None:
        """Take in a call of which another process has told."""
        assert call.told is not None
        self._sums = [value + more for value, more in zip(self._sums, call.told, strict=True)]
        self.jitter[bisect_left(JITTER_BUCKETS, call.told[COLUMN["jitter"]])] += 1
        self.loss[bisect_left(LOSS_BUCKETS, call.told[COLUMN["loss_rate"]])] += 1
        self.unbalanced += not call.stats().balanced
        self.n += 1

    def now(self, name: str) -> float:
        """Over those that are going on."""
        return self._sums[COLUMN[name]]

    def total(self, name: str) -> float:
        """Over all."""
        return self._sums[COLUMN[name]] + self.over[COLUMN[name]]


Groups: TypeAlias = dict[str, Tally]


class Collector:
    """A Prometheus collector over the calls of this process.

    Register it: ``prometheus_client.REGISTRY.register(Collector(calls))``.

    Parameters
    ----------
    calls : LiveCalls
        What captures and servers announce their calls to.
    per_call : bool
        Whether calls also have series of their own, labelled ``call`` (its number in this process).
    max_calls : int
        Calls that have, at most: the newest.

    Raises
    ------
    ConfigError
        If ``max_calls`` is out of its range.
    """

    def __init__(self, calls: LiveCalls, *, per_call: bool = False, max_calls: int = 500) -> None:
        if not 1 <= max_calls <= 10_000:
            raise ConfigError(f"max_calls is {max_calls}, not in [1, 10000]")
        self._calls = calls
        self._per_call = per_call
        self._max_calls = max_calls

    def describe(self) -> list[Metric]:
        """Nothing is read when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read all counters as they stand."""
        live, past = self._calls.snapshot()
        sources = sorted({call.source for call in live} | past.keys())
        place = {source: index for index, source in enumerate(sources)}
        elsewhere = [call for call in live if call.told is not None]  # their receivers are in another process
        here = [call for call in live if call.told is None] if elsewhere else live
        octets = tally_counters(
            [call.receiver for call in here],
            [place[call.source] for call in here],
            len(sources),
            JITTER_BUCKETS,
            LOSS_BUCKETS,
        )
        flat: list[float] = memoryview(octets).cast("d").tolist()  # type: ignore[assignment]
        groups = {source: Tally(flat[index * WIDTH : (index + 1) * WIDTH]) for source, index in place.items()}
        for call in elsewhere:
            groups[call.source].add(call)
        for source, row in past.items():
            groups[source].over = row
        yield from self._of_calls(groups)
        yield from _totals(groups)
        yield from _now(groups)
        yield from self._of_process()
        if self._per_call:
            yield from _per_call(live[-self._max_calls :])

    def _of_calls(self, groups: Groups) -> Iterator[Metric]:
        calls = self._calls
        yield _by_source(GaugeMetricFamily, "calls", "Calls that are going on", {s: g.n for s, g in groups.items()})
        yield CounterMetricFamily("gcmedia_calls_opened", "Calls with media so far", value=calls.opened)
        yield CounterMetricFamily("gcmedia_calls_ended", "Calls with media that are over", value=calls.ended)
        failed = CounterMetricFamily("gcmedia_calls_failed", "Calls that failed, by kind of error", labels=["reason"])
        refused = CounterMetricFamily("gcmedia_calls_refused", "Calls turned away, by reason", labels=["reason"])
        families = {"failed": failed, "refused": refused}
        for (kind, reason), n in sorted(calls.reasons.items()):
            families[kind].add_metric([reason], n)
        yield failed
        yield refused

    def _of_process(self) -> Iterator[Metric]:
        calls = self._calls
        yield CounterMetricFamily(
            "gcmedia_frames_dropped", "Frames that consumers were too slow for; recordings have them",
            value=calls.dropped_frames,
        )  # fmt: skip
        yield CounterMetricFamily(
            "gcmedia_reconnects", "Connections that took over from a lost one", value=calls.reconnects
        )
        for name, about, value in (
            ("gcmedia_token_age_seconds", "Age of the oldest token in use", calls.token_age_s),
            ("gcmedia_token_expires_in_seconds", "Time until the first token in use ends", calls.token_left_s),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, about, value=value)
        disk = calls.disk()
        if disk:
            yield GaugeMetricFamily(
                "gcmedia_recording_free_bytes", "Room on the fullest file system of recordings", value=disk[0][0]
            )
            yield GaugeMetricFamily("gcmedia_recording_size_bytes", "Size of that file system", value=disk[0][1])


def _by_source(kind: Any, name: str, about: str, values: Mapping[str, float]) -> Metric:
    family: Metric = kind(f"gcmedia_{name}", about, labels=["source"])
    for source, value in values.items():
        family.add_metric([source], value)  # type: ignore[attr-defined]
    return family


def _totals(groups: Groups) -> Iterator[Metric]:
    for name, column, about in TOTALS:
        yield _by_source(CounterMetricFamily, name, about, {s: g.total(column) for s, g in groups.items()})
    yield _by_source(
        CounterMetricFamily,
        "packets_unique_received",
        "Packets with a valid number of their own; the rest of those expected is lost",
        {s: g.total("packets_expected") - g.total("packets_lost") for s, g in groups.items()},
    )
    yield _by_source(
        GaugeMetricFamily,
        "packets_lost",
        "packetsLost: may fall again, when one comes late after all",
        {s: g.total("packets_lost") for s, g in groups.items()},
    )


def _now(groups: Groups) -> Iterator[Metric]:
    """What is so at the moment, over the calls that are going on."""
    yield _by_source(
        GaugeMetricFamily,
        "packets_buffered",
        "Packets waiting for their turn",
        {source: group.now("packets_buffered") for source, group in groups.items()},
    )
    jitter = GaugeHistogramMetricFamily(
        "gcmedia_jitter_seconds", "jitter of each call now (RFC 3550 A.8)", labels=["source"]
    )
    loss = GaugeHistogramMetricFamily(
        "gcmedia_loss_ratio", "Share of each call's last 256 packets that has not come", labels=["source"]
    )
    for source, group in groups.items():
        jitter.add_metric([source], _cumulated(group.jitter, JITTER_BUCKETS), group.now("jitter"))
        loss.add_metric([source], _cumulated(group.loss, LOSS_BUCKETS), group.now("loss_rate"))
    yield jitter
    yield loss
    yield GaugeMetricFamily(
        "gcmedia_calls_unbalanced",
        "Calls whose packets do not add up; never more than a moment",
        value=sum(group.unbalanced for group in groups.values()),
    )


def _cumulated(counts: Sequence[float], bounds: Sequence[float]) -> list[tuple[str, float]]:
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))


def _per_call(live: Sequence[LiveCall]) -> Iterator[Metric]:
    table = LiveCalls.read(live)
    for name, column, counts in PER_CALL:
        kind: Any = CounterMetricFamily if counts else GaugeMetricFamily
        family = kind(f"gcmedia_call_{name}", f"{name} of one call", labels=["call", "source"])
        for call, row in zip(live, table, strict=True):
            family.add_metric([str(call.number), call.source], row[COLUMN[column]])
        yield family


def exposition(calls: LiveCalls, *, per_call: bool = False) -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(calls, per_call=per_call))
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4
