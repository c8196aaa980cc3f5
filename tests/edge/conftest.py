"""Real servers on loopback, each in a thread of its own, and a clock that is moved by hand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import anyio.lowlevel
import pytest
from websockets.sync.server import ServerConnection, serve

from gcmedia.clock import Clock


class HandClock(Clock):
    """Its sleeps take no time, and are noted."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.unix = 1_700_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.unix

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None  # answered when this is set


@dataclass
class Request:
    path: str
    headers: Message
    form: dict[str, list[str]]


class TokenServer:
    """Gives the answers it was told, in their order, and the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.arrived = threading.Semaphore(0)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
                outer.requests.append(Request(self.path, self.headers, form))
                answer = outer.answers[min(len(outer.requests), len(outer.answers)) - 1]
                outer.arrived.release()
                if answer.hold is not None:
                    answer.hold.wait(10)
                try:
                    self.send_response_only(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                except OSError:
                    pass  # the client has gone, as some tests want

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> TokenServer:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for answer in self.answers:
            if answer.hold is not None:
                answer.hold.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


Serve = Callable[..., str]


@pytest.fixture
def serve_websocket() -> Iterator[Serve]:
    """Call it with a handler, and options of ``websockets.sync.server.serve``; it returns the URL."""
    with ExitStack() as stack:

        def start(handler: Callable[[ServerConnection], None], **options: Any) -> str:
            server = stack.enter_context(serve(handler, "127.0.0.1", 0, **options))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"ws://127.0.0.1:{server.socket.getsockname()[1]}"

        yield start


@pytest.fixture
def serve_raw() -> Iterator[Serve]:
    """Call it with a function of one accepted socket; it returns the URL."""
    with ExitStack() as stack:

        def start(handler: Callable[[socket.socket], None]) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run() -> None:
                connection, _ = listener.accept()
                with connection:
                    try:
                        handler(connection)
                    except OSError:
                        pass  # the client has gone

            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join, 10)
            return f"ws://127.0.0.1:{listener.getsockname()[1]}"

        yield start
