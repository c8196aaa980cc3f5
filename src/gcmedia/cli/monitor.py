"""``gcmedia monitor``: a page about calls that are being recorded; and ``--monitor`` of other commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..live import LiveCalls
from ..monitor import MonitorConfig, serve_monitor
from ..monitor.folder import FolderWatch
from .show import console

__all__ = ["monitor_command", "monitored"]

AUDIT_NAME = "monitor-audit.jsonl"


@contextmanager
def monitored(address: str | None, out: Path) -> Iterator[LiveCalls | None]:
    """Serve a monitor at ``address`` if there is one; audit it below ``out``."""
    if address is None:
        yield None
        return
    calls = LiveCalls()
    calls.watch_folder(out)
    config = MonitorConfig.at(address, audit_to=_audit_in(out))
    with serve_monitor(calls, config) as monitor:
        _tell(monitor.url, config)
        yield calls


def _audit_in(out: Path) -> Path | None:
    if not environ.get("GCMEDIA_LISTEN_TOKEN"):
        return None
    out.mkdir(parents=True, exist_ok=True)
    return out / AUDIT_NAME


def _tell(url: str, config: MonitorConfig) -> None:
    console.print(f"monitor: {escape(url)}", soft_wrap=True)
    if not environ.get("GCMEDIA_MONITOR_TOKEN"):  # made up for this run: nobody could know it otherwise
        console.print(f"its token: {escape(config.token)}", soft_wrap=True)


def monitor_command(
    folder: Annotated[Path, typer.Argument(help="Folder of calls that are being recorded, or of one call.")] = Path(
        "calls"
    ),
    listen: Annotated[str, typer.Option("--at", help="PORT or HOST:PORT.")] = "8900",
    certificate: Annotated[Path | None, typer.Option(help="For TLS, beyond this machine.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    behind_tls: Annotated[bool, typer.Option("--behind-tls", help="Something in front of it speaks TLS.")] = False,
) -> None:
    """Serve a page about the calls that any process records below FOLDER; it reads, and touches nothing.

    The token of the page is GCMEDIA_MONITOR_TOKEN, or made up and printed.  There is no listening in here; see
    capture --monitor.
    """
    calls = LiveCalls()
    config = MonitorConfig.at(listen, listen_tokens={}, certificate=certificate, key=key, behind_tls=behind_tls)
    with FolderWatch(folder, calls), serve_monitor(calls, config) as monitor:
        _tell(monitor.url, config)
        while True:
            time.sleep(3600)
