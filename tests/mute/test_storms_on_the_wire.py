"""Storms of wishes against the simulator, over sockets, on both backends; see `on_the_wire`.

Each agent is one history: 429 with Retry-After, lost, late and doubled confirmations, supervisors, cut connections,
tokens that end and tokens that are revoked.
"""

from __future__ import annotations

import pytest

from tests.mute.on_the_wire import storm


@pytest.mark.anyio
@pytest.mark.parametrize("strategy", ["webchat-edge", "interactive-sessions"])
async def test_000_31_000_39_what_is_confirmed_is_what_the_server_said_last(strategy: str) -> None:
    assert await storm(strategy, seed=1, n_agents=6, n_wishes=15) > 0


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(10, 16))
@pytest.mark.parametrize("strategy", ["webchat-edge", "interactive-sessions"])
async def test_000_31_000_39_over_hundreds_of_agents(strategy: str, seed: int) -> None:
    assert await storm(strategy, seed, n_agents=12, n_wishes=40) > 0
