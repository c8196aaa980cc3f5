"""How many instructions does a packet take?  Counted by callgrind, so the answer repeats; times do not.

Each case runs twice, for N and for more packets; the difference has no start-up in it.  Valgrind knows no AVX-512, so
the kernels are those of AVX2 or less.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import workloads

FEW, MANY = 300, 1300


def receive(packets: list[bytes], **settings: Any) -> None:
    import gcmedia

    receiver = gcmedia.Receiver(**settings)
    for packet in packets:
        receiver.push(packet, 0.0)
        for _ in receiver.frames(0.0):
            pass


def run_push(packets: list[bytes]) -> None:
    receive(packets)


def run_push_gate(packets: list[bytes]) -> None:
    import gcmedia

    receive(packets, gate=gcmedia.GateConfig())


def run_jitter(packets: list[bytes]) -> None:
    import gcmedia

    buffer = gcmedia.JitterBuffer()
    for packet in packets:
        number, timestamp = workloads.HEADER.unpack_from(packet)
        buffer.push(number, timestamp, packet, 0.0)
        buffer.pull(0.0)


def run_decode(packets: list[bytes]) -> None:
    import gcmedia

    decode = gcmedia.ulaw_decode
    payload = packets[0][16:]
    for _ in packets:
        decode(payload)


def run_rms(packets: list[bytes]) -> None:
    import gcmedia

    rms = gcmedia.rms
    pcm = gcmedia.ulaw_decode(packets[0][16:])
    for _ in packets:
        rms(pcm)


def run_composition(packets: list[bytes]) -> None:
    from peers.composition import Composition

    composition = Composition()
    for packet in packets:
        composition.push(packet)


CASES: dict[str, Callable[[list[bytes]], None]] = {
    "ulaw_decode, 160 octets": run_decode,
    "rms, 160 samples": run_rms,
    "JitterBuffer.push and pull, header by struct": run_jitter,
    "Receiver.push and frames": run_push,
    "Receiver.push and frames, with the gate": run_push_gate,
    "struct, dict, audioop": run_composition,
}


def collected(valgrind: str, case: str, n_packets: int, script: str = __file__) -> int:
    """Instructions of one whole process, which runs a case of a script."""
    command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, script]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, case, str(n_packets)], capture_output=True, text=True, check=True, timeout=300, env=environment
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise RuntimeError(f"callgrind gave no count: {done.stderr[-300:]!r}")
    return int(found[1])


def kernels_under(valgrind: str) -> str:
    """Which kernels the core takes on the processor that valgrind shows it."""
    told = "import gcmedia; print(gcmedia.cpu_features().kernels)"
    command = [valgrind, "--tool=none", "-q", sys.executable, "-c", told]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def count() -> dict[str, Any]:
    """Instructions a packet by case; ``{"absent": why}`` where they cannot be counted."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return {"absent": "valgrind is not on PATH"}
    version = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    cases = {}
    for case in CASES:
        try:
            cases[case] = (collected(valgrind, case, MANY) - collected(valgrind, case, FEW)) / (MANY - FEW)
        except subprocess.CalledProcessError as problem:
            cases[case] = None
            print(f"{case}: {problem.stderr.splitlines()[-1:]}", file=sys.stderr)
    return {"valgrind": version, "kernels": kernels_under(valgrind), "cases": cases}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        CASES[sys.argv[1]](workloads.in_order(MANY)[: int(sys.argv[2])])  # making them costs the same in both runs
    else:
        print(json.dumps(count(), indent=2))
