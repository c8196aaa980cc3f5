"""What a load came to: figures, failures by cause, both sides' counts, and whether the figures are about the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .histogram import Histogram
from .observe import ProcessWatch
from .plan import LoadPlan
from .tally import Tally

__all__ = ["LoadReport"]

#: Beyond these the generator itself was too slow, and late pongs are as well its own doing.
OWN_LAG_S = 0.05
OWN_CPU = 0.9

#: The middle of the round trips may grow by this much from the first third of the hold to the last.
GROWTH = 2.0
GROWTH_S = 0.01

#: What gcmedia's server counts, beside what was sent.
_SAME = (
    ("sessions", "gcmedia_audiohook_sessions_opened_total"),
    ("text messages", "gcmedia_audiohook_messages_total"),
    ("audio frames", "gcmedia_audiohook_audio_frames_total"),
    ("audio octets", "gcmedia_audiohook_audio_octets_total"),
)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of a load.

    Attributes
    ----------
    plan : LoadPlan
        What was asked for.
    tally : Tally
        What the generator counted.
    loop : str
        Its event loop.
    took_s : float
        The whole run.
    before, after : dict of str to float, or None
        The server's metrics.
    watch : ProcessWatch or None
        What the server's processes cost.
    """

    plan: LoadPlan
    tally: Tally
    loop: str
    took_s: float
    before: dict[str, float] | None = None
    after: dict[str, float] | None = None
    watch: ProcessWatch | None = None

    @property
    def held(self) -> int:
        """Most sessions that were open at the end of a second."""
        return max((second.open for second in self.tally.seconds.values()), default=0)

    @property
    def held_in_time(self) -> int:
        """The same, of the seconds before the one with the first late pong."""
        first = self.tally.first_late
        if first is None:
            return self.held
        return max((second.open for number, second in self.tally.seconds.items() if number < int(first)), default=0)

    @property
    def growing(self) -> bool:
        """Whether round trips grew while the number of sessions did not: the server fell behind for good."""
        thirds = self._thirds()
        if thirds is None:
            return False
        first, last = thirds[0].percentile(50), thirds[1].percentile(50)
        return first is not None and last is not None and last > first * GROWTH and last > first + GROWTH_S

    @property
    def bottleneck(self) -> str:
        """Why the figures are about the generator rather than the server; ``""`` when they are not."""
        reasons = []
        lag = self.tally.lag.percentile(99)
        if lag is not None and lag > OWN_LAG_S:
            reasons.append(f"1 % of its messages were more than {lag * 1e3:.0f} ms late")
        if self.tally.busiest > OWN_CPU:
            reasons.append(f"a worker took {self.tally.busiest * 100:.0f} % of a processor")
        return ", ".join(reasons)

    @property
    def counts(self) -> list[tuple[str, int, int]]:
        """What was sent, and what the server counted meanwhile: name, ours, its."""
        if self.before is None or self.after is None:
            return []
        tally = self.tally
        ours = (tally.opened, tally.texts_sent, tally.frames_sent, tally.octets_sent)
        return [
            (name, mine, round(self.after.get(metric, 0.0) - self.before.get(metric, 0.0)))
            for (name, metric), mine in zip(_SAME, ours, strict=True)
            if metric in self.after
        ]

    @property
    def ok(self) -> bool:
        """Whether every session was served in time and by the protocol, and both sides counted the same."""
        tally = self.tally
        return (
            not tally.failed
            and not tally.late_pongs
            and not tally.frames_dropped
            and not self.growing
            and all(mine == theirs for _, mine, theirs in self.counts)
        )

    def server_cost(self) -> dict[str, float] | None:
        """Processor time and memory of the watched processes while all sessions were held; None when not watched."""
        tally = self.tally
        if self.watch is None or tally.held_from is None or tally.held_until is None or not self.watch.costs:
            return None
        ends = self.watch.during(tally.held_from, tally.held_until)
        if ends is None:
            return None
        first, last = ends
        n_open = max(1, self._n_held())
        base = self.watch.costs[0].resident_octets
        share = (last.cpu_s - first.cpu_s) / (last.at - first.at)
        return {
            "cpu_share": round(share, 4),
            "cpu_us_per_session_second": round(share / n_open * 1e6, 1),
            "resident_octets_before": base,
            "resident_octets_held": last.resident_octets,
            "octets_per_session": round((last.resident_octets - base) / n_open),
        }

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        tally, plan = self.tally, self.plan
        own_share = tally.held_cpu_s / tally.held_s if tally.held_s else None
        return {
            "ok": self.ok,
            "sessions": plan.sessions,
            "rate_per_s": plan.rate_per_s,
            "stereo": plan.stereo,
            "format": plan.format,
            "idle": plan.idle,
            "frame_ms": plan.frame_ms,
            "started": tally.started,
            "opened": tally.opened,
            "clean": tally.clean,
            "failed": tally.failed,
            "failures": dict(tally.failures.most_common()),
            "held": self.held,
            "held_in_time": self.held_in_time,
            "held_s": round(tally.held_s, 3),
            "late_pongs": tally.late_pongs,
            "first_late_s": None if tally.first_late is None else round(tally.first_late, 3),
            "growing": self.growing,
            "connect": tally.connect.as_dict(),
            "opened_after": tally.opened_after.as_dict(),
            "rtt": tally.rtt.as_dict(),
            "closed_after": tally.closed_after.as_dict(),
            "send_lag": tally.lag.as_dict(),
            "sent": {
                "text_messages": tally.texts_sent,
                "audio_frames": tally.frames_sent,
                "samples": tally.samples_sent,
                "audio_octets": tally.octets_sent,
                "frames_dropped": tally.frames_dropped,
            },
            "server_counted": {name: {"sent": mine, "counted": theirs} for name, mine, theirs in self.counts},
            "server": self.server_cost(),
            "generator": {
                "workers": plan.workers,
                "loop": self.loop,
                "cpu_s": round(tally.cpu_s, 3),
                "held_cpu_share": None if own_share is None else round(own_share, 4),
                "busiest_worker_share": round(tally.busiest, 4),
                "bottleneck": self.bottleneck,
            },
            "took_s": round(self.took_s, 3),
            "seconds": [
                {
                    "second": number,
                    "open": second.open,
                    "late_pongs": second.late_pongs,
                    "rtt": second.rtt.as_dict(),
                    "send_lag": second.lag.as_dict(),
                }
                for number, second in sorted(tally.seconds.items())
            ],
        }

    def _n_held(self) -> int:
        """Sessions that were open in the middle of the hold."""
        seconds = self._held_seconds()
        return self.tally.seconds[seconds[len(seconds) // 2]].open if seconds else self.held

    def _held_seconds(self) -> list[int]:
        """Whole seconds of the run that lie within the hold: at its end the same number is open."""
        most = self.held
        return [number for number, second in sorted(self.tally.seconds.items()) if second.open >= most * 0.99]

    def _thirds(self) -> tuple[Histogram, Histogram] | None:
        numbers = self._held_seconds()
        third = len(numbers) // 3
        if not third:
            return None
        first, last = Histogram(), Histogram()
        for number in numbers[:third]:
            first.merge(self.tally.seconds[number].rtt)
        for number in numbers[-third:]:
            last.merge(self.tally.seconds[number].rtt)
        return first, last
