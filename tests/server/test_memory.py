"""Python's search for garbage goes by the calls that have ended, and these leave it nothing."""

from __future__ import annotations

import ctypes
import gc
import resource
import weakref
from pathlib import Path
from typing import Any

import anyio
import pytest

from gcmedia import HookCall
from gcmedia.server.garbage import MAX_ENDED, collections_after
from gcmedia.server.heap import give_back_free_memory

from .dialer import dial, server_of, settled

pytestmark = pytest.mark.anyio


class Ring:
    def __init__(self) -> None:
        self.me = self


async def test_what_ended_calls_leave_is_collected() -> None:
    n_ended = 7
    usual = gc.get_threshold()
    ring = weakref.ref(Ring())
    async with collections_after(lambda: n_ended, period_s=0.001):
        assert gc.get_threshold()[2] > 1_000_000  # no full ones by themselves
        n_ended += MAX_ENDED
        await settled(lambda: ring() is None)
    assert gc.get_threshold() == usual


async def test_thresholds_are_those_of_before_after_an_error() -> None:
    usual = gc.get_threshold()
    with pytest.raises(BaseExceptionGroup):
        async with collections_after(lambda: 0):
            raise RuntimeError("of the server")
    assert gc.get_threshold() == usual


async def test_nothing_of_a_call_waits_for_the_search(transport: str, tmp_path: Path) -> None:
    calls: list[weakref.ref[HookCall]] = []

    async def handler(call: HookCall) -> None:
        async for _ in call:
            pass

    def on_event(call: HookCall, event: dict[str, Any]) -> None:
        if event["kind"] == "opened":
            calls.append(weakref.ref(call))

    gc.collect()
    gc.disable()
    try:
        async with server_of(handler, record_to=tmp_path, transport=transport, on_event=on_event) as server:
            for _ in range(3):
                async with dial(server) as dialer:
                    await dialer.audio(6)
                    await dialer.hang_up()
            await settled(lambda: not server.sessions and not any(call() for call in calls))
    finally:
        gc.enable()
    assert len(calls) == 3


# Other C libraries have no such call, and give free memory back by themselves; CI's is glibc, and the test runs.
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="it is the C library of glibc that keeps it")
async def test_free_memory_between_what_is_not_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    size, n = 20_000, 2000
    pieces = [bytes(size) for _ in range(n)]
    full = resident()
    del pieces[::2], pieces[::2], pieces[::2]  # an eighth of them stays, spread over all the heap
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_back_free_memory, 0.001)
        await settled(lambda: full - resident() > size * n // 2)
        tasks.cancel_scope.cancel()
    assert len(pieces) == n // 8
