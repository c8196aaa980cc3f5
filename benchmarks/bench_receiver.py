"""What does the whole path cost per packet, all but the gate, and with how many streams at once?

The peer is the path written in Python with what is at hand: struct for the header, a dictionary for the jitter
buffer, audioop for PCMU and the level.  All take the same packets in the same run; times are for `PACKETS` packets.
``python benchmarks/bench_receiver.py`` prints the ratios, the memory of a receiver, and with ``--count`` the
instructions per packet (which needs valgrind).
"""

from __future__ import annotations

import random
import statistics
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
from array import array
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from gcmedia import Receiver, ReceiverBank

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

FRAME = 160  # samples: 20 ms at 8 kHz
PACKETS = 3000
DEPTH = 5  # packets in hand, as is the default
HEADER = struct.Struct("<I4xq")
RNG = random.Random(20240607)
WIRES = [HEADER.pack(i, 20 * i) + RNG.randbytes(FRAME) for i in range(PACKETS)]
TIMES = [0.02 * i for i in range(PACKETS)]


def rough() -> list[bytes]:
    """The same over a bad network: 1 % lost, 1 % twice, 1 % one place late."""
    out: list[bytes] = []
    for wire in WIRES:
        chance = RNG.random()
        if chance < 0.01:
            continue
        out.append(wire)
        if chance < 0.02:
            out.append(wire)
        elif chance < 0.03 and len(out) > 1:
            out[-1], out[-2] = out[-2], out[-1]
    return out[:PACKETS] + WIRES[len(out) :]


ROUGH = rough()


class Composition:
    """Parse, validate, put in order, decode, judge silence: as one would write it in Python."""

    def __init__(self) -> None:
        self.highest: int | None = None
        self.received = self.lost = self.duplicate = self.late = 0
        self.waiting: dict[int, bytes] = {}
        self.next: int | None = None
        self.levels: deque[int] = deque(maxlen=10)
        self.silent = True

    def push(self, packet: bytes, now: float) -> list[tuple[bytes, bool]]:
        """Take one packet, return frames."""
        if len(packet) <= 16:
            return []
        number, _ = HEADER.unpack_from(packet)
        self.received += 1
        if self.highest is None:
            self.highest = self.next = number
        else:
            ahead = (number - self.highest) & 0xFFFFFFFF
            if ahead == 0:
                self.duplicate += 1
                return []
            if ahead < 0x80000000:
                self.lost += ahead - 1
                self.highest = number
            else:
                self.late += 1
        assert self.next is not None
        if number < self.next or number in self.waiting:
            return []
        self.waiting[number] = packet[16:]
        frames = []
        while self.highest - self.next + 1 >= DEPTH:
            payload = self.waiting.pop(self.next, None)
            self.next += 1
            pcm = audioop.ulaw2lin(payload, 2) if payload is not None else bytes(2 * FRAME)
            self.levels.append(audioop.rms(pcm, 2))
            self.silent = sum(self.levels) / len(self.levels) < 328
            frames.append((pcm, self.silent))
        return frames


def numpy_decode(payload: bytes, table: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Look up int16 samples."""
    return table.take(np.frombuffer(payload, np.uint8))


class NumpyComposition(Composition):
    """The same with numpy in place of audioop, for machines where that is gone."""

    TABLE = np.frombuffer(audioop.ulaw2lin(bytes(range(256)), 2), np.int16)

    def push(self, packet: bytes, now: float) -> list[tuple[bytes, bool]]:
        """Take one packet, return frames."""
        number, _ = HEADER.unpack_from(packet)
        if self.next is None:
            self.highest = self.next = number
        assert self.highest is not None
        assert self.next is not None
        self.highest = max(self.highest, number)
        if number < self.next or number in self.waiting:
            return []
        self.waiting[number] = packet[16:]
        frames = []
        while self.highest - self.next + 1 >= DEPTH:
            payload = self.waiting.pop(self.next, None) or b"\xff" * FRAME
            self.next += 1
            pcm = numpy_decode(payload, self.TABLE)
            samples = pcm.astype(np.float32)
            self.levels.append(int(np.dot(samples, samples)))
            self.silent = sum(self.levels) / len(self.levels) < 328 * 328 * FRAME
            frames.append((pcm.tobytes(), self.silent))
        return frames


def compose(kind: type[Composition], wires: list[bytes] = WIRES) -> None:
    """Run a composition over all packets."""
    push = kind().push
    for wire, now in zip(wires, TIMES, strict=True):
        for _frame in push(wire, now):
            pass


def push_frames(wires: list[bytes] = WIRES) -> None:
    """Frames as objects."""
    receiver = Receiver()
    push, frames = receiver.push, receiver.frames
    for wire, now in zip(wires, TIMES, strict=True):
        if push(wire, now):
            for _frame in frames(now):
                pass


def push_into(wires: list[bytes] = WIRES) -> None:
    """Frames into the caller's buffer."""
    push, out = Receiver().push_into, bytearray(20 * 2 * FRAME)
    for wire, now in zip(wires, TIMES, strict=True):
        push(wire, now, out)


def push_alone(wires: list[bytes] = WIRES) -> None:
    """Header, sequence, jitter buffer, timeline; frames taken now and then, not looked at."""
    receiver = Receiver()
    push, out = receiver.push, bytearray(100 * 2 * FRAME)
    for i, (wire, now) in enumerate(zip(wires, TIMES, strict=True)):
        push(wire, now)
        if not i & 15:
            receiver.read_into(out)


def push_many(wires: list[bytes] = WIRES, n: int = 50) -> None:
    """Lists of 50 packets, then one read."""
    receiver, out = Receiver(), bytearray(100 * 2 * FRAME)
    for i in range(0, PACKETS, n):
        receiver.push_many(wires[i : i + n], TIMES[i])
        receiver.read_into(out)


def packed(wires: list[bytes]) -> tuple[bytes, array[int]]:
    """One buffer and offsets."""
    offsets = array("q", [0])
    for wire in wires:
        offsets.append(offsets[-1] + len(wire))
    return b"".join(wires), offsets


BUFFERS = [packed(WIRES[i : i + 50]) for i in range(0, PACKETS, 50)]


def push_buffer() -> None:
    """Contiguous buffers of 50 packets, then one read."""
    receiver, out = Receiver(), bytearray(100 * 2 * FRAME)
    for i, (buffer, offsets) in enumerate(BUFFERS):
        receiver.push_buffer(buffer, offsets, TIMES[50 * i])
        receiver.read_into(out)


def empty_loop() -> None:
    """What the loop itself takes, in every figure of one call per packet."""
    for _wire, _now in zip(WIRES, TIMES, strict=True):
        pass


class Streams:
    """So many receivers, one packet each in turn."""

    def __init__(self, n: int) -> None:
        self.pushes = [Receiver().push_into for _ in range(n)]
        self.out = bytearray(20 * 2 * FRAME)
        self.step = 0
        for _ in range(2 * DEPTH):
            self()

    def __call__(self) -> None:
        """One packet for each."""
        wire, now, out = WIRES[self.step % PACKETS], TIMES[self.step % PACKETS], self.out
        for push in self.pushes:
            push(wire, now, out)
        self.step += 1


class Bank:
    """So many receivers stepped at once, one packet each."""

    def __init__(self, n: int, threads: int = 1) -> None:
        self.bank = ReceiverBank(n, threads=threads)
        self.rows, self.counts = np.zeros((n, 4 * FRAME), np.int16), np.zeros(n, np.int32)
        self.indices = np.arange(n, dtype=np.int32)
        self.offsets = np.arange(n + 1, dtype=np.int64) * len(WIRES[0])
        self.buffers = [wire * n for wire in WIRES[:200]]
        self.step = 0
        for _ in range(2 * DEPTH):
            self()

    def __call__(self) -> None:
        """One packet for each."""
        buffer, now = self.buffers[self.step % len(self.buffers)], TIMES[self.step % len(self.buffers)]
        self.bank.push(self.indices, buffer, self.offsets, now, self.rows, self.counts)
        self.step += 1


PATHS: dict[str, Callable[[], None]] = {
    "python + audioop": partial(compose, Composition),
    "python + numpy": partial(compose, NumpyComposition),
    "push + frames": push_frames,
    "push_into": push_into,
    "push, read_into of 16": push_alone,
    "push_many of 50 + read_into": push_many,
    "push_buffer of 50 + read_into": push_buffer,
    "python + audioop, 1 % loss": partial(compose, Composition, ROUGH),
    "push + frames, 1 % loss": partial(push_frames, ROUGH),
    "push_into, 1 % loss": partial(push_into, ROUGH),
    "empty loop": empty_loop,
}


@pytest.mark.parametrize("name", PATHS)
def test_whole_path(benchmark, name):
    benchmark.group = "whole path but the gate, 3,000 packets"
    benchmark(PATHS[name])


@pytest.mark.parametrize("n", [1, 100, 1000, 3000])
def test_interleaved(benchmark, n):
    benchmark.group = "one packet for each of n streams"
    benchmark.extra_info["packets"] = n
    benchmark(Streams(n))


@pytest.mark.parametrize("threads", [1, 2])
def test_bank_of_3000(benchmark, threads):
    benchmark.group = "one packet for each of n streams"
    benchmark.extra_info["packets"] = 3000
    benchmark(Bank(3000, threads))


def medians(paths: dict[str, Callable[[], None]], packets: dict[str, int], repeats: int = 25) -> dict[str, float]:
    """Nanoseconds per packet; the paths take turns, so that what disturbs the machine disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(repeats):
        for name, path in paths.items():
            begin = time.perf_counter()
            path()
            times[name].append((time.perf_counter() - begin) * 1e9 / packets[name])
    return {name: statistics.median(found) for name, found in times.items()}


def memory(n: int = 500) -> float:
    """Octets of a receiver with default settings that has been in use, all allocations counted."""
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1])
    held = Streams(n)
    for _ in range(100):
        held()
    with open("/proc/self/statm") as file:
        return (int(file.read().split()[1]) - before) * 4096 / n


def instructions(name: str) -> float:
    """Per packet, counted by valgrind over two lengths of the run, so that all else cancels out."""
    counts = []
    for rounds in (1, 5):
        code = f"import bench_receiver as b\nfor _ in range({rounds}): b.PATHS[{name!r}]()"
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", code]
        told = subprocess.run(command, capture_output=True, text=True, cwd=sys.path[0], check=True).stderr
        counts.append(int(told.split("Collected :")[1].split()[0]))
    return (counts[1] - counts[0]) / 4 / PACKETS


def main() -> None:
    """Print the table."""
    tracemalloc.stop()
    octets = memory()
    found = medians(PATHS, dict.fromkeys(PATHS, PACKETS))
    print(f"{'path':32} {'ns/packet':>9} {'x faster than python + audioop':>32}")
    for name, ns in found.items():
        peer = found["python + audioop, 1 % loss" if "loss" in name else "python + audioop"]
        counted = f"{instructions(name):9.0f} instructions" if "--count" in sys.argv else ""
        print(f"{name:32} {ns:9.1f} {peer / ns:32.2f} {counted}")
    sizes = {f"{n} streams": n for n in (1, 100, 1000, 3000)} | {"bank of 3000": 3000, "bank of 3000, 2 threads": 3000}
    # A single stream must be stepped as often as many, or a step is too short to be timed.
    one = Streams(1)
    runs: dict[str, Callable[[], None]] = {"1 streams": lambda: [one() for _ in range(1000)] and None}
    runs |= {f"{n} streams": Streams(n) for n in (100, 1000, 3000)}
    runs |= {"bank of 3000": Bank(3000), "bank of 3000, 2 threads": Bank(3000, 2)}
    sizes["1 streams"] = 1000
    sizes["100 streams"] = 100
    found = medians(runs, sizes)
    for name, ns in found.items():
        print(f"{name:32} {ns:9.1f} {ns / found['100 streams']:9.2f} of 100 streams")
    print(f"a receiver holds {octets / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
