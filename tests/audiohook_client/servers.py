"""Servers to call: gcmedia's own, and one that is made to misbehave, on a real socket each."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from gcmedia.dialects.audiohook import AudioHookConfig, Open, Participant, ServerMachine, SignatureConfig
from gcmedia.server import AudioHookServer
from gcmedia.simulator.audiohook import offer_of

API_KEY = "an-api-key"
SECRET = "c2VjcmV0LW9mLXRoZS10ZXN0cy1vZi10aGUtY2xpZW50"

#: What a server does in place of sending a message: any number of messages, None to close the connection.
Spoil = Callable[[dict[str, Any]], list[str | bytes | None]]


def an_offer(channels: str = "external,internal", **more: Any) -> Open:
    return Open(str(uuid4()), str(uuid4()), Participant(str(uuid4())), offer_of(channels), **more)


@asynccontextmanager
async def real_server(handler: Any = None, **options: Any) -> AsyncIterator[tuple[AudioHookServer, str]]:
    """gcmedia's server, and its URL."""
    server = AudioHookServer(
        handler,
        host="127.0.0.1",
        port=0,
        keys={API_KEY: SECRET},
        signatures=SignatureConfig(tls=False, failure_delay_s=0.0),
        **options,
    )
    async with server:
        yield server, f"ws://127.0.0.1:{server.address[1]}/calls?of=tests"


def as_it_is(message: dict[str, Any]) -> list[str | bytes | None]:
    """No misbehaviour."""
    return [json.dumps(message)]


@contextmanager
def spoilt_server(spoil: Spoil = as_it_is, config: AudioHookConfig | None = None) -> Iterator[str]:
    """A server that keeps to the protocol but for what ``spoil`` makes of its messages; yields its URL."""

    def handle(connection: ServerConnection) -> None:
        machine = ServerMachine(config, now=time.monotonic())
        try:
            for message in connection:
                text = message if isinstance(message, str) else bytes(message)
                if isinstance(text, str):
                    machine.session_id = json.loads(text)["id"]
                machine.receive(text, time.monotonic())
                for answer in machine.messages_to_send():
                    for piece in spoil(json.loads(answer)):
                        if piece is None:
                            connection.close()
                            return
                        connection.send(piece)
        except ConnectionClosed:
            pass

    quiet = logging.getLogger("tests.spoilt_server")
    quiet.disabled = True
    with serve(handle, "127.0.0.1", 0, compression=None, logger=quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()
