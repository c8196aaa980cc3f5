"""How fast is G.711 decoded in bulk: a megabyte at once, into the caller's buffer where a peer can do that?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gcmedia
import peers

DECODE = {"ulaw": gcmedia.ulaw_decode, "alaw": gcmedia.alaw_decode}
AUDIOOP = {"ulaw": "ulaw2lin", "alaw": "alaw2lin"}
CODEC = {"ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}


@pytest.fixture(params=["ulaw", "alaw"])
def law(request: pytest.FixtureRequest, benchmark: Any) -> str:
    benchmark.group = f"{request.param} decode, 1 MB"
    benchmark.extra_info["octets"] = 1_000_000
    return str(request.param)


@pytest.fixture
def expected(law: str, ulaw_megabyte: bytes) -> bytes:
    return DECODE[law](ulaw_megabyte)


@pytest.fixture
def table(law: str) -> Any:
    return np.frombuffer(DECODE[law](bytes(range(256))), dtype=np.int16)


def test_gcmedia(benchmark: Any, law: str, ulaw_megabyte: bytes, expected: bytes) -> None:
    out = bytearray(len(expected))
    assert benchmark(DECODE[law], ulaw_megabyte, out) == expected


def test_gcmedia_set(benchmark: Any, law: str, ulaw_megabyte: bytes, expected: bytes, kernels: str) -> None:
    out = bytearray(len(expected))
    assert benchmark(DECODE[law], ulaw_megabyte, out) == expected


def test_gcmedia_to_bytes(benchmark: Any, law: str, ulaw_megabyte: bytes, expected: bytes) -> None:
    assert benchmark(DECODE[law], ulaw_megabyte) == expected


def test_audioop(benchmark: Any, law: str, ulaw_megabyte: bytes, expected: bytes) -> None:
    decode = getattr(peers.load("audioop"), AUDIOOP[law])
    benchmark.extra_info["note"] = "to bytes: it has no form that writes into a buffer"
    assert benchmark(decode, ulaw_megabyte, 2) == expected


def test_numpy(benchmark: Any, ulaw_megabyte: bytes, expected: bytes, table: Any) -> None:
    out = np.empty(len(ulaw_megabyte), dtype=np.int16)
    codes = np.frombuffer(ulaw_megabyte, dtype=np.uint8)
    benchmark(lambda: table.take(codes, out=out, mode="clip"))
    assert out.tobytes() == expected


def test_av(benchmark: Any, law: str, ulaw_megabyte: bytes, expected: bytes) -> None:
    av = peers.load("av")
    decoder = av.CodecContext.create(CODEC[law], "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"
    benchmark.extra_info["note"] = "to its own frame: it has no form that writes into a buffer"
    (frame,) = benchmark(lambda: decoder.decode(av.Packet(ulaw_megabyte)))
    assert bytes(frame.planes[0])[: len(expected)] == expected
