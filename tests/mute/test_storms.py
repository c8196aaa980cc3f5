"""Storms of wishes against a server that misbehaves, in virtual time: thousands of histories, each from its seed.

The claims are checked by `World` at every moment: a state counts as confirmed only while the last thing that the server
said agrees (000-31), nothing superseded is sent (000-39), requests keep their distance (001-29), Retry-After is never
undercut (000-23), and every waiter gets exactly one result.
"""

from __future__ import annotations

import random

import pytest

from gcmedia.config import MuteConfig
from gcmedia.mute import MuteResult
from gcmedia.simulator import MuteFaults
from tests.mute.world import World

WAYS = (("event", True), ("read", True), ("event", False))  # confirmed by; readable


def history(seed: int) -> World:
    """Live through one history."""
    draws = random.Random(seed)
    confirmed_by, readable = draws.choice(WAYS)
    foreign = draws.random() < 0.5  # others change the state too
    verify = draws.random() < 0.5
    slow = draws.choice([0.0, 0.3, 3.0, 8.0])
    ordered = draws.random() < 0.6  # effects come in the order of the requests
    faults = MuteFaults(
        seed=seed,
        effect_delay_s=(slow if ordered else 0.0, slow),
        effect_loss=draws.choice([0.0, 0.1]),
        event_delay_s=(0.0, draws.choice([0.0, 0.5, 4.0])),
        event_loss=draws.choice([0.0, 0.2]),
        event_duplicates=draws.choice([0.0, 0.3]),
        event_late=draws.choice([0.0, 0.3]),
        event_late_s=draws.choice([1.0, 8.0, 20.0]),
        throttled=draws.choice([0.0, 0.2]),
        retry_after_s=draws.choice([1.0, 3.0, 200.0]),
        failed=draws.choice([0.0, 0.2]),
        denies=draws.choice([(), (), (), (True,)]),
        overrides=draws.choice([0.0, 0.3]) if foreign else 0.0,
        cuts=draws.choice([0.0, 0.2]),
    )
    world = World(
        seed,
        faults,
        MuteConfig(verify_events=verify, resync_s=draws.choice([15.0, 60.0])),
        confirmed_by=confirmed_by,
        readable=readable,
        muted=draws.random() < 0.5,
        # An event alone cannot tell our effect from a supervisor's flip and back; a read behind it can.
        strict=readable and (verify or not foreign),
    )
    waiters: list[int] = []
    for _ in range(draws.randint(5, 30)):
        what = draws.random()
        if what < 0.55:
            waiter = world.ask(draws.random() < 0.5, confirm=draws.random() < 0.9)
            if isinstance(waiter, int):
                waiters.append(waiter)
        elif what < 0.62 and foreign:
            world.supervise(draws.random() < 0.5)
        elif what < 0.70:
            world.lose(draws.uniform(0.0, 3.0))
        elif what < 0.75 and waiters:
            world.cancel(draws.choice(waiters))
        elif what < 0.78:
            world.refresh()
        elif what < 0.79 and not world.leg.over:
            world.leg.move(draws.choice(["ringing", "connected", "disconnected"]), world.now)
        world.run(draws.choice([0.0, 0.01, 0.05, 0.3, 1.0, 3.0, 10.0]) * draws.random())
    world.leg.order(MuteFaults(effect_delay_s=faults.effect_delay_s))
    world.run(250.0)
    assert not world.open, "a waiter got no result"
    if readable and not world.leg.over:
        truth = world.leg.read(world.now).muted
        assert world.machine.state.confirmed is truth
        last = world.results.get(waiters[-1]) if waiters else None
        if ordered and not foreign and not faults.effect_loss and isinstance(last, MuteResult) and last.ok:
            assert truth is last.muted, "the last wish did not win"
    return world


def live(seeds: range) -> None:
    for seed in seeds:
        try:
            history(seed)
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error


@pytest.mark.parametrize("first", range(0, 600, 200))
def test_000_31_000_39_nothing_is_claimed_that_the_server_did_not_say_last(first: int) -> None:
    live(range(first, first + 200))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 13_000, 1500))
def test_000_31_000_39_over_twelve_thousand_histories(first: int) -> None:
    live(range(first, first + 1500))


def test_a_history_can_be_repeated() -> None:
    first, second = history(7), history(7)
    assert first.sends == second.sends
    assert [getattr(result, "status", type(result)) for result in first.results.values()] == [
        getattr(result, "status", type(result)) for result in second.results.values()
    ]
