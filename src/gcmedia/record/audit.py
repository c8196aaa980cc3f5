"""The audit trail: what was done with a call, as hash-chained JSON lines that hold no audio and nothing personal.

Every line is one JSON object in canonical form (keys sorted, no spaces).  ``hash`` is the SHA-256 of the same object
without ``hash``; ``prev`` is the hash of the line before, 64 zeros on the first.  A line changed, removed, added or
moved breaks the chain there.  Lines cut off at the end leave a shorter chain that still holds: the manifest of the
call keeps the hash of the finished file against that.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ..errors import ConfigError, MediaError
from .lines import LineFile

__all__ = ["AuditLog", "AuditPolicy", "check_details", "iso_time", "verify_audit"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FIRST = "0" * 64
MAX_TEXT = 200  # characters of a value that are kept

ACTIONS = _words(
    "connected denied drop ended failed idle listen_in malformed_message mask media_capture muted overrun "
    "pause paused reconnect reconnected reconnecting repair restart resume resumed session_end session_start "
    "storage_failed storage_resumed subscribed token_refresh transcript unknown_message unmuted unsubscribed"
)
#: Actions that handle what people say: they need consent, and a purpose.
MEDIA_ACTIONS = frozenset(("media_capture", "transcript", "listen_in"))
FIELDS = _words(
    "timestamp action interactionId sequenceNumber signalDetected privacyCompliant violations region actor "
    "purpose outcome redacted lostRecords prev hash"
)

# A key with one of these words, or made of one of these stems, could carry a secret, audio or a person.
_WORDS = _words(
    "ani dnis name names text number numbers phone email mail address auth key cookie pcm sip uri url user "
    "username firstname lastname displayname callername phonenumber birthday ssn pin cvv card iban"
)
_STEMS = ("token", "secret", "authorization", "password", "credential", "payload", "audio", "transcript", "apikey")
# In a value: bearer tokens, JSON web tokens, addresses of people, and runs of digits as in numbers of phones and cards.
_PERSONAL = re.compile(
    r"bearer\s|eyJ[\w-]{8,}\.|[\w.+-]+@[\w-]+\.\w|\b(?:sips?|tel):|(?<![\w.-])\+?\d(?:[ ()/-]?\d){6,}(?![\w-])",
    re.IGNORECASE,
)


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """What makes an audited action compliant; ``privacyCompliant`` of every line is computed from it.

    Attributes
    ----------
    consent : bool
        The parties were told of the recording, or agreed to it, as the law of the place demands.  Only the user of
        the library can know; unless said, actions on media are not compliant.
    purpose : str
        Why the audio is taken ("quality", "agent assist").
    require_consent, require_purpose : bool
        Whether actions on media need them.
    allowed_actions : frozenset of str, optional
        Actions beyond these are not compliant; left out, those that the library knows.
    allowed_regions : tuple of str
        Regions where media may be handled; empty allows every one.
    allowed_details : frozenset of str, optional
        Names of details that a line may hold; left out, every one that is not refused.
    """

    consent: bool = False
    purpose: str = ""
    require_consent: bool = True
    require_purpose: bool = True
    allowed_actions: frozenset[str] | None = None
    allowed_regions: tuple[str, ...] = ()
    allowed_details: frozenset[str] | None = None

    def violations(
        self, action: str, *, region: str = "", purpose: str = "", details: tuple[str, ...] = ()
    ) -> list[str]:
        """Why an action is not compliant; empty when it is."""
        found = []
        if action not in (ACTIONS if self.allowed_actions is None else self.allowed_actions):
            found.append("action")
        if action in MEDIA_ACTIONS:
            if self.require_consent and not self.consent:
                found.append("consent")
            if self.require_purpose and not (purpose or self.purpose):
                found.append("purpose")
        if self.allowed_regions and region not in self.allowed_regions:
            found.append("region")
        if self.allowed_details is not None:
            found += [f"detail {key}" for key in details if key not in self.allowed_details]
        return found


class AuditLog:
    """Write the audit trail of one or more calls.

    Parameters
    ----------
    path_or_file : path or text file
        Where lines go.  A file that holds a trail is verified, and continued.
    region : str
        Where the media is handled.
    policy : AuditPolicy, optional
        Left out, nothing is known of consent and purpose, and actions on media are marked as not compliant.
    interaction_id : str
        The call, unless `record` names another.
    clock : callable
        Wall time in seconds since 1970.

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
        path_or_file: str | os.PathLike[str] | _Writable,
        region: str = "",
        policy: AuditPolicy | None = None,
        *,
        interaction_id: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.region = region
        self.policy = policy or AuditPolicy()
        self.interaction_id = interaction_id
        self._clock = clock
        self._prev = FIRST
        self._file: LineFile | None = None
        self._sink: _Writable | None = None
        if isinstance(path_or_file, (str, os.PathLike)):
            if os.path.exists(path_or_file):
                _, self._prev = _verify(path_or_file)
            self._file = LineFile(path_or_file)
        else:
            self._sink = path_or_file
        self.n_records = 0
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
        entry["hash"] = _digest(entry)
        if not self._write(_canonical(entry) + "\n"):
            self.lost += 1
            self._untold += 1
            return False
        self._prev = entry["hash"]
        self._untold = 0
        self.n_records += 1
        return True

    def close(self) -> None:
        """Close the file, if it is the log's own."""
        if self._file is not None:
            self._file.close()

    def _write(self, line: str) -> bool:
        if self._file is not None:
            return self._file.write(line.encode())
        assert self._sink is not None
        try:
            self._sink.write(line)
        except OSError:
            return False
        return True


def check_details(details: dict[str, Any]) -> None:
    """Refuse details whose name could carry a secret, audio or personal data, and values that are not plain.

    Raises
    ------
    ConfigError
        It names the key, never the value.
    """
    for key, value in details.items():
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", key)
        joined = re.sub(r"[^a-z0-9]", "", key.lower())
        if joined in _WORDS or any(word.lower() in _WORDS for word in words) or any(stem in joined for stem in _STEMS):
            raise ConfigError(f"detail {key!r} could carry a secret, audio or personal data")
        if not isinstance(value, (bool, int, float, str, type(None))):
            raise ConfigError(f"detail {key!r} is a {type(value).__name__}, neither a number, a flag nor text")


def iso_time(seconds: float) -> str:
    """Wall time as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def verify_audit(path: str | os.PathLike[str]) -> int:
    """Check the chain of an audit file.

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
    return _verify(path)[0]


def _verify(path: str | os.PathLike[str]) -> tuple[int, str]:
    prev, number = FIRST, 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode()
                entry = json.loads(text)
                stated = entry.pop("hash")
                intact = _digest(entry) == stated and _canonical(entry | {"hash": stated}) + "\n" == text
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                intact = False
            if not intact:
                raise MediaError(f"{path}: line {number} was changed")
            if entry.get("prev") != prev:
                raise MediaError(f"{path}: line {number} does not follow line {number - 1}; one was removed or changed")
            prev = stated
    return number, prev


def _presentable(key: str, value: Any, redacted: list[str]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        if _PERSONAL.search(value):
            redacted.append(key)
            return "[redacted]"
        return _whole(value)
    return value


def _whole(text: str) -> str:
    """Cut, and without the halves of surrogate pairs that UTF-8 cannot say."""
    return text[:MAX_TEXT].encode(errors="replace").decode()


def _canonical(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(entry).encode()).hexdigest()
