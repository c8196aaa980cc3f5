"""Both machines in one process, and a link between them that keeps the order and takes its time."""

from __future__ import annotations

from collections import deque
from typing import Any

from gcmedia.dialects.audiohook import (
    AudioHookClientConfig,
    AudioHookConfig,
    ClientMachine,
    Identity,
    Media,
    Open,
    Participant,
    ServerMachine,
)
from gcmedia.dialects.audiohook.events import Audio, Closing, Discarded, Resumed
from gcmedia.types import Hole

from .recorded import SESSION_ID
from .signing import API_KEY, ORGANIZATION_ID

CONVERSATION_ID = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = Participant("883efee8-3d6c-4537-b500-6d7ca4b92fa0", "tel:+15551234567", "John Doe", "tel:+18005556789")
STEREO = Media("PCMU", ("external", "internal"))
MONO = Media("PCMU", ("external",))
IDENTITY = Identity(API_KEY, ORGANIZATION_ID, SESSION_ID, signed=True)


def call(*media: Media, **more: Any) -> Open:
    return Open(ORGANIZATION_ID, CONVERSATION_ID, PARTICIPANT, media or (STEREO, MONO), **more)


class Pair:
    """A client and a server; `step` carries what waits one way, `settle` everything."""

    def __init__(
        self,
        offer: Open | None = None,
        *,
        server: AudioHookConfig | None = None,
        client: AudioHookClientConfig | None = None,
        answer: Any = None,
    ) -> None:
        self.now = 100.0
        self.server = ServerMachine(server, now=self.now, identity=IDENTITY, answer=answer)
        self.client = ClientMachine(offer or call(), session_id=SESSION_ID, config=client)
        self.to_server: deque[str | bytes] = deque()
        self.to_client: deque[str | bytes] = deque()
        self.server_events: list[Any] = []
        self.client_events: list[Any] = []
        self.sent: list[tuple[int, int]] = []  # position and samples of each frame that the client sent

    def start(self) -> Pair:
        self.client.start(self.now)
        return self.settle()

    def collect(self) -> None:
        self.to_server.extend(self.client.messages_to_send())
        self.to_client.extend(self.server.messages_to_send())

    def audio(self, n_samples: int) -> bool:
        """The client's source brings so many samples."""
        assert self.client.media is not None
        position = self.client.position
        payload = bytes(n_samples * self.client.media.block_octets)
        sent = self.client.audio(payload, self.now)
        self.collect()
        if sent:
            self.to_server.append(payload)
            self.sent.append((position, n_samples))
        return sent

    def step(self, *, up: bool) -> bool:
        """Carry one message; False when none waits."""
        self.collect()
        queue = self.to_server if up else self.to_client
        if not queue:
            return False
        message = queue.popleft()
        if up:
            self.server_events += self.server.receive(message, self.now)
        else:
            self.client_events += self.client.receive(message, self.now)
        self.collect()
        return True

    def settle(self) -> Pair:
        while self.step(up=True) or self.step(up=False):
            pass
        return self

    def wait(self, seconds: float) -> None:
        """Let time pass, and both ends act on their deadlines."""
        until = self.now + seconds
        while min(self.server.next_deadline, self.client.next_deadline) <= until:
            self.now = max(self.now, min(self.server.next_deadline, self.client.next_deadline))
            self.server_events += self.server.advance(self.now)
            self.client_events += self.client.advance(self.now)
            self.collect()
        self.now = until

    def hang_up(self) -> None:
        """The client closes its connection."""
        self.server_events += self.server.transport_closed(self.now)
        self.client_events += self.client.transport_closed(self.now)

    def holes(self) -> list[Hole]:
        told = (event for event in self.server_events if isinstance(event, Discarded | Resumed | Closing))
        return [hole for event in told for hole in event.holes]

    def received(self) -> list[tuple[int, int]]:
        return [(event.position, event.n_samples) for event in self.server_events if isinstance(event, Audio)]

    def tiles(self) -> bool:
        """Whether audio and holes make up the timeline without a gap, without an overlap."""
        spans = sorted([*self.received(), *((hole.position, hole.n_samples) for hole in self.holes())])
        at = self.server.position - sum(n for _, n in spans)
        for position, n_samples in spans:
            if position != at:
                return False
            at += n_samples
        return at == self.server.position


def of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
