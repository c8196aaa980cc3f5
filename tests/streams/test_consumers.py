"""What many consumers get: speech for analytics, lines for monitoring, an audit of everything, and rates."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from gcmedia import ConfigError, JitterBuffer, JitterConfig, SilenceConfig, Stats
from gcmedia.clock import ScaledClock
from gcmedia.media_streams import MediaFrame, Rates, Throughput
from gcmedia.media_streams.rate import Rate, total
from gcmedia.record.audit import AuditPolicy, verify_audit
from gcmedia.simulator import Call, Faults, StreamsPlan

from .running import capturing, clouded, interactions, patient, run

FULL = StreamsPlan(replies="full")


def half_silent(seconds: float = 2.0) -> Call:
    """A tone for the first half, nothing for the second."""
    n = int(4000 * seconds)
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(n) / 8000)).astype(np.int16)
    return Call({"external": np.concatenate([tone, np.zeros(n, np.int16)])})


CALL = half_silent()


@pytest.mark.anyio
@pytest.mark.parametrize("codec", ["pcmu", "pcma"])
async def test_003_25_silence_is_kept_from_analytics_and_nothing_else(codec: str, tmp_path: Path) -> None:
    """003-22: a frame of 160 octets is judged by what it sounds like.  003-24: so are both laws' codes for silence."""
    async with clouded(CALL) as cloud:
        streams = capturing(
            cloud, ["a"], include_silence=False, profile=patient(codecs=(codec,)), record_to=tmp_path,
            audit_to=tmp_path / "all.jsonl", audit_policy=AuditPolicy(consent=True, purpose="quality"),
        )  # fmt: skip
        everything = streams.subscribe("everything", include_silence=True, overflow="wait")
        async with streams:
            speech = [frame async for frame in streams]
        frames = [frame async for frame in everything]
    assert [frame.position for frame in speech] == [160 * n for n in range(50)]
    assert [frame.is_silent for frame in frames] == [False] * 50 + [True] * 50
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    captured = [line for line in lines if line["action"] == "media_capture"]
    assert [(line["frames"], line["silent"], line["signalDetected"]) for line in captured] == [(100, 50, True)]
    assert {line["interactionId"] for line in lines} == {"a"}
    assert streams["a"].stats().packets_played == 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("metric", "silent"),
    [("rms", False), ("mean_abs", True)],
)
async def test_003_21_the_level_is_true_rms_unless_asked_otherwise(metric: str, silent: bool) -> None:
    """A tone whose peak is 0.015: its RMS, 0.0106, is over 0.01, its mean magnitude is not."""
    tone = np.round(0.015 * 32768 * np.sin(2 * np.pi * 400 * np.arange(8000) / 8000)).astype(np.int16)
    call = Call({"external": tone})
    found = await run(["a"], call, None, FULL, silence=SilenceConfig(metric=metric))
    assert {frame.is_silent for frame in found.frames["a"][1:]} == {silent}


@pytest.mark.anyio
async def test_003_26_verdicts_can_be_held_over_frames() -> None:
    found = await run(["a"], CALL, None, FULL, silence=SilenceConfig(hangover_frames=10, window_frames=4))
    silent = [frame.is_silent for frame in found.frames["a"]]
    assert silent.index(True) >= 60
    assert all(silent[silent.index(True) :])


@pytest.mark.anyio
async def test_003_35_monitoring_lines_go_to_any_number_of_consumers() -> None:
    """003-01: each with a queue of its own; audio in base64 or none, silence or not."""
    names = interactions(2)
    async with clouded(CALL) as cloud:
        streams = capturing(cloud, names)
        whole = streams.monitor("whole", overflow="wait")
        bare = streams.monitor("bare", audio=False, include_silence=False, overflow="wait")
        slow = streams.monitor("slow", max_lines=3)
        async with streams:
            frames = [frame async for frame in streams]
        told = [json.loads(line) async for line in whole]
        short = [json.loads(line) async for line in bare]
        assert len([line async for line in slow]) == 3
        assert slow.dropped == 197
        assert streams.dropped == 197
    assert len(told) == len(frames) == 200
    for line, frame in zip(told, frames, strict=True):
        assert line["type"] == "monitor"
        assert base64.b64decode(line["payload"]) == bytes(frame.payload)
        metadata = line["metadata"]
        assert (metadata["interactionId"], metadata["position"]) == (frame.interaction_id, frame.position)
        assert (metadata["sequenceNumber"], metadata["timestamp"]) == (frame.sequence_number, frame.timestamp)
        assert line["isSilent"] is frame.is_silent
        assert len(json.dumps(line)) < 900
    assert len(short) == 100
    assert all("payload" not in line and line["isSilent"] is False for line in short)


@pytest.mark.anyio
async def test_003_35_a_consumer_that_may_miss_nothing_holds_the_server_back() -> None:
    async with clouded(CALL) as cloud:
        streams = capturing(cloud, ["a"], max_frames=0)
        patient_one = streams.subscribe("patient", max_frames=2, overflow="wait", include_silence=True)
        frames: list[MediaFrame] = []
        async with streams:
            with anyio.fail_after(60):
                while streams["a"].state != "live":  # noqa: ASYNC110 -- a state of the other side
                    await anyio.sleep(0.005)
            await anyio.sleep(0.05)
            assert streams["a"].state == "live"  # the server would be done by now
            async for frame in patient_one:
                frames.append(frame)
        assert len(frames) == 100
        assert streams.dropped == 0


@pytest.mark.anyio
async def test_003_35_the_queue_of_one_that_never_reads_is_bounded() -> None:
    async with clouded(CALL) as cloud:
        async with capturing(cloud, ["a"], max_frames=10, overflow="drop_oldest") as streams:
            async for _ in streams["a"].subscribe("end", max_frames=1000):
                pass
            assert [frame.position async for frame in streams] == [160 * n for n in range(90, 100)]
        assert streams.dropped == 90
        late: dict[str, Callable[[], object]] = {
            "batch is 0": lambda: streams.metadata("m", batch=0),
            "max_items is 0": lambda: streams.monitor("m", max_lines=0),
            "overflow is 'x'": lambda: streams.subscribe("m", overflow="x"),
        }
        for text, consume in late.items():
            with pytest.raises(ConfigError, match=text):
                consume()
        assert [line async for line in streams.monitor("late")] == []


@pytest.mark.anyio
@pytest.mark.parametrize("audit_frames", [False, True])
async def test_003_34_the_audit_holds_what_was_done_and_nothing_that_was_said(
    audit_frames: bool, tmp_path: Path
) -> None:
    """A summary a period or a line a frame; compliance is computed; subscribed, denied and unsubscribed are told."""
    path = tmp_path / "audit.jsonl"
    async with clouded({"a": half_silent(25.0), "b": half_silent(25.0)}) as cloud:
        streams = capturing(
            cloud, ["a", "b", "nobody"], audit_to=path, audit_frames=audit_frames,
            audit_policy=AuditPolicy(consent=True, purpose="quality"),
        )  # fmt: skip
        async with streams:
            async for frame in streams:
                if frame.interaction_id == "b" and frame.position > 160_000:
                    await streams.remove(["b"])
    assert verify_audit(path) > 5
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    of = {name: [line for line in lines if line["interactionId"] == name] for name in ("a", "b", "nobody")}
    assert [line["action"] for line in of["nobody"]] == ["denied"]
    assert [line["action"] for line in of["b"] if line["action"] != "media_capture"] == [
        "subscribed", "unsubscribed", "ended",
    ]  # fmt: skip
    captured = [line for line in of["a"] if line["action"] == "media_capture"]
    assert sum(line["frames"] for line in captured) == 1250
    assert len(captured) == (1250 if audit_frames else 3)
    assert {line["privacyCompliant"] for line in lines} == {True}
    assert {line["signalDetected"] for line in captured} == {True, False}
    assert all(isinstance(line["sequenceNumber"], int) for line in captured)
    assert "payload" not in path.read_text()


@pytest.mark.anyio
async def test_003_34_without_consent_nothing_claims_to_be_compliant(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    found = await run(["a"], CALL, None, FULL, audit_to=path)
    assert found.error is None
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["privacyCompliant"] for line in lines if line["action"] == "media_capture"} == {False}


@pytest.mark.anyio
async def test_003_30_rates_are_of_a_window_and_of_the_lifetime(caplog: pytest.LogCaptureFixture) -> None:
    """003-31: told every 5 s, octets as octets.  003-29: loss is a share of what was expected."""
    events: list[dict[str, Any]] = []
    caplog.set_level(logging.INFO, "gcmedia.media_streams")
    names = interactions(4)
    profile = patient(20.0, throughput_period_s=5.0)
    async with clouded(Call.demo(seconds=25), Faults(seed=3, loss=0.1), FULL, speed=20.0) as cloud:
        streams = capturing(cloud, names, profile=profile, clock=ScaledClock(20.0), on_event=events.append)
        async with streams:
            async for _ in streams:
                pass
    told = [event for event in events if event["kind"] == "throughput" and event["packetsPerSecond"]]
    assert len(told) >= 2
    for event in told:
        assert event["bytesPerSecond"] == pytest.approx(160 * event["packetsPerSecond"], rel=0.01)
        assert event["wireBytesPerSecond"] > 1.3 * event["bytesPerSecond"]
        assert 0.0 <= event["packetLossRate"] < 0.5
    for name in names:
        lifetime = streams[name].throughput().lifetime
        assert lifetime.packet_loss_rate == pytest.approx(
            streams[name].stats().packets_lost / streams[name].stats().packets_expected
        )
    assert any(
        "[Media Streams]" in record.getMessage() and "throughput" in record.getMessage() for record in caplog.records
    )


@pytest.mark.anyio
async def test_003_32_the_published_jitter_window_is_the_default() -> None:
    found = await run(["a"], CALL, None, FULL, jitter=None)
    assert found.streams["a"].stats().playout_delay_ms == JitterConfig(policy="window").window_ms == 50.0
    assert JitterConfig().wide_window_ms == 100.0


def counted(expected: int, lost: int) -> Stats:
    return replace(JitterBuffer().stats(), packets_expected=expected, packets_lost=lost)


def test_003_30_a_rate_begins_with_the_first_packet_and_forgets_no_reconnect() -> None:
    """003-29: lost of expected, never of received; a window without any has none."""
    rate = Rate()
    assert rate.rates("a", counted(0, 0), 1000.0).lifetime == Rates(0.0, 0.0, 0.0, 0.0, 0.0)
    rate.record(counted(0, 0), 1003.0)
    for number in range(100):
        rate.add(160, 300, 1005.0 + 0.02 * number)
    rate.record(counted(200, 100), 1007.0)
    told = rate.rates("a", counted(200, 100), 1015.0)
    assert told.window == Rates(2.0, 50.0, 8000.0, 15_000.0, 0.5)
    assert told.lifetime == Rates(10.0, 10.0, 1600.0, 3000.0, 0.5)
    rate.record(counted(200, 100), 1017.0)
    assert rate.rates("a", counted(200, 100), 1017.0).window == Rates(10.0, 0.0, 0.0, 0.0, 0.0)


def test_003_30_a_late_packet_makes_no_rate_negative() -> None:
    rate = Rate()
    rate.add(160, 300, 0.0)
    rate.record(counted(10, 5), 5.0)
    rate.record(counted(10, 3), 10.0)
    assert rate.rates("a", counted(10, 3), 10.0).window.packet_loss_rate == 0.0


def test_003_30_all_together_are_the_sum_and_their_loss_is_weighted() -> None:
    each = [
        Throughput("a", Rates(5.0, 50.0, 8000.0, 15_000.0, 0.0), Rates(60.0, 50.0, 8000.0, 15_000.0, 0.1)),
        Throughput("b", Rates(5.0, 150.0, 24_000.0, 45_000.0, 0.2), Rates(30.0, 0.0, 0.0, 0.0, 0.0)),
    ]
    assert total(each).window == Rates(5.0, 200.0, 32_000.0, 60_000.0, 0.15)
    assert total(each).lifetime == Rates(60.0, 50.0, 8000.0, 15_000.0, 0.1)
    assert total([]).window == Rates(0.0, 0.0, 0.0, 0.0, 0.0)
