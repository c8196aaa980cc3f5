"""The interactions of one connection, merged by time, paced, sent and written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

import anyio

from .journal import Connection, Record
from .platform import Platform
from .stream import Action, ConversationStream
from .streams_messages import StreamsMessages
from .websocket import WebSocket, WebSocketClosed

__all__ = ["StreamsFeed"]

_BATCH_MESSAGES = 64  # sent in one go, when that many are due
_IDLE_S = 0.05  # between looks for new interactions, when there are none


@dataclass(slots=True, eq=False)
class _Lane:
    """One interaction on its way."""

    stream: ConversationStream
    messages: StreamsMessages
    actions: Iterator[Action]
    offset_ms: float  # from its media time to the connection's


class StreamsFeed:
    """Sends any number of interactions over one connection, in the order of their times.

    The end of the connection that is planned for one of them ends it for all, and the outage is everybody's.

    Parameters
    ----------
    away : dict
        Media that an interaction still has to miss, in ms, by id; shared by the feeds of a cloud.
    """

    def __init__(
        self, platform: Platform, websocket: WebSocket, connection: Connection, away: dict[str, float]
    ) -> None:
        self._platform = platform
        self._websocket = websocket
        self._connection = connection
        self._away = away
        self._lanes: dict[str, _Lane] = {}
        self._due: list[tuple[float, int, _Lane, Action]] = []
        self._tie = 0
        self._now_ms = 0.0  # of the connection
        self._left = False
        self._began = anyio.current_time()

    @property
    def names(self) -> set[str]:
        """What it carries."""
        return set(self._lanes)

    def add(self, stream: ConversationStream, messages: StreamsMessages) -> StreamsMessages:
        """Carry an interaction; one that is there already goes on as it is."""
        name = stream.conversation_id
        lane = self._lanes.get(name)
        if lane is not None:
            return lane.messages
        passed_ms = stream.attach(self._away.pop(name, 0.0))
        if passed_ms:
            self._note(stream, Action(0.0, "outage", timestamp=stream.timestamp, note=f"{passed_ms:g} ms"))
        lane = _Lane(stream, messages, iter(()), self._now_ms - stream.position_ms)
        lane.actions = stream.actions(messages)
        self._lanes[name] = lane
        self._next(lane)
        return messages

    def drop(self, name: str) -> None:
        """Carry it no more; it waits for another subscription."""
        lane = self._lanes.pop(name, None)
        if lane is not None:
            lane.stream.detach()

    def leave(self) -> None:
        """The client has gone."""
        self._left = True

    def detach_all(self) -> None:
        """The connection is over."""
        for name in list(self._lanes):
            self.drop(name)

    async def run(self) -> str:
        """Send until the connection ends; returns how, as `Connection` has it."""
        speed = self._platform.speed
        while not self._left:
            batch: list[tuple[_Lane, Action]] = []
            while self._due and len(batch) < _BATCH_MESSAGES:
                at_ms, _, lane, action = self._due[0]
                if speed is not None and self._began + at_ms / 1000.0 / speed > anyio.current_time():
                    break
                heappop(self._due)
                if self._lanes.get(lane.stream.conversation_id) is not lane:
                    continue
                self._now_ms = max(self._now_ms, at_ms)
                batch.append((lane, action))
                if action.kind == "disconnect":
                    break
                self._next(lane)
            end = await self._send(batch)
            if end:
                return end
            if not batch:
                await self._rest()
        return "left"

    async def _rest(self) -> None:
        """Wait for what is due next, or for something to be added."""
        if not self._due:
            if not self._lanes:
                self._now_ms = 0.0
                self._began = anyio.current_time()
            await anyio.sleep(_IDLE_S)
            return
        speed = self._platform.speed
        if speed is not None:
            wait = self._began + self._due[0][0] / 1000.0 / speed - anyio.current_time()
            await anyio.sleep(min(max(0.0, wait), _IDLE_S))

    async def finish(self, end: str) -> None:
        """Do to the connection what `run` found to be its end."""
        websocket, faults = self._websocket, self._platform.faults
        if end in ("left", "stalled"):
            return
        if faults.revoke_tokens_on_disconnect:
            self._platform.tokens.revoke_all()
        if end == "abnormal":
            await websocket.cut()
        elif end == "half_open":
            await websocket.fall_silent()
        else:
            await websocket.close(int(end.removeprefix("close:")))

    def _next(self, lane: _Lane) -> None:
        """Queue what an interaction does next."""
        action = next(lane.actions, None)
        if action is not None:
            self._tie += 1
            heappush(self._due, (action.due_ms + lane.offset_ms, self._tie, lane, action))

    async def _send(self, batch: list[tuple[_Lane, Action]]) -> str:
        """Send what is due and write it down; returns how the connection ended, or ``""``."""
        end = ""
        messages: list[str | bytes] = []
        told: list[tuple[_Lane, Action]] = []
        for lane, action in batch:
            if action.kind == "transcript":
                continue
            told.append((lane, action))
            if action.kind == "ended":
                self.drop(lane.stream.conversation_id)
                if self._platform.media_streams.replies == "full":
                    assert action.timestamp is not None
                    messages.append(lane.messages.ended(action.timestamp))
            elif action.kind == "disconnect":
                end = action.note
                for name, other in self._lanes.items():
                    self._away[name] = lane.stream.outage_ms
                    other.stream.detach()
            elif action.message is not None:
                messages.append(action.message)
        limit = None if self._platform.speed is None else self._platform.write_timeout_s
        with anyio.move_on_after(limit) as scope:
            try:
                await self._websocket.send(*messages)
            except WebSocketClosed:
                return "left"
        if scope.cancelled_caught:
            return "stalled"
        self._connection.messages_sent += len(messages)
        for lane, action in told:
            lane.stream.sent(action)
            self._note(lane.stream, action)
        return end

    def _note(self, stream: ConversationStream, action: Action) -> None:
        self._platform.journal.add(
            Record(
                self._connection.number,
                stream.conversation_id,
                action.kind,
                action.sequence_number,
                action.timestamp,
                action.note,
            )
        )
