"""The QA record: the published keys, as numbers, at their period."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from gcmedia.capture import capture
from gcmedia.config import PlatformMediaConfig
from gcmedia.simulator import Call, Faults
from tests.clocks import HurriedClock

from .conftest import ScriptedServer
from .running import patient, run
from .scripts import ACK, packets, plays

pytestmark = pytest.mark.anyio

Scripted = Callable[..., ScriptedServer]
PUBLISHED = {"timestamp", "rttMs", "packetLossRate", "bufferDepth", "adaptiveThreshold"}
OURS = {
    "state",
    "positionMs",
    "jitterMs",
    "pingMs",
    "packetsReceived",
    "packetsPlayed",
    "packetsBuffered",
    "packetsLost",
    "packetsLate",
    "packetsDuplicate",
    "packetsDiscarded",
    "packetsRefused",
    "concealedSamples",
    "underruns",
    "reconnects",
    "droppedFrames",
    "storageFailures",
}


async def test_004_37_the_published_keys_are_numbers_every_period(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gcmedia.capture")
    found = await run(
        Call.demo(seconds=6),
        Faults(seed=1, loss=0.2),
        speed=4.0,
        clock=HurriedClock(4.0),
        profile=patient(4.0, metrics_period_s=0.5, ping_interval_s=0.5),
        folder=tmp_path / "call",
    )
    records = [json.loads(line) for line in (tmp_path / "call" / "metrics.jsonl").read_text().splitlines()]
    assert 3 <= len(records) <= 12  # of 12 periods, a busy machine may miss most
    logged = [r.getMessage() for r in caplog.records if r.getMessage().startswith("[QA Metrics] ")]
    assert [json.loads(message.removeprefix("[QA Metrics] ")) for message in logged] == records
    for record in records:
        assert set(record) == PUBLISHED | OURS
        for name in (PUBLISHED | OURS) - {"state", "pingMs"}:
            assert isinstance(record[name], int | float)
            assert math.isfinite(record[name])
        assert record["rttMs"] == round(record["rttMs"], 2)
        assert record["packetLossRate"] == round(record["packetLossRate"], 3)
        assert 0 <= record["packetLossRate"] <= 1
        assert record["timestamp"] == pytest.approx(records[0]["timestamp"], abs=10_000)
    assert [record["positionMs"] for record in records] == sorted(record["positionMs"] for record in records)
    assert records[-1]["packetLossRate"] == pytest.approx(0.2, abs=0.1)
    assert records[-1]["rttMs"] == pytest.approx(20.0, rel=0.5)  # the spacing of packets, as the tutorial has it
    assert records[-1]["adaptiveThreshold"] == 10  # beyond 15 % loss
    assert any(record["pingMs"] is not None and record["pingMs"] > 0 for record in records)
    assert found.stats.packets_lost == found.truth.packets_lost


async def test_004_24_a_perfect_call_has_no_loss() -> None:
    found = await run(Call.demo(seconds=4))
    metrics = found.call.metrics()
    assert metrics["packetLossRate"] == 0.0
    assert metrics["rttMs"] == 20.0
    assert metrics["adaptiveThreshold"] == 5


async def test_metrics_may_be_asked_for_at_any_moment() -> None:
    call = capture("c", token="t", region="us-east-1")
    metrics = call.metrics()
    assert set(metrics) == PUBLISHED | OURS
    assert (metrics["state"], metrics["positionMs"], metrics["packetsReceived"]) == ("new", 0, 0)
    assert call.stats().balanced
    assert call.position == call.dropped_frames == 0


async def test_what_waits_in_a_stream_that_stalls_is_handed_out(scripted: Scripted) -> None:
    """Four packets are fewer than the buffer wants; no fifth comes, and still they are heard."""
    server = scripted(plays(ACK, *packets(0, 4), close=None))
    profile = PlatformMediaConfig(format="pcmu", sample_rate=8000, metrics_period_s=2.0, idle_timeout_s=10_000.0)
    with anyio.fail_after(60):
        async with capture("c", token="t", region=server.url, profile=profile, clock=HurriedClock(100.0)) as call:
            assert [(await anext(call)).position for _ in range(4)] == [0, 160, 320, 480]
            await call.stop()
    assert call.stats().underruns == 1
    assert call.stats().balanced
