"""A plain client for the tests: httpx for HTTP, websockets' own clients for the socket, on either backend."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from struct import unpack_from
from typing import Any

import anyio
import httpx
from anyio.abc import SocketStream
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.uri import parse_uri

from gcmedia.simulator import Simulator


@dataclass
class Received:
    """The messages of one connection, and how it ended."""

    messages: list[str | bytes] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""

    @property
    def texts(self) -> list[Any]:
        out = []
        for message in self.messages:
            if isinstance(message, str):
                try:
                    out.append(json.loads(message))
                except ValueError:
                    out.append(None)
        return out

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [text for text in self.texts if isinstance(text, dict) and text.get("type") == kind]

    @property
    def packets(self) -> list[tuple[int, int, bytes]]:
        """Sequence number, timestamp and audio of every binary message, padded16."""
        return [
            (*unpack_from("<I4xq", message), message[16:])
            for message in self.messages
            if isinstance(message, bytes) and len(message) >= 16
        ]

    @property
    def numbers(self) -> list[int]:
        return [packet[0] for packet in self.packets]


def connect(url: str, **options: Any) -> Any:
    """The client of websockets for the running backend.

    Its trio flavour does not end while more messages wait than ``max_queue`` holds, so that is unlimited here.
    """
    options.setdefault("max_queue", None)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from websockets.trio.client import connect as trio_connect

        return trio_connect(url, proxy=None, **options)
    from websockets.asyncio.client import connect as asyncio_connect

    return asyncio_connect(url, proxy=None, **options)


async def request_token(cloud: Simulator) -> httpx.Response:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        form = {"grant_type": "client_credentials"}
        return await client.post(cloud.token_url, data=form, auth=(cloud.client_id, cloud.client_secret))


async def fetch_token(cloud: Simulator) -> str:
    return str((await request_token(cloud)).json()["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def listen(
    cloud: Simulator, conversation_id: str = "conv-1", token: str | None = None, **subscription: Any
) -> Received:
    """One connection: subscribe, then take everything until it ends."""
    token = token or await fetch_token(cloud)
    received = Received()
    async with connect(cloud.media_url, additional_headers=bearer(token)) as websocket:
        await websocket.send(json.dumps({"type": "subscribe", "conversationId": conversation_id, **subscription}))
        try:
            while True:
                received.messages.append(await websocket.recv())
        except ConnectionClosed as closed:
            received.close_code = closed.rcvd.code if closed.rcvd else 1006
            received.close_reason = closed.rcvd.reason if closed.rcvd else ""
    return received


async def listen_to_the_end(cloud: Simulator, conversation_id: str = "conv-1", **subscription: Any) -> list[Received]:
    """Connect again until the call has ended."""
    connections: list[Received] = []
    for _ in range(50):
        connections.append(await listen(cloud, conversation_id, **subscription))
        if cloud.truth(conversation_id).ended:
            return connections
    raise AssertionError("the call did not end within 50 connections")


async def subscribe_without_reading(cloud: Simulator, token: str | None = None, **subscription: Any) -> SocketStream:
    """A connection by hand, subscribed; nothing is read from it but the answer to the upgrade."""
    protocol = ClientProtocol(parse_uri(cloud.media_url))
    request = protocol.connect()
    request.headers["Authorization"] = f"Bearer {token or await fetch_token(cloud)}"
    protocol.send_request(request)
    stream = await anyio.connect_tcp("127.0.0.1", int(cloud.base_url.rpartition(":")[2]))
    await stream.send(b"".join(protocol.data_to_send()))
    protocol.receive_data(await stream.receive())
    subscription = {"type": "subscribe", "conversationId": "conv-1", **subscription}
    protocol.send_text(json.dumps(subscription).encode())
    await stream.send(b"".join(protocol.data_to_send()))
    return stream
