"""What was said, on the sample timeline, as JSON and as WebVTT."""

from __future__ import annotations

import math
import os
import re
from bisect import bisect_right
from typing import Any

import msgspec

from ..errors import ConfigError, FormatError
from ..types import Transcript
from .lines import replace_file, to_json

__all__ = ["TranscriptLog"]

MAX_ENTRIES = 100_000
MAX_TEXT = 10_000  # characters
LONGEST_CUE_MS = 7000  # on screen, when nobody said how long the words take


class TranscriptLog:
    """Collect transcripts, sorted by position, those at one position as they came.

    100,000 are kept, of 10,000 characters each; further ones are counted in `not_stored`, longer ones cut.

    Parameters
    ----------
    sample_rate : int
        Hz of the timeline.
    """

    def __init__(self, sample_rate: int) -> None:
        if sample_rate < 1:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, less than 1")
        self.sample_rate = sample_rate
        self.not_stored = 0
        self._entries: list[Transcript] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[Transcript, ...]:
        """All transcripts, by position."""
        return tuple(self._entries)

    def add(self, transcript: Transcript) -> bool:
        """Take a transcript; False if there was no room."""
        if len(self._entries) >= MAX_ENTRIES:
            self.not_stored += 1
            return False
        entries, position = self._entries, transcript.position
        if entries and entries[-1].position > position:
            entries.insert(bisect_right(entries, position, key=lambda entry: entry.position), transcript)
        else:
            entries.append(transcript)
        return True

    def as_list(self) -> list[dict[str, Any]]:
        """What `write_json` writes."""
        return [self.as_dict(entry) for entry in self._entries]

    def as_dict(self, entry: Transcript) -> dict[str, Any]:
        """One transcript as plain values; ``localTimestamp`` is in seconds of the timeline."""
        start_s = round(entry.position / self.sample_rate, 6)
        return {
            "text": _clean(entry.text),
            "confidence": entry.confidence if math.isfinite(entry.confidence) else 0.0,
            "channel": entry.channel,
            "start_s": start_s,
            "duration_s": round(entry.n_samples / self.sample_rate, 6),
            "position": entry.position,
            "n_samples": entry.n_samples,
            "localTimestamp": start_s,
            "serverTimestamp": entry.server_timestamp,
        }

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON list, as a whole or not at all."""
        replace_file(path, msgspec.json.format(to_json(self.as_list()), indent=1) + b"\n")

    def write_vtt(self, path: str | os.PathLike[str]) -> None:
        """Write WebVTT, as a whole or not at all.

        A cue ends with its words, or, when their length is not known, with the next cue, after 7 s at most.
        Line breaks inside a text are kept, empty lines are not, as they would end the cue.
        """
        replace_file(path, self.vtt().encode())

    def vtt(self) -> str:
        """The WebVTT text."""
        starts = [self._ms(entry.position) for entry in self._entries]
        cues = ["WEBVTT\n"]
        for index, entry in enumerate(self._entries):
            start = starts[index]
            if entry.n_samples > 0:
                end = self._ms(entry.position + entry.n_samples)
            else:
                after = bisect_right(starts, start)
                end = start + LONGEST_CUE_MS
                if after < len(starts):
                    end = min(end, starts[after])
            end = max(end, start + 1)
            voice = f"<v {_escape(' '.join(entry.channel.split()))}>" if entry.channel.strip() else ""
            cues.append(f"{_clock(start)} --> {_clock(end)}\n{voice}{_escape(entry.text)}\n")
        return "\n".join(cues)

    @classmethod
    def load(cls, path: str | os.PathLike[str], sample_rate: int) -> TranscriptLog:
        """Read what `write_json` wrote.

        Raises
        ------
        FormatError
            If it is something else; the message says where.
        """
        log = cls(sample_rate)
        with open(path, "rb") as file:
            octets = file.read()
        try:
            for entry in msgspec.json.decode(octets, type=list[_Entry]):
                log.add(entry.transcript())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: no list of transcripts: {error}") from error
        return log

    def _ms(self, position: int) -> int:
        return (2000 * position + self.sample_rate) // (2 * self.sample_rate)


class _Entry(msgspec.Struct):
    text: str
    confidence: float
    position: int
    n_samples: int
    channel: str
    serverTimestamp: int  # noqa: N815  (the name in the file)

    def transcript(self) -> Transcript:
        return Transcript(self.text, self.confidence, self.position, self.n_samples, self.channel, self.serverTimestamp)


def _clean(text: str) -> str:
    """Cut, and without what UTF-8 cannot say."""
    return text[:MAX_TEXT].encode(errors="replace").decode()


def _escape(text: str) -> str:
    """Text as WebVTT has it (section 6.4 of the W3C note): no markup, no empty lines, no NUL."""
    lines = re.split(r"\r\n|\r|\n", _clean(text).replace("\0", "\N{REPLACEMENT CHARACTER}"))
    kept = "\n".join(line for line in lines if line.strip(" \t\f"))
    return kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{ms:03}"
