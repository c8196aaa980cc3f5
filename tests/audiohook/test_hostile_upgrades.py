"""Upgrade requests that nobody should let in, by the thousand; and that no refusal tells which keys there are."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import SignatureRefused
from gcmedia.dialects.audiohook import Keys, SignatureVerifier, UpgradeRequest

from .mutants import Mutants
from .signing import API_KEY, NOW, SECRET, TARGET, headers, signed, verify


async def refuse_all(n: int, seed: int) -> Counter[str]:
    """Ask for so many mutants; how many were refused, by outcome."""
    mutants = Mutants(seed)
    asked = SignatureVerifier({API_KEY: SECRET, "other": "AAAA"})
    assert (await asked.verify(mutants.good, NOW)).signed
    found: Counter[str] = Counter()
    answers: set[tuple[float, int]] = set()
    for _ in range(n):
        request = mutants.next()
        try:
            await asked.verify(request, NOW)
        except SignatureRefused as refused:
            found[refused.outcome] += 1
            answers.add((refused.delay_s, refused.status))
        else:
            raise AssertionError(f"let in: {request}")
    assert asked.outcomes == {"verified": 1, **found}
    assert answers == {(0.5, 400), (0.5, 401)}
    return found


def test_no_mutant_of_a_good_request_is_let_in_or_raises_anything_else() -> None:
    found = asyncio.run(refuse_all(3000, seed=1))
    assert sum(found.values()) == 3000
    assert found.keys() >= {"failed", "invalid", "precondition", "replayed", "expired"}


@pytest.mark.slow
def test_of_100_000_mutants_none_is_let_in_or_raises_anything_else() -> None:
    assert sum(asyncio.run(refuse_all(100_000, seed=2)).values()) == 100_000


@given(
    st.text(max_size=40),
    st.lists(
        st.tuples(
            st.sampled_from([name for name, _ in signed().headers]) | st.text(max_size=20),
            st.text(max_size=80) | st.sampled_from([value for _, value in signed().headers]),
        ),
        max_size=12,
    ),
    st.text(max_size=8),
    st.floats(0, 1e11),
)
@settings(max_examples=300, deadline=None)
def test_any_request_at_all_is_refused_by_the_one_error(
    target: str, fields: list[tuple[str, str]], method: str, now: float
) -> None:
    with pytest.raises(SignatureRefused):
        verify(SignatureVerifier({API_KEY: SECRET}), UpgradeRequest.of(target, fields, method), now)


def steps_of(work: Callable[[], Any]) -> list[str]:
    """Every call that is made, Python's and C's, by name and in order."""
    steps: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            steps.append(frame.f_code.co_qualname)
        elif event == "c_call":
            steps.append(getattr(argument, "__qualname__", repr(argument)))

    gc.disable()  # its callbacks are no steps of ours
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return steps


UNKNOWN_KEY = API_KEY[:-1] + "Q"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda key: signed(b"another secret", fields=headers(X_API_KEY=key), nonce="n" * 24), id="wrong"),
        pytest.param(
            lambda key: UpgradeRequest.of(
                TARGET,
                (dict(signed(fields=headers(X_API_KEY=key)).headers) | {"Signature": "sig1=:AAAA:"}).items(),
            ),
            id="short",
        ),
        pytest.param(lambda key: UpgradeRequest.of(TARGET, headers(X_API_KEY=key).items()), id="unsigned"),
        pytest.param(
            lambda key: signed(b"x", fields=headers(X_API_KEY=key), created=NOW - 100, nonce="n" * 24), id="old"
        ),
        pytest.param(
            lambda key: UpgradeRequest.of(TARGET, [*headers(X_API_KEY=key).items(), ("Signature", "?")]), id="half"
        ),
    ],
)
def test_an_unknown_key_takes_the_same_steps_as_a_known_one(make: Callable[[str], UpgradeRequest]) -> None:
    asked = SignatureVerifier(Keys({API_KEY: SECRET}))
    errors: list[SignatureRefused] = []

    def work(request: UpgradeRequest) -> Callable[[], None]:
        def ask() -> None:
            try:
                asked.verify(request, NOW).send(None)  # nothing in it waits, so one step is all
            except SignatureRefused as error:
                errors.append(error)

        return ask

    known, unknown = make(API_KEY), make(UNKNOWN_KEY)
    work(known)()  # what is imported and cached at first is not counted
    taken = [steps_of(work(request)) for request in (known, unknown, known, unknown)]
    assert len(taken[0]) > 20
    assert taken[0] == taken[1] == taken[2] == taken[3]
    assert len({(str(error), error.outcome, error.status, error.delay_s) for error in errors}) == 1
