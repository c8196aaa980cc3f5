"""``gcmedia capture``: one call into a folder."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import anyio.abc
import typer
from rich.markup import escape

from ..capture import Capture, capture
from ..config import CompressorConfig, GateConfig, PlatformMediaConfig
from ..record import AuditPolicy
from .run import run_async
from .show import CallProgress, console, show_files, show_stats

__all__ = ["capture_command"]


async def _stop_on_signal(call: Capture, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Stop at the first signal; the second one, if it comes, does what it always does."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            await call.stop()
            return


async def _capture(call: Capture, progress: CallProgress, seconds: float | None) -> None:
    async with anyio.create_task_group() as tasks:
        await tasks.start(_stop_on_signal, call)  # before connecting, which may take long
        async with call:
            progress.call(call, seconds)
            async for frame in call:
                progress.frame(frame)
                if seconds is not None and frame.time_s >= seconds:
                    await call.stop()
        tasks.cancel_scope.cancel()


def capture_command(
    conversation: Annotated[str, typer.Argument(help="Id of the conversation.")],
    out: Annotated[Path, typer.Option(help="Folder for calls; this one gets a folder of its id in it.")] = Path(
        "calls"
    ),
    region: Annotated[str | None, typer.Option(help="AWS id, domain, short code or URL; else GENESYS_REGION.")] = None,
    format: Annotated[str, typer.Option(help="raw (16-bit), pcmu or pcma.")] = "raw",
    sample_rate: Annotated[int, typer.Option(help="Hz.")] = 16_000,
    channels: Annotated[int, typer.Option(help="1: both parties mixed; 2: each apart.")] = 2,
    layout: Annotated[str, typer.Option(help="Header of packets: padded16, packed12 or auto.")] = "padded16",
    gate: Annotated[bool, typer.Option(help="Noise gate, for a cleaned track beside the raw one.")] = True,
    compressor: Annotated[bool, typer.Option(help="Compressor behind the gate.")] = False,
    token_in: Annotated[str, typer.Option(help="header, or query where a server demands it.")] = "header",  # noqa: S107
    seconds: Annotated[float | None, typer.Option(help="Stop after so much audio.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a call that is there already.")] = False,
    purpose: Annotated[str, typer.Option(help="Why the call is recorded; stands in the audit log.")] = "",
    consent: Annotated[
        bool, typer.Option("--consent", help="The parties know of the recording; without it the log says so.")
    ] = False,
    allow_custom_host: Annotated[
        bool, typer.Option("--allow-custom-host", help="Send the secret to a host that is not the platform's.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Draw the report at the end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Counters as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    backend: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
) -> None:
    """Capture a conversation into OUT/CONVERSATION until it ends, or Ctrl-C.

    Credentials come from GENESYS_CLIENT_ID, GENESYS_CLIENT_SECRET and GENESYS_REGION.
    """
    call = capture(
        conversation,
        region=region,
        profile=PlatformMediaConfig(
            format=format, sample_rate=sample_rate, n_channels=channels, layout=layout, token_in=token_in
        ),
        gate=GateConfig() if gate else None,
        compressor=CompressorConfig() if compressor else None,
        record_to=out,
        overwrite=overwrite,
        audit_policy=AuditPolicy(consent=consent, purpose=purpose),
        allow_custom_host=allow_custom_host,
    )
    failure: Exception | None = None
    with CallProgress(quiet=quiet) as progress:
        try:
            run_async(partial(_capture, call, progress, seconds), backend)
        except* Exception as group:
            failure = group.exceptions[0]
            while isinstance(failure, ExceptionGroup):
                failure = failure.exceptions[0]
    stats = call.stats()
    if stats.packets_received and call.folder is not None:
        show_stats(conversation, stats, call.format.sample_rate, [("reconnects", str(call.reconnects))])
        if call.dropped_frames:
            console.print(f"{call.dropped_frames} frames dropped for slow consumers; the recording has them")
        show_files(call.folder)
        if report:
            from .report import report_command

            report_command(call.folder)
    if as_json:
        print(json.dumps(stats.as_dict() | {"balanced": stats.balanced, "reconnects": call.reconnects}))
    if failure is not None:
        raise failure
    if call.state == "ended" and not call.reached:
        raise typer.Exit(130)  # interrupted while it was connecting
    if not stats.balanced:
        console.print(f"[bold red]the accounting does not hold:[/] {escape(stats.identity())}")
        raise typer.Exit(1)
