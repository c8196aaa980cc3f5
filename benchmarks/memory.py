"""How much memory do 5,000 receivers take: made, in the middle of a call, and at most while packets are pushed?

    python benchmarks/memory.py           a table; `make bench` puts it into RESULTS.md

Of each 100 packets of the call three are lost, three come twice and three up to four places late.  Resident memory of a
fresh process, from Linux's /proc.  What a packet touches is told twice.  In pages of 4 KiB that
were referenced while each receiver took a packet: an upper bound.  And in cache lines: 1,000 receivers take turns under
callgrind with a simulated cache of 1 MiB, too small for their state, so that every line touched of it is a miss.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import workloads

RECEIVERS = 5000
IN_TURNS = 1000  # receivers under callgrind
LINE = 64  # octets
LOSS = 0.03
TOUCHED = "touched by a packet, in cache lines"
PROC = Path("/proc/self")


def kib(name: str, file: str = "status") -> int:
    """One line of /proc/self/`file`, in KiB."""
    for line in (PROC / file).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(f"{name} is not in {PROC / file}")


def step(receivers: list[Any], packet: bytes, now: float) -> int:
    taken = 0
    for receiver in receivers:
        receiver.push(packet, now)
        for _ in receiver.frames(now):
            taken += 1
    return taken


def pages_touched(receivers: list[Any], packet: bytes, now: float) -> float:
    """KiB referenced, by receiver, while each takes one packet; the interpreter's own are taken off."""

    def referenced(some: list[Any]) -> int:
        (PROC / "clear_refs").write_text("1")
        step(some, packet, now)
        return kib("Referenced", "smaps_rollup")

    few = receivers[:10]
    return (referenced(receivers[10:]) - referenced(few)) / (len(receivers) - 20)


def settings_of(name: str) -> dict[str, Any]:
    """Arguments of a receiver."""
    import gcmedia

    if name == "gate":
        return {"gate": gcmedia.GateConfig()}
    if name == "adaptive delay":
        return {"jitter": gcmedia.JitterConfig(policy="adaptive")}
    return {}


def measure_here(name: str) -> dict[str, float]:
    """What this process finds; KiB for each receiver, MiB for the process."""
    import gcmedia

    settings = settings_of(name)
    packets = workloads.roughen(workloads.in_order(150), LOSS)
    step([gcmedia.Receiver(**settings) for _ in range(50)], packets[0], 0.0)  # what is made once is made now
    gc.collect()
    before = kib("VmRSS")
    receivers = [gcmedia.Receiver(**settings) for _ in range(RECEIVERS)]
    made = kib("VmRSS")
    for place in range(100):
        step(receivers, packets[place], 0.02 * place)
    steady = kib("VmRSS")
    touched = pages_touched(receivers, packets[100], 2.0)
    (PROC / "clear_refs").write_text("5")  # the peak begins anew
    for place in range(101, 126):
        step(receivers, packets[place], 0.02 * place)
    peak = kib("VmHWM")
    for place in range(126, 136):  # nobody takes the frames: what waits is kept
        for receiver in receivers:
            receiver.push(packets[place], 0.02 * place)
    waiting = kib("VmRSS")
    return {
        "made": (made - before) / RECEIVERS,
        "steady": (steady - before) / RECEIVERS,
        "peak": (peak - before) / RECEIVERS,
        "with 200 ms not taken": (waiting - before) / RECEIVERS,
        "touched by a packet, in pages": touched,
        "process, steady": steady / 1024,
        "process, peak": peak / 1024,
    }


def take_turns(name: str, turns: int) -> None:
    """Push so many packets into each of some receivers."""
    import gcmedia

    packets = workloads.in_order(turns)
    receivers = [gcmedia.Receiver(**settings_of(name)) for _ in range(IN_TURNS)]
    for place in range(turns):
        step(receivers, packets[place], 0.02 * place)


def misses(valgrind: str, name: str, turns: int) -> int:
    """Misses of data in the simulated last-level cache, over a whole process."""
    command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", "--cache-sim=yes", "--LL=1048576,16,64"]
    command += [sys.executable, __file__, name, str(turns)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    found = re.search(r"LLd misses:\s+([\d,]+)", done.stderr)
    if found is None:
        raise RuntimeError(f"callgrind told no misses: {done.stderr[-300:]!r}")
    return int(found[1].replace(",", ""))


def lines_touched(valgrind: str, name: str) -> float:
    """KiB touched by a packet, in cache lines: a long run less a short one; streams are steady in both."""
    few, many = 60, 64
    packets = (many - few) * IN_TURNS
    return (misses(valgrind, name, many) - misses(valgrind, name, few)) * LINE / 1024 / packets


def measure() -> dict[str, Any]:
    """KiB a receiver and MiB a process: default settings and others, each in a process of its own."""
    if not (PROC / "clear_refs").exists():
        return {"absent": "it takes Linux's /proc"}
    found: dict[str, dict[str, float]] = {}
    processes: dict[str, dict[str, float]] = {}
    valgrind = shutil.which("valgrind")
    for name in ("default", "gate", "adaptive delay"):
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        processes[name] = {when: told.pop(f"process, {when}") for when in ("steady", "peak")}
        found[name] = told
        if valgrind is not None:
            found[name][TOUCHED] = lines_touched(valgrind, name)
    return {"receivers": RECEIVERS, "kib": found, "process_mib": processes}


def show(held: dict[str, Any]) -> None:
    """Print what was measured as a table."""
    if "absent" in held:
        print(f"not measured: {held['absent']}")
        return
    names = list(held["kib"])
    print(f"{held['receivers']:,} receivers in one process".ljust(44), *(name.rjust(14) for name in names))
    for what in held["kib"][names[0]]:
        print(f"KiB each: {what}".ljust(44), *(f"{held['kib'][name][what]:14.1f}" for name in names))
    for when in ("steady", "peak"):
        print(f"MiB of the process: {when}".ljust(44), *(f"{held['process_mib'][n][when]:14.1f}" for n in names))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        take_turns(sys.argv[1], int(sys.argv[2]))
    elif len(sys.argv) == 2:
        print(json.dumps(measure_here(sys.argv[1])))
    else:
        show(measure())
