"""Run every benchmark, instruction counts, memory and traces, and write RESULTS.md with a plot of each comparison.

python benchmarks/run.py              all of it
python benchmarks/run.py --resume     the same, but for the parts that an earlier run at this commit has kept
python benchmarks/run.py -k level     some, shown and not written; arguments go to pytest

Each file is measured in a process of its own, and kept in out/bench/.  ``--wrap="nice -n -10 taskset -c 1"`` puts words
in front of it: to wait for a quiet machine, to keep to one core.
"""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = HERE.parent / "out" / "bench"
PYTEST = ["-o", "addopts=-ra --strict-markers --strict-config", "-o", "python_files=bench_*.py"]


def benchmark(arguments: list[str], quiet: bool = False) -> list[dict[str, Any]]:
    """Run pytest over benchmarks/, give what pytest-benchmark has to tell; ends the program where one fails."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        command = [sys.executable, "-m", "pytest", *PYTEST, "-p", "no:cacheprovider", f"--benchmark-json={told}"]
        command += ["--benchmark-sort=min", "--benchmark-columns=min,median,iqr,rounds", *arguments]
        if not any(argument.startswith(str(HERE)) for argument in arguments):
            command.append(str(HERE))
        if quiet:
            command += ["-q", "--benchmark-quiet"]
        done = subprocess.run(command, check=False, cwd=HERE.parent)
        if done.returncode:
            raise SystemExit(done.returncode)
        found: list[dict[str, Any]] = json.loads(told.read_text())["benchmarks"] if told.stat().st_size else []
        return found


def part(name: str, resume: bool, wrap: list[str]) -> Any:
    """One part of the whole, in a process of its own; with ``resume`` as it was kept, when that is of this commit."""
    import report

    kept = PARTS / f"{name}.json"
    commit = report.told_by(["git", "rev-parse", "HEAD"])
    if resume and kept.exists():
        found = json.loads(kept.read_text())
        if found["commit"] == commit:
            print(f"{name}: kept", flush=True)
            return found["told"]
    print(name, flush=True)
    kept.unlink(missing_ok=True)
    subprocess.run([*wrap, sys.executable, __file__, "--part", name], check=True)
    told = json.loads(kept.read_text())
    kept.write_text(json.dumps({"commit": commit, "told": told}))
    return told


def run_part(name: str) -> None:
    """What the process of a part does: measure, and keep what was found."""
    if name in ("instructions", "memory"):
        module = importlib.import_module(name)
        told = module.count() if name == "instructions" else module.measure()
    else:
        told = benchmark([str(HERE / f"{name}.py")], quiet=True)
    PARTS.mkdir(parents=True, exist_ok=True)
    (PARTS / f"{name}.json").write_text(json.dumps(told))


def main() -> None:
    """Take the arguments."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--part"]:
        run_part(arguments[1])
        return
    resume = "--resume" in arguments
    wrap = [argument.removeprefix("--wrap=") for argument in arguments if argument.startswith("--wrap=")]
    if rest := [argument for argument in arguments if argument != "--resume" and not argument.startswith("--wrap=")]:
        benchmark(rest)
        return
    import report

    def take(name: str) -> Any:
        return part(name, resume, shlex.split(wrap[-1]) if wrap else [])

    results = [result for file in sorted(HERE.glob("bench_*.py")) for result in take(file.stem)]
    report.write(results, take("instructions"), take("memory"))
    print("playing out the traces", flush=True)
    subprocess.run([sys.executable, HERE / "playout.py", "--out", HERE / "plots"], check=True)
    print(f"written: {HERE.name}/RESULTS.md and {HERE.name}/plots/")


if __name__ == "__main__":
    main()
