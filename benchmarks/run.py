"""Run every benchmark, instruction counts, memory and traces, and write RESULTS.md with a plot of each comparison.

python benchmarks/run.py              all of it
python benchmarks/run.py -k level     some, shown and not written; arguments go to pytest
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
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


def main() -> None:
    """Take the arguments."""
    arguments = sys.argv[1:]
    if arguments:
        benchmark(arguments)
        return
    import instructions
    import memory
    import report

    results = benchmark([], quiet=True)
    print("counting instructions", flush=True)
    counted = instructions.count()
    print("measuring memory", flush=True)
    held = memory.measure()
    report.write(results, counted, held)
    print("playing out the traces", flush=True)
    subprocess.run([sys.executable, HERE / "playout.py", "--out", HERE / "plots"], check=True)
    print(f"written: {HERE.name}/RESULTS.md and {HERE.name}/plots/")


if __name__ == "__main__":
    main()
