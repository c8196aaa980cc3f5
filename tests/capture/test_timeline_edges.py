"""Where the timeline is hardest to keep: at its ends, after long gaps, and where garbage comes first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gcmedia.simulator import Call, Faults, Jump, Span

from .running import Run, missing_runs, patient, run

pytestmark = pytest.mark.anyio

CALL = Call.demo(seconds=5, first_sequence_number=1000)
RAW = patient(format="raw")


async def captured(faults: Faults, folder: Path) -> Run:
    found = await run(CALL, faults, folder=folder / "call", profile=RAW)
    assert found.error is None
    assert found.stats.balanced, found.stats.identity()
    return found


def assert_whole(found: Run) -> None:
    assert found.stats.total_samples * 1000 == found.truth.duration_ms * 8000
    assert found.listed == missing_runs(found)
    assert found.stats.packets_played == found.truth.packets_sent


@pytest.mark.parametrize("length_ms", [20, 200, 2000])
async def test_the_first_packets_lost_are_a_hole_at_the_start(length_ms: int, tmp_path: Path) -> None:
    """The acknowledgement tells the media time at which the call begins."""
    found = await captured(Faults(gaps=(Span(0, length_ms),)), tmp_path)
    assert_whole(found)
    assert found.listed == [(0, length_ms * 8)]


async def test_the_first_packets_come_later_than_the_buffer_waits(tmp_path: Path) -> None:
    found = await captured(Faults(seed=3, reorder=0.3, reorder_depth=20), tmp_path)
    assert found.stats.total_samples == 40_000
    assert sum(hole.n_samples for hole in found.holes) == 160 * found.stats.packets_late


@pytest.mark.parametrize("seed", [5, 14])  # of which the first message is one of garbage
async def test_garbage_before_the_first_packet_is_no_beginning(seed: int, tmp_path: Path) -> None:
    faults = Faults(seed=seed, malformed=0.1, malformed_kinds=("garbage_binary",))
    found = await captured(faults, tmp_path)
    assert next(r for r in found.records if r.kind in ("packet", "malformed")).kind == "malformed"
    assert_whole(found)
    assert np.array_equal(found.raw(0), CALL.pcm(8000, 2)[:, 0])


async def test_garbage_after_a_reconnect_is_no_new_sequence(tmp_path: Path) -> None:
    faults = Faults(
        seed=8, malformed=0.2, malformed_kinds=("garbage_binary",), disconnect_every_ms=500, disconnect_outage_ms=100
    )
    found = await captured(faults, tmp_path)
    assert_whole(found)


@pytest.mark.parametrize("idle_ms", [20, 40])
async def test_a_short_idleness_is_a_hole_of_its_length(idle_ms: int, tmp_path: Path) -> None:
    faults = Faults(idle=tuple(Span(at_ms, idle_ms) for at_ms in range(500, 4500, 500)))
    found = await captured(faults, tmp_path)
    assert_whole(found)


@pytest.mark.parametrize("by", [1, 2, -1])
async def test_a_number_that_slips_moves_nothing(by: int, tmp_path: Path) -> None:
    """The media clock goes on, so nothing is missing; a packet whose number has been, yet is newer, is another one."""
    found = await captured(Faults(sequence_jumps=(Jump(2000, by),)), tmp_path)
    assert_whole(found)


async def test_a_packet_alone_between_two_long_gaps_is_played(tmp_path: Path) -> None:
    """Its number and its timestamp agree, which chance does not bring about."""
    found = await captured(Faults(gaps=(Span(1000, 1000), Span(2020, 1000))), tmp_path)
    assert_whole(found)


@pytest.mark.parametrize("seed", range(3))
async def test_packets_in_disorder_after_a_long_gap_are_played(seed: int, tmp_path: Path) -> None:
    faults = Faults(seed=seed, reorder=0.5, reorder_depth=1, gaps=(Span(1000, 1000), Span(3000, 1000)))
    found = await captured(faults, tmp_path)
    assert_whole(found)


@pytest.mark.parametrize("seed", range(3))
async def test_packets_in_disorder_after_a_reconnect_are_played(seed: int, tmp_path: Path) -> None:
    faults = Faults(seed=seed, reorder=0.5, reorder_depth=1, disconnect_every_ms=500, disconnect_outage_ms=100)
    found = await captured(faults, tmp_path)
    assert_whole(found)


async def test_words_after_a_clock_that_fell_back_stay_with_their_audio() -> None:
    """Transcripts of the new time are mapped by the new time."""
    back = Faults(timestamp_jumps=(Jump(1000, -600),))
    found = await run(Call.demo(seconds=12, first_sequence_number=7), back)
    expected = {line.text: line.start_ms for line in found.truth.transcripts if line.start_ms >= 1000}
    assert expected
    for said in found.transcripts:
        if said.text in expected:
            assert abs(said.position - expected[said.text] * 8) <= 160
