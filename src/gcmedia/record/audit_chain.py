"""The chain of an audit file, and what it proves.

Every line is one JSON object in canonical form (keys sorted, no spaces).  ``hash`` is the SHA-256 of the same object
without ``hash``; ``prev`` is the hash of the line before, 64 zeros on the first.  So a line changed, doubled, moved,
put in, or taken out at the beginning or in the middle breaks the chain there.

Two things a chain alone cannot show: lines cut off at its end, which leave a shorter chain that holds, and a file
written anew from its first line.  Both show against an anchor, the number of lines and the hash of the last, kept
where whoever may write the file may not: `AuditLog.anchor` gives it.  The manifest of a call keeps the hash of the
whole file; it lies beside it, so it shows accidents, not a forger.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MediaError
from .lines import sha256_of

__all__ = ["FIRST", "AuditCheck", "canonical", "check_audit", "digest", "verify_audit"]

FIRST = "0" * 64
MANIFEST = "timeline.json"
LAST_ACTION = "session_end"

_ANCHOR = re.compile(r"([0-9]{1,12}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """What a check found.

    Attributes
    ----------
    lines : int
        Lines that follow one another from the beginning.
    last_hash : str
        Of the last of them.
    problem : str or None
        What is wrong, with the line; None when all that can be known holds.
    anchored : str
        What confirmed the end: ``"anchor"``, ``"manifest"``, or empty when there was neither.
    ended : bool
        Whether the last line is the end of a session.  Where it is not, the process died, is still at it, or lines
        were cut off.
    compliant : int
        Lines that state ``privacyCompliant``.
    lost : int
        Lines that the trail itself says could not be written.
    """

    lines: int
    last_hash: str
    problem: str | None = None
    anchored: str = ""
    ended: bool = False
    compliant: int = 0
    lost: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    @property
    def anchor(self) -> str:
        """``LINES:HASH``, to be kept elsewhere and given to a later check."""
        return f"{self.lines}:{self.last_hash}"


def check_audit(path: str | os.PathLike[str], *, anchor: str | None = None) -> AuditCheck:
    """Check the chain of an audit file, and its end where something tells of it.

    Parameters
    ----------
    path : path
        The file.
    anchor : str, optional
        ``LINES:HASH`` as noted earlier; the file may have grown since.  Left out, the manifest of the call is asked
        if it lies beside the file.

    Raises
    ------
    ConfigError
        If the anchor is none.
    OSError
        If the file cannot be read.
    """
    wanted = None if anchor is None else _ANCHOR.fullmatch(anchor.strip())
    if anchor is not None and wanted is None:
        raise ConfigError("an anchor is the number of lines, a colon and 64 hexadecimal digits")
    n_wanted = int(wanted[1]) if wanted else 0
    hash_there = FIRST
    prev, n_lines, compliant, lost, action = FIRST, 0, 0, 0, ""

    def found(problem: str | None = None, anchored: str = "") -> AuditCheck:
        return AuditCheck(n_lines, prev, problem, anchored, action == LAST_ACTION, compliant, lost)

    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            entry = _entry(line)
            if entry is None:
                torn = "" if line.endswith(b"\n") else ": it has no end"
                return found(f"line {number} was changed{torn}")
            if entry.get("prev") != prev:
                where = f"line {number} does not follow line {number - 1}" if n_lines else "line 1 is not the first"
                return found(f"{where}; one was removed or changed")
            prev, n_lines, action = entry["hash"], number, str(entry.get("action"))
            compliant += entry.get("privacyCompliant") is True
            told = entry.get("lostRecords")
            lost += told if isinstance(told, int) else 0
            if number == n_wanted:
                hash_there = prev
    if wanted:
        if n_lines < n_wanted:
            return found(f"{n_wanted - n_lines} lines after line {n_lines} were cut off, by the anchor")
        if hash_there != wanted[2]:
            return found(f"line {n_wanted} is not the one that the anchor names; the file was written anew")
        return found(anchored="anchor")
    if not n_lines:
        return found("it holds no line")
    known = _in_manifest(path)
    if known is None:
        return found()
    if known != sha256_of(path)[0]:
        return found(f"the file is not the one that {MANIFEST} names; lines were cut off or added at its end")
    return found(anchored="manifest")


def verify_audit(path: str | os.PathLike[str]) -> int:
    """Check the chain of an audit file, and nothing else.

    Returns
    -------
    int
        Its lines.

    Raises
    ------
    MediaError
        If it does not hold; the message names the first line that was changed, or before which one was removed.
    OSError
        If the file cannot be read.
    """
    return last_link(path)[0]


def last_link(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Lines of a trail that holds, and the hash of its last; raises as `verify_audit` does."""
    found = check_audit(path, anchor=f"0:{FIRST}")
    if found.problem is not None:
        raise MediaError(f"{path}: {found.problem}")
    return found.lines, found.last_hash


def canonical(entry: dict[str, Any]) -> str:
    """The one way in which an entry is written."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(entry: dict[str, Any]) -> str:
    """Hash of an entry that has no ``hash`` yet."""
    return hashlib.sha256(canonical(entry).encode()).hexdigest()


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line that is as it was written."""
    try:
        text = line.decode()
        entry: dict[str, Any] = json.loads(text)
        stated = entry.pop("hash")
        intact = digest(entry) == stated
        entry["hash"] = stated
        return entry if intact and canonical(entry) + "\n" == text else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _in_manifest(path: str | os.PathLike[str]) -> str | None:
    """The hash of the file that the manifest beside it states, if there is one."""
    try:
        manifest = json.loads((Path(path).parent / MANIFEST).read_bytes())
        stated = manifest["files"][Path(path).name]["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return stated if isinstance(stated, str) else None
