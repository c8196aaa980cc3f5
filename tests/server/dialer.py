"""The platform's end over a real socket: signed upgrade requests, and `ClientMachine` driven by hand."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

from gcmedia import AudioHookServer
from gcmedia.dialects.audiohook import (
    NIL_ID,
    AudioHookClientConfig,
    ClientMachine,
    Media,
    Open,
    Participant,
    events,
    sign,
)
from gcmedia.errors import ConnectionLost
from gcmedia.transport.websocket import WebSocket, connect

API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
KEYS = {API_KEY: SECRET}
ORGANIZATION_ID = "d7934305-0972-4844-938e-9060eef73d05"
STEREO = Media("PCMU", ("external", "internal"))
MESSAGE_OCTETS = 3200  # 200 ms of both channels
PATIENCE_S = 30.0

E = TypeVar("E")


def server_of(handler: Any = None, **options: Any) -> AudioHookServer:
    """A server on a free port of loopback."""
    return AudioHookServer(handler, **{"host": "127.0.0.1", "port": 0, "keys": KEYS, **options})


def upgrade_headers(port: int, *, api_key: str = API_KEY, secret: str | None = SECRET, **more: str) -> dict[str, str]:
    """What the platform sends with its upgrade request."""
    headers = {
        "Audiohook-Organization-Id": ORGANIZATION_ID,
        "Audiohook-Session-Id": str(uuid.uuid4()),
        "Audiohook-Correlation-Id": str(uuid.uuid4()),
        "X-API-KEY": api_key,
    }
    if secret is not None:
        headers |= sign("/hook?a=1", headers, secret, authority=f"127.0.0.1:{port}", created=int(time.time()))
    return headers | more


@asynccontextmanager
async def upgraded(port: int, headers: dict[str, str] | None = None) -> AsyncIterator[WebSocket]:
    """A WebSocket that the server has accepted."""
    async with connect(
        f"ws://127.0.0.1:{port}/hook?a=1", headers=headers or upgrade_headers(port), ping_interval_s=None
    ) as websocket:
        yield websocket


class Dialer:
    """One session of the platform.

    Attributes
    ----------
    machine : ClientMachine
        The protocol; what it says is sent by `flush`.
    happened : list
        Its events so far.
    sent : list of (int, bytes)
        Position and octets of each frame of audio that was sent.
    """

    def __init__(self, websocket: WebSocket, machine: ClientMachine, seed: int) -> None:
        self.websocket = websocket
        self.machine = machine
        self.happened: list[Any] = []
        self.sent: list[tuple[int, bytes]] = []
        self._random = random.Random(seed)
        self._pinged = False
        self._ahead = 0.0  # of the clock: pings come when the test wants them

    def now(self) -> float:
        """The machine's time."""
        return time.monotonic() + self._ahead

    async def flush(self) -> None:
        for message in self.machine.messages_to_send():
            await self.websocket.send(message)

    async def audio(self, n_messages: int = 1, n_octets: int = MESSAGE_OCTETS) -> None:
        """Send noise, as much as asked for."""
        for _ in range(n_messages):
            position = self.machine.position
            payload = self._random.randbytes(n_octets)
            if self.machine.audio(payload, self.now()):
                await self.flush()
                await self.websocket.send(payload)
                self.sent.append((position, payload))

    async def take(self) -> list[Any]:
        """Take one message of the server."""
        message = await self.websocket.receive()
        found = self.machine.receive(message, self.now())
        self.happened += found
        await self.flush()
        return found

    async def until(self, kind: type[E]) -> E:
        """Take messages until one makes this happen."""
        with anyio.fail_after(PATIENCE_S):
            while True:
                for event in await self.take():
                    if isinstance(event, kind):
                        return event

    async def hang_up(self, reason: str = "end") -> None:
        """Close, wait for the server's answer, and close the connection as the platform does."""
        self.machine.close(reason, self.now())
        await self.flush()
        await self.until(events.Closed)
        await self.websocket.aclose()

    async def ping(self) -> None:
        """Make the server answer a ping: all that was sent before has been taken then."""
        with anyio.fail_after(PATIENCE_S):
            self._ahead += max(0.0, self.machine.next_deadline - self.now())
            self.machine.advance(self.now())
            await self.flush()
            await self.until(events.Pong)
            if not self._pinged:  # the client tells the first round trip at once, in a second ping
                self._pinged = True
                await self.until(events.Pong)

    async def gone(self) -> int:
        """Take what comes until the connection ends; return the close code."""
        with anyio.fail_after(PATIENCE_S):
            while True:
                try:
                    await self.take()
                except ConnectionLost as lost:
                    return lost.code


def offer(conversation_id: str | None = None, **more: Any) -> Open:
    """What the platform opens a session with."""
    participant = Participant(str(uuid.uuid4()), "tel:+15551234567", "John Doe", "tel:+18005556789")
    return Open(
        ORGANIZATION_ID,
        conversation_id or str(uuid.uuid4()),
        more.pop("participant", participant),
        more.pop("media", (STEREO,)),
        **more,
    )


PROBE = offer(NIL_ID, participant=Participant(NIL_ID))


@asynccontextmanager
async def dial(
    server: AudioHookServer, open: Open | None = None, *, seed: int = 1, wait: bool = True, **config: Any
) -> AsyncIterator[Dialer]:
    """Dial a server and open a session."""
    port = server.address[1]
    headers = upgrade_headers(port)
    machine = ClientMachine(
        open or offer(),
        session_id=headers["Audiohook-Session-Id"],
        config=AudioHookClientConfig(**{"strict": False, "first_ping_s": 900.0, "ping_interval_s": 900.0, **config}),
    )
    async with upgraded(port, headers) as websocket:
        dialer = Dialer(websocket, machine, seed)
        machine.start(time.monotonic())
        await dialer.flush()
        if wait:
            await dialer.until(events.OpenAnswered)
        yield dialer


async def settled(condition: Any) -> None:
    """Wait until something holds."""
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- the server knows no event for each of them
            await anyio.sleep(0.01)
