"""``gcmedia capture --dialect media-streams``: many interactions, each into a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any

import anyio
import typer
from rich.markup import escape
from rich.table import Table

from ..media_streams import MediaStreams, capture_streams
from .run import run_async, stop_on_signal
from .show import console

__all__ = ["capture_many"]


def _tell(event: dict[str, Any]) -> None:
    """Show what a user waits for: rates, and what goes wrong."""
    about = event.get("interactionId", "")
    match event["kind"]:
        case "throughput":
            console.print(
                f"[dim]{event['packetsPerSecond']:.1f} packets/s, {event['bytesPerSecond']:.0f} bytes/s,"
                f" loss {event['packetLossRate'] * 100:.2f} %[/]"
            )
        case "disconnected":
            console.print(f"connection {event['connection']}: {escape(event['cause'])}")
        case "subscribed" | "failed" | "refused":
            details = ", ".join(f"{key} {value}" for key, value in event.items() if key in ("codec", "cause", "reason"))
            console.print(f"{escape(about)}: {event['kind']} {escape(details)}")


async def _capture(streams: MediaStreams, seconds: float | None) -> None:
    async with anyio.create_task_group() as tasks:
        await tasks.start(stop_on_signal, streams.stop)  # before connecting, which may take long
        async with streams:
            async for frame in streams:
                if seconds is not None and frame.position >= seconds * (8000 if frame.codec != "opus" else 48_000):
                    await streams.stop()
        tasks.cancel_scope.cancel()


def _table(streams: MediaStreams) -> Table:
    table = Table("interaction", "state", "codec", "received", "lost", "reconnects", box=None, pad_edge=False)
    for stream in streams:
        stats = stream.stats()
        state = stream.state if stream.error is None else f"{stream.state}: {stream.error}"
        table.add_row(
            escape(stream.interaction_id),
            escape(state),
            stream.codec or "-",
            str(stats.packets_received),
            f"{stats.packets_lost} of {stats.packets_expected}",
            str(stream.reconnects),
        )
    return table


def capture_many(
    interactions: Iterable[str],
    *,
    seconds: float | None,
    as_json: bool,
    quiet: bool,
    backend: str,
    **settings: Any,
) -> None:
    """Capture interactions until they end, or Ctrl-C.

    Raises
    ------
    GcmediaError
        If none of them could be had, or with ``strict`` one could not.
    typer.Exit
        With 1 if one could not, or the accounting of one does not hold; with 130 if stopped before there was any.
    """
    names = [name for name in map(str.strip, interactions) if name]
    streams = capture_streams(
        names, include_silence=True, overflow="wait", on_event=None if quiet else _tell, **settings
    )
    failure: Exception | None = None
    try:
        run_async(partial(_capture, streams, seconds), backend)
    except* Exception as group:
        failure = group.exceptions[0]
        while isinstance(failure, ExceptionGroup):
            failure = failure.exceptions[0]
    if not quiet:
        console.print(_table(streams))
    balanced = all(stream.stats().balanced for stream in streams)
    if as_json:
        told = {stream.interaction_id: _told(stream) for stream in streams}
        print(json.dumps({"balanced": balanced, "interactions": told}))
    if failure is not None:
        raise failure
    if not balanced:
        for stream in streams:
            if not stream.stats().balanced:
                name, identity = escape(stream.interaction_id), escape(stream.stats().identity())
                console.print(f"[bold red]the accounting of {name} does not hold:[/] {identity}")
        raise typer.Exit(1)
    if streams.errors:
        raise typer.Exit(1)
    if not any(stream.reached or not stream.decoded for stream in streams):
        raise typer.Exit(130)


def _told(stream: Any) -> dict[str, Any]:
    stats = stream.stats()
    return {
        "state": stream.state,
        "codec": stream.codec,
        "decoded": stream.decoded,
        "error": None if stream.error is None else str(stream.error),
        "reconnects": stream.reconnects,
        "folder": None if stream.folder is None else str(stream.folder),
        "balanced": stats.balanced,
        **stats.as_dict(),
    }
