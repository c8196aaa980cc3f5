"""Does the adaptive playout delay pay?  Late loss against mean delay, on seeded traces.

    python benchmarks/playout.py --out DIR [--seeds 301 302 ...]

writes DIR/playout.png (first seed) and DIR/playout.md (all seeds).

What late and delay mean is said in tests/reference/tradeoff.py.  The best fixed delay is chosen by a clairvoyant, and
runs on the receiver's clock.  For the traces with drift there is a second one, from which the clairvoyant has taken
the drift out.

The constants of the estimator were chosen on other seeds than the default ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.reference.traces import DRIFT, TRACES, Trace
from tests.reference.tradeoff import GOAL, Point, adaptive, best_adaptive, best_fixed, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTILES = (0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.997, 0.9985, 0.9995)
SHARES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07)
FIXED_MS = (20, 30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200)
LEAST = 0.02  # %, stands for none at all on the logarithmic axis
SAYS = {
    "steady": "steady: nothing ever changes",
    "bursty": "bursty: Gilbert-Elliott, 16 % bad",
    "spikes": "Wi-Fi spikes: 80 to 250 ms every 5 s",
    "drift +200 ppm": "sender's clock slow by 200 ppm, one hour",
    "drift -200 ppm": "sender's clock fast by 200 ppm, one hour",
    "stall": "stall: nothing for 2 s, then all of it",
}
COLOURS = {"adaptive": "#1f6fb4", "best": "#e08214", "followed": "#5aa05a", "fixed": "#9a9a9a"}


def table(seeds: list[int]) -> str:
    lines = [
        "| seed | trace | adaptive at its default: late, mean delay | adaptive at 1 % late | best fixed at 1 % late "
        "| drift taken out | adaptive at or left of it |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed in seeds:
        for name, make in TRACES.items():
            trace, drift = make(seed=seed), DRIFT[name]
            default, ours, best = adaptive(trace, drift), best_adaptive(trace, drift), best_fixed(trace, drift)
            without = f"{best_fixed(trace, drift, GOAL, drift).delay_ms:.1f} ms" if drift else ""
            verdict = "yes" if ours.late <= GOAL and ours.delay_ms <= best.delay_ms else "no"
            lines.append(
                f"| {seed} | {name} | {100 * default.late:.2f} %, {default.delay_ms:.1f} ms | {ours.delay_ms:.1f} ms "
                f"| {best.delay_ms:.1f} ms | {without} | {verdict} |"
            )
    lines += ["", "Fixed delays, first seed: late loss in %", ""]
    lines += ["| trace | " + " | ".join(f"{ms} ms" for ms in FIXED_MS) + " |", "|---" * (len(FIXED_MS) + 1) + "|"]
    for name, make in TRACES.items():
        trace = make(seed=seeds[0])
        shares = (100 * fixed(trace, DRIFT[name], ms / 1000.0).late for ms in FIXED_MS)
        lines.append(f"| {name} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    return "\n".join(lines) + "\n"


def draw(axes: Axes, points: list[Point], style: str, colour: str, label: str) -> None:
    shown = sorted((delay, max(100 * late, LEAST)) for late, delay in points)
    xs, ys = zip(*shown, strict=True)
    axes.plot(xs, ys, style, label=label, color=COLOURS[colour], markersize=4.5, linewidth=1.7)


def draw_trace(axes: Axes, name: str, trace: Trace) -> None:
    """The curves of one trace, and the two delays that have 1 % late."""
    drift = DRIFT[name]
    draw(axes, [fixed(trace, drift, ms / 1000.0) for ms in FIXED_MS], "s:", "fixed", "fixed delays of 20 to 200 ms")
    draw(axes, [best_fixed(trace, drift, s) for s in SHARES], "-", "best", "best fixed delay, by a clairvoyant")
    draw(axes, [adaptive(trace, drift, q) for q in QUANTILES], "o-", "adaptive", "adaptive, by quantile asked for")
    if drift:
        points = [best_fixed(trace, drift, s, drift) for s in SHARES]
        draw(axes, points, "--", "followed", "best fixed delay, drift taken out")
    default = adaptive(trace, drift)
    axes.plot(
        [default.delay_ms], [100 * default.late], "*", color="#c22f2f", markersize=14, markeredgecolor="white",
        label="adaptive, default settings", zorder=5,
    )  # fmt: skip
    ours, best = best_adaptive(trace, drift).delay_ms, best_fixed(trace, drift).delay_ms
    says = f"at 1 % late\nadaptive {ours:.1f} ms\nbest fixed {best:.1f} ms"
    if drift:
        says += f"\ndrift taken out {best_fixed(trace, drift, GOAL, drift).delay_ms:.1f} ms"
    axes.axhline(100 * GOAL, color="black", linewidth=0.8)
    axes.text(
        0.72 if drift else 0.97, 0.95, says, transform=axes.transAxes,
        ha="right", va="top", fontsize=9.5, linespacing=1.5,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "#cccccc"},
    )  # fmt: skip
    axes.set_title(SAYS[name], fontsize=11, loc="left")
    axes.set(yscale="log", ylim=(LEAST * 0.8, 100))
    # The rest of the curves lies far to the right and tells nothing.
    axes.set_xlim(0, {"steady": 65, "stall": 65, "bursty": 210, "spikes": 260}.get(name, 420))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda late, _: f"{late:g}"))
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def plot(seed: int, path: Path) -> None:
    figure, grid = plt.subplots(2, 3, figsize=(14, 8.4), layout="constrained")
    for axes, (name, make) in zip(grid.flat, TRACES.items(), strict=True):
        draw_trace(axes, name, make(seed=seed))
    for axes in grid[:, 0]:
        axes.set_ylabel("late packets / %")
    for axes in grid[1]:
        axes.set_xlabel("mean delay over the floor of the path / ms")
    figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(
        f"Late packets against mean playout delay, lower left is better (seed {seed}; none late is drawn at {LEAST} %)",
        fontsize=13,
    )
    figure.savefig(path, dpi=120)
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
