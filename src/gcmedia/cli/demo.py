"""``gcmedia demo``: the main job on this machine alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..demo import run_demo
from .run import run_async
from .show import CallProgress, console, show_files, show_stats

__all__ = ["demo_command"]


def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the call; one that is there is replaced.")] = Path("out/demo"),
    speech: Annotated[
        str, typer.Option(help="WAV files instead of the shipped call, comma-separated: one per party, or a folder.")
    ] = "",
    seconds: Annotated[float | None, typer.Option(help="Only the beginning of the shipped call.")] = None,
    speed: Annotated[float, typer.Option(help="Times real time.")] = 8.0,
    realtime: Annotated[bool, typer.Option("--realtime", help="The same as --speed 1.")] = False,
    seed: Annotated[int, typer.Option(help="Of the network's faults.")] = 7,
    backend: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the summary.")] = False,
) -> None:
    """Capture a simulated call over a bad network, with a report to look at."""
    with CallProgress(quiet=quiet) as progress:
        result = run_async(
            partial(
                run_demo,
                out,
                speech=[part for part in speech.split(",") if part],
                seconds=seconds,
                speed=1.0 if realtime else speed,
                seed=seed,
                on_call=progress.call,
                on_frame=progress.frame,
            ),
            backend,
        )
    rate = result.stats.total_samples * 1000 // max(1, result.truth.duration_ms)
    show_stats("The call", result.stats, rate, [("reconnects", str(result.reconnects))])
    for check in result.checks:
        mark = "[green]holds[/]" if check.holds else "[bold red]BROKEN[/]"
        console.print(f"{mark}  {escape(check.name)}: {escape(check.detail)}", soft_wrap=True)
    show_files(result.folder)
    console.print(f"look at {escape(str(result.html))} or {escape(str(result.png))}", soft_wrap=True)
    if not result.holds:
        raise typer.Exit(1)
