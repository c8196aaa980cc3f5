"""Connections that end, and those that take over: when, how often, and what becomes of the timeline."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gcmedia import ConnectionLost, FormatError, Frame, GcmediaError, ReconnectConfig, ReconnectExhausted
from gcmedia.backoff import delay
from gcmedia.capture import FATAL, Capture, capture
from gcmedia.record.timeline import Timeline
from gcmedia.simulator import Call, Disconnect, Faults

from .conftest import ScriptedServer
from .running import SPEED, UNHURRIED, NotingClock, by_turns, missing_runs, patient, run, unhurried
from .scripts import ACK, ENDED, cuts, packet, packets, plays, said

pytestmark = pytest.mark.anyio

Scripted = Callable[..., ScriptedServer]
MONO = {"n_channels": 1}


async def play(
    server: ScriptedServer, *, clock: NotingClock | None = None, **options: Any
) -> tuple[Capture, list[Frame], GcmediaError | None]:
    """Capture from a scripted server to the end of the call."""
    frames: list[Frame] = []
    options = {"profile": unhurried(**MONO), "jitter": UNHURRIED, "rng": random.Random(1), **options}
    call = capture("c", token="a-token", region=server.url, clock=clock or NotingClock(), overflow="wait", **options)
    try:
        async with call:
            async for frame in call:
                frames.append(frame)
    except GcmediaError as error:
        return call, frames, error
    return call, frames, None


def positions(frames: list[Frame]) -> list[int]:
    return [frame.position for frame in frames]


# A hundred of them


@by_turns("restart", [False, True])
async def test_show_6_a_call_with_100_reconnects_has_an_exact_timeline(restart: bool, tmp_path: Path) -> None:
    """At every end all tokens die with the connection: the next attempt is refused, and comes again with a new one."""
    call = Call.demo(seconds=21)
    faults = Faults(
        seed=2,
        disconnect_every_ms=200,
        disconnect_outage_ms=60,
        revoke_tokens_on_disconnect=True,
        restart_sequence_on_reconnect=restart,
    )
    found = await run(call, faults, folder=tmp_path / "call", profile=patient(format="raw"))
    assert found.error is None
    n = found.truth.disconnects
    assert n >= 100
    assert found.call.reconnects == n
    assert found.cloud.journal.token_requests == n + 1
    statuses = [request.status for request in found.cloud.journal.requests if request.method == "GET"]
    assert statuses == [101] + [401, 101] * n

    assert found.stats.balanced
    assert found.stats.total_samples == call.n_samples
    assert [(hole.position, hole.n_samples, hole.cause) for hole in found.holes] == [
        (1600 * turn, 480, "reconnect") for turn in range(1, n + 1)
    ]
    assert found.listed == missing_runs(found)
    received = np.ones(call.n_samples, bool)
    for hole in found.holes:
        received[hole.position : hole.position + hole.n_samples] = False
    assert np.array_equal(found.raw(0)[received], call.pcm(8000, 2)[received, 0])
    assert found.events.count("reconnected") == n
    stored = Timeline.load(tmp_path / "call" / "timeline.json")
    assert stored.n_samples == call.n_samples
    assert stored.hole_samples == 480 * n
    assert len([event for event in stored.events if event["kind"] == "reconnected"]) == n


async def test_show_6_tokens_that_expire_are_renewed_before_they_do(tmp_path: Path) -> None:
    """Tokens of a minute on a clock of which a minute takes 120 ms."""
    call = Call.demo(seconds=21)
    faults = Faults(disconnect_every_ms=200, disconnect_outage_ms=60, token_lifetime_s=60.0)
    found = await run(call, faults, folder=tmp_path / "call")
    assert found.error is None
    assert found.call.reconnects == found.truth.disconnects >= 100
    assert found.cloud.journal.token_requests > 2
    assert {request.status for request in found.cloud.journal.requests} == {101, 200}
    assert found.stats.total_samples == call.n_samples
    assert found.listed == missing_runs(found)


# Silence


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_003_16_a_connection_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    faults = Faults(disconnects=(Disconnect(1000, "half_open", 300),))
    profile = patient(idle_timeout_s=1.5 * SPEED)
    found = await run(Call.demo(seconds=2), faults, profile=profile, folder=tmp_path / "call")
    assert found.error is None
    assert [hole.cause for hole in found.holes] == ["reconnect"]
    assert found.listed == missing_runs(found)
    assert "no message within 750 s" in next(e["cause"] for e in found.call.events if e["kind"] == "reconnecting")


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_003_16_a_ping_without_a_pong_tells_it_too(tmp_path: Path) -> None:
    faults = Faults(disconnects=(Disconnect(1000, "half_open", 300),))
    profile = patient(ping_interval_s=0.1 * SPEED, pong_timeout_s=2.0 * SPEED)
    found = await run(Call.demo(seconds=2), faults, profile=profile, folder=tmp_path / "call")
    assert found.error is None
    assert found.listed == missing_runs(found)
    assert "no pong within 1000 s" in next(e["cause"] for e in found.call.events if e["kind"] == "reconnecting")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_003_16_pings_are_sent_while_the_call_is_quiet() -> None:
    found = await run(Call.demo(seconds=1), speed=1.0, profile=patient(ping_interval_s=0.05 * SPEED))
    assert found.cloud.journal.pings > 0  # some twenty where there is time
    assert found.error is None


async def test_a_subscription_that_nobody_acknowledges_is_tried_again(scripted: Scripted) -> None:
    server = scripted(plays(close=None), plays(ACK, *packets(0, 3), ENDED))
    call, frames, error = await play(server, profile=unhurried(**MONO, ack_timeout_s=0.05))
    assert error is None
    assert positions(frames) == [0, 160, 320]
    assert [event["kind"] for event in call.events] == ["reconnecting", "connected", "ended"]
    assert "no acknowledgement within 0.05 s" in call.events[0]["cause"]
    assert call.reconnects == 0


async def test_media_is_an_acknowledgement_too(scripted: Scripted) -> None:
    _, frames, error = await play(scripted(plays(*packets(0, 3))))
    assert error is None
    assert positions(frames) == [0, 160, 320]


# By close code


@pytest.mark.parametrize("code", sorted(FATAL))
async def test_004_11_a_code_that_repeating_cannot_mend_ends_the_call(scripted: Scripted, code: int) -> None:
    server = scripted(plays(ACK, *packets(0, 20), close=code, reason="because"))
    clock = NotingClock()
    call, frames, error = await play(server, clock=clock)
    assert isinstance(error, ConnectionLost)
    assert (error.code, error.reason) == (code, "because")
    assert positions(frames) == [160 * n for n in range(20)]
    assert len(server.paths) == 1
    assert clock.slept == []
    assert call.state == "failed"


@by_turns("code", [1001, 1011, 1012, 1013, 1014, 3000, 4999])
async def test_004_11_after_any_other_code_the_call_goes_on(scripted: Scripted, code: int) -> None:
    server = scripted(plays(ACK, *packets(0, 10), close=code), plays(ACK, *packets(15, 5), ENDED))
    call, frames, error = await play(server)
    assert error is None
    assert positions(frames) == [160 * n for n in range(20)]
    assert [frame.concealed for frame in frames] == [False] * 10 + [True] * 5 + [False] * 5
    assert (call.reconnects, call.state) == (1, "ended")
    assert [event["kind"] for event in call.events] == ["connected", "reconnecting", "reconnected", "ended"]
    assert len({*server.subscriptions}) == 1
    assert len(server.subscriptions) == 2
    assert server.authorization == ["Bearer a-token"] * 2


async def test_004_44_without_a_close_frame_the_call_goes_on(scripted: Scripted) -> None:
    server = scripted(cuts(ACK, *packets(0, 10)), plays(ACK, *packets(15, 5), ENDED))
    call, frames, error = await play(server)
    assert error is None
    assert len(frames) == 20
    assert call.stats().packets_lost == 5


async def test_a_normal_close_is_the_end_of_the_call(scripted: Scripted) -> None:
    call, frames, error = await play(scripted(plays(ACK, *packets(0, 10), close=1000)))
    assert error is None
    assert (len(frames), call.state) == (10, "ended")


async def test_after_the_word_that_the_call_is_over_it_is_over_however_the_connection_ends(scripted: Scripted) -> None:
    for script in (cuts(ACK, packet(0), ENDED), plays(ACK, packet(0), ENDED, close=1011)):
        server = scripted(script)
        call, frames, error = await play(server)
        assert error is None
        assert (len(frames), call.state, len(server.paths)) == (1, "ended", 1)


async def test_a_normal_close_before_anything_is_no_call(scripted: Scripted) -> None:
    server = scripted(plays(close=1000))
    call, frames, error = await play(server)
    assert isinstance(error, ConnectionLost)
    assert "before it acknowledged the subscription" in str(error)
    assert (frames, call.state, len(server.paths)) == ([], "failed", 1)


async def test_a_normal_close_after_a_reconnect_is_the_end_of_the_call(scripted: Scripted) -> None:
    call, frames, error = await play(scripted(cuts(ACK, *packets(0, 3)), plays(close=1000)))
    assert error is None
    assert (len(frames), call.state) == (3, "ended")


# How often, and after how long


async def test_003_15_attempts_are_bounded_and_nothing_received_is_lost(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(cuts(ACK, *packets(0, 50), said("hello", 100)), plays(close=1011))
    clock, policy = NotingClock(), ReconnectConfig(attempts=4)
    call, frames, error = await play(server, clock=clock, reconnect=policy, folder=tmp_path / "call")
    assert isinstance(error, ReconnectExhausted)
    assert error.attempts == 4
    assert isinstance(error.__cause__, ConnectionLost)
    assert "1011" in str(error)
    assert len(server.paths) == 5
    assert positions(frames) == [160 * n for n in range(50)]
    assert [transcript.text async for transcript in call.transcripts] == ["hello"]
    assert call.state == "failed"
    stored = Timeline.load(tmp_path / "call" / "timeline.json")
    assert stored.n_samples == 8000
    assert stored.identity["balanced"]
    assert not list((tmp_path / "call").glob("*.part"))


async def test_003_15_waits_grow_with_jitter_from_the_generator_that_was_given(scripted: Scripted) -> None:
    clock, policy = NotingClock(), ReconnectConfig(attempts=5)
    await play(scripted(cuts(ACK, packet(0)), plays(close=1011)), clock=clock, reconnect=policy, rng=random.Random(42))
    rng = random.Random(42)
    assert clock.slept == [delay(policy, attempt, rng) for attempt in range(5)]
    ceilings = [min(policy.base_s * policy.factor**n, policy.cap_s) for n in range(5)]
    assert all(low * policy.jitter_low <= wait <= low for low, wait in zip(ceilings, clock.slept, strict=True))


async def test_003_15_no_attempts_means_none(scripted: Scripted) -> None:
    server = scripted(cuts(ACK, packet(0)))
    _, frames, error = await play(server, reconnect=ReconnectConfig(attempts=0))
    assert isinstance(error, ReconnectExhausted)
    assert (len(frames), len(server.paths)) == (1, 1)
    server = scripted(plays(close=1011))
    _, frames, error = await play(server, reconnect=ReconnectConfig(attempts=0))
    assert isinstance(error, ConnectionLost)
    assert (frames, len(server.paths)) == ([], 1)


async def test_003_15_attempts_count_anew_once_media_has_come(scripted: Scripted) -> None:
    scripts = [cuts(ACK, *packets(10 * turn, 10)) for turn in range(12)]
    server = scripted(*scripts, plays(ACK, ENDED))
    clock = NotingClock()
    call, frames, error = await play(server, clock=clock, reconnect=ReconnectConfig(attempts=1))
    assert error is None
    assert positions(frames) == [160 * n for n in range(120)]
    assert call.reconnects == 12
    assert max(clock.slept) <= 1.0


async def test_003_15_a_server_that_acknowledges_and_closes_for_ever_is_given_up(scripted: Scripted) -> None:
    server = scripted(plays(ACK, packet(0), close=1012), plays(ACK, close=1012))
    _, frames, error = await play(server, reconnect=ReconnectConfig(attempts=3))
    assert isinstance(error, ReconnectExhausted)
    assert (len(frames), len(server.paths)) == (1, 4)


async def test_nobody_listening_is_no_connection(scripted: Scripted) -> None:
    clock = NotingClock()
    call = capture("c", token="t", region="http://127.0.0.1:1", clock=clock, reconnect=ReconnectConfig(attempts=2))
    with pytest.raises(ReconnectExhausted, match=r"cannot connect to ws://127\.0\.0\.1:1"):
        async with call:
            pass
    assert len([wait for wait in clock.slept if wait < 2.0]) >= 2
    assert call.state == "failed"


# What the server says when it is asked again


async def test_a_format_that_changes_in_mid_call_ends_it(scripted: Scripted, tmp_path: Path) -> None:
    other = json.dumps({"type": "ack", "format": "pcma"})
    server = scripted(cuts(ACK, *packets(0, 10)), plays(other, *packets(10, 10)))
    _, frames, error = await play(server, folder=tmp_path / "call")
    assert isinstance(error, FormatError)
    assert "PCMU" in str(error)
    assert "PCMA" in str(error)
    assert len(frames) == 10
    assert Timeline.load(tmp_path / "call" / "timeline.json").n_samples == 1600


@pytest.mark.parametrize(
    "text",
    [
        "the bearer token of anna.smith@example.com",
        "call +43 1 234 56 78 90",
        "eyJhbGciOiJIUzI1NiJ9.e30",
        "\x00\x1b[2J\n" * 20,
        "x" * 120,
    ],
)
async def test_what_a_server_gives_as_its_reason_does_not_end_the_call(
    scripted: Scripted, text: str, tmp_path: Path
) -> None:
    server = scripted(plays(ACK, *packets(0, 10), close=1012, reason=text[:120]), plays(ACK, *packets(10, 5), ENDED))
    call, frames, error = await play(server, folder=tmp_path / "call")
    assert error is None
    assert len(frames) == 15
    stored = Timeline.load(tmp_path / "call" / "timeline.json")
    assert [e["kind"] for e in stored.events] == [e["kind"] for e in call.events]


async def test_malformed_and_unknown_messages_of_any_size_are_told_once_and_the_call_goes_on(
    scripted: Scripted, tmp_path: Path
) -> None:
    nonsense = ["{" * 1_000_001, "[" * 200_000, '{"type": "bearer x@example.com"}', '{"type": "later"}', "null"]
    server = scripted(plays(ACK, *nonsense, *packets(0, 10), *nonsense, ENDED))
    call, frames, error = await play(server, folder=tmp_path / "call")
    assert error is None
    assert len(frames) == 10
    assert (call.malformed_messages, call.unknown_messages) == (6, 4)
    assert call.stats().malformed == {"unreadable": 6}
    assert call.stats().balanced
    assert [e["kind"] for e in call.events] == ["connected", "malformed_message", "unknown_message", "ended"]
