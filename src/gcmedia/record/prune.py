"""Retention: whole calls go, the oldest first, by age and by size; what is still open stays."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .folder import is_ours
from .repair import MANIFEST_NAME, call_folders, is_open

__all__ = ["Pruned", "prune_room"]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of one call.

    Attributes
    ----------
    folder : str
        Where it is, or was.
    outcome : str
        ``"removed"``; ``"kept"``; ``"open"`` (a living process writes it); ``"failed"``, see ``problem``.
    n_octets : int
        Of its own files.
    age_s : float
        Since the newest of them was written.
    problem : str or None
        Why it could not be removed, or what stays in the folder because it is not ours.
    """

    folder: str
    outcome: str
    n_octets: int
    age_s: float
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def prune_room(
    room: str | os.PathLike[str],
    *,
    max_age_s: float | None = None,
    max_octets: int | None = None,
    dry_run: bool = False,
    now: float | None = None,
) -> list[Pruned]:
    """Remove calls that are too old, then the oldest ones until the rest fits.

    A call is removed as a whole: the manifest first, so that half a call never looks like one.  Only files that a
    recording leaves are removed; a folder with others in it stays, with them.  A call that is being written counts for
    the size and is never removed.

    Parameters
    ----------
    room : path
        Where the calls are, at any depth; one that is no call folder itself.
    max_age_s : float, optional
        Age from which a call goes, by the time of its newest file.
    max_octets : int, optional
        Octets that all calls together may take.
    dry_run : bool
        Remove nothing, only say what would be.
    now : float, optional
        Wall time; that of the machine by default.

    Returns
    -------
    list of Pruned
        The oldest first.

    Raises
    ------
    ConfigError
        If neither limit is given, or one is less than 0.
    OSError
        If the room cannot be read.
    """
    if max_age_s is None and max_octets is None:
        raise ConfigError("neither an age nor a size is given: nothing would ever be pruned")
    if max_age_s is not None and not max_age_s >= 0:
        raise ConfigError(f"max_age_s is {max_age_s} s, less than 0")
    if max_octets is not None and max_octets < 0:
        raise ConfigError(f"max_octets is {max_octets}, less than 0")
    now = time.time() if now is None else now
    calls = sorted((_Call(folder) for folder in call_folders(room)), key=lambda call: call.newest)
    total = sum(call.n_octets for call in calls)
    found = []
    for call in calls:
        age_s = max(0.0, now - call.newest)
        too_old = max_age_s is not None and age_s >= max_age_s
        too_much = max_octets is not None and total > max_octets
        if not (too_old or too_much):
            found.append(Pruned(str(call.folder), "kept", call.n_octets, age_s))
            continue
        if is_open(call.folder):
            found.append(Pruned(str(call.folder), "open", call.n_octets, age_s))
            continue
        problem = None
        if not dry_run:
            try:
                problem = call.remove()
            except OSError as error:
                found.append(Pruned(str(call.folder), "failed", call.n_octets, age_s, str(error)))
                continue
        total -= call.n_octets
        found.append(Pruned(str(call.folder), "removed", call.n_octets, age_s, problem))
    return found


class _Call:
    """A call folder: what is ours in it, how much, and how old."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.others: list[str] = []
        self.n_octets = 0
        self.newest = 0.0
        for entry in os.scandir(folder):
            if not entry.is_file(follow_symlinks=False) or not is_ours(entry.name):
                self.others.append(entry.name)
                continue
            about = entry.stat(follow_symlinks=False)
            self.files.append(Path(entry.path))
            self.n_octets += about.st_size
            self.newest = max(self.newest, about.st_mtime)

    def remove(self) -> str | None:
        """Remove it; what stays."""
        for path in sorted(self.files, key=lambda path: path.name != MANIFEST_NAME):
            path.unlink(missing_ok=True)
        if self.others:
            return f"{len(self.others)} files that are not of the recording stay, {min(self.others)} among them"
        self.folder.rmdir()
        return None
