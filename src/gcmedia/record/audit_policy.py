"""What an audit line may say, and when what it tells of is compliant."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

__all__ = ["ACTIONS", "MEDIA_ACTIONS", "AuditPolicy", "check_details", "words"]


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


#: What the library itself does with a call.
ACTIONS = words(
    "connected convert denied discarded disconnect drop ended failed idle language listen_in malformed_message "
    "mask masked media_capture mute muted opened overrun pause paused reconnect reconnected reconnecting repair "
    "restart resume resumed session_end session_start storage_failed storage_resumed subscribed token_refresh "
    "transcript unknown_message unmask unmasked unmute unmuted unsubscribed"
)
#: Actions that handle what people say: they need consent, and a purpose.
MEDIA_ACTIONS = frozenset(("media_capture", "transcript", "listen_in"))

# A key with one of these words, or made of one of these stems, could carry a secret, audio or a person.
_WORDS = words(
    "ani dnis name names text number numbers phone email mail address auth key cookie pcm sip uri url user "
    "username firstname lastname displayname callername phonenumber birthday ssn pin cvv card iban"
)
_STEMS = ("token", "secret", "authorization", "password", "credential", "payload", "audio", "transcript", "apikey")


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """What makes an audited action compliant, and how much is told of it.

    ``privacyCompliant`` of every line is computed from this.

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
    summary_s : float
        Seconds of media that one ``media_capture`` record tells of.
    every_frame : bool
        Whether every frame gets a record of its own instead.

    Raises
    ------
    ConfigError
        If ``summary_s`` is not above 0.
    """

    consent: bool = False
    purpose: str = ""
    require_consent: bool = True
    require_purpose: bool = True
    allowed_actions: frozenset[str] | None = None
    allowed_regions: tuple[str, ...] = ()
    allowed_details: frozenset[str] | None = None
    summary_s: float = 10.0
    every_frame: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.summary_s < math.inf:
            raise ConfigError(f"summary_s is {self.summary_s} s, not a time above 0")

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
