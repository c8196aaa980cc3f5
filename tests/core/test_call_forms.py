"""Every way to hand packets in and take frames out gives the same audio."""

from __future__ import annotations

import dataclasses
import random
import threading
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import ConfigError, Frame, GateConfig, JitterConfig, Receiver, ReceiverBank, StateError

from .packets import FULL, packet

FRAME = 160  # samples: 20 ms at 8 kHz
FORMS = [
    {},
    {"n_channels": 2},
    {"encoding": "L16", "jitter": JitterConfig(policy="window")},
    {"n_channels": 2, "jitter": JitterConfig(policy="adaptive", min_delay_ms=40.0)},
    {"encoding": "PCMA", "n_channels": 3, "gate": GateConfig()},
]


class Burst(NamedTuple):
    """Packets that arrive at one time."""

    now: float
    packets: list[bytes]


def octets_of(form: dict[str, object]) -> int:
    """Length of 20 ms."""
    width = 2 if str(form.get("encoding", "PCMU")).startswith("L16") else 1
    return FRAME * width * int(str(form.get("n_channels", 1)))


def stream(seed: int, form: dict[str, object], n_packets: int = 120) -> list[Burst]:
    """A stream with every fault, in bursts."""
    rng = random.Random(seed)
    number, timestamp = rng.choice([0, FULL - 20, 77]), rng.randrange(10_000)
    wires: list[bytes] = []
    for _ in range(n_packets):
        chance = rng.random()
        if chance < 0.05:
            lost = rng.choice([1, 2, 5, 200])
            number, timestamp = number + lost, timestamp + 20 * lost
        elif chance < 0.07:
            timestamp += 700
        ms = 20 if rng.random() < 0.9 else 30
        wires.append(packet(number, timestamp, rng.randbytes(octets_of(form) * ms // 20)))
        number, timestamp = number + 1, timestamp + ms
        if chance > 0.95:
            wires.append(rng.choice([wires[-1], b"", b"x" * 15, wires[0][:16], wires[-1] + b"y"]))
        elif chance > 0.9 and len(wires) > 3:
            wires[-1], wires[-2] = wires[-2], wires[-1]
    bursts, i = [], 0
    while i < len(wires):
        n = rng.choice([1, 1, 2, 3, 20])
        while i + n < len(wires) and len(wires[i + n - 1]) <= 16:
            n += 1  # a malformed packet tells no time, so it is not the last of its burst
        bursts.append(Burst(i * 0.02, wires[i : i + n]))
        i += n
    return bursts


def packed(packets: list[bytes], code: str = "q") -> tuple[bytes, array[int]]:
    """One buffer and where the packets are in it."""
    offsets = array(code, [0])
    for wire in packets:
        offsets.append(offsets[-1] + len(wire))
    return b"".join(packets), offsets


def drained(receiver: Receiver, room: int) -> Iterator[bytes]:
    """What the receiver has ready, through a buffer of so many frames."""
    out = array("h", bytes(2 * room * receiver.frame_samples * receiver.n_channels))
    while n := receiver.read_into(out):
        yield out[: n * receiver.n_channels].tobytes()


def told(receiver: Receiver) -> tuple[object, ...]:
    """All that it says about the stream, but for how long packets waited: that depends on when it was asked last."""
    stats = dataclasses.replace(receiver.stats(), jitter_buffer_delay=0.0, jitter_buffer_target_delay=0.0)
    return stats, receiver.holes(), receiver.last_refusal, receiver.position, receiver.silent


def one_by_one(bursts: list[Burst], form: dict[str, object]) -> tuple[bytes, tuple[object, ...]]:
    """The reference: one packet a call, frames as objects."""
    receiver = Receiver(**form)  # type: ignore[arg-type]
    audio = []
    for burst in bursts:
        for wire in burst.packets:
            receiver.push(wire, burst.now)
        audio += [bytes(frame.pcm) for frame in receiver.frames(burst.now)]
    receiver.flush()
    audio += [bytes(frame.pcm) for frame in receiver.frames(9.0)]
    return b"".join(audio), told(receiver)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from(FORMS), st.randoms(use_true_random=False))
def test_every_call_form_gives_the_same(seed: int, form: dict[str, object], rng: random.Random) -> None:
    bursts = stream(seed, form)
    expected = one_by_one(bursts, form)
    receiver = Receiver(**form)  # type: ignore[arg-type]
    room = 8 * 64 * receiver.frame_samples * receiver.n_channels
    out = array("h", bytes(2 * room))
    audio: list[bytes] = []
    for now, packets in bursts:
        while packets:
            n = rng.randint(1, len(packets))
            some, packets = packets[:n], packets[n:]
            how = rng.randrange(6)
            if how == 0:
                receiver.push_many(some, now)
            elif how == 1:
                receiver.push_many((bytearray(wire) if i % 2 else wire for i, wire in enumerate(some)), now)
            elif how == 2:
                receiver.push_buffer(*packed(some, rng.choice("iq")), now)
            elif how == 3:
                buffer, offsets = packed(some)
                receiver.push_buffer(np.frombuffer(buffer, np.uint8), np.array(offsets, np.int32), now)
            elif how == 4:
                for wire in some:
                    n_samples = receiver.push_into(wire, now, out)
                    audio.append(out[: n_samples * receiver.n_channels].tobytes())
            else:
                for wire in some:
                    receiver.push(memoryview(wire), now)
        if rng.random() < 0.5:
            audio += drained(receiver, rng.randint(1, 3))
        elif rng.random() < 0.5:
            audio += [bytes(frame.pcm) for frame in receiver.frames(now)]
    receiver.flush()
    audio += drained(receiver, rng.randint(1, 9))
    assert (b"".join(audio), told(receiver)) == expected


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from(FORMS), st.sampled_from([1, 2, 3]))
def test_a_bank_of_any_threads_gives_the_same(seed: int, form: dict[str, object], threads: int) -> None:
    n = 7
    rng = random.Random(seed)
    streams = [stream(seed + i, form, 50) for i in range(n)]
    bank = ReceiverBank(n, threads=threads, **form)
    width = bank[0].n_channels
    rows = np.zeros((n, rng.choice([1, 2, 100]) * FRAME * width), np.int16)
    counts = np.zeros(n, rng.choice([np.int32, np.int64]))
    audio: list[list[bytes]] = [[] for _ in range(n)]

    def keep() -> None:
        for i in range(n):
            audio[i].append(rows[i, : counts[i] * width].tobytes())

    for step in range(max(map(len, streams))):
        queues = [list(bursts[step].packets) if step < len(bursts) else [] for bursts in streams]
        indices, packets = array(rng.choice("iq")), []
        while any(queues):
            i = rng.choice([i for i in range(n) if queues[i]])
            indices.append(i)
            packets.append(queues[i].pop(0))
        now = max(bursts[min(step, len(bursts) - 1)].now for bursts in streams)
        for i in range(n):  # the reference sees the same times
            if step < len(streams[i]):
                streams[i][step] = Burst(now, streams[i][step].packets)
        if rng.random() < 0.8:
            bank.push(indices, *packed(packets), now, rows, counts)
            keep()
        else:
            bank.push(indices, *packed(packets), now)
    for i in range(n):
        bank[i].flush()
    while True:
        bank.read(99.0, rows, counts)
        if not counts.any():
            break
        keep()
    for i in range(n):
        assert (b"".join(audio[i]), told(bank[i])) == one_by_one(streams[i], form), f"receiver {i}"


@pytest.mark.parametrize("order", [[5, 4, 3], [3, 5, 4], [5, 3, 4], [4, 5, 3]])
def test_the_first_packets_may_arrive_in_any_order(order: list[int]) -> None:
    receiver = Receiver("L16LE")
    frames: list[Frame] = []
    for i, number in enumerate([*order, *range(6, 12)]):
        receiver.push(packet(number, 20 * number, number.to_bytes(2, "little") * FRAME), i * 0.02)
        frames += receiver.frames(i * 0.02)
    receiver.flush()
    frames += receiver.frames(1.0)
    assert [frame.raw[0] for frame in frames] == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert receiver.holes() == []


def test_a_ring_that_had_to_grow_keeps_what_waits() -> None:
    receiver = Receiver(jitter=JitterConfig(slots=256, base_depth=100, max_depth=128, max_hold_ms=60_000))
    payloads = [random.Random(i).randbytes(FRAME) for i in range(200)]
    for i, payload in enumerate(payloads):
        if i != 50:
            receiver.push(packet(i, 20 * i, payload), 0.0)
    receiver.flush()
    whole = Receiver()
    for i, payload in enumerate(payloads):
        whole.push(packet(i, 20 * i, payload), i * 0.02)
    whole.flush()
    pairs = list(zip(receiver.frames(0.0), whole.frames(9.0), strict=True))
    assert [i for i, (a, b) in enumerate(pairs) if bytes(a.raw) != bytes(b.raw)] == [50]


def test_what_does_not_fit_waits_for_the_next_call() -> None:
    receiver = Receiver(n_channels=2)
    receiver.push_many([packet(i, 20 * i, b"\x80" * 2 * FRAME) for i in range(10)], 0.0)
    receiver.flush()
    out = array("h", bytes(2 * 7 * FRAME))  # three frames of two channels, and half of a fourth
    assert [receiver.read_into(out) for _ in range(5)] == [3 * FRAME, 3 * FRAME, 3 * FRAME, FRAME, 0]
    assert out[6 * FRAME :] == array("h", bytes(2 * FRAME))


def test_verdict_and_level_of_what_was_read() -> None:
    receiver = Receiver("L16LE", jitter=JitterConfig(base_depth=1, min_depth=1))
    out = bytearray(2 * FRAME)
    assert receiver.silent
    assert receiver.push_into(packet(0, 0, b"\x00\x40" * FRAME), 0.0, out) == FRAME
    assert out == b"\x00\x40" * FRAME
    assert not receiver.silent
    assert receiver.level_dbov == pytest.approx(-6.0206, abs=1e-4)


def test_buffers_of_the_wrong_kind_are_refused_before_anything_is_taken() -> None:
    receiver = Receiver()
    wire = packet(0, 0, b"\xff" * FRAME)
    with pytest.raises(TypeError, match="out must be a writable C-contiguous buffer of int16, not bytes"):
        receiver.push_into(wire, 0.0, bytes(2 * FRAME))
    with pytest.raises(TypeError, match="out must hold int16 samples"):
        receiver.push_into(wire, 0.0, np.zeros(FRAME, np.float64))
    with pytest.raises(ValueError, match="out has room for 159 samples, one frame takes 160"):
        receiver.push_into(wire, 0.0, bytearray(2 * FRAME - 2))
    with pytest.raises(TypeError, match="offsets must hold aligned int32 or int64, not items of format 'h'"):
        receiver.push_buffer(wire, array("h", [0, 176]), 0.0)
    with pytest.raises(TypeError, match="offsets must be a C-contiguous buffer of int32 or int64, not list"):
        receiver.push_buffer(wire, [0, 176], 0.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"offsets\[2\] is 10, not in \[176, 176\]"):
        receiver.push_buffer(wire, array("i", [0, 176, 10]), 0.0)
    with pytest.raises(ValueError, match=r"offsets\[0\] is -1, not in \[0, 176\]"):
        receiver.push_buffer(wire, array("i", [-1, 176]), 0.0)
    assert receiver.stats().packets_received == 0
    assert receiver.push_buffer(wire, array("i", [0]), 0.0) == receiver.push_buffer(b"", array("q"), 0.0) == 0
    with pytest.raises(TypeError, match="packet must be bytes or a C-contiguous buffer, not int"):
        receiver.push_many([wire, 3], 0.0)  # type: ignore[list-item]
    assert receiver.stats().packets_received == 1


def test_frames_left_between_two_channels_cannot_go_into_a_buffer() -> None:
    receiver = Receiver(n_channels=2)
    receiver.push(packet(0, 0, b"\xff" * 2 * FRAME), 0.0)
    receiver.flush()
    frames = receiver.frames(0.0)
    assert next(frames).channel == 0
    with pytest.raises(StateError, match="up to channel 1 of 2"):
        receiver.read_into(bytearray(4 * FRAME))
    assert next(frames).channel == 1
    assert receiver.read_into(bytearray(4 * FRAME)) == 0
    assert list(frames) == []


def test_a_bank_refuses_what_does_not_fit_it() -> None:
    bank = ReceiverBank(3)
    wire = packet(0, 0, b"\xff" * FRAME)
    one, rows, counts = array("q", [0, 176]), np.zeros((3, FRAME), np.int16), np.zeros(3, np.int32)
    assert (len(bank), bank.n_threads) == (3, 1)
    with pytest.raises(ValueError, match=r"indices\[0\] is 3, not in \[0, 2\]"):
        bank.push(array("i", [3]), wire, one, 0.0)
    with pytest.raises(ValueError, match="offsets has 2 items, 2 packets take 3"):
        bank.push(array("i", [0, 1]), wire, one, 0.0)
    with pytest.raises(TypeError, match="out and counts go together"):
        bank.push(array("i", [0]), wire, one, 0.0, rows)
    with pytest.raises(ValueError, match="out has room for 159 samples of each receiver, one frame takes 160"):
        bank.push(array("i", [0]), wire, one, 0.0, rows[:, :159].copy(), counts)
    with pytest.raises(ValueError, match="counts has 2 items, the bank 3 receivers"):
        bank.read(0.0, rows, counts[:2])
    bank[1].flush()
    with pytest.raises(StateError, match="receiver 1 was flushed"):
        bank.push(array("i", [1]), wire, one, 0.0)
    assert all(bank[i].stats().packets_received == 0 for i in range(3))
    for settings_, says in [({"n": 0}, "n is 0"), ({"n": 1, "threads": 0}, "threads is 0")]:
        with pytest.raises(ConfigError, match=says):
            ReceiverBank(**settings_)
    with pytest.raises(ConfigError, match="layout is 'auto'"):
        ReceiverBank(1, layout="auto")
    lasting = bank[0]
    del bank
    assert lasting.push(wire, 0.0) == 0


def test_a_receiver_at_work_refuses_other_threads() -> None:
    receiver = Receiver(gate=GateConfig(), max_ready_s=3600)
    wires = [packet(i, 20 * i, bytes(FRAME)) for i in range(60_000)]
    buffer, offsets = packed(wires)
    refused = []
    work = threading.Thread(target=receiver.push_buffer, args=(buffer, offsets, 0.0))
    work.start()
    while work.is_alive():
        try:
            receiver.push(wires[0], 0.0)
        except StateError as error:
            refused.append(str(error))
    work.join()
    assert all("in another thread" in says for says in refused)
    assert receiver.stats().packets_received >= len(wires)
