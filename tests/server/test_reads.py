"""Which sockets are read together, past the event loop; what comes of it, the other tests tell."""

from __future__ import annotations

import gc
import sys

import pytest

from gcmedia._core.wires import Wire

from .dialer import dial, server_of, settled

pytestmark = pytest.mark.anyio


def n_wires() -> int:
    gc.collect()
    return sum(type(one) is Wire for one in gc.get_objects())


async def test_open_links_of_asyncio_are_read_together_until_they_end(transport: str, anyio_backend: str) -> None:
    before = n_wires()
    together = anyio_backend == "asyncio" and sys.platform == "linux"
    async with server_of(transport=transport) as server:
        async with dial(server) as one:
            async with dial(server) as other:
                assert n_wires() - before == 2 * together
                await other.audio(2)
                await other.hang_up()
            await settled(lambda: server.n_sessions == 1 and n_wires() - before == together)
            await one.audio(2)
            await one.hang_up()
        await settled(lambda: n_wires() == before)
    assert server.counters.audio_frames == 4
