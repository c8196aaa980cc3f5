"""Mending what a process that died left behind: files whose header still says that they are open, and nothing else."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError, MediaError
from .audit import AuditLog
from .disk import PASSING, failure, is_held, sync_directory
from .journal import JOURNAL_NAME, read_journal
from .lines import sha256_of
from .timeline import Timeline
from .track import file_names
from .transcript import TranscriptLog
from .wav_file import OPEN, UNKNOWN_SIZE, Header, WavInfo, find_audio, pack_header, wav_info

__all__ = ["MANIFEST_NAME", "Repair", "call_folders", "is_open", "repair_call", "repair_room", "repair_wav"]

MANIFEST_NAME = "timeline.json"
PART = ".part"
MAX_DEPTH = 6  # folders below a room in which calls are looked for


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of one file or call.

    Attributes
    ----------
    path : str
        What was looked at.
    outcome : str
        ``"healthy"``: nothing was touched.  ``"mended"``: sizes were put right, from the file's own length.
        ``"named"``: it was whole, and got its name.  ``"recovered"``: the manifest of a call was put together.
        ``"open"``: a living process writes it.  ``"failed"``: see ``problem``.
    n_samples : int
        Of audio, per channel, afterwards.
    gained_samples : int
        Those of them that the header did not tell of.
    problem : str or None
        Why nothing could be done.
    """

    path: str
    outcome: str
    n_samples: int = 0
    gained_samples: int = 0
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def repair_wav(path: str | os.PathLike[str]) -> Repair:
    """Mend a WAV file whose header still holds a placeholder, and give a ``.part`` its name.

    A placeholder is the mark with which our journal begins, or sizes of 0 or 0xFFFFFFFF before audio that is there,
    as other writers leave them.  Any other file is not opened for writing.  The time of the last audio is kept as the
    time of the file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    path = os.fspath(path)
    if is_held(path):
        return Repair(path, "open")
    before = os.stat(path)
    try:
        with open(path, "rb") as file:
            header = find_audio(file, path)
        there = header.file_size - header.data_offset
        n_octets = there - there % header.block
        mend = _is_placeholder(header)
        if not mend:
            stated = min(header.data_size, n_octets)
            n_samples = stated // header.block
            return _name(path, "healthy", n_samples, 0) if path.endswith(PART) else Repair(path, "healthy", n_samples)
        stated = 0 if header.data_size == UNKNOWN_SIZE else min(header.data_size, n_octets)
        _mend(path, header, n_octets)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    except (FormatError, OSError) as error:
        return Repair(path, "failed", problem=str(error).removeprefix(f"{path}: "))
    n_samples = n_octets // header.block
    gained = n_samples - stated // header.block
    return (
        _name(path, "mended", n_samples, gained) if path.endswith(PART) else Repair(path, "mended", n_samples, gained)
    )


def repair_call(folder: str | os.PathLike[str]) -> list[Repair]:
    """Mend the tracks of a call folder, and put its manifest together from the journal if nobody could.

    Folders that a living process writes, and files that are whole, are left as they are.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    folder = Path(folder)
    if is_open(folder):
        return [Repair(str(folder), "open")]
    for path in folder.glob(f".*{PART}{PASSING}"):
        path.unlink(missing_ok=True)  # its writer died before it had a name
    found = [repair_wav(path) for path in sorted(folder.iterdir()) if path.name.endswith((".wav", ".wav.part"))]
    if (folder / JOURNAL_NAME).exists():
        found.append(_recover(folder))
    return found


def repair_room(room: str | os.PathLike[str], *, unfinished: bool = False) -> list[Repair]:
    """Repair every call at and below a folder; with ``unfinished`` only those whose files have not got their names.

    Raises
    ------
    OSError
        If the room cannot be read.
    """
    return [repair for folder in call_folders(room, unfinished=unfinished) for repair in repair_call(folder)]


def call_folders(room: str | os.PathLike[str], *, unfinished: bool = False) -> Iterator[Path]:
    """The folders at and below this one that hold a call, finished or not, in order of their names.

    With ``unfinished`` only those in which a file has not got its name yet.
    """
    yield from _call_folders(Path(room), unfinished, MAX_DEPTH)


def is_open(folder: str | os.PathLike[str]) -> bool:
    """Whether a living process writes a file of the folder."""
    for path in (*Path(folder).glob(f"*{PART}"), *Path(folder).glob(f".*{PART}{PASSING}")):
        try:
            if is_held(path):
                return True
        except OSError:
            continue  # it has just got its name
    return False


def _call_folders(folder: Path, unfinished: bool, depth: int) -> Iterator[Path]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    parts = any(name.endswith((PART, PART + PASSING)) for name in names)
    if parts or (not unfinished and any(name == MANIFEST_NAME or name.endswith(".wav") for name in names)):
        yield folder
    for entry in entries if depth else ():
        if entry.is_dir(follow_symlinks=False):
            try:
                yield from _call_folders(Path(entry.path), unfinished, depth - 1)
            except OSError:
                continue  # gone, or not ours to read


def _is_placeholder(header: Header) -> bool:
    """Whether nobody has put the sizes right: our mark, or what other writers begin with."""
    if header.mark:
        return header.mark == OPEN
    there = header.file_size - header.data_offset
    if header.rf64 or there < header.block:
        return False
    if header.data_size == UNKNOWN_SIZE:
        return True
    # No audio, and a RIFF that is unknown or ends before the audio that is there.
    return header.data_size == 0 and header.riff_size in (0, UNKNOWN_SIZE, header.data_offset - 8)


def _mend(path: str, header: Header, n_octets: int) -> None:
    """Write the true sizes; cut off a last sample that is torn."""
    end = header.data_offset + n_octets
    riff_size = end + n_octets % 2 - 8
    ours = b""
    if header.mark:
        ours = pack_header(header.encoding, header.sample_rate, header.n_channels, n_octets)
        if len(ours) != header.data_offset:
            raise FormatError(f"the header has {header.data_offset} octets, not {len(ours)}")
    elif riff_size >= UNKNOWN_SIZE:
        raise FormatError(f"{n_octets} octets of audio, and no room in the header to tell of them")
    fd = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(fd, end)
        if n_octets % 2:
            os.pwrite(fd, b"\0", end)
        os.fdatasync(fd)  # the audio first
        if ours:
            os.pwrite(fd, ours, 0)
        else:
            os.pwrite(fd, struct.pack("<I", n_octets), header.data_offset - 4)
            os.pwrite(fd, struct.pack("<I", riff_size), 4)
        os.fsync(fd)
    finally:
        os.close(fd)


def _name(path: str, outcome: str, n_samples: int, gained: int) -> Repair:
    """Give a file the name that its writer would have given it, unless that is taken."""
    final = path.removesuffix(PART)
    if os.path.lexists(final):
        problem = f"{os.path.basename(final)} is there already"
        return Repair(path, "failed", n_samples, gained, problem)
    error = failure(os.rename, path, final) or failure(sync_directory, os.path.dirname(path) or ".")
    if error is not None:
        return Repair(path, "failed", n_samples, gained, str(error))
    return Repair(final, "named" if outcome == "healthy" else outcome, n_samples, gained)


def _recover(folder: Path) -> Repair:
    """Write what closing the folder would have written, as far as the journal knows it."""
    manifest = folder / MANIFEST_NAME
    try:
        if manifest.exists():
            Timeline.load(manifest)  # whole, as it is put in place as a whole; only the journal was left
            os.unlink(folder / JOURNAL_NAME)
            return Repair(str(manifest), "healthy")
        timeline, transcripts = read_journal(folder / JOURNAL_NAME)
        timeline.recovered = True
        timeline.complete = False
        _describe(folder, timeline)
        _write_texts(folder, transcripts)
        for name in (*timeline.tracks, "transcript.json", "transcript.vtt", "metrics.jsonl", "series.jsonl"):
            _hash(folder, timeline, name)
        _audit(folder, timeline)
        timeline.write(manifest)
        os.unlink(folder / JOURNAL_NAME)
    except (FormatError, OSError) as error:
        return Repair(str(folder / JOURNAL_NAME), "failed", problem=str(error))
    return Repair(str(manifest), "recovered", timeline.n_samples)


def _describe(folder: Path, timeline: Timeline) -> None:
    """The tracks that are there: those that the journal tells of, and their later files."""
    known, timeline.tracks = timeline.tracks, {}
    for path in sorted(folder.glob("*.wav")):
        info = wav_info(path)
        first = f"{path.name.split('.')[0]}.wav"
        about = known.get(path.name) or known.get(first) or _by_name(first, info, timeline)
        if about is None:
            continue  # not of this call
        timeline.tracks[path.name] = about | {"n_samples": info.n_samples, "position": 0}
    for name, about in timeline.tracks.items():
        stem, _, number = name.removesuffix(".wav").partition(".")
        if number.isdecimal():
            earlier = [f"{stem}.wav"] + [f"{stem}.{i}.wav" for i in range(2, int(number))]
            about["position"] = sum(timeline.tracks.get(file, {"n_samples": 0})["n_samples"] for file in earlier)
        timeline.n_samples = max(timeline.n_samples, about["position"] + about["n_samples"])


def _by_name(name: str, info: WavInfo, timeline: Timeline) -> dict[str, Any] | None:
    """What a track is, of a journal that was cut off before it told."""
    for kind in ("raw", "clean"):
        found: list[str] = []
        if name == f"{kind}.wav":
            found = list(timeline.channels)
        for channel, part in zip(timeline.channels, file_names(timeline.channels), strict=True):
            if name == f"{kind}-{part}.wav":
                found = [channel]
        if found and len(found) == info.n_channels:
            return {
                "channel": found[0] if len(found) == 1 else None,
                "channels": found,
                "kind": kind,
                "encoding": info.encoding,
                "sample_rate": info.sample_rate,
                "incomplete": False,
                "error": None,
                "n_unwritten": 0,
                "unwritten": [],
            }
    return None


def _write_texts(folder: Path, transcripts: TranscriptLog) -> None:
    transcripts.write_json(folder / "transcript.json")
    transcripts.write_vtt(folder / "transcript.vtt")


def _hash(folder: Path, timeline: Timeline, name: str) -> None:
    if (folder / name).exists():
        digest, n_octets = sha256_of(folder / name)
        timeline.files[name] = {"sha256": digest, "n_octets": n_octets}


def _audit(folder: Path, timeline: Timeline) -> None:
    """Tell the trail of the repair; one that does not hold is left as it is."""
    path = folder / "audit.jsonl"
    try:
        log = AuditLog(path, interaction_id=timeline.conversation_id)
    except MediaError:
        pass
    else:
        log.record("repair", outcome="recovered", n_samples=timeline.n_samples, manifest_sha256=timeline.digest())
        log.close()
    _hash(folder, timeline, path.name)
