"""What does it cost to decode one packet of 20 ms, 160 octets of G.711, from bytes to samples?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gcmedia
import peers

pytestmark = pytest.mark.benchmark(group="decode a packet")
DECODE = {"ulaw": gcmedia.ulaw_decode, "alaw": gcmedia.alaw_decode}
AUDIOOP = {"ulaw": "ulaw2lin", "alaw": "alaw2lin"}
CODEC = {"ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}


@pytest.fixture(params=["ulaw", "alaw"])
def law(request: pytest.FixtureRequest, benchmark: Any) -> str:
    benchmark.group = f"{request.param} decode, 160 octets"
    return str(request.param)


@pytest.fixture
def expected(law: str, ulaw_frame: bytes) -> bytes:
    return DECODE[law](ulaw_frame)


@pytest.fixture
def table(law: str) -> Any:
    return np.frombuffer(DECODE[law](bytes(range(256))), dtype=np.int16)


def test_gcmedia(thousand: Any, law: str, ulaw_frame: bytes, expected: bytes) -> None:
    assert thousand(DECODE[law], ulaw_frame) == expected


def test_gcmedia_into_out(thousand: Any, law: str, ulaw_frame: bytes, expected: bytes) -> None:
    out = bytearray(len(expected))
    assert thousand(DECODE[law], ulaw_frame, out) == expected


def test_gcmedia_set(thousand: Any, law: str, ulaw_frame: bytes, expected: bytes, kernels: str) -> None:
    assert thousand(DECODE[law], ulaw_frame) == expected


def test_audioop(thousand: Any, law: str, ulaw_frame: bytes, expected: bytes) -> None:
    decode = getattr(peers.load("audioop"), AUDIOOP[law])
    assert thousand(decode, ulaw_frame, 2) == expected


def test_numpy(thousand: Any, ulaw_frame: bytes, expected: bytes, table: Any) -> None:
    pcm = thousand(lambda frame: table.take(np.frombuffer(frame, dtype=np.uint8)), ulaw_frame)
    assert pcm.tobytes() == expected


def test_av(thousand: Any, law: str, ulaw_frame: bytes, expected: bytes) -> None:
    av = peers.load("av")
    decoder = av.CodecContext.create(CODEC[law], "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"
    (frame,) = thousand(lambda packet: decoder.decode(av.Packet(packet)), ulaw_frame)
    assert bytes(frame.planes[0])[: len(expected)] == expected
    assert frame.samples == len(ulaw_frame)
