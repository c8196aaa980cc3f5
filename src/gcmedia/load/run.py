"""A load from beginning to end: in this process, or in several that are told when to begin and add up what they saw."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any

from ..errors import GcmediaError, TransportError
from .generator import Generator, loop_of, run_generator
from .observe import ProcessWatch, scrape
from .plan import LoadPlan
from .report import LoadReport
from .tally import Second, Tally

__all__ = ["run_load"]

GRACE_S = 0.2  # from "all workers are ready" to the first session

OnSecond = Callable[[int, Second], object]


def run_load(
    plan: LoadPlan,
    *,
    metrics: tuple[str, ...] = (),
    watch: int | None = None,
    on_second: OnSecond | None = None,
    stopping: threading.Event | None = None,
) -> LoadReport:
    """Put load on an AudioHook server and tell how it held.

    Parameters
    ----------
    plan : LoadPlan
        What to do.
    metrics : tuple of str
        URLs of the server's metrics, one for each of its processes; read before and after.
    watch : int, optional
        Process id of a server on this machine: its processor time and memory, with those of its descendants.
    on_second : callable, optional
        ``on_second(number, second)`` with each second of the run, from a thread of its own where there are workers.
    stopping : threading.Event, optional
        Set from outside to close all sessions ahead of time.

    Raises
    ------
    TransportError
        If the metrics cannot be had.
    ConfigError
        If a setting does not fit, or a WAV file cannot be used.
    """
    loop_of(plan)
    before = scrape(metrics) if metrics else None
    watcher = None if watch is None else ProcessWatch(watch)
    if watcher is not None:
        watcher.start()
    began = time.monotonic()
    try:
        run = _run_here if plan.workers == 1 else _run_workers
        tally = run(plan, on_second, stopping)
    finally:
        if watcher is not None:
            watcher.stop()
    after = scrape(metrics) if metrics else None
    return LoadReport(plan, tally, loop_of(plan)[0], time.monotonic() - began, before, after, watcher)


def _run_here(plan: LoadPlan, on_second: OnSecond | None, stopping: threading.Event | None) -> Tally:
    with ExitStack() as stack:

        def began(generator: Generator) -> None:
            if stopping is not None:
                stack.enter_context(_Bridge(generator, stopping))

        return run_generator(plan, lambda: Generator(plan, on_second=on_second), began)


class _Bridge:
    """Hands an event of another thread, or a signal's, to a generator's loop."""

    def __init__(self, generator: Generator, stopping: threading.Event) -> None:
        self._generator = generator
        self._stopping = stopping
        self._timer: Any = None

    def __enter__(self) -> _Bridge:
        self._look()
        return self

    def _look(self) -> None:
        if self._stopping.is_set():
            self._generator.stop()
        else:
            self._timer = self._generator.loop.call_later(0.1, self._look)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _work(plan: LoadPlan, worker: int, parent: Connection) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells us
    stopping = threading.Event()
    generators: list[Generator] = []

    def listen() -> None:
        while True:
            try:
                word = parent.recv()
            except (EOFError, OSError):
                word = "stop"
            if word == "enough":
                generators[0].loop.call_soon_threadsafe(generators[0].enough)
            else:
                stopping.set()
                return

    try:
        prepared = Generator.prepare(plan)
        parent.send(("ready", None))
        start = parent.recv()

        def began(generator: Generator) -> None:
            generators.append(generator)
            _Bridge(generator, stopping).__enter__()
            threading.Thread(target=listen, daemon=True).start()

        tally = run_generator(
            plan,
            lambda: Generator(
                plan,
                worker,
                start,
                pieces=prepared,
                on_second=lambda number, second: parent.send(("second", (number, second.to_state()))),
                on_late=lambda: parent.send(("late", None)),
            ),
            began,
        )
        parent.send(("done", tally.to_state()))
    except GcmediaError as error:
        parent.send(("failed", str(error)))


def _run_workers(plan: LoadPlan, on_second: OnSecond | None, stopping: threading.Event | None) -> Tally:
    context = multiprocessing.get_context("spawn")
    total = Tally()
    workers: dict[Connection, Any] = {}
    try:
        for number in range(plan.workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(plan, number, theirs), daemon=True)
            process.start()
            theirs.close()
            workers[ours] = process
        for ours in workers:
            _receive(ours)
        start = time.monotonic() + GRACE_S
        for ours in workers:
            ours.send(start)
        _collect(plan, list(workers), total, on_second, stopping)
    finally:
        for ours, process in workers.items():
            ours.close()
            process.join(5.0)
            if process.is_alive():
                process.terminate()
    return total


def _receive(worker: Connection) -> tuple[str, Any]:
    try:
        word, value = worker.recv()
    except EOFError:
        raise TransportError("a worker of the load has died") from None
    if word == "failed":
        raise TransportError(f"a worker of the load failed: {value}")
    return word, value


def _collect(
    plan: LoadPlan,
    workers: list[Connection],
    total: Tally,
    on_second: OnSecond | None,
    stopping: threading.Event | None,
) -> None:
    """Take what workers tell until each is done."""
    told: dict[int, tuple[int, Second]] = {}
    busy = list(workers)
    stopped = False
    while busy:
        ready: list[Any] = wait(busy, timeout=0.1)
        if stopping is not None and stopping.is_set() and not stopped:
            stopped = True
            for worker in busy:
                worker.send("stop")
        for worker in ready:
            word, value = _receive(worker)
            if word == "done":
                total.merge(Tally.from_state(value))
                busy.remove(worker)
            elif word == "late" and plan.stop_when_late:
                for other in busy:
                    other.send("enough")
            elif word == "second":
                number, state = value
                count, second = told.setdefault(number, (0, Second()))
                second.merge(Second.from_state(state))
                told[number] = count + 1, second
                if count + 1 == len(workers):
                    del told[number]
                    if on_second is not None:
                        on_second(number, second)
