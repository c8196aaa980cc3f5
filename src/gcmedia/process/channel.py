"""One channel of a recording on its way through the stages, and what is told of it."""

from __future__ import annotations

import math
from typing import Any

from .._core.block import Block
from .._core.pcm import peak, rms
from .._core.stream import StreamReceiver
from ..record.timeline import Spans
from .settings import ProcessConfig

__all__ = ["ChannelWork"]


class ChannelWork:
    """Pass the audio of one channel through the stages of a live call, in pieces of any length.

    Parameters
    ----------
    encoding : str
        As of `StreamReceiver`.
    sample_rate : int
        Hz.
    config : ProcessConfig
        The stages.

    Raises
    ------
    ConfigError
        If the resampler is not installed, or does not know one of the rates.
    """

    def __init__(self, encoding: str, sample_rate: int, config: ProcessConfig) -> None:
        self._receiver = StreamReceiver(
            encoding, sample_rate, gate=config.gate, compressor=config.compressor, silence=config.silence
        )
        self._resampler: Any = None
        if config.sample_rate not in (None, sample_rate):
            from ..resample import Resampler

            self._resampler = Resampler(sample_rate, config.sample_rate)
        self._sample_rate = sample_rate
        self._silence = Spans()
        self._levels: list[float | None] = []  # of each second
        self._squares = self._second = self._peak = 0.0
        self._n_samples = self._n_second = 0

    def push(self, octets: bytes) -> bytes:
        """Take the next audio; give the int16 samples that are through."""
        self._receiver.push(octets)
        pcm = self._taken(self._receiver.block())
        return pcm if self._resampler is None else bytes(self._resampler.process(pcm))

    def end(self) -> bytes:
        """The samples that are still to come."""
        self._receiver.flush()
        pcm = self._taken(self._receiver.block())
        return pcm if self._resampler is None else self._resampler.process(pcm) + self._resampler.flush()

    def as_dict(self) -> dict[str, Any]:
        """What the report tells of the channel, once it is at its end."""
        if self._n_second:
            self._end_second()
        return {
            "level_dbov": _dbov(self._squares, self._n_samples),
            "peak_dbov": _dbov(self._peak**2, 1),
            "silent_samples": self._silence.total,
            "silence": list(self._silence),
            "silence_not_stored": self._silence.not_stored,
            "levels_dbov": self._levels,
        }

    def _taken(self, block: Block | None) -> bytes:
        """Note what a block holds."""
        if block is None:
            return b""
        for position, n_samples in block.silent_runs(0):
            self._silence.add(position, n_samples)
        raw, at = block.raw(0), 0
        self._peak = max(self._peak, peak(raw))
        while at < len(raw):
            part = raw[at : at + self._sample_rate - self._n_second]
            at += len(part)
            self._second += rms(part) ** 2 * len(part)
            self._n_second += len(part)
            if self._n_second == self._sample_rate:
                self._end_second()
        return block.pcm_bytes(0)

    def _end_second(self) -> None:
        self._levels.append(_dbov(self._second, self._n_second))
        self._squares += self._second
        self._n_samples += self._n_second
        self._second, self._n_second = 0.0, 0


def _dbov(squares: float, n_samples: int) -> float | None:
    """Level in dBov; None of digital silence."""
    return round(10.0 * math.log10(squares / n_samples), 2) if n_samples and squares > 0.0 else None
