"""What is said in a session: samples of two parties, cut and encoded as a frame needs them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Self

import numpy as np

from ..._core.g711 import ulaw_encode
from ...dialects.audiohook import Media
from ...errors import ConfigError, FormatError
from ..audio import Samples, read_wav, resample
from ..calls import Call

__all__ = ["Speech"]

CHANNELS = ("external", "internal")


class Speech:
    """The audio of a call, from its first sample on; behind its end it begins again.

    Parameters
    ----------
    samples : array of int16, shape (n_samples, n_channels)
        One column, or two: what the customer says, and what he hears.  Of one column the other party is silent.
    sample_rate : int
        Hz.

    Attributes
    ----------
    n_samples : int
        Its length.
    sample_rate : int
        Hz.
    n_channels : int
        Columns: 1 or 2.

    Raises
    ------
    FormatError
        If there are no samples, or more than two channels.
    """

    def __init__(self, samples: Samples, sample_rate: int = 8000) -> None:
        if samples.ndim != 2 or not 1 <= samples.shape[1] <= 2 or not samples.shape[0]:
            raise FormatError(f"speech has shape {samples.shape}, not (n_samples, 1 or 2)")
        self._samples = np.ascontiguousarray(samples, dtype=np.int16)
        self.sample_rate = sample_rate
        self.n_samples, self.n_channels = samples.shape
        self._encoded: dict[tuple[str, tuple[str, ...], str], bytes] = {}

    @classmethod
    def from_wavs(cls, paths: Sequence[str | PathLike[str]], sample_rate: int = 8000) -> Self:
        """Read WAV files: one of one or two channels, or two, the customer's and then the agent's.

        The shorter party is silent at its end; other sample rates are converted.

        Raises
        ------
        ConfigError
            If there are more than two files, or none.
        FormatError
            If one cannot be read as audio.
        OSError
            If one cannot be read at all.
        """
        if not 1 <= len(paths) <= 2:
            raise ConfigError(f"{len(paths)} WAV files are given, not one or two")
        parties: list[Samples] = []
        for path in paths:
            samples, rate = read_wav(path)
            if len(paths) == 2 and samples.shape[1] != 1:
                raise FormatError(f"{path}: {samples.shape[1]} channels; of two files each has one")
            parties.append(resample(samples, rate, sample_rate))
        if len(parties) == 1:
            return cls(parties[0], sample_rate)
        both = np.zeros((max(map(len, parties)), 2), np.int16)
        for column, party in enumerate(parties):
            both[: len(party), column] = party[:, 0]
        return cls(both, sample_rate)

    @classmethod
    def shipped(cls) -> Self:
        """The call that comes with the simulator, both parties."""
        call = Call.demo()
        return cls(call.pcm(), call.sample_rate)

    def encoded(self, media: Media, l16_byteorder: str = "little") -> bytes:
        """All of it as octets of ``media``, interleaved in its order of channels.

        Raises
        ------
        ConfigError
            If the media are at another rate.
        """
        if media.rate != self.sample_rate:
            raise ConfigError(f"speech is at {self.sample_rate} Hz, the media at {media.rate} Hz")
        key = (media.format, media.channels, l16_byteorder)
        found = self._encoded.get(key)
        if found is None:
            laid = np.zeros((self.n_samples, len(media.channels)), np.int16)
            for place, name in enumerate(media.channels):
                column = CHANNELS.index(name)
                if column < self.n_channels:
                    laid[:, place] = self._samples[:, column]
                elif self.n_channels == 1 and len(media.channels) == 1:
                    laid[:, place] = self._samples[:, 0]  # only this party is wanted, so it is the one that speaks
            if media.format == "PCMU":
                found = ulaw_encode(laid.reshape(-1))
            else:
                found = laid.astype("<i2" if l16_byteorder == "little" else ">i2").tobytes()
            self._encoded[key] = found
        return found

    def payload(self, position: int, n_samples: int, media: Media, l16_byteorder: str = "little") -> bytes:
        """The octets of ``n_samples`` from ``position`` on."""
        octets, block = self.encoded(media, l16_byteorder), media.block_octets
        start = position % self.n_samples
        piece = octets[start * block : (start + n_samples) * block]
        while len(piece) < n_samples * block:  # over the end
            piece += octets[: n_samples * block - len(piece)]
        return piece
