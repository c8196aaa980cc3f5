"""What does it cost to decode G.711 to float32, as models of speech want it: a packet of 20 ms, and a megabyte?"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest

import gcmedia
import peers

DECODE = {"ulaw": gcmedia.ulaw_decode, "alaw": gcmedia.alaw_decode}
AUDIOOP = {"ulaw": "ulaw2lin", "alaw": "alaw2lin"}
FULL_SCALE = np.float32(1 / 32768)


@pytest.fixture(params=["ulaw", "alaw"])
def law(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["160 octets", "1 MB"])
def size(request: pytest.FixtureRequest, benchmark: Any, law: str) -> str:
    benchmark.group = f"{law} decode to float32, {request.param}"
    return str(request.param)


@pytest.fixture
def octets(size: str, benchmark: Any, ulaw_frame: bytes, ulaw_megabyte: bytes) -> bytes:
    if size == "160 octets":
        return ulaw_frame
    benchmark.extra_info["octets"] = len(ulaw_megabyte)
    return ulaw_megabyte


@pytest.fixture
def timed(size: str, request: pytest.FixtureRequest) -> Any:
    """What times a call of that length."""
    return request.getfixturevalue("thousand" if size == "160 octets" else "benchmark")


@pytest.fixture
def expected(law: str, octets: bytes) -> bytes:
    return (np.frombuffer(DECODE[law](octets), np.int16) * FULL_SCALE).tobytes()


def test_gcmedia(timed: Any, law: str, octets: bytes, expected: bytes) -> None:
    out = array("f", bytes(4 * len(octets)))
    assert bytes(timed(DECODE[law], octets, out)) == expected


def test_gcmedia_set(timed: Any, law: str, octets: bytes, expected: bytes, kernels: str) -> None:
    out = array("f", bytes(4 * len(octets)))
    assert bytes(timed(DECODE[law], octets, out)) == expected


def test_numpy(timed: Any, law: str, octets: bytes, expected: bytes) -> None:
    table = np.frombuffer(DECODE[law](bytes(range(256))), np.int16) * FULL_SCALE
    out = np.empty(len(octets), np.float32)
    timed(lambda codes: table.take(np.frombuffer(codes, np.uint8), out=out, mode="clip"), octets)
    assert out.tobytes() == expected


def test_audioop(timed: Any, benchmark: Any, law: str, octets: bytes, expected: bytes) -> None:
    decode = getattr(peers.load("audioop"), AUDIOOP[law])
    out = np.empty(len(octets), np.float32)
    benchmark.extra_info["note"] = "audioop to int16, numpy to float32"
    timed(lambda codes: np.multiply(np.frombuffer(decode(codes, 2), np.int16), FULL_SCALE, out=out), octets)
    assert out.tobytes() == expected
