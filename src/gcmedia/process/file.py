"""One recording through decode, silence, gate, compressor and resampler, in bounded memory.

It takes the way of a live call, through a `Receiver`, so its results are those of the live path bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .. import __version__
from .._core.frame import Frame
from .._core.pcm import interleave, peak
from .._core.receiver import Receiver
from ..config import JitterConfig
from ..errors import FormatError
from ..record import WavInfo, WavJournal, wav_info
from ..record.lines import replace_file, sha256_of
from ..record.timeline import Spans
from .resample import Resample, open_resampler
from .settings import ProcessConfig

if TYPE_CHECKING:
    from _hashlib import HASH

__all__ = ["SUFFIX", "Processed", "process_file", "target_of"]

SUFFIX = ".processed"
SCHEMA = 1
PACKET_MS = 200  # of audio that are read at a time
PROGRESS_S = 20  # of audio between two calls of on_progress
ENCODINGS = {"L16": "L16LE", "U8": "L16LE", "PCMU": "PCMU", "PCMA": "PCMA"}


@dataclass(frozen=True, slots=True)
class Processed:
    """What came of a recording.

    Attributes
    ----------
    source : Path
        The recording.
    outputs : tuple of Path
        The WAV files made of it, one, or one a channel.
    report : Path
        The JSON file with silence and levels.
    duration_s : float
        Of audio.
    skipped : bool
        Whether it was done already, of the same octets with the same settings.
    """

    source: Path
    outputs: tuple[Path, ...]
    report: Path
    duration_s: float
    skipped: bool


def target_of(source: Path, out: Path | None) -> Path:
    """Where the report of a recording goes: beside it, or into a folder."""
    return (source.parent if out is None else out) / f"{source.stem}{SUFFIX}.json"


def process_file(
    source: str | os.PathLike[str],
    report: str | os.PathLike[str] | None = None,
    config: ProcessConfig | None = None,
    *,
    force: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> Processed:
    """Process one WAV file: 16-bit or 8-bit PCM, PCMU or PCMA, of any number of channels, each by itself.

    Parameters
    ----------
    source : path
        The recording; never touched.
    report : path, optional
        The JSON file to write, ``NAME.processed.json`` beside the recording by default; the audio goes beside it, as
        ``NAME.processed.wav``, or ``NAME.0.processed.wav`` and so on when channels are split.
    config : ProcessConfig, optional
        The stages.
    force : bool
        Do it again even where it was done.
    on_progress : callable, optional
        Called with the seconds of audio done since the last call.

    Raises
    ------
    FormatError
        If it is no WAV file that we read.
    ConfigError
        If the resampler is not installed.
    OSError
        If it cannot be read, or the results cannot be written; then none are left.
    """
    source, config = Path(source), config or ProcessConfig()
    target = target_of(source, None) if report is None else Path(report)
    info = wav_info(source)
    if not 8000 <= info.sample_rate <= 48_000 or info.sample_rate % 1000:
        raise FormatError(f"{source}: {info.sample_rate} Hz, not a multiple of 1000 in [8000, 48000]")
    duration_s = info.n_samples / info.sample_rate
    done = None if force else _done(source, target, config)
    if done is not None:
        if on_progress is not None:
            on_progress(duration_s)
        return Processed(source, done, target, duration_s, True)
    stem = target.name.removesuffix(".json")
    names = [f"{stem}.wav"]
    if config.split and info.n_channels > 1:
        base = stem.removesuffix(SUFFIX)
        names = [f"{base}.{channel}{SUFFIX}.wav" for channel in range(info.n_channels)]
    work = _Work(source, info, config, [target.with_name(name) for name in names])
    try:
        told = work.run(on_progress)
        replace_file(target, json.dumps(told, indent=1).encode() + b"\n")
    except BaseException:
        work.abandon()
        raise
    return Processed(source, tuple(work.paths), target, duration_s, False)


def _done(source: Path, target: Path, config: ProcessConfig) -> tuple[Path, ...] | None:
    """The outputs, if they are there already."""
    try:
        told = json.loads(target.read_bytes())
        if told["schema"] != SCHEMA or told["settings_sha256"] != config.digest:
            return None
        outputs = tuple(target.with_name(one["name"]) for one in told["outputs"])
        for path, one in zip(outputs, told["outputs"], strict=True):
            if os.path.getsize(path) != one["n_octets"]:
                return None
        if (told["source"]["sha256"], told["source"]["n_octets"]) != sha256_of(source):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outputs


class _Work:
    """The processing of one file."""

    def __init__(self, source: Path, info: WavInfo, config: ProcessConfig, paths: list[Path]) -> None:
        self.source, self.info, self.config, self.paths = source, info, config, paths
        self.hash = hashlib.sha256()
        rate = config.sample_rate or info.sample_rate
        per_file = info.n_channels // len(paths)
        self.resamplers: list[Resample | None] = [
            None if rate == info.sample_rate else open_resampler(info.sample_rate, rate, per_file) for _ in paths
        ]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path in paths:  # of an earlier run, or one that was killed
            path.unlink(missing_ok=True)
            Path(f"{path}.part").unlink(missing_ok=True)
        self.files: list[WavJournal] = []
        for path in paths:
            self.files.append(WavJournal(path, rate, per_file))
        self.channels = [_Channel(info.sample_rate) for _ in range(info.n_channels)]

    def run(self, on_progress: Callable[[float], object] | None) -> dict[str, Any]:
        """Do it; what the report says."""
        info, config = self.info, self.config
        receiver = Receiver(
            ENCODINGS[info.encoding],
            info.sample_rate,
            gate=config.gate,
            compressor=config.compressor,
            silence=config.silence,
            jitter=JitterConfig(policy="window"),  # nothing is late here: each packet goes on at once
            n_channels=info.n_channels,
            packet_ms=PACKET_MS,
            max_packet_ms=PACKET_MS,
        )
        every = PROGRESS_S * 1000 // PACKET_MS
        with open(self.source, "rb") as file:
            number = 0
            for number, octets in enumerate(_packets(file, info, self.hash), 1):
                now = number * PACKET_MS / 1000
                receiver.push_media(number, number * PACKET_MS, octets, now)
                self.take(list(receiver.frames(now)), last=False)
                if on_progress is not None and number % every == 0:
                    on_progress(float(PROGRESS_S))
        receiver.flush()
        self.take(list(receiver.frames(0.0)), last=True)
        if on_progress is not None:
            on_progress(max(0.0, info.n_samples / info.sample_rate - number // every * PROGRESS_S))
        for journal in self.files:
            if not journal.close():
                raise OSError(f"{journal.path}: {journal.error}")
        return {
            "schema": SCHEMA,
            "software": f"gcmedia {__version__}",
            "source": {
                "name": self.source.name,
                "sha256": self.hash.hexdigest(),
                "n_octets": self.source.stat().st_size,
            },
            "settings": config.as_dict(),
            "settings_sha256": config.digest,
            "sample_rate": info.sample_rate,
            "n_samples": info.n_samples,
            "duration_s": round(info.n_samples / info.sample_rate, 6),
            "outputs": [
                {
                    "name": path.name,
                    "n_octets": path.stat().st_size,
                    "sample_rate": journal.sample_rate,
                    "n_channels": journal.n_channels,
                    "n_samples": journal.n_samples,
                    "encoding": journal.encoding,
                }
                for path, journal in zip(self.paths, self.files, strict=True)
            ],
            "channels": [channel.as_dict() for channel in self.channels],
        }

    def take(self, frames: list[Frame], last: bool) -> None:
        """Note what frames hold, and write them."""
        n_channels = self.info.n_channels
        for frame in frames:
            self.channels[frame.channel].take(frame)
        apart = [b"".join([frame.pcm for frame in frames[i::n_channels]]) for i in range(n_channels)]
        if len(self.files) == 1 and n_channels > 1:
            apart = [interleave(*(memoryview(one).cast("h") for one in apart))]
        for pcm, journal, resample in zip(apart, self.files, self.resamplers, strict=True):
            out = pcm if resample is None else resample(pcm, last)
            if not journal.append(out, 0.0):
                raise OSError(f"{journal.path}: {journal.error}")

    def abandon(self) -> None:
        """Leave nothing half done."""
        for journal in self.files:
            journal.close()
            Path(journal.path).unlink(missing_ok=True)
            Path(journal.part_path).unlink(missing_ok=True)


class _Channel:
    """Silence and levels of one channel."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.silence = Spans()
        self.levels: list[float | None] = []  # of each second
        self.squares = self.second = self.peak = 0.0
        self.n_samples = self.n_second = 0

    def take(self, frame: Frame) -> None:
        n_samples = frame.n_samples
        if frame.silent:
            self.silence.add(frame.position, n_samples)
        self.n_samples += n_samples
        self.peak = max(self.peak, peak(frame.raw))
        self.second += 10.0 ** (frame.level_dbov / 10.0) * n_samples
        self.n_second += n_samples
        if self.n_second >= self.sample_rate:
            self._end_second()

    def as_dict(self) -> dict[str, Any]:
        if self.n_second:
            self._end_second()
        return {
            "level_dbov": _dbov(self.squares, self.n_samples),
            "peak_dbov": _dbov(self.peak**2, 1),
            "silent_samples": self.silence.total,
            "silence": list(self.silence),
            "silence_not_stored": self.silence.not_stored,
            "levels_dbov": self.levels,
        }

    def _end_second(self) -> None:
        self.levels.append(_dbov(self.second, self.n_second))
        self.squares += self.second
        self.second, self.n_second = 0.0, 0


def _dbov(squares: float, n_samples: int) -> float | None:
    """Level in dBov; None of digital silence."""
    return round(10.0 * math.log10(squares / n_samples), 2) if n_samples and squares > 0.0 else None


def _packets(file: BinaryIO, info: WavInfo, digest: HASH) -> Iterator[bytes]:
    """The audio in packets; the whole file goes through the hash."""
    digest.update(file.read(info.data_offset))
    width = 2 if info.encoding == "L16" else 1
    size = info.sample_rate * PACKET_MS // 1000 * info.n_channels * width
    left = info.n_octets
    while left:
        octets = file.read(min(size, left))
        if not octets:
            raise FormatError(f"{file.name}: {left} octets of audio are missing at its end")
        left -= len(octets)
        digest.update(octets)
        yield _widened(octets) if info.encoding == "U8" else octets
    while rest := file.read(1 << 20):
        digest.update(rest)


def _widened(octets: bytes) -> bytes:
    """8-bit PCM, which has no sign, as 16-bit."""
    wide = bytearray(2 * len(octets))
    wide[1::2] = octets.translate(_SIGNED)
    return bytes(wide)


_SIGNED = bytes((octet + 128) % 256 for octet in range(256))
