from __future__ import annotations

import time

import anyio
import pytest

from gcmedia.clock import Clock, ScaledClock
from gcmedia.errors import ConfigError

from .conftest import HandClock


def test_a_deadline_counts_on_its_clock(hand_clock: HandClock) -> None:
    deadline = hand_clock.deadline(5.0)
    assert (deadline.remaining, deadline.expired) == (5.0, False)
    hand_clock.time += 4.0
    assert (deadline.remaining, deadline.expired) == (1.0, False)
    hand_clock.time += 2.0
    assert (deadline.remaining, deadline.expired) == (0.0, True)


@pytest.mark.anyio
async def test_a_scaled_clock_waits_in_its_own_seconds() -> None:
    clock = ScaledClock(1000.0)
    outside, began, inside = time.monotonic(), clock.now(), time.monotonic()
    await clock.sleep(50.0)
    within, ended, around = time.monotonic() - inside, clock.now(), time.monotonic() - outside
    assert ended - began >= 50.0
    assert within * 1000.0 - 0.001 <= ended - began <= around * 1000.0 + 0.001  # but for rounding
    with pytest.raises(TimeoutError), clock.fail_after(10.0):
        await anyio.sleep_forever()
    with clock.move_on_after(10.0) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_sleeping_no_time_is_a_checkpoint() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await Clock().sleep(-1.0)
    assert scope.cancelled_caught


def test_wall_time_is_not_scaled() -> None:
    assert abs(ScaledClock(1000.0).wall() - time.time()) < 5.0


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_must_make_sense(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed"):
        ScaledClock(speed)
