"""Jitter buffer against the plain model, and the rows of the requirements that concern it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import JitterBuffer, JitterConfig
from gcmedia._core.playout import PlayoutEstimator
from tests.reference.stream import FULL, ModelBuffer

Step = tuple[int, int, float]  # number, timestamp, seconds since the step before


@st.composite
def streams(draw: st.DrawFn) -> list[Step]:
    """Packets of a sender with every fault; timestamps belong to the numbers, but for the nonsense."""
    number = draw(st.one_of(st.integers(0, FULL - 1), st.integers(FULL - 40, FULL - 1)))
    timestamp = draw(st.integers(-1000, 1 << 40))
    sent: list[tuple[int, int]] = []
    for kind in draw(st.lists(st.sampled_from("nnnnnnnnnnnndsSgGjrxo"), max_size=150)):
        if kind == "d" and sent:
            sent.append(sent[-draw(st.integers(1, min(len(sent), 80)))])
        elif kind == "g":
            missing = draw(st.integers(1, 4))
            number, timestamp = number + missing, timestamp + 20 * missing
        elif kind == "G":
            missing = draw(st.integers(5, 40))
            number, timestamp = number + missing, timestamp + 20 * missing
        elif kind == "j":
            missing = draw(st.integers(30, 100_000))
            number, timestamp = number + missing, timestamp + 20 * missing
        elif kind == "r":
            number = draw(st.integers(0, FULL - 1))
            timestamp += draw(st.integers(-5000, 5000))
        elif kind == "o":
            number -= draw(st.integers(1, 200))  # an announced or silent restart close by
        elif kind == "x":
            sent.append((draw(st.integers(0, FULL - 1)), draw(st.integers(-(1 << 62), 1 << 62))))
        elif kind in "sS" and len(sent) > 12:
            i, j = (len(sent) - draw(st.integers(1, 3 if kind == "s" else 12)) for _ in range(2))
            sent[i], sent[j] = sent[j], sent[i]
        else:
            sent.append((number % FULL, timestamp))
            number, timestamp = number + 1, timestamp + 20
    delays = st.sampled_from([0.0, 0.0, 0.02, 0.02, 0.02, 0.03, 0.06, 0.5, 2.0])
    return [(n, t, draw(delays)) for n, t in sent]


def fixed(policy: str, depth: int = 5, window_ms: float = 50.0, slots: int = 64, hold: float = 1.0) -> JitterConfig:
    """A policy that does not adapt."""
    return JitterConfig(
        policy=policy,
        slots=slots,
        base_depth=depth,
        min_depth=1,
        max_depth=max(depth, slots // 2),
        raise_loss=1.0,
        lower_loss=1.0,
        raise_interval_ms=math.inf,
        window_ms=window_ms,
        wide_window_ms=window_ms,
        wide_loss=1.0,
        max_hold_ms=hold * 1000,
    )


def check_equal(buffer: JitterBuffer, model: ModelBuffer, steps: list[Step], restarts: set[int], often: bool) -> None:
    """Hand both the same history; they must tell and release the same all along."""
    now = 0.0
    got: list[tuple[int, int, bytes, int]] = []
    want: list[tuple[int, int, bytes, int]] = []

    def compare(packets: list, models: list) -> None:  # type: ignore[type-arg]
        got.extend((p.sequence_number, p.timestamp, p.payload, p.lost_before) for p in packets)
        want.extend((p.number, p.timestamp, p.payload, lost) for p, lost in models)
        assert got == want

    for i, (number, timestamp, delay) in enumerate(steps):
        now += delay
        if i in restarts:
            buffer.restart()
            model.restart()
        payload = bytes([i % 256]) * (1 + i % 7)
        verdict = buffer.push(number, timestamp, payload, now)
        kind = model.push(number, timestamp, payload, now)
        assert verdict.kind == kind, f"packet {i} of {steps}"
        if often or i % 5 == 0 or kind not in ("in-order", "duplicate"):  # a gap may fill half the ring
            compare(buffer.pull(now), model.release(now))
        stats = buffer.stats()
        assert stats.balanced, stats.identity()
    compare(buffer.flush(), model.flush())
    stats = buffer.stats()
    assert stats.balanced, stats.identity()
    assert stats.packets_buffered == 0
    assert stats.packets_discarded == 0
    assert stats.packets_played == len(want)
    assert (stats.packets_late, stats.packets_reordered) == (model.late, model.reordered)
    assert stats.flushes == model.flushes
    assert stats.packets_lost == model.validator.lost


@settings(max_examples=500, deadline=None)
@given(
    streams(),
    st.sampled_from(["depth", "window"]),
    st.integers(1, 16),
    st.sampled_from([32, 64]),
    st.sets(st.integers(0, 149), max_size=3),
    st.booleans(),
)
def test_buffer_equals_model(
    steps: list[Step], policy: str, depth: int, slots: int, restarts: set[int], often: bool
) -> None:
    buffer = JitterBuffer(fixed(policy, depth, slots=slots), packet_octets=4)
    model = ModelBuffer(depth, None, 1.0, slots) if policy == "depth" else ModelBuffer(None, 0.05, 1.0, slots)
    check_equal(buffer, model, steps, restarts, often)


@settings(max_examples=300, deadline=None)
@given(
    streams(),
    st.floats(0, 300),
    st.floats(1, 300),
    st.sampled_from([32, 64]),
    st.sets(st.integers(0, 149), max_size=3),
    st.booleans(),
)
def test_adaptive_buffer_equals_model(
    steps: list[Step], low: float, more: float, slots: int, restarts: set[int], often: bool
) -> None:
    """The delay itself has a model of its own, in test_playout; what is done with it is told by this one."""
    high = low + more
    config = JitterConfig(policy="adaptive", slots=slots, max_depth=16, min_delay_ms=low, max_delay_ms=high)
    buffer = JitterBuffer(config, packet_octets=4)
    playout = PlayoutEstimator(min_delay_ms=low, max_delay_ms=high)
    model = ModelBuffer(None, None, high / 1000.0, slots, playout=playout)
    check_equal(buffer, model, steps, restarts, often)
    assert buffer.stats().underruns == model.underruns


def play(buffer: JitterBuffer, packets: list[int], interval: float = 0.02) -> list[int]:
    """Push numbers with 20 ms between them; return the numbers in the order of release."""
    released = []
    for i, number in enumerate(packets):
        buffer.push(number % FULL, 20 * number, b"x" * 160, i * interval)
        released += [p.sequence_number for p in buffer.pull(i * interval)]
    return released + [p.sequence_number for p in buffer.flush()]


def test_003_17_each_packet_is_released_exactly_once() -> None:
    buffer = JitterBuffer(JitterConfig(policy="window"))
    assert play(buffer, list(range(500))) == list(range(500))


def test_003_17_a_pause_of_100_ms_loses_nothing() -> None:
    buffer = JitterBuffer(JitterConfig(policy="window"))
    released = []
    for number, now in [(0, 0.0), (2, 0.02), (1, 0.045), (3, 0.145), (4, 0.165)]:
        buffer.push(number, 20 * number, b"x", now)
        released += [p.sequence_number for p in buffer.pull(now)]
    assert released == [0, 1, 2, 3, 4]


def test_003_17_order_is_by_sequence_number_through_the_wrap() -> None:
    buffer = JitterBuffer(JitterConfig(policy="window"))
    sent = [FULL - 2, FULL - 1, 1, 0, 2]
    released = []
    for i, number in enumerate(sent):
        buffer.push(number, 20 * i, b"x", i * 0.02)  # timestamps that do not follow the numbers mislead nobody
        released += [p.sequence_number for p in buffer.pull(i * 0.02)]
    assert released == [FULL - 2, FULL - 1, 0, 1, 2]


@pytest.mark.parametrize(("waited", "released"), [(0.049, []), (0.051, [2])])
def test_003_17_a_missing_packet_is_waited_for_50_ms(waited: float, released: list[int]) -> None:
    buffer = JitterBuffer(JitterConfig(policy="window"))
    buffer.push(0, 0, b"x", 0.0)
    buffer.pull(0.0)
    buffer.push(2, 40, b"x", 0.04)
    assert [p.sequence_number for p in buffer.pull(0.04 + waited)] == released


def test_003_32_window_widens_above_5_percent_loss_and_comes_back_with_hysteresis() -> None:
    buffer = JitterBuffer(JitterConfig(policy="window", dwell_packets=50))
    rng = random.Random(3)
    seen = []
    number = 0
    for loss, n in [(0.0, 200), (0.10, 300), (0.035, 300), (0.0, 600)]:
        for _ in range(n):
            if rng.random() >= loss:
                buffer.push(number, 20 * number, b"x", number * 0.02)
                buffer.pull(number * 0.02)
            number += 1
        seen.append(buffer.window_ms)
    assert seen == [50.0, 100.0, 100.0, 50.0]


def test_004_18_one_gap_flushes_once_and_playback_goes_on() -> None:
    buffer = JitterBuffer()
    sent = [*range(100, 200), *range(210, 610)]
    assert play(buffer, sent) == sent
    assert buffer.stats().flushes == 1


def test_004_15_joining_mid_call_plays_everything() -> None:
    buffer = JitterBuffer()
    sent = list(range(5000, 5500))
    assert play(buffer, sent) == sent
    assert buffer.stats().flushes == 0


def test_004_17_gaps_within_tolerance_are_no_flush() -> None:
    buffer = JitterBuffer()
    sent = [n for n in range(300) if n % 50 not in (10, 11, 12)]
    assert play(buffer, sent) == sent
    stats = buffer.stats()
    assert (stats.flushes, stats.packets_lost) == (0, 18)


def test_004_21_disorder_is_put_right() -> None:
    buffer = JitterBuffer()
    assert play(buffer, [1, 2, 3, 5, 4, 6, 7, 9, 8, 10, 7, 11]) == list(range(1, 12))


def test_004_21_the_tail_below_the_threshold_plays() -> None:
    buffer = JitterBuffer()
    assert play(buffer, [0, 1, 2]) == [0, 1, 2]


def test_004_21_memory_is_bounded_when_nobody_pulls() -> None:
    buffer = JitterBuffer()
    for number in range(10_000):
        buffer.push(number, 20 * number, b"x" * 160, number * 0.02)
    stats = buffer.stats()
    assert stats.packets_buffered <= 64
    assert stats.packets_discarded == 10_000 - stats.packets_buffered
    assert stats.balanced, stats.identity()


def test_depth_is_held_in_hand() -> None:
    buffer = JitterBuffer()
    for number in range(4):
        buffer.push(number, 20 * number, b"x", number * 0.02)
        assert buffer.pull(number * 0.02) == []
    buffer.push(4, 80, b"x", 0.08)
    assert [p.sequence_number for p in buffer.pull(0.08)] == [0]


def test_depth_policy_lets_go_when_nothing_more_comes() -> None:
    buffer = JitterBuffer(JitterConfig(max_hold_ms=200))
    for number in range(3):
        buffer.push(number, 20 * number, b"x", number * 0.02)
    assert buffer.pull(0.1) == []
    assert [p.sequence_number for p in buffer.pull(0.25)] == [0, 1, 2]
    assert buffer.stats().underruns == 1


@pytest.mark.parametrize(("base", "raised"), [(5, 10), (8, 16), (12, 20), (1, 3)])
def test_004_22_23_depth_follows_loss(base: int, raised: int) -> None:
    buffer = JitterBuffer(JitterConfig(base_depth=base))
    rng = random.Random(5)
    seen = []
    number = 0
    for loss, n in [(0.0, 100), (0.30, 300), (0.0, 600)]:
        for _ in range(n):
            if rng.random() >= loss:
                buffer.push(number, 20 * number, b"x", number * 0.02)
                buffer.pull(number * 0.02)
            number += 1
        seen.append(buffer.target)
    assert seen == [max(base, 3), raised, max(base, 3)]


def test_004_22_depth_follows_spacing() -> None:
    buffer = JitterBuffer()
    for number in range(60):
        buffer.push(number, 240 * number, b"x", number * 0.24)
    assert buffer.target == 10
    assert buffer.stats().interval_ms == 240


def test_004_23_a_dip_does_not_lower_the_depth_before_the_dwell() -> None:
    buffer = JitterBuffer(JitterConfig(dwell_packets=200))
    for number in range(0, 120, 2):
        buffer.push(number, 20 * number, b"x", number * 0.02)
    assert buffer.target == 10
    for number in range(120, 200):
        buffer.push(number, 20 * number, b"x", number * 0.02)
    assert buffer.target == 10


def test_004_24_a_perfect_stream_reports_no_loss() -> None:
    buffer = JitterBuffer()
    play(buffer, list(range(500)))
    assert buffer.stats().loss_rate == 0.0
    assert buffer.target == 5


def test_003_29_loss_rate_is_a_share_of_what_was_expected() -> None:
    buffer = JitterBuffer()
    rng = random.Random(1)
    for number in range(2000):
        if rng.random() >= 0.9:
            buffer.push(number, 20 * number, b"x", number * 0.02)
    assert buffer.stats().loss_rate == pytest.approx(0.9, abs=0.05)


def test_rfc_3550_a8_jitter() -> None:
    buffer = JitterBuffer()
    expected, last = 0.0, None
    rng = random.Random(9)
    for number in range(300):
        arrival = number * 0.02 + rng.random() * 0.03
        transit = arrival - number * 0.02
        if last is not None:
            expected += (abs(transit - last) - expected) / 16
        last = transit
        buffer.push(number, 20 * number, b"x", arrival)
        buffer.pull(arrival)
    assert buffer.stats().jitter == pytest.approx(expected, rel=1e-9)


def test_oversized_packet_is_refused_and_costs_itself_only() -> None:
    buffer = JitterBuffer(max_payload_octets=320)
    for number in range(10):
        verdict = buffer.push(number, 20 * number, b"x" * (321 if number == 4 else 320), number * 0.02)
        assert verdict.kind == ("refused" if number == 4 else "gap" if number == 5 else "in-order")
    stats = buffer.stats()
    assert stats.malformed == {"oversized": 1}
    assert stats.balanced, stats.identity()


def test_wrong_types() -> None:
    buffer = JitterBuffer()
    with pytest.raises(TypeError, match="payload must be bytes or a C-contiguous buffer, not int"):
        buffer.push(0, 0, 5, 0.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config must be a JitterConfig, not dict"):
        JitterBuffer({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"timestamp_rate is 0.0 ticks per second"):
        JitterBuffer(timestamp_rate=0.0)
    assert buffer.stats().packets_received == 0
