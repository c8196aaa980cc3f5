"""One AudioHook session, the client's end: as the platform plays it, or as badly as a test wants it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from ...dialects.audiohook import AudioHookClientConfig, ClientMachine, ContinuedSession, Open, events
from ...errors import ConnectionLost, StateError
from ...transport.websocket import connect
from .caller import Caller
from .outcome import Line, SessionReport
from .playback import Playback

if TYPE_CHECKING:
    import ssl as ssl_module

__all__ = ["AudioHookClient"]

MAX_QUEUE = 16  # messages of the server that wait to be read; then TCP holds it back
MAX_MESSAGE_OCTETS = 16 << 20  # above what a server may send, so that the machine can say what is wrong
CLOSE_TIMEOUT_S = 2.0


class AudioHookClient:
    """A session with an AudioHook server; used as an async context manager, on asyncio and on trio.

    Parameters
    ----------
    url : str
        ``ws://`` or ``wss://``.
    open : Open
        What is offered, and who calls whom.
    caller : Caller, optional
        Ids and keys of the upgrade request; one without a key by default.
    config : AudioHookClientConfig, optional
        Settings of the protocol.
    on_line : callable, optional
        Called with every message as it goes over the wire, a `Line`.
    on_event : callable, optional
        Called with what the machine tells of, after this object has taken note of it.
    ssl : ssl.SSLContext, optional
        Instead of the default context, for ``wss://``.
    open_timeout_s : float
        For TCP, TLS and the upgrade together.

    Attributes
    ----------
    machine : ClientMachine
        The protocol.
    report : SessionReport
        What came of it so far.
    playback : Playback
        The server's audio (Audio Connector).
    leaving : Event
        Set when the session does not go on: the server asked for its end, something failed, or it is over.

    Raises
    ------
    HandshakeError
        On entering, if the server refuses the upgrade.
    TransportError
        On entering, if there is no connection.

    Notes
    -----
    Leaving ends the session with ``close`` and waits for ``closed``; leaving by an error, or after `vanish` or
    `freeze`, only drops the connection.
    """

    def __init__(
        self,
        url: str,
        open: Open,
        *,
        caller: Caller | None = None,
        config: AudioHookClientConfig | None = None,
        on_line: Callable[[Line], object] | None = None,
        on_event: Callable[[Any], object] | None = None,
        ssl: ssl_module.SSLContext | None = None,
        open_timeout_s: float = 10.0,
    ) -> None:
        self.url = url
        self.caller = caller or Caller(organization_id=open.organization_id)
        self.machine = ClientMachine(open, session_id=self.caller.session_id, config=config)
        self.report = SessionReport(self.caller.session_id)
        self.playback = Playback()
        self._on_line = on_line
        self._on_event = on_event
        self._ssl = ssl
        self._open_timeout_s = open_timeout_s
        self._conformity = self.report.conformity
        self._n_violations = 0
        self._began = 0.0
        self._lock = anyio.Lock()  # of the order on the wire
        self._changed = anyio.Event()  # the next deadline may have
        self._reading = anyio.Event()
        self._reading.set()
        self.leaving = anyio.Event()
        self._answered = anyio.Event()
        self._ended = anyio.Event()
        self._silent = False  # vanished or frozen: nothing is sent any more
        self._websocket: Any = None
        self._stack: AsyncExitStack | None = None
        self._n_frames = 0

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise StateError("a client is for one session")
        headers = self.caller.headers(self.url, time.time())
        async with AsyncExitStack() as stack:
            began = time.monotonic()
            self._websocket = await stack.enter_async_context(
                connect(
                    self.url,
                    headers=headers,
                    ping_interval_s=None,  # the protocol has its own
                    open_timeout_s=self._open_timeout_s,
                    close_timeout_s=CLOSE_TIMEOUT_S,
                    max_message_octets=MAX_MESSAGE_OCTETS,
                    max_queue=MAX_QUEUE,
                    ssl=self._ssl,
                )
            )
            self._began = time.monotonic()
            self.report.connect_s = self._began - began
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            self.machine.start(self._began)
            await self._flush()
            tasks.start_soon(self._read)
            tasks.start_soon(self._keep_time)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stack is not None
        try:
            if kind is None and not self._silent:
                await self.close("end")
            elif not self.machine.over:
                await self._websocket.abort()
        finally:
            self._note()
            await self._stack.__aexit__(None, None, None)  # the body's error is no group of the task group's

    # What happens

    @property
    def ended(self) -> bool:
        """Whether the session is over."""
        return self._ended.is_set()

    @property
    def silent(self) -> bool:
        """Whether it vanished or froze: nothing is sent any more."""
        return self._silent

    @property
    def checkpoint(self) -> ContinuedSession:
        """How far this session has come, for one that takes it over."""
        return ContinuedSession(self.machine.session_id, self.machine.peer_seq, self.machine.sent_seq)

    async def opened(self) -> bool:
        """Wait for the server's answer to ``open``; False when the session ends instead."""
        await self._answered.wait()
        return self.machine.state == "active"

    async def wait_ended(self) -> SessionReport:
        """Wait for the end of the session, whoever causes it."""
        await self._ended.wait()
        return self.report

    # What the client does; each is over when it is on the wire

    async def send_audio(self, payload: bytes) -> bool:
        """Send audio, or drop it while paused; see ``audio`` of `ClientMachine`."""
        async with self._lock:
            waiting = self.machine.messages_to_send()
            wanted = self.machine.audio(payload, time.monotonic())
            await self._send(waiting)
            if wanted and not self._silent:
                await self._put(payload)
        return wanted

    async def discard(self, n_samples: int) -> bool:
        """Drop audio of the source, and tell so."""
        return await self._do(self.machine.discard(n_samples, time.monotonic()))

    async def pause(self) -> bool:
        """Hold the audio for reasons of this end."""
        return await self._do(self.machine.pause(time.monotonic()))

    async def resume(self) -> bool:
        """End `pause`."""
        return await self._do(self.machine.resume(time.monotonic()))

    async def update(self, language: str) -> bool:
        """Tell a change of the language."""
        return await self._do(self.machine.update(language, time.monotonic()))

    async def dtmf(self, digit: str) -> bool:
        """Tell of a key pressed (Audio Connector)."""
        return await self._do(self.machine.dtmf(digit, time.monotonic()))

    async def error(self, code: int, message: str, *, retry_after_s: float | None = None) -> bool:
        """Tell the server of an error."""
        return await self._do(self.machine.error(code, message, time.monotonic(), retry_after_s=retry_after_s))

    async def close(self, reason: str = "end") -> SessionReport:
        """End the session by the protocol, and the connection after it."""
        await self._do(self.machine.close(reason, time.monotonic()))
        return await self.wait_ended()

    # What no good client does: to see what a server makes of it

    async def send_message(self, message: str | bytes) -> None:
        """Send a message past the protocol's counters: garbage, or audio that does not fit."""
        async with self._lock:
            await self._put(message)

    async def send_octets(self, octets: bytes) -> None:
        """Put octets on the wire as they are, which need be no WebSocket frame."""
        async with self._lock:
            await self._websocket.send_octets(octets)

    async def vanish(self) -> None:
        """Drop TCP without a word."""
        self._silent = True
        await self._websocket.abort()

    def freeze(self) -> None:
        """Neither send nor read any more, and leave the connection open, as a machine does that hangs."""
        self._silent = True
        self._changed.set()
        self.hold_reading()

    def hold_reading(self) -> None:
        """Read no more, so that TCP holds the server back."""
        if self._reading.is_set():
            self._reading = anyio.Event()

    def go_on_reading(self) -> None:
        """Read again."""
        self._reading.set()

    # Within

    async def _do(self, done: bool) -> bool:
        await self._flush()
        return done

    async def _flush(self) -> None:
        async with self._lock:
            await self._send(self.machine.messages_to_send())
        self._changed.set()

    async def _send(self, messages: list[str | bytes]) -> None:
        for message in messages:
            if self._silent:
                return
            await self._put(message)

    async def _put(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._tell(True, _kind(_value(message)), message, len(message))
        else:
            self._tell(True, "audio", "", len(message))
        try:
            await self._websocket.send(message)
        except ConnectionLost:
            pass  # the reader says how it ended

    async def _read(self) -> None:
        try:
            while True:
                await self._reading.wait()
                message = await self._websocket.receive()
                await self._reading.wait()
                self._take(message)
                await self._flush()
                if self.machine.over:
                    await self._websocket.aclose(None)
                    await self._after_end()
                    return
        except ConnectionLost as lost:
            self._lost(lost)

    async def _after_end(self) -> None:
        """How the server answers the close frame."""
        try:
            while True:
                message = await self._websocket.receive()
                where = "text message" if isinstance(message, str) else "audio"
                self._find("ending", where, "came after closed")
        except ConnectionLost as lost:
            self.report.close_code = lost.code
            if lost.code == 1006:
                self._find("ending", "connection", "was dropped without a close frame", severity="warning")
        self._over()

    def _over(self) -> None:
        for event in (self._ended, self._answered, self.leaving, self._changed):
            event.set()

    def _lost(self, lost: ConnectionLost) -> None:
        """The connection is gone before its time."""
        now = time.monotonic()
        self.report.close_code = lost.code
        if not self.machine.over:
            if not self._silent:
                self._find("ending", "connection", f"{lost} before closed: clients take that for a failure")
            self._happened(self.machine.transport_closed(now), "connection", now)
        self._over()

    async def _keep_time(self) -> None:
        while not self._ended.is_set():
            self._changed = anyio.Event()
            now = time.monotonic()
            machine, playback = self.machine, self.playback
            if self._silent:
                return
            if now >= machine.next_deadline:
                self._happened(machine.advance(now), "connection", now)
                await self._flush()
                if machine.over:
                    await self._websocket.aclose(None)
                    self._over()
                    return
                continue
            if playback.advance(now):
                await self._do(machine.playback(False, now))
                continue
            deadline = min(machine.next_deadline, playback.next_deadline)
            with anyio.move_on_after(None if deadline == inf else max(0.0, deadline - now)):
                await self._changed.wait()

    def _take(self, message: str | bytes) -> None:
        now = time.monotonic()
        at_s = now - self._began
        if isinstance(message, str):
            value = _value(message)
            kind = _kind(value)
            seq = value.get("seq") if isinstance(value, dict) else None
            where = f"{kind}, seq {seq}"
            self._tell(False, kind, message, len(message))
            self._conformity.text(where, message, at_s, value, self.machine.position / self.machine.sample_rate)
        else:
            self._n_frames += 1
            kind, where = "audio", f"audio frame {self._n_frames}"
            self._tell(False, "audio", "", len(message))
            self._conformity.audio(where, len(message), at_s)
        self.report.received[kind] = self.report.received.get(kind, 0) + 1
        self._happened(self.machine.receive(message, now), where, now)

    def _happened(self, found: list[Any], where: str, now: float) -> None:
        at_s = now - self._began
        machine, report = self.machine, self.report
        for violation in machine.violations[self._n_violations :]:
            self._conformity.find("protocol", where, at_s, violation)
        self._n_violations = len(machine.violations)
        for event in found:
            match event:
                case events.OpenAnswered():
                    report.opened_s = at_s
                    media = event.media
                    report.media = f"{media.format} {'+'.join(media.channels)} {media.rate}" if media else ""
                    self._conformity.opened(where, at_s, at_s)
                    self._answered.set()
                case events.Pong():
                    report.rtts_s.append(event.rtt_s)
                    self._conformity.pong(where, at_s, event.rtt_s)
                case events.EventReceived():
                    self._conformity.entities(where, at_s, event.entities, machine.media)
                    barge_in = any(entity.get("type") == "barge_in" for entity in event.entities)
                    if barge_in and self.playback.flush(machine.sample_rate, now):
                        machine.playback(False, now)
                case events.Audio():
                    if self.playback.push(event.payload, event.n_samples, machine.sample_rate, now):
                        machine.playback(True, now)
                case events.Failed():
                    self._answered.set()
                    self.leaving.set()
                    if event.cause == "timeout":
                        self._conformity.find("timeout", where, at_s, event.detail)
                case events.Disconnecting():
                    report.disconnect = event.reason
                    report.output_variables |= event.output_variables
                    self._answered.set()
                    self.leaving.set()
                case events.Closed():
                    report.output_variables |= event.output_variables
                case events.Ended():
                    report.reason, report.clean = event.reason, event.clean
                    if event.reason == "no closed":
                        self._find("timeout", "connection", "no closed within the time for it")
            if self._on_event is not None:
                self._on_event(event)
        self._note()

    def _note(self) -> None:
        machine, report = self.machine, self.report
        report.sent_frames = machine.sent_frames
        report.sent_samples = machine.sent_samples
        report.dropped_samples = machine.dropped_samples
        report.position = machine.position
        report.server_audio_samples = machine.received_samples

    def _find(self, rule: str, where: str, detail: str, *, severity: str = "error") -> None:
        self._conformity.find(rule, where, time.monotonic() - self._began, detail, severity=severity)

    def _tell(self, sent: bool, kind: str, text: str, n_octets: int) -> None:
        if self._on_line is not None:
            self._on_line(Line(time.monotonic() - self._began, sent, kind, text, n_octets))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind[:64] if isinstance(kind, str) else "?"
