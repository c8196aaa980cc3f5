"""Drive a `StreamReceiver` with whatever octets say, and hold it to its promises.

    python -m tests.fuzz.fuzz_stream [SECONDS]
    python -m tests.fuzz.fuzz_stream FINDING...

The octets are a program: two of settings, then operations (`Run.OPERATIONS`), mutated as in `fuzz_audiohook`; what is
found goes to ``out/fuzz/``.

Two receivers get the same and are emptied at the same moments, one frame by frame, the other by blocks or into a
buffer.  Held after every operation: nothing is raised but what is documented; both hand out the same, to the bit;
frames follow one another without a step.  Held at the end: they make up the timeline, every payload is counted once,
and what came as audio is in the raw samples as a plain decoder has it.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gcmedia import CompressorConfig, GateConfig, StateError, alaw_decode, ulaw_decode
from gcmedia._core.block import Block
from gcmedia._core.frame import Frame
from gcmedia._core.stream import StreamReceiver

from .fuzz_audiohook import by_mutation
from .fuzz_packets import MAX_OCTETS, OUT, Octets

ENCODINGS = ("PCMU", "PCMA", "L16", "L16LE")
CAUSES = ("paused", "discarded", "lost", "overrun")
NOISE = np.random.default_rng(1).integers(0, 256, 1 << 17, np.uint8).tobytes()
BLOCKS, FRAMES, BUFFER = 0, 1, 2  # ways to take


def decoded(encoding: str, octets: bytes) -> bytes:
    """Samples by the plainest way."""
    if encoding == "PCMU":
        return bytes(ulaw_decode(octets))
    if encoding == "PCMA":
        return bytes(alaw_decode(octets))
    return np.frombuffer(octets, ">i2" if encoding == "L16" else "<i2").astype("<i2").tobytes()


class Run:
    """Two receivers, and what is expected of both."""

    def __init__(self, program: Octets) -> None:
        one, two = program.unsigned(1), program.unsigned(1)
        self.program = program
        self.encoding = ENCODINGS[one & 3]
        self.n_channels = 1 + (one >> 2 & 3)
        self.position = 0 if two & 1 else 12_345
        self.width = 1 if one & 3 < 2 else 2
        self.options: dict[str, object] = {
            "gate": GateConfig() if one & 16 else None,
            "compressor": CompressorConfig() if one & 32 else None,
            "frame_ms": (20, 10, 30, 1)[one >> 6],
            "max_ready_s": (60.0, 0.5, 0.0, 60.0)[two >> 1 & 3],
        }
        self.receivers = [self.new(self.position), self.new(self.position)]
        self.at = self.position  # first sample that has not been handed out
        self.end = self.position
        self.raw = [bytearray() for _ in range(self.n_channels)]
        self.truth = [bytearray() for _ in range(self.n_channels)]
        self.received = 0
        self.used: set[str] = set()

    def new(self, position: int, after: StreamReceiver | None = None) -> StreamReceiver:
        return StreamReceiver(
            self.encoding,
            8000,
            self.n_channels,
            position=position,
            after=after,
            **self.options,  # type: ignore[arg-type]
        )

    # What comes in

    def push(self) -> None:
        begin = self.program.unsigned(2)
        payload = NOISE[begin : begin + (self.program.unsigned(2) & 0x1FFF)]
        form = (bytes, bytearray, memoryview)[self.program.unsigned(1) % 3]
        overruns = self.receivers[0].stats().overruns
        for receiver in self.receivers:
            receiver.push(form(payload))
        self.received += 1
        n_samples = len(payload) // (self.width * self.n_channels)
        kept = self.receivers[0].stats().overruns == overruns
        self.end += n_samples
        for channel, truth in enumerate(self.truth):
            whole = np.frombuffer(payload[: n_samples * self.width * self.n_channels], f"V{self.width}")
            one = decoded(self.encoding, whole[channel :: self.n_channels].tobytes())
            truth += one if kept else bytes(2 * n_samples)

    def hole(self) -> None:
        n_samples = self.program.unsigned(2)
        for receiver in self.receivers:
            receiver.hole(n_samples, CAUSES[self.program.octets[0] & 3])
        self.end += n_samples
        for truth in self.truth:
            truth += bytes(2 * n_samples)

    def refuse(self) -> None:
        for receiver in self.receivers:
            receiver.refuse("no audio")
        self.received += 1

    # What goes out

    def take(self) -> None:
        self.empty(self.program.unsigned(1) % 3)

    def empty(self, how: int) -> None:
        frames = list(self.receivers[0].frames())
        if how == FRAMES:
            assert told(list(self.receivers[1].frames())) == told(frames)
        elif how == BLOCKS:
            block = self.receivers[1].block()
            assert told([] if block is None else block.frames()) == told(frames)
            if block is not None:
                self.mask(block)
        else:
            self.read(frames)
        for frame in frames:
            assert frame.position == self.at, (frame.position, self.at)
            self.raw[frame.channel] += bytes(frame.raw)
            if frame.channel == self.n_channels - 1:
                self.at += frame.n_samples
        holes = [receiver.holes() for receiver in self.receivers]
        assert holes[0] == holes[1]
        assert all(hole.n_samples > 0 for hole in holes[0])
        self.used |= {f"hole {len(holes[0]).bit_length()}", f"frames {len(frames).bit_length()} by {how}"}

    def read(self, frames: list[Frame]) -> None:
        receiver = self.receivers[1]
        out = np.empty(receiver.frame_samples * self.n_channels * (1 + len(frames)), np.int16)
        n = receiver.read_into(out)
        assert n * self.n_channels == sum(frame.n_samples for frame in frames)
        assert out[: n * self.n_channels].tobytes() == b"".join(bytes(frame.pcm) for frame in frames)

    def mask(self, block: Block) -> None:
        n_frames = self.program.unsigned(1) % (block.n_frames + 1)
        n_samples = min(n_frames * block.frame_samples, block.n_samples)
        masked = block.masked(n_frames, array("h", bytes(2 * n_samples)))
        for before, after in zip(block.frames(), masked.frames(), strict=True):
            hidden = before.position < block.position + n_samples
            assert told([after]) == told([before.masked(array("h", bytes(2 * before.n_samples))) if hidden else before])

    def go_on(self) -> None:
        """End these, and go on with others behind a gap."""
        self.finish()
        position = self.end + self.program.unsigned(2)
        self.receivers = [self.new(position, after=receiver) for receiver in self.receivers]
        self.at = self.end = position
        self.raw = [bytearray() for _ in range(self.n_channels)]
        self.truth = [bytearray() for _ in range(self.n_channels)]

    def too_late(self) -> None:
        """What a receiver that was flushed does not take."""
        receiver = self.new(0)
        receiver.flush()
        calls: tuple[Callable[[], object], ...] = (
            lambda: receiver.push(b"x" * 8),
            lambda: receiver.hole(1, "lost"),
        )
        for call in calls:
            try:
                call()
            except StateError:
                continue
            raise AssertionError("taken after the flush")
        try:
            self.receivers[0].hole(-1, "lost")
        except ValueError:
            return
        raise AssertionError("a hole of negative length")

    def finish(self) -> None:
        for receiver in self.receivers:
            receiver.flush()
        self.empty(FRAMES if self.program.octets[-1:] < b"\x80" else BLOCKS)
        assert self.at == self.end == self.receivers[0].end == self.receivers[1].end
        assert self.raw == self.truth
        stats = [receiver.stats() for receiver in self.receivers]
        assert stats[0] == stats[1]
        assert stats[0].balanced
        assert stats[0].packets_received == self.received
        assert stats[0].packets_buffered == 0
        self.used |= {
            f"{name} {value.bit_length()}"
            for name in ("packets_refused", "packets_discarded", "overruns", "total_samples")
            if (value := getattr(stats[0], name))
        }
        self.used |= {f"malformed {reason}" for reason in stats[0].malformed}

    OPERATIONS: tuple[Callable[[Run], None], ...] = (push, hole, take, push, take, refuse, go_on, too_late)


def told(frames: list[Frame]) -> list[tuple[object, ...]]:
    """All that frames tell."""
    return [
        (f.channel, f.position, f.n_samples, f.silent, f.concealed_samples, f.level_dbov, bytes(f.raw), bytes(f.pcm))
        for f in frames
    ]


def run(octets: bytes) -> set[str]:
    """Run one program; what it returns tells how far it came."""
    program = Octets(octets[:MAX_OCTETS] or b"\0")
    state = Run(program)
    while program.more():
        Run.OPERATIONS[program.unsigned(1) % len(Run.OPERATIONS)](state)
    state.finish()
    return state.used | {f"{state.encoding} {state.n_channels} {state.options['frame_ms']}"}


def seeds() -> dict[str, bytes]:
    """A few streams with each kind of trouble."""
    message = b"\x00\x00\x01\x80\x0c\x00"  # 3200 octets
    odd = b"\x00\x07\x00\x03\x00\x01" + b"\x00\x09\x00\x93\x01\x02"
    hole, take, frames, buffer = b"\x01\x2c\x01", b"\x02\x00\x05", b"\x02\x01", b"\x02\x02"
    body = message * 3 + take + odd + hole + message + buffer + b"\x05" + message + frames
    return {
        f"{one}-{two}": bytes([one, two]) + body + (b"\x06\x10\x01" + body if two else b"\x07" + hole + body)
        for one in (0x00, 0x04, 0x35, 0x16, 0xC6, 0x4B)
        for two in (0, 3, 5)
    }


def main() -> int:
    """Take the arguments."""
    if sys.argv[1:] and not sys.argv[1].isdigit():
        for path in sys.argv[1:]:
            print(path, sorted(run(Path(path).read_bytes())))
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    end, seed = time.monotonic() + int(sys.argv[1] if sys.argv[1:] else 60), int(time.time())
    programs = list(seeds().values())
    runs, seen, findings = by_mutation(programs, seed, lambda _: time.monotonic() < end, run, "stream")
    for kind, program in findings.items():
        (OUT / kind).write_bytes(program)
    print(f"{runs} programs, {len(seen)} features, {len(findings)} findings, seed {seed}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
