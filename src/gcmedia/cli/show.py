"""What the commands show: a progress line while a call runs, a summary at its end."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..types import Stats

if TYPE_CHECKING:
    from .._core.frame import Frame
    from ..capture import Capture

__all__ = ["AudioProgress", "CallProgress", "console", "show_files", "show_stats"]

#: Progress and summaries go to standard error; standard output is for data.
console = Console(file=sys.stderr, highlight=False)

UPDATE_S = 0.1  # of audio
METER_DB = 60
METER_WIDTH = 6


def _meter(level_dbov: float) -> str:
    filled = round(max(0.0, min(1.0, 1 + level_dbov / METER_DB)) * METER_WIDTH)
    return "█" * filled + "·" * (METER_WIDTH - filled)


class CallProgress:
    """One line about a running call: how far, how loud, how clean.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[state]:<12}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[time]}"),
            TextColumn("{task.fields[levels]}"),
            TextColumn("lost {task.fields[lost]} in {task.fields[holes]}"),
            console=console,
            disable=quiet,
        )
        self._task = self._progress.add_task(
            "call", total=None, state="connecting", time="", levels="", lost=0, holes=0
        )
        self._call: Capture | None = None
        self._levels: dict[int, float] = {}
        self._total_s: float | None = None
        self._next = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def call(self, call: Capture, total_s: float | None = None) -> None:
        """Watch this call from now on."""
        self._call, self._total_s = call, total_s
        self._progress.update(self._task, total=total_s)

    def frame(self, frame: Frame) -> None:
        """Take note of a frame."""
        self._levels[frame.channel] = frame.level_dbov
        if frame.position >= self._next:
            self._next = frame.position + int(UPDATE_S * frame.sample_rate)
            self._show(frame.position / frame.sample_rate)

    def _show(self, at_s: float) -> None:
        if self._call is None:
            return
        stats = self._call.stats()
        names = self._call.format.channels
        self._progress.update(
            self._task,
            completed=at_s,
            state=self._call.state,
            time=f"{at_s:6.1f}" + (f"/{self._total_s:.1f} s" if self._total_s else " s"),
            levels=" ".join(f"{names[i][:3]} {_meter(level)}" for i, level in sorted(self._levels.items())),
            lost=stats.packets_lost,
            holes=stats.concealment_events,
        )


class AudioProgress:
    """How much of the audio of some recordings is done, and how many times faster than it was spoken.

    Parameters
    ----------
    total_s : float
        Seconds of audio in all of them.
    quiet : bool
        Show nothing.
    """

    def __init__(self, total_s: float, *, quiet: bool = False) -> None:
        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("audio", total=total_s, speed="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, seconds: float) -> None:
        """So many more seconds of audio are done."""
        task = self._progress.tasks[0]
        speed = (task.completed + seconds) / task.elapsed if task.elapsed else 0.0
        self._progress.update(self._task, advance=seconds, speed=f"{speed:.0f} times real time")


def show_stats(title: str, stats: Stats, sample_rate: int, rows: Iterable[tuple[str, str]] = ()) -> None:
    """Print the summary of a call."""
    table = Table(title=escape(title), show_header=False, title_justify="left", box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("length", f"{stats.total_samples / sample_rate:.3f} s, {stats.total_samples} samples")
    table.add_row(
        "concealed",
        f"{stats.concealed_samples / sample_rate:.3f} s in {stats.concealment_events} places, "
        f"{stats.silent_concealed_samples / sample_rate:.3f} s of it silence",
    )
    table.add_row("loss", f"{stats.packets_lost} of {stats.packets_expected} packets")
    table.add_row("jitter", f"{stats.jitter * 1000:.1f} ms; buffer aims at {stats.buffer_target} packets")
    if stats.malformed:
        table.add_row("malformed", ", ".join(f"{count} {reason}" for reason, count in stats.malformed.items()))
    for name, value in rows:
        table.add_row(name, escape(value))
    table.add_row("received", escape(stats.identity().partition(";")[0].removeprefix("received ")))
    table.add_row("expected", escape(stats.identity().partition("; expected ")[2]))
    console.print(table)


def show_files(folder: Path) -> None:
    """Name the files of a call folder."""
    names = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_file()))
    console.print(f"{escape(str(folder))}/: {escape(names)}", soft_wrap=True)
