"""What does it cost to encode 20 ms, 160 samples, as G.711?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gcmedia
import peers

ENCODE = {"ulaw": gcmedia.ulaw_encode, "alaw": gcmedia.alaw_encode}
DECODE = {"ulaw": gcmedia.ulaw_decode, "alaw": gcmedia.alaw_decode}
AUDIOOP = {"ulaw": "lin2ulaw", "alaw": "lin2alaw"}
CODEC = {"ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}


@pytest.fixture(params=["ulaw", "alaw"])
def law(request: pytest.FixtureRequest, benchmark: Any) -> str:
    benchmark.group = f"{request.param} encode, 160 samples"
    return str(request.param)


def same_but_for_rounding(law: str, pcm: bytes, codes: bytes) -> bool:
    """Whether a peer's codes are as many and stand for the same sound: its rounding may be off by one step."""
    given = np.frombuffer(pcm, dtype=np.int16).astype(np.int32)
    heard = np.frombuffer(DECODE[law](codes), dtype=np.int16).astype(np.int32)
    return len(codes) == len(given) and bool(np.all(np.abs(heard - given) <= 16 + np.abs(given) // 16))


def test_gcmedia(thousand: Any, law: str, pcm_frame: bytes) -> None:
    assert same_but_for_rounding(law, pcm_frame, thousand(ENCODE[law], pcm_frame))


def test_gcmedia_set(thousand: Any, law: str, pcm_frame: bytes, kernels: str) -> None:
    assert same_but_for_rounding(law, pcm_frame, thousand(ENCODE[law], pcm_frame))


def test_audioop(thousand: Any, law: str, pcm_frame: bytes) -> None:
    encode = getattr(peers.load("audioop"), AUDIOOP[law])
    assert same_but_for_rounding(law, pcm_frame, thousand(encode, pcm_frame, 2))


def test_numpy(thousand: Any, law: str, pcm_frame: bytes) -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.int16)
    table = np.frombuffer(ENCODE[law](every.tobytes()), dtype=np.uint8)
    codes = thousand(lambda frame: table.take(np.frombuffer(frame, dtype=np.uint16)), pcm_frame)
    assert codes.tobytes() == ENCODE[law](pcm_frame)


def test_av(thousand: Any, law: str, pcm_frame: bytes) -> None:
    av = peers.load("av")
    encoder = av.CodecContext.create(CODEC[law], "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm_frame, dtype=np.int16).reshape(1, -1), layout="mono")
    frame.sample_rate = 8000
    (packet,) = thousand(encoder.encode, frame)
    assert same_but_for_rounding(law, pcm_frame, bytes(packet))
