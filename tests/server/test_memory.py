"""Python's search for garbage goes by the calls that have ended."""

from __future__ import annotations

import gc
import weakref

import pytest

from gcmedia.server.garbage import MAX_ENDED, collections_after

from .dialer import settled

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
