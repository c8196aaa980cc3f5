"""What the tests of muting share: a cloud with one agent in a call, and tokens for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from gcmedia.auth import BearerAuth, Credentials, TokenProvider
from gcmedia.simulator import AgentLeg, Simulator
from gcmedia.transport.api import ApiClient

AGENT = "5d3e7a50-0f4e-4c44-8c8a-6f1b6ee3b0b1"


@dataclass
class Cloud:
    """A simulator, and what a client of it needs."""

    simulator: Simulator
    leg: AgentLeg
    tokens: TokenProvider
    api: ApiClient

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.simulator.client_id, self.simulator.client_secret, self.simulator.base_url)

    def supervise(self, muted: bool) -> None:
        self.leg.supervise(muted, self.simulator.agents.now())

    def move(self, state: str) -> None:
        self.leg.move(state, self.simulator.agents.now())

    @property
    def muted(self) -> bool:
        return self.leg.read(self.simulator.agents.now()).muted


def agent_leg(leg_id: str = "session-1", **settings: Any) -> AgentLeg:
    """An agent's part of a call."""
    settings = {"conversation_id": "conv-1", "user_id": AGENT} | settings
    return AgentLeg(leg_id, **settings)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that nobody tells of, a minute at most."""
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110 -- a state of the other side, which has no event to wait for
            await anyio.sleep(0.005)


CloudMaker = Callable[..., AbstractAsyncContextManager[Cloud]]


@pytest.fixture
def cloud() -> CloudMaker:
    """Makes a cloud of legs, one by default; takes what `Simulator` takes."""

    @asynccontextmanager
    async def make(*legs: AgentLeg, **settings: Any) -> AsyncIterator[Cloud]:
        legs = legs or (agent_leg(),)
        async with Simulator(legs=legs, **settings) as simulator:
            credentials = Credentials(simulator.client_id, simulator.client_secret, simulator.base_url)
            async with (
                TokenProvider(credentials) as tokens,
                ApiClient(simulator.base_url, BearerAuth(tokens)) as api,
            ):
                yield Cloud(simulator, legs[0], tokens, api)
            assert simulator.journal.failures == 0

    return make
