"""Capture interactions of a simulated cloud, and what its journal says that must have been found."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gcmedia import GcmediaError, JitterConfig, MediaStreams, MediaStreamsConfig, capture_streams
from gcmedia.auth import Credentials
from gcmedia.media_streams import MediaFrame
from gcmedia.simulator import Call, Faults, Simulator, StreamsPlan
from tests.clocks import HurriedClock

SPEED = 50.0  # of the client's clock: a back-off of a second takes 20 ms

#: Nothing here may depend on when a packet comes.
UNHURRIED = JitterConfig(max_hold_ms=math.inf)


def patient(speed: float = SPEED, **settings: Any) -> MediaStreamsConfig:
    """A profile none of whose timers goes off on a clock that hurries, but for those that are given."""
    timers = (
        "open_timeout_s",
        "ack_timeout_s",
        "idle_timeout_s",
        "ping_interval_s",
        "pong_timeout_s",
        "check_timeout_s",
    )
    defaults: dict[str, Any] = dict.fromkeys(timers, 60.0 * speed) | {"throughput_period_s": 20.0 * speed}
    return MediaStreamsConfig(**{**defaults, **settings})


def credentials(cloud: Simulator) -> Credentials:
    return Credentials(cloud.client_id, cloud.client_secret, cloud.base_url)


def interactions(count: int) -> list[str]:
    return [f"interaction-{number}" for number in range(count)]


@asynccontextmanager
async def clouded(
    calls: Call | dict[str, Call],
    faults: Faults | None = None,
    plan: StreamsPlan | None = None,
    *,
    speed: float | None = None,
) -> AsyncIterator[Simulator]:
    """A cloud that tells everything and sends as fast as it is read."""
    plan = plan or StreamsPlan(replies="full")
    async with Simulator(calls, faults, speed=speed, media_streams=plan, journal_limit=1_000_000) as cloud:
        yield cloud
        assert cloud.journal.failures == 0
        assert cloud.journal.dropped == 0


def capturing(cloud: Simulator, names: Iterable[str], **options: Any) -> MediaStreams:
    defaults: dict[str, Any] = {
        "credentials": credentials(cloud),
        "profile": patient(),
        "clock": HurriedClock(SPEED),
        "jitter": UNHURRIED,
        "include_silence": True,
        "overflow": "wait",
        "rng": random.Random(1),
    }
    return capture_streams(names, **{**defaults, **options})


@dataclass
class Run:
    """What came of a capture, and who sent it."""

    streams: MediaStreams
    cloud: Simulator
    frames: dict[str, list[MediaFrame]] = field(default_factory=dict)
    error: GcmediaError | None = None

    def pcm(self, name: str) -> bytes:
        """The samples of an interaction; fails if its frames are not contiguous."""
        position, pieces = 0, []
        for frame in self.frames.get(name, []):
            assert frame.position == position
            piece = bytes(frame.payload)
            position += len(piece) // 2
            pieces.append(piece)
        return b"".join(pieces)


async def run(
    names: list[str],
    calls: Call | dict[str, Call],
    faults: Faults | None = None,
    plan: StreamsPlan | None = None,
    *,
    speed: float | None = None,
    **options: Any,
) -> Run:
    """Capture interactions from their beginning to their end."""
    async with clouded(calls, faults, plan, speed=speed) as cloud:
        streams = capturing(cloud, names, **options)
        found = Run(streams, cloud)
        try:
            async with streams:
                async for frame in streams:
                    found.frames.setdefault(frame.interaction_id, []).append(frame)
        except GcmediaError as error:
            found.error = error
        return found


def sent(cloud: Simulator, name: str) -> Counter[str]:
    """Messages about an interaction that the server has sent, by kind."""
    return Counter(record.kind for record in cloud.journal.records if record.conversation_id == name)


def assert_accounted(found: Run, name: str) -> None:
    """Both identities hold, and every packet that was sent has been counted."""
    stats = found.streams[name].stats()
    truth = found.cloud.truth(name)
    assert stats.balanced, f"{name}: {stats.identity()}"
    assert stats.packets_buffered == 0
    told = sum(truth.malformed_sent.get(kind, 0) for kind in ("oversized", "wrong_types", "bad_base64"))
    assert stats.packets_received == truth.packets_sent + truth.duplicates_sent + told, name
    assert stats.packets_duplicate == truth.duplicates_sent
    assert stats.packets_refused == told
    assert stats.packets_played + stats.packets_late == truth.packets_sent
