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


def compose(decode: Callable[[bytes], bytes], level: Callable[[bytes], float], wires: list[bytes] = WIRES) -> None:
    """Parse, validate, put in order, decode, judge silence: as one would write it in Python when speed matters."""
    unpack = HEADER.unpack_from
    highest = following = -1
    received = lost = duplicate = late = 0
    waiting: dict[int, bytes] = {}
    levels: deque[float] = deque([0.0] * 10)
    total = 0.0
    silent = True

    def push(packet: bytes, now: float) -> list[tuple[bytes, bool]]:
        nonlocal highest, following, received, lost, duplicate, late, total, silent
        number, _ = unpack(packet)
        received += 1
        if highest < 0:
            highest = following = number
        else:
            ahead = (number - highest) & 0xFFFFFFFF
            if ahead == 0:
                duplicate += 1
                return []
            if ahead < 0x80000000:
                lost += ahead - 1
                highest = number
            else:
                late += 1
                if number < following or number in waiting:
                    return []
        waiting[number] = packet[16:]
        frames = []
        while highest - following + 1 >= DEPTH:
            payload = waiting.pop(following, None)
            following += 1
            pcm = decode(payload) if payload is not None else SILENCE
            loudness = level(pcm)
            total += loudness - levels.popleft()
            levels.append(loudness)
            silent = total < 3280
            frames.append((pcm, silent))
        return frames

    for wire, now in zip(wires, TIMES, strict=True):
        for _frame in push(wire, now):
            pass


SILENCE = bytes(2 * FRAME)
TABLE = np.frombuffer(audioop.ulaw2lin(bytes(range(256)), 2), np.int16)


def numpy_decode(payload: bytes) -> bytes:
    """Look the samples up."""
    return TABLE.take(np.frombuffer(payload, np.uint8)).tobytes()


def numpy_rms(pcm: bytes) -> float:
    """Level by a dot product, which numpy is fastest at."""
    samples = np.frombuffer(pcm, np.int16).astype(np.float32)
    return float(np.dot(samples, samples) / FRAME) ** 0.5


WITH_AUDIOOP = partial(compose, lambda payload: audioop.ulaw2lin(payload, 2), lambda pcm: audioop.rms(pcm, 2))
WITH_NUMPY = partial(compose, numpy_decode, numpy_rms)


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
    """So many receivers, one packet each in turn; 100 packets a step where it is one receiver alone."""

    def __init__(self, n: int) -> None:
        self.pushes = [Receiver().push_into for _ in range(n)]
        self.out = bytearray(20 * 2 * FRAME)
        self.step = 0
        for _ in range(2 * DEPTH):
            self()

    def __call__(self) -> None:
        """One packet for each."""
        out = self.out
        if len(self.pushes) == 1:
            push = self.pushes[0]
            for at in range(self.step, self.step + 100):
                push(WIRES[at % PACKETS], TIMES[at % PACKETS], out)
            self.step += 100
            return
        wire, now = WIRES[self.step % PACKETS], TIMES[self.step % PACKETS]
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
        self.buffers = [wire * n for wire in WIRES[: max(200, 60_000 // n)]][:PACKETS]
        self.step = 0
        for _ in range(2 * DEPTH):
            self()

    def __call__(self) -> None:
        """One packet for each."""
        buffer, now = self.buffers[self.step % len(self.buffers)], TIMES[self.step % len(self.buffers)]
        self.bank.push(self.indices, buffer, self.offsets, now, self.rows, self.counts)
        self.step += 1


PATHS: dict[str, Callable[[], None]] = {
    "python + audioop": WITH_AUDIOOP,
    "python + numpy": WITH_NUMPY,
    "push + frames": push_frames,
    "push_into": push_into,
    "push, read_into of 16": push_alone,
    "push_many of 50 + read_into": push_many,
    "push_buffer of 50 + read_into": push_buffer,
    "python + audioop, 1 % loss": partial(WITH_AUDIOOP, ROUGH),
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
    benchmark.extra_info["packets"] = 100 if n == 1 else n
    benchmark(Streams(n))


@pytest.mark.parametrize("threads", [1, 2])
def test_bank_of_3000(benchmark, threads):
    benchmark.group = "one packet for each of n streams"
    benchmark.extra_info["packets"] = 3000
    benchmark(Bank(3000, threads))


def lowest(paths: dict[str, Callable[[], None]], packets: dict[str, int], repeats: int = 25) -> dict[str, float]:
    """Nanoseconds per packet in the best of so many runs; the paths take turns.

    The best and not the median: the composition is at times two or three times as slow, when its bytes objects
    make the allocator return and fetch memory, and gcmedia should not win by that.
    """
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(repeats):
        for name, path in paths.items():
            begin = time.perf_counter()
            path()
            times[name].append((time.perf_counter() - begin) * 1e9 / packets[name])
    return {name: min(found) for name, found in times.items()}


def stepped(step: Callable[[], None], n: int, repeats: int = 25) -> float:
    """Nanoseconds per packet of something that takes n at a time."""
    times = []
    steps = max(1, 2000 // n)
    for _ in range(repeats if n > 100 else 9):
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        times.append((time.perf_counter() - begin) * 1e9 / (n * steps))
    return statistics.median(times)


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
    octets = memory()
    found = lowest(PATHS, dict.fromkeys(PATHS, PACKETS))
    print(f"{'path':32} {'ns/packet':>9} {'x faster than python + audioop':>32}")
    for name, ns in found.items():
        peer = found["python + audioop, 1 % loss" if "loss" in name else "python + audioop"]
        counted = f"{instructions(name):9.0f} instructions" if "--count" in sys.argv else ""
        print(f"{name:32} {ns:9.1f} {peer / ns:32.2f} {counted}")
    # Each is stepped until it has taken 3,000 packets or more, with nothing else in between to empty the caches.
    runs: dict[str, Callable[[], None]] = {f"{n} streams": Streams(n) for n in (1, 100, 1000, 3000)}
    runs |= {"bank of 1": Bank(1), "bank of 100": Bank(100), "bank of 3000": Bank(3000)}
    runs["bank of 3000, 2 threads"] = Bank(3000, 2)
    one: dict[str, float] = {}
    for name, step in runs.items():
        n = int(name.split()[0 if name.endswith("streams") else 2].strip(","))
        n = 100 if name == "1 streams" else n
        one[name] = stepped(step, n)
        first = one["1 streams" if name.endswith("streams") else "bank of 1"]
        print(f"{name:32} {one[name]:9.1f} {one[name] / first:9.2f} of the first")
    print(f"a receiver holds {octets / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
