"""A simulated cloud, a client of its API, and waiting for things to come about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from gcmedia import Credentials, NotificationsConfig, ReconnectConfig, TokenProvider
from gcmedia.auth import BearerAuth, StaticToken
from gcmedia.clock import ScaledClock
from gcmedia.fanout import Stream
from gcmedia.notifications import Gap, Notification
from gcmedia.simulator import Simulator
from gcmedia.transport.api import ApiClient

SPEED = 100.0

#: No timer of it goes off by itself within a test, however busy the machine.
PATIENT = NotificationsConfig(
    open_timeout_s=6000.0, watchdog_s=6000.0, ping_interval_s=6000.0, resync_interval_s=60_000.0
)
#: Waits that a test need not wait for.
SOON = ReconnectConfig(attempts=5, base_s=0.5, factor=2.0, cap_s=4.0)


class NotingClock(ScaledClock):
    """Notes what was waited for; may be put forward."""

    def __init__(self, speed: float) -> None:
        super().__init__(speed)
        self.slept: list[float] = []
        self._skipped_s = 0.0

    def now(self) -> float:
        return super().now() + self._skipped_s

    def skip(self, seconds: float) -> None:
        self._skipped_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(seconds)


@dataclass
class Cloud:
    sim: Simulator
    api: ApiClient
    clock: NotingClock

    def answered(self, method: str, end: str = "") -> list[int]:
        """Statuses of the requests so far that match."""
        return [
            exchange.status
            for exchange in self.sim.journal.requests
            if exchange.method == method and exchange.path.endswith(end)
        ]


@asynccontextmanager
async def cloud(*, user: str | None = None, speed: float = SPEED, **settings: Any) -> AsyncIterator[Cloud]:
    """A cloud and a client of it, with client credentials or as a user who signed in."""
    clock = NotingClock(speed)
    async with Simulator(speed=speed, **settings) as sim, httpx.AsyncClient(trust_env=False, timeout=20.0) as client:
        credentials = Credentials(sim.client_id, sim.client_secret, sim.base_url)
        async with TokenProvider(credentials, client=client) as tokens:
            auth = BearerAuth(tokens if user is None else StaticToken(sim.user_token(user)))
            api = ApiClient(sim.base_url, auth, client=client, clock=clock, total_timeout_s=20 * speed)
            yield Cloud(sim, api, clock)
        assert sim.journal.failures == 0


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something to come about, real seconds at most."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 -- what is waited for may be anything, in the server too
            await anyio.sleep(0.005)


async def collect(stream: Stream[Notification | Gap], into: list[Notification | Gap]) -> None:
    async for item in stream:
        into.append(item)


def causes(items: list[Notification | Gap]) -> list[str]:
    return [item.cause for item in items if isinstance(item, Gap)]
