"""Material of calls: the speech that ships, WAV files, resampling, G.711; and the server in a thread."""

from __future__ import annotations

import struct
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from gcmedia.errors import ConfigError, FormatError, StateError
from gcmedia.simulator import Call, Simulator
from gcmedia.simulator.audio import resample
from tests.reference.g711 import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode


def wav(
    samples: bytes, *, tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, extra: bytes = b""
) -> bytes:
    layout = (
        struct.pack("<HHIIHH", tag, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits) + extra
    )
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
        for name, body in ((b"fmt ", layout), (b"LIST", b"odd"), (b"data", samples))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def sine(hz: float, rate: int, n_samples: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(np.rint(10_000 * np.sin(2 * np.pi * hz * np.arange(n_samples) / rate)), dtype=np.int16)


# -- the speech that ships ---------------------------------------------------------------------------------------


def test_the_demo_is_a_minute_of_two_parties_whose_lines_are_where_the_script_says() -> None:
    call = Call.demo()
    assert 55_000 < call.duration_ms < 70_000
    assert call.channels == ("external", "internal")
    pcm = call.pcm()
    heard = np.zeros(pcm.shape, dtype=bool)
    for line in call.utterances:
        column = call.channels.index(line.channel)
        start, stop = round(line.start_ms * 8), round((line.start_ms + line.duration_ms) * 8)
        heard[max(0, start - 8) : stop + 8, column] = True  # times are rounded to the millisecond
        assert np.abs(pcm[start : start + 160, column]).max() > 100
        assert np.abs(pcm[stop - 160 : stop, column]).max() > 100
    assert not pcm[~heard].any()
    overlaps = [
        b.start_ms < a.start_ms + a.duration_ms for a, b in zip(call.utterances, call.utterances[1:], strict=False)
    ]
    assert 0 < sum(overlaps) < len(overlaps) / 2


def test_shipped_files_are_small() -> None:
    for entry in files("gcmedia.simulator").joinpath("speech").iterdir():
        assert len(entry.read_bytes()) < 520_000


def test_noise_is_seeded_and_on_the_customers_side_only() -> None:
    clean = Call.demo(seconds=2.0)
    noisy, same, other = (Call.demo(seconds=2.0, noise_db=-50.0, seed=seed) for seed in (0, 0, 1))
    noise = noisy.pcm()[:, 0].astype(float) - clean.pcm()[:, 0]
    assert 20 * np.log10(np.sqrt(np.mean(noise**2)) / 32768) == pytest.approx(-50.0, abs=0.2)
    np.testing.assert_array_equal(noisy.pcm()[:, 1], clean.pcm()[:, 1])
    np.testing.assert_array_equal(noisy.pcm(), same.pcm())
    assert np.any(noisy.pcm() != other.pcm())


def test_repetition_plays_on() -> None:
    call = Call.demo(seconds=5.0, repeat=3)
    assert call.n_packets == 750
    assert call.n_samples == 120_000
    assert call.payload(251, "pcmu", 8000, 1) == call.payload(1, "pcmu", 8000, 1)
    assert [line.start_ms for line in call.utterances] == [400, 5400, 10_400]


# -- WAV files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        pytest.param(wav(struct.pack("<3h", 1, -2, 300)), [1, -2, 300], id="pcm16"),
        pytest.param(wav(bytes([128, 0, 255]), bits=8), [0, -32768, 32512], id="pcm8"),
        pytest.param(wav(bytes([0xFF, 0x80, 0x00]), tag=7, bits=8), [0, 32124, -32124], id="mu-law"),
        pytest.param(wav(bytes([0xD5, 0xAA, 0x2A]), tag=6, bits=8), [8, 32256, -32256], id="a-law"),
        pytest.param(
            wav(struct.pack("<2h", 5, 6), tag=0xFFFE, extra=struct.pack("<HHIH14x", 22, 16, 4, 1)),
            [5, 6],
            id="extensible",
        ),
        pytest.param(wav(struct.pack("<2h", 7, 8) + b"\x09"), [7, 8], id="half-a-sample-more"),
    ],
)
def test_wav_formats(tmp_path: Path, octets: bytes, expected: list[int]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(octets)
    call = Call.from_wav(path)
    assert call.pcm()[: len(expected), 0].tolist() == expected
    assert not call.pcm()[:, 1].any()
    assert call.n_samples == 160  # padded to a packet


def test_stereo_is_two_parties_and_so_are_two_files(tmp_path: Path) -> None:
    left, right = sine(300, 8000, 800), sine(500, 8000, 640)
    stereo, one, two = tmp_path / "s.wav", tmp_path / "1.wav", tmp_path / "2.wav"
    stereo.write_bytes(wav(np.stack([left[:640], right], axis=1).tobytes(), channels=2))
    one.write_bytes(wav(left.tobytes()))
    two.write_bytes(wav(right.tobytes()))
    np.testing.assert_array_equal(Call.from_wav(stereo).pcm()[:640], Call.from_wav(one, two).pcm()[:640])
    assert Call.from_wav(one, two).n_samples == 800
    with pytest.raises(FormatError, match="3 channels"):
        Call.from_wav(stereo, one)


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        pytest.param(b"", "octets 0 to 11 are missing", id="empty"),
        pytest.param(b"ID3\x04 this is an MP3", "not a WAV file: octets 0 to 11 are 49 44 33", id="mp3"),
        pytest.param(wav(b"\0" * 8)[:12], "no format chunk", id="cut-after-head"),
        pytest.param(wav(b"\0" * 8)[:36], "no data chunk", id="cut-before-data"),
        pytest.param(wav(b""), "no samples", id="no-samples"),
        pytest.param(wav(b"\0" * 8, bits=24), "format 1 with 24 bits", id="24-bit"),
        pytest.param(wav(b"\0" * 8, tag=85), "format 85 with 16 bits", id="mp3-in-wav"),
        pytest.param(wav(b"\0" * 8, channels=0), "0 channels", id="no-channels"),
        pytest.param(wav(b"\0" * 8, rate=7), "7 Hz", id="rate"),
        pytest.param(b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0\x01\0\x01\0", "4 octets, fewer than 16", id="short-format"),
        pytest.param(b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\0\0", "before any format chunk", id="data-first"),
    ],
)
def test_what_is_no_usable_wav_is_named_with_its_place(tmp_path: Path, octets: bytes, message: str) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(octets)
    with pytest.raises(FormatError, match=message) as caught:
        Call.from_wav(path)
    assert str(path) in str(caught.value)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_octets_break_the_reader(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + octets)
    try:
        Call.from_wav(path)
    except FormatError:
        pass


# -- resampling and G.711 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(8000, 16000), (16000, 8000), (44_100, 16_000), (22_050, 8000), (11_025, 8000)]
)
def test_resampling_keeps_tones_in_place(rate: int, new_rate: int) -> None:
    samples = sine(1000, rate, rate // 2)[:, None]
    out = resample(samples, rate, new_rate)[:, 0]
    assert len(out) == -(-len(samples) * new_rate // rate)
    wanted = sine(1000, new_rate, len(out))
    middle = slice(200, -200)
    error = out[middle].astype(float) - wanted[middle]
    assert np.mean(error**2) < np.mean(wanted[middle].astype(float) ** 2) * 1e-5  # 50 dB


def test_halving_the_rate_keeps_what_is_above_out() -> None:
    out = resample(sine(6000, 16_000, 8000)[:, None], 16_000, 8000)[200:-200]
    assert np.abs(out).max() < 10_000 / 300


def test_g711_tables() -> None:
    """Corners of ITU-T G.711 tables 1 and 2; every code word survives a round trip."""
    octets = np.arange(256, dtype=np.uint8)
    twice = ulaw_encode(ulaw_decode(octets))
    assert [int(a) for a in octets[twice != octets]] == [0x7F]  # negative zero comes back as zero
    np.testing.assert_array_equal(alaw_encode(alaw_decode(octets)), octets)
    extremes = np.array([-32768, -1, 0, 32767], dtype=np.int16)
    assert ulaw_decode(ulaw_encode(extremes)).tolist() == [-32124, 0, 0, 32124]
    assert alaw_decode(alaw_encode(extremes)).tolist() == [-32256, -8, 8, 32256]


@pytest.mark.parametrize(
    ("material", "options", "error"),
    [
        ({"a": np.zeros(8, np.int16)}, {"sample_rate": 44_100}, ConfigError),
        ({"a": np.zeros(8, np.int16)}, {"packet_ms": 1}, ConfigError),
        ({"a": np.zeros(8, np.int16)}, {"first_sequence_number": 2**32}, ConfigError),
        ({"a": np.zeros(8, np.int16)}, {"repeat": 0}, ConfigError),
        ({"a": np.zeros(8, np.float32)}, {}, FormatError),
        ({"a": np.zeros((8, 2), np.int16)}, {}, FormatError),
        ({"a": np.zeros(0, np.int16)}, {}, FormatError),
        ({}, {}, FormatError),
    ],
)
def test_material_out_of_range_is_refused(material: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Call(material, **options)


# -- the server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_server_in_a_thread_serves_synchronous_clients(backend: str) -> None:
    with Simulator.in_thread({"conv-1": Call.demo(seconds=2.0)}, speed=None, backend=backend) as cloud:
        form = {"grant_type": "client_credentials", "client_id": cloud.client_id, "client_secret": cloud.client_secret}
        with httpx.Client(verify=False, trust_env=False) as client:
            token = client.post(cloud.token_url, data=form).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        with connect(cloud.media_url, additional_headers=headers, proxy=None, max_queue=None) as websocket:
            websocket.send('{"type": "subscribe", "conversationId": "conv-1"}')
            messages = list(websocket)
        assert sum(isinstance(message, bytes) for message in messages) == cloud.truth("conv-1").packets_sent == 100
        address = cloud.base_url
    with pytest.raises(httpx.ConnectError), httpx.Client(verify=False, trust_env=False) as client:
        client.get(address)


@pytest.mark.parametrize(
    "settings",
    [
        {"speed": 0.0},
        {"speed": None, "live": True},
        {"layout": "odd"},
        {"ack": "odd"},
        {"token_in": "odd"},
        {"write_timeout_s": 0.0},
        {"journal_limit": 0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(reversed(settings))):
        Simulator({}, **settings)


def test_an_address_needs_a_running_server() -> None:
    cloud = Simulator({})
    with pytest.raises(StateError, match="not running"):
        _ = cloud.base_url
    with pytest.raises(StateError, match="conv-1"):
        cloud.truth("conv-1")
