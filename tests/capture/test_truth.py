"""Whatever the network does, the capture finds what was sent: to the packet, to the sample, hole by hole."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gcmedia import JitterConfig
from gcmedia.simulator import MALFORMED_KINDS, Call, Disconnect, Faults, Jump, Span

from .running import UNHURRIED, Run, by_turns, missing_runs, patient, run, sent_slots

SECONDS = 5
SEED = 20  # of which every call below begins with a packet that is sent
CALL = Call.demo(seconds=SECONDS, first_sequence_number=4_294_967_200)  # it wraps on the way
RAW = patient(format="raw")


def assert_exact(found: Run) -> None:
    """Packets, length and holes are those of the truth, and outside the holes every sample is the sender's."""
    assert found.error is None
    stats, truth = found.stats, found.truth
    malformed = sum(truth.malformed_sent.values())
    assert stats.balanced, stats.identity()
    assert truth.packets_undelivered == 0
    assert (
        stats.packets_received + found.call.unknown_messages == truth.packets_sent + truth.duplicates_sent + malformed
    )
    assert stats.packets_duplicate == truth.duplicates_sent
    assert stats.packets_refused == malformed - found.call.unknown_messages
    assert stats.packets_late == stats.packets_discarded == stats.packets_buffered == 0
    assert stats.packets_played == truth.packets_sent
    assert stats.total_samples * 1000 == truth.duration_ms * found.call.format.sample_rate
    assert found.listed == missing_runs(found)

    sent = np.zeros(truth.duration_ms // 20, bool)
    sent[list(sent_slots(found))] = True
    received = np.repeat(sent, 160)
    pcm = CALL.pcm(8000, 2)
    for channel in range(2):
        raw = found.raw(channel)
        assert len(raw) == len(pcm) == stats.total_samples
        assert np.array_equal(raw[received], pcm[received, channel])
        concealed = sum(frame.concealed_samples for frame in found.frames if frame.channel == channel)
        assert concealed == np.count_nonzero(~received)


def numbered_losses(found: Run) -> int:
    """Packets that the sequence numbers tell to be missing: those at the very ends are in no gap."""
    return found.truth.packets_lost + found.truth.packets_missed


def first_sent(found: Run) -> int:
    """Place in the call of the packet that came first."""
    return next((r.timestamp - found.truth.start_timestamp_ms) // 20 for r in found.records if r.kind == "packet")  # type: ignore[operator]


FAULTS = {
    "nothing": {},
    "loss": {"loss": 0.1},
    "heavy loss": {"loss": 0.6},
    "bursts": {"burst_enter": 0.05, "burst_leave": 0.3},
    "gap of 1 packet": {"gaps": [(2000, 20)]},
    "gap of 3 packets": {"gaps": [(2000, 60)]},
    "gap of 4 packets": {"gaps": [(2000, 80)]},
    "gap of 32 packets": {"gaps": [(2000, 640)]},
    "gap of 33 packets": {"gaps": [(2000, 660)]},
    "gap of 34 packets": {"gaps": [(2000, 680)]},
    "gap of 2 s": {"gaps": [(1000, 2000)]},
    "several gaps": {"gaps": [(500, 100), (700, 20), (760, 40), (2000, 1000)]},
    "gap at the end": {"gaps": [(4500, 500)]},
    "duplicates": {"duplicates": 0.4},
    "disorder": {"reorder": 0.4, "reorder_depth": 3},
    "jitter": {"jitter_ms": 150.0},
    "stalls": {"stalls": [(1000, 900), (3000, 1500)]},
    "sender idle": {"idle": [(2000, 1000)]},
    "sender idle twice": {"idle": [(1000, 500), (3000, 80)]},
    "abnormal end": {"disconnects": [(2000, "abnormal", 700)]},
    "restarting server": {"disconnects": [(2000, "close:1012", 300)]},
    "going away": {"disconnects": [(2000, "close:1001", 20)]},
    "server error": {"disconnects": [(2000, "close:1011", 1500), (4000, "close:1013", 100)]},
    "application's own code": {"disconnects": [(2000, "close:4321", 200)]},
    "end without outage": {"disconnects": [(2000, "abnormal", 0)]},
    "outage until the end": {"disconnects": [(2000, "abnormal", 60_000)]},
    "loss around an outage": {"loss": 0.2, "disconnects": [(2000, "abnormal", 500)], "gaps": [(1900, 100), (2500, 80)]},
    "all at once": {
        "loss": 0.05,
        "burst_enter": 0.01,
        "duplicates": 0.05,
        "reorder": 0.1,
        "jitter_ms": 40.0,
        "malformed": 0.05,
        "stalls": [(1500, 200)],
        "gaps": [(1000, 400)],
        "disconnects": [(3000, "abnormal", 400)],
    },
} | {f"malformed: {kind}": {"malformed": 0.1, "malformed_kinds": (kind,)} for kind in MALFORMED_KINDS}


@pytest.mark.anyio
@by_turns("name", FAULTS)
async def test_003_17_004_18_the_capture_is_true_to(name: str, tmp_path: Path) -> None:
    faults = Faults(seed=SEED, **FAULTS[name])  # type: ignore[arg-type]
    found = await run(CALL, faults, folder=tmp_path / "call", profile=RAW)
    assert 0 in sent_slots(found)
    assert_exact(found)
    ends = {record.timestamp for record in found.records if record.kind == "lost"}
    last = found.truth.start_timestamp_ms + found.truth.duration_ms - 20
    if last not in ends and name != "outage until the end":
        assert found.stats.packets_lost == numbered_losses(found)


CAUSES = {
    "loss": ("lost", {"gaps": [(1000, 200), (3000, 2000 // 20 * 20)]}),
    "outage": ("reconnect", {"disconnects": [(1000, "abnormal", 200), (3000, "close:1012", 1000)]}),
    "idleness": ("idle", {"idle": [(1000, 200), (3000, 1000)]}),
    "outage with a new sequence": (
        "reconnect",
        {"disconnects": [(1000, "abnormal", 200), (3000, "close:1012", 1000)], "restart_sequence_on_reconnect": True},
    ),
}


@pytest.mark.anyio
@by_turns("name", CAUSES)
async def test_a_hole_tells_its_cause(name: str, tmp_path: Path) -> None:
    cause, faults = CAUSES[name]
    found = await run(CALL, Faults(seed=1, **faults), folder=tmp_path / "call")  # type: ignore[arg-type]
    assert {hole.cause for hole in found.holes} == {cause}
    assert found.listed == missing_runs(found)
    assert found.stats.balanced


@pytest.mark.anyio
async def test_a_new_sequence_costs_nothing(tmp_path: Path) -> None:
    found = await run(
        CALL, Faults(seed=3, sequence_restarts_ms=(1000, 1040, 3000)), folder=tmp_path / "call", profile=RAW
    )
    assert_exact(found)
    assert found.stats.resets == 3
    assert found.stats.packets_lost == 0


@pytest.mark.anyio
@by_turns("kind", ["abnormal", "close:1012"])
async def test_a_server_that_restarts_its_sequence_keeps_the_timeline(kind: str, tmp_path: Path) -> None:
    faults = Faults(
        seed=2,
        loss=0.05,
        disconnects=(Disconnect(1000, kind, 300), Disconnect(2500, kind, 40)),
        restart_sequence_on_reconnect=True,
    )
    found = await run(CALL, faults, folder=tmp_path / "call", profile=RAW)
    assert_exact(found)
    assert found.stats.resets == 2
    assert found.stats.packets_lost <= numbered_losses(found)  # nobody can number what an outage took


@pytest.mark.anyio
@by_turns("by", [3, 10, 33, 34, 50, 1000, 100_000, 2**31 - 1, -5, -10, -300, -100_000])
async def test_numbers_that_jump_open_no_hole(by: int, tmp_path: Path) -> None:
    found = await run(CALL, Faults(sequence_jumps=(Jump(2000, by),)), folder=tmp_path / "call", profile=RAW)
    assert_exact(found)


@pytest.mark.anyio
@by_turns("by", [60, 500, 5000, 60_000])
async def test_a_media_clock_that_leaps_ahead_takes_the_timeline_along(by: int, tmp_path: Path) -> None:
    found = await run(CALL, Faults(timestamp_jumps=(Jump(2000, by),)), folder=tmp_path / "call")
    assert found.stats.balanced
    assert found.stats.packets_played == found.truth.packets_sent
    assert [(hole.position, hole.n_samples) for hole in found.holes] == [(16_000, by * 8)]
    assert found.stats.total_samples == SECONDS * 8000 + by * 8
    assert found.stats.timestamp_jumps == 1


@pytest.mark.anyio
@by_turns("by", [-60, -500, -5000, -(10**12)])
async def test_a_media_clock_that_falls_back_moves_nothing(by: int, tmp_path: Path) -> None:
    found = await run(CALL, Faults(timestamp_jumps=(Jump(2000, by),)), folder=tmp_path / "call")
    assert found.stats.balanced
    assert found.holes == []
    assert found.stats.packets_played == found.truth.packets_sent
    assert found.stats.total_samples == SECONDS * 8000
    assert np.array_equal(found.raw(0), (await run(CALL)).raw(0))


@pytest.mark.anyio
async def test_packets_later_than_the_buffer_waits_are_counted_and_take_no_place(tmp_path: Path) -> None:
    found = await run(CALL, Faults(seed=4, reorder=0.3, reorder_depth=20), folder=tmp_path / "call", profile=RAW)
    stats = found.stats
    assert first_sent(found) == 0
    assert stats.balanced
    assert stats.packets_late > 0
    assert stats.packets_lost == 0
    assert stats.packets_played + stats.packets_late == found.truth.packets_sent
    assert sum(hole.n_samples for hole in found.holes) == 160 * stats.packets_late


@pytest.mark.anyio
async def test_a_deeper_buffer_waits_for_them(tmp_path: Path) -> None:
    deep = JitterConfig(max_hold_ms=UNHURRIED.max_hold_ms, base_depth=20, max_depth=20)
    faults = Faults(seed=3, reorder=0.3, reorder_depth=15)
    found = await run(CALL, faults, folder=tmp_path / "call", profile=RAW, jitter=deep)
    assert_exact(found)
    assert found.stats.packets_reordered > 20


@pytest.mark.anyio
@by_turns("layout", ["packed12", "json"])
async def test_faults_are_the_same_in_every_form(layout: str, tmp_path: Path) -> None:
    profile = patient(format="raw", layout="packed12" if layout == "packed12" else "padded16")
    faults = Faults(seed=SEED, **FAULTS["all at once"])  # type: ignore[arg-type]
    found = await run(CALL, faults, folder=tmp_path / "call", profile=profile, layout=layout)
    assert_exact(found)


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_gap_longer_than_any_window_of_numbers() -> None:
    tone = (np.arange(8000) * 13 % 2000 - 1000).astype(np.int16)
    call = Call({"external": tone}, repeat=1900)
    faults = Faults(gaps=(Span(10_000, 90_100 * 20),))
    found = await run(call, faults, profile=patient(n_channels=1), overflow="drop_oldest", max_frames=100)
    assert found.stats.balanced
    assert found.stats.total_samples == 1900 * 8000
    assert found.stats.packets_played == found.truth.packets_sent == 95_000 - 90_100


@pytest.mark.anyio
@pytest.mark.parametrize("policy", ["depth", "window"])
async def test_time_driven_policies_keep_the_identity_too(policy: str, tmp_path: Path) -> None:
    """On a real clock, with real pauses: what is late may differ from run to run, the sums may not."""
    faults = Faults(
        seed=4, loss=0.05, duplicates=0.1, reorder=0.3, reorder_depth=8, jitter_ms=60.0, stalls=(Span(1000, 400),)
    )
    found = await run(
        Call.demo(seconds=3),
        faults,
        speed=20.0,
        profile=patient(20.0),
        jitter=JitterConfig(policy=policy, max_hold_ms=100.0),
        folder=tmp_path / "call",
    )
    stats = found.stats
    assert first_sent(found) == 0
    assert stats.balanced
    assert stats.packets_received == found.truth.packets_sent + found.truth.duplicates_sent
    assert stats.packets_duplicate == found.truth.duplicates_sent
    assert sum(hole.n_samples for hole in found.holes) == 160 * (stats.packets_lost + stats.packets_late)


# Anything together


def at_ms(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low // 20, high // 20).map(lambda n: n * 20.0)


@st.composite
def anything(draw: st.DrawFn) -> Faults:
    rates = st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.3])
    ends = st.builds(
        Disconnect,
        at_ms(20, 4800),
        st.sampled_from(["abnormal", "close:1001", "close:1012", "close:4000"]),
        at_ms(0, 1200),
    )
    disconnects = draw(st.lists(ends, max_size=4))
    return Faults(
        seed=draw(st.integers(0, 10_000)),
        loss=draw(st.sampled_from([0.0, 0.01, 0.1])),
        burst_enter=draw(st.sampled_from([0.0, 0.02])),
        gaps=tuple(Span(draw(at_ms(start, start + 400)), draw(at_ms(0, 560))) for start in (0, 1500, 3000)),
        duplicates=draw(rates),
        reorder=draw(rates),
        reorder_depth=draw(st.integers(1, 3)),
        jitter_ms=draw(st.sampled_from([0.0, 10.0, 300.0])),
        stalls=tuple(draw(st.lists(st.builds(Span, at_ms(0, 4000), at_ms(0, 1200)), max_size=3))),
        malformed=draw(rates),
        malformed_kinds=MALFORMED_KINDS,
        disconnects=tuple(disconnects),
    )


def leaves_a_doubt(found: Run) -> bool:
    """Whether the call's second packet is far from the first, and its connection ends before another confirms it.

    Nothing tells such a packet from nonsense, as one packet does not yet show how long packets are: it is refused.
    """
    packets = [record for record in found.records if record.kind == "packet"]
    if len(packets) < 3:
        return True
    first, second, third = packets[:3]
    jump = (second.timestamp - first.timestamp) // 20  # type: ignore[operator]
    return jump > 33 and second.connection != third.connection


async def _hold(faults: Faults, layout: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = await run(CALL, faults, profile=RAW, layout=layout, folder=Path(folder) / "call")
    assume(not leaves_a_doubt(found))
    assert_exact(found)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(faults=anything(), layout=st.sampled_from(["padded16", "json"]), backend=st.sampled_from(["asyncio", "trio"]))
def test_any_faults_together_leave_the_capture_true(faults: Faults, layout: str, backend: str) -> None:
    anyio.run(partial(_hold, faults, layout), backend=backend)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(faults=anything(), layout=st.sampled_from(["padded16", "json"]), backend=st.sampled_from(["asyncio", "trio"]))
def test_any_faults_together_leave_the_capture_true_at_length(faults: Faults, layout: str, backend: str) -> None:
    anyio.run(partial(_hold, faults, layout), backend=backend)
