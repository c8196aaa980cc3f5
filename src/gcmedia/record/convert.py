"""Recordings as FLAC or Opus, after the call.

A live writer of either would lose its file with the process; so these are made of WAV files that are whole, and put in
place whole.  FLAC is read back and compared before it takes the place of anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.g711 import alaw_decode, ulaw_decode
from ..errors import ConfigError, FormatError
from .audit import AuditLog
from .disk import failure, is_held
from .lines import sha256_of
from .repair import MANIFEST_NAME, is_open
from .timeline import Timeline
from .wav_file import WavInfo, wav_info

__all__ = ["CODECS", "Converted", "convert_file", "replace_in_manifest"]

CODECS = ("flac", "opus")
BLOCK_S = 10  # of audio in memory at a time
OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
OPUS_BIT_RATE = 24_000  # per channel, generous for speech

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of a recording.

    Attributes
    ----------
    source, target : str
        The WAV file, and what was made of it.
    source_octets, target_octets : int
        Their sizes.
    duration_s : float
        Of audio.
    """

    source: str
    target: str
    source_octets: int
    target_octets: int
    duration_s: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def convert_file(
    source: str | os.PathLike[str],
    codec: str = "flac",
    *,
    overwrite: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> Converted:
    """Make a ``.flac`` or ``.opus`` (in Ogg) of a WAV file, beside it.

    Parameters
    ----------
    source : path
        16-bit PCM, PCMU or PCMA; for Opus at 8, 12, 16, 24 or 48 kHz, mono or stereo.  Never touched.
    codec : str
        ``"flac"``, which loses nothing, needs the extra ``files``; ``"opus"`` needs ``codecs``.
    overwrite : bool
        Whether a file that is there is replaced.
    on_progress : callable, optional
        Called with the seconds of audio done since the last call.

    Raises
    ------
    ConfigError
        If the codec is not known, its library is not installed, or the file is there.
    FormatError
        If the recording cannot be read, is still being written, or does not suit the codec.
    OSError
        If the disk does not take it; then nothing is left.
    """
    path = Path(source)
    if codec not in CODECS:
        raise ConfigError(f"codec is {codec!r}, not one of {', '.join(CODECS)}")
    target = path.with_suffix(f".{codec}")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} is there already")
    if is_held(path):
        raise FormatError(f"{path} is still being written")
    info = wav_info(path)
    if info.encoding == "U8":
        raise FormatError(f"{path}: 8-bit PCM cannot be converted, only 16-bit PCM, PCMU and PCMA")
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        (_write_flac if codec == "flac" else _write_opus)(path, info, temporary, on_progress)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return Converted(
        str(path), str(target), path.stat().st_size, target.stat().st_size, info.n_samples / info.sample_rate
    )


def replace_in_manifest(folder: str | os.PathLike[str], done: list[Converted]) -> None:
    """Let conversions take the place of the WAV files of a call: manifest and audit trail tell of it, then those go.

    Raises
    ------
    ConfigError
        If the folder is no finished call, or one of the conversions is not FLAC.
    OSError
        If the manifest cannot be written; then the WAV files stay.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST_NAME
    if is_open(folder) or not manifest.exists():
        raise ConfigError(f"{folder} is no finished call; its recordings stay")
    timeline = Timeline.load(manifest)
    for one in done:
        if not one.target.endswith(".flac"):
            raise ConfigError(f"{one.target} has lost something; only FLAC may take the place of a recording")
        name, new = Path(one.source).name, Path(one.target).name
        if name not in timeline.tracks:
            raise ConfigError(f"{name} is no track of {folder}")
        known = timeline.files.pop(name, {})
        timeline.tracks[new] = timeline.tracks.pop(name) | {"converted_from": known.get("sha256", "")}
        digest, n_octets = sha256_of(one.target)
        timeline.files[new] = {"sha256": digest, "n_octets": n_octets}
    log = AuditLog(folder / "audit.jsonl", interaction_id=timeline.conversation_id)
    log.record("convert", outcome="replaced", codec="flac", files=len(done), manifest_sha256=timeline.digest())
    log.close()
    digest, n_octets = sha256_of(folder / "audit.jsonl")
    timeline.files["audit.jsonl"] = {"sha256": digest, "n_octets": n_octets}
    timeline.write(manifest)
    for one in done:
        failure(os.unlink, one.source)


def _blocks(path: Path, info: WavInfo, n_samples: int) -> Iterator[Samples]:
    """Samples of shape (n, n_channels)."""
    width = 2 if info.encoding == "L16" else 1
    left = info.n_octets
    with open(path, "rb") as file:
        file.seek(info.data_offset)
        while left:
            octets = file.read(min(left, n_samples * info.n_channels * width))
            if not octets:
                raise FormatError(f"{path}: {left} octets of audio are missing at its end")
            left -= len(octets)
            if info.encoding != "L16":
                octets = (ulaw_decode if info.encoding == "PCMU" else alaw_decode)(octets)
            yield np.frombuffer(octets, "<i2").reshape(-1, info.n_channels)


def _write_flac(path: Path, info: WavInfo, target: Path, on_progress: Callable[[float], object] | None) -> None:
    try:
        import soundfile
    except (ModuleNotFoundError, OSError):  # the module, or the library that it loads
        raise ConfigError("FLAC needs soundfile: pip install 'gcmedia[files]'") from None
    size = BLOCK_S * info.sample_rate
    try:
        with soundfile.SoundFile(target, "w", info.sample_rate, info.n_channels, "PCM_16", format="FLAC") as file:
            for block in _blocks(path, info, size):
                file.write(block)
                if on_progress is not None:
                    on_progress(len(block) / info.sample_rate)
        with soundfile.SoundFile(target) as file:
            for block in _blocks(path, info, size):
                if not np.array_equal(file.read(len(block), "int16", always_2d=True), block):
                    raise OSError(f"{target}: reads back otherwise than it was written")
            if len(file.read(1)):
                raise OSError(f"{target}: is longer than what was written")
    except soundfile.LibsndfileError as error:
        raise OSError(f"{target}: {error}") from error


def _write_opus(path: Path, info: WavInfo, target: Path, on_progress: Callable[[float], object] | None) -> None:
    try:
        import av
    except ModuleNotFoundError:
        raise ConfigError("Opus needs PyAV: pip install 'gcmedia[codecs]'") from None
    if info.sample_rate not in OPUS_RATES:
        raise FormatError(f"{path}: {info.sample_rate} Hz, and Opus takes {', '.join(map(str, OPUS_RATES))}")
    if info.n_channels > 2:
        raise FormatError(f"{path}: {info.n_channels} channels, and Opus takes one or two")
    layout = "mono" if info.n_channels == 1 else "stereo"
    try:
        with av.open(str(target), "w", format="ogg") as container:
            stream = container.add_stream("libopus", rate=info.sample_rate, layout=layout)
            stream.bit_rate = OPUS_BIT_RATE * info.n_channels
            at = 0
            for block in _blocks(path, info, BLOCK_S * info.sample_rate):
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "s16", layout)
                frame.sample_rate, frame.time_base, frame.pts = info.sample_rate, Fraction(1, info.sample_rate), at
                at += len(block)
                container.mux(stream.encode(frame))
                if on_progress is not None:
                    on_progress(len(block) / info.sample_rate)
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise OSError(f"{target}: {error.strerror}") from error
