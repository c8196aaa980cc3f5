"""Sequence validator against the plain model, and the rows of the requirements that concern it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import SequenceValidator
from tests.reference.stream import FULL, ModelValidator


@st.composite
def numbers(draw: st.DrawFn) -> list[int]:
    """A sender's numbers with loss, duplicates, reordering, jumps, restarts and nonsense, from any start."""
    number = draw(st.one_of(st.integers(0, FULL - 1), st.integers(FULL - 50, FULL - 1), st.just(0)))
    sent: list[int] = []
    for kind in draw(st.lists(st.sampled_from("nnnnnnnndsgjrx"), max_size=120)):
        if kind == "d":
            sent.append((number - draw(st.integers(0, 300))) % FULL)
        elif kind == "g":
            number += draw(st.integers(1, 40))
        elif kind == "j":
            number += draw(st.integers(30, 200_000))
        elif kind == "r":
            number = draw(st.integers(0, FULL - 1))
        elif kind == "x":
            sent.append(draw(st.integers(0, FULL - 1)))
        elif kind == "s" and len(sent) > 3:
            i = len(sent) - draw(st.integers(1, 3))
            sent[i - 1], sent[i] = sent[i], sent[i - 1]
        else:
            sent.append(number % FULL)
            number += 1
    return sent


@settings(max_examples=400, deadline=None)
@given(numbers())
def test_validator_equals_model(sent: list[int]) -> None:
    validator, model = SequenceValidator(), ModelValidator()
    for i, number in enumerate(sent):
        verdict = validator.push(number)
        judged = model.push(number)
        assert (verdict.kind, verdict.gap) == (judged.kind, judged.gap), f"number {i} of {sent}"
        stats = validator.stats()
        assert stats.expected == stats.received - stats.duplicate - stats.refused + stats.lost
        assert stats.lost >= 0
    stats = validator.stats()
    counted = (stats.received, stats.expected, stats.lost, stats.duplicate, stats.late, stats.refused)
    assert counted == (model.received, model.expected, model.lost, model.duplicate, model.late, model.refused)
    assert (stats.gaps, stats.resets) == (model.gaps, model.resets)


def kinds(validator: SequenceValidator, sent: list[int]) -> list[str]:
    return [validator.push(number).kind for number in sent]


def test_004_15_first_packet_sets_the_base() -> None:
    validator = SequenceValidator()
    assert kinds(validator, [5000, 5001, 5002]) == ["in-order"] * 3
    assert validator.stats().lost == 0


def test_004_16_duplicates_are_found_in_the_whole_window() -> None:
    validator = SequenceValidator(window=64, max_jump=32)
    assert kinds(validator, [5, 6, 7, 5, 6]) == ["in-order"] * 3 + ["duplicate"] * 2
    assert kinds(validator, list(range(8, 69))) == ["in-order"] * 61
    assert kinds(validator, list(range(5, 69))) == ["duplicate"] * 64


def test_004_17_small_gaps_are_counted_and_late_packets_are_told_apart() -> None:
    validator = SequenceValidator()
    validator.push(0)
    verdict = validator.push(3)
    assert (verdict.kind, verdict.gap) == ("gap", 2)
    assert validator.push(2).kind == "late"
    stats = validator.stats()
    assert (stats.lost, stats.late, stats.expected) == (1, 1, 4)


def test_004_18_a_gap_is_one_event_and_the_stream_lives_on() -> None:
    validator = SequenceValidator()
    sent = [*range(100, 200), *range(210, 610)]
    judged = kinds(validator, sent)
    assert judged.count("gap") == 1
    assert judged.count("in-order") == len(sent) - 1
    assert validator.stats().lost == 10


@pytest.mark.parametrize("gap", [33, 500, 5_000, 90_000])
def test_long_gap_is_confirmed_by_the_next_packet(gap: int) -> None:
    validator = SequenceValidator()
    validator.push(7)
    assert validator.push(8 + gap).kind == "suspect"
    verdict = validator.push(9 + gap)
    assert (verdict.kind, verdict.gap) == ("gap", gap)
    assert validator.stats().lost == gap
    assert validator.stats().refused == 0


def test_one_number_of_nonsense_costs_itself_only() -> None:
    validator = SequenceValidator()
    judged = kinds(validator, [10, 11, 3_000_000_000, 12, 13])
    assert judged == ["in-order", "in-order", "suspect", "in-order", "in-order"]
    stats = validator.stats()
    assert (stats.refused, stats.lost, stats.expected) == (1, 0, 4)


def test_004_20_numbers_wrap() -> None:
    validator = SequenceValidator()
    sent = [(FULL - 3 + i) % FULL for i in range(200)]
    assert kinds(validator, sent) == ["in-order"] * 200
    assert validator.push(0).kind == "duplicate"
    assert validator.stats().expected == 200


def test_003_28_loss_is_never_negative_and_undone_by_late_packets() -> None:
    validator = SequenceValidator()
    losses = []
    for number in [FULL - 2, 1, FULL - 1, FULL - 1, 0, 2]:
        validator.push(number)
        losses.append(validator.stats().lost)
    assert losses == [0, 2, 1, 1, 0, 0]


def test_restart_far_away_is_a_reset_after_two_packets() -> None:
    validator = SequenceValidator()
    kinds(validator, list(range(1000, 1100)))
    assert kinds(validator, [3_000_000_000, 3_000_000_001]) == ["suspect", "reset"]
    stats = validator.stats()
    assert (stats.expected, stats.lost, stats.refused, stats.resets) == (102, 0, 0, 1)


def test_disorder_confirms_a_restart_too() -> None:
    validator = SequenceValidator()
    kinds(validator, list(range(1000, 1100)))
    assert kinds(validator, [3_000_000_001, 3_000_000_000, 3_000_000_002]) == ["suspect", "reset", "in-order"]
    stats = validator.stats()
    assert (stats.expected, stats.lost, stats.refused, stats.late) == (103, 0, 0, 1)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"window": 32}, r"window is 32 numbers, not in \[64, 1024\]"),
        ({"max_jump": 0}, r"max_jump is 0 numbers, not in \[1, 255\]"),
        ({"max_gap": 1}, r"max_gap is 1 numbers"),
    ],
)
def test_settings_out_of_range(settings_: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceValidator(**settings_)


def test_number_out_of_range() -> None:
    with pytest.raises(OverflowError):
        SequenceValidator().push(FULL)
    with pytest.raises(OverflowError):
        SequenceValidator().push(-1)
