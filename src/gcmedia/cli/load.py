"""``gcmedia load``: thousands of sessions on an AudioHook server, and what came of them."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..load import Histogram, LoadPlan, LoadReport, Second, run_load
from .dial import API_KEY, CLIENT_SECRET, NOT_CONFORMING
from .show import console

__all__ = ["load_command"]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"


class _Progress:
    """A line for each second."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, number: int, second: Second) -> None:
        if not self._begun:
            self._begun = True
            console.print("second   open   pong ms: median     99 %      most   late   send lag ms: 99 %")
        rtt, lag = second.rtt, second.lag
        console.print(
            f"{number:6d} {second.open:6d}            {_ms(rtt.percentile(50)):>8} {_ms(rtt.percentile(99)):>8}"
            f"  {_ms(rtt.max_s if rtt.n else None):>8} {second.late_pongs:6d}             {_ms(lag.percentile(99)):>8}"
        )


def load_command(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of the AudioHook server.")],
    sessions: Annotated[int, typer.Option(help="How many.")] = 100,
    rate: Annotated[float, typer.Option(help="Opened each second.")] = 50.0,
    seconds: Annotated[float, typer.Option(help="Held once all are open.")] = 30.0,
    close_seconds: Annotated[float, typer.Option(help="Over how long they are closed.")] = 3.0,
    stereo: Annotated[bool, typer.Option("--stereo/--mono", help="Both channels, or the customer's.")] = True,
    format: Annotated[str, typer.Option(help="PCMU or L16.")] = "PCMU",
    speech: Annotated[list[Path] | None, typer.Option(help="WAV files, as for dial --wav.")] = None,
    frame_ms: Annotated[int, typer.Option(help="Audio in one message.")] = 200,
    idle: Annotated[bool, typer.Option("--idle", help="Send no audio: what an open session costs by itself.")] = False,
    workers: Annotated[int, typer.Option(help="Processes of the generator.")] = 1,
    api_key: Annotated[str, typer.Option(envvar=API_KEY, help="API key of the integration.")] = "",
    secret: Annotated[str, typer.Option(envvar=CLIENT_SECRET, help="Client secret, base64; none signs nothing.")] = "",
    late_ms: Annotated[float, typer.Option(help="A pong that takes longer is late.")] = 250.0,
    stop_when_late: Annotated[
        bool, typer.Option("--stop-when-late", help="Open no more once a pong was late; find how many are held.")
    ] = False,
    metrics: Annotated[
        list[str] | None, typer.Option(help="URL of the server's metrics, to compare counts; once for each process.")
    ] = None,
    watch: Annotated[
        int | None, typer.Option(help="Process id of the server, for its processor time and memory.")
    ] = None,
    loop: Annotated[str, typer.Option(help="auto, uvloop or asyncio.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON, every second in it.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the summary.")] = False,
) -> None:
    """Hold many AudioHook sessions in real time, check every answer, and tell how the server did.

    Exit codes: 0 all sessions were served in time and by the protocol, and both sides counted the same; 2 wrong usage;
    4 the metrics cannot be had; 5 something of that does not hold.
    """
    plan = LoadPlan(
        url,
        sessions=sessions,
        rate_per_s=rate,
        seconds=seconds,
        close_s=close_seconds,
        stereo=stereo,
        format=format,
        speech=tuple(map(str, speech or ())),
        frame_ms=frame_ms,
        idle=idle,
        workers=workers,
        api_key=api_key,
        secret=secret,
        late_pong_s=late_ms / 1e3,
        stop_when_late=stop_when_late,
        loop=loop,
    )
    stopping = threading.Event()
    previous: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(number, previous[number])  # the second one does what it always does

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, stop)
    report = run_load(
        plan,
        metrics=tuple(metrics or ()),
        watch=watch,
        on_second=None if quiet else _Progress(),
        stopping=stopping,
    )
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        _summarise(report)
    if not report.ok:
        raise typer.Exit(NOT_CONFORMING)


def _summarise(report: LoadReport) -> None:
    tally, told = report.tally, report.as_dict()
    console.print(
        f"{tally.opened} of {report.plan.sessions} sessions opened, {report.held} at once for {tally.held_s:.1f} s,"
        f" {tally.clean} ended by the protocol, {tally.failed} failed"
    )
    for cause, count in tally.failures.most_common():
        console.print(f"[bold red]  {count} x {escape(cause)}[/]")
    table = Table("milliseconds", "n", "median", "90 %", "99 %", "99.9 %", "most", box=None, pad_edge=False)
    rows: tuple[tuple[str, Histogram], ...] = (
        ("upgrade", tally.connect),
        ("opened", tally.opened_after),
        ("pong", tally.rtt),
        ("closed", tally.closed_after),
        ("send lag", tally.lag),
    )
    for name, times in rows:
        if times.n:
            found = [times.percentile(percent) for percent in (50, 90, 99, 99.9)]
            table.add_row(name, str(times.n), *map(_ms, found), _ms(times.max_s))
    console.print(table)
    if tally.first_late is not None:
        console.print(
            f"[yellow]{tally.late_pongs} late pongs, the first after {tally.first_late:.1f} s;"
            f" {report.held_in_time} sessions were held before it[/]"
        )
    if report.growing:
        console.print("[yellow]pongs grew later while the number of sessions stood: the server falls behind[/]")
    if tally.frames_dropped:
        console.print(f"[yellow]{tally.frames_dropped} messages of audio dropped: the server did not read[/]")
    for name, mine, theirs in report.counts:
        colour = "" if mine == theirs else "[yellow]"
        console.print(f"{colour}{name}: {mine} sent, {theirs} counted by the server")
    cost = told["server"]
    if cost is not None:
        console.print(
            f"server: {cost['cpu_share'] * 100:.1f} % of a processor,"
            f" {cost['cpu_us_per_session_second']:.0f} us per session and second;"
            f" {cost['octets_per_session'] / 1024:.1f} KiB of memory per session"
        )
    own = told["generator"]
    console.print(
        f"generator: {own['workers']} worker{'s' * (own['workers'] > 1)} on {own['loop']},"
        f" the busiest took {own['busiest_worker_share'] * 100:.1f} % of a processor"
    )
    if own["bottleneck"]:
        console.print(
            f"[bold red]The generator itself was too slow ({own['bottleneck']}): these figures are not the server's.[/]"
        )
