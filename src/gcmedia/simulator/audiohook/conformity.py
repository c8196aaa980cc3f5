"""Whether a server keeps to the protocol beyond what a client's machine needs: pace, sizes, entities, and the end.

The envelope, sequence, ids, media and answers are judged by `ClientMachine`; its verdicts are findings too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ...dialects.audiohook import Media
from ...dialects.audiohook.durations import parse_seconds
from ...dialects.audiohook.envelope import is_uuid
from ...errors import FormatError

__all__ = ["Conformity", "Finding"]

MAX_FINDINGS = 200
MAX_OCTETS = 64_000
RATE_PER_S = 5.0
BURST = 25.0
SLOW_OPENED_S = 2.0
SLOW_PONG_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a server does wrong, or had better not do.

    Attributes
    ----------
    rule : str
        Which rule: ``"protocol"``, ``"timeout"``, ``"opened"``, ``"pong"``, ``"pace"``, ``"size"``, ``"entities"``,
        ``"position"``, ``"audio"``, ``"ending"`` or ``"upgrade"``.
    severity : str
        ``"error"`` breaks the protocol, ``"warning"`` does not, but is a risk.
    where : str
        The message: ``"pong, seq 3"``, ``"audio frame 12"``, ``"connection"``.
    at_s : float
        When, from the moment the connection was made.
    detail : str
        What is wrong.
    """

    rule: str
    severity: str
    where: str
    at_s: float
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"at_s": round(self.at_s, 6)}

    def __str__(self) -> str:
        return f"{self.severity}: {self.rule}: {self.where} at {self.at_s:.3f} s: {self.detail}"


class _Pace:
    """What the platform lets a server send: 5 messages a second, 25 at once."""

    def __init__(self) -> None:
        self._room = BURST
        self._last = 0.0
        self.over = 0

    def take(self, at_s: float) -> bool:
        self._room = min(BURST, self._room + (at_s - self._last) * RATE_PER_S) - 1.0
        self._last = at_s
        if self._room >= 0.0:
            return True
        self._room = 0.0
        self.over += 1
        return False


class Conformity:
    """The findings of one session.

    Attributes
    ----------
    findings : list of Finding
        At most 200.
    further : int
        How many more there were.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.further = 0
        self._texts, self._binaries = _Pace(), _Pace()

    @property
    def conforming(self) -> bool:
        """Whether nothing broke the protocol; warnings do not count."""
        return not self.further and all(found.severity != "error" for found in self.findings)

    def find(self, rule: str, where: str, at_s: float, detail: str, *, severity: str = "error") -> None:
        """Note a finding."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(rule, severity, where, at_s, detail))
        elif severity == "error":
            self.further += 1

    def text(self, where: str, message: str, at_s: float, value: Any, position_s: float) -> None:
        """Look at a text message of the server; ``value`` is what it holds as JSON, None when that is nothing."""
        size = len(message.encode(errors="replace"))
        if size > MAX_OCTETS:
            self.find("size", where, at_s, f"text message of {size} octets, more than {MAX_OCTETS}")
        if not self._texts.take(at_s) and self._texts.over == 1:
            self.find("pace", where, at_s, f"text messages faster than {RATE_PER_S:g} a second, {BURST:g} at once")
        if isinstance(value, dict) and isinstance(told := value.get("position"), str):
            self._position(where, at_s, told, position_s)

    def _position(self, where: str, at_s: float, told: str, position_s: float) -> None:
        """A server needs no position in its messages; where it tells one it counts what has been sent."""
        try:
            seconds = parse_seconds(told)
        except FormatError as error:
            self.find("position", where, at_s, str(error))
            return
        if seconds > position_s + 1e-6:
            self.find("position", where, at_s, f"position is {told}, ahead of the {position_s:.6f} s sent")

    def audio(self, where: str, n_octets: int, at_s: float) -> None:
        """Look at a binary message of the server."""
        if n_octets > MAX_OCTETS:
            self.find("size", where, at_s, f"binary message of {n_octets} octets, more than {MAX_OCTETS}")
        if not self._binaries.take(at_s) and self._binaries.over == 1:
            self.find("pace", where, at_s, f"binary messages faster than {RATE_PER_S:g} a second, {BURST:g} at once")

    def opened(self, where: str, at_s: float, took_s: float) -> None:
        """Look at how long ``opened`` took."""
        if took_s > SLOW_OPENED_S:
            detail = f"took {took_s:.3f} s; clients give up after 5 s"
            self.find("opened", where, at_s, detail, severity="warning")

    def pong(self, where: str, at_s: float, rtt_s: float) -> None:
        """Look at how long ``pong`` took."""
        if rtt_s > SLOW_PONG_S:
            self.find("pong", where, at_s, f"took {rtt_s:.3f} s; clients give up after 5 s", severity="warning")

    def entities(self, where: str, at_s: float, entities: tuple[dict[str, Any], ...], media: Media | None) -> None:
        """Look at the entities of an ``event``."""
        for place, entity in enumerate(entities, 1):
            look = _ENTITIES.get(str(entity.get("type")))
            if look is None:
                continue
            data = entity.get("data")
            problems = look(data, media) if isinstance(data, dict) else ["data is no object"]
            for problem in problems:
                self.find("entities", where, at_s, f"entity {place}, {entity.get('type')}: {problem}")


def _transcript(data: dict[str, Any], media: Media | None) -> list[str]:
    problems = []
    if not is_uuid(data.get("id")):
        problems.append("id is no UUID")
    channels = len(media.channels) if media else 2
    channel = data.get("channelId")
    if type(channel) is not int or not 0 <= channel < channels:
        problems.append(f"channelId is {channel!r}, not 0 to {channels - 1}")
    final = data.get("isFinal")
    if type(final) is not bool:
        problems.append(f"isFinal is {final!r}, not true or false")
    for name in ("offset", "duration"):
        if name in data or final is True:
            problems += _duration(name, data.get(name))
    alternatives = data.get("alternatives")
    if not isinstance(alternatives, list) or not alternatives:
        return [*problems, "there are no alternatives"]
    for alternative in alternatives:
        if not isinstance(alternative, dict):
            problems.append("an alternative is no object")
            continue
        problems += _confidence("an alternative", alternative)
        readings = alternative.get("interpretations")
        if not isinstance(readings, list) or not readings:
            problems.append("an alternative has no interpretations")
            continue
        for reading in readings:
            problems += _interpretation(reading, final is True)
    return problems


def _interpretation(reading: Any, final: bool) -> list[str]:
    if not isinstance(reading, dict) or not isinstance(reading.get("transcript"), str):
        return ["an interpretation has no transcript"]
    problems = []
    if reading.get("type") != "display":
        problems.append(f"type of an interpretation is {reading.get('type')!r}, not 'display'")
    tokens = reading.get("tokens")
    if tokens is None:
        return [*problems, "a final transcript has no tokens"] if final else problems
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        return [*problems, "tokens are no list of objects"]
    for token in tokens:
        if not isinstance(token.get("value"), str):
            problems.append("a token has no value")
        problems += _confidence("a token", token)
        problems += _duration("offset of a token", token.get("offset"))
        problems += _duration("duration of a token", token.get("duration"))
    offsets = [token.get("offset") for token in tokens]
    if final and len(set(map(str, offsets))) != len(offsets):
        problems.append("tokens have the same offset")
    return problems


def _confidence(whose: str, found: dict[str, Any]) -> list[str]:
    value = found.get("confidence")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return [f"confidence of {whose} is {value!r}, not 0 to 1"]
    return []


def _duration(name: str, value: Any) -> list[str]:
    try:
        parse_seconds(value if isinstance(value, str) else repr(value))
    except FormatError as error:
        return [f"{name}: {error}"]
    return []


def _bot_turn(data: dict[str, Any], media: Media | None) -> list[str]:
    disposition = data.get("disposition")
    known = ("no_input", "no_match", "match")
    return [] if disposition in known else [f"disposition is {disposition!r}, not one of {', '.join(known)}"]


def _agent_assist(data: dict[str, Any], media: Media | None) -> list[str]:
    problems = [] if isinstance(data.get("id"), str) else ["id is missing"]
    for name in ("utterances", "suggestions"):
        if name in data and not isinstance(data[name], list):
            problems.append(f"{name} are no list")
    return problems


_ENTITIES: dict[str, Callable[[dict[str, Any], Media | None], list[str]]] = {
    "agentassist": _agent_assist,
    "bot_turn_response": _bot_turn,
    "transcript": _transcript,
}
