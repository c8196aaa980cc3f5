"""Messages for a `ScriptedServer` to send."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable

from websockets.sync.server import ServerConnection

ACK = json.dumps({"type": "ack"})
ENDED = json.dumps({"type": "ack", "status": "ended"})

Script = Callable[[ServerConnection], None]


def packet(number: int, samples: int = 160, value: int = 0xD5) -> bytes:
    """20 ms of PCMU in the padded layout, 20 ms apart."""
    return struct.pack("<I4xq", number & 0xFFFFFFFF, number * 20) + bytes([value]) * samples


def said(text: str, timestamp: int, **more: object) -> str:
    return json.dumps({"type": "transcript", "timestamp": timestamp, "text": text, **more})


def plays(*messages: str | bytes, close: int | None = 1000, reason: str = "") -> Script:
    """Send these, then close with a code; without one, stay until the client goes."""

    def script(websocket: ServerConnection) -> None:
        for message in messages:
            websocket.send(message)
        if close is not None:
            websocket.close(close, reason)
        else:
            websocket.recv()

    return script


def cuts(*messages: str | bytes) -> Script:
    """Send these, then end the stream without a close frame."""

    def script(websocket: ServerConnection) -> None:
        for message in messages:
            websocket.send(message)
        websocket.socket.shutdown(socket.SHUT_WR)
        websocket.recv()

    return script


def packets(first: int, count: int) -> list[str | bytes]:
    return [packet(number) for number in range(first, first + count)]
