"""A busy machine to order: every event loop of the process stalls now and then, up to 0.6 s.

    make test-stalled TEST_ARGS="-n 4 tests/edge"

What passes with it does not depend on who gets the processor when.  A plugin of pytest, by ``-p tests.stalls``; the
stalls of a test follow from its name and the seed that is shown, ``GCMEDIA_STALLS`` sets another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

EVERY_S = 0.03  # of running on, on average, between two moments at which a loop may stall
SHARE = 0.3  # of these moments at which it does
LONGEST_S = 0.6
SEED = os.environ.get("GCMEDIA_STALLS", "1")

_draws = random.Random(SEED)
_next = 0.0


def _stall() -> None:
    global _next
    if time.monotonic() < _next:
        return
    if _draws.random() < SHARE:
        time.sleep(LONGEST_S * _draws.random() ** 2)
    _next = time.monotonic() + _draws.expovariate(1 / EVERY_S)


class _Stalls(trio.abc.Instrument):
    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        _stall()


def _stalling(run: Callable[..., Any]) -> Callable[..., Any]:
    def run_stalling(*args: Any, instruments: tuple[trio.abc.Instrument, ...] = (), **options: Any) -> Any:
        return run(*args, instruments=(*instruments, _Stalls()), **options)

    return run_stalling


def pytest_configure(config: pytest.Config) -> None:
    """Stall before every callback of asyncio and every step of a task of trio."""
    run = asyncio.Handle._run

    def run_stalling(handle: asyncio.Handle) -> None:
        _stall()
        run(handle)

    for place, name, stalling in (
        (asyncio.Handle, "_run", run_stalling),
        (trio, "run", _stalling(trio.run)),
        (trio.lowlevel, "start_guest_run", _stalling(trio.lowlevel.start_guest_run)),  # of anyio's fixtures
    ):
        setattr(place, name, stalling)


def pytest_report_header() -> str:
    """Tell the seed."""
    return f"stalls: up to {LONGEST_S} s, seed {SEED}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The same test stalls at the same draws."""
    _draws.seed(f"{SEED}/{item.nodeid}")
