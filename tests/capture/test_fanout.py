"""The bounded queues between one producer and its consumers."""

from __future__ import annotations

import logging
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import ConfigError
from gcmedia.fanout import HURRIED_ITEMS, OVERFLOW_POLICIES, Fanout, Stream

pytestmark = pytest.mark.anyio


async def taken(stream: Stream[int]) -> list[int]:
    return [item async for item in stream]


def filled(overflow: str, n: int, max_items: int = 3) -> Stream[int]:
    stream: Stream[int] = Stream("test", max_items, overflow)
    for item in range(n):
        stream.put(item)
    return stream


# Bounds


async def test_drop_oldest_keeps_the_newest() -> None:
    stream = filled("drop_oldest", 10)
    stream.finish()
    assert await taken(stream) == [7, 8, 9]
    assert stream.dropped == 7


async def test_drop_newest_keeps_the_oldest() -> None:
    stream = filled("drop_newest", 10)
    stream.finish()
    assert await taken(stream) == [0, 1, 2]
    assert stream.dropped == 7


async def test_wait_makes_the_producer_wait_until_there_is_room() -> None:
    stream: Stream[int] = Stream("test", 3, "wait")
    high = 0

    async def produce() -> None:
        nonlocal high
        for item in range(20):
            stream.put(item)
            high = max(high, len(stream._items))
            await stream.wait_room()
        stream.finish()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        found = []
        async for item in stream:
            found.append(item)
            await anyio.lowlevel.checkpoint()
    assert found == list(range(20))
    assert high == 3
    assert stream.dropped == 0


def test_a_queue_says_what_is_wrong_with_its_settings() -> None:
    with pytest.raises(ConfigError, match="max_items is 0, less than 1"):
        Stream("test", 0, "wait")
    with pytest.raises(ConfigError, match="overflow is 'block', not one of drop_oldest, drop_newest, wait"):
        Stream("test", 1, "block")


def test_drops_are_logged_at_the_first_and_each_tenfold(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gcmedia.fanout"):
        filled("drop_oldest", 1203)
    assert [record.args for record in caplog.records] == [("test", 3, n) for n in (1, 10, 100, 1000)]


@given(
    st.sampled_from(OVERFLOW_POLICIES),
    st.integers(1, 5),
    st.lists(st.sampled_from(["put", "hold", "release", "clear", "hurry"]), max_size=60),
)
def test_what_goes_in_comes_out_or_is_counted(overflow: str, max_items: int, steps: list[str]) -> None:
    stream: Stream[int] = Stream("test", max_items, overflow)
    n = 0
    for step in steps:
        if step == "put":
            if not stream.congested:  # a producer of the policy "wait" waits here
                stream.put(n)
                n += 1
        elif step == "hold":
            stream.hold()
        elif step == "hurry":
            stream.hurry()
        else:
            stream.release(clear=step == "clear")
    stream.finish()
    found = anyio.run(taken, stream)
    assert found == sorted(set(found))
    assert len(found) + stream.dropped == n


# The end


@pytest.mark.parametrize("overflow", OVERFLOW_POLICIES)
async def test_a_failure_is_raised_once_behind_what_is_queued(overflow: str) -> None:
    stream = filled(overflow, 3)
    stream.finish(ValueError("why"))
    with pytest.raises(ValueError, match="why"):
        await taken(stream)
    assert stream.failure_pending is None
    assert await taken(stream) == []


async def test_items_come_before_the_failure() -> None:
    stream = filled("drop_oldest", 2)
    stream.finish(ValueError("why"))
    assert stream.failure_pending is not None
    assert [await anext(stream), await anext(stream)] == [0, 1]
    with pytest.raises(ValueError, match="why"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_after_the_end_nothing_is_taken() -> None:
    stream = filled("drop_oldest", 2)
    stream.finish()
    stream.put(9)
    assert stream.closed
    assert await taken(stream) == [0, 1]


@pytest.mark.parametrize("end", ["finish", "close"])
async def test_the_end_wakes_producer_and_every_consumer(end: str) -> None:
    full, empty = filled("wait", 3), filled("wait", 0)
    ended = 0

    async def consume() -> None:
        nonlocal ended
        assert await taken(empty) == []
        ended += 1

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(consume)
                tasks.start_soon(full.wait_room)
            await anyio.wait_all_tasks_blocked()
            getattr(full, end)()
            getattr(empty, end)()
    assert ended == 3


async def test_a_consumer_that_closes_frees_its_queue() -> None:
    stream = filled("wait", 3)
    stream.close()
    assert not stream.congested
    assert await taken(stream) == []


# Several tasks


async def test_several_consumers_share_a_stream_and_none_is_forgotten() -> None:
    stream: Stream[int] = Stream("test", 100, "wait")
    found: list[int] = []

    async def consume() -> None:
        async for item in stream:
            found.append(item)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(consume)
            await anyio.wait_all_tasks_blocked()
            for item in range(40):
                stream.put(item)
                if item % 7 == 0:
                    await anyio.wait_all_tasks_blocked()
            stream.finish()
    assert sorted(found) == list(range(40))


async def test_a_failure_reaches_one_of_several_consumers() -> None:
    stream: Stream[int] = Stream("test", 100, "wait")
    raised = ended = 0

    async def consume() -> None:
        nonlocal raised, ended
        with suppress(StopAsyncIteration):
            try:
                await anext(stream)
            except ValueError:
                raised += 1
                return
        ended += 1

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(consume)
            await anyio.wait_all_tasks_blocked()
            stream.finish(ValueError("why"))
    assert (raised, ended) == (1, 2)


async def test_several_producers_wait_and_none_is_forgotten() -> None:
    stream = filled("wait", 3)
    done = 0

    async def wait() -> None:
        nonlocal done
        await stream.wait_room()
        done += 1

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert await anext(stream) == 0
    assert done == 3


async def test_a_consumer_that_is_cancelled_takes_nothing() -> None:
    stream: Stream[int] = Stream("test", 3, "wait")
    with anyio.move_on_after(0.01):
        await anext(stream)
    stream.put(1)
    assert await anext(stream) == 1


# Hold, release, hurry


async def test_hold_keeps_everything_back_until_release() -> None:
    stream = filled("drop_oldest", 2)
    stream.hold()
    with anyio.move_on_after(0.01) as scope:
        await anext(stream)
    assert scope.cancelled_caught
    stream.put(2)
    stream.release()
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]


async def test_release_wakes_who_waits() -> None:
    stream = filled("drop_oldest", 2)
    stream.hold()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, stream)
            await anyio.wait_all_tasks_blocked()
            stream.release()


async def test_release_can_drop_what_was_held_and_counts_it() -> None:
    stream = filled("wait", 3)
    stream.hold()
    waited = False

    async def produce() -> None:
        nonlocal waited
        await stream.wait_room()
        waited = True

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(produce)
            await anyio.wait_all_tasks_blocked()
            stream.release(clear=True)
    assert waited
    assert stream.dropped == 3
    stream.put(9)
    assert await anext(stream) == 9


async def test_the_end_of_a_stream_that_is_held_gives_out_what_it_has() -> None:
    stream = filled("drop_oldest", 2)
    stream.hold()
    stream.finish()
    assert await taken(stream) == [0, 1]


async def test_a_producer_that_is_hurried_waits_no_more_and_is_bounded_still() -> None:
    stream = filled("wait", 3)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.wait_room)
            await anyio.wait_all_tasks_blocked()
            stream.hurry()
    stream.hurry()
    assert not stream.congested
    for item in range(3, 2 * HURRIED_ITEMS):
        stream.put(item)
    stream.finish()
    found = await taken(stream)
    assert len(found) == HURRIED_ITEMS + 3
    assert found[-1] == 2 * HURRIED_ITEMS - 1
    assert len(found) + stream.dropped == 2 * HURRIED_ITEMS


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_hurry_changes_nothing_for_the_others(overflow: str) -> None:
    stream = filled(overflow, 3)
    stream.hurry()
    for item in range(3, 10):
        stream.put(item)
    assert stream.dropped == 7


# Fan-out


async def test_each_stream_gets_what_comes_after_it_subscribed() -> None:
    fanout: Fanout[int] = Fanout()
    fanout.put(0)
    first = fanout.subscribe("first", max_items=10)
    fanout.put(1)
    second = fanout.subscribe("second", max_items=1)
    fanout.put(2)
    fanout.put(3)
    fanout.finish()
    assert await taken(first) == [1, 2, 3]
    assert await taken(second) == [3]
    assert fanout.dropped == 1


async def test_the_producer_waits_for_the_slowest_that_wants_it() -> None:
    fanout: Fanout[int] = Fanout()
    slow = fanout.subscribe("slow", max_items=2, overflow="wait")
    lossy = fanout.subscribe("lossy", max_items=1)
    for item in range(2):
        fanout.put(item)
    assert fanout.congested
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fanout.wait_room)
            await anyio.wait_all_tasks_blocked()
            assert await anext(slow) == 0
    assert not fanout.congested
    assert lossy.dropped == 1
    fanout.put(2)
    fanout.hurry()
    assert not fanout.congested


async def test_streams_that_were_closed_are_let_go_and_their_drops_kept() -> None:
    fanout: Fanout[int] = Fanout()
    for _ in range(50):
        stream = fanout.subscribe("short", max_items=1)
        fanout.put(1)
        fanout.put(2)
        stream.close()
    assert len(fanout._streams) == 1
    assert fanout.dropped == 50


async def test_a_failure_reaches_every_stream() -> None:
    fanout: Fanout[int] = Fanout()
    streams = [fanout.subscribe("one", max_items=1), fanout.subscribe("two", max_items=1)]
    fanout.finish(ValueError("why"))
    for stream in streams:
        with pytest.raises(ValueError, match="why"):
            await anext(stream)
