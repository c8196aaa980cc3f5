"""Pause, resume, stop, and consumers that are slow, leave, fail or never come."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from websockets.sync.server import ServerConnection

from gcmedia import ConfigError, ConnectionLost, Frame, Hole, StateError, ulaw_decode
from gcmedia.capture import PAUSE_MODES, Capture, capture
from gcmedia.config import PlatformMediaConfig
from gcmedia.fanout import OVERFLOW_POLICIES, Stream
from gcmedia.record import read_wav
from gcmedia.record.audit import verify_audit
from gcmedia.record.timeline import Timeline
from gcmedia.simulator import Call, Disconnect, Faults, Simulator, Span
from tests.clocks import HurriedClock

from .conftest import ScriptedServer
from .running import CONVERSATION, SPEED, UNHURRIED, by_turns, credentials, patient
from .scripts import ACK, ENDED, packet, packets, plays

pytestmark = pytest.mark.anyio

Scripted = Callable[..., ScriptedServer]
SECONDS = 4
CALL = Call.demo(seconds=SECONDS, noise_db=-30.0, first_sequence_number=50)
MONO = PlatformMediaConfig(format="pcmu", sample_rate=8000)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- what it waits for has no event
        await anyio.sleep(0.005)


@asynccontextmanager
async def calling(
    faults: Faults | None = None, *, speed: float | None = None, **options: Any
) -> AsyncIterator[tuple[Capture, Simulator]]:
    """A capture that has not begun, of one channel and one frame a packet; nothing here may take for ever."""
    options = {"overflow": "wait", "max_frames": 10, "jitter": UNHURRIED, "rng": random.Random(1), **options}
    with anyio.fail_after(60):
        async with Simulator({CONVERSATION: CALL}, faults, speed=speed) as cloud:
            yield (
                capture(
                    CONVERSATION,
                    credentials=credentials(cloud),
                    profile=patient(format="raw", n_channels=1),
                    clock=HurriedClock(SPEED),
                    **options,
                ),
                cloud,
            )


def recorded(folder: Path) -> tuple[np.ndarray[Any, np.dtype[np.int16]], Timeline]:
    """Raw samples and timeline of a folder that must be whole."""
    assert not list(folder.glob("*.part"))
    verify_audit(folder / "audit.jsonl")
    return np.frombuffer(read_wav(folder / "raw-mixed.wav").data, np.int16), Timeline.load(folder / "timeline.json")


def assert_contiguous(frames: list[Frame]) -> None:
    assert [frame.position for frame in frames] == [160 * n for n in range(len(frames))]


def holes_of(timeline: Timeline, cause: str) -> list[Hole]:
    return [hole for hole in timeline.holes if hole.cause == cause]


# Pause: nothing is taken


@pytest.mark.parametrize("loss", [0.0, 0.1])
async def test_004_38_a_pause_is_a_hole_of_its_exact_length(loss: float, tmp_path: Path) -> None:
    faults = Faults(seed=3, loss=loss)
    frames: list[Frame] = []
    async with calling(faults, folder=tmp_path / "call") as (call, cloud), call:
        async for frame in call:
            frames.append(frame)
            if len(frames) == 40:
                await call.pause()
                assert call.state == "paused"
            if len(frames) == 120:
                await call.resume()
                assert call.state == "live"
        truth = cloud.truth(CONVERSATION)
    stats = call.stats()
    assert stats.balanced
    assert stats.packets_discarded > 40
    assert stats.packets_played + stats.packets_discarded == truth.packets_sent
    assert stats.packets_lost == truth.packets_lost
    assert stats.total_samples == SECONDS * 8000
    assert_contiguous(frames)

    raw, timeline = recorded(tmp_path / "call")
    assert np.array_equal(raw, np.concatenate([np.frombuffer(frame.raw, np.int16) for frame in frames]))
    paused = holes_of(timeline, "paused")
    if not loss:
        assert [hole.n_samples for hole in paused] == [160 * stats.packets_discarded]
    taken = np.ones(len(raw), bool)
    for hole in timeline.holes:
        taken[hole.position : hole.position + hole.n_samples] = False
    for hole in paused:
        assert not raw[hole.position : hole.position + hole.n_samples].any()
    assert np.array_equal(raw[taken], CALL.pcm(8000, 1)[taken, 0])
    assert [event["kind"] for event in timeline.events] == ["connected", "paused", "resumed", "ended"]


async def test_004_38_a_pause_from_the_very_start(tmp_path: Path) -> None:
    async with calling(folder=tmp_path / "call") as (call, _):
        await call.pause()
        frames: list[Frame] = []
        async with call:
            assert call.state == "paused"
            async for frame in call:
                frames.append(frame)
                if len(frames) == 50:
                    await call.resume()
    assert_contiguous(frames)
    assert len(frames) == 50 * SECONDS
    _, timeline = recorded(tmp_path / "call")
    hole = timeline.holes[0]
    assert (hole.position, hole.n_samples) == (0, 160 * call.stats().packets_discarded)
    assert call.stats().packets_discarded >= 50
    assert call.stats().balanced


async def test_004_38_a_pause_to_the_end(tmp_path: Path) -> None:
    async with calling(folder=tmp_path / "call") as (call, cloud):
        frames = []
        async with call:
            async for frame in call:
                frames.append(frame)
                if len(frames) == 40:
                    await call.pause()
            truth = cloud.truth(CONVERSATION)
    assert_contiguous(frames)
    _, timeline = recorded(tmp_path / "call")
    assert timeline.n_samples == SECONDS * 8000
    assert timeline.holes[-1].cause == "paused"
    assert timeline.holes[-1].position + timeline.holes[-1].n_samples == timeline.n_samples
    assert call.stats().packets_played + call.stats().packets_discarded == truth.packets_sent


async def test_004_38_a_pause_lasts_through_a_reconnect(tmp_path: Path) -> None:
    faults = Faults(disconnects=(Disconnect(2000, "abnormal", 300),))
    states: list[str] = []
    frames: list[Frame] = []
    async with calling(faults, folder=tmp_path / "call") as (call, _), call:
        async for frame in call:
            frames.append(frame)
            states.append(call.state)
            if len(frames) == 60:
                await call.pause()
            if len(frames) == 160:
                await call.resume()
    assert states[155] == "paused"
    assert states[-1] in ("live", "ended")
    assert_contiguous(frames)
    _, timeline = recorded(tmp_path / "call")
    assert timeline.n_samples == SECONDS * 8000
    # one stretch without audio from pause to resume, the outage in the middle of it
    assert timeline.hole_samples == 160 * (call.stats().packets_discarded + call.stats().packets_lost)
    start = min(hole.position for hole in timeline.holes)
    assert timeline.hole_samples == max(hole.position + hole.n_samples for hole in timeline.holes) - start
    assert call.stats().balanced


async def test_004_38_several_pauses(tmp_path: Path) -> None:
    frames: list[Frame] = []
    async with calling(folder=tmp_path / "call") as (call, _), call:
        async for frame in call:
            frames.append(frame)
            if len(frames) % 50 == 10:
                await call.pause()
            if len(frames) % 50 == 35:
                await call.resume()
    raw, timeline = recorded(tmp_path / "call")
    assert_contiguous(frames)
    assert len(raw) == SECONDS * 8000
    assert len(holes_of(timeline, "paused")) == 4
    assert timeline.hole_samples == 160 * call.stats().packets_discarded
    assert call.stats().balanced


# Pause: kept for later, or for the recording only


N_PACKETS = (30, 100, 20)  # before a pause of more frames than the buffer takes, in it, and behind it


@asynccontextmanager
async def paused_between(
    scripted: Scripted, mode: str, **options: Any
) -> AsyncIterator[tuple[Capture, list[Frame], threading.Event, Callable[[], bool]]]:
    """A capture paused behind its 20th frame: what was taken, what lets the rest come, whether the pause has lasted."""
    first, inside, last = accumulate(N_PACKETS)
    parts = [[ACK, *numbered(0, first)], numbered(first, inside), [*numbered(inside, last), ENDED]]
    going_on = [threading.Event() for _ in parts]
    going_on[0].set()

    def script(websocket: ServerConnection) -> None:
        for part, going in zip(parts, going_on, strict=True):
            assert going.wait(60)
            for message in part:
                websocket.send(message)
        websocket.close(1000)

    server = scripted(script)
    call = capture(
        "c",
        token="t",
        region=server.url,
        profile=MONO,
        max_frames=40,
        jitter=UNHURRIED,
        rng=random.Random(1),
        **options,
    )
    try:
        with anyio.fail_after(60):
            async with call:
                frames = [await anext(call) for _ in range(20)]
                await call.pause(mode)
                going_on[1].set()
                yield call, frames, going_on[2], lambda: call.position >= 160 * 70
    finally:
        for going in going_on:
            going.set()


def numbered(first: int, end: int) -> list[str | bytes]:
    """Packets that sound different, one from the other."""
    return [packet(number, value=number) for number in range(first, end)]


def as_sent() -> np.ndarray[Any, np.dtype[np.int16]]:
    """The samples of all of them."""
    octets = bytes(number for number in range(sum(N_PACKETS)) for _ in range(160))
    return np.frombuffer(ulaw_decode(octets), np.int16)


@by_turns("overflow", OVERFLOW_POLICIES)
async def test_004_38_a_buffer_of_a_bound_waits_for_resume(overflow: str, scripted: Scripted, tmp_path: Path) -> None:
    """The pause is longer than the buffer."""
    folder = tmp_path / "call"
    async with paused_between(scripted, "buffer", overflow=overflow, folder=folder) as (call, frames, rest, lasted):
        async with anyio.create_task_group() as tasks:

            async def take() -> None:
                frames.append(await anext(call))

            tasks.start_soon(take)
            await until(lambda: call.position >= 160 * 60 if overflow == "wait" else lasted())
            assert not (overflow == "wait" and lasted()), "the queue has a bound"
            assert len(frames) == 20, "the consumer waits"
            await call.resume()
        rest.set()
        async for frame in call:
            frames.append(frame)
    raw, timeline = recorded(folder)
    assert np.array_equal(raw, as_sent())
    assert timeline.holes == []
    assert len(frames) + call.dropped_frames == sum(N_PACKETS)
    if overflow == "wait":
        assert_contiguous(frames)
    elif overflow == "drop_oldest":
        kept = [frame.position - frames[20].position for frame in frames[20:60]]
        assert kept == [160 * n for n in range(40)]
        assert frames[20].position >= 160 * 30
    else:
        assert_contiguous(frames[:60])
        assert frames[60].position > frames[59].position + 160
    assert call.stats().packets_discarded == 0


async def test_004_39_the_live_edge_leaves_out_what_was_said_meanwhile(scripted: Scripted, tmp_path: Path) -> None:
    folder = tmp_path / "call"
    async with paused_between(scripted, "live_edge", overflow="drop_oldest", folder=folder) as (
        call,
        frames,
        rest,
        lasted,
    ):
        await until(lasted)
        edge = call.position
        await call.resume()
        rest.set()
        async for frame in call:
            frames.append(frame)
    assert call.dropped_frames > 40
    assert len(frames) + call.dropped_frames == sum(N_PACKETS)
    assert frames[20].position == edge
    raw, timeline = recorded(folder)
    assert np.array_equal(raw, as_sent())
    assert timeline.holes == []


async def test_004_39_pausing_and_resuming_again_changes_nothing() -> None:
    async with calling() as (call, _), call:
        await call.resume()
        await call.pause("buffer")
        await call.pause("drop")
        await call.pause("live_edge")
        await call.resume()
        await call.resume()
        assert [frame.position async for frame in call] == [160 * n for n in range(50 * SECONDS)]
        await call.pause()
        await call.resume()
    told = [(event["kind"], event.get("mode")) for event in call.events]
    assert told == [("connected", None), ("paused", "buffer"), ("resumed", "buffer"), ("ended", None)]


async def test_an_unknown_way_to_pause_is_refused() -> None:
    async with calling() as (call, _):
        with pytest.raises(ConfigError, match="mode is 'hold', not one of drop, buffer, live_edge"):
            await call.pause("hold")


# Stop


@pytest.mark.parametrize("mode", PAUSE_MODES)
async def test_004_40_stop_while_paused(mode: str, tmp_path: Path) -> None:
    frames: list[Frame] = []
    async with calling(folder=tmp_path / "call", max_frames=20) as (call, _), call:
        async for frame in call:
            frames.append(frame)
            if len(frames) == 30:
                await call.pause(mode)
                await anyio.sleep(0.02)
                await call.stop()
    assert call.state == "ended"
    assert_contiguous(frames)
    raw, _ = recorded(tmp_path / "call")
    assert len(raw) == call.stats().total_samples == 160 * len(frames)
    assert call.stats().balanced
    assert call.events[-1]["cause"] == "stopped here"


@pytest.mark.parametrize("overflow", OVERFLOW_POLICIES)
@pytest.mark.parametrize("at", [1, 2, 30, 199])
async def test_004_40_stop_inside_the_loop_hands_out_what_has_come(overflow: str, at: int, tmp_path: Path) -> None:
    frames: list[Frame] = []
    bound = 4 if overflow == "wait" else 1000
    async with calling(folder=tmp_path / "call", overflow=overflow, max_frames=bound) as (call, _), call:
        async for frame in call:
            frames.append(frame)
            if len(frames) == at:
                await call.stop()
                await call.stop()
    assert len(frames) >= at
    assert_contiguous(frames)
    raw, _ = recorded(tmp_path / "call")
    assert len(raw) == call.stats().total_samples == 160 * len(frames)
    assert call.stats().balanced
    assert call.stats().packets_buffered == 0


async def test_004_40_stop_before_it_begins_does_nothing() -> None:
    async with calling() as (call, _):
        await call.stop()
        async with call:
            assert len([frame async for frame in call]) == 50 * SECONDS


async def test_004_40_stop_while_connecting(scripted: Scripted) -> None:
    server = scripted(plays(close=None))
    call = capture("c", token="t", region=server.url)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def stop() -> None:
                await until(lambda: bool(server.subscriptions))
                await call.stop()

            tasks.start_soon(stop)
            async with call:
                assert [frame async for frame in call] == []
    assert call.state == "ended"
    assert not call.reached
    with pytest.raises(StateError, match="the format is not known yet"):
        _ = call.format


@pytest.mark.parametrize("max_frames", [2, 10])
async def test_004_40_stop_from_another_task_while_everybody_waits(max_frames: int) -> None:
    """Two full queues of the policy "wait", one or the other in the way of the call."""
    async with calling(max_frames=max_frames) as (call, _):
        idle = call.subscribe("idle", max_frames=3, overflow="wait")
        async with call:
            await until(lambda: call._frames.congested or call._fanout.congested)
            assert call._frames.congested == (max_frames == 2)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.stop)
                frames = [frame async for frame in call]
            assert_contiguous(frames)
            assert [frame.position async for frame in idle] == [frame.position for frame in frames]


async def test_004_40_stop_in_the_last_moments_of_a_call() -> None:
    """The server has ended, and what is left waits for room."""
    async with calling(Faults(gaps=(Span(500, 3500),)), max_frames=2) as (call, _), call:
        frames: list[Frame] = []
        async for frame in call:
            frames.append(frame)
            if frame.position == 16_000:
                await anyio.sleep(0.02)
                await call.stop()
    assert_contiguous(frames)
    assert len(frames) == 50 * SECONDS


# Consumers


@pytest.mark.parametrize("overflow", OVERFLOW_POLICIES)
@pytest.mark.parametrize("at", [0, 1, 60, 199])
async def test_leaving_early_ends_the_call_and_completes_the_recording(overflow: str, at: int, tmp_path: Path) -> None:
    async with calling(folder=tmp_path / "call", overflow=overflow, max_frames=3) as (call, _):
        async with call:
            call.subscribe("nobody", max_frames=500, overflow="wait")
            n_taken = 0
            while n_taken < at and await anext(call, None) is not None:  # it may end before: some frames are dropped
                n_taken += 1
            assert overflow != "wait" or n_taken == at
        assert call.state == "ended"
        raw, timeline = recorded(tmp_path / "call")
        assert len(raw) == timeline.n_samples == call.stats().total_samples
        assert np.array_equal(raw, CALL.pcm(8000, 1)[: len(raw), 0])
        assert call.stats().balanced


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_a_consumer_that_never_comes_costs_a_bounded_queue_and_no_recording(
    overflow: str, tmp_path: Path
) -> None:
    async with calling(folder=tmp_path / "call", overflow=overflow) as (call, _):
        async with call:
            while call.state != "ended":
                assert len(call._frames._items) <= 10
                await anyio.sleep(0.01)
        assert call.dropped_frames == 50 * SECONDS - 10
        raw, _ = recorded(tmp_path / "call")
        assert np.array_equal(raw, CALL.pcm(8000, 1)[:, 0])


@pytest.mark.parametrize("overflow", OVERFLOW_POLICIES)
async def test_a_slow_consumer_gets_what_the_policy_says(overflow: str, tmp_path: Path) -> None:
    frames: list[Frame] = []
    async with calling(folder=tmp_path / "call", overflow=overflow) as (call, _), call:
        async for frame in call:
            frames.append(frame)
            if len(frames) <= 10:
                await anyio.sleep(0.01)
    raw, _ = recorded(tmp_path / "call")
    assert np.array_equal(raw, CALL.pcm(8000, 1)[:, 0])
    assert len(frames) + call.dropped_frames == 50 * SECONDS
    assert [frame.position for frame in frames] == sorted({frame.position for frame in frames})
    if overflow == "wait":
        assert call.dropped_frames == 0
    else:
        assert call.dropped_frames > 0
    if overflow == "drop_oldest":
        assert frames[-1].position == 160 * (50 * SECONDS - 1)


async def test_an_exception_of_the_consumer_comes_out_as_it_is(tmp_path: Path) -> None:
    class MineError(Exception):
        pass

    async with calling(folder=tmp_path / "call") as (call, _):
        with pytest.raises(MineError) as caught:  # noqa: PT012
            async with call:
                async for frame in call:
                    if frame.position == 1600:
                        raise MineError("mine")
        assert caught.value.args == ("mine",)
        raw, _ = recorded(tmp_path / "call")
        assert len(raw) == call.stats().total_samples > 1600
        assert call.state == "ended"


@pytest.mark.parametrize("overflow", OVERFLOW_POLICIES)
async def test_cancellation_from_outside_is_clean(overflow: str, tmp_path: Path) -> None:
    async with calling(folder=tmp_path / "call", overflow=overflow, speed=10.0) as (call, _):
        before = {task.id for task in anyio.get_running_tasks()}
        with anyio.CancelScope() as scope:
            async with call:
                call.subscribe("nobody", max_frames=2, overflow="wait")
                async for frame in call:
                    if frame.position >= 160:
                        scope.cancel()
        assert scope.cancelled_caught
        assert call.state == "ended"
        raw, _ = recorded(tmp_path / "call")
        assert len(raw) == call.stats().total_samples
        assert call.stats().balanced
        await anyio.wait_all_tasks_blocked()
        ours = [task for task in anyio.get_running_tasks() if task.id not in before and "gcmedia.capture" in str(task)]
        assert ours == []


async def test_cancellation_while_connecting_is_clean(scripted: Scripted) -> None:
    server = scripted(plays(close=None))
    call = capture("c", token="t", region=server.url)
    with anyio.fail_after(60):
        with anyio.move_on_after(0.1) as scope:
            async with call:
                raise AssertionError("nobody has acknowledged")
    assert scope.cancelled_caught
    assert call.state == "ended"


async def test_a_failure_that_nobody_heard_of_is_raised_on_leaving(scripted: Scripted) -> None:
    server = scripted(plays(ACK, *packets(0, 10), close=1008))
    with pytest.raises(ConnectionLost, match="1008"):
        async with capture("c", token="t", region=server.url) as call:
            await until(lambda: call.state == "failed")


async def test_a_failure_does_not_cover_the_consumer_s_own(scripted: Scripted) -> None:
    server = scripted(plays(ACK, *packets(0, 10), close=1008))
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with capture("c", token="t", region=server.url) as call:
            await until(lambda: call.state == "failed")
            _ = 1 / 0


async def test_a_failure_is_raised_behind_the_last_frame_and_once(scripted: Scripted) -> None:
    server = scripted(plays(ACK, *packets(0, 10), close=1008))
    async with capture("c", token="t", region=server.url, profile=MONO) as call:
        frames = [await anext(call) for _ in range(10)]
        assert_contiguous(frames)
        with pytest.raises(ConnectionLost, match="1008"):
            await anext(call)
        with pytest.raises(StopAsyncIteration):
            await anext(call)


async def test_a_failure_reaches_every_stream(scripted: Scripted) -> None:
    go = threading.Event()

    def script(websocket: ServerConnection) -> None:
        websocket.send(ACK)
        go.wait(10)
        plays(*packets(0, 10), close=1008)(websocket)

    server = scripted(script)
    async with capture("c", token="t", region=server.url, profile=MONO) as call:
        streams: list[Capture | Stream[Frame]] = [call, call.subscribe("one"), call.subscribe("two", overflow="wait")]
        go.set()
        for stream in streams:
            assert_contiguous([await anext(stream) for _ in range(10)])
            with pytest.raises(ConnectionLost, match="1008"):
                await anext(stream)


async def test_several_consumers_see_the_same_frames() -> None:
    async with calling(max_frames=500) as (call, _):
        early = call.subscribe("early", max_frames=500)
        async with call:
            later = call.subscribe("later", max_frames=500, overflow="wait")
            short = call.subscribe("short", max_frames=5)
            frames = [frame async for frame in call]
            late = call.subscribe("late")
            assert_contiguous(frames)
            assert len(frames) == 50 * SECONDS
            assert [frame async for frame in early] == frames
            rest = [frame async for frame in later]
            assert rest == frames[-len(rest) :]
            assert [frame async for frame in short] == frames[-5:]
            assert [frame async for frame in late] == []
    assert call.dropped_frames == short.dropped > 0


async def test_two_tasks_may_share_the_iteration() -> None:
    seen: list[int] = []
    async with calling(max_frames=3) as (call, _), call:

        async def consume() -> None:
            async for frame in call:
                seen.append(frame.position)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(consume)
    assert sorted(seen) == [160 * n for n in range(50 * SECONDS)]
