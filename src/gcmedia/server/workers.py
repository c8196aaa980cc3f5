"""Several processes for one server: started, watched, started again, and ended together."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable

from ..errors import GcmediaError

__all__ = ["run_workers"]

log = logging.getLogger("gcmedia.server")

#: A worker that lives less than this has failed to start; after so many of them in a row none is started any more.
YOUNG_S = 5.0
MAX_FAILURES = 5
FIRST_WAIT_S = 0.2


def run_workers(n: int, run: Callable[[int], None]) -> None:
    """Run ``run(number)`` in ``n`` processes until they end, after SIGTERM or SIGINT to this one.

    A worker that ends by itself is started again, with a wait that doubles as long as workers end soon after their
    start.

    Raises
    ------
    GcmediaError
        If workers keep ending right after their start.
    """
    pids: dict[int, tuple[int, float]] = {}
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        again, stopping = stopping, True
        for pid in list(pids):
            _send(pid, signal.SIGKILL if again else signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    failures = 0
    try:
        for number in range(n):
            pid = _start(number, run)
            pids[pid] = (number, time.monotonic())
        while pids:
            pid, status = _wait()
            if pid not in pids:
                continue
            number, started = pids.pop(pid)
            if stopping:
                continue
            lived = time.monotonic() - started
            failures = failures + 1 if lived < YOUNG_S else 0
            code = os.waitstatus_to_exitcode(status)
            if failures >= MAX_FAILURES:
                stop(0, None)
                continue
            log.error("worker %d ended with %d after %.1f s; it is started again", number + 1, code, lived)
            time.sleep(FIRST_WAIT_S * 2**failures if failures else 0.0)
            if not stopping:
                pid = _start(number, run)
                pids[pid] = (number, time.monotonic())
                if stopping:  # the signal came while it was being started
                    _send(pid, signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failures >= MAX_FAILURES:
        raise GcmediaError(f"{failures} workers in a row ended within {YOUNG_S:g} s of their start")


def _wait() -> tuple[int, int]:
    while True:
        try:
            return os.wait()
        except InterruptedError:
            continue
        except ChildProcessError:
            return 0, 0


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _start(number: int, run: Callable[[int], None]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run(number)
        status = 0
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        log.exception("worker %d failed", number + 1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
