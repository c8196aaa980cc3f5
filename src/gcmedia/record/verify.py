"""The proof of a call folder: files against the manifest, the manifest against itself and against the audit chain."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FormatError
from .audit_chain import check_audit
from .lines import read_lines, sha256_of
from .repair import MANIFEST_NAME, call_folders, is_open
from .timeline import Timeline, manifest_digest
from .wav_file import wav_info

__all__ = ["FolderCheck", "Problem", "verify_call", "verify_room"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written.

    Attributes
    ----------
    file : str
        Its name in the folder.
    text : str
        What differs, in figures.
    """

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """What the check of a call folder found.

    Attributes
    ----------
    folder : str
        Where.
    state : str
        ``"proven"``; ``"broken"``, see ``problems``; ``"open"`` (a living process writes it); ``"cut off"`` (nobody
        does, and it has no manifest: `repair_call`); ``"unreadable"``.
    problems : tuple of Problem
        All of them.
    conversation_id : str
        The call.
    n_samples, n_files, n_holes : int
        Length, files proven by their hashes, holes listed.
    complete : bool
        Whether the manifest says that all that was received is in the files.
    recovered : bool
        Whether the call was cut off, and put together afterwards.
    anchor : str
        ``LINES:HASH`` of the audit trail, to be kept elsewhere and given to a later check.
    anchored : str
        What confirmed the end of the trail: ``"anchor"``, ``"manifest"`` or nothing.
    """

    folder: str
    state: str
    problems: tuple[Problem, ...] = field(default=())
    conversation_id: str = ""
    n_samples: int = 0
    n_files: int = 0
    n_holes: int = 0
    complete: bool = False
    recovered: bool = False
    anchor: str = ""
    anchored: str = ""

    @property
    def ok(self) -> bool:
        """Whether the folder is proven."""
        return self.state == "proven"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("folder", "state", "conversation_id", "n_samples", "n_files", "n_holes", "complete", "recovered")
        told = {name: getattr(self, name) for name in (*names, "anchor", "anchored")}
        return told | {"ok": self.ok, "problems": [{"file": p.file, "problem": p.text} for p in self.problems]}


def verify_room(room: str | os.PathLike[str]) -> list[FolderCheck]:
    """Check every call at and below a folder.

    Raises
    ------
    OSError
        If the room cannot be read.
    """
    return [verify_call(folder) for folder in call_folders(room)]


def verify_call(folder: str | os.PathLike[str], *, anchor: str | None = None) -> FolderCheck:
    """Check one call folder: that nothing in it was changed, cut, added to or taken away since it was closed.

    Every file that the manifest names is there, of the length and hash stated; the tracks are WAV files of the rate,
    channels and length stated, and end together; holes, masks and silence lie within the call; the counters balance;
    the audit chain holds and ends as the manifest says; and its last line names the hash of all else that the manifest
    says.  Who may change manifest and trail together can still forge both: give an ``anchor`` from elsewhere.

    Parameters
    ----------
    folder : path
        The call folder.
    anchor : str, optional
        ``LINES:HASH`` of its audit trail as noted before.

    Raises
    ------
    ConfigError
        If the anchor is none.
    """
    path = Path(folder)
    manifest = path / MANIFEST_NAME
    try:
        if not manifest.exists():
            state = "open" if is_open(path) else "cut off"
            return FolderCheck(str(path), state, (Problem(MANIFEST_NAME, f"is missing: the call is {state}"),))
        timeline = Timeline.load(manifest)
        raw = json.loads(manifest.read_bytes())
    except OSError as error:
        return FolderCheck(str(path), "unreadable", (Problem(MANIFEST_NAME, error.strerror or "cannot be read"),))
    except (FormatError, ValueError) as error:
        text = str(error).removeprefix(f"{manifest}: ")
        return FolderCheck(str(path), "broken", (Problem(MANIFEST_NAME, text),))
    problems: list[Problem] = []
    n_files = _check_files(path, timeline, problems)
    _check_tracks(path, timeline, problems)
    _check_spans(timeline, problems)
    _check_identity(timeline, problems)
    trail = _check_trail(path, timeline, manifest_digest(raw), anchor, problems)
    return FolderCheck(
        str(path),
        "broken" if problems else "proven",
        tuple(problems),
        timeline.conversation_id,
        timeline.n_samples,
        n_files,
        len(timeline.holes),
        timeline.complete,
        timeline.recovered,
        *trail,
    )


def _check_files(path: Path, timeline: Timeline, problems: list[Problem]) -> int:
    proven = 0
    for name, about in timeline.files.items():
        if os.path.basename(name) != name:
            problems.append(Problem(name, "lies outside the folder"))
            continue
        try:
            digest, n_octets = sha256_of(path / name)
        except OSError as error:
            problems.append(Problem(name, f"cannot be read: {error.strerror}"))
            continue
        if n_octets != about.get("n_octets"):
            problems.append(Problem(name, f"has {n_octets} octets, the manifest says {about.get('n_octets')}"))
        elif digest != about.get("sha256"):
            problems.append(Problem(name, f"was changed: SHA-256 {digest}, the manifest says {about.get('sha256')}"))
        else:
            proven += 1
    for found in sorted(path.glob("*.wav*")):
        ours = found.name.startswith(("raw", "clean")) and not found.name.endswith(".processed.wav")
        if ours and found.name not in timeline.files:
            problems.append(Problem(found.name, "is not in the manifest"))
    return proven


def _check_tracks(path: Path, timeline: Timeline, problems: list[Problem]) -> None:
    ends: dict[tuple[str, str], int] = {}
    for name, track in timeline.tracks.items():
        if name not in timeline.files:
            problems.append(Problem(name, "is a track without a hash in the manifest"))
        channels = track.get("channels") or [track.get("channel")]
        n_samples, position = track.get("n_samples", 0), track.get("position", 0)
        for channel in channels:
            key = (str(track.get("kind")), str(channel))
            ends[key] = max(ends.get(key, 0), position + n_samples)
        if not name.endswith(".wav") or os.path.basename(name) != name:
            continue
        try:
            info = wav_info(path / name)
        except OSError:
            continue  # told already
        except FormatError as error:
            problems.append(Problem(name, str(error).removeprefix(f"{path / name}: ")))
            continue
        stated = (timeline.sample_rate, len(channels), track.get("encoding"), n_samples)
        found = (info.sample_rate, info.n_channels, info.encoding, info.n_samples)
        if found != stated:
            problems.append(
                Problem(
                    name,
                    "holds {3} samples of {2} in {1} channels at {0} Hz, ".format(*found)
                    + "the manifest says {3} of {2} in {1} at {0} Hz".format(*stated),
                )
            )
    if not timeline.recovered:
        for (kind, channel), end in ends.items():
            if end != timeline.n_samples:
                text = f"the {kind} track of {channel} ends at sample {end}, the call at {timeline.n_samples}"
                problems.append(Problem(MANIFEST_NAME, text))


def _check_spans(timeline: Timeline, problems: list[Problem]) -> None:
    spans = [("hole", hole.position, hole.n_samples) for hole in timeline.holes]
    spans += [("mask", position, n_samples) for position, n_samples, _ in timeline.masks]
    for kind, runs in (("silence", timeline.silence), ("concealed run", timeline.concealed)):
        spans += [(kind, position, n_samples) for one in runs.values() for position, n_samples in one]
    for kind, position, n_samples in spans:
        if position < 0 or n_samples < 0 or (position + n_samples > timeline.n_samples and not timeline.recovered):
            text = f"a {kind} of {n_samples} samples at {position} lies outside the call of {timeline.n_samples}"
            problems.append(Problem(MANIFEST_NAME, text))


def _check_identity(timeline: Timeline, problems: list[Problem]) -> None:
    said = timeline.identity
    if not said:
        return
    try:
        received = sum(said[key] for key in ("played", "late", "duplicate", "discarded", "refused", "buffered"))
        holds = said["received"] == received and said["expected"] == said["unique"] + said["lost"]
    except (KeyError, TypeError):
        holds = False
    if not holds or said.get("balanced") is not True:
        problems.append(Problem(MANIFEST_NAME, f"the accounting does not hold: {said.get('text')}"))


def _check_trail(
    path: Path, timeline: Timeline, digest: str, anchor: str | None, problems: list[Problem]
) -> tuple[str, str]:
    name = "audit.jsonl"
    try:
        found = check_audit(path / name, anchor=anchor)
        lines = read_lines(path / name)
    except OSError as error:
        problems.append(Problem(name, f"cannot be read: {error.strerror}"))
        return "", ""
    except FormatError as error:
        problems.append(Problem(name, str(error).removeprefix(f"{path / name}: ")))
        return "", ""
    if found.problem is not None:
        problems.append(Problem(name, found.problem))
        return found.anchor, found.anchored
    stated = next((line["manifest_sha256"] for line in reversed(lines) if "manifest_sha256" in line), None)
    if stated is None:
        problems.append(Problem(name, "no line of it names the manifest"))
    elif stated != digest:
        problems.append(Problem(MANIFEST_NAME, f"was changed: SHA-256 {digest}, the audit trail says {stated}"))
    return found.anchor, found.anchored
