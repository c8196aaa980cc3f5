"""A day of packets with stalls, bursts, pauses, reconnects and clocks that drift: the recording is as long as the call.

Time is an argument, so a day takes seconds.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gcmedia import JitterConfig, Receiver
from gcmedia.record import WavJournal, wav_info

HOURS = float(os.environ.get("GCMEDIA_LONG_CALL_HOURS", "24"))
RATE, FRAME, PACKET_MS = 8000, 160, 20


@dataclass
class Step:
    """What the network brings: a packet, or something else that happens, at a time of our clock."""

    now: float
    kind: str  # packet, said, pause, resume, lost
    number: int = 0
    timestamp: int = 0


def network(seed: int, drift_ppm: float, hours: float, stamped_ppm: float) -> Iterator[Step]:
    """A sender whose clock runs fast or slow against ours, over a network with bad moments.

    Its timestamps may come from another clock than its samples, and drift against them.

    Packets are late by up to 40 ms, always, so some change places; every ten minutes or so the network stalls for up
    to 5 s, then brings all at once; every half hour the call is paused for up to a minute; every hour the connection
    is lost for up to 20 s, and the sender, who has gone on, begins a new sequence.
    """
    rng = random.Random(seed)
    scale, stamped = 1.0 + drift_ppm * 1e-6, 1.0 + stamped_ppm * 1e-6
    n_packets = int(hours * 3600 * 50)
    first, number = 1_000_000_007, 0  # of the timestamps, in ms
    stall_from = stall_until = gone_until = paused_until = 0.0
    paused = gone = False
    next_stall, next_pause, next_loss = 300.0, 1200.0, 2700.0
    held: list[Step] = []
    for index in range(n_packets):
        sent = index * PACKET_MS / 1000 * scale
        timestamp = first + round(index * PACKET_MS * stamped)
        if sent >= next_stall:
            stall_from, stall_until = sent, sent + rng.uniform(0.2, 5.0)
            next_stall = sent + rng.uniform(300.0, 900.0)
        if sent >= next_loss and not paused:
            gone, gone_until = True, sent + rng.uniform(1.0, 20.0)
            next_loss = sent + rng.uniform(3000.0, 4200.0)
            yield from held
            held.clear()
            yield Step(sent, "lost")
            number = rng.randrange(2**31)
        if gone:
            if sent < gone_until:
                continue  # nobody hears it
            gone = False
        if sent >= next_pause:
            paused, paused_until = True, sent + rng.uniform(1.0, 60.0)
            next_pause = sent + rng.uniform(1200.0, 2400.0)
            yield Step(sent, "pause")
        if paused and sent >= paused_until:
            paused = False
            yield Step(sent, "resume")
        arrival = stall_until if stall_from <= sent < stall_until else sent + rng.random() * 0.04
        held.append(Step(arrival, "packet", number % 2**32, timestamp))
        number += 1
        if index % 997 == 0:
            ago_ms = rng.randrange(-PACKET_MS, 3000)
            held.append(Step(arrival + 0.5, "said", index * FRAME - ago_ms * RATE // 1000, timestamp - ago_ms))
        if index % 50 == 0:
            held.sort(key=lambda step: step.now)
            due = [step for step in held if step.now <= sent - 0.1]
            yield from due
            held = held[len(due) :]
    held.sort(key=lambda step: step.now)
    yield from held
    yield Step(n_packets * PACKET_MS / 1000 * scale + 1.0, "end", n_packets, first)


def record(path: Path, seed: int, drift_ppm: float, hours: float, stamped_ppm: float = 0.0) -> None:
    receiver = Receiver(jitter=JitterConfig(policy="adaptive"))
    out = bytearray(2 * FRAME * 50 * 60)
    payload = bytes((0x10,)) * FRAME
    said = worst = 0
    events = dict.fromkeys(("lost", "pause", "resume"), 0)
    with WavJournal(path) as journal:
        for n, step in enumerate(network(seed, drift_ppm, hours, stamped_ppm)):
            if step.kind == "packet":
                receiver.push_media(step.number, step.timestamp, payload, step.now)
            elif step.kind == "said":
                position = receiver.position_at(step.timestamp)
                if step.number >= 0:
                    assert position is not None
                    worst = max(worst, abs(position - step.number))
                    said += 1
            elif step.kind == "end":
                total = step.number * FRAME
                receiver.flush()
            else:
                events[step.kind] += 1
                {"lost": receiver.restart, "pause": receiver.pause, "resume": receiver.resume}[step.kind]()
            if n % 64 == 0 or step.kind == "end":
                while n_samples := receiver.read_into(out, step.now):
                    journal.append(memoryview(out)[: 2 * n_samples], step.now)
                receiver.holes()
    stats = receiver.stats()
    assert stats.balanced
    assert all(count >= int(hours * 0.7) > 0 for count in events.values()), events
    recorded = wav_info(path).n_samples
    path.unlink()
    assert recorded == stats.total_samples
    # Of a time without packets only the timestamps tell; where they drift against the samples, by so much of it.
    drifted = 20 * RATE * abs(stamped_ppm) * 1e-6 * events["lost"]
    assert abs(recorded - total) <= FRAME + drifted, f"{recorded - total} samples off after {hours} h"
    assert said >= hours * 150
    assert worst <= FRAME + drifted, f"a transcript {worst} samples off"


@pytest.mark.parametrize(("drift_ppm", "stamped_ppm"), [(-200.0, 0.0), (200.0, 0.0), (0.0, 200.0), (200.0, -200.0)])
def test_an_hour_and_a_half_is_that_long(drift_ppm: float, stamped_ppm: float, tmp_path: Path) -> None:
    record(tmp_path / "call.wav", 1, drift_ppm, 1.5, stamped_ppm)


@pytest.mark.slow
@pytest.mark.parametrize(("drift_ppm", "stamped_ppm"), [(-200.0, 0.0), (200.0, 200.0)])
def test_a_day_is_a_day(drift_ppm: float, stamped_ppm: float, tmp_path: Path) -> None:
    record(tmp_path / "call.wav", 2, drift_ppm, HOURS, stamped_ppm)
