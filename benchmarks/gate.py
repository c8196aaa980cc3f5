"""Is gcmedia still ahead of its peers by what it was?  Runs the short set, ends with status 1 where it is not.

    python benchmarks/gate.py             judge by floors.json
    python benchmarks/gate.py --record    write floors.json: half of what is seen now

A floor is the least ratio of the best peer's time to ours, in one run, by the fastest rounds; so the machine matters
little.  A comparison that falls short is run once more, by itself, before it counts.  Peers that are absent are not
missed: the best of those present is taken, and without any the comparison is left out, and said to be.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gcmedia
import report
from run import HERE, benchmark

FLOORS = HERE / "floors.json"
SHORT = ["--benchmark-max-time=0.08", "--benchmark-min-rounds=5", "-k", "not node and not gstreamer and not set"]
FILES = {
    "bench_decode_packet.py": ("ulaw decode, 160 octets", "alaw decode, 160 octets"),
    "bench_decode_megabyte.py": ("ulaw decode, 1 MB", "alaw decode, 1 MB"),
    "bench_encode_packet.py": ("ulaw encode, 160 samples", "alaw encode, 160 samples"),
    "bench_level.py": ("level of 20 ms",),
    "bench_jitter.py": ("jitter buffer, in order", "jitter buffer, 1 % lost, twice, late"),
    "bench_path.py": ("whole path, in order", "whole path, 1 % lost, twice, late"),
    "bench_path_gate.py": ("whole path with a gate",),
    "bench_gate.py": ("noise gate, 20 ms",),
    "bench_compressor.py": ("compressor, 20 ms",),
}


def ratios(files: list[str]) -> dict[str, tuple[float, str]]:
    """Best peer's time over ours, and the peer, by group."""
    groups = report.times(benchmark([*SHORT, *(str(HERE / file) for file in files)], quiet=True))
    found = {}
    for group, rows in groups.items():
        best = report.best_peer(rows, key=lambda row: row.least)
        if best is not None and report.OURS in rows:
            found[group] = (best.least / rows[report.OURS].least, best.name)
    return found


def record(seen: dict[str, tuple[float, str]]) -> None:
    """Write half of each ratio, two digits."""
    floors = {group: float(f"{ratio / 2:.2g}") for group, (ratio, _) in seen.items()}
    FLOORS.write_text(json.dumps(floors, indent=2, ensure_ascii=False) + "\n")


def judge(floors: dict[str, float], seen: dict[str, tuple[float, str]]) -> list[str]:
    """Groups that are under their floor."""
    return [group for group, floor in floors.items() if group in seen and seen[group][0] < floor]


def main() -> int:
    """Judge, or record."""
    if gcmedia.cpu_features().kernels == "baseline":
        print("not judged: the floors are those of processors with AVX2 or more")
        return 0
    seen = ratios(list(FILES))
    if sys.argv[1:] == ["--record"]:
        record(seen)
        return 0
    floors: dict[str, Any] = json.loads(FLOORS.read_text())
    if short := judge(floors, seen):
        print(f"once more: {', '.join(short)}", flush=True)
        again = ratios([file for file, groups in FILES.items() if set(groups) & set(short)])
        for group in short:
            seen[group] = max(seen[group], again.get(group, seen[group]))
    failed = judge(floors, seen)
    for group, floor in floors.items():
        if group not in seen:
            print(f"{group:40} left out: no peer is installed")
            continue
        ratio, peer = seen[group]
        print(f"{group:40} {ratio:6.2f} × {peer:12} floor {floor:.2f}{'   TOO SLOW' if group in failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
