"""What does it cost to decode PCMU, and to whom: one packet of 20 ms, and a megabyte at once."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import gcmedia

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop  # the standard library's up to 3.12, audioop-lts from 3.13

FRAME = "ulaw decode 160 octets"
MEGABYTE = "ulaw decode 1 MB"


@pytest.fixture(scope="module")
def table() -> npt.NDArray[np.int16]:
    """All 256 codes, decoded once; looking them up is how it is done in numpy."""
    codes = bytes(range(256))
    return np.frombuffer(gcmedia.ulaw_decode(codes), dtype=np.int16)


def note(benchmark: Any, octets: bytes) -> None:
    benchmark.extra_info["octets"] = len(octets)
    benchmark.extra_info["unit"] = "one call"


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia(benchmark: Any, ulaw_frame: bytes) -> None:
    note(benchmark, ulaw_frame)
    pcm = benchmark(gcmedia.ulaw_decode, ulaw_frame)
    assert pcm == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_gcmedia_into_out(benchmark: Any, ulaw_frame: bytes) -> None:
    note(benchmark, ulaw_frame)
    out = bytearray(2 * len(ulaw_frame))
    benchmark(gcmedia.ulaw_decode, ulaw_frame, out)
    assert out == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_audioop(benchmark: Any, ulaw_frame: bytes) -> None:
    note(benchmark, ulaw_frame)
    benchmark(audioop.ulaw2lin, ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_numpy_table(benchmark: Any, ulaw_frame: bytes, table: npt.NDArray[np.int16]) -> None:
    note(benchmark, ulaw_frame)
    pcm = benchmark(lambda: table[np.frombuffer(ulaw_frame, dtype=np.uint8)])
    assert pcm.tobytes() == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=FRAME)
def test_frame_numpy_take_into_out(benchmark: Any, ulaw_frame: bytes, table: npt.NDArray[np.int16]) -> None:
    note(benchmark, ulaw_frame)
    out = np.empty(len(ulaw_frame), dtype=np.int16)
    benchmark(lambda: table.take(np.frombuffer(ulaw_frame, dtype=np.uint8), out=out, mode="clip"))
    assert out.tobytes() == audioop.ulaw2lin(ulaw_frame, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_gcmedia(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)
    pcm = benchmark(gcmedia.ulaw_decode, ulaw_megabyte)
    assert pcm == audioop.ulaw2lin(ulaw_megabyte, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_gcmedia_into_out(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)
    out = bytearray(2 * len(ulaw_megabyte))
    benchmark(gcmedia.ulaw_decode, ulaw_megabyte, out)
    assert out == audioop.ulaw2lin(ulaw_megabyte, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_audioop(benchmark: Any, ulaw_megabyte: bytes) -> None:
    note(benchmark, ulaw_megabyte)
    benchmark(audioop.ulaw2lin, ulaw_megabyte, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_numpy_table(benchmark: Any, ulaw_megabyte: bytes, table: npt.NDArray[np.int16]) -> None:
    note(benchmark, ulaw_megabyte)
    pcm = benchmark(lambda: table[np.frombuffer(ulaw_megabyte, dtype=np.uint8)])
    assert pcm.tobytes() == audioop.ulaw2lin(ulaw_megabyte, 2)


@pytest.mark.benchmark(group=MEGABYTE)
def test_megabyte_numpy_take_into_out(benchmark: Any, ulaw_megabyte: bytes, table: npt.NDArray[np.int16]) -> None:
    note(benchmark, ulaw_megabyte)
    out = np.empty(len(ulaw_megabyte), dtype=np.int16)
    benchmark(lambda: table.take(np.frombuffer(ulaw_megabyte, dtype=np.uint8), out=out, mode="clip"))
    assert out.tobytes() == audioop.ulaw2lin(ulaw_megabyte, 2)
