"""The fuzz target, for a moment: its seeds, and some thousand mutants of them."""

from __future__ import annotations

import pytest

from tests.fuzz.fuzz_audiohook import by_mutation, run, seeds

# What the seeds alone must bring about, or they have gone stale.
REACHED = {
    "Opened",
    "OpenAnswered",
    "Audio",
    "Paused",
    "Resumed",
    "Discarded",
    "Closing",
    "Closed",
    "Failed",
    "Ended",
    "Ping",
    "Pong",
    "unknown type",
    "position",
    "violation",
    "disconnect",
    "error",
    "pause",
}


def test_the_seeds_reach_what_they_are_for() -> None:
    found = set().union(*map(run, seeds().values()))
    assert found >= REACHED


def test_mutants_of_the_seeds_break_nothing() -> None:
    runs, seen, findings = by_mutation(list(seeds().values()), 1, lambda runs: runs < 2500)
    assert findings == {}
    assert runs == 2500
    assert len(seen) > 50


@pytest.mark.slow
def test_many_mutants_of_the_seeds_break_nothing() -> None:
    assert by_mutation(list(seeds().values()), 2, lambda runs: runs < 6000)[2] == {}
