"""From the time of day to samples, over clocks that drift, pauses and set clocks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia.errors import ConfigError
from gcmedia.record import WallMap

RATE = 8000


@settings(max_examples=10, deadline=None)
@given(st.floats(-200, 200), st.integers(0, 2**32))
def test_a_drifting_clock_is_followed(ppm: float, seed: int) -> None:
    rng = random.Random(seed)
    wall_map = WallMap(RATE)
    scale = 1 + ppm * 1e-6
    start = 1_795_000_000_000.0
    for index in range(0, 36_000):  # two hours, five times a second
        sent_s = index * 0.2
        wall_map.note(start + sent_s * 1000 * scale + rng.random() * 60, int(sent_s * RATE))
    assert len(wall_map) <= 3601
    for sent_s in (5.0, 100.0, 3600.5, 7000.0):
        found = wall_map.position_at(start + sent_s * 1000 * scale)
        assert found is not None
        # At most the least delay of the two seconds around it, and never behind what was really there.
        assert -0.06 * RATE - 2 <= found - sent_s * RATE <= 0.002 * RATE


def test_a_stream_that_stands_still_is_not_run_ahead_of() -> None:
    wall_map = WallMap(RATE)
    wall_map.note(1000.0, 0)
    wall_map.note(11_000.0, 8000)  # ten seconds brought one second of samples
    assert wall_map.position_at(1500.0) == 4000
    assert wall_map.position_at(9000.0) == 8000
    assert wall_map.position_at(12_000.0) == 16_000
    assert wall_map.position_at(500.0) == -4000


def test_a_clock_that_is_set_back_begins_anew() -> None:
    wall_map = WallMap(RATE)
    assert wall_map.position_at(0.0) is None
    wall_map.note(10_000_000.0, 80_000)
    wall_map.note(9_999_000.0, 81_000)  # a little step is passed over
    assert wall_map.position_at(10_000_000.0) == 80_000
    wall_map.note(6_400_000.0, 160_000)
    assert wall_map.position_at(6_401_000.0) == 168_000
    with pytest.raises(ConfigError, match="sample_rate is 0 Hz"):
        WallMap(0)
