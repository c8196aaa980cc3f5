"""G.711 by table, for whole arrays (ITU-T G.711): what the tests expect."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["alaw_decode", "alaw_encode", "ulaw_decode", "ulaw_encode"]

Samples = NDArray[np.int16]
Octets = NDArray[np.uint8]


@cache
def _ulaw_table() -> Samples:
    octet = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((octet & 0x0F) << 3) + 0x84 << ((octet & 0x70) >> 4)) - 0x84
    return np.where(octet & 0x80, -magnitude, magnitude).astype(np.int16)


@cache
def _alaw_table() -> Samples:
    octet = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (octet & 0x70) >> 4
    mantissa = ((octet & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, mantissa + 0x100 << np.maximum(exponent - 1, 0))
    return np.where(octet & 0x80, magnitude, -magnitude).astype(np.int16)


@cache
def _ulaw_octets() -> Octets:
    sample = np.arange(-32768, 32768, dtype=np.int32)
    magnitude = np.where(sample < 0, ~sample, sample) >> 2  # 14 bits; one's complement, as in ITU-T G.191
    biased = np.minimum(magnitude, 8158) + 33
    exponent = np.frexp(biased.astype(np.float64))[1].astype(np.int32) - 6
    octet = np.minimum((exponent << 4) | (biased >> (exponent + 1) & 0x0F), 0x7F)
    octets: Octets = (~(octet | np.where(sample < 0, 0x80, 0)) & 0xFF).astype(np.uint8)
    return octets


@cache
def _alaw_octets() -> Octets:
    sample = np.arange(-32768, 32768, dtype=np.int32)
    magnitude = np.where(sample < 0, ~sample, sample) >> 3  # 13 bits; the negative side is one lower
    exponent = np.maximum(np.frexp(magnitude.astype(np.float64))[1].astype(np.int32) - 5, 0)
    octet = (exponent << 4) | (magnitude >> np.maximum(exponent, 1) & 0x0F)
    return ((octet | np.where(sample < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)


def ulaw_decode(octets: Octets) -> Samples:
    """PCMU octets to int16 samples of the same shape."""
    return _ulaw_table()[octets]


def alaw_decode(octets: Octets) -> Samples:
    """PCMA octets to int16 samples of the same shape."""
    return _alaw_table()[octets]


def ulaw_encode(pcm: Samples) -> Octets:
    """int16 samples to PCMU octets of the same shape."""
    return _ulaw_octets()[pcm.astype(np.int32) + 32768]


def alaw_encode(pcm: Samples) -> Octets:
    """int16 samples to PCMA octets of the same shape."""
    return _alaw_octets()[pcm.astype(np.int32) + 32768]
