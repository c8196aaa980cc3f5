"""Every kernel on every instruction set of this machine: the same bits as the plain definitions below."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gcmedia
from gcmedia._core import cpu

SETS = gcmedia.cpu_features().available
ALL_SETS = ("baseline", "avx2", "avx512")
EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = array("h", range(-32768, 32768))
# Around the sizes of vectors and blocks, and beyond them.
LENGTHS = sorted({*range(70), *(size + by for size in (96, 128, 160, 192, 256, 512, 1024) for by in (-1, 0, 1, 17))})


@pytest.fixture(autouse=True)
def same_kernels_afterwards() -> Iterator[None]:
    before = gcmedia.cpu_features().kernels
    yield
    cpu.select(before)


@pytest.fixture(params=SETS)
def kernels(request: pytest.FixtureRequest) -> str:
    """Run the test with each set of kernels."""
    name: str = request.param
    cpu.select(name)
    return name


# ITU-T G.711, tables 1 and 2, sample by sample.


def expand_ulaw(code: int) -> int:
    segment, mantissa = (~code >> 4) & 7, ~code & 15
    magnitude = (((2 * mantissa + 33) << segment) - 33) * 4
    return magnitude if code & 0x80 else -magnitude


def expand_alaw(code: int) -> int:
    segment, mantissa = ((code ^ 0x55) >> 4) & 7, (code ^ 0x55) & 15
    magnitude = 16 * mantissa + 8 if segment == 0 else (16 * mantissa + 264) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def compress_ulaw(sample: int) -> int:
    magnitude = min(((~sample if sample < 0 else sample) >> 2) + 33, 8191)
    segment = magnitude.bit_length() - 6
    code = segment << 4 | (magnitude >> (segment + 1)) & 15
    return ~code & (0x7F if sample < 0 else 0xFF)


def compress_alaw(sample: int) -> int:
    magnitude = (~sample if sample < 0 else sample) >> 4
    segment = max(magnitude.bit_length() - 4, 0)
    code = segment << 4 | (magnitude >> max(segment - 1, 0)) & 15
    return (code if sample < 0 else code | 0x80) ^ 0x55


DECODERS = {"ulaw": (gcmedia.ulaw_decode, expand_ulaw), "alaw": (gcmedia.alaw_decode, expand_alaw)}
ENCODERS = {"ulaw": (gcmedia.ulaw_encode, compress_ulaw), "alaw": (gcmedia.alaw_encode, compress_alaw)}


def samples_of(octets: bytes | bytearray | memoryview) -> list[int]:
    return memoryview(octets).cast("B").cast("h").tolist()


def random_octets(n_octets: int, seed: int = 7) -> bytes:
    return bytes((seed + 151 * place + place * place // 7) & 0xFF for place in range(n_octets))


@pytest.mark.parametrize("law", DECODERS)
def test_every_code_is_decoded_as_defined(kernels: str, law: str) -> None:
    decode, expand = DECODERS[law]
    assert samples_of(decode(EVERY_CODE)) == [expand(code) for code in EVERY_CODE]


@pytest.mark.parametrize("law", DECODERS)
def test_every_code_is_decoded_to_float32_as_a_share_of_full_scale(kernels: str, law: str) -> None:
    decode, expand = DECODERS[law]
    out = array("f", bytes(4 * 256))
    assert decode(EVERY_CODE, out) is out
    assert out.tolist() == [expand(code) / 32768 for code in EVERY_CODE]


@pytest.mark.parametrize("law", ENCODERS)
def test_every_sample_is_encoded_as_defined(kernels: str, law: str) -> None:
    encode, compress = ENCODERS[law]
    assert list(encode(EVERY_SAMPLE)) == [compress(sample) for sample in EVERY_SAMPLE]


@pytest.mark.parametrize("law", DECODERS)
def test_every_octet_survives_decoding_and_encoding_but_the_negative_zero(kernels: str, law: str) -> None:
    expected = EVERY_CODE.replace(b"\x7f", b"\xff") if law == "ulaw" else EVERY_CODE
    assert ENCODERS[law][0](DECODERS[law][0](EVERY_CODE)) == expected


@pytest.mark.parametrize("law", DECODERS)
def test_decoding_writes_all_samples_and_nothing_beside_them(kernels: str, law: str) -> None:
    decode, expand = DECODERS[law]
    octets = random_octets(max(LENGTHS) + 3)
    expected = [expand(code) for code in octets]
    for n in LENGTHS:
        start = n % 4  # the input begins at any address, the output at any that is even
        room = bytearray(b"\xa5" * (2 * n + 8))
        out = memoryview(room)[2 * start : 2 * (start + n)]
        decode(memoryview(octets)[start : start + n], out)
        assert samples_of(out) == expected[start : start + n]
        assert set(room[: 2 * start] + room[2 * (start + n) :]) == {0xA5}
        shares = array("f", bytes(4 * n) + b"\xa5\xa5\xa5\xa5")
        guard = shares[n:].tobytes()
        decode(octets[:n], memoryview(shares)[:n])
        assert shares[:n].tolist() == [sample / 32768 for sample in expected[:n]]
        assert shares[n:].tobytes() == guard


@pytest.mark.parametrize("law", ENCODERS)
def test_encoding_writes_all_octets_and_nothing_beside_them(kernels: str, law: str) -> None:
    encode, compress = ENCODERS[law]
    pcm = random_octets(2 * max(LENGTHS) + 6)
    for n in LENGTHS:
        start = n % 3
        taken = pcm[start : start + 2 * n]
        room = bytearray(b"\xa5" * (n + 8))
        encode(memoryview(pcm)[start : start + 2 * n], memoryview(room)[start : start + n])
        assert list(room[start : start + n]) == [compress(sample) for sample in samples_of(taken)]
        assert set(room[:start] + room[start + n :]) == {0xA5}


@pytest.mark.parametrize("byteorder", ["big", "little"])
def test_every_word_keeps_its_value_in_either_byte_order(kernels: str, byteorder: str) -> None:
    wire = EVERY_SAMPLE[:]
    if byteorder != sys.byteorder:
        wire.byteswap()
    assert gcmedia.l16_decode(wire, byteorder) == EVERY_SAMPLE.tobytes()
    assert gcmedia.l16_encode(EVERY_SAMPLE, byteorder) == wire.tobytes()


@pytest.mark.parametrize("byteorder", ["big", "little"])
def test_l16_of_any_length_and_address_is_turned_round_whole(kernels: str, byteorder: str) -> None:
    octets = random_octets(2 * max(LENGTHS) + 3)
    for n in LENGTHS:
        start = n % 3
        wire = memoryview(octets)[start : start + 2 * n]
        expected = array("h", bytes(wire))
        if byteorder != sys.byteorder:
            expected.byteswap()
        room = bytearray(b"\xa5" * (2 * n + 4))
        gcmedia.l16_decode(wire, byteorder, memoryview(room)[2 : 2 + 2 * n])
        assert room[2 : 2 + 2 * n] == expected.tobytes()
        assert room[:2] + room[2 + 2 * n :] == b"\xa5" * 4
        assert gcmedia.l16_encode(expected, byteorder) == bytes(wire)


@pytest.mark.parametrize("n_channels", range(1, 9))
def test_a_channel_is_taken_whole_out_of_others(kernels: str, n_channels: int) -> None:
    for n in LENGTHS[::5]:
        interleaved = array("h", random_octets(2 * n * n_channels))
        for channel in range(n_channels):
            taken = gcmedia.extract_channel(interleaved, n_channels, channel)
            assert samples_of(taken) == interleaved[channel::n_channels].tolist()


@pytest.mark.parametrize(("encoding", "size"), [("PCMU", 1), ("PCMA", 1), ("L16", 2), ("L16LE", 2)])
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_a_receiver_decodes_each_channel_alone(kernels: str, encoding: str, size: int, n_channels: int) -> None:
    n_samples = 1600  # more than one block of 512, in one packet of 200 ms
    payload = random_octets(n_samples * n_channels * size)
    receiver = gcmedia.Receiver(encoding, n_channels=n_channels, packet_ms=200)
    receiver.push_media(1, 0, payload, 0.0)
    receiver.flush()
    frames = list(receiver.frames(0.0))
    for channel in range(n_channels):
        heard = [sample for frame in frames if frame.channel == channel for sample in samples_of(frame.raw)]
        if size == 1:
            expand = expand_ulaw if encoding == "PCMU" else expand_alaw
            expected = [expand(code) for code in payload[channel::n_channels]]
        else:
            words = samples_of(gcmedia.l16_decode(payload, "big" if encoding == "L16" else "little"))
            expected = words[channel::n_channels]
        assert heard == expected


@pytest.mark.parametrize(("encoding", "size"), [("PCMU", 1), ("PCMA", 1), ("L16", 2), ("L16LE", 2)])
@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [8000, 11000, 16000])
def test_a_packet_that_is_a_frame_is_decoded_and_measured_at_once(
    kernels: str, encoding: str, size: int, n_channels: int, sample_rate: int
) -> None:
    n_samples = sample_rate // 50
    payloads = [random_octets(n_samples * n_channels * size) for _ in range(3)]
    receiver = gcmedia.Receiver(encoding, sample_rate, n_channels=n_channels)
    written = gcmedia.Receiver(encoding, sample_rate, n_channels=n_channels)
    out = array("h", bytes(2 * 3 * n_samples * n_channels))
    for number, payload in enumerate(payloads):
        receiver.push_media(number, 20 * number, payload, 0.0)
        written.push_media(number, 20 * number, payload, 0.0)
    receiver.flush()
    written.flush()
    frames = list(receiver.frames(0.0))
    assert [(frame.position, frame.channel) for frame in frames] == [
        (number * n_samples, channel) for number in range(3) for channel in range(n_channels)
    ]
    for frame in frames:
        payload = payloads[frame.position // n_samples]
        if size == 1:
            expand = expand_ulaw if encoding == "PCMU" else expand_alaw
            expected = [expand(code) for code in payload[frame.channel :: n_channels]]
        else:
            words = samples_of(gcmedia.l16_decode(payload, "big" if encoding == "L16" else "little"))
            expected = list(words[frame.channel :: n_channels])
        assert list(samples_of(frame.raw)) == expected
        squares = sum(sample * sample for sample in expected)
        assert frame.level_dbov == pytest.approx(10 * math.log10(squares / n_samples / 32768**2), abs=1e-9)
    assert written.read_into(out) == 3 * n_samples
    assert out.tobytes() == b"".join(bytes(frame.raw) for frame in frames)


LOUDEST = [-32768, 32767, -32767, 0, 1, -1]


def check_levels(samples: list[int]) -> None:
    pcm = array("h", samples)
    n = len(samples) or 1
    assert gcmedia.rms(pcm) == math.sqrt(sum(sample * sample for sample in samples) / n) / 32768
    assert gcmedia.mean_abs(pcm) == sum(map(abs, samples)) / n / 32768
    assert gcmedia.peak(pcm) == max(map(abs, samples), default=0) / 32768


def test_levels_are_exact_at_every_length(kernels: str) -> None:
    pcm = samples_of(random_octets(2 * max(LENGTHS)))
    for n in LENGTHS:
        check_levels(pcm[:n])


@pytest.mark.parametrize("sample", LOUDEST)
@pytest.mark.parametrize("n", [1, 2, 31, 33, 32767, 32768, 65537, 200_001])
def test_sums_of_the_loudest_samples_do_not_overflow(kernels: str, sample: int, n: int) -> None:
    pcm = array("h", [sample]) * n
    assert gcmedia.rms(pcm) == abs(sample) / 32768
    assert gcmedia.mean_abs(pcm) == abs(sample) / 32768
    assert gcmedia.peak(pcm) == abs(sample) / 32768


@given(
    data=st.binary(max_size=600),
    skip=st.integers(0, 9),
    n_channels=st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_all_sets_give_the_same_bits(data: bytes, skip: int, n_channels: int) -> None:
    octets = memoryview(bytes(skip) + data)[skip:]  # at any address
    even = octets[: len(octets) // 2 * 2]
    whole = octets[: len(octets) // (2 * n_channels) * 2 * n_channels]
    shares = array("f", bytes(4 * len(octets)))

    def everything() -> list[object]:
        return [
            gcmedia.ulaw_decode(octets),
            gcmedia.alaw_decode(octets),
            bytes(gcmedia.ulaw_decode(octets, shares)),
            bytes(gcmedia.alaw_decode(octets, shares)),
            gcmedia.ulaw_encode(even),
            gcmedia.alaw_encode(even),
            gcmedia.l16_decode(even),
            gcmedia.l16_encode(even),
            gcmedia.rms(even),
            gcmedia.mean_abs(even),
            gcmedia.peak(even),
            [gcmedia.extract_channel(whole, n_channels, channel) for channel in range(n_channels)],
        ]

    results = []
    for name in SETS:
        cpu.select(name)
        results.append(everything())
    assert all(result == results[0] for result in results)


@given(st.lists(st.one_of(st.sampled_from(LOUDEST), st.integers(-32768, 32767)), max_size=300))
@settings(max_examples=100, deadline=None)
def test_levels_of_any_samples_are_exact(samples: list[int]) -> None:
    for name in SETS:
        cpu.select(name)
        check_levels(samples)


# Which set runs.


def features_with(value: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "GCMEDIA_CPU"}
    if value is not None:
        environment["GCMEDIA_CPU"] = value
    code = "import gcmedia; print(gcmedia.cpu_features().kernels)"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_baseline_is_always_there_and_sets_are_in_order() -> None:
    assert list(SETS) == [name for name in ALL_SETS if name in SETS]
    assert SETS[0] == "baseline"


@pytest.mark.parametrize("value", [None, ""])
def test_the_widest_set_runs_unless_one_is_forced(value: str | None) -> None:
    done = features_with(value)
    assert done.stdout.strip() == SETS[-1], done.stderr


@pytest.mark.parametrize("name", ALL_SETS)
def test_the_environment_forces_a_set_or_says_why_not(name: str) -> None:
    done = features_with(name)
    if name in SETS:
        assert done.stdout.strip() == name, done.stderr
    else:
        assert f"ConfigError: GCMEDIA_CPU is '{name}', but this processor runs {', '.join(SETS)} only" in done.stderr


def test_an_unknown_set_is_refused_by_name() -> None:
    done = features_with("avx1024")
    assert done.returncode == 1
    assert "ConfigError: GCMEDIA_CPU is 'avx1024', not one of baseline, avx2, avx512" in done.stderr


def test_select_changes_over_and_refuses_what_it_does_not_know() -> None:
    for name in SETS:
        cpu.select(name)
        assert gcmedia.cpu_features() == gcmedia.CpuFeatures(kernels=name, available=SETS)
    with pytest.raises(gcmedia.ConfigError, match="name is 'sse9', not one of baseline, avx2, avx512"):
        cpu.select("sse9")
    assert gcmedia.cpu_features().kernels == SETS[-1]
