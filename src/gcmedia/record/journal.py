"""What a call folder knows besides audio while the call runs: one line per hole, event, run and transcript.

The file is ``timeline.jsonl.part``; closing the folder writes the manifest and removes it.  Of a call that was cut
off, `read_journal` brings back what it said.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import FormatError
from ..types import Transcript
from .lines import read_lines
from .timeline import Timeline
from .transcript import TranscriptLog

__all__ = ["JOURNAL_NAME", "read_journal"]

JOURNAL_NAME = "timeline.jsonl.part"


def read_journal(path: str | os.PathLike[str]) -> tuple[Timeline, TranscriptLog]:
    """Rebuild the timeline and the transcripts of a call from its journal.

    Raises
    ------
    FormatError
        If it is none; the message says where.
    """
    lines = read_lines(path)
    try:
        about = lines[0]["call"]
        timeline = Timeline(
            about["sample_rate"],
            about["channels"],
            conversation_id=about["conversation_id"],
            started_at=about["started_at"],
            encoding=about.get("encoding", ""),
        )
        transcripts = TranscriptLog(timeline.sample_rate)
        for line in lines[1:]:
            for kind, entry in line.items():
                _replay(timeline, transcripts, kind, entry)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: no journal of a call: {error!r}") from error
    return timeline, transcripts


def _replay(timeline: Timeline, transcripts: TranscriptLog, kind: str, entry: dict[str, Any]) -> None:
    if kind == "hole":
        timeline.hole(**entry)
    elif kind == "event":
        timeline.event(**entry)
    elif kind == "mask":
        timeline.mask(**entry)
    elif kind == "tracks":
        timeline.tracks = entry
    elif kind in ("silence", "concealed"):
        channel = timeline.channels.index(entry["channel"])
        timeline.frame(channel, entry["position"], entry["n_samples"], kind == "silence", kind == "concealed")
    elif kind == "transcript":
        transcripts.add(Transcript(**entry))
