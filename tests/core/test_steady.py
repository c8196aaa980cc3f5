"""Long even stretches, broken now and then: whichever way packets go in and frames come out, all of it is the same."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import (
    CompressorConfig,
    Frame,
    GateConfig,
    Hole,
    JitterConfig,
    Receiver,
    ReceiverBank,
    Stats,
    parse_header,
)

from .packets import FULL, packet

N = 160  # samples of a packet: 20 ms at 8 kHz
EVENTS = ["lost", "gap", "twice", "late", "early", "idle", "long", "short"]
EVENTS += ["wild", "far", "doubt", "pause", "restart", "clock", "hold"]


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[int, str]]:
    """Runs of packets that go on from one another, each with what happens after it."""
    runs = st.tuples(st.one_of(st.integers(0, 12), st.integers(13, 150)), st.sampled_from(EVENTS))
    first, last = draw(st.sampled_from([5, 15, 30, 70])), draw(st.integers(0, 80))
    return [(first, "none"), *draw(st.lists(runs, max_size=8)), (last, "none")]


def told(story: list[tuple[int, str]], seed: int) -> Iterator[tuple[str, bytes, float]]:
    """What arrives, or is asked for, and when."""
    rng = random.Random(seed)
    number, timestamp = rng.choice((0, FULL - 100, 7)), rng.choice((0, 1_700_000_000_000))
    now = 0.0
    for length, event in story:
        for _ in range(length):
            yield "push", packet(number, timestamp, rng.randbytes(N)), now
            number, timestamp, now = number + 1, timestamp + 20, now + 0.02 + rng.choice((0.0, 0.001, -0.001))
        following = packet(number, timestamp, rng.randbytes(N))
        if event == "lost":
            number, timestamp = number + 1, timestamp + 20
        elif event == "gap":
            number, timestamp = number + 200, timestamp + 4000
        elif event == "twice":
            yield "push", following, now
            yield "push", following, now
            number, timestamp = number + 1, timestamp + 20
        elif event in ("late", "early"):
            for step in (1, 2, 3, 0) if event == "late" else (1, 0):
                yield "push", packet(number + step, timestamp + 20 * step, rng.randbytes(N)), now
            number, timestamp = (number + 4, timestamp + 80) if event == "late" else (number + 2, timestamp + 40)
        elif event == "idle":
            timestamp += 1234
            now += rng.choice((0.0, 1.234))
        elif event in ("long", "short"):
            yield "push", packet(number, timestamp, rng.randbytes(2 * N if event == "long" else N // 2)), now
            number, timestamp = number + 1, timestamp + (40 if event == "long" else 10)
        elif event == "wild":
            yield "push", packet(number, rng.choice((-(1 << 63), (1 << 63) - 1, 5)), rng.randbytes(N)), now
            number, timestamp = number + 1, timestamp + 20
        elif event == "far":
            yield "push", packet(number + FULL // 2, timestamp, rng.randbytes(N)), now
        elif event == "doubt":
            yield "push", packet(number + FULL // 2, timestamp, rng.randbytes(N)), now
            yield "push", following, now
            yield "push", packet(number + FULL // 2 + 1, timestamp + 20, rng.randbytes(N)), now
            number, timestamp = number + 1, timestamp + 20
        elif event in ("pause", "restart"):
            yield event, b"", now
            if event == "pause":
                yield "push", following, now
                yield "resume", b"", now
                number, timestamp = number + 1, timestamp + 20
        elif event == "clock":
            now -= 3.0
        elif event == "hold":
            now += 2.5


Seen = tuple[int, bytes, bytes, bool, int, float, float]
Outcome = tuple[list[Seen], list[Hole], Stats]


def seen(frame: Frame) -> Seen:
    pcm, raw = bytes(frame.pcm), bytes(frame.raw)
    return frame.position, pcm, raw, frame.silent, frame.concealed_samples, frame.level_dbov, frame.peak_dbov


def outcome(receiver: Receiver, frames: list[Frame], end: float) -> Outcome:
    receiver.flush()
    frames += receiver.frames(end)
    stats = receiver.stats()
    assert stats.balanced, stats.identity()
    assert stats.packets_buffered == 0
    return [seen(frame) for frame in frames], receiver.holes(), replace(stats, bytes_received=0)


def one_by_one(receiver: Receiver, steps: list[tuple[str, bytes, float]], apart: bool, asked: float) -> Outcome:
    """Take frames after each packet; header and audio apart, or together; ask now and then what is known."""
    frames: list[Frame] = []
    rng = random.Random(1)
    for kind, wire, now in steps:
        if kind != "push":
            getattr(receiver, kind)()
            continue
        if apart:
            header = parse_header(wire)
            audio = wire[header.payload_offset :]
            ready = receiver.push_media(header.sequence_number, header.timestamp, audio, now)
        else:
            ready = receiver.push(wire, now)
        if rng.random() < asked:
            stats = receiver.stats()
            assert stats.balanced, stats.identity()
            receiver.position_at(0)
        taken = list(receiver.frames(now))
        assert len(taken) == ready
        frames += taken
        if taken:
            assert receiver.position == taken[-1].position + taken[-1].n_samples
            assert (receiver.silent, receiver.level_dbov) == (taken[-1].silent, taken[-1].level_dbov)
    return outcome(receiver, frames, steps[-1][2])


CONFIGS = [
    JitterConfig(),
    JitterConfig(base_depth=3),
    JitterConfig(base_depth=7, slots=32, max_depth=16, dwell_packets=5),
    JitterConfig(base_depth=4, lower_loss=0.0, raise_loss=0.01, dwell_packets=3),
    JitterConfig(base_depth=2, min_depth=2),
]

# Nothing, or what holds frames back: a frame, half of one, six milliseconds; a gate may come before.
CLEANERS: list[dict[str, Any]] = [
    {},
    {"gate": GateConfig()},
    {"gate": GateConfig(), "compressor": CompressorConfig(lookahead_s=0.0)},
    {"compressor": CompressorConfig(lookahead_s=0.02)},
    {"gate": GateConfig(low_delay=True)},
    {"gate": GateConfig(kind="sample"), "compressor": CompressorConfig()},
]


@settings(max_examples=100, deadline=None)
@given(
    stories(), st.integers(0, 99), st.sampled_from(CONFIGS), st.sampled_from(["repeat", "silence"]),
    st.sampled_from(["PCMU", "PCMA"]), st.sampled_from(CLEANERS),
)  # fmt: skip
def test_any_way_in_and_out_gives_the_same(
    story: list[tuple[int, str]],
    seed: int,
    jitter: JitterConfig,
    conceal: str,
    encoding: str,
    cleaners: dict[str, Any],
) -> None:
    steps = list(told(story, seed))

    def make() -> Receiver:
        return Receiver(encoding, jitter=jitter, conceal=conceal, **cleaners)

    expected = one_by_one(make(), steps, apart=True, asked=1.0)  # so that no stretch counts as steady
    assert one_by_one(make(), steps, apart=False, asked=0.0) == expected
    assert one_by_one(make(), steps, apart=False, asked=0.1) == expected

    into, room, heard = make(), bytearray(64 * 2 * N), b""
    for kind, wire, now in steps:
        if kind == "push":
            heard += room[: 2 * into.push_into(wire, now, room)]
        else:
            getattr(into, kind)()
    frames, holes, stats = outcome(into, [], steps[-1][2])
    assert heard + b"".join(pcm for _, pcm, *_ in frames) == b"".join(pcm for _, pcm, *_ in expected[0])
    assert (holes, stats) == expected[1:]


@pytest.mark.parametrize("late", [2, 18, 30, 44, 49, 50, 51])
def test_a_loss_and_a_late_packet_do_not_make_a_young_stream_even(late: int) -> None:
    """By number and span the timestamps look even then: one is missing, and the last one is not the newest."""
    order = [i for i in range(90) if i != 1]
    order[late : late + 2] = reversed(order[late : late + 2])
    steps = [("push", packet(i, 20 * i, bytes([i]) * N), 0.02 * at) for at, i in enumerate(order)]
    expected = one_by_one(Receiver(), steps, apart=True, asked=1.0)
    assert one_by_one(Receiver(), steps, apart=False, asked=0.0) == expected


@settings(max_examples=40, deadline=None)
@given(stories(), st.integers(0, 99), st.integers(2, 60), st.sampled_from(CONFIGS), st.sampled_from(CLEANERS))
def test_batches_give_what_their_packets_give(
    story: list[tuple[int, str]], seed: int, size: int, jitter: JitterConfig, cleaners: dict[str, Any]
) -> None:
    """The same frames, holes and counters, though frames are taken behind each batch alone."""
    # One time for all packets of a batch, as it is told one alone; no event but those that packets make.
    wires = [wire for kind, wire, _ in told(story, seed) if kind == "push"]
    many, single, media = (Receiver(jitter=jitter, **cleaners) for _ in range(3))
    outcomes: list[Outcome] = []
    for receiver in (many, single, media):
        frames: list[Frame] = []
        for at in range(0, len(wires), size):
            batch, now = wires[at : at + size], 0.02 * at
            if receiver is many:
                receiver.push_many(batch, now)
            for wire in batch if receiver is not many else ():
                header = parse_header(wire)
                if receiver is single:
                    receiver.push(wire, now)
                else:
                    receiver.push_media(header.sequence_number, header.timestamp, wire[header.payload_offset :], now)
            if receiver is media:
                receiver.stats()
            frames += receiver.frames(now)
        outcomes.append(outcome(receiver, frames, 0.02 * len(wires)))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("cleaners", [{}, {"gate": GateConfig()}], ids=["plain", "gate"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_bank_gives_what_its_receivers_give(threads: int, cleaners: dict[str, Any]) -> None:
    rng = random.Random(5)
    story = [(90, "lost"), (60, "twice"), (70, "late"), (130, "gap"), (80, "long"), (60, "none")]
    wires = [[wire for kind, wire, _ in told(story, seed) if kind == "push"] for seed in range(5)]
    n_samples = 4 * N
    bank, alone = ReceiverBank(5, threads=threads, **cleaners), [Receiver(**cleaners) for _ in range(5)]
    heard, expected = [b""] * 5, [b""] * 5
    places = [0] * 5
    room, counts = array("h", bytes(2 * 5 * n_samples)), array("i", bytes(20))
    now = 0.0
    while any(place < len(stream) for place, stream in zip(places, wires, strict=True)):
        now += 0.02
        turn = [i for i in range(5) if places[i] < len(wires[i]) and rng.random() < 0.9]
        batch = [wires[i][places[i]] for i in turn]
        ends = [0]
        for wire in batch:
            ends.append(ends[-1] + len(wire))
        bank.push(array("i", turn), b"".join(batch), array("q", ends), now, room, counts)
        for i, wire in zip(turn, batch, strict=True):
            places[i] += 1
            heard[i] += room[i * n_samples : i * n_samples + counts[i]].tobytes()
            out = bytearray(2 * n_samples)
            expected[i] += out[: 2 * alone[i].push_into(wire, now, out)]
    assert heard == expected
    for i, receiver in enumerate(alone):
        assert bank[i].stats() == receiver.stats()
        assert bank[i].holes() == receiver.holes()


def test_streams_come_and_go_and_change_their_order() -> None:
    """Many streams pushed in turn, as long as they live: each gives what it gives alone."""
    rng = random.Random(9)
    wires = [wire for kind, wire, _ in told([(70, "lost"), (20, "none")], 3) if kind == "push"]
    room = bytearray(2 * N * 4)
    alone = Receiver()
    expected = [bytes(room[: 2 * alone.push_into(wire, 0.02 * i, room)]) for i, wire in enumerate(wires)]
    streams = [(Receiver(), 0) for _ in range(250)]
    n_ended = 0
    while streams:
        if rng.random() < 0.3:
            rng.shuffle(streams)
        for i, (receiver, place) in enumerate(streams):
            assert room[: 2 * receiver.push_into(wires[place], 0.02 * place, room)] == expected[place]
            streams[i] = receiver, place + 1
        n_before = len(streams)
        streams = [(r, place) for r, place in streams if place < len(wires) and rng.random() > 0.02]
        n_ended += n_before - len(streams)
        if n_ended < 500:
            streams += [(Receiver(), 0) for _ in range(n_before - len(streams))]
    assert n_ended >= 500
