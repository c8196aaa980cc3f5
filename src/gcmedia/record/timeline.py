"""The timeline of a call: what is where, what is missing and why, and the proof of the files; one JSON manifest."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..errors import ConfigError, FormatError
from ..types import Hole, Stats
from .lines import LineFile, replace_file, to_json

__all__ = ["Spans", "Timeline", "manifest_digest", "manifest_schema"]

SCHEMA = 1
MAX_ENTRIES = 100_000

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Spans:
    """Runs of samples, in order; neighbours are one run.

    At ``limit`` runs further ones are counted in `not_stored`; `total` goes on counting samples.
    """

    __slots__ = ("_limit", "_pairs", "not_stored", "total")

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._pairs = array("q")  # position, n_samples, position, ...
        self._limit = limit
        self.not_stored = 0
        self.total = 0

    def __len__(self) -> int:
        return len(self._pairs) // 2

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._pairs[::2], self._pairs[1::2], strict=True)

    def add(self, position: int, n_samples: int) -> bool:
        """Take a run; True if it opened a new one."""
        self.total += n_samples
        pairs = self._pairs
        if pairs and pairs[-2] + pairs[-1] == position:
            pairs[-1] += n_samples
            return False
        if len(pairs) >= 2 * self._limit:
            self.not_stored += 1
            return False
        pairs.extend((position, n_samples))
        return True

    def last(self) -> tuple[int, int]:
        """The newest run."""
        return self._pairs[-2], self._pairs[-1]


class _Hole(msgspec.Struct):
    position: _Count
    n_samples: _Count
    start_s: float
    duration_s: float
    cause: str


class _Mask(msgspec.Struct):
    position: _Count
    n_samples: _Count
    start_s: float
    duration_s: float
    fill: str


class _Manifest(msgspec.Struct):
    schema: int
    conversation_id: str
    sample_rate: Annotated[int, msgspec.Meta(ge=1)]
    channels: list[str]
    n_samples: _Count
    duration_s: float
    started_at: str
    holes: list[_Hole]
    events: list[dict[str, Any]]
    silence: dict[str, list[tuple[_Count, _Count]]]
    concealed: dict[str, list[tuple[_Count, _Count]]]
    totals: dict[str, Any]
    not_stored: dict[str, int]
    stats: dict[str, Any]
    identity: dict[str, Any]
    tracks: dict[str, dict[str, Any]]
    files: dict[str, dict[str, Any]]
    encoding: str = ""
    complete: bool = True
    recovered: bool = False
    masks: list[_Mask] = []
    storage: dict[str, int] = {}


class Timeline:
    """Collect what happens to a call, by sample position.

    Holes, events and runs are kept one by one up to 100,000 of each kind; further ones are only counted
    (``not_stored``), while the totals stay exact.

    Parameters
    ----------
    sample_rate : int
        Hz.
    channels : sequence of str
        Their names, in order.
    conversation_id : str
        The call.
    started_at : str
        ISO 8601 wall time of sample 0; an annotation, nothing is computed from it.
    encoding : str
        As received.
    journal : LineFile, optional
        Every entry is also put there, as it comes, for the case that `write` is never reached; its first line is what
        `about` says.

    Attributes
    ----------
    journal : LineFile or None
        As given; it can be set later.
    n_samples : int
        Length of the call, per channel.
    holes : list of Hole
        Neighbours with the same cause are one.
    events : list of dict
        ``position``, ``time_s``, ``kind`` and details.
    masks : list of tuple
        ``(position, n_samples, fill)`` of what was masked.
    complete : bool
        Whether all that was received is in the files.
    recovered : bool
        Whether the call was cut off, and this was put together afterwards.
    storage : dict
        ``failures``: how often a disk refused to take the recording; ``unwritten_samples`` and ``lost_lines``: what it
        cost.
    silence, concealed : dict of Spans
        By channel.
    stats, identity : dict
        Counters of the stream, and the accounting identities in figures; see `set_stats`.
    tracks, files : dict
        By file name: what it holds; its ``sha256`` and ``n_octets``.
    """

    def __init__(
        self,
        sample_rate: int,
        channels: tuple[str, ...] | list[str],
        *,
        conversation_id: str = "",
        started_at: str = "",
        encoding: str = "",
        journal: LineFile | None = None,
    ) -> None:
        if sample_rate < 1:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, less than 1")
        if not channels or len(set(channels)) != len(channels):
            raise ConfigError(f"channels are {tuple(channels)}, not one or more different names")
        self.sample_rate = sample_rate
        self.channels = tuple(channels)
        self.conversation_id = conversation_id
        self.started_at = started_at
        self.encoding = encoding
        self.complete = True
        self.recovered = False
        self.masks: list[tuple[int, int, str]] = []
        self.storage: dict[str, int] = {}
        self.n_samples = 0
        self.holes: list[Hole] = []
        self.hole_samples = 0
        self.events: list[dict[str, Any]] = []
        self.silence = {name: Spans() for name in self.channels}
        self.concealed = {name: Spans() for name in self.channels}
        self.stats: dict[str, Any] = {}
        self.identity: dict[str, Any] = {}
        self.tracks: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self._holes_not_stored = 0
        self._events_not_stored = 0
        self._masks_not_stored = 0
        self.journal = journal

    @property
    def duration_s(self) -> float:
        """Length of the call in seconds."""
        return self.n_samples / self.sample_rate

    def hole(self, position: int, n_samples: int, cause: str) -> None:
        """Note a span without received audio."""
        if self.journal is not None:
            self.journal.add({"hole": {"position": position, "n_samples": n_samples, "cause": cause}})
        self.hole_samples += n_samples
        self.n_samples = max(self.n_samples, position + n_samples)
        last = self.holes[-1] if self.holes else None
        if last is not None and last.cause == cause and last.position + last.n_samples == position:
            self.holes[-1] = Hole(last.position, last.n_samples + n_samples, cause)
        elif len(self.holes) < MAX_ENTRIES:
            self.holes.append(Hole(position, n_samples, cause))
        else:
            self._holes_not_stored += 1

    def mask(self, position: int, n_samples: int, fill: str) -> None:
        """Note a span whose audio was replaced on purpose."""
        if self.journal is not None:
            self.journal.add({"mask": {"position": position, "n_samples": n_samples, "fill": fill}})
        if len(self.masks) < MAX_ENTRIES:
            self.masks.append((position, n_samples, fill))
        else:
            self._masks_not_stored += 1

    def event(self, position: int, kind: str, **details: Any) -> None:
        """Note something that happened when the call had come to ``position``."""
        if "time_s" in details:
            raise ConfigError("event detail 'time_s' is computed from the position")
        if self.journal is not None:
            self.journal.add({"event": {"position": position, "kind": kind, **details}})
        if len(self.events) < MAX_ENTRIES:
            time_s = round(position / self.sample_rate, 6)
            self.events.append({"position": position, "time_s": time_s, "kind": kind, **details})
        else:
            self._events_not_stored += 1

    def frame(self, channel: int, position: int, n_samples: int, silent: bool, concealed: bool) -> None:
        """Note a frame of a channel (by index); frames of a channel come in order."""
        self.n_samples = max(self.n_samples, position + n_samples)
        if silent:
            self._run("silence", self.channels[channel], position, n_samples)
        if concealed:
            self._run("concealed", self.channels[channel], position, n_samples)

    def set_stats(self, stats: Stats) -> None:
        """Take the counters of the stream; the identities are computed here."""
        self.stats = stats.as_dict()
        self.identity = {
            "balanced": stats.balanced,
            "received": stats.packets_received,
            "played": stats.packets_played,
            "late": stats.packets_late,
            "duplicate": stats.packets_duplicate,
            "discarded": stats.packets_discarded,
            "refused": stats.packets_refused,
            "buffered": stats.packets_buffered,
            "expected": stats.packets_expected,
            "unique": stats.unique_received,
            "lost": stats.packets_lost,
            "text": stats.identity(),
        }

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the manifest, as a whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        replace_file(path, msgspec.json.format(to_json(self._manifest()), indent=1) + b"\n")

    def digest(self) -> str:
        """SHA-256 of all that the manifest says, but for the hash of the audit trail, which says this one."""
        return manifest_digest(msgspec.json.decode(to_json(self._manifest())))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Timeline:
        """Read a manifest.

        Raises
        ------
        FormatError
            If it is none; the message says where.
        """
        with open(path, "rb") as file:
            octets = file.read()
        try:
            manifest = msgspec.json.decode(octets, type=_Manifest)
            timeline = cls(manifest.sample_rate, manifest.channels)
        except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
            raise FormatError(f"{path}: no timeline of a call: {error}") from error
        if manifest.schema != SCHEMA:
            raise FormatError(f"{path}: schema {manifest.schema}, not {SCHEMA}")
        timeline.conversation_id = manifest.conversation_id
        timeline.started_at = manifest.started_at
        timeline.n_samples = manifest.n_samples
        timeline.holes = [Hole(hole.position, hole.n_samples, hole.cause) for hole in manifest.holes]
        timeline.hole_samples = manifest.totals.get("holes", 0)
        timeline.events = manifest.events
        for kind, runs, stored in (
            ("silence", timeline.silence, manifest.silence),
            ("concealed", timeline.concealed, manifest.concealed),
        ):
            totals = manifest.totals.get(kind, {})
            for name in timeline.channels:
                for position, n_samples in stored.get(name, ()):
                    runs[name].add(position, n_samples)
                runs[name].total = totals.get(name, runs[name].total)
        timeline.encoding = manifest.encoding
        timeline.complete = manifest.complete
        timeline.recovered = manifest.recovered
        timeline.masks = [(mask.position, mask.n_samples, mask.fill) for mask in manifest.masks]
        timeline.storage = manifest.storage
        timeline._masks_not_stored = manifest.not_stored.get("masks", 0)
        timeline._holes_not_stored = manifest.not_stored.get("holes", 0)
        timeline._events_not_stored = manifest.not_stored.get("events", 0)
        timeline.stats = manifest.stats
        timeline.identity = manifest.identity
        timeline.tracks = manifest.tracks
        timeline.files = manifest.files
        return timeline

    def about(self) -> dict[str, Any]:
        """What is known of the call from the beginning."""
        return {
            "schema": SCHEMA,
            "conversation_id": self.conversation_id,
            "sample_rate": self.sample_rate,
            "channels": list(self.channels),
            "started_at": self.started_at,
            "encoding": self.encoding,
        }

    def _run(self, kind: str, name: str, position: int, n_samples: int) -> None:
        spans: Spans = getattr(self, kind)[name]
        # A run goes to the journal when the next one begins, so that it costs one line.
        before = spans.last() if self.journal is not None and len(spans) else None
        if spans.add(position, n_samples) and before is not None and self.journal is not None:
            self.journal.add({kind: {"channel": name, "position": before[0], "n_samples": before[1]}})

    def _manifest(self) -> _Manifest:
        rate = self.sample_rate
        return _Manifest(
            **self.about(),
            n_samples=self.n_samples,
            duration_s=round(self.duration_s, 6),
            holes=[
                _Hole(
                    hole.position,
                    hole.n_samples,
                    round(hole.position / rate, 6),
                    round(hole.n_samples / rate, 6),
                    hole.cause,
                )
                for hole in self.holes
            ],
            masks=[
                _Mask(position, n_samples, round(position / rate, 6), round(n_samples / rate, 6), fill)
                for position, n_samples, fill in self.masks
            ],
            complete=self.complete,
            recovered=self.recovered,
            storage=self.storage,
            events=self.events,
            silence={name: list(spans) for name, spans in self.silence.items()},
            concealed={name: list(spans) for name, spans in self.concealed.items()},
            totals={
                "holes": self.hole_samples,
                "masks": sum(n_samples for _, n_samples, _ in self.masks),
                "silence": {name: spans.total for name, spans in self.silence.items()},
                "concealed": {name: spans.total for name, spans in self.concealed.items()},
            },
            not_stored={
                "holes": self._holes_not_stored,
                "events": self._events_not_stored,
                "masks": self._masks_not_stored,
                "silence": sum(spans.not_stored for spans in self.silence.values()),
                "concealed": sum(spans.not_stored for spans in self.concealed.values()),
            },
            stats=self.stats,
            identity=self.identity,
            tracks=self.tracks,
            files=self.files,
        )


def manifest_digest(manifest: dict[str, Any]) -> str:
    """`Timeline.digest` of a manifest as it stands in its file."""
    files = {name: about for name, about in manifest["files"].items() if name != "audit.jsonl"}
    text = json.dumps(manifest | {"files": files}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the manifest."""
    schema: dict[str, Any] = json.loads((Path(__file__).parent / "manifest.schema.json").read_bytes())
    return schema
