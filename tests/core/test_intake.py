"""The short way into a receiver: what may go it goes it, all else is left to others, and everything is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcmedia._core.intake import Intake
from gcmedia._core.stream import StreamReceiver

BLOCK = 2  # octets of a sample of both channels


@given(
    sizes=st.lists(st.integers(0, 900)),
    block=st.sampled_from([0, BLOCK]),
    max_octets=st.integers(1, 900),
    enough=st.integers(0, 12),
)
def test_payloads_go_where_a_slow_look_at_each_would_send_them(
    sizes: list[int], block: int, max_octets: int, enough: int
) -> None:
    receiver, expected = StreamReceiver("PCMU", 8000, 2), StreamReceiver("PCMU", 8000, 2)
    others: list[object] = []
    n_ready = 0

    def ready() -> None:
        nonlocal n_ready
        n_ready += 1
        receiver.block()

    intake = Intake(receiver)
    intake.on_ready, intake.otherwise, intake.on_error = ready, others.append, others.append
    intake.block_octets, intake.max_octets, intake.enough = block, max_octets, enough
    left, taken, n_enough = [], [], 0
    for i, size in enumerate(sizes):
        payload = bytes(range(256)) * 4
        payload = payload[i : i + size]
        intake(payload if i % 2 else memoryview(payload))
        if block and 0 < size <= max_octets and size % block == 0:
            taken.append(payload)
            if expected.push(payload) >= enough:
                n_enough += 1
                expected.block()
        else:
            left.append(payload)
    assert [bytes(payload) for payload in others] == left  # type: ignore[call-overload]
    assert n_ready == n_enough
    assert (intake.n_payloads, intake.n_octets) == (len(taken), sum(map(len, taken)))
    assert intake.settle() == (len(taken), sum(map(len, taken)))
    assert intake.settle() == (0, 0)
    assert receiver.stats() == expected.stats()
    assert (receiver.end, receiver.position) == (expected.end, expected.position)


def test_what_goes_wrong_is_told_and_the_next_payload_is_taken() -> None:
    told: list[Exception] = []
    receiver = StreamReceiver("PCMU", 8000, 1)
    receiver.flush()
    intake = Intake(receiver)
    intake.on_error, intake.block_octets = told.append, 1
    intake(b"\xff" * 160)
    assert [type(error).__name__ for error in told] == ["StateError"]
    intake.receiver = StreamReceiver("PCMU", 8000, 1)
    intake.enough = 2
    intake(b"\xff" * 160)
    assert (len(told), intake.receiver.end) == (1, 160)
