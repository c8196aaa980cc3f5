"""What is said on a simulated call: audio per party, and transcripts with their true times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from .._core.g711 import alaw_encode, ulaw_encode
from ..errors import ConfigError, FormatError
from .audio import Samples, read_wav, resample

__all__ = ["CHANNELS", "Call", "Utterance"]

CHANNELS = ("external", "internal")
SAMPLE_RATES = (8000, 16000)
FORMATS = ("raw", "pcmu", "pcma")

_SPEECH = Path(__file__).parent / "speech"
_START_TIMESTAMP_MS = 1_700_000_000_000  # a fixed instant: the same call has the same timestamps every time


@dataclass(frozen=True, slots=True)
class Utterance:
    """A line of the transcript.

    Attributes
    ----------
    channel : str
        The party that speaks.
    text : str
        What is said.
    start_ms, duration_ms : float
        When, from the start of the call, and for how long.
    confidence : float
        What the recogniser claims, 0 to 1.
    """

    channel: str
    text: str = field(repr=False)
    start_ms: float
    duration_ms: float
    confidence: float = 0.93


class Call:
    """The material of one call.  It holds no state, so that any number of conversations may play it.

    Parameters
    ----------
    pcm : mapping of str to array of int16
        Samples per party; shorter ones are padded with silence, and all to a whole packet.
    sample_rate : int
        8000 or 16000 Hz.
    utterances : sequence of Utterance
        What the transcript says.
    packet_ms : int
        Length of a packet, 5 to 200 ms.
    first_sequence_number : int, optional
        Where the count of packets begins; drawn from the seed of the faults when not given.
    start_timestamp_ms : int
        Media time of the first sample, in epoch milliseconds.
    repeat : int
        How often the material is played one after the other, for long calls of little memory.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    FormatError
        If the audio is not one-dimensional int16, or there is none.
    """

    def __init__(
        self,
        pcm: Mapping[str, ArrayLike],
        *,
        sample_rate: int = 8000,
        utterances: Sequence[Utterance] = (),
        packet_ms: int = 20,
        first_sequence_number: int | None = None,
        start_timestamp_ms: int = _START_TIMESTAMP_MS,
        repeat: int = 1,
    ) -> None:
        if sample_rate not in SAMPLE_RATES:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not 8000 or 16000")
        if not 5 <= packet_ms <= 200:
            raise ConfigError(f"packet_ms is {packet_ms} ms, not in [5, 200]")
        if first_sequence_number is not None and not 0 <= first_sequence_number < 1 << 32:
            raise ConfigError(f"first_sequence_number is {first_sequence_number}, not in [0, 2^32)")
        if repeat < 1:
            raise ConfigError(f"repeat is {repeat}, less than 1")
        self.sample_rate = sample_rate
        self.packet_ms = packet_ms
        self.first_sequence_number = first_sequence_number
        self.start_timestamp_ms = start_timestamp_ms
        self.repeat = repeat
        self.channels = tuple(pcm)
        self._pcm = _lay_side_by_side(pcm, sample_rate * packet_ms // 1000)
        self._utterances = tuple(sorted(utterances, key=lambda line: line.start_ms))
        self._encoded: dict[tuple[str, int, int], bytes] = {}

    @classmethod
    def demo(
        cls,
        *,
        noise_db: float | None = None,
        seed: int = 0,
        seconds: float | None = None,
        packet_ms: int = 20,
        first_sequence_number: int | None = None,
        start_timestamp_ms: int = _START_TIMESTAMP_MS,
        repeat: int = 1,
    ) -> Self:
        """The call that ships: about a minute with a broadband provider, at 8 kHz, transcribed.

        Parameters
        ----------
        noise_db : float, optional
            RMS level of white noise on the customer's side, dB below full scale; none when not given.
        seed : int
            Of the noise.
        seconds : float, optional
            Only the beginning, as long as this.
        packet_ms, first_sequence_number, start_timestamp_ms, repeat
            As for the class.
        """
        parties, rate, script = _demo_material()
        limit = len(parties[CHANNELS[0]]) if seconds is None else max(1, round(seconds * rate))
        pcm = {name: samples[:limit] for name, samples in parties.items()}
        if noise_db is not None:
            if not -96.0 <= noise_db <= 0.0:
                raise ConfigError(f"noise_db is {noise_db} dB, not in [-96, 0]")
            clean = pcm["external"]
            noise = np.random.default_rng(seed).standard_normal(len(clean)) * 32768 * 10 ** (noise_db / 20)
            pcm["external"] = np.clip(np.rint(clean + noise), -32768, 32767).astype(np.int16)
        return cls(
            pcm,
            sample_rate=rate,
            utterances=[line for line in script if line.start_ms + line.duration_ms <= limit * 1000 / rate],
            packet_ms=packet_ms,
            first_sequence_number=first_sequence_number,
            start_timestamp_ms=start_timestamp_ms,
            repeat=repeat,
        )

    @classmethod
    def from_wav(
        cls,
        *paths: str | PathLike[str],
        channels: Sequence[str] = CHANNELS,
        utterances: Sequence[Utterance] = (),
        packet_ms: int = 20,
        first_sequence_number: int | None = None,
        start_timestamp_ms: int = _START_TIMESTAMP_MS,
        repeat: int = 1,
    ) -> Self:
        """Play WAV files (PCM of 8 or 16 bit, A-law or mu-law): one of one or two channels, or one per party.

        Sample rates other than 8000 and 16000 Hz are converted, to 16000 when above it and else to 8000.

        Raises
        ------
        FormatError
            If a file is no WAV file that can be read, or there are more parties than names.
        """
        tracks: list[Samples] = []
        rates: list[int] = []
        for path in paths:
            samples, rate = read_wav(path)
            tracks += [samples[:, [column]] for column in range(samples.shape[1])]
            rates += [rate] * samples.shape[1]
        if not 1 <= len(tracks) <= len(channels):
            raise FormatError(f"{len(tracks)} channels in {len(paths)} files, but 1 to {len(channels)} parties")
        sample_rate = 8000 if max(rates) < 16000 else 16000
        pcm = {
            name: resample(track, rate, sample_rate)[:, 0]
            for name, track, rate in zip(channels, tracks, rates, strict=False)
        }
        return cls(
            pcm,
            sample_rate=sample_rate,
            utterances=utterances,
            packet_ms=packet_ms,
            first_sequence_number=first_sequence_number,
            start_timestamp_ms=start_timestamp_ms,
            repeat=repeat,
        )

    @classmethod
    def from_prompts(
        cls,
        *paths: str | PathLike[str],
        channels: Sequence[str] = CHANNELS,
        pause_ms: float = 350.0,
        max_s: float = 90.0,
        packet_ms: int = 20,
    ) -> Self:
        """Let the parties speak short WAV files in turn, each an utterance with the file's name as its text.

        Files that would make the call longer than ``max_s`` are left out, but for the first.

        Raises
        ------
        FormatError
            If a file is no mono WAV file that can be read, or there is none.
        """
        if not paths:
            raise FormatError("no WAV files to speak")
        tracks: dict[str, list[Samples]] = {name: [] for name in channels}
        said: list[Utterance] = []
        rate, at = 8000, 0
        pause = np.zeros(round(pause_ms * rate / 1000), np.int16)
        for turn, path in enumerate(paths):
            samples, file_rate = read_wav(path)
            if samples.shape[1] != 1:
                raise FormatError(f"{path}: {samples.shape[1]} channels; a prompt has one")
            speech = np.concatenate([resample(samples, file_rate, rate)[:, 0], pause])
            if said and at + len(speech) > max_s * rate:
                break
            speaker = channels[turn % len(channels)]
            said.append(Utterance(speaker, Path(path).stem, at * 1000 / rate, len(samples) * 1000 / file_rate))
            for name in channels:
                tracks[name].append(speech if name == speaker else np.zeros(len(speech), np.int16))
            at += len(speech)
        pcm = {name: np.concatenate(parts) for name, parts in tracks.items()}
        return cls(pcm, sample_rate=rate, utterances=said, packet_ms=packet_ms)

    @property
    def n_packets(self) -> int:
        """Packets from the first to the last."""
        return self._packets_once * self.repeat

    @property
    def n_samples(self) -> int:
        """Samples per channel, at ``sample_rate``."""
        return len(self._pcm) * self.repeat

    @property
    def duration_ms(self) -> int:
        """Length of the call."""
        return self.n_packets * self.packet_ms

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """The transcript in the order of its times, over all repetitions."""
        once_ms = self._packets_once * self.packet_ms
        return tuple(
            Utterance(line.channel, line.text, line.start_ms + turn * once_ms, line.duration_ms, line.confidence)
            for turn in range(self.repeat)
            for line in self._utterances
        )

    @property
    def _packets_once(self) -> int:
        return len(self._pcm) * 1000 // (self.sample_rate * self.packet_ms)

    def pcm(self, sample_rate: int | None = None, channels: int = 2) -> Samples:
        """One repetition as int16 samples, shape (n_samples, channels).

        One channel is both parties mixed, saturating; of two, a party that the call lacks is silent.
        """
        samples = self._pcm if sample_rate is None else resample(self._pcm, self.sample_rate, sample_rate)
        if channels == 1:
            mixed: Samples = np.clip(samples.sum(axis=1, dtype=np.int32), -32768, 32767).astype(np.int16)
            return mixed[:, None]
        return samples if samples.shape[1] == 2 else np.pad(samples, ((0, 0), (0, 1)))

    def payload(self, index: int, encoding: str, sample_rate: int, channels: int) -> bytes:
        """Payload of packet ``index``: ``"raw"`` (int16, little-endian), ``"pcmu"`` or ``"pcma"``, interleaved."""
        key = (encoding, sample_rate, channels)
        octets = self._encoded.get(key)
        if octets is None:  # at most 3 formats x 2 rates x 2 channel counts
            octets = self._encoded[key] = _encode(self.pcm(sample_rate, channels), encoding)
        size = sample_rate * self.packet_ms // 1000 * channels * (2 if encoding == "raw" else 1)
        start = index % self._packets_once * size
        return octets[start : start + size]


def _lay_side_by_side(pcm: Mapping[str, ArrayLike], packet: int) -> Samples:
    tracks = [np.asarray(track) for track in pcm.values()]
    if not 1 <= len(tracks) <= 2:
        raise FormatError(f"{len(tracks)} parties, not 1 or 2")
    for name, track in zip(pcm, tracks, strict=True):
        if track.ndim != 1 or track.dtype != np.int16:
            raise FormatError(f"{name}: {track.dtype} of shape {track.shape}, not one-dimensional int16")
    longest = max(len(track) for track in tracks)
    if longest == 0:
        raise FormatError("no samples in any party")
    total = -(-longest // packet) * packet
    return np.stack([np.pad(track, (0, total - len(track))) for track in tracks], axis=1)


def _encode(samples: Samples, encoding: str) -> bytes:
    if encoding == "raw":
        return samples.astype("<i2").tobytes()
    octets = samples.tobytes()  # in order of time, then channel
    return ulaw_encode(octets) if encoding == "pcmu" else alaw_encode(octets)


@cache
def _demo_material() -> tuple[dict[str, Samples], int, tuple[Utterance, ...]]:
    parties: dict[str, Samples] = {}
    rate = 8000
    for name in CHANNELS:
        samples, rate = read_wav(_SPEECH / f"{name}.wav")
        parties[name] = samples[:, 0]
    script = json.loads((_SPEECH / "script.json").read_text(encoding="utf-8"))
    return parties, rate, tuple(Utterance(**line) for line in script)
