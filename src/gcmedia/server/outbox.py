"""What goes to a client at the pace that it takes: entities and wishes in text messages, audio in binary ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import anyio
import msgspec

from ..dialects.audiohook import ServerMachine
from ..dialects.audiohook import entities as wire
from ..errors import LocalProtocolError, StateError
from .bucket import TokenBucket
from .settings import ServerConfig

__all__ = ["Outbox"]

ENTITIES_AT_ONCE = 50
AUDIO_AT_ONCE = 64_000
DEFAULT_HOLD_S = 1.0  # of a 429 that names no time


class Outbox:
    """Bounded queues in front of a machine; made when a session is opened.

    Attributes
    ----------
    dropped_entities : int
        The oldest ones, that found no room.
    """

    __slots__ = (
        "_audio",
        "_audio_octets",
        "_binary",
        "_config",
        "_entities",
        "_machine",
        "_max_audio_octets",
        "_min_audio_octets",
        "_room",
        "_text",
        "_wish",
        "dropped_entities",
        "max_entity_octets",
    )

    def __init__(self, machine: ServerMachine, config: ServerConfig, max_entity_octets: int, now: float) -> None:
        self._machine = machine
        self._config = config
        self._text = TokenBucket(config.rate_per_s, config.burst, now)
        self._binary: TokenBucket | None = None
        self._entities: deque[Any] | None = None
        self._wish = ""
        self._audio: bytearray | None = None
        self._room: anyio.Event | None = None
        self._max_audio_octets = self._min_audio_octets = 0
        self.max_entity_octets = max_entity_octets
        self.dropped_entities = 0

    @property
    def pending(self) -> bool:
        """Whether anything waits for its turn."""
        return bool(self._entities or self._wish or self._audio)

    def charge(self, now: float) -> None:
        """Count a text message that did not wait."""
        self._text.charge(now)

    def hold(self, seconds: float | None, now: float) -> None:
        """The client has asked to send less."""
        wait = DEFAULT_HOLD_S if seconds is None else seconds
        self._text.hold(wait, now)
        if self._binary is not None:
            self._binary.hold(wait, now)

    def add(self, entities: Iterable[wire.Entity], sample_rate: int) -> None:
        """Take entities.

        Raises
        ------
        LocalProtocolError
            If one is too long for a message.
        """
        ready = wire.to_wire(entities, sample_rate)
        for entity in ready:
            size = len(msgspec.json.encode(entity))
            if size > self.max_entity_octets - 1024:
                raise LocalProtocolError(
                    f"an entity of {size} octets does not fit a message of {self.max_entity_octets}"
                )
        if self._entities is None:
            self._entities = deque()
        for entity in ready:
            if len(self._entities) >= self._config.max_entities:
                self._entities.popleft()
                self.dropped_entities += 1
            self._entities.append(entity)

    def wish(self, what: str) -> None:
        """Take ``"pause"`` or ``"resume"``; the last wish counts."""
        self._wish = what

    async def add_audio(self, payload: bytes, now: float) -> None:
        """Take audio; wait while there is no room.

        Raises
        ------
        StateError
            If it is longer than all the room there is.
        """
        machine = self._machine
        if self._audio is None:
            octets_per_s = machine.media.block_octets * machine.media.rate if machine.media else 8000
            self._max_audio_octets = int(self._config.max_audio_s * octets_per_s)
            self._min_audio_octets = octets_per_s // 5
            self._audio = bytearray()
            self._binary = TokenBucket(self._config.rate_per_s, self._config.burst, now)
        if len(payload) > self._max_audio_octets:
            raise StateError(f"{len(payload)} octets of audio at once, there is room for {self._max_audio_octets}")
        while len(self._audio) + len(payload) > self._max_audio_octets and not machine.over:
            self._room = self._room or anyio.Event()
            await self._room.wait()
        self._audio += payload

    def clear_audio(self) -> None:
        """Drop the audio that has not been sent."""
        if self._audio:
            self._audio.clear()
        self._make_room()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    def run(self, now: float) -> None:
        """Hand to the machine what may go now."""
        machine = self._machine
        if self._wish and self._text.take(now):
            wish, self._wish = self._wish, ""
            machine.pause(now) if wish == "pause" else machine.resume(now)
        while self._entities and self._text.take(now):
            self._send_entities(now)
        if self._audio:
            self._send_audio(now)
        if machine.over:
            self._make_room()

    def finish(self, now: float) -> None:
        """No further turn comes: hand over what there is, in as few messages as it takes."""
        while self._entities and self._send_entities(now):
            self._text.charge(now)
        self._make_room()

    def _send_entities(self, now: float) -> bool:
        assert self._entities is not None
        n = min(len(self._entities), ENTITIES_AT_ONCE)
        while n:
            batch = [self._entities[i] for i in range(n)]
            try:
                sent = self._machine.send_event(batch, now)
            except LocalProtocolError:
                if n == 1:  # cannot be, as each was measured; never try it again
                    self._entities.popleft()
                    self.dropped_entities += 1
                    return bool(self._entities)
                n //= 2
                continue
            if not sent:  # the session is too far for it
                self.dropped_entities += len(self._entities)
                self._entities.clear()
                return False
            for _ in range(n):
                self._entities.popleft()
            return True
        return False

    def _send_audio(self, now: float) -> None:
        audio, bucket, machine = self._audio, self._binary, self._machine
        assert audio is not None
        assert bucket is not None
        block = machine.media.block_octets if machine.media else 1
        while len(audio) >= block and bucket.take(now):
            n = min(len(audio), AUDIO_AT_ONCE)
            n -= n % block
            payload = bytes(audio[:n])
            del audio[:n]
            if not machine.send_audio(payload, now):
                audio.clear()
                break
        self._make_room()
