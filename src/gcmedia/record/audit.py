"""The audit trail: what was done with a call, as hash-chained JSON lines that hold no audio and nothing personal."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from ..errors import ConfigError
from ..redact import redact
from .audit_chain import FIRST, canonical, digest, last_link, verify_audit
from .audit_policy import AuditPolicy, check_details, words
from .lines import LineFile

__all__ = ["AuditLog", "AuditPolicy", "check_details", "iso_time", "verify_audit"]

MAX_TEXT = 200  # characters of a value that are kept
FIELDS = words(
    "timestamp action interactionId sequenceNumber signalDetected privacyCompliant violations region actor "
    "purpose outcome redacted lostRecords prev hash"
)


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...


class AuditLog:
    """Write the audit trail of one or more calls.

    Parameters
    ----------
    path_or_file : path, text file or callable
        Where lines go, each whole, its end included.  A path that holds a trail is verified, and continued.
    region : str
        Where the media is handled.
    policy : AuditPolicy, optional
        Left out, nothing is known of consent and purpose, and actions on media are marked as not compliant.
    interaction_id : str
        The call, unless `record` names another.
    clock : callable
        Wall time in seconds since 1970.
    patient : bool
        Whether a file that cannot be opened now is opened later.
    keep_open : bool
        Whether a file stays open between lines.

    Raises
    ------
    MediaError
        If the file to continue does not verify.
    OSError
        If it cannot be opened.

    Notes
    -----
    Once open, a full or failing disk raises nothing: lines lost are counted in `lost`, and the next line that can be
    written tells of them (``lostRecords``).
    """

    def __init__(
        self,
        path_or_file: str | os.PathLike[str] | _Writable | Callable[[str], object],
        region: str = "",
        policy: AuditPolicy | None = None,
        *,
        interaction_id: str = "",
        clock: Callable[[], float] = time.time,
        patient: bool = False,
        keep_open: bool = True,
    ) -> None:
        self.region = region
        self.policy = policy or AuditPolicy()
        self.interaction_id = interaction_id
        self._clock = clock
        self._prev = FIRST
        self._file: LineFile | None = None
        self._sink: Callable[[str], object] | None = None
        n_lines = 0
        if isinstance(path_or_file, (str, os.PathLike)):
            if os.path.exists(path_or_file):
                n_lines, self._prev = last_link(path_or_file)
            self._file = LineFile(path_or_file, patient=patient, keep_open=keep_open)
        else:
            self._sink = path_or_file if callable(path_or_file) else path_or_file.write
        self.n_records = 0
        self._n_lines = n_lines
        self.lost = 0
        self._untold = 0

    def record(
        self,
        action: str,
        *,
        interaction_id: str = "",
        sequence_number: int | None = None,
        signal_detected: bool | None = None,
        actor: str = "",
        purpose: str = "",
        outcome: str = "",
        **details: object,
    ) -> bool:
        """Write one line.

        Parameters
        ----------
        action : str
            What was done.
        interaction_id : str
            The call; left out, that of the log.
        sequence_number : int, optional
            Of the newest frame that the action covers.
        signal_detected : bool, optional
            Whether it held anything but silence.
        actor, purpose, outcome : str
            Who did it (a role or a client id, never a person's name), why, and how it ended; written when given.
        **details
            Numbers, flags and short words.  A value that looks like a token, a phone or card number or a mail address
            is replaced, and its key listed under ``redacted``.

        Returns
        -------
        bool
            False if the line could not be written.

        Raises
        ------
        ConfigError
            If the name of a detail could carry a secret, audio or personal data, or is one of the log's own, or a
            value is neither a number, a flag nor text.
        """
        check_details(details)
        taken = FIELDS.intersection(details)
        if taken:
            raise ConfigError(f"audit detail {min(taken)!r} is a field of the log itself")
        redacted: list[str] = []
        given = {"actor": actor, "purpose": purpose or self.policy.purpose, "outcome": outcome}
        entry: dict[str, Any] = {
            key: _presentable(key, value, redacted)
            for key, value in (details | {key: text for key, text in given.items() if text}).items()
        }
        violations = self.policy.violations(action, region=self.region, purpose=purpose, details=tuple(details))
        entry |= {
            "timestamp": iso_time(self._clock()),
            "action": _whole(action),
            "interactionId": _whole(interaction_id or self.interaction_id),
            "sequenceNumber": sequence_number,
            "signalDetected": signal_detected,
            "privacyCompliant": not violations,
            "region": _whole(self.region),
            "prev": self._prev,
        }
        if violations:
            entry["violations"] = violations
        if redacted:
            entry["redacted"] = sorted(redacted)
        if self._untold:
            entry["lostRecords"] = self._untold
        entry["hash"] = digest(entry)
        if not self._write(canonical(entry) + "\n"):
            self.lost += 1
            self._untold += 1
            return False
        self._prev = entry["hash"]
        self._untold = 0
        self.n_records += 1
        self._n_lines += 1
        return True

    @property
    def anchor(self) -> str:
        """``LINES:HASH`` of the trail so far: kept elsewhere, it shows lines that are cut off later."""
        return f"{self._n_lines}:{self._prev}"

    @property
    def troubles(self) -> int:
        """How often its file refused to be written."""
        return 0 if self._file is None else self._file.troubles

    @property
    def failing(self) -> bool:
        """Whether the last attempt to write its file failed."""
        return self._file is not None and self._file.failing

    def flush(self) -> None:
        """Open the file if that could not be done before, and make it anew if it has vanished."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file, if it is the log's own."""
        if self._file is not None:
            self._file.close()

    def _write(self, line: str) -> bool:
        if self._file is not None:
            return self._file.write(line.encode())
        assert self._sink is not None
        try:
            self._sink(line)
        except OSError:
            return False
        return True


def iso_time(seconds: float) -> str:
    """Wall time as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _presentable(key: str, value: Any, redacted: list[str]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        if redact(value) != value:
            redacted.append(key)
            return "[redacted]"
        return _whole(value)
    return value


def _whole(text: str) -> str:
    """Cut, and without the halves of surrogate pairs that UTF-8 cannot say."""
    return text[:MAX_TEXT].encode(errors="replace").decode()
