"""Run a capture against the simulator, and what the truth says that it must have found."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from numpy.typing import NDArray

from gcmedia import Frame, GcmediaError, Hole, JitterConfig, Stats, Transcript
from gcmedia.auth import Credentials
from gcmedia.capture import Capture, capture
from gcmedia.clock import Clock
from gcmedia.config import PlatformMediaConfig
from gcmedia.record.timeline import Timeline
from gcmedia.simulator import Call, Faults, Record, Simulator, Truth
from tests.clocks import HurriedClock

CONVERSATION = "conv"
SPEED = 500.0  # of the client's clock: a back-off of a second takes 2 ms

#: Nothing here may depend on when a packet comes.
UNHURRIED = JitterConfig(max_hold_ms=math.inf)


BACKENDS = ("asyncio", "trio")


def by_turns(name: str, values: Iterable[object]) -> pytest.MarkDecorator:
    """Parametrise over values, each on one async backend, the next one on the other: half the time of all on both."""
    return pytest.mark.parametrize(
        (name, "anyio_backend"), [(value, BACKENDS[turn % 2]) for turn, value in enumerate(values)]
    )


def patient(speed: float = SPEED, **settings: Any) -> PlatformMediaConfig:
    """A profile none of whose timers goes off on a clock that hurries, but for those that are given."""
    timers = ("open_timeout_s", "ack_timeout_s", "idle_timeout_s", "ping_interval_s", "pong_timeout_s")
    defaults: dict[str, Any] = dict.fromkeys(timers, 60.0 * speed) | {"metrics_period_s": 20.0 * speed}
    return PlatformMediaConfig(**{"format": "pcmu", "sample_rate": 8000, "n_channels": 2, **defaults, **settings})


class NotingClock(Clock):
    """Its waits take no time and are noted; timeouts are real."""

    METRICS_S = 777.0  # the period of the metrics, not a wait for anything

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._ahead = 0.0

    def now(self) -> float:
        return super().now() + self._ahead

    async def sleep(self, seconds: float) -> None:
        if seconds == self.METRICS_S:
            await anyio.sleep_forever()
        self.slept.append(seconds)
        self._ahead += seconds
        await anyio.lowlevel.checkpoint()


def unhurried(**settings: Any) -> PlatformMediaConfig:
    """A profile for a `NotingClock`."""
    return patient(1.0, metrics_period_s=NotingClock.METRICS_S, **settings)


def credentials(cloud: Simulator) -> Credentials:
    return Credentials(cloud.client_id, cloud.client_secret, cloud.base_url)


@dataclass
class Run:
    """What came of a capture, and what was sent."""

    call: Capture
    stats: Stats
    truth: Truth
    records: tuple[Record, ...]
    cloud: Simulator
    frames: list[Frame] = field(default_factory=list)
    transcripts: list[Transcript] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)  # as the recording lists them
    error: GcmediaError | None = None

    @property
    def listed(self) -> list[tuple[int, int]]:
        """The holes of the recording whatever their cause, neighbours as one."""
        return merged(self.holes)

    @property
    def events(self) -> list[str]:
        return [event["kind"] for event in self.call.events]

    def raw(self, channel: int) -> NDArray[np.int16]:
        """All frames of a channel, one after the other; fails if they are not contiguous."""
        frames = [frame for frame in self.frames if frame.channel == channel]
        position = 0
        for frame in frames:
            assert frame.position == position
            position += frame.n_samples
        return np.concatenate([np.frombuffer(frame.raw, np.int16) for frame in frames])


async def run(
    call: Call,
    faults: Faults | None = None,
    *,
    profile: PlatformMediaConfig | None = None,
    clock: Clock | None = None,
    speed: float | None = None,
    layout: str = "padded16",
    ack: str = "detailed",
    folder: Path | None = None,
    on_frame: Callable[[Frame], object] | None = None,
    **options: Any,
) -> Run:
    """Capture a call from its beginning to its end."""
    frames: list[Frame] = []
    transcripts: list[Transcript] = []
    error: GcmediaError | None = None
    options = {"overflow": "wait", "jitter": UNHURRIED, "rng": random.Random(1), **options}
    async with Simulator({CONVERSATION: call}, faults, speed=speed, layout=layout, ack=ack) as cloud:
        live = capture(
            CONVERSATION,
            credentials=credentials(cloud),
            profile=profile or patient(),
            clock=clock or HurriedClock(SPEED),
            folder=folder,
            **options,
        )
        try:
            async with live:
                async for frame in live:
                    frames.append(frame)
                    if on_frame is not None:
                        on_frame(frame)
        except GcmediaError as caught:
            error = caught
        transcripts += [transcript async for transcript in live.transcripts]
        assert cloud.journal.failures == 0
        assert cloud.journal.dropped == 0
        return Run(
            live,
            live.stats(),
            cloud.truth(CONVERSATION) if CONVERSATION in cloud.conversations else None,  # type: ignore[arg-type]
            cloud.journal.records,
            cloud,
            frames,
            transcripts,
            [] if folder is None else Timeline.load(folder / "timeline.json").holes,
            error,
        )


def sent_slots(run: Run, packet_ms: int = 20) -> set[int]:
    """Packets that were sent, by their place in the call; for calls whose timestamps do not jump."""
    start = run.truth.start_timestamp_ms
    return {(record.timestamp - start) // packet_ms for record in run.records if record.kind == "packet"}  # type: ignore[operator]


def missing_runs(run: Run, packet_ms: int = 20) -> list[tuple[int, int]]:
    """Where nothing was sent: position and length in samples of the capture's rate."""
    rate = run.call.format.sample_rate
    size = rate * packet_ms // 1000
    sent = sent_slots(run, packet_ms)
    found: list[tuple[int, int]] = []
    for slot in range(run.truth.duration_ms // packet_ms):
        if slot in sent:
            continue
        position = slot * size
        if found and found[-1][0] + found[-1][1] == position:
            found[-1] = (found[-1][0], found[-1][1] + size)
        else:
            found.append((position, size))
    return found


def merged(holes: Iterable[Hole]) -> list[tuple[int, int]]:
    """Holes whatever their cause, neighbours as one."""
    found: list[tuple[int, int]] = []
    for hole in sorted(holes, key=lambda hole: hole.position):
        if found and found[-1][0] + found[-1][1] == hole.position:
            found[-1] = (found[-1][0], found[-1][1] + hole.n_samples)
        else:
            found.append((hole.position, hole.n_samples))
    return found
