"""The fuzz target of `StreamReceiver`, for a moment: its seeds, and some hundred mutants of them."""

from __future__ import annotations

from tests.fuzz.fuzz_audiohook import by_mutation
from tests.fuzz.fuzz_stream import run, seeds

# What the seeds alone must bring about, or they have gone stale.
REACHED = {"malformed empty", "malformed ragged", "malformed unreadable", "hole 1", "packets_discarded 1", "overruns 1"}


def test_the_seeds_reach_what_they_are_for() -> None:
    found = set().union(*map(run, seeds().values()))
    assert found >= REACHED
    ways = {name[-1] for name in found if name.startswith("frames") and not name.startswith("frames 0")}
    assert ways == {"0", "1", "2"}


def test_mutants_of_the_seeds_break_nothing() -> None:
    runs, _, findings = by_mutation(list(seeds().values()), 1, lambda runs: runs < 150, run, "stream")
    assert findings == {}
    assert runs == 150
