"""``gcmedia capture``: one call into a folder."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.markup import escape

from ..capture import Capture, capture
from ..config import CompressorConfig, GateConfig, MediaStreamsConfig, PlatformMediaConfig
from ..errors import ConfigError
from ..record import AuditPolicy
from .monitor import monitored
from .options import AsReceived, Interleaved, Rotate, RotateSize, Sync, recording_of
from .run import run_async, stop_on_signal
from .show import CallProgress, console, show_files, show_stats
from .streams import capture_many

__all__ = ["capture_command"]


async def _capture(call: Capture, progress: CallProgress, seconds: float | None) -> None:
    async with anyio.create_task_group() as tasks:
        await tasks.start(stop_on_signal, call.stop)  # before connecting, which may take long
        async with call:
            progress.call(call, seconds)
            async for frame in call:
                progress.frame(frame)
                if seconds is not None and frame.time_s >= seconds:
                    await call.stop()
        tasks.cancel_scope.cancel()


def _run(call: Capture, seconds: float | None, quiet: bool, backend: str) -> Exception | None:
    """Capture to the end; return what failed."""
    failure: Exception | None = None
    with CallProgress(quiet=quiet) as progress:
        try:
            run_async(partial(_capture, call, progress, seconds), backend)
        except* Exception as group:
            failure = group.exceptions[0]
            while isinstance(failure, ExceptionGroup):
                failure = failure.exceptions[0]
    return failure


def capture_command(
    conversation: Annotated[str | None, typer.Argument(help="Id of the conversation.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for calls; this one gets a folder of its id in it.")] = Path(
        "calls"
    ),
    region: Annotated[str | None, typer.Option(help="AWS id, domain, short code or URL; else GENESYS_REGION.")] = None,
    format: Annotated[str, typer.Option(help="raw (16-bit), pcmu or pcma.")] = "raw",
    sample_rate: Annotated[int, typer.Option(help="Hz.")] = 16_000,
    channels: Annotated[int, typer.Option(help="1: both parties mixed; 2: each apart.")] = 2,
    layout: Annotated[str, typer.Option(help="Header of packets: padded16, packed12 or auto.")] = "padded16",
    dialect: Annotated[
        str, typer.Option(help="platform-media for one conversation, media-streams for many over few sockets.")
    ] = "platform-media",
    interactions: Annotated[
        str, typer.Option(envvar="TARGET_INTERACTIONS", help="Ids for media-streams, comma-separated.")
    ] = "",
    codecs: Annotated[str, typer.Option(help="For media-streams, the best first: pcmu, pcma, opus.")] = "pcmu,pcma",
    strict: Annotated[bool, typer.Option("--strict", help="Fail when one of many interactions does.")] = False,
    gate: Annotated[bool, typer.Option(help="Noise gate, for a cleaned track beside the raw one.")] = True,
    compressor: Annotated[bool, typer.Option(help="Compressor behind the gate.")] = False,
    token_in: Annotated[str, typer.Option(help="header, or query where a server demands it.")] = "header",  # noqa: S107
    seconds: Annotated[float | None, typer.Option(help="Stop after so much audio.")] = None,
    interleaved: Interleaved = False,
    as_received: AsReceived = False,
    sync: Sync = None,
    rotate: Rotate = None,
    rotate_size: RotateSize = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a call that is there already.")] = False,
    purpose: Annotated[str, typer.Option(help="Why the call is recorded; stands in the audit log.")] = "",
    consent: Annotated[
        bool, typer.Option("--consent", help="The parties know of the recording; without it the log says so.")
    ] = False,
    allow_custom_host: Annotated[
        bool, typer.Option("--allow-custom-host", help="Send the secret to a host that is not the platform's.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Draw the report at the end.")] = False,
    monitor: Annotated[
        str | None, typer.Option(help="Serve a page about the calls at PORT or HOST:PORT; see docs/monitor.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Counters as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    backend: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
) -> None:
    """Capture a conversation into OUT/CONVERSATION until it ends, or Ctrl-C.

    With --dialect media-streams, capture all of --interactions, each into a folder of its own.  Credentials come from
    GENESYS_CLIENT_ID, GENESYS_CLIENT_SECRET and GENESYS_REGION.
    """
    recording = recording_of(interleaved, as_received, sync, rotate, rotate_size)
    policy = AuditPolicy(consent=consent, purpose=purpose)
    if dialect not in ("platform-media", "media-streams"):
        raise ConfigError(f"dialect is {dialect!r}, not platform-media or media-streams")
    with monitored(monitor, out) as live:
        settings: dict[str, Any] = {
            "region": region,
            "gate": GateConfig() if gate else None,
            "compressor": CompressorConfig() if compressor else None,
            "record_to": out,
            "overwrite": overwrite,
            "audit_policy": policy,
            "recording": recording,
            "allow_custom_host": allow_custom_host,
            "live": live,
        }
        if dialect == "media-streams":
            capture_many(
                [conversation or "", *interactions.split(",")],
                seconds=seconds,
                strict=strict,
                as_json=as_json,
                quiet=quiet,
                backend=backend,
                profile=MediaStreamsConfig(codecs=tuple(name.strip() for name in codecs.split(",") if name.strip())),
                **settings,
            )
            return
        if not conversation:
            raise ConfigError("Missing argument CONVERSATION; or give --dialect media-streams --interactions A,B,C")
        profile = PlatformMediaConfig(
            format=format, sample_rate=sample_rate, n_channels=channels, layout=layout, token_in=token_in
        )
        call = capture(conversation, profile=profile, **settings)
        failure = _run(call, seconds, quiet, backend)
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
