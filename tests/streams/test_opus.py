"""Opus: decoded where that can be done, else passed on as it is and marked; in neither case dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gcmedia.media_streams.stream
from gcmedia import JitterConfig, MediaStreamsConfig, StateError
from gcmedia.media_streams.opus import OpusDecoder
from gcmedia.simulator import Call, Disconnect, Faults, StreamsPlan
from gcmedia.simulator.streams_messages import encode_opus

from .running import Run, assert_accounted, capturing, clouded, interactions, patient, run

pytestmark = pytest.mark.anyio

FULL = StreamsPlan(replies="full")
ROUGH = Faults(seed=4, loss=0.03, duplicates=0.03, malformed=0.02, disconnects=(Disconnect(1000, "abnormal", 300),))


def tone(seconds: float = 2.0) -> Call:
    n = int(8000 * seconds)
    return Call({"external": (8000 * np.sin(2 * np.pi * 440 * np.arange(n) / 8000)).astype(np.int16)})


def opus() -> MediaStreamsConfig:
    return patient(codecs=("opus", "pcmu"))


async def test_003_24_opus_is_decoded(tmp_path: Path) -> None:
    found = await run(interactions(2), tone(), None, FULL, profile=opus(), record_to=tmp_path)
    assert found.error is None
    for name in interactions(2):
        stream = found.streams[name]
        assert (stream.codec, stream.decoded, stream.format.sample_rate) == ("opus", True, 48_000)
        assert_accounted(found, name)
        pcm = np.frombuffer(found.pcm(name), np.int16).astype(float)
        assert len(pcm) == 2 * 48_000
        spectrum = np.abs(np.fft.rfft(pcm[4800:-4800] * np.hanning(len(pcm) - 9600)))
        assert np.argmax(spectrum) * 48_000 / (len(pcm) - 9600) == pytest.approx(440, abs=2)
        assert np.sqrt(np.mean(pcm[4800:-4800] ** 2)) == pytest.approx(8000 / np.sqrt(2), rel=0.1)
        assert {frame.is_silent for frame in found.frames[name][5:]} == {False}


async def test_003_24_decoded_opus_is_accounted_for_over_a_bad_network() -> None:
    found = await run(["a"], tone(), ROUGH, FULL, profile=opus())
    stats, truth = found.streams["a"].stats(), found.cloud.truth("a")
    assert stats.balanced
    assert stats.packets_played == truth.packets_sent
    assert stats.packets_duplicate == truth.duplicates_sent
    assert stats.total_samples == 2 * 48_000
    assert stats.packets_lost > 10


def test_003_24_what_is_no_opus_is_refused_and_a_repeat_is_decoded_once() -> None:
    packets = encode_opus(tone(0.2))
    once, twice = OpusDecoder(), OpusDecoder()
    plain = [once.decode(number, packet) for number, packet in enumerate(packets)]
    for number, packet in enumerate(packets):
        assert twice.decode(number, packet) == twice.decode(number, packet) == plain[number]
    assert {len(pcm or b"") for pcm in plain} == {1920}
    assert once.decode(99, b"\xff\xff\xff") is None


@pytest.fixture
def without_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcmedia.media_streams.stream, "can_decode", lambda: False)


def assert_passed_on(found: Run, call: Call) -> None:
    stream, stats, truth = found.streams["a"], found.streams["a"].stats(), found.cloud.truth("a")
    assert (stream.codec, stream.decoded) == ("opus", False)
    assert stats.balanced
    assert stats.packets_buffered == 0
    assert stats.packets_received - stats.packets_refused == truth.packets_sent + truth.duplicates_sent
    packets, frames = encode_opus(call), found.frames["a"]
    assert len(frames) == stats.packets_played == truth.packets_sent
    for frame in frames:
        assert (frame.decoded, frame.is_silent, frame.level_dbov) == (False, None, None)
        assert frame.position % 960 == 0
        assert frame.payload == packets[frame.position // 960 + truth_offset(found)]
    positions = [frame.position for frame in frames]
    assert positions == sorted(set(positions))


def truth_offset(found: Run) -> int:
    """Packets lost before the first one that came."""
    truth = found.cloud.truth("a")
    sent = [one.timestamp or 0 for one in found.cloud.journal.records if one.kind == "packet"]
    return (min(sent) - truth.start_timestamp_ms) // 20


@pytest.mark.usefixtures("without_decoder")
@pytest.mark.parametrize("faults", [None, ROUGH], ids=["perfect", "rough"])
async def test_003_24_opus_without_a_decoder_is_passed_on_and_marked(faults: Faults | None) -> None:
    """003-25: what is not known to be silent is not kept from analytics."""
    call = tone()
    found = await run(["a"], call, faults, FULL, profile=opus(), include_silence=False)
    assert_passed_on(found, call)


@pytest.mark.usefixtures("without_decoder")
async def test_003_24_the_published_window_orders_what_is_not_decoded() -> None:
    call = tone()
    jitter = JitterConfig(policy="window", window_ms=10_000.0, wide_window_ms=10_000.0)
    found = await run(["a"], call, Faults(seed=1, reorder=0.2), FULL, profile=opus(), jitter=jitter)
    assert found.streams["a"].stats().packets_reordered > 5
    assert_passed_on(found, call)


@pytest.mark.usefixtures("without_decoder")
async def test_003_24_what_is_not_decoded_cannot_be_paused() -> None:
    async with (
        clouded(tone(20.0), None, FULL, speed=10.0) as cloud,
        capturing(cloud, ["a"], profile=opus(), overflow="drop_oldest") as streams,
    ):
        with pytest.raises(StateError, match="undecoded"):
            await streams["a"].pause()


async def test_003_24_the_server_takes_the_first_codec_that_it_has() -> None:
    found = await run(["a"], tone(0.5), None, FULL, profile=patient(codecs=("pcma", "opus")))
    assert found.streams["a"].codec == "pcma"
