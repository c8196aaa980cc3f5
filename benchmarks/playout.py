"""Does the adaptive playout delay pay?  Late loss against mean delay, on seeded traces.

    python benchmarks/playout.py --out DIR [--seeds 301 302 ...]

writes DIR/playout.png (first seed) and DIR/playout.md (all seeds).

A packet is late when it arrives after it was due by what was known before it came.  The delay is that of the packets
in time: from the floor of the path, which moves with the sender's clock where that drifts, to when they were due.
The adaptive player may set its delay anew with each packet, as one that stretches time does; the fixed ones may not.
The best fixed delay is chosen by a clairvoyant, and runs on the receiver's clock.  For the traces with drift there is
a second one, from which the clairvoyant has taken the drift out.

The constants of the estimator were chosen on other seeds than the default ones.
"""

from __future__ import annotations

import argparse
import math
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gcmedia._core.playout import PlayoutEstimator
from tests.reference import traces
from tests.reference.traces import FLOOR, Trace

QUANTILES = (0.95, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997, 0.999)
FIXED_MS = (20, 30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200)
GOAL = 0.01

Point = tuple[float, float]  # share late, mean delay in ms


def make_traces(seed: int) -> dict[str, tuple[Trace, float]]:
    """Each trace with its drift."""
    return {
        "steady": (traces.steady(seed=seed), 0.0),
        "bursty": (traces.bursty(seed=seed), 0.0),
        "spikes": (traces.spikes(seed=seed), 0.0),
        "drift +200 ppm": (traces.drift(seed=seed, ppm=200.0), 200e-6),
        "drift -200 ppm": (traces.drift(seed=seed, ppm=-200.0), -200e-6),
        "stall": (traces.stall(seed=seed), 0.0),
    }


def point(trace: Trace, dues: list[float], drift: float) -> Point:
    late, total = 0, 0.0
    for (arrival, media_time), due in zip(trace, dues, strict=True):
        if arrival > due:
            late += 1
        else:
            total += due - media_time * (1.0 + drift) - FLOOR
    return late / len(trace), 1000.0 * total / max(len(trace) - late, 1)


def adaptive(trace: Trace, drift: float, quantile: float) -> Point:
    estimator = PlayoutEstimator(quantile=quantile)
    dues = []
    for arrival, media_time in trace:
        dues.append(estimator.due(media_time) if dues else arrival)
        estimator.push(arrival, media_time)
    return point(trace, dues, drift)


def fixed(trace: Trace, drift: float, delay: float, follow: float = 0.0) -> Point:
    """Delay in seconds over the floor at the start; ``follow`` is the drift that the player takes out."""
    return point(trace, [m * (1.0 + follow) + FLOOR + delay for _, m in trace], drift)


def best_fixed(trace: Trace, drift: float, late: float, follow: float = 0.0) -> Point:
    """The least fixed delay with no more late packets than this."""
    delays = sorted(a - m * (1.0 + follow) - FLOOR for a, m in trace)
    least = delays[math.ceil(len(delays) * (1.0 - late)) - 1]
    return fixed(trace, drift, least + 1e-9, follow)


def delay_at(points: list[Point], late: float) -> float | None:
    """Mean delay where the curve crosses this late loss, or None where it does not."""
    points = sorted(points)
    for (late_a, delay_a), (late_b, delay_b) in pairwise(points):
        if late_a <= late <= late_b:
            return delay_a + (delay_b - delay_a) * (late - late_a) / max(late_b - late_a, 1e-12)
    return None


def table(seeds: list[int]) -> str:
    lines = [
        "| seed | trace | adaptive at its default: late, mean delay | adaptive at 1 % late | best fixed at 1 % late "
        "| drift taken out | adaptive at or left of it |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed in seeds:
        for name, (trace, drift) in make_traces(seed).items():
            late, delay = adaptive(trace, drift, 0.99)
            crossing = delay_at([adaptive(trace, drift, q) for q in QUANTILES], GOAL)
            best = best_fixed(trace, drift, GOAL)[1]
            without = f"{best_fixed(trace, drift, GOAL, drift)[1]:.1f} ms" if drift else ""
            shown = "does not reach it" if crossing is None else f"{crossing:.1f} ms"
            verdict = "yes" if crossing is not None and crossing <= best else "no"
            lines.append(
                f"| {seed} | {name} | {100 * late:.2f} %, {delay:.1f} ms | {shown} | {best:.1f} ms "
                f"| {without} | {verdict} |"
            )
    lines += ["", "Fixed delays, first seed: late loss in %", ""]
    lines += ["| trace | " + " | ".join(f"{ms} ms" for ms in FIXED_MS) + " |", "|---" * (len(FIXED_MS) + 1) + "|"]
    for name, (trace, drift) in make_traces(seeds[0]).items():
        shares = (100 * fixed(trace, drift, ms / 1000.0)[0] for ms in FIXED_MS)
        lines.append(f"| {name} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    return "\n".join(lines) + "\n"


def plot(seed: int, path: Path) -> None:
    figure, grid = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    least = 0.02  # %, stands for none at all on the logarithmic axis

    def draw(axes: plt.Axes, points: list[Point], style: str, label: str, colour: str) -> None:
        shown = sorted((delay, max(100 * late, least)) for late, delay in points)
        axes.plot(*zip(*shown, strict=True), style, label=label, color=colour, markersize=5, linewidth=1.4)

    for axes, (name, (trace, drift)) in zip(grid.flat, make_traces(seed).items(), strict=True):
        draw(
            axes,
            [fixed(trace, drift, ms / 1000.0) for ms in FIXED_MS],
            "s:",
            "fixed, 20 to 200 ms (none late is drawn as 0.02 %)",
            "tab:gray",
        )
        shares = [0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05]
        draw(axes, [best_fixed(trace, drift, s) for s in shares], "--", "fixed, clairvoyant", "tab:orange")
        if drift:
            points = [best_fixed(trace, drift, s, drift) for s in shares]
            draw(axes, points, "-.", "the same, drift taken out", "tab:green")
        draw(axes, [adaptive(trace, drift, q) for q in QUANTILES], "o-", "adaptive, quantiles", "tab:blue")
        late, delay = adaptive(trace, drift, 0.99)
        axes.plot([delay], [100 * late], "*", color="tab:red", markersize=13, label="adaptive, default", zorder=5)
        axes.axhline(100 * GOAL, color="black", linewidth=0.6)
        axes.set(title=name, yscale="log", ylim=(least * 0.8, 100), xlabel="mean delay over the floor / ms")
        axes.set_xlim(0, 60 if name in ("steady", "stall") else None)  # the rest of these two lies far to the right
        axes.grid(alpha=0.3, which="both", linewidth=0.4)
    for axes in grid[:, 0]:
        axes.set_ylabel("late packets / %")
    figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    figure.suptitle("Late loss against mean playout delay; lower left is better")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Late loss against mean delay: adaptive and fixed playout.")
    parser.add_argument("--out", type=Path, required=True, help="folder for playout.png and playout.md")
    parser.add_argument("--seeds", type=int, nargs="+", default=[301, 302, 303, 304, 305], help="of the traces")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    text = table(options.seeds)
    (options.out / "playout.md").write_text(text, encoding="utf-8")
    plot(options.seeds[0], options.out / "playout.png")
    print(text)


if __name__ == "__main__":
    main()
