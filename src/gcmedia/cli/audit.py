"""``gcmedia audit``: whether audit files are as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..errors import ConfigError
from ..record import AuditCheck, check_audit
from .show import console

__all__ = ["audit_app"]

audit_app = typer.Typer(help="Audit files.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@audit_app.callback()
def _group() -> None:
    """Audit files."""


@audit_app.command("verify")
def verify_command(
    files: Annotated[list[Path], typer.Argument(help="Audit files, or call folders.")],
    anchor: Annotated[
        str, typer.Option(help="LINES:HASH as noted before, for one file; else the manifest beside it, if any.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the exit code.")] = False,
) -> None:
    """Check the hash chain of each file, and its end against an anchor where there is one.

    Exit code 0: every chain holds; 1: at least one does not; 2: a file cannot be read.
    """
    if anchor and len(files) != 1:
        raise ConfigError(f"an anchor is for one file, not {len(files)}")
    failed = unread = False
    for file in files:
        path = file / "audit.jsonl" if file.is_dir() else file
        try:
            found = check_audit(path, anchor=anchor or None)
        except OSError as error:
            unread = True
            _tell({"file": str(path), "ok": False, "problem": error.strerror or "cannot be read"}, as_json, quiet)
            continue
        failed |= not found.ok
        _tell(_record(path, found), as_json, quiet)
    if unread or failed:
        raise typer.Exit(2 if unread else 1)


def _record(path: Path, found: AuditCheck) -> dict[str, Any]:
    return {
        "file": str(path),
        "ok": found.ok,
        "lines": found.lines,
        "anchor": found.anchor,
        "anchored": found.anchored,
        "ended": found.ended,
        "compliant": found.compliant,
        "lost": found.lost,
        "problem": found.problem,
    }


def _tell(record: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(record))
    if quiet:
        return
    if record["problem"] is not None:
        console.print(f"[bold red]BROKEN[/] {escape(record['file'])}: {escape(record['problem'])}", soft_wrap=True)
        return
    notes = [f"{record['lines']} lines"]
    if record["lines"] > record["compliant"]:
        notes.append(f"{record['lines'] - record['compliant']} not compliant with their policy")
    if record["lost"]:
        notes.append(f"{record['lost']} could not be written when they were due")
    if record["anchored"]:
        notes.append(f"ends as {record['anchored']} says")
    else:
        if not record["ended"]:
            notes.append("no end of a session")
        notes.append("no anchor, so lines cut off at the end would not show")
    console.print(f"[green]holds[/]  {escape(record['file'])}: {escape('; '.join(notes))}", soft_wrap=True)
    console.print(f"       anchor {record['anchor']}", soft_wrap=True)
