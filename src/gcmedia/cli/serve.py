"""``gcmedia serve``: an AudioHook server that records every call."""

from __future__ import annotations

import logging
import ssl as ssl_module
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..config import CompressorConfig, GateConfig
from ..dialects.audiohook import AudioHookConfig, SignatureConfig
from ..errors import ConfigError
from ..record import AuditPolicy
from ..server import AudioHookServer, ServerConfig, serve
from ..transport.accept.sockets import parse_address
from .monitor import monitored
from .options import AsReceived, Interleaved, Rotate, RotateSize, Sync, recording_of

__all__ = ["serve_command"]


def _tls(certificate: Path | None, key: Path | None) -> ssl_module.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise ConfigError("--tls-key needs --tls-cert")
        return None
    context = ssl_module.SSLContext(ssl_module.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl_module.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl_module.SSLError) as error:
        raise ConfigError(f"cannot use the certificate {certificate}: {error}") from error
    return context


def _tell(server: AudioHookServer) -> None:
    host, port = server.address
    # One write: workers share the pipe, and what they print must not mix.
    print(f"listening on {f'[{host}]' if ':' in host else host}:{port}\n", end="", flush=True)


def serve_command(
    keys: Annotated[Path, typer.Option(help="JSON file: an object of API keys and client secrets in base64.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT; without HOST every address of this machine.")] = ":8443",
    out: Annotated[Path, typer.Option(help="Folder for calls; each gets a folder of its id in it.")] = Path("calls"),
    record: Annotated[bool, typer.Option(help="Record the calls into OUT.")] = True,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    status: Annotated[
        str | None, typer.Option(help="HOST:PORT of /health, /ready and /metrics; worker n adds n to the port.")
    ] = None,
    monitor: Annotated[
        str | None,
        typer.Option(
            help="Serve a page about the calls at PORT or HOST:PORT; see docs/monitor.md. It sees one process, so only"
            " with one worker; with more, gcmedia monitor OUT shows the recordings of all."
        ),
    ] = None,
    authority: Annotated[
        str | None, typer.Option(help="Public host, and port unless 443, behind a proxy that rewrites Host.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Clients come by ws://, without TLS anywhere: only for tests.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, for TLS that ends here.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    skew: Annotated[int, typer.Option(help="Seconds that clocks may differ.")] = 5,
    channels: Annotated[str, typer.Option(help="both, external or internal: what is taken, the best first.")] = (
        "both,external,internal"
    ),
    language: Annotated[str, typer.Option(help="Languages told to clients that ask, comma-separated.")] = "",
    gate: Annotated[bool, typer.Option(help="Noise gate, for a cleaned track beside the raw one.")] = True,
    compressor: Annotated[bool, typer.Option(help="Compressor behind the gate.")] = False,
    interleaved: Interleaved = False,
    as_received: AsReceived = False,
    sync: Sync = None,
    rotate: Rotate = None,
    rotate_size: RotateSize = "",
    purpose: Annotated[str, typer.Option(help="Why calls are recorded; stands in the audit log.")] = "",
    consent: Annotated[
        bool, typer.Option("--consent", help="The parties know of the recording; without it the log says so.")
    ] = False,
    max_sessions: Annotated[int, typer.Option(help="Sessions of a process; further ones get 503.")] = 5000,
    max_sessions_per_key: Annotated[int, typer.Option(help="The same of one API key.")] = 5000,
    max_frame_octets: Annotated[int, typer.Option(help="Longest frame of audio.")] = 65_536,
    open_timeout: Annotated[float, typer.Option(help="Seconds for a client to open its session.")] = 10.0,
    idle_timeout: Annotated[float, typer.Option(help="Seconds without any message until a session is ended.")] = 45.0,
    close_timeout: Annotated[float, typer.Option(help="Seconds for a client to end when asked to.")] = 10.0,
    drain: Annotated[float, typer.Option(help="Seconds that calls may go on after SIGTERM.")] = 0.0,
    reconnect: Annotated[
        bool, typer.Option("--reconnect", help="Ask clients to reconnect meanwhile; the integration must allow it.")
    ] = False,
    unauthorized: Annotated[
        str, typer.Option(help="upgrade: answer with 401; session: open, then disconnect as unauthorized.")
    ] = "upgrade",
    transport: Annotated[str, typer.Option(help="auto, websockets or picows.")] = "auto",
    backend: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
) -> None:
    """Serve AudioHook and record every call until SIGTERM or Ctrl-C, which end each call by the protocol.

    Prints "listening on HOST:PORT" once calls are taken, for each worker.
    """
    host, port = parse_address(listen)
    ssl = _tls(tls_cert, tls_key)
    if monitor is not None and workers > 1:
        raise ConfigError(
            f"--monitor sees the calls of one process, and --workers is {workers}: use one worker, or let `gcmedia"
            f" monitor {out}` follow the recordings of all"
        )
    _log_to_stderr()
    run = partial(
        serve,
        host=host,
        port=port,
        keys=keys,
        workers=workers,
        status=None if status is None else parse_address(status),
        record_to=out if record else None,
        recording=recording_of(interleaved, as_received, sync, rotate, rotate_size),
        gate=GateConfig() if gate else None,
        compressor=CompressorConfig() if compressor else None,
        audit_policy=AuditPolicy(consent=consent, purpose=purpose),
        ssl=ssl,
        config=ServerConfig(
            max_sessions=max_sessions,
            max_sessions_per_key=max_sessions_per_key,
            unauthorized=unauthorized,
            drain_s=drain,
            reconnect=reconnect,
        ),
        protocol=AudioHookConfig(
            channels=tuple(name.strip() for name in channels.split(",") if name.strip()),
            supported_languages=tuple(name.strip() for name in language.split(",") if name.strip()),
            max_binary_octets=max_frame_octets,
            open_timeout_s=open_timeout,
            idle_timeout_s=idle_timeout,
            close_timeout_s=close_timeout,
            reconnect=reconnect,
        ),
        signatures=SignatureConfig(authority=authority, tls=not plain, skew_s=skew),
        transport=transport,
        backend=backend,
        on_listening=_tell,
    )
    with monitored(monitor, out) as live:
        run(live=live)


def _log_to_stderr() -> None:
    """What the server tells of itself; of single calls only what goes wrong."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    own = logging.getLogger("gcmedia.server")
    own.setLevel(logging.INFO)
    logging.getLogger("gcmedia.server.calls").setLevel(logging.WARNING)
