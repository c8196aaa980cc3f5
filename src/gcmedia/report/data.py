"""What the report reads from a call folder, and reduces to what can be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core.g711 import alaw_decode, ulaw_decode
from ..errors import ConfigError, FormatError, MediaError
from ..record import Timeline, read_journal, verify_audit, wav_info
from ..record.journal import JOURNAL_NAME
from ..record.lines import read_lines
from ..record.transcript import TranscriptLog
from ..types import Transcript

__all__ = ["AuditSummary", "Call", "envelope", "levels", "load_call", "spectrogram", "thin"]

T = TypeVar("T")

#: Events that begin and end a span of the timeline.
OPENS = {"masked": "masked", "mask": "masked", "muted": "muted", "mute": "muted"}
CLOSES = {"unmasked": "masked", "unmask": "masked", "unmuted": "muted", "unmute": "muted"}
FLAC_BLOCK = 1 << 20  # samples decoded at a time
SILENCE_DBOV = -90.0  # drawn for anything quieter
Samples = NDArray[np.int16]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AuditSummary:
    """What the audit trail comes to."""

    n_lines: int
    actions: dict[str, int]
    n_not_compliant: int
    violations: dict[str, int]
    problem: str  # why the chain does not hold, "" when it does


@dataclass(frozen=True)
class Call:
    """A call folder, read.

    Attributes
    ----------
    path : Path
        The folder.
    timeline : Timeline
        Its manifest, or what its journal tells of a call that was cut off.
    finished : bool
        Whether there is a manifest.
    transcripts : tuple of Transcript
        By position.
    raw, clean : list
        Samples of each channel, mapped from the file; None for a track that is not there.
    series : dict of arrays
        ``position``, ``depth``, ``target``, ``jitter_ms``, ``loss_rate``; empty without a series.
    audit : AuditSummary or None
        None without a trail.
    n_samples : int
        Length of the call.
    spans : dict of lists
        Position and length of what was ``"masked"`` or ``"muted"``.
    problems : tuple of str
        Files that could not be read, and why; the rest is there.
    """

    path: Path
    timeline: Timeline
    finished: bool
    transcripts: tuple[Transcript, ...]
    raw: list[Samples | None]
    clean: list[Samples | None]
    series: dict[str, Floats]
    audit: AuditSummary | None
    n_samples: int
    spans: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the call in seconds."""
        return self.n_samples / self.timeline.sample_rate


def load_call(path: Path) -> Call:
    """Read a call folder."""
    problems: list[str] = []
    finished = (path / "timeline.json").exists()
    if finished:
        timeline = Timeline.load(path / "timeline.json")
        transcripts = TranscriptLog(timeline.sample_rate)
        transcripts = _or_told(problems, transcripts, _transcripts, path, timeline)
    elif (path / JOURNAL_NAME).exists():
        timeline, transcripts = read_journal(path / JOURNAL_NAME)
    else:
        timeline = _from_audio_alone(path)
        transcripts = TranscriptLog(timeline.sample_rate)
        transcripts = _or_told(problems, transcripts, _transcripts, path, timeline)
    if not timeline.identity:  # cut off, or still running
        _or_told(problems, None, _last_counters, path / "metrics.jsonl", timeline)
    tracks = _as_they_are_called(path, timeline.tracks) or _tracks_of_an_open_call(path, timeline)
    raw = [_samples(path, tracks, "raw", channel) for channel in timeline.channels]
    clean = [_samples(path, tracks, "clean", channel) for channel in timeline.channels]
    n_samples = max([timeline.n_samples] + [len(samples) for samples in raw + clean if samples is not None])
    return Call(
        path=path,
        timeline=timeline,
        finished=finished,
        transcripts=transcripts.entries,
        raw=raw,
        clean=clean,
        series=_or_told(problems, {}, _series, path / "series.jsonl"),
        audit=_audit(path / "audit.jsonl"),
        n_samples=n_samples,
        spans=_spans(timeline.events, n_samples),
        problems=tuple(problems),
    )


def _or_told(problems: list[str], otherwise: T, read: Callable[..., T], *arguments: Any) -> T:
    """What a file beside the audio holds; one that cannot be read is told of, and the rest of the call drawn."""
    try:
        return read(*arguments)
    except (MediaError, OSError) as error:
        problems.append(str(error))
        return otherwise


def _transcripts(path: Path, timeline: Timeline) -> TranscriptLog:
    if not (path / "transcript.json").exists():
        return TranscriptLog(timeline.sample_rate)
    return TranscriptLog.load(path / "transcript.json", timeline.sample_rate)


def _spans(events: list[dict[str, Any]], n_samples: int) -> dict[str, list[tuple[int, int]]]:
    """Where the call was masked or muted: position and length, as its events tell."""
    found: dict[str, list[tuple[int, int]]] = {}
    begun: dict[str, int] = {}
    for event in sorted(events, key=lambda event: _count(event.get("position"))):
        kind = str(event.get("kind", ""))
        at = _count(event.get("position"))
        if kind in OPENS:
            begun.setdefault(OPENS[kind], at)
        elif kind in CLOSES and CLOSES[kind] in begun:
            begin = begun.pop(CLOSES[kind])
            end = _count(event.get("until", at))
            found.setdefault(CLOSES[kind], []).append((begin, max(0, end - begin)))
    for kind, begin in begun.items():
        found.setdefault(kind, []).append((begin, max(0, n_samples - begin)))
    return found


def _count(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 2**62 else 0


def _from_audio_alone(path: Path) -> Timeline:
    """What the audio files of a folder tell when nothing else is left of the call."""
    names = sorted({file.name.removesuffix(".part") for file in path.glob("raw-*.wav*") if file.is_file()})
    names = [name for name in names if name.endswith(".wav")]
    if not names:
        raise FormatError(f"{path} holds no call: neither timeline.json, nor {JOURNAL_NAME}, nor raw-CHANNEL.wav")
    infos = {}
    for name in names:
        file = path / name if (path / name).exists() else path / f"{name}.part"
        infos[name.removeprefix("raw-").removesuffix(".wav")] = wav_info(file)
    rates = {info.sample_rate for info in infos.values()}
    if len(rates) > 1:
        raise FormatError(f"{path}: its tracks are of {', '.join(map(str, sorted(rates)))} Hz, not of one sample rate")
    timeline = Timeline(rates.pop(), list(infos), conversation_id=path.name)
    timeline.n_samples = max(info.n_samples for info in infos.values())
    return timeline


def _as_they_are_called(path: Path, tracks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Tracks by the names of their files, which gain their last form when the call is over."""
    return {
        f"{name}.part" if not (path / name).exists() and (path / f"{name}.part").exists() else name: track
        for name, track in tracks.items()
    }


def _tracks_of_an_open_call(path: Path, timeline: Timeline) -> dict[str, dict[str, Any]]:
    found = {}
    for kind in ("raw", "clean"):
        for channel in timeline.channels:
            for name in (f"{kind}-{channel}.wav", f"{kind}-{channel}.wav.part"):
                if "/" not in name and (path / name).exists():
                    found[name] = {"kind": kind, "channel": channel}
                    break
    return found


def _samples(path: Path, tracks: dict[str, dict[str, Any]], kind: str, channel: str) -> Samples | None:
    """The samples of a channel; of a track in several files those of all of them, None where one is not there."""
    found = []
    for name, track in sorted(tracks.items(), key=lambda item: item[1].get("position", 0)):
        channels = track.get("channels") or [track.get("channel")]
        if track.get("kind") == kind and channel in channels and "/" not in name:
            if not (path / name).exists():
                return None
            of_file = _of_flac if name.endswith(".flac") else _of_file
            found.append(of_file(path / name, channels.index(channel)))
    return found[0] if len(found) == 1 else np.concatenate(found) if found else None


def _of_file(path: Path, index: int) -> Samples:
    info = wav_info(path)
    if info.encoding == "U8":
        raise FormatError(f"{path}: 8-bit PCM, which no recording of ours holds")
    if info.n_samples == 0:
        return np.empty(0, np.int16)
    shape = (info.n_samples, info.n_channels)
    if info.encoding == "L16":
        return np.memmap(path, "<i2", "r", info.data_offset, shape)[:, index]
    octets = np.ascontiguousarray(np.memmap(path, np.uint8, "r", info.data_offset, shape)[:, index])
    return np.frombuffer((ulaw_decode if info.encoding == "PCMU" else alaw_decode)(octets), np.int16)


def _of_flac(path: Path, index: int) -> Samples:
    try:
        import soundfile
    except (ModuleNotFoundError, OSError):  # the module, or the library that it loads
        raise ConfigError(f"{path.name}: FLAC needs soundfile: pip install 'gcmedia[files]'") from None
    try:
        with soundfile.SoundFile(path) as file:
            samples = np.empty(file.frames, np.int16)
            at = 0
            for block in file.blocks(FLAC_BLOCK, dtype="int16", always_2d=True):
                samples[at : at + len(block)] = block[:, index]
                at += len(block)
    except (soundfile.LibsndfileError, IndexError) as error:
        raise FormatError(f"{path}: {error}") from error
    return samples[:at]


def _last_counters(path: Path, timeline: Timeline) -> None:
    """Give the timeline the counters of the last record of the call's quality, where there is one."""
    lines = read_lines(path) if path.exists() else []
    last = next((line for line in reversed(lines) if "packetsPlayed" in line), None)
    if last is None:
        return
    names = ("received", "played", "late", "duplicate", "discarded", "refused", "buffered", "lost")
    n = {name: _count(last.get(f"packets{name.title()}")) for name in names}
    unique = n["received"] - n["duplicate"] - n["refused"]
    timeline.stats = {f"packets_{name}": value for name, value in n.items()}
    timeline.stats |= {"packets_expected": unique + n["lost"], "jitter": _number(last.get("jitterMs", 0)) / 1000}
    parts = " + ".join(f"{name} {n[name]}" for name in names[1:-1])
    when = clock_text(_count(last.get("positionMs")) / 1000)
    timeline.identity = {
        "balanced": n["received"] == sum(n[name] for name in names[1:-1]),
        "text": f"at {when}, when last told: received {n['received']} = {parts}; "
        f"expected {unique + n['lost']} = unique {unique} + lost {n['lost']}",
    }


def _series(path: Path) -> dict[str, Floats]:
    lines = read_lines(path) if path.exists() else []
    if not lines:
        return {}
    names = ("position", "depth", "target", "jitter_ms", "loss_rate")
    series = {name: np.array([_number(line.get(name)) for line in lines]) for name in names}
    placed = np.isfinite(series["position"])
    return {name: values[placed] for name, values in series.items()} if placed.any() else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _audit(path: Path) -> AuditSummary | None:
    if not path.exists():
        return None
    problem = ""
    try:
        verify_audit(path)
    except MediaError as error:
        problem = str(error).removeprefix(f"{path}: ")
    try:
        lines = read_lines(path)
    except FormatError:
        lines = []
    actions = Counter(str(line.get("action")) for line in lines)
    not_compliant = [line for line in lines if line.get("privacyCompliant") is not True]
    violations: Counter[str] = Counter()
    for line in not_compliant:
        violations.update(map(str, line.get("violations") or ["not stated"]))
    return AuditSummary(len(lines), dict(actions), len(not_compliant), dict(violations), problem)


def envelope(samples: Samples, n_columns: int) -> tuple[Floats, Floats, Floats]:
    """Lowest and highest value of each column, -1 to 1, and the column's middle as a share of the whole."""
    n_columns = min(n_columns, len(samples))
    if n_columns == 0:
        return np.empty(0), np.empty(0), np.empty(0)
    edges = np.linspace(0, len(samples), n_columns + 1).astype(np.int64)
    low = np.minimum.reduceat(samples, edges[:-1]) / 32768.0
    high = np.maximum.reduceat(samples, edges[:-1]) / 32768.0
    return low, high, (edges[:-1] + edges[1:]) / 2 / len(samples)


def levels(samples: Samples, n_bins: int, shortest: int) -> tuple[Floats, Floats]:
    """RMS level in dBov of equal bins, none shorter than ``shortest`` samples, and their middles in samples."""
    n_bins = max(1, min(n_bins, len(samples) // shortest)) if len(samples) else 0
    edges = np.linspace(0, len(samples), n_bins + 1).astype(np.int64)
    found = np.full(n_bins, SILENCE_DBOV)
    for index in range(n_bins):
        part = samples[edges[index] : edges[index + 1]].astype(np.float64)
        mean_square = float(part @ part) / len(part)
        if mean_square > 0:
            found[index] = max(SILENCE_DBOV, 10 * np.log10(mean_square / 2**30))
    return found, (edges[:-1] + edges[1:]) / 2


def thin(values: Floats, n_points: int) -> tuple[Floats, NDArray[np.int64]]:
    """The highest of each of ``n_points`` bins, and where it is; everything when there are no more."""
    if len(values) <= n_points:
        return values, np.arange(len(values))
    edges = np.linspace(0, len(values), n_points + 1).astype(np.int64)
    filled = np.nan_to_num(values, nan=-np.inf)
    at = np.array([start + int(np.argmax(filled[start:end])) for start, end in pairwise(edges)])
    return values[at], at


def spectrogram(samples: Samples, sample_rate: int, n_columns: int) -> Floats:
    """Power in dB below a full-scale sine, shape (bins, columns): 32 ms Hann windows, at most 4 per window length."""
    size = 1 << max(5, round(0.032 * sample_rate).bit_length() - 1)
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    hop = max(size // 4, (len(samples) - size) // max(1, n_columns))
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    window = np.hanning(size)
    spectrum = np.fft.rfft(windows * window, axis=1)
    power = np.abs(spectrum) ** 2 / (32768.0 * window.sum() / 2) ** 2
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)).T)


def started_text(call: Call) -> str:
    """When the call began, for people."""
    return (
        call.timeline.started_at.replace("T", " ").removesuffix("Z")[:19] + " UTC" if call.timeline.started_at else ""
    )


def clock_text(seconds: float, decimals: int = 1) -> str:
    """Seconds as ``m:ss.s`` or ``h:mm:ss.s``."""
    scale = 10**decimals
    ticks = round(seconds * scale)
    whole, part = divmod(ticks, scale)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    tail = f".{part:0{decimals}}" if decimals else ""
    return f"{hours}:{minute:02}:{second:02}{tail}" if hours else f"{minute}:{second:02}{tail}"
