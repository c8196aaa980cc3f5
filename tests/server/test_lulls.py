"""Who has been silent for a while: against a slow look at each, time being an argument."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia.server.lulls import Lulls

WAIT_S = 0.9
LONGEST_GAP_S = 0.5  # between looks


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.0, LONGEST_GAP_S), st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5), max_size=1))
    )
)
def test_who_is_silent_is_told_of_once_and_nobody_else(
    steps: list[tuple[float, set[int], set[int]]],
) -> None:
    now = 100.0
    lulls: Lulls[int] = Lulls(WAIT_S, now)
    heard_at: dict[int, float] = {}
    steps += [(0.1, set(), set())] * 30  # so that all have their lull
    for gap, heard, over in steps:
        now += gap
        for member in heard:
            lulls.heard_of(member)
            heard_at[member] = now
        for member in over:
            lulls.forget(member)
            heard_at.pop(member, None)
        told = lulls.over(now)
        for member in told:
            assert now - heard_at.pop(member) >= WAIT_S * 0.999
        # Four generations, each as much longer than a third of the wait as looks are apart.
        assert not [member for member, at in heard_at.items() if now - at > 4 * (WAIT_S / 3 + LONGEST_GAP_S) + 1e-6]
    assert not heard_at


def test_whoever_is_heard_of_again_and_again_is_never_told_of() -> None:
    lulls: Lulls[str] = Lulls(WAIT_S, 0.0)
    told: list[tuple[float, set[str]]] = []
    lulls.heard_of("silent")
    for tick in range(200):
        now = tick * 0.1
        if tick % 8 == 0:
            lulls.heard_of("talking")
        silent = lulls.over(now)
        if silent:
            told.append((now, silent))
    assert [members for _, members in told] == [{"silent"}]
