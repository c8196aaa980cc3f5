"""How many times faster than real time is an hour of recordings processed, on one core and on two?

    python benchmarks/reprocess.py           a Markdown table
    python benchmarks/reprocess.py --minutes 10

The hour is the simulator's call with noise, 8 kHz mono PCM, in twelve files and in one; all read and write WAV.
gcmedia, one process with a thread a core: decode, silence, levels, gate, a report beside each file, each source hashed.
FFmpeg: ``afftdn``.  noisereduce: its stationary gate, whole files at a time.  Of these, a process a core.  The start of
the processes is in the times.  Each is run up to five times, or until some seconds are spent, and the fastest counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gcmedia import cpu_features
from gcmedia.record import WavJournal
from gcmedia.simulator import Call

RATE, FILES = 8000, (12, 1)
ROUNDS, ROUNDS_S = 5, 5.0

NOISEREDUCE = """
import sys, wave
import noisereduce
import numpy as np
source, target = sys.argv[1:]
with wave.open(source) as file:
    pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
out = noisereduce.reduce_noise(pcm.astype(np.float32), 8000, stationary=True)
with wave.open(target, "wb") as file:
    file.setparams((1, 2, 8000, 0, "NONE", ""))
    file.writeframes(np.clip(out, -32768, 32767).astype(np.int16).tobytes())
"""


def make(folder: Path, minutes: float, n_files: int) -> list[Path]:
    """The hour, each file another stretch of the call and other noise."""
    speech = Call.demo().pcm(RATE, 2)
    n_samples = int(minutes * 60 * RATE / n_files)
    folder.mkdir()
    paths = []
    for index in range(n_files):
        rng = np.random.default_rng(index)
        voice = np.resize(np.roll(speech[:, index % 2], index * RATE), n_samples)
        noisy = np.clip(voice + rng.standard_normal(n_samples) * 130, -32768, 32767).astype(np.int16)
        paths.append(folder / f"{index:02}.wav")
        with WavJournal(paths[-1], RATE) as journal:
            journal.append(noisy.tobytes(), 0.0)
    return paths


def gcmedia(paths: list[Path], out: Path, cores: int) -> None:
    command = [sys.executable, "-c", "from gcmedia.cli import main; main()", "process", *paths]
    subprocess.run([*command, "--out", out, "--jobs", str(cores), "--quiet"], check=True)


def each(command: Callable[[Path, Path], list[str | Path]]) -> Callable[[list[Path], Path, int], None]:
    """A rival that takes one file: so many processes at a time."""

    def run(paths: list[Path], out: Path, cores: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with ThreadPoolExecutor(cores) as pool:
            jobs = [
                pool.submit(subprocess.run, command(path, out / path.name), check=True, env=environment)
                for path in paths
            ]
            for job in jobs:
                job.result()

    return run


def rivals() -> dict[str, Callable[[list[Path], Path, int], None]]:
    found = {"gcmedia process": gcmedia}
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg:
        quietly = [ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-threads", "1"]
        found["FFmpeg afftdn"] = each(
            lambda source, target: [*quietly, "-i", source, "-af", "afftdn", "-c:a", "pcm_s16le", target]
        )
    try:
        import noisereduce  # noqa: F401
    except ModuleNotFoundError:
        print("noisereduce is absent: pip install noisereduce", file=sys.stderr)
    else:
        found["noisereduce"] = each(lambda source, target: [sys.executable, "-c", NOISEREDUCE, source, target])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    cores = sorted(os.sched_getaffinity(0))
    found = rivals()
    cases = [(n_files, n_cores) for n_files in FILES for n_cores in (1, 2) if n_cores <= len(cores)]
    least: dict[tuple[str, int, int], float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hours = {n_files: make(folder / f"{n_files}", minutes, n_files) for n_files in FILES}
        for n_files, n_cores in cases:
            os.sched_setaffinity(0, cores[:n_cores])
            for title, run in found.items():
                times: list[float] = []
                while len(times) < ROUNDS and sum(times) < ROUNDS_S:
                    out = folder / "out"
                    out.mkdir()
                    begin = time.perf_counter()
                    run(hours[n_files], out, n_cores)
                    times.append(time.perf_counter() - begin)
                    assert len(list(out.glob("*.wav"))) == n_files
                    shutil.rmtree(out)
                least[title, n_files, n_cores] = min(times)
        os.sched_setaffinity(0, cores)
    print(
        f"{minutes:g} minutes at {RATE} Hz; {platform.machine()}, kernels {cpu_features().kernels}, "
        f"Python {platform.python_version()}\n"
    )
    heads = [f"{n_files} file{'s' * (n_files > 1)}, {n_cores} core{'s' * (n_cores > 1)}" for n_files, n_cores in cases]
    print(f"| | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|")
    for title in found:
        times = [least[title, *case] for case in cases]
        print(f"| {title} | {' | '.join(f'{minutes * 60 / took:,.0f} × ({took:.2f} s)' for took in times)} |")


if __name__ == "__main__":
    main()
