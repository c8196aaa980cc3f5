"""``gcmedia repair``, ``verify``, ``prune`` and ``convert``: what becomes of recordings after the call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..errors import ConfigError, GcmediaError
from ..process import find_recordings
from ..record import FolderCheck, call_folders, prune_room, repair_room, repair_wav, verify_call, wav_info
from ..record.convert import CODECS, Converted, convert_file, replace_in_manifest
from .show import AudioProgress, console
from .units import age_s, octets

__all__ = ["convert_command", "prune_command", "repair_command", "verify_command"]

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only the exit code.")]


def _there(paths: list[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise ConfigError(f"no such file or folder: {path}")


def _tell(record: dict[str, Any], text: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(record))
    if not quiet:
        console.print(text, soft_wrap=True)


def repair_command(
    paths: Annotated[list[Path], typer.Argument(help="Call folders, folders of those, or WAV files.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Mend recordings that a process which died has left unfinished; whole ones are not touched.

    Exit code 0: all are whole now, or are being written; 1: at least one could not be mended; 2: a path is not there.
    """
    _there(paths)
    failed = False
    for path in paths:
        repairs = repair_room(path) if path.is_dir() else [repair_wav(path)]
        if not repairs and not quiet:
            console.print(f"no recordings in {escape(str(path))}", soft_wrap=True)
        for repair in repairs:
            failed |= repair.outcome == "failed"
            text = f"{repair.outcome:<9} {escape(repair.path)}"
            if repair.gained_samples:
                text += f": {repair.gained_samples} samples more than its header told of, {repair.n_samples} in all"
            if repair.problem is not None:
                text += f": {escape(repair.problem)}"
            _tell(repair.as_dict(), text, as_json, quiet)
    if failed:
        raise typer.Exit(1)


def verify_command(
    folders: Annotated[list[Path], typer.Argument(help="Call folders, or folders of those.")],
    anchor: Annotated[
        str, typer.Option(help="LINES:HASH of the audit trail as noted before, for one call folder.")
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prove call folders: files against the manifest, the manifest against the audit chain.

    Exit code 0: all are proven, or still being written; 1: at least one differs, or was cut off; 2: a folder cannot be
    read, or holds no call.
    """
    _there(folders)
    if anchor and len(folders) != 1:
        raise ConfigError(f"an anchor is for one call folder, not {len(folders)}")
    worst = 0
    for folder in folders:
        calls = list(call_folders(folder))
        if not calls:
            _tell(
                {"folder": str(folder), "state": "empty", "ok": False},
                f"no call in {escape(str(folder))}",
                as_json,
                quiet,
            )
            worst = 2
        if anchor and len(calls) > 1:
            raise ConfigError(f"an anchor is for one call, and there are {len(calls)} below {folder}")
        for call in calls:
            found = verify_call(call, anchor=anchor or None)
            worst = max(worst, {"proven": 0, "open": 0, "unreadable": 2}.get(found.state, 1))
            _tell(found.as_dict(), _as_text(found), as_json, quiet)
    if worst:
        raise typer.Exit(worst)


def _as_text(found: FolderCheck) -> str:
    colour = {"proven": "green", "open": "yellow"}.get(found.state, "bold red")
    lines = [f"[{colour}]{found.state}[/] {escape(found.folder)}"]
    lines += [f"  {escape(problem.file)}: {escape(problem.text)}" for problem in found.problems]
    if found.state == "proven":
        notes = [f"{found.n_files} files, {found.n_samples} samples, {found.n_holes} holes"]
        notes += ["recovered from a process that died"] if found.recovered else []
        notes += [] if found.complete or found.recovered else ["incomplete: the manifest lists what is missing"]
        lines.append(f"  {'; '.join(notes)}\n  anchor {found.anchor}")
    return "\n".join(lines)


def prune_command(
    room: Annotated[Path, typer.Argument(help="Folder of call folders.")],
    max_age: Annotated[str, typer.Option(help="Remove calls from this age on: 30d, 12h, 45m.")] = "",
    max_size: Annotated[str, typer.Option(help="Then the oldest until the rest fits: 500M, 20G, 4GiB.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only say what would be.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove whole calls, the oldest first, by age and by size; what is still open stays.

    Exit code 0: done; 1: at least one could not be removed; 2: no limit is given, or the folder is not there.
    """
    _there([room])
    found = prune_room(
        room,
        max_age_s=age_s(max_age) if max_age else None,
        max_octets=octets(max_size) if max_size else None,
        dry_run=dry_run,
    )
    if not found and not quiet:
        console.print(f"no calls in {escape(str(room))}", soft_wrap=True)
    for one in found:
        would = "would be " if dry_run and one.outcome == "removed" else ""
        text = (
            f"{would}{one.outcome} {escape(one.folder)}: {one.n_octets / 1e6:.1f} MB, {one.age_s / 86_400:.1f} days old"
        )
        if one.problem is not None:
            text += f"; {escape(one.problem)}"
        _tell(one.as_dict() | {"dry_run": dry_run}, text, as_json, quiet)
    if any(one.outcome == "failed" for one in found):
        raise typer.Exit(1)


def _duration_s(path: Path) -> float:
    try:
        info = wav_info(path)
    except (GcmediaError, OSError):
        return 0.0
    return info.n_samples / info.sample_rate


def convert_command(
    paths: Annotated[list[Path], typer.Argument(help="WAV files, call folders, or folders of those.")],
    to: Annotated[str, typer.Option(help="flac (loses nothing) or opus.")] = "flac",
    replace: Annotated[
        bool, typer.Option("--replace", help="Of finished calls: let FLAC take the place of WAV in the manifest.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make FLAC or Opus of recordings, beside them.

    FLAC is read back and compared. Exit code 0: all done; 1: at least one could not be converted; 2: wrong usage.
    """
    if to not in CODECS:
        raise ConfigError(f"codec is {to!r}, not one of {', '.join(CODECS)}")
    if replace and to != "flac":
        raise ConfigError("only FLAC may take the place of a recording: Opus loses something")
    sources = find_recordings(paths, raw_only=False)
    done: dict[Path, list[Converted]] = {}
    failed = False
    with AudioProgress(sum(map(_duration_s, sources)), quiet=quiet) as progress:
        for source in sources:
            try:
                one = convert_file(source, to, overwrite=overwrite, on_progress=progress.advance)
            except (GcmediaError, OSError) as error:
                failed = True
                _tell(
                    {"source": str(source), "problem": str(error)},
                    f"[bold red]FAILED[/] {escape(str(error))}",
                    as_json,
                    quiet,
                )
                continue
            done.setdefault(source.parent, []).append(one)
            share = one.target_octets / max(1, one.source_octets)
            _tell(one.as_dict(), f"{escape(one.target)}: {share:.0%} of the octets", as_json, quiet)
    for folder, converted in done.items() if replace else ():
        try:
            replace_in_manifest(folder, converted)
        except (GcmediaError, OSError) as error:
            failed = True
            _tell(
                {"folder": str(folder), "problem": str(error)},
                f"[bold red]FAILED[/] {escape(str(error))}",
                as_json,
                quiet,
            )
    if failed:
        raise typer.Exit(1)
