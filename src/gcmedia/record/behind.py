"""Recordings written by threads, so that a disk that is slow holds back nobody who has answers to give."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigError, GcmediaError
from ..types import Hole, Stats, Transcript
from .folder import CallFolder, RecordedBlock

__all__ = ["FolderBehind", "Writers"]

log = logging.getLogger(__name__)

GATHER_S = 0.02  # what comes within so long is written in one go
MAX_BEHIND_S = 60.0  # of audio of one call
MAX_BEHIND_OCTETS = 1 << 30  # of all calls
CLOSE_TIMEOUT_S = 300.0
NICENESS = 10
BEHIND = "the disk does not keep up"


class Writers:
    """Threads that write recordings; each recording belongs to one of them, so that its order is kept.

    Parameters
    ----------
    n_threads : int
        How many; as many slow calls of the file system can be under way.
    """

    def __init__(self, n_threads: int = 4) -> None:
        self._queues: list[deque[tuple[FolderBehind, str, tuple[Any, ...], dict[str, Any]]]] = []
        self._wakes: list[threading.Event] = []
        self._next = 0
        self._stopped = False
        self._threads = []
        self.octets_in = 0  # handed over, by the caller's thread
        self.octets_out = [0] * n_threads  # written, by each of the writers
        for number in range(n_threads):
            self._queues.append(deque())
            self._wakes.append(threading.Event())
            thread = threading.Thread(target=self._run, args=(number,), name=f"gcmedia-writer-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def open(
        self,
        make: Callable[[], CallFolder],
        on_failure: Callable[[Exception], object],
        on_storage: Callable[[str, int, dict[str, Any]], object] | None = None,
    ) -> FolderBehind:
        """Have a recording made, and give what takes its audio meanwhile; never waits.

        Parameters
        ----------
        make : callable
            Makes the folder, in a writer's thread.
        on_failure : callable
            Called there with the error if it cannot.
        on_storage : callable, optional
            Called as that of `CallFolder` when the disk does not keep up.
        """
        number = self._next
        self._next = (number + 1) % len(self._queues)
        folder = FolderBehind(self, number, on_failure, on_storage)
        self.put(number, folder, "open", (make,), {})
        return folder

    @property
    def octets_behind(self) -> int:
        """Octets of audio that wait to be written."""
        return self.octets_in - sum(self.octets_out)

    def put(self, number: int, folder: FolderBehind, what: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Hand over one thing to do."""
        self._queues[number].append((folder, what, given, named))
        wake = self._wakes[number]
        if not wake.is_set():
            wake.set()

    def stop(self) -> None:
        """Write what waits, then end the threads."""
        self._stopped = True
        for wake in self._wakes:
            wake.set()
        for thread in self._threads:
            thread.join(CLOSE_TIMEOUT_S)

    def _run(self, number: int) -> None:
        _give_way()
        queue, wake = self._queues[number], self._wakes[number]
        while not (self._stopped and not queue):
            wake.wait()
            if not self._stopped:
                time.sleep(GATHER_S)
            wake.clear()
            while queue:
                folder, what, given, named = queue.popleft()
                try:
                    folder.do(what, given, named)
                except Exception:  # never the end of the thread
                    log.exception("a recording could not take a %s", what)
            if self._stopped:
                wake.set()


def _give_way() -> None:
    """Let this thread run after those that have answers to give, where threads have priorities of their own (Linux).

    Else one that waits for the interpreter's lock is woken each time that a writer lets go of it for a system call, and
    does not get the processor before the writer has taken it again.
    """
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        except OSError:
            pass  # it is a courtesy


class FolderBehind:
    """A `CallFolder` as seen by whoever must not wait: the same calls, done later and in their order.

    At most 60 s of a call's audio wait, and 1 GiB of all calls; then further audio is left out of the recording, which
    has silence in its place and says so.
    """

    def __init__(
        self,
        writers: Writers,
        number: int,
        on_failure: Callable[[Exception], object],
        on_storage: Callable[[str, int, dict[str, Any]], object] | None = None,
    ) -> None:
        self._writers = writers
        self._number = number
        self._on_failure: Callable[[Exception], object] | None = on_failure
        self._on_storage = on_storage
        self._folder: CallFolder | None = None
        self._failed = False
        self._samples_in = 0  # by the caller's thread
        self._samples_out = 0  # by the writer
        self._left_out = 0
        self._writing = threading.Lock()  # an Event is fifteen times as large, and there are thousands
        self._writing.acquire()

    # The caller's side

    @property
    def path(self) -> Path | None:
        """Where it is; None as long as it has not been made."""
        return None if self._folder is None else self._folder.path

    @property
    def incomplete(self) -> bool:
        """Whether anything is missing."""
        return self._failed or self._left_out > 0 or (self._folder is not None and self._folder.incomplete)

    def block(self, block: RecordedBlock, now: float) -> bool:
        """Record frames; False when they are left out."""
        writers = self._writers
        waiting = self._samples_in - self._samples_out
        n_octets = 2 * block.n_samples * block.n_channels
        if waiting > MAX_BEHIND_S * block.sample_rate or writers.octets_behind > MAX_BEHIND_OCTETS:
            if not self._left_out:
                self._put("event", "storage_failed", block.position, reason=BEHIND)
                if self._on_storage is not None:
                    self._on_storage("storage_failed", block.position, {"reason": BEHIND})
            self._left_out += block.n_samples
            return False
        self._samples_in += block.n_samples
        writers.octets_in += n_octets
        self._put("block", block, now)
        return True

    def hole(self, hole: Hole) -> None:
        """Note a hole."""
        self._put("hole", hole)

    def mask(self, position: int, n_samples: int, fill: str) -> None:
        """Note a mask."""
        self._put("mask", position, n_samples, fill)

    @property
    def storage_failures(self) -> int:
        """How often the disk began to refuse it, or did not keep up."""
        return (self._left_out > 0) + (0 if self._folder is None else self._folder.storage_failures)

    def event(self, kind: str, position: int, **details: Any) -> None:
        """Note an event; what it may not tell is left out of it."""
        self._put("event", kind, position, **details)

    def transcript(self, transcript: Transcript) -> None:
        """Take something said."""
        self._put("transcript", transcript)

    def metrics(self, values: dict[str, Any]) -> None:
        """Write a line of the QA record."""
        self._put("metrics", values)

    def sample(self, values: dict[str, Any]) -> None:
        """Write a point of the series."""
        self._put("sample", values)

    def flush(self, now: float) -> None:
        """Bring everything to disk."""
        self._put("flush", now)

    def close(self, stats: Stats | None = None) -> bool:
        """Wait until all is written, and finish the files; call it in a thread."""
        self._put("last")
        if self._writing.acquire(timeout=CLOSE_TIMEOUT_S):
            self._writing.release()
        self._on_failure = self._on_storage = None  # they know the call, which knows this
        if self._folder is None:
            return False
        return self._folder.close(stats) and not self.incomplete

    def _put(self, what: str, *given: Any, **named: Any) -> None:
        self._writers.put(self._number, self, what, given, named)

    # The writer's side

    def do(self, what: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Do one thing, in the writer's thread."""
        if what == "last":
            if self._writing.locked():
                self._writing.release()
        elif what == "open":
            try:
                self._folder = given[0]()
            except (OSError, GcmediaError) as error:
                self._failed = True
                if self._on_failure is not None:
                    self._on_failure(error)
        elif what == "block":
            block = given[0]
            try:
                if self._folder is not None:
                    self._folder.block(block, given[1])
            finally:
                self._samples_out += block.n_samples
                self._writers.octets_out[self._number] += 2 * block.n_samples * block.n_channels
        elif self._folder is not None:
            if what == "event":
                try:
                    self._folder.event(*given, **named)
                except ConfigError:  # words that look personal: the fact is recorded without them
                    self._folder.event(*given)
            else:
                getattr(self._folder, what)(*given, **named)
