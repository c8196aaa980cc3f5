"""A call over a perfect network: every sample is what was sent, in every form that it can be sent in."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gcmedia
from gcmedia import CompressorConfig, FormatError, GateConfig
from gcmedia.record import read_wav
from gcmedia.simulator import Call, Faults, Jump
from tests.reference.g711 import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode

from .running import patient, run

pytestmark = pytest.mark.anyio

CODERS = {"pcmu": (ulaw_encode, ulaw_decode), "pcma": (alaw_encode, alaw_decode)}


@cache
def a_call(seconds: float = 3.0) -> Call:
    """The parties speak at once, so that mixing them shows."""
    return Call.demo(seconds=seconds, noise_db=-30.0)


def material(call: Call, format: str, rate: int, channels: int) -> NDArray[np.int16]:
    """The samples as whoever decodes them must find them, shape (n_samples, channels)."""
    pcm = call.pcm(rate, channels)
    if format == "raw":
        return pcm
    encode, decode = CODERS[format]
    return decode(encode(pcm))


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("format", ["raw", "pcmu", "pcma"])
async def test_004_12_every_sample_is_the_sender_s(format: str, channels: int, rate: int) -> None:
    call = a_call(1.5)
    found = await run(call, profile=patient(format=format, n_channels=channels, sample_rate=rate))
    assert found.error is None
    expected = material(call, format, rate, channels)
    assert found.call.format.channels == (("mixed",) if channels == 1 else ("external", "internal"))
    assert found.call.format.sample_rate == rate
    for channel in range(channels):
        assert np.array_equal(found.raw(channel), expected[:, channel])
    assert found.stats.balanced
    assert found.stats.packets_played == found.truth.packets_sent == call.n_packets
    assert found.stats.concealed_samples == 0


@pytest.mark.parametrize("ack", ["bare", "detailed"])
@pytest.mark.parametrize(
    ("layout", "asked"),
    [
        ("padded16", "padded16"),
        ("packed12", "packed12"),
        ("padded16", "auto"),
        ("packed12", "auto"),
        ("json", "padded16"),
        ("json", "auto"),
    ],
)
async def test_004_13_either_layout_and_json_carry_the_same_audio(layout: str, asked: str, ack: str) -> None:
    call = a_call()
    found = await run(call, profile=patient(layout=asked), layout=layout, ack=ack)
    assert found.error is None
    expected = material(call, "pcmu", 8000, 2)
    for channel in range(2):
        assert np.array_equal(found.raw(channel), expected[:, channel])
    assert found.stats.balanced
    assert found.stats.packets_received == call.n_packets


async def test_004_13_the_wrong_layout_is_noise_that_is_counted_not_a_crash() -> None:
    found = await run(a_call(), profile=patient(layout="packed12"), layout="padded16")
    assert found.error is None
    assert found.stats.balanced
    assert found.stats.packets_received == a_call().n_packets


async def test_004_13_auto_on_packets_that_show_nothing_is_an_error_that_says_so() -> None:
    faults = Faults(seed=1, sequence_jumps=tuple(Jump(20.0 * n, 1000) for n in range(1, 150)))
    found = await run(a_call(), faults, profile=patient(layout="auto"))
    assert isinstance(found.error, FormatError)
    assert "name the layout" in str(found.error)
    assert found.stats.balanced
    assert found.call.state == "failed"


@pytest.mark.parametrize("packet_ms", [5, 10, 30, 60, 200])
async def test_frames_are_20_ms_whatever_the_packets_are(packet_ms: int) -> None:
    call = Call.demo(seconds=3, packet_ms=packet_ms)
    found = await run(call)
    assert np.array_equal(found.raw(0), material(call, "pcmu", 8000, 2)[:, 0])
    lengths = [frame.n_samples for frame in found.frames if frame.channel == 0]
    assert set(lengths[:-1]) == {160}
    assert 0 < lengths[-1] <= 160


async def test_004_20_the_sequence_number_wraps() -> None:
    call = Call.demo(seconds=3, first_sequence_number=2**32 - 40)
    found = await run(call)
    assert np.array_equal(found.raw(1), material(call, "pcmu", 8000, 2)[:, 1])
    assert found.stats.packets_lost == found.stats.resets == 0


async def test_004_15_a_stream_joined_late_has_no_gap() -> None:
    found = await run(Call.demo(seconds=3, first_sequence_number=100))
    assert found.stats.packets_lost == found.stats.gaps == found.stats.flushes == 0


async def test_frames_come_in_order_of_time_then_channel_and_say_where_they_are() -> None:
    found = await run(a_call())
    keys = [(frame.position, frame.channel) for frame in found.frames]
    assert keys == sorted(keys)
    assert {frame.channel for frame in found.frames} == {0, 1}
    for frame in found.frames:
        assert frame.time_s == frame.position / 8000
        assert len(frame.pcm) == len(frame.raw) == frame.n_samples


async def test_processing_leaves_the_raw_samples_alone() -> None:
    call = a_call()
    found = await run(call, gate=GateConfig(), compressor=CompressorConfig())
    expected = material(call, "pcmu", 8000, 2)
    for channel in range(2):
        assert np.array_equal(found.raw(channel), expected[:, channel])
    assert any(bytes(frame.pcm) != bytes(frame.raw) for frame in found.frames)


async def test_a_recording_is_bit_for_bit_what_was_handed_out(tmp_path: Path) -> None:
    found = await run(a_call(), folder=tmp_path / "call", gate=GateConfig())
    for channel, name in enumerate(found.call.format.channels):
        raw = read_wav(tmp_path / "call" / f"raw-{name}.wav")
        clean = read_wav(tmp_path / "call" / f"clean-{name}.wav")
        assert raw.data == found.raw(channel).tobytes()
        assert clean.data == b"".join(bytes(f.pcm) for f in found.frames if f.channel == channel)
        assert len(raw.data) == len(clean.data) == 2 * found.stats.total_samples


async def test_a_call_of_one_party_has_the_other_silent() -> None:
    pcm = np.arange(-8000, 8000, dtype=np.int16)
    found = await run(Call({"external": pcm}), profile=patient(format="raw"))
    assert np.array_equal(found.raw(0), pcm)
    assert not found.raw(1).any()


async def test_a_call_of_a_single_packet() -> None:
    pcm = np.arange(1000, 1160, dtype=np.int16)
    found = await run(Call({"external": pcm, "internal": -pcm}), profile=patient(format="raw"))
    assert np.array_equal(found.raw(0), pcm)
    assert np.array_equal(found.raw(1), -pcm)
    assert found.stats.balanced


async def test_004_09_the_life_of_a_call_is_told_in_order() -> None:
    told: list[dict[str, Any]] = []
    found = await run(a_call(), on_event=told.append)
    assert [event["kind"] for event in told] == found.events == ["connected", "ended"]
    assert found.call.state == "ended"
    assert told[-1]["position"] == found.stats.total_samples


async def test_what_on_event_raises_does_not_end_the_call() -> None:
    def fail(event: dict[str, Any]) -> None:
        raise RuntimeError("no")

    found = await run(a_call(), on_event=fail)
    assert found.error is None
    assert found.stats.total_samples == 24_000


async def test_a_call_is_captured_once() -> None:
    found = await run(a_call())
    with pytest.raises(gcmedia.StateError, match="ended; a call is captured once"):
        await found.call.__aenter__()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transcripts_at": "never"}, "transcripts_at is 'never'"),
        ({"max_frames": 0}, "max_items is 0"),
        ({"overflow": "block"}, "overflow is 'block'"),
        ({"token": "t", "region": None}, "region is needed"),
        ({"token": "t", "region": "https://media.example"}, "no host of the platform over TLS"),
        ({"token": "t", "region": "http://api.mypurecloud.com:8080"}, "no host of the platform over TLS"),
    ],
)
def test_wrong_settings_are_named_before_anything_happens(options: dict[str, Any], message: str) -> None:
    options = {"token": "t", "region": "us-east-1"} | options
    with pytest.raises(gcmedia.ConfigError, match=message):
        gcmedia.capture("c", **options)


@pytest.mark.parametrize(
    "first",
    ["import gcmedia", "import gcmedia.capture", "from gcmedia.capture import Capture", "import gcmedia.demo"],
)
def test_capture_is_the_function_whatever_was_imported_before(first: str) -> None:
    code = f"{first}; import gcmedia; print(gcmedia.capture('c', token='t', region='us-east-1').state)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "new\n"


def test_a_conversation_needs_an_id() -> None:
    with pytest.raises(gcmedia.ConfigError, match="conversation_id is empty"):
        gcmedia.capture("", token="t", region="us-east-1")


@pytest.mark.parametrize(
    ("conversation", "folder"),
    [("a/b", "a%2Fb"), ("..", "%2E%2E"), (".", "%2E"), ("../x", "..%2Fx"), ("7c1f-9", "7c1f-9"), ("é", "%C3%A9")],
)
def test_no_conversation_id_leaves_the_folder_for_calls(tmp_path: Path, conversation: str, folder: str) -> None:
    call = gcmedia.capture(conversation, token="t", region="us-east-1", record_to=tmp_path)
    assert call.folder == tmp_path / folder


@pytest.mark.parametrize("missing", ["GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "GENESYS_REGION"])
def test_a_missing_credential_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in ("GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "GENESYS_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv(missing)
    with pytest.raises(gcmedia.MissingCredentials, match=missing):
        gcmedia.capture("c")
