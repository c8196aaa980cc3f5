"""The seam to a resampler: blocks of int16 in, blocks at another rate out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError

__all__ = ["Resample", "open_resampler"]

#: Takes samples of all channels, interleaved, and whether they are the last; gives those that are due at the new rate.
Resample = Callable[[bytes, bool], bytes]


def open_resampler(from_rate: int, to_rate: int, n_channels: int) -> Resample:
    """Make a resampler of one stream.

    Raises
    ------
    ConfigError
        If the library is not installed.
    """
    try:
        import soxr
    except ModuleNotFoundError:
        raise ConfigError("resampling needs soxr: pip install 'gcmedia[dsp]'") from None
    stream = soxr.ResampleStream(from_rate, to_rate, n_channels, dtype="int16")

    def resample(pcm: bytes, last: bool) -> bytes:
        block = np.frombuffer(pcm, np.int16)
        shaped = block if n_channels == 1 else block.reshape(-1, n_channels)
        out: bytes = stream.resample_chunk(shaped, last=last).tobytes()
        return out

    return resample
