"""RESULTS.md and the plots, from what the benchmarks have found."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import memory
import peers

HERE = Path(__file__).parent
PLOTS = HERE / "plots"
OURS = "gcmedia"


@dataclass(frozen=True)
class Time:
    """One benchmark's result, in nanoseconds a unit (a call, or a packet)."""

    name: str  # without "test_"; variants in brackets
    median: float
    least: float
    spread: float  # interquartile range
    note: str
    reference: bool  # other work than the rest of its group: shown, not judged
    octets: int

    @property
    def ours(self) -> bool:
        return self.name.split("[")[0].startswith(OURS)


Groups = dict[str, dict[str, Time]]


def times(results: list[dict[str, Any]]) -> Groups:
    """Results by group, fastest first."""
    groups: Groups = {}
    for result in results:
        extra = result["extra_info"]
        unit = 1e9 / extra.get("calls", extra.get("packets", 1))
        group = result["group"] or result["fullname"].split("::")[0]
        name, _, variant = result["name"].removeprefix("test_").partition("[")
        kept = [part for part in variant.rstrip("]").split("-") if part and part not in group]
        name += f" [{', '.join(kept)}]" if kept else ""
        stats = result["stats"]
        groups.setdefault(group, {})[name] = Time(
            name,
            stats["median"] * unit,
            stats["min"] * unit,
            stats["iqr"] * unit,
            extra.get("note", ""),
            bool(extra.get("reference")),
            extra.get("octets", 0),
        )
    ranks = {group: [group.startswith(word) for word in ORDER] for group in groups}
    return {
        group: dict(sorted(groups[group].items(), key=lambda row: row[1].median))
        for group in sorted(groups, key=lambda group: (ranks[group] + [True]).index(True))
    }


def best_peer(rows: dict[str, Time], key: Callable[[Time], float] = lambda row: row.median) -> Time | None:
    """The fastest of the others that does the same work."""
    return min((row for row in rows.values() if not row.ours and not row.reference), key=key, default=None)


@dataclass(frozen=True)
class Reach:
    """A row of the table of goals: times faster than named peers, and at most so many nanoseconds."""

    path: str
    group: str
    ours: str
    faster: dict[str, float] = field(default_factory=dict)
    at_most_ns: float = 0.0
    at_least_gb_s: float = 0.0
    at_most_times: tuple[str, float] | None = None  # of another result of ours


REACH = (
    Reach("`ulaw_decode(bytes)`, 160 octets", "ulaw decode, 160 octets", "gcmedia", {"audioop": 2.2}, at_most_ns=42),
    Reach(
        "`ulaw_decode`, 1 MB into a buffer",
        "ulaw decode, 1 MB",
        "gcmedia",
        {"audioop": 5, "av": 4},
        at_least_gb_s=15,
    ),
    Reach("RMS of a 20 ms frame", "level of 20 ms", "gcmedia", {"audioop": 2.8}),
    Reach(
        "header + sequence + jitter, one call a packet",
        "jitter buffer, 1 % lost, twice, late",
        "gcmedia_receiver",
        {"aiortc": 45},
        at_most_ns=40,
    ),
    Reach(
        "`Receiver.push`, all but the gate, into the caller's buffer",
        "whole path, in order",
        "gcmedia_into_out",
        {"composition": 10},
        at_most_ns=95,
    ),
    Reach(
        "`Receiver.push`, all but the gate, as frame objects",
        "whole path, in order",
        "gcmedia",
        {"composition": 6},
        at_most_ns=160,
    ),
    Reach(
        "3,000 interleaved calls, all but the gate, into the caller's buffer",
        "calls taking turns",
        "gcmedia_into_out [3000 calls]",
        at_most_times=("gcmedia_into_out [1 calls]", 1.8),
    ),
    Reach(
        "3,000 interleaved calls, all but the gate, in a bank",
        "calls taking turns",
        "gcmedia_bank [3000 calls]",
        at_most_times=("gcmedia_into_out [1 calls]", 1.8),
    ),
    Reach(
        "noise gate, one call of 20 ms",
        "noise gate, 20 ms",
        "gcmedia",
        {"speexdsp": 18, "webrtc_noise_gain": 18},
        at_most_ns=500,
    ),
    Reach("noise gate, 16 calls in a bank, each", "noise gate, 20 ms", "gcmedia_bank_of_16", at_most_ns=320),
    Reach(
        "`Receiver.push` with the gate, into the caller's buffer",
        "whole path with a gate",
        "gcmedia_into_out",
        {"speexdsp": 15},
        at_most_ns=540,
    ),
    Reach(
        "`Receiver.push` with the gate, as frame objects",
        "whole path with a gate",
        "gcmedia",
        {"speexdsp": 15},
        at_most_ns=540,
    ),
)
ORDER = ("ulaw", "alaw", "level", "jitter", "whole path", "calls", "noise gate", "compressor")  # other groups follow
MEMORY_REACH_KIB, TOUCHED_REACH_KIB = 24, 8


def judge(row: Reach, groups: Groups) -> tuple[str, str, str]:
    """What was asked for, what was found, and whether it was reached; by the fastest rounds of each.

    A machine that is shared runs at several speeds, which the medians of a short run mix in other shares for each.
    """
    asked = [f"≥ {ratio:g} × {peer}" for peer, ratio in row.faster.items()]
    asked += [f"≤ {row.at_most_ns:g} ns"] if row.at_most_ns else []
    asked += [f"≥ {row.at_least_gb_s:g} GB/s in"] if row.at_least_gb_s else []
    asked += [f"≤ {row.at_most_times[1]:g} × {row.at_most_times[0]}"] if row.at_most_times else []
    rows = groups.get(row.group, {})
    ours = rows.get(row.ours)
    if ours is None:
        return "; ".join(asked), "not measured", "–"
    found, reached = [nanoseconds(ours.least)], []
    for peer, ratio in row.faster.items():
        if peer not in rows:
            found.append(f"{peer} absent")
            continue
        found.append(f"{rows[peer].least / ours.least:.1f} × {peer}")
        reached.append(rows[peer].least / ours.least >= ratio)
    if row.at_most_ns:
        reached.append(ours.least <= row.at_most_ns)
    if row.at_least_gb_s:
        found.append(f"{ours.octets / ours.least:.1f} GB/s in")
        reached.append(ours.octets / ours.least >= row.at_least_gb_s)
    if row.at_most_times and row.at_most_times[0] in rows:
        times_ours = ours.least / rows[row.at_most_times[0]].least
        found.append(f"{times_ours:.2f} × {row.at_most_times[0]}")
        reached.append(times_ours <= row.at_most_times[1])
    return "; ".join(asked), "; ".join(found), verdict(reached)


def verdict(reached: list[bool]) -> str:
    """One word for a row."""
    return "reached" if reached and all(reached) else "in part" if any(reached) else "not reached"


def nanoseconds(value: float) -> str:
    """Three digits that matter."""
    if value < 99.95:
        return f"{value:.1f} ns"
    return f"{value:,.0f} ns" if value < 9_999.5 else f"{value / 1000:,.1f} µs"


def table(head: list[str], rows: list[list[str]], right: int = 0) -> list[str]:
    """A Markdown table; columns from the second on are numbers, `right` of them."""
    rule = ["---"] + ["---:"] * right + ["---"] * (len(head) - 1 - right)
    return ["| " + " | ".join(line) + " |" for line in [head, rule, *rows]] + [""]


def told_by(command: list[str], pattern: str = "(.*)") -> str:
    """First match of a pattern in what a program prints, or "unknown"."""
    try:
        out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    found = re.search(pattern, out)
    return found[1].strip() if found else "unknown"


def machine() -> list[str]:
    """Where and with what it was measured."""
    import gcmedia

    features = gcmedia.cpu_features()
    changed = "" if told_by(["git", "status", "--porcelain", "../src"], "(.+)") == "unknown" else ", changed"
    rows = [
        ["processor", f"{told_by(['lscpu'], 'Model name:(.*)')}, {os.cpu_count()} cores, {platform.machine()}"],
        ["kernel", f"{platform.system()} {platform.release()}"],
        ["load when written", ", ".join(f"{load:.1f}" for load in os.getloadavg())],
        ["compiler", told_by([os.environ.get("CC", "cc"), "--version"])],
        ["Python", f"{platform.python_implementation()} {platform.python_version()}"],
        ["gcmedia", f"{told_by(['git', 'rev-parse', '--short', 'HEAD'])}{changed}; kernels {features.kernels}"],
        ["written", f"{datetime.now(UTC):%Y-%m-%d}"],
        ["command", "`make bench`"],
    ]
    rows += [[peer, version or "absent"] for peer, version in peers.versions().items()]
    return table(["", ""], rows)


def slug(group: str) -> str:
    """File name of a group's plot."""
    return re.sub(r"[^a-z0-9]+", "-", group.lower()).strip("-")


def comparison(group: str, rows: dict[str, Time]) -> list[str]:
    """One group as a table, against gcmedia's plain form."""
    base = rows.get(OURS) or next((row for row in rows.values() if row.ours), None)
    lines = [f"## {group[0].upper()}{group[1:]}", ""]
    lines += table(
        ["", "fastest", "median", "quartiles apart", "× gcmedia", ""],
        [
            [
                f"**{row.name}**" if row.ours else row.name,
                nanoseconds(row.least),
                nanoseconds(row.median),
                nanoseconds(row.spread),
                f"{row.median / base.median:.2f}" if base else "",
                row.note + (" (not judged)" if row.reference else ""),
            ]
            for row in rows.values()
        ],
        right=4,
    )
    return [*lines, f"![{group}](plots/{slug(group)}.svg)", ""]


def memory_rows(held: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of goals about memory."""
    if "absent" in held:
        return [["memory of a `Receiver`", f"≤ {MEMORY_REACH_KIB} KiB", held["absent"], "–"]]
    default = held["kib"]["default"]
    lines = default.get(memory.TOUCHED)
    pages = default["touched by a packet, in pages"]
    if lines is None:
        told, judged = f"{pages:.1f} KiB at most, in whole pages", "reached" if pages <= TOUCHED_REACH_KIB else "–"
    else:
        told, judged = f"{lines:.1f} KiB, in cache lines", verdict([lines <= TOUCHED_REACH_KIB])
    return [
        [
            "memory of a `Receiver`, default settings",
            f"≤ {MEMORY_REACH_KIB} KiB in all",
            f"{default['peak']:.1f} KiB at most while pushing",
            verdict([default["peak"] <= MEMORY_REACH_KIB]),
        ],
        [
            "memory touched by a packet",
            f"≤ {TOUCHED_REACH_KIB} KiB",
            told,
            judged,
        ],
    ]


def write(results: list[dict[str, Any]], counted: dict[str, Any], held: dict[str, Any]) -> None:
    """Write RESULTS.md and the plots."""
    groups = times(results)
    lines = [
        "# Results",
        "",
        "Written by `make bench`; [README.md](README.md) tells how to read and repeat it.",
        "",
        *machine(),
    ]
    goals = [[row.path, *judge(row, groups)] for row in REACH] + memory_rows(held)
    lines += ["## Reach", "", *table(["path", "asked", "found", ""], goals)]
    lines += [
        "By the fastest rounds, ours and theirs: a machine that is shared runs at several speeds, which medians mix.",
        "[README.md](README.md) tells what the time is spent on.",
        "",
    ]
    for group, rows in groups.items():
        lines += comparison(group, rows)
    lines += ["## Instructions a packet", ""]
    if "absent" in counted:
        lines += [f"Not counted: {counted['absent']}.", ""]
    else:
        lines += [
            f"By callgrind ({counted['valgrind']}), kernels {counted['kernels']}; these repeat, times do not.",
            "",
        ]
        cases = [[case, f"{n:,.0f}" if n is not None else "failed"] for case, n in counted["cases"].items()]
        lines += table(["", "instructions"], cases, right=1)
    lines += ["## Memory", ""]
    if "absent" in held:
        lines += [f"Not measured: {held['absent']}.", ""]
    else:
        lines += [f"KiB for each of {held['receivers']:,} receivers in one process, resident, with 3 % loss.", ""]
        names = list(held["kib"])
        rows_held = [[what, *(f"{held['kib'][n][what]:.1f}" for n in names)] for what in held["kib"][names[0]]]
        for when in ("steady", "peak"):
            rows_held.append(
                [f"the whole process, {when}", *(f"{held['process_mib'][n][when]:.0f} MiB" for n in names)]
            )
        lines += table(["", *names], rows_held, right=len(names))
    lines += [
        "## Adaptive playout delay",
        "",
        "On seeded traces, by `benchmarks/playout.py`; the figures are in [plots/playout.md](plots/playout.md).",
        "",
        "![late packets against mean delay](plots/playout.png)",
        "",
    ]
    (HERE / "RESULTS.md").write_text("\n".join(lines).rstrip() + "\n")
    plot(groups)


def plot(groups: Groups) -> None:
    """One drawing for each comparison, on a scale of powers of ten."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is absent: no plots", file=sys.stderr)
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": OURS, "font.size": 9})
    PLOTS.mkdir(exist_ok=True)
    for old in PLOTS.glob("*.svg"):
        old.unlink()
    for group, rows in groups.items():
        shown = list(reversed(rows.values()))
        figure, axes = pyplot.subplots(figsize=(7.2, 0.9 + 0.28 * len(shown)), layout="constrained")
        colours = ["#1769aa" if row.ours else "#c9ccd1" if row.reference else "#8a8f98" for row in shown]
        axes.barh([row.name for row in shown], [row.median for row in shown], color=colours, log=True)
        for place, row in enumerate(shown):
            axes.annotate(nanoseconds(row.median), (row.median, place), (3, 0), textcoords="offset points", va="center")
        axes.set_xlim(min(row.median for row in shown) / 2, max(row.median for row in shown) * 2.5)
        axes.set_title(group, loc="left")
        axes.set_xlabel("nanoseconds, median")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(PLOTS / f"{slug(group)}.svg", metadata={"Date": None})
        pyplot.close(figure)
