"""What does G.711 cost, and whom: one packet of 20 ms from bytes to bytes, and a megabyte at once into a buffer.

A frame is timed by the thousand calls, so microseconds read as nanoseconds a call.
"""

from __future__ import annotations

import warnings
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

import gcmedia

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop  # the standard library's up to 3.12, audioop-lts from 3.13

FRAME = "ulaw decode 160 octets"
MEGABYTE = "ulaw decode 1 MB into a buffer"
FLOATS = "ulaw decode 1 MB into float32"
ENCODE = "ulaw encode 160 samples"


@pytest.fixture(scope="module")
def table() -> npt.NDArray[np.int16]:
    """All 256 codes, decoded once; looking them up is how it is done in numpy."""
    codes = bytes(range(256))
    return np.frombuffer(gcmedia.ulaw_decode(codes), dtype=np.int16)


def note(benchmark: Any, octets: bytes) -> None:
    benchmark.extra_info["octets"] = len(octets)
    benchmark.extra_info["unit"] = "one call"


@pytest.fixture
def av_decoder() -> Any:
    decoder = av.CodecContext.create("pcm_mulaw", "r")
    decoder.sample_rate = 8000
    decoder.layout = "mono"
    return decoder


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia(thousand: Any, ulaw_frame: bytes) -> None:
    pcm = thousand(gcmedia.ulaw_decode, ulaw_frame)
    assert pcm == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia_into_out(thousand: Any, ulaw_frame: bytes) -> None:
    out = bytearray(2 * len(ulaw_frame))
    thousand(gcmedia.ulaw_decode, ulaw_frame, out)
    assert out == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia_set(thousand: Any, ulaw_frame: bytes, kernels: str) -> None:
    thousand(gcmedia.ulaw_decode, ulaw_frame)


@pytest.mark.benchmark(group=FRAME)
def test_frame_audioop(thousand: Any, ulaw_frame: bytes) -> None:
    thousand(audioop.ulaw2lin, ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_numpy_table(thousand: Any, ulaw_frame: bytes, table: npt.NDArray[np.int16]) -> None:
    pcm = thousand(lambda frame: table[np.frombuffer(frame, dtype=np.uint8)], ulaw_frame)
    assert pcm.tobytes() == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_numpy_take_into_out(thousand: Any, ulaw_frame: bytes, table: npt.NDArray[np.int16]) -> None:
    out = np.empty(len(ulaw_frame), dtype=np.int16)
    thousand(lambda frame: table.take(np.frombuffer(frame, dtype=np.uint8), out=out, mode="clip"), ulaw_frame)
    assert out.tobytes() == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_pyav(thousand: Any, ulaw_frame: bytes, av_decoder: Any) -> None:
    (frame,) = thousand(lambda frame: av_decoder.decode(av.Packet(frame)), ulaw_frame)
    assert bytes(frame.planes[0])[:320] == audioop.ulaw2lin(ulaw_frame, 2)


# audioop and PyAV have no form that writes into a buffer of the caller's.


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_gcmedia(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)
    out = bytearray(2 * len(ulaw_megabyte))
    benchmark(gcmedia.ulaw_decode, ulaw_megabyte, out)
    assert out == audioop.ulaw2lin(ulaw_megabyte, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_gcmedia_to_bytes(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)
    pcm = benchmark(gcmedia.ulaw_decode, ulaw_megabyte)
    assert pcm == audioop.ulaw2lin(ulaw_megabyte, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_gcmedia_set(benchmark: Any, ulaw_megabyte: bytes, kernels: str) -> None:
    note(benchmark, ulaw_megabyte)
    benchmark(gcmedia.ulaw_decode, ulaw_megabyte, bytearray(2 * len(ulaw_megabyte)))


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_audioop(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)
    benchmark(audioop.ulaw2lin, ulaw_megabyte, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_pyav(benchmark: Any, ulaw_megabyte: bytes, av_decoder: Any) -> None:
    note(benchmark, ulaw_megabyte)
    (frame,) = benchmark(lambda: av_decoder.decode(av.Packet(ulaw_megabyte)))
    assert frame.samples == len(ulaw_megabyte)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_numpy_take(benchmark: Any, ulaw_megabyte: bytes, table: npt.NDArray[np.int16]) -> None:
    note(benchmark, ulaw_megabyte)
    out = np.empty(len(ulaw_megabyte), dtype=np.int16)
    benchmark(lambda: table.take(np.frombuffer(ulaw_megabyte, dtype=np.uint8), out=out, mode="clip"))
    assert out.tobytes() == audioop.ulaw2lin(ulaw_megabyte, 2)


@pytest.mark.benchmark(group=FLOATS)
def test_floats_gcmedia(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)
    out = np.empty(len(ulaw_megabyte), dtype=np.float32)
    benchmark(gcmedia.ulaw_decode, ulaw_megabyte, out)


@pytest.mark.benchmark(group=FLOATS)
def test_floats_audioop(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)

    def decode() -> npt.NDArray[np.float32]:
        pcm = np.frombuffer(audioop.ulaw2lin(ulaw_megabyte, 2), dtype=np.int16).astype(np.float32)
        pcm /= 32768
        return pcm

    benchmark(decode)


@pytest.mark.benchmark(group=FLOATS)
def test_floats_numpy_take(benchmark: Any, ulaw_megabyte: bytes, table: npt.NDArray[np.int16]) -> None:
    note(benchmark, ulaw_megabyte)
    shares = table.astype(np.float32) / np.float32(32768)
    out = np.empty(len(ulaw_megabyte), dtype=np.float32)
    benchmark(lambda: shares.take(np.frombuffer(ulaw_megabyte, dtype=np.uint8), out=out, mode="clip"))


@pytest.mark.benchmark(group=ENCODE)
def test_encode_gcmedia(thousand: Any, pcm_frame: bytes) -> None:
    thousand(gcmedia.ulaw_encode, pcm_frame)


@pytest.mark.benchmark(group=ENCODE)
def test_encode_gcmedia_set(thousand: Any, pcm_frame: bytes, kernels: str) -> None:
    thousand(gcmedia.ulaw_encode, pcm_frame)


@pytest.mark.benchmark(group=ENCODE)
def test_encode_audioop(thousand: Any, pcm_frame: bytes) -> None:
    thousand(audioop.lin2ulaw, pcm_frame, 2)


@pytest.mark.benchmark(group=ENCODE)
def test_encode_numpy_table(thousand: Any, pcm_frame: bytes) -> None:
    every = np.arange(-32768, 32768, dtype=np.int16)
    codes = np.frombuffer(gcmedia.ulaw_encode(np.roll(every, 32768)), dtype=np.uint8)
    octets = thousand(lambda frame: codes[np.frombuffer(frame, dtype=np.uint16)], pcm_frame)
    assert octets.tobytes() == gcmedia.ulaw_encode(pcm_frame)
