"""One session of a load: an asyncio protocol with no task of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Protocol

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import WebSocketURI

from ..dialects.audiohook import ClientMachine, Media, events
from .frames import Piece
from .plan import LoadPlan
from .tally import Tally

__all__ = ["Host", "LoadSession"]

MAX_MESSAGE_OCTETS = 1 << 20
CLOSE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 15.0

_QUIET = logging.getLogger("gcmedia.load.wire")
_QUIET.disabled = True  # thousands of connections have nothing to say one by one; failures are counted by cause

_now = time.monotonic


class Host(Protocol):
    """What sessions share, and tell; see `gcmedia.load.generator.Generator`."""

    plan: LoadPlan
    uri: WebSocketURI
    tally: Tally
    pieces: list[Piece]
    piece_samples: int

    def place(self, session: LoadSession) -> None:
        """A session has a connection."""

    def fits(self, media: Media | None) -> bool:
        """Whether this is what was asked for."""
        ...

    def opened(self, took_s: float) -> None:
        """A session was opened."""

    def pong(self, rtt_s: float, now: float) -> None:
        """A ping was answered."""

    def ended(self, session: LoadSession, cause: str) -> None:
        """The connection of a session is gone; why it failed, or ``""``."""


class LoadSession(asyncio.Protocol):
    """Opens, sends shared frames of audio, checks every answer, and closes.

    Reading and the handshake are `websockets`' sans-I/O protocol, which sees some 0.2 messages a second; audio goes to
    the transport as octets that were masked once for all sessions.
    """

    __slots__ = (
        "_began",
        "_blocked",
        "_cause",
        "_closing_at",
        "_deadline",
        "_done",
        "_fragments",
        "_generator",
        "_place",
        "_protocol",
        "_text_coming",
        "_transport",
        "machine",
        "was_open",
    )

    def __init__(self, generator: Host, machine: ClientMachine, headers: dict[str, str], place: int) -> None:
        self.machine = machine
        self._generator = generator
        self._began = _now()
        self._deadline = self._began + CONNECT_TIMEOUT_S
        self._closing_at = 0.0
        self._blocked = False
        self._cause = ""
        self.was_open = False
        self._done = False
        self._fragments: list[bytes] = []
        self._place = place
        self._text_coming = True
        self._transport: Any = None
        self._protocol = ClientProtocol(generator.uri, max_size=MAX_MESSAGE_OCTETS, logger=_QUIET)
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        """TCP, and TLS, are there: ask for the upgrade."""
        self._transport = transport
        self._generator.place(self)
        transport.set_write_buffer_limits(self._generator.plan.max_pending_octets)
        self._write()

    def data_received(self, data: bytes) -> None:
        """Octets of the server."""
        now = _now()
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event, now)
            elif isinstance(event, Response):
                self._upgraded(now)
        self._write()
        if protocol.handshake_exc is not None:
            self._fail(_why_not_upgraded(protocol.handshake_exc))

    def eof_received(self) -> bool:
        """The server sends no more."""
        self._protocol.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        state = self.machine.state
        if state == "new":
            self._cause = self._cause or "upgrade: connection closed"
        elif state != "closed":
            self._cause = self._cause or f"connection lost while {state} (code {self._protocol.close_code or 1006})"
        self._done = True
        self._generator.ended(self, self._cause)

    def pause_writing(self) -> None:
        """The server does not read."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._blocked = False

    # The generator's side

    def tick(self, now: float) -> bool:
        """Send the next message of audio, and let time pass; True when audio was sent."""
        machine, generator = self.machine, self._generator
        sent = False
        if machine.state == "active" and machine.media is not None:
            pieces = generator.pieces
            place = self._place
            self._place = place + 1 if place + 1 < len(pieces) else 0
            payload, octets = pieces[place]
            if self._blocked:
                if machine.discard(generator.piece_samples, now):
                    generator.tally.frames_dropped += 1
                self._write()
            elif machine.audio(payload, now):
                self._transport.write(octets)
                sent = True
        if now >= machine.next_deadline:
            self._happened(machine.advance(now), now)
            self._write()
        if now >= self._deadline:
            self._fail("upgrade: timeout" if machine.state == "new" else "connection not closed")
        return sent

    def close(self, now: float) -> None:
        """End the session by the protocol, wherever it stands."""
        if self.machine.state == "opening":
            self._note("not opened by the end")
        if self.machine.close("end", now):
            self._closing_at = now
            self._write()
        elif self.machine.state == "new":
            self._fail("upgrade: timeout")

    def abort(self, cause: str) -> None:
        """Drop the connection."""
        self._fail(cause)

    @property
    def opening(self) -> bool:
        """Whether the server has not opened it yet, and may."""
        return self.machine.state in ("new", "opening")

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done

    # Within

    def _upgraded(self, now: float) -> None:
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return
        self._generator.tally.connect.add(now - self._began)
        self._deadline = float("inf")
        self._began = now
        self.machine.start(now)

    def _frame(self, frame: Frame, now: float) -> None:
        machine, opcode = self.machine, frame.opcode
        if opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if opcode is not Opcode.CONT:
                self._text_coming = opcode is Opcode.TEXT
            data = bytes(frame.data)
            if not frame.fin or self._fragments:
                self._fragments.append(data)
                if not frame.fin:
                    return
                data = b"".join(self._fragments)
                self._fragments.clear()
            if self._text_coming:
                machine.receive_text(data, now)
            else:
                machine.receive_audio(data, now)
            self._happened(machine.events(), now)

    def _happened(self, found: list[Any], now: float) -> None:
        generator = self._generator
        for event in found:
            match event:
                case events.Pong():
                    generator.pong(event.rtt_s, now)
                case events.OpenAnswered():
                    self.was_open = True
                    generator.opened(now - self._began)
                    if not generator.fits(event.media):
                        self._fail("opened with other media than asked for")
                case events.Failed():
                    self._note(f"{event.cause}: {event.code}: {_without_numbers(event.detail)}")
                case events.Disconnecting():
                    self._note(f"disconnect: {event.reason}")
                case events.Anomaly() if event.kind == "violation":
                    self._note(f"violation: {_without_numbers(event.detail)}")
                case events.Ended():
                    if event.clean and self._closing_at:
                        generator.tally.closed_after.add(now - self._closing_at)
                    self._write()
                    if self._protocol.state is State.OPEN:
                        self._protocol.send_close()  # without a code, as the platform does
                    self._deadline = now + CLOSE_TIMEOUT_S
                    if not event.clean:
                        self._note(f"ended: {event.reason}")

    def _write(self) -> None:
        """Hand the machine's messages to the WebSocket, and its octets to the transport."""
        protocol, transport = self._protocol, self._transport
        messages = self.machine.messages_to_send()
        if messages and protocol.state is State.OPEN:
            self._generator.tally.texts_sent += len(messages)
            for message in messages:
                protocol.send_text(message.encode() if isinstance(message, str) else message)
        octets = b"".join(protocol.data_to_send())
        if octets and not transport.is_closing():
            transport.write(octets)

    def _note(self, cause: str) -> None:
        """The session counts as failed, for the first cause that there is; it ends by the protocol all the same."""
        self._cause = self._cause or cause

    def _fail(self, cause: str) -> None:
        """It failed, and there is nothing left to say."""
        self._note(cause)
        self._transport.abort()


def _why_not_upgraded(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return f"upgrade: {error.response.status_code}"
    return f"upgrade: {type(error).__name__}"


def _without_numbers(text: str) -> str:
    """So that failures of one kind are counted as one."""
    return "".join("#" if char.isdigit() else char for char in text[:100])
