"""WAV files in, and another sample rate when the client asks for one."""

from __future__ import annotations

from math import ceil, gcd
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._core.g711 import alaw_decode, ulaw_decode
from ..errors import FormatError

__all__ = ["Samples", "read_wav", "resample"]

Samples = NDArray[np.int16]

MAX_WAV_OCTETS = 512 * 1024 * 1024
_PCM, _ALAW, _ULAW, _EXTENSIBLE = 1, 6, 7, 0xFFFE
_ZERO_CROSSINGS = 16  # of the interpolating sinc, each side


def read_wav(path: str | PathLike[str]) -> tuple[Samples, int]:
    """Read a WAV file: PCM of 8 or 16 bit, PCMU or PCMA.

    Returns
    -------
    samples : array of int16, shape (n_samples, n_channels)
    sample_rate : int
        Hz.

    Raises
    ------
    FormatError
        If the file is no WAV file, is cut short before its samples, or holds another encoding; the message
        names the file and the octet.
    OSError
        If it cannot be read.
    """
    size = Path(path).stat().st_size
    if size > MAX_WAV_OCTETS:
        raise FormatError(f"{path}: {size} octets, more than the {MAX_WAV_OCTETS} that are read")
    data = Path(path).read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise FormatError(f"{path}: not a WAV file: octets 0 to 11 are {data[:12].hex(' ') or 'missing'}")
    layout: tuple[int, int, int, int] | None = None
    position = 12
    while position + 8 <= len(data):
        name = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        body = data[position + 8 : position + 8 + length]
        if name == b"fmt ":
            layout = _read_layout(path, body, position)
        elif name == b"data":
            if layout is None:
                raise FormatError(f"{path}: samples at octet {position} before any format chunk")
            return _samples(path, body, layout), layout[2]
        position += 8 + length + (length & 1)
    missing = "format chunk" if layout is None else "data chunk"
    raise FormatError(f"{path}: no {missing} in {len(data)} octets")


def _read_layout(path: str | PathLike[str], body: bytes, position: int) -> tuple[int, int, int, int]:
    if len(body) < 16:
        raise FormatError(f"{path}: format chunk at octet {position} has {len(body)} octets, fewer than 16")
    tag = int.from_bytes(body[0:2], "little")
    channels = int.from_bytes(body[2:4], "little")
    rate = int.from_bytes(body[4:8], "little")
    bits = int.from_bytes(body[14:16], "little")
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = int.from_bytes(body[24:26], "little")
    if (tag, bits) not in ((_PCM, 8), (_PCM, 16), (_ALAW, 8), (_ULAW, 8)):
        raise FormatError(f"{path}: format {tag} with {bits} bits; PCM of 8 or 16 bit, A-law and mu-law are read")
    if not 1 <= channels <= 16:
        raise FormatError(f"{path}: {channels} channels, not 1 to 16")
    if not 4000 <= rate <= 384_000:
        raise FormatError(f"{path}: {rate} Hz, not in 4000 to 384000")
    return tag, channels, rate, bits


def _samples(path: str | PathLike[str], body: bytes, layout: tuple[int, int, int, int]) -> Samples:
    tag, channels, _, bits = layout
    frame = channels * bits // 8
    n_samples = len(body) // frame  # a file cut short keeps its whole frames
    if n_samples == 0:
        raise FormatError(f"{path}: holds no samples")
    body = body[: n_samples * frame]
    if bits == 16:
        samples = np.frombuffer(body, dtype="<i2").astype(np.int16)
    else:
        octets = np.frombuffer(body, dtype=np.uint8)
        if tag == _PCM:
            samples = ((octets.astype(np.int16) - 128) * 256).astype(np.int16)
        else:
            samples = np.frombuffer(ulaw_decode(body) if tag == _ULAW else alaw_decode(body), np.int16)
    return samples.reshape(n_samples, channels)


def resample(samples: Samples, rate: int, new_rate: int) -> Samples:
    """Change the sample rate of int16 samples, shape (n_samples, n_channels).

    A polyphase Kaiser-windowed sinc, 16 zero crossings each side; no delay: sample 0 stays at time 0.
    The result has ``ceil(n_samples * new_rate / rate)`` samples.
    """
    if rate == new_rate:
        return samples
    up, down = new_rate // gcd(rate, new_rate), rate // gcd(rate, new_rate)
    cutoff = min(1.0, up / down) * 0.95  # of the input's Nyquist frequency
    half = ceil(_ZERO_CROSSINGS / cutoff)
    kernel = _kernel(up, half, cutoff)
    n_out = -(-samples.shape[0] * up // down)
    out = np.empty((n_out, samples.shape[1]), dtype=np.int16)
    for channel in range(samples.shape[1]):
        padded = np.pad(samples[:, channel].astype(np.float64), (half - 1, half + 1))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)
        for start in range(0, n_out, 16_384):  # bounds the memory, whatever the length
            ticks = np.arange(start, min(start + 16_384, n_out), dtype=np.int64) * down
            value = np.einsum("nt,nt->n", windows[ticks // up], kernel[ticks % up])
            out[start : start + len(ticks), channel] = np.clip(np.rint(value), -32768, 32767)
    return out


def _kernel(up: int, half: int, cutoff: float) -> NDArray[np.float64]:
    """One row of ``2 * half`` taps a phase; each row sums to 1, so that silence and level are kept."""
    phase = np.arange(up)[:, None] / up
    distance = np.arange(1 - half, half + 1)[None, :] - phase  # in input samples
    window = np.i0(8.0 * np.sqrt(np.maximum(0.0, 1.0 - (distance / half) ** 2)))
    taps = np.sinc(cutoff * distance) * window
    return np.asarray(taps / taps.sum(axis=1, keepdims=True))
