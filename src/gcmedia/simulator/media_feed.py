"""One connection's share of a conversation: the actions of its stream, paced, sent and written down."""

from __future__ import annotations

import json

import anyio

from .calls import CHANNELS
from .journal import Connection, Record
from .media_messages import MediaFormatAsked, MediaMessages
from .platform import Platform
from .stream import Action, ConversationStream
from .websocket import WebSocket, WebSocketClosed

__all__ = ["MediaFeed"]

_BATCH_OCTETS = 64 * 1024  # sent in one go, when that much is due
_BATCH_MESSAGES = 256


class MediaFeed:
    """Sends one conversation over one connection."""

    def __init__(
        self,
        platform: Platform,
        websocket: WebSocket,
        connection: Connection,
        stream: ConversationStream,
        asked: MediaFormatAsked,
    ) -> None:
        self._platform = platform
        self._websocket = websocket
        self._connection = connection
        self._stream = stream
        self._asked = asked
        self._batch: list[Action] = []
        self._n_octets = 0

    async def run(self, away_s: float) -> str:
        """Acknowledge, then send until the connection or the call ends.

        Parameters
        ----------
        away_s : float
            Real time since the last connection ended; matters to a live cloud only.

        Returns
        -------
        str
            How it ended, as `Connection` has it.
        """
        speed, stream = self._platform.speed, self._stream
        away_ms = away_s * 1000.0 * speed if speed is not None and self._platform.live else 0.0
        passed_ms = stream.attach(away_ms)
        if passed_ms:
            self._note(Action(stream.position_ms, "outage", timestamp=stream.timestamp, note=f"{passed_ms:g} ms"))
        begun, start_ms = anyio.current_time(), stream.position_ms
        self._put(Action(start_ms, "ack", self._ack(), timestamp=stream.timestamp))
        end = "ended"
        for action in stream.actions(MediaMessages(stream.call, self._asked, self._platform.layout)):
            if speed is not None:
                due = begun + (action.due_ms - start_ms) / 1000.0 / speed
                if due > anyio.current_time():
                    failure = await self._send()
                    if failure:
                        return failure
                    await anyio.sleep_until(due)
            self._put(action)
            if action.kind == "disconnect":
                end = action.note
            if self._n_octets >= _BATCH_OCTETS or len(self._batch) >= _BATCH_MESSAGES:
                failure = await self._send()
                if failure:
                    return failure
        return await self._send() or end

    async def finish(self, end: str) -> None:
        """Do to the connection what `run` found to be its end."""
        websocket = self._websocket
        if end == "ended":
            await websocket.close(1000)
        elif end == "replaced":
            await websocket.close(1008, "replaced by a newer subscription")
        elif end not in ("left", "stalled"):
            if self._platform.faults.revoke_tokens_on_disconnect:
                self._platform.tokens.revoke_all()
            if end == "abnormal":
                await websocket.cut()
            elif end == "half_open":
                await websocket.fall_silent()
            else:
                await websocket.close(int(end.removeprefix("close:")))

    def _put(self, action: Action) -> None:
        self._batch.append(action)
        self._n_octets += len(action.message or b"")

    async def _send(self) -> str:
        """Send what is due and write it down; returns how the connection ended, or ``""``."""
        batch, self._batch, self._n_octets = self._batch, [], 0
        messages = [action.message for action in batch if action.message is not None]
        # a paced cloud gives up on a reader that stalls; an unpaced one goes at the reader's pace
        limit = None if self._platform.speed is None else self._platform.write_timeout_s
        with anyio.move_on_after(limit) as scope:
            try:
                await self._websocket.send(*messages)
            except WebSocketClosed:
                return "left"
        if scope.cancelled_caught:
            return "stalled"
        self._connection.messages_sent += len(messages)
        for action in batch:
            self._stream.sent(action)
            self._note(action)
        return ""

    def _note(self, action: Action) -> None:
        number, name = self._connection.number, self._stream.conversation_id
        record = Record(number, name, action.kind, action.sequence_number, action.timestamp, action.note)
        self._platform.journal.add(record)

    def _ack(self) -> str:
        message: dict[str, object] = {"type": "ack"}
        if self._platform.ack == "detailed":
            message["conversationId"] = self._stream.conversation_id
            message["format"] = self._asked.encoding
            message["sampleRate"] = self._asked.sample_rate
            if self._asked.channels == 2:
                names = self._stream.call.channels
                message["channels"] = [*names, *(name for name in CHANNELS if name not in names)][:2]
            message["timestamp"] = self._stream.timestamp
        return json.dumps(message)
