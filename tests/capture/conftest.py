"""A media server that follows a script, for what the simulator is too well-behaved to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

Handler = Callable[[ServerConnection], None]


@dataclass
class ScriptedServer:
    """Each connection follows the next script, the last one again and again."""

    url: str = ""
    scripts: list[Handler] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    subscriptions: list[str | bytes] = field(default_factory=list)

    def serve(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        script = self.scripts[min(len(self.paths), len(self.scripts) - 1)]
        self.paths.append(websocket.request.path)
        self.authorization.append(websocket.request.headers.get("Authorization"))
        try:
            self.subscriptions.append(websocket.recv())
            script(websocket)
        except ConnectionClosed:
            pass  # the client has gone, as some tests want


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    """Call it with scripts: functions of a connection whose subscription has been read."""
    with ExitStack() as stack:

        def start(*scripts: Handler, **options: Any) -> ScriptedServer:
            script = ScriptedServer(scripts=list(scripts))
            server = stack.enter_context(serve(script.serve, "127.0.0.1", 0, **options))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            script.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
            return script

        yield start
