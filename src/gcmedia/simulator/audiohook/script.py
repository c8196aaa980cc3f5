"""What a caller does, and when: the play that `dial` performs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from ...errors import ConfigError

__all__ = ["ACTIONS", "FAULTS", "Action", "Script"]

#: What a client may do, and what its value is.
ACTIONS = {
    "pause": "seconds",
    "discard": "seconds",
    "stall": "seconds",
    "dtmf": "key",
    "update": "language",
    "error": "code",
    "reconnect": "",
    "drop": "",
}

#: What no good client does.
FAULTS = {
    "garbage": "",
    "wrong-seq": "",
    "odd-audio": "",
    "oversize": "",
    "bad-frame": "",
    "slow-reader": "seconds",
    "vanish": "",
    "freeze": "seconds",
}

_KEYS = "0123456789*#ABCD"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing done.

    Attributes
    ----------
    at_s : float
        When: seconds of the audio's timeline.
    kind : str
        One of `ACTIONS` or `FAULTS`.
    value : str
        Seconds, a key, a language or a code, as the kind asks.

    Raises
    ------
    ConfigError
        If it is none of them, or the value does not fit.
    """

    at_s: float
    kind: str
    value: str = ""

    def __post_init__(self) -> None:
        wanted = (ACTIONS | FAULTS).get(self.kind)
        if wanted is None:
            raise ConfigError(f"action is {self.kind!r}, not one of {', '.join(ACTIONS | FAULTS)}")
        if not 0.0 <= self.at_s < math.inf:
            raise ConfigError(f"{self.kind} is at {self.at_s} s, not 0 or more")
        if wanted == "seconds":
            _ = self.seconds
        elif wanted == "key" and (len(self.value) != 1 or self.value not in _KEYS):
            raise ConfigError(f"key is {self.value!r}, not one of {_KEYS}")
        elif wanted == "code" and not (self.value.isdecimal() and 400 <= int(self.value) <= 9999):
            raise ConfigError(f"code is {self.value!r}, not 400 to 9999")
        elif wanted == "language" and not self.value:
            raise ConfigError("update names no language")
        elif not wanted and self.value:
            raise ConfigError(f"{self.kind} takes no value, and has {self.value!r}")

    @property
    def seconds(self) -> float:
        """The value, as seconds."""
        try:
            seconds = float(self.value)
        except ValueError:
            seconds = math.nan
        if not 0.0 < seconds < math.inf:
            raise ConfigError(f"{self.kind} lasts {self.value!r}, not a number of seconds")
        return seconds

    @classmethod
    def parse(cls, kind: str, text: str) -> Self:
        """Read ``AT`` or ``AT:VALUE``, such as ``2.5:1``."""
        at, _, value = text.partition(":")
        try:
            return cls(float(at), kind, value)
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{kind} is {text!r}, not AT or AT:VALUE with AT in seconds") from None


@dataclass(frozen=True, slots=True)
class Script:
    """How the audio is sent, and what happens meanwhile.

    Attributes
    ----------
    actions : tuple of Action
        In any order.
    seconds : float or None
        Length of the call on the timeline; None for that of the audio.
    frame_ms : float
        Audio in a message while nothing is late; 200 as the platform has it.
    speed : float
        Times real time.
    burst_s : float
        Audio that is there already when the session opens, as after a slow set-up: it is sent at once, in messages of
        up to 64,000 octets.
    replay_s : float
        How much audio is sent again after a reconnect; the platform keeps 20 s.
    close_reason : str
        Of the ``close`` at the end.
    follow_reconnect : bool
        Whether the server's ``reconnect`` is followed.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    """

    actions: tuple[Action, ...] = ()
    seconds: float | None = None
    frame_ms: float = 200.0
    speed: float = 1.0
    burst_s: float = 0.0
    replay_s: float = 20.0
    close_reason: str = "end"
    follow_reconnect: bool = True

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("seconds", 0.0 if self.seconds is None else self.seconds, 0.0, 7 * 86_400.0),
            ("frame_ms", self.frame_ms, 1.0, 4000.0),
            ("speed", self.speed, 0.001, 10_000.0),
            ("burst_s", self.burst_s, 0.0, 30.0),
            ("replay_s", self.replay_s, 0.0, 30.0),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}, not in [{low}, {high}]")
        if self.close_reason not in ("end", "error", "disconnect", "reconnect"):
            raise ConfigError(f"close_reason is {self.close_reason!r}, not end, error, disconnect or reconnect")
