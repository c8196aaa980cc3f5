"""One recording through decode, silence, gate, compressor and resampler, in bounded memory.

Its channels take the way of a live call, so the results are those of the live path bit for bit.  The work is done
without the GIL, so threads share it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .. import __version__
from .._core.pcm import extract_channel, interleave
from ..errors import FormatError
from ..record import WavInfo, WavJournal, wav_info
from ..record.lines import replace_file, sha256_of, to_json
from ..record.repair import MANIFEST_NAME
from .channel import ChannelWork
from .settings import ProcessConfig

__all__ = ["SUFFIX", "Processed", "duration_of", "is_later_part", "process_file", "target_of"]

SUFFIX = ".processed"
SCHEMA = 1
PIECE_OCTETS = 1 << 20  # of audio that are taken at a time,
PIECE_S = (1, 30)  # which are not fewer and not more seconds
ENCODINGS = {"L16": "L16LE", "U8": "L16LE", "PCMU": "PCMU", "PCMA": "PCMA"}

T = TypeVar("T")


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


def parts_of(source: Path) -> list[Path]:
    """The files of a recording: itself, and those in which the track of a finished call goes on."""
    parts = [source]
    if not is_later_part(source) and (source.parent / MANIFEST_NAME).exists():
        while (part := source.with_name(f"{source.stem}.{len(parts) + 1}.wav")).exists():
            parts.append(part)
    return parts


def is_later_part(path: Path) -> bool:
    """Whether a file goes by the name of one in which the track of a finished call goes on."""
    first = re.sub(r"\.[0-9]{1,6}\.wav$", ".wav", path.name)
    return first != path.name and (path.parent / MANIFEST_NAME).exists() and path.with_name(first).exists()


def duration_of(source: Path) -> float:
    """Seconds of audio in a recording; 0 of one that cannot be read."""
    try:
        infos = [wav_info(part) for part in parts_of(source)]
    except (FormatError, OSError):
        return 0.0
    return sum(info.n_samples / info.sample_rate for info in infos)


def process_file(
    source: str | os.PathLike[str],
    report: str | os.PathLike[str] | None = None,
    config: ProcessConfig | None = None,
    *,
    force: bool = False,
    threads: int = 1,
    on_progress: Callable[[float], object] | None = None,
) -> Processed:
    """Process one WAV file: 16-bit or 8-bit PCM, PCMU or PCMA, of any number of channels, each by itself.

    The track of a finished call that goes on in further files (``raw-NAME.2.wav``) is processed with them, into one.

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
    threads : int
        How many share the channels; the results are the same.
    on_progress : callable, optional
        Called with the seconds of audio done since the last call.

    Raises
    ------
    FormatError
        If it is no WAV file that we read.
    ConfigError
        If the resampler is not installed, or does not know one of the rates.
    OSError
        If it cannot be read, or the results cannot be written; then none are left.
    """
    source, config = Path(source), config or ProcessConfig()
    target = target_of(source, None) if report is None else Path(report)
    parts = {part: wav_info(part) for part in parts_of(source)}
    info = parts[source]
    if not 8000 <= info.sample_rate <= 48_000 or info.sample_rate % 1000:
        raise FormatError(f"{source}: {info.sample_rate} Hz, not a multiple of 1000 in [8000, 48000]")
    for part, other in parts.items():
        if other[:3] != info[:3]:
            raise FormatError(f"{part}: {_form(other)}, and {source.name}, which it goes on from, is {_form(info)}")
    n_samples = sum(part.n_samples for part in parts.values())
    duration_s = n_samples / info.sample_rate
    done = None if force else _done(list(parts), target, config)
    if done is not None:
        if on_progress is not None:
            on_progress(duration_s)
        return Processed(source, done, target, duration_s, True)
    stem = target.name.removesuffix(".json")
    names = [f"{stem}.wav"]
    if config.split and info.n_channels > 1:
        base = stem.removesuffix(SUFFIX)
        names = [f"{base}.{channel}{SUFFIX}.wav" for channel in range(info.n_channels)]
    work = _Work(parts, config, [target.with_name(name) for name in names])
    try:
        told = work.run(threads, on_progress)
        replace_file(target, msgspec.json.format(to_json(told), indent=1) + b"\n")
    except BaseException:
        work.abandon()
        raise
    return Processed(source, tuple(work.paths), target, duration_s, False)


def _form(info: WavInfo) -> str:
    return f"{info.n_channels} channels of {info.encoding} at {info.sample_rate} Hz"


def _done(parts: list[Path], target: Path, config: ProcessConfig) -> tuple[Path, ...] | None:
    """The outputs, if they are there already."""
    try:
        told = json.loads(target.read_bytes())
        if told["schema"] != SCHEMA or told["settings_sha256"] != config.digest:
            return None
        outputs = tuple(target.with_name(one["name"]) for one in told["outputs"])
        for path, one in zip(outputs, told["outputs"], strict=True):
            if os.path.getsize(path) != one["n_octets"]:
                return None
        sources = [told["source"], *told.get("goes_on_in", ())]
        for part, one in zip(parts, sources, strict=True):
            if (one["sha256"], one["n_octets"]) != sha256_of(part):
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outputs


class _Work:
    """The processing of one recording."""

    def __init__(self, parts: dict[Path, WavInfo], config: ProcessConfig, paths: list[Path]) -> None:
        self.parts, self.config, self.paths = parts, config, paths
        self.info = next(iter(parts.values()))
        self.n_samples = 0
        self.sources: list[dict[str, Any]] = []  # as the report tells of them
        encoding, rate = ENCODINGS[self.info.encoding], self.info.sample_rate
        self.channels = [ChannelWork(encoding, rate, config) for _ in range(self.info.n_channels)]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path in paths:  # of an earlier run, or one that was killed
            path.unlink(missing_ok=True)
            Path(f"{path}.part").unlink(missing_ok=True)
        self.files: list[WavJournal] = []
        for path in paths:
            self.files.append(WavJournal(path, config.sample_rate or rate, self.info.n_channels // len(paths)))

    def run(self, threads: int, on_progress: Callable[[float], object] | None) -> dict[str, Any]:
        """Do it; what the report says."""
        info, config = self.info, self.config
        threads = min(threads, info.n_channels)  # one channel is a chain: others could not help it along
        with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
            self.pass_through(pool, on_progress)
        for journal in self.files:
            if not journal.close():
                raise OSError(f"{journal.path}: {journal.error}")
        source, *others = self.sources
        return {
            "schema": SCHEMA,
            "software": f"gcmedia {__version__}",
            "source": source,
            **({"goes_on_in": others} if others else {}),
            "settings": config.as_dict(),
            "settings_sha256": config.digest,
            "sample_rate": info.sample_rate,
            "n_samples": self.n_samples,
            "duration_s": round(self.n_samples / info.sample_rate, 6),
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

    def pass_through(self, pool: ThreadPoolExecutor | None, on_progress: Callable[[float], object] | None) -> None:
        """Read, process and write; with a pool all three at once, and the channels side by side."""
        submit: Callable[..., Future[Any]] = _at_once if pool is None else pool.submit
        pieces = self.pieces()
        reading = submit(next, pieces, None)
        writing = submit(self.write, [])
        while (octets := reading.result()) is not None:
            reading = submit(next, pieces, None)
            apart = self.apart(octets)
            working = [submit(channel.push, one) for channel, one in zip(self.channels, apart, strict=True)]
            through = [one.result() for one in working]
            writing.result()
            writing = submit(self.write, through)
            n_samples = len(apart[0]) // (2 if ENCODINGS[self.info.encoding] == "L16LE" else 1)
            self.n_samples += n_samples
            if on_progress is not None:
                on_progress(n_samples / self.info.sample_rate)
        writing.result()
        self.write([channel.end() for channel in self.channels])

    def pieces(self) -> Iterator[bytes]:
        """The audio as it stands in the files, all of whose octets go through their hashes."""
        second = self.info.sample_rate * self.info.n_channels * (2 if self.info.encoding == "L16" else 1)
        size = second * min(max(PIECE_OCTETS // second, PIECE_S[0]), PIECE_S[1])
        for path, info in self.parts.items():
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                digest.update(file.read(info.data_offset))
                left = info.n_octets
                while left:
                    octets = file.read(min(size, left))
                    if not octets:
                        raise FormatError(f"{path}: {left} octets of audio are missing at its end")
                    left -= len(octets)
                    digest.update(octets)
                    yield octets
                while rest := file.read(1 << 20):
                    digest.update(rest)
                n_octets = file.tell()
            self.sources.append({"name": path.name, "sha256": digest.hexdigest(), "n_octets": n_octets})

    def apart(self, octets: bytes) -> list[bytes]:
        """Each channel by itself."""
        n_channels = self.info.n_channels
        if self.info.encoding == "U8":
            octets = _widened(octets)
        if n_channels == 1:
            return [octets]
        if ENCODINGS[self.info.encoding] == "L16LE":
            return [extract_channel(octets, n_channels, i) for i in range(n_channels)]
        return [octets[i::n_channels] for i in range(n_channels)]

    def write(self, through: list[bytes]) -> None:
        """Put samples of all channels behind those that are there."""
        if len(self.files) == 1 and len(through) > 1:
            through = [interleave(*(memoryview(one).cast("h") for one in through))]
        for pcm, journal in zip(through, self.files, strict=False):
            if not journal.append(pcm, 0.0):
                raise OSError(f"{journal.path}: {journal.error}")

    def abandon(self) -> None:
        """Leave nothing half done."""
        for journal in self.files:
            journal.close()
            Path(journal.path).unlink(missing_ok=True)
            Path(journal.part_path).unlink(missing_ok=True)


def _at_once(call: Callable[..., T], *arguments: Any) -> Future[T]:
    done: Future[T] = Future()
    done.set_result(call(*arguments))
    return done


def _widened(octets: bytes) -> bytes:
    """8-bit PCM, which has no sign, as 16-bit."""
    wide = bytearray(2 * len(octets))
    wide[1::2] = octets.translate(_SIGNED)
    return bytes(wide)


_SIGNED = bytes((octet + 128) % 256 for octet in range(256))
