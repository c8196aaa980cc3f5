"""How much memory do 5,000 receivers take: made, in the middle of a call, and at most while packets are pushed?

Resident memory of a fresh process, from Linux's /proc.  Memory touched by a packet is counted in pages of 4 KiB that
were referenced while each receiver took one, so it is an upper bound.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import workloads

RECEIVERS = 5000
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


def measure_here(gated: bool) -> dict[str, float]:
    """What this process finds; KiB for each receiver."""
    import gcmedia

    settings: dict[str, Any] = {"gate": gcmedia.GateConfig()} if gated else {}
    packets = workloads.in_order(60)
    step([gcmedia.Receiver(**settings) for _ in range(50)], packets[0], 0.0)  # what is made once is made now
    gc.collect()
    before = kib("VmRSS")
    receivers = [gcmedia.Receiver(**settings) for _ in range(RECEIVERS)]
    made = kib("VmRSS")
    for place in range(25):
        step(receivers, packets[place], 0.02 * place)
    steady = kib("VmRSS")
    touched = pages_touched(receivers, packets[25], 0.5)
    (PROC / "clear_refs").write_text("5")  # the peak begins anew
    for place in range(25, 50):
        step(receivers, packets[place], 0.02 * place)
    peak = kib("VmHWM")
    for place in range(50, 60):  # nobody takes the frames: what waits is kept
        for receiver in receivers:
            receiver.push(packets[place], 0.02 * place)
    waiting = kib("VmRSS")
    return {
        "made": (made - before) / RECEIVERS,
        "steady": (steady - before) / RECEIVERS,
        "peak": (peak - before) / RECEIVERS,
        "with 200 ms not taken": (waiting - before) / RECEIVERS,
        "touched a packet, in pages": touched,
    }


def measure() -> dict[str, Any]:
    """KiB a receiver, default settings and with the gate, each in a process of its own."""
    if not (PROC / "clear_refs").exists():
        return {"absent": "it takes Linux's /proc"}
    found = {}
    for name in ("default", "gate"):
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
    return {"receivers": RECEIVERS, "kib": found}


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1] == "gate") if len(sys.argv) > 1 else measure(), indent=2))
