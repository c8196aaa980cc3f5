"""A bad network: whatever is lost, sent twice, moved, broken or cut off, every packet is accounted for."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import ConnectionLost, ReconnectConfig, ReconnectExhausted
from gcmedia.clock import ScaledClock
from gcmedia.media_streams import MetadataSync
from gcmedia.record.timeline import Timeline
from gcmedia.simulator import Call, Disconnect, Faults, Jump, Span, StreamsPlan

from .running import Run, assert_accounted, capturing, clouded, interactions, patient, run

FULL = StreamsPlan(replies="full")
ROUGH = Faults(
    seed=11,
    loss=0.02,
    burst_enter=0.003,
    duplicates=0.02,
    reorder=0.03,
    malformed=0.01,
    gaps=(Span(1000, 200),),
    disconnects=(Disconnect(2000, "abnormal", 700),),
)


def assert_true(found: Run, names: list[str], call: Call) -> None:
    assert found.error is None
    for name in names:
        assert_accounted(found, name)
        truth, stats = found.cloud.truth(name), found.streams[name].stats()
        assert truth.ended
        sent = [one for one in found.cloud.journal.records if one.kind == "packet" and one.conversation_id == name]
        numbers = {(one.sequence_number or 0) - truth.first_sequence_number & 0xFFFFFFFF for one in sent}
        # What was lost before the first packet or behind the last one nobody can know of.
        assert stats.packets_lost == max(numbers) - min(numbers) + 1 - len(numbers)
        start = min(one.timestamp or 0 for one in sent) - truth.start_timestamp_ms
        assert stats.total_samples == 8 * (call.duration_ms - start)
        assert len(found.pcm(name)) == 2 * stats.total_samples


async def show_4(seconds: float) -> Run:
    """200 interactions, 50 a connection, each sending 50 packets a second of its own time."""
    call = Call.demo(seconds=seconds)
    names = interactions(200)
    found = await run(names, call, ROUGH, FULL, on_event=None)
    assert_true(found, names, call)
    assert len({record.connection for record in found.cloud.journal.records if record.kind == "packet"}) >= 8
    assert sum(found.cloud.truth(name).disconnects for name in names) >= 4
    stats = [found.streams[name].stats() for name in names]
    for count in ("packets_lost", "packets_duplicate", "packets_reordered", "packets_refused"):
        assert sum(getattr(one, count) for one in stats) > 50
    return found


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_003_28_two_hundred_interactions_over_four_connections_are_accounted_for() -> None:
    """003-09, 003-17, 003-29: nothing is shared between streams, and loss is a share of what was expected."""
    found = await show_4(3.0)
    for stream in found.streams:
        assert 0.0 < stream.stats().packets_lost / stream.stats().packets_expected < 1.0
        assert stream.reconnects >= 1


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.timeout(60)
async def test_003_28_two_hundred_interactions_over_four_connections_at_length() -> None:
    await show_4(8.0)


def at_ms(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low // 20, high // 20).map(lambda n: n * 20.0)


@st.composite
def anything(draw: st.DrawFn) -> Faults:
    rates = st.sampled_from([0.0, 0.01, 0.1])
    ends = st.builds(
        Disconnect, at_ms(20, 2400), st.sampled_from(["abnormal", "close:1001", "close:1012"]), at_ms(20, 900)
    )
    return Faults(
        seed=draw(st.integers(0, 10_000)),
        loss=draw(rates),
        duplicates=draw(rates),
        reorder=draw(rates),
        jitter_ms=draw(st.sampled_from([0.0, 40.0])),
        malformed=draw(rates),
        disconnects=tuple(draw(st.lists(ends, max_size=2))),
    )


async def _hold(faults: Faults, plan: StreamsPlan) -> None:
    call = Call.demo(seconds=2.5)
    names = interactions(3)
    profile = patient(timestamp_unit=plan.timestamp_unit, sequence_bits=plan.sequence_bits)
    found = await run(names, call, faults, plan, profile=profile)
    assert_true(found, names, call)


PLANS = [
    StreamsPlan(replies="full", timestamp_unit=unit, sequence_bits=bits)
    for unit in ("samples", "ms")
    for bits in (16, 32)
]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(faults=anything(), plan=st.sampled_from(PLANS), backend=st.sampled_from(["asyncio", "trio"]))
def test_003_28_any_faults_together_leave_every_stream_true(faults: Faults, plan: StreamsPlan, backend: str) -> None:
    anyio.run(partial(_hold, faults, plan), backend=backend)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["abnormal", "close:1000", "close:1001", "close:1011", "close:1012"])
async def test_003_15_a_lost_connection_is_made_again_and_everything_resubscribed(kind: str, tmp_path: Path) -> None:
    """003-14: the events of its life.  The outage is a hole of its exact length in every stream."""
    events: list[dict[str, Any]] = []
    call, names = Call.demo(seconds=4), interactions(3)
    faults = Faults(disconnects=(Disconnect(2000, kind, 700),))
    found = await run(names, call, faults, FULL, on_event=events.append, record_to=tmp_path)
    assert_true(found, names, call)
    kinds = [event["kind"] for event in events if "interactionId" not in event]
    assert [kind for kind in kinds if kind != "throughput"] == [
        "connected", "disconnected", "reconnecting", "connected", "ended",
    ]  # fmt: skip
    for name in names:
        mine = [event["kind"] for event in events if event.get("interactionId") == name]
        assert mine == ["subscribed", "reconnecting", "reconnected", "ended"]
        folder = found.streams[name].folder
        assert folder is not None
        (hole,) = Timeline.load(folder / "timeline.json").holes
        assert (hole.position, hole.n_samples, hole.cause) == (16_000, 5600, "reconnect")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "faults",
    [
        Faults(disconnects=(Disconnect(2000, "abnormal", 700),), restart_sequence_on_reconnect=True),
        Faults(sequence_restarts_ms=(1000.0, 2500.0)),
        Faults(sequence_jumps=(Jump(1000.0, 20_000), Jump(2000.0, 300))),
        Faults(timestamp_jumps=(Jump(1000.0, 5000), Jump(2000.0, -3000))),
    ],
    ids=["reconnect", "restart", "numbers", "times"],
)
async def test_003_28_a_sender_that_counts_anew_leaves_the_accounting_whole(faults: Faults) -> None:
    found = await run(["a", "b"], Call.demo(seconds=4), faults, FULL)
    assert found.error is None
    for name in "ab":
        assert_accounted(found, name)
        stats = found.streams[name].stats()
        assert stats.packets_played == found.cloud.truth(name).packets_sent
        assert stats.packets_refused == stats.packets_late == 0


@pytest.mark.anyio
async def test_003_15_what_has_been_removed_is_not_asked_for_again() -> None:
    faults = Faults(disconnects=(Disconnect(3000, "abnormal", 100),))
    async with clouded(Call.demo(seconds=5), faults, FULL, speed=20.0) as cloud:
        async with capturing(cloud, ["a", "b"], overflow="drop_oldest") as streams:
            await streams.remove(["a"])
            async for _ in streams:
                pass
        assert [record.kind for record in cloud.journal.records if record.conversation_id == "b"].count("outage") == 1
        assert "outage" not in {record.kind for record in cloud.journal.records if record.conversation_id == "a"}
        assert streams["a"].reconnects == 0
        assert streams["b"].reconnects == 1
        assert all(stream.stats().balanced for stream in streams)


@pytest.mark.anyio
async def test_003_15_a_server_that_takes_and_drops_for_ever_is_given_up() -> None:
    """The count of attempts begins anew with media only, not with an open socket."""
    faults = Faults(upgrade_refusals=(503,) * 20, retry_after_s=0.0)
    reconnect = ReconnectConfig(attempts=3)
    found = await run(["a"], Call.demo(seconds=1), faults, FULL, reconnect=reconnect)
    assert isinstance(found.error, ReconnectExhausted)
    assert found.error.attempts == 3
    told = [event["kind"] for event in found.streams.events if event["kind"] != "throughput"]
    assert told == [*["disconnected", "reconnecting"] * 3, "disconnected", "gave_up", "failed"]
    assert found.streams["a"].state == "failed"
    assert len([one for one in found.cloud.journal.requests if one.status == 503]) == 4


@pytest.mark.anyio
async def test_003_15_a_fault_that_repeating_cannot_mend_is_not_repeated() -> None:
    faults = Faults(disconnects=(Disconnect(400, "close:1008"),))
    found = await run(["a", "b"], Call.demo(seconds=1), faults, FULL)
    assert isinstance(found.error, ConnectionLost)
    assert found.error.code == 1008
    assert set(found.streams.errors) == {"a", "b"}
    assert len(found.cloud.journal.connections) == 1
    assert all(stream.stats().balanced for stream in found.streams)


@pytest.mark.anyio
async def test_003_05_each_connection_gets_a_token_that_holds() -> None:
    """003-38: a 401 is answered with a fresh token, once.  003-04: a token is asked for when it is needed."""
    faults = Faults(disconnects=(Disconnect(1000, "abnormal", 100),), revoke_tokens_on_disconnect=True)
    found = await run(interactions(2), Call.demo(seconds=2), faults, FULL)
    assert_true(found, interactions(2), Call.demo(seconds=2))
    assert found.cloud.journal.token_requests == 2
    statuses = [one.status for one in found.cloud.journal.requests if one.path == "/api/v2/media/streams"]
    assert statuses == [101, 401, 101]


@pytest.mark.anyio
async def test_003_16_pings_go_out_and_a_connection_without_a_pong_is_made_again() -> None:
    """003-39: the heartbeat has the round trip; 003-16: 30 s and a deadline for the pong, here on a faster clock."""
    events: list[dict[str, Any]] = []
    faults = Faults(disconnects=(Disconnect(1000, "half_open", 100),))
    profile = patient(60.0, ping_interval_s=3.0, pong_timeout_s=60.0, throughput_period_s=1.0)
    async with clouded(Call.demo(seconds=4), faults, FULL, speed=10.0) as cloud:
        clock = ScaledClock(60.0)
        async with capturing(cloud, ["a"], profile=profile, clock=clock, on_event=events.append) as streams:
            async for _ in streams:
                pass
        assert cloud.journal.pings > 0
    beats = [event for event in events if event["kind"] == "heartbeat"]
    assert beats
    assert all(event["rtt_ms"] > 0 for event in beats)
    causes = [event["cause"] for event in events if event["kind"] == "disconnected"]
    assert set(causes) == {"no pong within 60 s: the connection is taken for dead"}
    assert streams["a"].stats().balanced


@pytest.mark.anyio
async def test_003_33_each_packet_played_is_told_once_and_in_order() -> None:
    call, names = Call.demo(seconds=3), interactions(2)
    faults = Faults(seed=5, loss=0.05, duplicates=0.1, reorder=0.1)
    entries: dict[str, list[MetadataSync]] = {name: [] for name in names}
    async with clouded(call, faults, FULL) as cloud:
        async with capturing(cloud, names) as streams:
            batches = streams.metadata("recorder", batch=10, overflow="wait")
            frames = [frame async for frame in streams]
        async for batch in batches:
            assert 1 <= len(batch) <= 10
            for entry in batch:
                entries[entry.interaction_id].append(entry)
    for name in names:
        mine = entries[name]
        positions = [entry.position for entry in mine]
        assert positions == sorted(set(positions))
        assert len(mine) == streams[name].stats().packets_played
        steps = {(b.timestamp - a.timestamp) % 2**32 - (b.position - a.position) for a, b in pairwise(mine)}
        assert steps == {0}
        heard = [one for one in frames if one.interaction_id == name and one.sequence_number is not None]
        assert [one.sequence_number for one in mine] == [one.sequence_number for one in heard]
        assert positions == [one.position for one in heard]
        assert {frame.concealed for frame in frames if frame.sequence_number is None} == {True}


@pytest.mark.anyio
async def test_003_32_the_window_widens_while_much_is_lost() -> None:
    """003-17: a missing packet is waited for 50 ms, 100 ms above 5 % loss."""
    async with clouded(Call.demo(seconds=8), Faults(seed=2, loss=0.2, reorder=0.05), FULL) as cloud:
        delays: set[float] = set()
        async with capturing(cloud, ["a"], jitter=None, max_frames=1) as streams:
            async for _ in streams:
                delays.add(streams["a"].stats().playout_delay_ms)
    assert delays == {50.0, 100.0}


@pytest.mark.anyio
async def test_003_36_nothing_that_a_server_sends_ends_the_capture() -> None:
    call = Call.demo(seconds=3)
    found = await run(["a", "b"], call, Faults(seed=1, malformed=0.5), FULL)
    assert_true(found, ["a", "b"], call)
    assert found.streams["a"].malformed_messages > 10
    (connection,) = {record.connection for record in found.cloud.journal.records}
    assert connection


@pytest.mark.anyio
async def test_the_same_seed_gives_the_same_frames() -> None:
    names = interactions(2)
    runs = [await run(names, Call.demo(seconds=3), ROUGH, FULL, rng=random.Random(3)) for _ in range(2)]
    for name in names:
        assert runs[0].pcm(name) == runs[1].pcm(name)
