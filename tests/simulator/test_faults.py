"""Every fault over the wire: what a client receives is what the journal says was sent."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream

from gcmedia.errors import ConfigError
from gcmedia.simulator import (
    MALFORMED_KINDS,
    Call,
    Disconnect,
    Faults,
    Jump,
    Simulator,
    Span,
    Truth,
    TruthHole,
    Utterance,
)

from .loopback_client import Received, fetch_token, listen, listen_to_the_end, subscribe_without_reading

pytestmark = pytest.mark.anyio

CALL = Call.demo(seconds=8.0)


async def play(
    faults: Faults, call: Call = CALL, speed: float | None = None, **settings: Any
) -> tuple[list[Received], Truth]:
    """Listen to a whole call, and hold what came to the journal and to the identity."""
    async with Simulator({"conv-1": call}, faults, speed=speed, **settings) as cloud:
        connections = await listen_to_the_end(cloud, sampleRate=8000)
        truth = cloud.truth("conv-1")
        sent = [
            (record.sequence_number, record.timestamp)
            for record in cloud.journal.records
            if record.kind in ("packet", "duplicate")
        ]
        counts = cloud.journal.counts
    if not truth.malformed_sent:
        assert [packet[:2] for connection in connections for packet in connection.packets] == sent
    assert len(sent) == truth.packets_sent + truth.duplicates_sent
    assert counts.get("lost", 0) == truth.packets_lost == sum(truth.lost_by_cause.values())
    assert truth.packets_generated == truth.packets_sent + truth.packets_lost + truth.packets_missed
    assert truth.packets_undelivered == 0
    return connections, truth


def numbers(connections: list[Received]) -> list[int]:
    return [number for connection in connections for number in connection.numbers]


async def test_loss_and_bursts() -> None:
    connections, truth = await play(Faults(seed=3, loss=0.05, burst_enter=0.02, burst_leave=0.3))
    assert truth.lost_by_cause["loss"] > 0
    assert truth.lost_by_cause["burst"] > 0
    assert len(set(numbers(connections))) == 400 - truth.packets_lost


async def test_everything_lost_still_ends() -> None:
    connections, truth = await play(Faults(loss=1.0))
    assert numbers(connections) == []
    assert truth.packets_lost == 400
    assert connections[0].close_code == 1000


async def test_gaps_use_numbers_and_idle_does_not() -> None:
    connections, truth = await play(Faults(gaps=(Span(1000, 400),), idle=(Span(3000, 500),)), CALL)
    steps = {
        (b - a, tb - ta) for (a, ta, _), (b, tb, _) in pairwise(connections[0].packets) if (b - a, tb - ta) != (1, 20)
    }
    assert steps == {(21, 420), (1, 520)}
    assert truth.lost_by_cause == {"gap": 20}
    assert truth.packets_generated == 375
    assert truth.holes == (TruthHole(3000, 500, "idle"),)


async def test_duplicates() -> None:
    connections, truth = await play(Faults(seed=1, duplicates=0.1))
    arrived = numbers(connections)
    assert truth.duplicates_sent == len(arrived) - len(set(arrived)) > 10
    copies = {packet for packet in connections[0].packets if arrived.count(packet[0]) > 1}
    assert len(copies) == truth.duplicates_sent  # a copy is the same to the octet


async def test_reordering_stays_within_its_depth() -> None:
    connections, truth = await play(Faults(seed=2, reorder=0.1, reorder_depth=4))
    arrived = numbers(connections)
    start = truth.first_sequence_number
    late = [number for place, number in enumerate(arrived) if any(other > number for other in arrived[:place])]
    assert len(late) == truth.packets_reordered > 10
    assert sorted(arrived) == list(range(start, start + 400))
    assert all(abs(number - start - place) <= 8 for place, number in enumerate(arrived))


async def test_jitter_and_stalls_change_no_order_and_lose_nothing() -> None:
    faults = Faults(seed=4, jitter_ms=80.0, stalls=(Span(500, 700),))
    plain, _ = await play(Faults(seed=4), Call.demo(seconds=2.0))
    paced, truth = await play(faults, Call.demo(seconds=2.0), speed=20.0)
    assert paced[0].messages == plain[0].messages
    assert truth.packets_sent == 100


@pytest.mark.parametrize("kind", MALFORMED_KINDS)
@pytest.mark.parametrize("layout", ["padded16", "json"])
async def test_malformed_messages_come_between_the_packets(kind: str, layout: str) -> None:
    clean, _ = await play(Faults(), layout=layout) if layout == "padded16" else (None, None)
    async with Simulator(
        {"conv-1": CALL}, Faults(malformed=0.1, malformed_kinds=(kind,)), speed=None, layout=layout
    ) as cloud:
        received = await listen(cloud, sampleRate=8000)
        truth = cloud.truth("conv-1")
    assert truth.malformed_sent.keys() == {kind}
    assert truth.packets_sent == 400
    assert len(received.messages) == 2 + 400 + truth.malformed_sent[kind] + len(received.of_type("transcript"))
    if clean:
        good = set(clean[0].messages)
        assert sum(message not in good for message in received.messages) == truth.malformed_sent[kind]


async def test_sequence_jumps_restarts_and_wrap() -> None:
    call = Call.demo(seconds=8.0, first_sequence_number=2**32 - 50)
    faults = Faults(sequence_jumps=(Jump(2000, 1000),), sequence_restarts_ms=(4000.0,))
    connections, truth = await play(faults, call)
    arrived = numbers(connections)
    assert arrived[:100] == [(2**32 - 50 + n) % 2**32 for n in range(100)]
    assert arrived[100] == arrived[99] + 1001
    assert arrived[200] != arrived[199] + 1
    assert arrived[200:] == [(arrived[200] + n) % 2**32 for n in range(200)]
    assert (truth.sequence_jumps, truth.sequence_restarts) == (1, 1)
    assert [packet[1] - truth.start_timestamp_ms for packet in connections[0].packets] == list(range(0, 8000, 20))


async def test_timestamp_jumps_move_packets_transcripts_and_the_end() -> None:
    words = (Utterance("external", "before", 500, 100), Utterance("external", "after", 3000, 100))
    call = Call({"external": CALL.pcm()[:, 0]}, utterances=words)
    connections, truth = await play(Faults(timestamp_jumps=(Jump(2000, 5000),)), call)
    times = [packet[1] - truth.start_timestamp_ms for packet in connections[0].packets]
    assert times[99:101] == [1980, 7000]
    said = [item["timestamp"] - truth.start_timestamp_ms for item in connections[0].of_type("transcript")]
    assert said == [500, 8000] == [line.timestamp - truth.start_timestamp_ms for line in truth.transcripts]
    assert connections[0].of_type("ack")[-1]["timestamp"] == truth.start_timestamp_ms + 13_000
    assert truth.timestamp_jumps == 1


async def test_disconnects_cost_their_outage_and_all_that_was_sent_arrives() -> None:
    faults = Faults(
        seed=9,
        reorder=0.05,
        disconnects=(
            Disconnect(0, "close:1011", 0),
            Disconnect(2000, "abnormal", 700),
            Disconnect(2500, "abnormal", 99),
            Disconnect(5000, "close:1012", 310),
        ),
    )
    connections, truth = await play(faults)
    assert [connection.close_code for connection in connections] == [1011, 1006, 1012, 1000]
    assert truth.holes == (TruthHole(2000, 700, "outage"), TruthHole(5000, 320, "outage"))
    assert truth.packets_missed == 35 + 16
    assert truth.disconnects == 3  # the one at 2500 ms fell into an outage
    arrived = [sorted(connection.numbers) for connection in connections]
    start = truth.first_sequence_number
    assert arrived == [
        [],
        list(range(start, start + 100)),
        list(range(start + 135, start + 250)),
        list(range(start + 266, start + 400)),
    ]
    acks = [connection.of_type("ack")[0]["timestamp"] - truth.start_timestamp_ms for connection in connections]
    assert acks == [0, 0, 2700, 5320]


async def test_a_disconnect_at_every_multiple() -> None:
    connections, truth = await play(Faults(disconnect_every_ms=3000, disconnect_outage_ms=100))
    assert [connection.close_code for connection in connections] == [1006, 1006, 1000]
    assert [hole.start_ms for hole in truth.holes] == [3000, 6000]


async def test_an_outage_may_outlast_the_call() -> None:
    connections, truth = await play(Faults(disconnects=(Disconnect(7000, outage_ms=60_000),)))
    assert connections[1].packets == []
    assert connections[1].close_code == 1000
    assert truth.holes == (TruthHole(7000, 1000, "outage"),)


async def test_a_reconnect_may_begin_a_new_sequence() -> None:
    faults = Faults(disconnects=(Disconnect(2000, "abnormal", 500),), restart_sequence_on_reconnect=True)
    connections, truth = await play(faults)
    first, second = connections
    assert second.numbers[0] != (first.numbers[-1] + 26) % 2**32
    assert second.numbers == [(second.numbers[0] + n) % 2**32 for n in range(275)]
    assert truth.sequence_restarts == 1


async def test_a_half_open_connection_says_nothing_until_the_client_leaves() -> None:
    faults = Faults(disconnects=(Disconnect(2000, "half_open", 400),))
    async with Simulator({"conv-1": CALL}, faults, speed=None) as cloud:
        async with await subscribe_without_reading(cloud, sampleRate=8000) as stream:
            octets = 0
            while octets <= 100 * 336:
                octets += len(await stream.receive())
            with anyio.fail_after(60):
                while not cloud.journal.connections:  # noqa: ASYNC110 -- a state of the other side
                    await anyio.sleep(0.005)
            await stream.send(b"\x89\x80\0\0\0\0")  # all has come; now a ping, and a long silence
            with anyio.move_on_after(0.3) as scope:
                while True:
                    await stream.receive()
            assert scope.cancelled_caught
            assert cloud.journal.connections[0].end == "half_open"
            assert cloud.journal.pings == 0
        rest = await listen(cloud, sampleRate=8000)
        truth = cloud.truth("conv-1")
    assert len(rest.packets) == 400 - 100 - 20
    assert truth.holes == (TruthHole(2000, 400, "outage"),)


async def test_pings_in_the_moment_of_a_cut_go_unanswered_and_nothing_fails() -> None:
    """Each connection is cut while pings are on their way, now closer and now further apart."""
    draws = random.Random(1)
    faults = Faults(disconnect_every_ms=60, disconnect_outage_ms=20)
    async with Simulator({"conv-1": Call.demo(seconds=2.0)}, faults, speed=20.0) as cloud:
        token = await fetch_token(cloud)
        n_connections = 0
        while n_connections == 0 or not cloud.truth("conv-1").ended:
            n_connections += 1
            stream = await subscribe_without_reading(cloud, token=token)
            async with stream, anyio.create_task_group() as tasks:

                async def ping(stream: SocketStream = stream) -> None:
                    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                        while True:
                            await stream.send(b"\x89\x80\0\0\0\0")
                            for _ in range(draws.randrange(12)):
                                await anyio.lowlevel.checkpoint()

                tasks.start_soon(ping)
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while True:
                        await stream.receive()
                tasks.cancel_scope.cancel()
        assert n_connections > 10
        assert cloud.journal.pings > 0
        assert cloud.journal.failures == 0


async def test_transcripts_are_sent_lost_late_or_missed() -> None:
    words = [Utterance("external", f"line {n}", 1000.0 * n, 400.0, 0.9) for n in range(8)]
    call = Call({"external": CALL.pcm()[:, 0]}, utterances=words)
    connections, truth = await play(Faults(), call)
    assert connections[0].of_type("transcript") == [
        {
            "type": "transcript",
            "timestamp": truth.start_timestamp_ms + 1000 * n,
            "text": f"line {n}",
            "confidence": 0.9,
            "durationMs": 400,
            "channel": "external",
        }
        for n in range(8)
    ]
    faults = Faults(seed=5, transcript_loss=0.3, transcript_late=0.5, disconnects=(Disconnect(3500, outage_ms=2000),))
    connections, truth = await play(faults, call)
    said = [item["text"] for connection in connections for item in connection.of_type("transcript")]
    fates = {line.text: line.fate for line in truth.transcripts}
    assert sorted(said) == sorted(text for text, fate in fates.items() if fate == "sent")
    assert set(fates.values()) == {"sent", "lost", "missed"}


async def test_the_bad_network_preset_has_something_of_everything() -> None:
    connections, truth = await play(Faults.bad_network(7), Call.demo())
    assert 0.012 < (truth.packets_lost - truth.lost_by_cause["gap"]) / truth.packets_generated < 0.03
    assert min(truth.duplicates_sent, truth.packets_reordered, sum(truth.malformed_sent.values())) > 0
    assert [connection.close_code for connection in connections] == [1006, 1000]
    assert truth.holes == (TruthHole(30_000, 700, "outage"),)


RICH = Faults(
    seed=11,
    loss=0.02,
    burst_enter=0.01,
    duplicates=0.03,
    reorder=0.05,
    jitter_ms=30.0,
    malformed=0.03,
    transcript_late=0.5,
    disconnect_every_ms=2500,
    sequence_restarts_ms=(6000.0,),
)


def test_two_captures_of_one_seed_get_the_same_messages_on_either_backend_and_at_any_speed() -> None:
    async def capture(faults: Faults, speed: float | None) -> list[list[str | bytes]]:
        async with Simulator({"conv-1": CALL}, faults, speed=speed) as cloud:
            return [connection.messages for connection in await listen_to_the_end(cloud)]

    first = anyio.run(capture, RICH, None)
    assert len(first) == 4
    assert anyio.run(capture, RICH, None) == first
    assert anyio.run(capture, RICH, None, backend="trio") == first
    assert anyio.run(capture, RICH, 40.0) == first
    assert anyio.run(capture, Faults(seed=12, loss=0.02), None) != anyio.run(capture, Faults(seed=13, loss=0.02), None)


async def test_a_fault_more_leaves_the_others_where_they_were() -> None:
    async with Simulator({"conv-1": CALL}, Faults(seed=6, loss=0.05), speed=None) as cloud:
        await listen(cloud)
        lost = [r.sequence_number for r in cloud.journal.records if r.kind == "lost"]
    faults = Faults(seed=6, loss=0.05, duplicates=0.1, reorder=0.1, malformed=0.1, jitter_ms=10)
    async with Simulator({"conv-1": CALL}, faults, speed=None) as cloud:
        await listen(cloud)
        assert [r.sequence_number for r in cloud.journal.records if r.kind == "lost"] == lost


async def test_the_journal_is_bounded_and_counts_on() -> None:
    async with Simulator({"conv-1": CALL}, speed=None, journal_limit=100) as cloud:
        await listen(cloud)
        assert len(cloud.journal.records) == 100
        assert cloud.journal.counts["packet"] == 400
        assert cloud.journal.dropped == sum(cloud.journal.counts.values()) - 100
        assert cloud.journal.records[-1].kind == "ended"
        assert json.dumps(cloud.journal.records)


@pytest.mark.parametrize(
    "setting",
    [
        {"loss": 1.5},
        {"loss": float("nan")},
        {"jitter_ms": -1},
        {"gaps": ((5,),)},
        {"gaps": ((5, -1),)},
        {"disconnects": ((5, "boom"),)},
        {"disconnects": ((5, "close:1006"),)},
        {"disconnect_every_ms": 0.5},
        {"malformed": 0.1, "malformed_kinds": ()},
        {"malformed_kinds": ("odd",)},
        {"token_refusals": (200,)},
        {"reorder_depth": 0},
    ],
    ids=str,
)
def test_faults_out_of_range_are_named(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(reversed(setting))):
        Faults(**setting)


def test_plain_tuples_become_named_ones() -> None:
    given: dict[str, Any] = {"gaps": [(1, 2)], "disconnects": [(3, "half_open")]}
    faults = Faults(**given)
    assert faults.gaps == (Span(1, 2),)
    assert faults.disconnects == (Disconnect(3, "half_open", 700),)
