"""Python's search for garbage goes by the calls that have ended, and these leave it nothing."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from gcmedia import HookCall
from gcmedia.server.garbage import MAX_ENDED, collections_after

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
