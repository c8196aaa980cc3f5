"""Calls to look at: of a service that feeds them itself, and captured from the simulator; a reader of the wire."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
import numpy as np

import gcmedia
from gcmedia.auth import Credentials
from gcmedia.capture import Capture
from gcmedia.config import PlatformMediaConfig
from gcmedia.live import LiveCall, LiveCalls
from gcmedia.simulator import Call, Faults, Simulator
from gcmedia.types import Transcript

TOKEN, LISTEN = "a-token-for-the-page", "a-token-for-listeners"
TEXT, ROWS, COLUMNS, POINT, HISTORY, AUDIO = range(1, 7)
HEADER = struct.Struct("<I4xq")


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def messages(response: httpx.Response) -> Iterator[tuple[int, Any]]:
    """Each message of a stream; JSON is read."""
    rest = b""
    for octets in response.iter_raw():
        rest += octets
        while len(rest) >= 4 and len(rest) - 4 >= (length := int.from_bytes(rest[1:4])):
            kind, payload, rest = rest[0], rest[4 : 4 + length], rest[4 + length :]
            yield kind, json.loads(payload) if kind == TEXT else payload


def packet(number: int, n_channels: int = 2, loudness: int = 6000) -> bytes:
    """20 ms: tones whose loudness comes and goes, so that there is something to see."""
    at = np.arange(160) / 8000 + number * 0.02
    pcm = np.empty((160, n_channels))
    for channel in range(n_channels):
        swell = 0.15 + abs(np.sin(2 * np.pi * at * (0.31 + 0.2 * channel)))
        pcm[:, channel] = loudness * swell * np.sin(2 * np.pi * (220 + 110 * channel) * at)
    return HEADER.pack(number, 20 * number) + bytes(gcmedia.ulaw_encode(np.ascontiguousarray(pcm.astype(np.int16))))


PACKETS = [packet(number)[HEADER.size :] for number in range(250)]


class Talker:
    """A service with sockets of its own that announces its call; it talks a few times faster than people do."""

    def __init__(
        self, calls: LiveCalls, conversation_id: str = "conv", channels: tuple[str, ...] = ("external", "internal")
    ) -> None:
        self.receiver = gcmedia.Receiver(n_channels=2)
        self.calls = calls
        self.live: LiveCall = calls.announce(
            conversation_id, receiver=self.receiver, channels=channels, source="embedded"
        )
        self.number = 0
        self.lose = 0  # packets to come that are lost
        self.words: list[tuple[str, str]] = []  # channel and text, to be said next
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def talk(self, n_packets: int = 10) -> None:
        for _ in range(n_packets):
            octets = HEADER.pack(self.number, 20 * self.number) + PACKETS[self.number % len(PACKETS)]
            if self.lose:
                self.lose -= 1
            else:
                self.receiver.push(octets, self.number * 0.02)
            self.number += 1
        for _ in self.receiver.frames(self.number * 0.02):
            pass
        for hole in self.receiver.holes():
            self.live.holes.append(hole)
        while self.words:
            channel, text = self.words.pop(0)
            self.live.transcripts.append(Transcript(text, 0.9, self.receiver.position, 8000, channel))

    def event(self, kind: str, **details: Any) -> None:
        self.live.events.append({"kind": kind, "position": self.receiver.position, **details})

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(10)
        self.calls.leave(self.live)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.talk()


@contextmanager
def captured(calls: LiveCalls, folder: Path, backend: str, speed: float = 4.0) -> Iterator[Capture]:
    """A call of the simulator, captured in a thread of its own until the block is left."""
    ready, leave = threading.Event(), threading.Event()
    found: list[Any] = []

    async def main() -> None:
        call = Call.demo()
        async with (
            Simulator({"conv": call}, Faults.none(), speed=speed, live=False) as cloud,
            gcmedia.capture(
                "conv",
                credentials=Credentials(cloud.client_id, cloud.client_secret, cloud.base_url),
                profile=PlatformMediaConfig(format="pcmu", sample_rate=8000, n_channels=2),
                folder=folder,
                live=calls,
            ) as capture,
            anyio.create_task_group() as tasks,
        ):
            found.append(capture)
            ready.set()
            tasks.start_soon(take, capture)
            while not leave.is_set() and capture.state not in ("ended", "failed"):  # noqa: ASYNC110 -- a thread's
                await anyio.sleep(0.05)
            await capture.stop()

    async def take(capture: Capture) -> None:
        async for _ in capture:
            pass

    def run() -> None:
        try:
            anyio.run(main, backend=backend)
        except BaseException as error:
            found.append(error)
            raise
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(60)
    assert isinstance(found[0], Capture), found
    try:
        yield found[0]
    finally:
        leave.set()
        thread.join(30)
        assert not thread.is_alive()
