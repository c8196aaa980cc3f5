"""Drive a receiver with whatever octets say, and hold it to its promises.

    python tests/fuzz/fuzz_packets.py [--plain] [SECONDS]
    python tests/fuzz/fuzz_packets.py FINDING...

The octets are a program: two of settings, then operations (`OPERATIONS`).  Guided by libFuzzer where atheris is
installed, by plain mutation otherwise or with ``--plain``; what is found goes to ``out/fuzz/``, and after a crash the
program that ran is in ``out/fuzz/running``.  With FINDING files it runs those.

Held after every program: nothing is raised but what is documented; every packet is counted once; frames follow one
another without a step and make up the timeline; a batch gives what its packets give one by one, and both what a
receiver gives whose books are looked into after every packet.
"""

from __future__ import annotations

import importlib
import random
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gcmedia
from gcmedia.config import CompressorConfig, GateConfig, JitterConfig

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
OUT = Path("out/fuzz")
MAX_OCTETS = 2048

ENCODINGS = ("PCMU", "PCMA", "L16", "L16LE")
LAYOUTS = ("padded16", "packed12", "auto", "padded16")  # the last goes with the adaptive delay
GATES = (None, None, GateConfig(), GateConfig(kind="sample"))
POLICIES = (
    None,
    JitterConfig(policy="window"),
    JitterConfig(slots=32, max_depth=4, base_depth=1, min_depth=1, gap_tolerance=0),
    JitterConfig(policy="window", window_ms=0.0, wide_window_ms=0.0, slots=32, max_depth=16),
)
ADAPTIVE = (
    JitterConfig(policy="adaptive"),
    JitterConfig(policy="adaptive", delay_quantile=0.9, delay_memory_packets=50, slots=32, max_depth=16),
    JitterConfig(policy="adaptive", min_delay_ms=0.0, max_delay_ms=1.0),
    JitterConfig(policy="adaptive", min_delay_ms=200.0, max_delay_ms=10_000.0, gap_tolerance=0),
)


class Octets:
    """Reads a program; past its end everything is 0."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.at = 0

    def more(self) -> bool:
        return self.at < len(self.octets)

    def take(self, size: int) -> bytes:
        found = self.octets[self.at : self.at + size]
        self.at += size
        return found

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "little", signed=True)


class Run:
    """One receiver; a twin that gets in batches what it gets one by one; one that is asked after every packet."""

    def __init__(self, program: Octets) -> None:
        one, two = program.unsigned(1), program.unsigned(1)
        settings: dict[str, Any] = {
            "encoding": ENCODINGS[one & 3],
            "layout": LAYOUTS[one >> 2 & 3],
            "n_channels": 1 + (one >> 4 & 1),
            "gate": GATES[one >> 5 & 3],
            "compressor": CompressorConfig() if one >> 7 else None,
            "jitter": (ADAPTIVE if one >> 2 & 3 == 3 else POLICIES)[two & 3],
            "conceal": ("repeat", "silence")[two >> 2 & 1],
            "timestamp_rate": (1000.0, 8000.0)[two >> 3 & 1],
            "sample_rate": (8000, 16000)[two >> 4 & 1],
            "max_ready_s": (2.0, 0.1)[two >> 5 & 1],
            "max_hole_s": (1.0, 0.0)[two >> 6 & 1],
        }
        self.program = program
        self.receiver, self.twin, self.asked = self.all = [gcmedia.Receiver(**settings) for _ in range(3)]
        self.batch: list[bytes] = []
        self.packed = settings["layout"] == "packed12" or bool(two >> 7)
        self.number = self.timestamp = 0
        self.now = 0.0
        self.sums = [0, 0, 0]
        self.ends = [[0] * self.receiver.n_channels for _ in self.all]
        self.failed = [0, 0, 0]
        self.flushed = False

    # What a program can say

    def push(self, packet: bytes) -> None:
        self.batch.append(packet)
        for place in (0, 2):
            try:
                ready = self.all[place].push(packet, self.now)
            except gcmedia.FormatError:
                self.failed[place] += 1
            except gcmedia.StateError:
                assert self.flushed
            else:
                assert ready >= 0
        self.asked.stats()

    def push_next(self) -> None:
        """A packet as a sender would make it, with a step of the sequence that may be 0 or backwards."""
        step = self.program.signed(1)
        size = self.program.unsigned(1)
        self.number = self.number + step & 0xFFFFFFFF
        self.timestamp += 20 * step
        self.push(self.framed(bytes([size, step & 255]) * (size // 2) + bytes(size & 1)))

    def push_run(self) -> None:
        """Up to 63 packets in a row, of the usual size."""
        for _ in range(self.program.unsigned(1) & 63):
            self.number = self.number + 1 & 0xFFFFFFFF
            self.timestamp += 20
            self.push(self.framed(bytes([self.number & 255, 0x7F]) * 80))

    def push_octets(self) -> None:
        """A packet of any octets."""
        self.push(self.program.take(self.program.unsigned(1)))

    def push_large(self) -> None:
        self.push(self.framed(bytes(self.program.unsigned(2))))

    def push_media(self) -> None:
        number, timestamp = self.program.unsigned(4), self.program.signed(8)
        payload = self.program.take(self.program.unsigned(1))
        self.settle()
        for receiver in self.all:
            try:
                receiver.push_media(number, timestamp, payload, self.now)
            except gcmedia.StateError:
                assert self.flushed

    def jump_number(self) -> None:
        self.number = self.program.unsigned(4)

    def jump_timestamp(self) -> None:
        self.timestamp = self.program.signed(8)

    def wait(self) -> None:
        """Up to 65 s, or back."""
        self.settle()
        self.now += self.program.signed(2) / 500

    def take(self) -> None:
        self.settle()
        for place, receiver in enumerate(self.all):
            for frame in receiver.frames(self.now):
                self.see(place, frame)

    def tell(self) -> None:
        """Whatever can be asked, is."""
        self.settle()
        holes = self.receiver.holes()
        for receiver in self.all[1:]:
            assert holes == (other := receiver.holes()), f"not the same holes: {holes} and {other}"
        assert all(hole.n_samples > 0 and hole.cause for hole in holes)
        asked = self.program.signed(8)
        place = self.receiver.position_at(asked)
        assert place == self.twin.position_at(asked) == self.asked.position_at(asked), asked
        assert place is None or place >= 0, f"position_at({asked}) is {place}"
        self.account()

    def control(self) -> None:
        """Pause, resume, reconnect, refuse; or flush."""
        self.settle()
        kind = self.program.unsigned(1)
        for receiver in self.all:
            if kind & 7 == 0:
                receiver.pause()
            elif kind & 7 == 1:
                receiver.resume()
            elif kind & 7 == 2:
                receiver.restart()
            elif kind & 7 == 3:
                receiver.refuse("no packet")
        if kind & 7 == 4 and kind > 127:
            self.flush((self.timestamp + kind + 2**63 & 2**64 - 1) - 2**63)

    OPERATIONS: tuple[Callable[[Run], None], ...] = (
        push_next,
        push_run,
        push_octets,
        push_large,
        push_media,
        jump_number,
        jump_timestamp,
        wait,
        take,
        tell,
        control,
        take,
    )

    # What must hold

    def framed(self, audio: bytes) -> bytes:
        stamp = (self.timestamp & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
        return self.number.to_bytes(4, "little") + (b"" if self.packed else bytes(4)) + stamp + audio

    def settle(self) -> None:
        """Give the twin its batch; one by one while it looks for the layout, which may raise in the middle."""
        batch, self.batch = self.batch, []
        try:
            while batch and self.twin.layout == "auto":
                try:
                    self.twin.push(batch.pop(0), self.now)
                except gcmedia.FormatError:
                    self.failed[1] += 1
            self.twin.push_many(batch, self.now)
        except gcmedia.StateError:
            assert self.flushed

    def see(self, place: int, frame: gcmedia.Frame) -> None:
        assert frame.n_samples > 0
        assert len(frame.pcm) == len(frame.raw) == frame.n_samples <= self.receiver.frame_samples
        assert frame.position == self.ends[place][frame.channel], "frames follow one another"
        assert 0 <= frame.concealed_samples <= frame.n_samples
        self.ends[place][frame.channel] += frame.n_samples
        self.sums[place] = zlib.crc32(frame.pcm, zlib.crc32(frame.raw, self.sums[place]))

    def account(self) -> gcmedia.Stats:
        stats = self.receiver.stats()
        for receiver in self.all[1:]:
            assert stats == (other := receiver.stats()), f"not the same counters: {stats} and {other}"
        assert stats.packets_received == (
            stats.packets_played
            + stats.packets_late
            + stats.packets_duplicate
            + stats.packets_discarded
            + stats.packets_refused
            + stats.packets_buffered
        ), f"every packet counts once: {stats}"
        assert stats.packets_lost >= 0, stats
        assert 0 <= stats.loss_rate <= 1, stats
        assert stats.concealed_samples <= stats.total_samples * self.receiver.n_channels, stats
        return stats

    def flush(self, end: int | None) -> None:
        self.settle()
        if not self.flushed and self.receiver.layout == "auto":
            end = None
        self.flushed = True
        for receiver in self.all:
            receiver.flush(end)

    def finish(self) -> gcmedia.Stats:
        """Flush, take what is left, and hold all of it to the promises."""
        self.flush(None)
        self.take()
        stats = self.account()
        assert stats.packets_buffered == 0, stats
        assert len(set(self.sums)) == 1, "a batch sounds as its packets do"
        assert len(set(self.failed)) == 1
        for ends in self.ends:
            assert ends == [stats.total_samples] * self.receiver.n_channels, (ends, stats.total_samples)
        assert self.receiver.position == stats.total_samples
        return stats


def run(octets: bytes) -> gcmedia.Stats:
    """Run one program; what it returns tells how far it came."""
    program = Octets(octets[:MAX_OCTETS])
    state = Run(program)
    while program.more():
        Run.OPERATIONS[program.unsigned(1) % len(Run.OPERATIONS)](state)
    return state.finish()


COUNTERS = (
    "packets_played",
    "packets_late",
    "packets_duplicate",
    "packets_discarded",
    "packets_refused",
    "packets_lost",
    "packets_reordered",
    "gaps",
    "resets",
    "flushes",
    "underruns",
    "overruns",
    "timestamp_jumps",
    "concealment_events",
)


def features(stats: gcmedia.Stats) -> set[int]:
    """What a program has brought about: one number for each counter and power of four."""
    return {16 * place + getattr(stats, name).bit_length() // 2 for place, name in enumerate(COUNTERS)}


def seeds() -> dict[str, bytes]:
    """The corpus, as it is committed: a few calls with each kind of trouble."""
    plain, window, small, auto, stereo, gate = b"\0\0", b"\0\1", b"\0\x26", b"\x08\0", b"\x12\x10", b"\xa0\0"
    ten, take, one = b"\x01\x0a", b"\x08", b"\x00\x01\xa0"
    adaptive, wait = b"\x0c\0", b"\x07\x0a\x00"
    lost, twice, late = b"\x00\x03\xa0", b"\x00\x00\xa0", b"\x00\xfe\xa0\x00\x02\xa0"
    far = b"\x05" + (0xFFFFFFF0).to_bytes(4, "little")
    return {
        "in_order": plain + (ten + take) * 6,
        "loss": plain + (ten + lost + twice + late + take) * 5,
        "loss_window": window + (ten + lost + late + b"\x07\x0a\x00" + take) * 5,
        "loss_adaptive": adaptive + (ten + lost + twice + late + wait + take) * 5,
        "spikes_adaptive": b"\x0c\1" + (b"\x01\x1e" + take + wait + one + b"\x07\x64\x00" + ten + take) * 6,
        "small_buffer": small + (b"\x01\x3f" + lost + late) * 4 + take,
        "wrap": plain + far + (b"\x01\x20" + take) * 2,
        "restart": plain + ten + b"\x05" + bytes(4) + ten + b"\x0a\x02" + far + ten + take,
        "pause": plain + ten + b"\x0a\x00" + ten + take + b"\x0a\x01" + ten + take,
        "timestamps": plain + ten + b"\x06\xff\xff\xff\xff\xff\xff\xff\x7f" + ten + b"\x06" + bytes(8) + ten + take,
        "idle": plain + ten + b"\x06\x58\x02" + bytes(6) + b"\x07\xff\x00" + ten + take + b"\x09" + bytes(8),
        "auto": auto + (ten + take) * 3,
        "auto_packed": b"\x08\x80" + (ten + take) * 3,
        "auto_garbage": auto + (b"\x02\x14" + bytes(range(20))) * 20 + ten,
        "stereo_ragged": stereo + (b"\x00\x01\xa1" + b"\x00\x01\x03" + one + take) * 6,
        "gate_compressor": gate + (ten + lost + take) * 4,
        "short": plain + b"\x02\x03abc" + b"\x02\x10" + bytes(16) + ten + b"\x03\xff\xff" + b"\x02\x00" + ten + take,
        "media": plain + b"".join(b"\x04" + bytes([n]) + bytes(11) + b"\x04abcd" for n in range(8)) + take,
        "steady": plain + (one + take) * 90 + lost + (one + take) * 60 + twice + (b"\x01\x05" + take) * 20 + late,
        "flush_early": plain + ten + b"\x0a\xfc" + ten + take,
    }


def mutate(octets: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Some change: octets set, cut, doubled, moved, or taken from another program."""
    changed = bytearray(octets)
    for _ in range(1 << rng.randrange(5)):
        at = rng.randrange(len(changed) + 1)
        size = rng.randrange(1, 9)
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 1:
            del changed[at : at + size]
        elif kind == 2:
            changed[at:at] = changed[at : at + size] * rng.randrange(1, 5)
        elif kind == 3:
            changed[at:at] = rng.randbytes(size)
        elif kind == 4:
            other = rng.choice(others)
            begin = rng.randrange(len(other) + 1)
            changed[at:at] = other[begin : begin + 4 * size]
        else:
            changed[0:2] = rng.randbytes(2)
    return bytes(changed[:MAX_OCTETS])


def by_mutation(seconds: float, seed: int) -> int:
    """Mutate, keep what brings about something new, until time is up; the number of findings."""
    rng = random.Random(seed)
    programs = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    seen: set[int] = set()
    findings: dict[str, bytes] = {}
    end = time.monotonic() + seconds
    runs = 0
    while time.monotonic() < end:
        program = programs[runs] if runs < len(programs) else mutate(rng.choice(programs), programs, rng)
        runs += 1
        (OUT / "running").write_bytes(program)
        try:
            new = features(run(program)) - seen
        except Exception as problem:
            last = traceback.extract_tb(problem.__traceback__)[-1]
            kind = f"{type(problem).__name__}-{last.name}-{last.lineno}"
            if len(program) < len(findings.get(kind, bytes(MAX_OCTETS + 1))):
                if kind not in findings:
                    print(f"finding {kind}: {problem}", flush=True)
                findings[kind] = program
                (OUT / kind).write_bytes(program)
            continue
        if new:
            seen |= new
            programs.append(program)
    (OUT / "running").unlink(missing_ok=True)
    print(f"{runs} programs, {len(seen)} features, {len(findings)} findings, seed {seed}")
    return len(findings)


def by_atheris(atheris: Any, seconds: int) -> None:
    """Let libFuzzer do it; the core tells it nothing of its branches, so the counters do."""
    ladder = "".join(f"    if {number} in found: seen += 1\n" for number in range(16 * len(COUNTERS)))
    scope: dict[str, Any] = {}
    exec(f"def observe(found):\n    seen = 0\n{ladder}    return seen\n", scope)
    observe = atheris.instrument_func(scope["observe"])
    grown = OUT / "corpus"
    grown.mkdir(exist_ok=True)
    arguments = [f"-max_total_time={seconds}", f"-artifact_prefix={OUT}/", f"-max_len={MAX_OCTETS}", "-timeout=100"]
    atheris.Setup(
        [sys.argv[0], *arguments, "-print_final_stats=1", str(grown), str(CORPUS)],
        lambda octets: observe(features(run(octets))) and None,
    )
    atheris.Fuzz()  # ends the process


def main() -> int:
    """Take the arguments."""
    if sys.argv[1:] == ["--write-seeds"]:
        for name, program in seeds().items():
            (CORPUS / name).write_bytes(program)
        return 0
    arguments = [argument for argument in sys.argv[1:] if argument != "--plain"]
    if arguments and not arguments[0].isdigit():
        for path in arguments:
            print(path, run(Path(path).read_bytes()))
        return 0
    seconds = int(arguments[0]) if arguments else 60
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        atheris = None if "--plain" in sys.argv else importlib.import_module("atheris")
    except ImportError:
        atheris = None
    if atheris is None:
        return 1 if by_mutation(seconds, seed=int(time.time())) else 0
    by_atheris(atheris, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
