"""One socket and the interactions on it: connect, subscribe, listen; and again, for what is still wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import anyio
import anyio.abc
import anyio.lowlevel

from ..auth import TokenSource
from ..clock import Clock
from ..config import MediaStreamsConfig
from ..dialects import media_streams as dialect
from ..errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    FormatError,
    HandshakeError,
    MediaNotAvailable,
    RemoteProtocolError,
    TransportError,
)
from ..reconnect import ENDED, RETRIABLE, Reconnects, quoted
from ..transport.websocket import WebSocket, connect
from .availability import Availability
from .stream import MediaStream

__all__ = ["Connection", "Host"]

MESSAGES_AT_ONCE = 64  # then other tasks get a turn
NOT_AVAILABLE = "mediaNotAvailable"
#: What one interaction cannot use, or cannot record, ends that one alone.
STREAM_FAULTS = (ConfigError, FormatError, OSError)


class Host(Protocol):
    """What a connection needs of those who keep it."""

    profile: MediaStreamsConfig
    clock: Clock
    tokens: TokenSource
    url: str

    async def look_up(self, interaction_id: str) -> Availability:
        """Ask whether the media of an interaction can be had."""

    def tell(self, kind: str, **details: Any) -> None:
        """Tell of something that happened."""


class Connection:
    """Interactions that share a socket.

    Attributes
    ----------
    number : int
        For events, from 1.
    wanted : dict of str to MediaStream
        What it carries, or is to carry once it is connected.
    over : bool
        Whether it carries no more.
    reconnects : int
        Sockets that took over from a lost one.
    unknown_messages, malformed_messages, unwanted_packets : int
        Messages of a type that the dialect does not have; ones that could not be read; packets of interactions that
        are not wanted (any more).
    """

    def __init__(self, number: int, host: Host, again: Reconnects) -> None:
        self.number = number
        self.wanted: dict[str, MediaStream] = {}
        self.over = False
        self.reconnects = 0
        self.unknown_messages = self.malformed_messages = self.unwanted_packets = 0
        self._host = host
        self._again = again
        self._websocket: WebSocket | None = None
        self._token = ""  # the one in use, so that no text of a server can repeat it
        self._asked: dict[str, bool] = {}  # on this socket; whether that was answered
        self._heard = self._carried = False  # anything, media; on this socket
        self._opened = 0  # sockets
        self._opened_at = 0.0
        self._problem: Exception | None = None
        self._scope = anyio.CancelScope()  # of everything
        self._listening = anyio.CancelScope()  # of one socket
        self._tasks: anyio.abc.TaskGroup | None = None

    @property
    def room(self) -> int:
        """Interactions that still fit."""
        return self._host.profile.max_interactions - len(self.wanted)

    @property
    def latency_s(self) -> float | None:
        """Round trip of the last keep-alive ping, None before the first."""
        return None if self._websocket is None else self._websocket.latency_s

    async def run(self) -> None:
        """Carry what is wanted until nothing is; raises nothing, each interaction is told how it ended."""
        failure: Exception | None = None
        cause = "stopped here"
        try:
            with self._scope:
                await self._stay_connected()
                cause = "the connection is over"
        except Exception as error:
            failure = error
            self._host.tell("gave_up", connection=self.number, cause=str(error))
        finally:
            self.over = True
            with anyio.CancelScope(shield=True):
                for stream in list(self.wanted.values()):
                    await self._close(stream, failure, cause)

    def stop(self) -> None:
        """End now; what has been received is handed on."""
        self._scope.cancel()

    async def add(self, streams: Iterable[MediaStream]) -> None:
        """Carry more; at once when connected."""
        fresh = {stream.interaction_id: stream for stream in streams}
        self.wanted |= fresh
        if self._websocket is None:
            return  # they are asked for with all others
        self._asked |= dict.fromkeys(fresh, False)  # nobody else asks for them meanwhile
        await self._look_up_all(fresh.values())
        await self._ask_for(fresh)

    async def remove(self, stream: MediaStream) -> None:
        """Carry it no more."""
        name = stream.interaction_id
        asked = name in self._asked
        stream.note("unsubscribed")
        await self._close(stream, None, "unsubscribed")
        if asked and self._websocket is not None:
            try:
                await self._websocket.send(dialect.unsubscription([name]))
            except ConnectionLost:
                pass  # told to whoever receives
        self._leave_if_done()

    # Connections

    async def _stay_connected(self) -> None:
        while self.wanted:
            self._heard = self._carried = False
            problem: Exception | None = None
            try:
                await self._one_connection()
            except (TransportError, AuthError, RemoteProtocolError) as error:
                problem = error
            finally:
                self._websocket = None
                self._asked.clear()
            if problem is None:
                continue
            self._host.tell(
                "disconnected", connection=self.number, code=getattr(problem, "code", None), cause=str(problem)
            )
            if self._carried:  # an acknowledgement alone proves nothing
                self._again.carried()
            if isinstance(problem, ConnectionLost) and problem.code in ENDED:
                problem = await self._closed_as_meant(problem)
                if not self.wanted:
                    return
            wait = self._again.after(problem, reached=self._opened > 0)
            if wait is None:
                continue
            self._host.tell("reconnecting", connection=self.number, attempt=self._again.attempts, wait_s=round(wait, 3))
            for stream in list(self.wanted.values()):
                await stream.lose(self._again.attempts, wait, str(problem))
            await self._host.clock.sleep(wait)

    async def _closed_as_meant(self, problem: ConnectionLost) -> Exception:
        """The server has closed without a fault: what is over by its own word is; the rest is asked for again."""
        if self._host.profile.check_availability:
            await self._look_up_all(self.wanted.values(), over=True)
            return TransportError(f"{problem}, though interactions go on")
        for stream in list(self.wanted.values()):
            if stream.carried:
                await self._close(stream, None, "the server closed the connection")
            else:
                await self._close(stream, problem, "")
        return problem

    async def _one_connection(self) -> None:
        """Connect, subscribe, listen until nothing is wanted; anything else raises."""
        host, profile = self._host, self._host.profile
        now = host.clock.now()
        kept_s = profile.availability_window_s
        await self._look_up_all([one for one in self.wanted.values() if not one.carried or now - one.heard_at > kept_s])
        if not self.wanted:
            return
        token = self._token = await host.tokens.token()
        self._problem = None
        try:
            async with connect(
                host.url,
                headers={"Authorization": f"Bearer {token}"},
                clock=host.clock,
                ping_interval_s=profile.ping_interval_s,
                pong_timeout_s=profile.pong_timeout_s,
                open_timeout_s=profile.open_timeout_s,
                max_message_octets=profile.max_message_octets,
            ) as websocket:
                self._again.opened()
                self._websocket = websocket
                self.reconnects += self._opened > 0
                self._opened += 1
                self._opened_at = host.clock.now()
                host.tell("connected", connection=self.number)
                await self._talk(websocket)
        except HandshakeError as error:
            if error.status == 401:
                host.tokens.invalidate(token)
            raise

    async def _talk(self, websocket: WebSocket) -> None:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._watch)
            self._listening = anyio.CancelScope()
            try:
                with self._listening:
                    await self._ask()
                    await self._listen(websocket)
            except Exception as error:  # not through the task group, which would wrap it
                self._problem = error
            tasks.cancel_scope.cancel()
        self._tasks = None
        if self._problem is not None:
            raise self._problem

    async def _ask(self) -> None:
        """Subscribe to what is wanted and has not been asked for on this socket."""
        websocket = self._websocket
        names = [name for name in self.wanted if name not in self._asked]
        if websocket is None or not names:
            self._leave_if_done()
            return
        now = self._host.clock.now()
        for name in names:
            self._asked[name] = False
            self.wanted[name].ask(now)
        profile = self._host.profile
        await websocket.send(dialect.subscription(names, media_type=profile.media_type, codecs=profile.codecs))

    def _leave_if_done(self) -> None:
        if not self.wanted:
            self._listening.cancel()

    # What comes

    async def _listen(self, websocket: WebSocket) -> None:
        receive, now = websocket.receive, self._host.clock.now
        n_received = 0
        while self.wanted:
            n_received += 1
            if n_received % MESSAGES_AT_ONCE == 0:  # what waits in the socket's queue is had without waiting
                await anyio.lowlevel.checkpoint()
            message = await receive()
            self._heard = True
            event = dialect.receive(message)
            if type(event) is dialect.Media:
                stream = self.wanted.get(event.interaction_id)
                if stream is None:
                    self.unwanted_packets += 1
                    continue
                self._carried = True
                self._asked[event.interaction_id] = True
                try:
                    await stream.take(event, len(message), now())
                except STREAM_FAULTS as error:
                    await self._close(stream, error, "")
            else:
                await self._take_other(event)

    async def _take_other(self, event: dialect.Event) -> None:
        match event:
            case dialect.Packet(octets):
                if len(self.wanted) != 1 or not self._host.profile.binary_packets:
                    self._refuse(f"binary message of {len(octets)} octets that is no JSON", None)
                    return
                (stream,) = self.wanted.values()
                self._carried = True
                try:
                    await stream.take_octets(octets, self._host.clock.now())
                except STREAM_FAULTS as error:
                    await self._close(stream, error, "")
            case dialect.Ack(granted):
                for one in granted:
                    await self._take_answer(one)
            case dialect.Ended(name, timestamp):
                stream_ended = self.wanted.get(name)
                if stream_ended is not None:
                    await self._close(stream_ended, None, "the interaction is over", timestamp)
            case dialect.Failure():
                await self._take_failure(event)
            case dialect.Unknown(type_):
                self.unknown_messages += 1
                if self.unknown_messages == 1:
                    self._host.tell("unknown_message", connection=self.number, message_type=self._quoted(type_))
            case dialect.Malformed(reason, name):
                self._refuse(reason, name)

    def _refuse(self, reason: str, name: str | None) -> None:
        self.malformed_messages += 1
        stream = None if name is None else self.wanted.get(name)
        if stream is not None:
            stream.refuse(reason)
        elif self.malformed_messages == 1:
            self._host.tell("malformed_message", connection=self.number, reason=reason)

    async def _take_answer(self, one: dialect.Granted) -> None:
        stream = self.wanted.get(one.interaction_id)
        if stream is None:
            return
        self._asked[one.interaction_id] = True
        if one.status >= 400:
            self._refused(stream, one.status, one.code, "")
            return
        try:
            stream.grant(one.codec, one.sample_rate)
        except STREAM_FAULTS as error:
            await self._close(stream, error, "")

    async def _take_failure(self, failure: dialect.Failure) -> None:
        names: Iterable[str] = failure.interaction_ids
        if not names:
            if failure.code != NOT_AVAILABLE and failure.status not in (400, 404, 410):
                said = self._quoted(failure.message or failure.code or "")
                raise RemoteProtocolError(
                    f"the server reports an error: {said or 'no reason given'}",
                    status=failure.status,
                    code=None if failure.code is None else self._quoted(failure.code),
                )
            names = [name for name, answered in self._asked.items() if not answered]
        for name in names:
            stream = self.wanted.get(name)
            if stream is not None:
                self._asked[name] = True
                self._refused(stream, failure.status, failure.code, failure.message)

    def _refused(self, stream: MediaStream, status: int | None, code: str | None, message: str) -> None:
        """One interaction was refused: look it up and ask again, a bounded number of times, or tell it."""
        code = None if code is None else self._quoted(code)
        assert self._tasks is not None
        if (code == NOT_AVAILABLE or status in RETRIABLE) and stream.rechecks < self._host.profile.rechecks:
            stream.rechecks += 1
            self._host.tell("refused", connection=self.number, interactionId=stream.interaction_id, reason=code)
            self._tasks.start_soon(self._ask_again, stream)
            return
        said = self._quoted(message)
        text = f"the server does not give the media of {stream.interaction_id}: {said or code or status}"
        failure: Exception
        if code == NOT_AVAILABLE or status in (400, 404, 410):
            failure = MediaNotAvailable(text, interaction_id=stream.interaction_id, code=code or NOT_AVAILABLE)
        else:
            failure = RemoteProtocolError(text, status=status, code=code)
        self._tasks.start_soon(self._close, stream, failure, "")

    async def _ask_again(self, stream: MediaStream) -> None:
        await self._host.clock.sleep(self._host.profile.recheck_delay_s)
        await self._look_up_all([stream])
        await self._ask_for([stream.interaction_id])

    async def _ask_for(self, names: Iterable[str]) -> None:
        """Subscribe to these, asked for or not; when the connection is lost, whoever receives is told."""
        for name in names:
            self._asked.pop(name, None)
        try:
            await self._ask()
        except ConnectionLost:
            pass

    # What does not come

    async def _watch(self) -> None:
        """Give up a connection that says nothing; look up interactions that say nothing."""
        host, profile = self._host, self._host.profile
        while True:
            await host.clock.sleep(min(profile.ack_timeout_s, profile.idle_timeout_s) / 4)
            now = host.clock.now()
            if not self._heard and now - self._opened_at >= profile.ack_timeout_s:
                self._problem = ConnectionLost(f"nothing came within {profile.ack_timeout_s:g} s", code=1006)
                self._listening.cancel()
                return
            quiet = [one for one in self.wanted.values() if now - one.heard_at >= self._patience(one)]
            for stream in quiet:
                stream.heard_at = now  # not again before another such time
                stream.wait_on()
            if quiet and profile.check_availability:
                await self._look_up_all(quiet, over=True)

    def _patience(self, stream: MediaStream) -> float:
        profile = self._host.profile
        return profile.idle_timeout_s if stream.answered.is_set() else profile.ack_timeout_s

    async def _look_up_all(self, streams: Iterable[MediaStream], *, over: bool = False) -> None:
        """Look interactions up, and end those whose media cannot be had; with ``over`` also those that are over."""
        if not self._host.profile.check_availability:
            return
        async with anyio.create_task_group() as tasks:
            for stream in list(streams):
                tasks.start_soon(self._look_up, stream, over)

    async def _look_up(self, stream: MediaStream, over: bool) -> None:
        name = stream.interaction_id
        found = await self._host.look_up(name)
        if found.verdict == "unknown":
            self._host.tell("availability_unknown", interactionId=name, reason=self._quoted(found.detail))
        if not (found.over if over else found.gone):
            return
        if stream.carried:
            await self._close(stream, None, "the interaction is over")
        elif found.gone or stream.answered.is_set():
            text = f"interaction {name} was not found, or has ended"
            if found.verdict != "notFound":
                text = (
                    f"the media of interaction {name} cannot be had any more: it ended {found.ended_s or 0:.0f} s ago"
                )
            await self._close(stream, MediaNotAvailable(text, interaction_id=name, code=found.verdict), "")

    async def _close(
        self, stream: MediaStream, failure: Exception | None, cause: str, end_timestamp: int | None = None
    ) -> None:
        self.wanted.pop(stream.interaction_id, None)
        with anyio.CancelScope(shield=True):
            await stream.close(failure, cause, end_timestamp)
        self._leave_if_done()

    def _quoted(self, text: str) -> str:
        return quoted(text, self._token)
