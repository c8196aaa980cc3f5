"""Many recordings, over the cores of a machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from ..errors import ConfigError, GcmediaError
from ..record.repair import MANIFEST_NAME
from .file import SUFFIX, Processed, is_later_part, process_file, target_of
from .settings import ProcessConfig

__all__ = ["Outcome", "find_recordings", "process_many"]

POLL_S = 0.1
MAX_JOBS = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording: ``result``, or why there is none in ``problem``."""

    source: Path
    result: Processed | None
    problem: str | None = None


def find_recordings(paths: Iterable[str | os.PathLike[str]], *, raw_only: bool = True) -> list[Path]:
    """The recordings that are meant: files themselves, tracks of call folders, all WAV files of other folders.

    Of call folders only the raw tracks count, with ``raw_only``, each once however many files it goes on in.  What was
    made by processing, and tracks that are still being written, are left out.

    Raises
    ------
    ConfigError
        If a path is not there.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(_below(path, raw_only)))
        elif path.exists():
            found[path] = None
        else:
            raise ConfigError(f"no such file or folder: {path}")
    return list(found)


def _below(folder: Path, raw_only: bool) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders.sort()
        wavs = sorted(name for name in names if name.lower().endswith(".wav") and SUFFIX not in name)
        if raw_only and MANIFEST_NAME in names:
            wavs = [name for name in wavs if name.startswith("raw") and not is_later_part(Path(at, name))]
        yield from (Path(at, name) for name in wavs)


def process_many(
    sources: Iterable[str | os.PathLike[str]],
    config: ProcessConfig | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    force: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> Generator[Outcome, None, None]:
    """Process recordings side by side, each by `process_file`, and tell of each as it is done.

    A file that cannot be processed does not hold up the others.  When the iterator is closed, what is being worked on
    is given up and leaves nothing; what is done is done, and skipped the next time.

    Parameters
    ----------
    sources : paths
        Files, see `find_recordings`.
    config : ProcessConfig, optional
        The stages.
    out : path, optional
        Folder for the results, in folders like those of the sources below their common one; else beside each source.
    jobs : int, optional
        Threads, as many as the machine has cores by default; the core lets them run side by side.  Where there are
        fewer files than threads, these share the channels of a file.
    force : bool
        Do again what was done.
    on_progress : callable, optional
        Called with seconds of audio done since the last call.

    Raises
    ------
    ConfigError
        If ``jobs`` is less than 1, or two files would have one result.
    """
    files = [Path(source) for source in sources]
    config = config or ProcessConfig()
    jobs = jobs if jobs is not None else len(os.sched_getaffinity(0))
    if not 1 <= jobs <= MAX_JOBS:
        raise ConfigError(f"jobs is {jobs}, not in [1, {MAX_JOBS}]")
    targets = _targets(files, None if out is None else Path(out))
    work = sorted(zip(files, targets, strict=True), key=lambda pair: -_size(pair[0]))  # the long ones first
    queue: SimpleQueue[float] = SimpleQueue()
    stop = threading.Event()

    def progress(seconds: float) -> None:
        if stop.is_set():
            raise _StopError
        queue.put(seconds)

    def one(source: Path, target: Path) -> Outcome:
        try:
            threads = max(1, jobs // len(work))
            result = process_file(source, target, config, force=force, threads=threads, on_progress=progress)
        except (GcmediaError, OSError) as error:
            return Outcome(source, None, str(error))
        return Outcome(source, result)

    pool = ThreadPoolExecutor(min(jobs, max(1, len(work))), "gcmedia-process")
    try:
        pending = {pool.submit(one, source, target) for source, target in work}
        while pending:
            done, pending = wait(pending, POLL_S, "FIRST_COMPLETED")
            _drain(queue, on_progress)
            yield from (future.result() for future in done)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _StopError(Exception):
    """Nobody waits for the result any more."""


def _targets(files: list[Path], out: Path | None) -> list[Path]:
    if out is None:
        targets = [target_of(file, None) for file in files]
    else:
        whole = [file.absolute() for file in files]
        top = Path(os.path.commonpath([file.parent for file in whole])) if whole else Path()
        targets = [target_of(file, out / file.parent.relative_to(top)) for file in whole]
    seen: dict[Path, Path] = {}
    for file, target in zip(files, targets, strict=True):
        if target in seen:
            raise ConfigError(f"{file} and {seen[target]} would both become {target}")
        seen[target] = file
    return targets


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _drain(queue: SimpleQueue[float], on_progress: Callable[[float], object] | None) -> None:
    seconds = sum(queue.get() for _ in range(queue.qsize()))
    if on_progress is not None and seconds:
        on_progress(seconds)
