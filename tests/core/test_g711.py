"""PCMU and PCMA against the decision values of ITU-T G.711, written out slowly."""

import array
import importlib
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gcmedia._core.g711 import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode

ALL_CODES = bytes(range(256))
NO_BUFFERS: list[Any] = ["text", None]
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)

# G.711 tables 1a and 2a, positive decision values, by segment: first value, step, number of steps.  Units are
# those of the tables: 1/4096 of A-law's full scale, 1/8192 of mu-law's; 8 and 4 to one unit of int16.
ALAW_SEGMENTS = [(0, 2, 32), (64, 4, 16), (128, 8, 16), (256, 16, 16), (512, 32, 16), (1024, 64, 16), (2048, 128, 16)]
ULAW_SEGMENTS = [
    (1, 2, 15), (31, 4, 16), (95, 8, 16), (223, 16, 16), (479, 32, 16), (991, 64, 16), (2015, 128, 16),
    (4063, 256, 16),
]  # fmt: skip


def decision_values(segments: list[tuple[int, int, int]], scale: int) -> list[int]:
    return [scale * (first + step * i) for first, step, count in segments for i in range(count)]


ULAW_DECISIONS = decision_values(ULAW_SEGMENTS, 4)[:127]
ALAW_DECISIONS = decision_values(ALAW_SEGMENTS, 8)[1:]


def slow_ulaw(sample: int) -> int:
    if sample >= 0:
        return 0xFF - bisect_right(ULAW_DECISIONS, sample)
    return 0x7F - bisect_left(ULAW_DECISIONS, -sample)


def slow_alaw(sample: int) -> int:
    if sample >= 0:
        return (0x80 + bisect_right(ALAW_DECISIONS, sample)) ^ 0x55
    return bisect_left(ALAW_DECISIONS, -sample) ^ 0x55


def samples(octets: bytes) -> list[int]:
    return [int(sample) for sample in np.frombuffer(octets, np.int16)]


def test_the_decision_values_are_those_of_the_tables() -> None:
    assert len(ULAW_DECISIONS) == len(ALAW_DECISIONS) == 127
    assert ULAW_DECISIONS[-1] == 4 * 7903
    assert ALAW_DECISIONS[-1] == 8 * 3968


def test_ulaw_decodes_to_the_values_of_table_2() -> None:
    borders = [0, *ULAW_DECISIONS, 4 * 8159]
    # The first interval is a half one, around 0; every other value is the middle of its own.
    middles = [0] + [(low + high) // 2 for low, high in pairwise(borders[1:])]
    assert samples(ulaw_decode(ALL_CODES[::-1]))[:128] == middles
    assert samples(ulaw_decode(ALL_CODES))[:128] == [-value for value in reversed(middles)]


def test_alaw_decodes_to_the_values_of_table_1() -> None:
    borders = [0, *ALAW_DECISIONS, 8 * 4096]
    middles = [(low + high) // 2 for low, high in pairwise(borders)]
    by_code = samples(alaw_decode(ALL_CODES))
    assert [by_code[(0x80 + i) ^ 0x55] for i in range(128)] == middles
    assert [by_code[i ^ 0x55] for i in range(128)] == [-value for value in middles]


@pytest.mark.parametrize(
    ("decode", "code", "value"),
    [
        pytest.param(ulaw_decode, 0xFF, 0, id="ulaw-zero"),
        pytest.param(ulaw_decode, 0x7F, 0, id="ulaw-negative-zero"),
        pytest.param(ulaw_decode, 0x80, 32124, id="ulaw-full-scale"),
        pytest.param(ulaw_decode, 0x00, -32124, id="ulaw-negative-full-scale"),
        pytest.param(alaw_decode, 0xD5, 8, id="alaw-least"),
        pytest.param(alaw_decode, 0x55, -8, id="alaw-negative-least"),
        pytest.param(alaw_decode, 0xAA, 32256, id="alaw-full-scale"),
        pytest.param(alaw_decode, 0x2A, -32256, id="alaw-negative-full-scale"),
    ],
)
def test_corners(decode: Callable[[bytes], bytes], code: int, value: int) -> None:
    assert samples(decode(bytes([code]))) == [value]


def test_every_sample_encodes_by_the_decision_values() -> None:
    assert ulaw_encode(ALL_SAMPLES) == bytes(slow_ulaw(sample) for sample in ALL_SAMPLES.tolist())
    assert alaw_encode(ALL_SAMPLES) == bytes(slow_alaw(sample) for sample in ALL_SAMPLES.tolist())


def test_encoding_undoes_decoding() -> None:
    assert alaw_encode(alaw_decode(ALL_CODES)) == ALL_CODES
    assert ulaw_encode(ulaw_decode(ALL_CODES)) == ALL_CODES.replace(b"\x7f", b"\xff")


def test_agrees_with_audioop_but_for_its_rounding_of_negative_samples() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = importlib.import_module("audioop")
    assert ulaw_decode(ALL_CODES) == audioop.ulaw2lin(ALL_CODES, 2)
    assert alaw_decode(ALL_CODES) == audioop.alaw2lin(ALL_CODES, 2)
    assert alaw_encode(ALL_SAMPLES) == audioop.lin2alaw(ALL_SAMPLES.tobytes(), 2)
    theirs, ours = audioop.lin2ulaw(ALL_SAMPLES.tobytes(), 2), ulaw_encode(ALL_SAMPLES)
    assert ours[32768:] == theirs[32768:]
    # Its 14-bit magnitude of x < 0 is that of x - 4: -1 becomes -8, although the tables have it in 0's interval.
    assert ours[: 32768 - 4] == theirs[4:32768]


@pytest.mark.parametrize("n_samples", [0, 1, 2, 159, 160, 161, 8191, 8192, 20_001])
def test_any_length(n_samples: int) -> None:
    codes = (ALL_CODES * 80)[:n_samples]
    assert len(ulaw_decode(codes)) == len(alaw_decode(codes)) == 2 * n_samples
    assert alaw_encode(alaw_decode(codes)) == codes


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda x: array.array("B", x), np.uint8])
def test_any_buffer(kind: Callable[[bytes], Any]) -> None:
    codes = ALL_CODES[3:]
    data = np.frombuffer(codes, np.uint8) if kind is np.uint8 else kind(codes)
    assert ulaw_decode(data) == ulaw_decode(codes)


def test_samples_of_any_type_and_address() -> None:
    pcm = ALL_SAMPLES[1000:1161]
    expected = ulaw_encode(pcm)
    odd = memoryview(b"\0" + pcm.tobytes())[1:]
    for form in (pcm.tobytes(), bytearray(pcm.tobytes()), array.array("h", pcm.tolist()), pcm.data, odd):
        assert ulaw_encode(form) == expected
    assert ulaw_encode(np.frombuffer(odd, np.int16)) == expected


def test_out_is_filled_and_returned() -> None:
    pcm = np.zeros(256, np.int16)
    assert ulaw_decode(ALL_CODES, pcm) is pcm
    assert pcm.tobytes() == ulaw_decode(ALL_CODES)
    codes = bytearray(256)
    assert alaw_encode(pcm, out=codes) is codes
    assert codes == alaw_encode(pcm)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        pytest.param(lambda: ulaw_decode(NO_BUFFERS[0]), TypeError, "data must be bytes .* not str", id="str"),
        pytest.param(lambda: ulaw_decode(NO_BUFFERS[1]), TypeError, "not NoneType", id="none"),
        pytest.param(lambda: ulaw_decode(b"abc", bytearray(5)), ValueError, "5 octets, 6 are needed", id="small-out"),
        pytest.param(lambda: ulaw_decode(b"abc", b"123456"), TypeError, "writable", id="read-only-out"),
        pytest.param(lambda: ulaw_decode(b"ab", np.zeros(2, np.float64)), TypeError, "format 'd'", id="double-out"),
        pytest.param(
            lambda: ulaw_decode(b"ab", memoryview(bytearray(5))[1:]), ValueError, "address", id="misaligned-out"
        ),
        pytest.param(lambda: ulaw_encode(b"abc"), ValueError, "pcm has 3 octets", id="half-a-sample"),
        pytest.param(lambda: ulaw_encode(np.zeros(2)), TypeError, "format 'd'", id="float64"),
        pytest.param(lambda: ulaw_encode(ALL_SAMPLES[::2]), TypeError, "C-contiguous", id="strided"),
        pytest.param(lambda: ulaw_encode(b"abcd", bytearray(3)), ValueError, "3 octets, 2 are needed", id="large-out"),
    ],
)
def test_what_cannot_be_used_is_refused(call: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
