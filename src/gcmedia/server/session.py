"""One WebSocket of one AudioHook client: its protocol machine, driven from the transport's callbacks."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from .._core.intake import Intake
from ..dialects.audiohook import Identity, ServerMachine, events
from ..dialects.audiohook.entities import Entity
from ..errors import LocalProtocolError
from ..transport.accept import Connection
from .call import HookCall
from .host import Host
from .outbox import Outbox

__all__ = ["HookSession", "RefusedSession"]


class HookSession:
    """A session: what the transport calls is answered here at once; everything slow is started elsewhere.

    Attributes
    ----------
    machine : ServerMachine
        The protocol.
    call : HookCall or None
        None before ``open``, and for connection probes.
    identity : Identity
        Who the upgrade request said it is.
    due : float
        When `tick` may have something to do.
    intake : Intake or None
        Takes the call's audio while there is nothing to decide about it.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_finished",
        "_probe",
        "_server",
        "call",
        "due",
        "handled",
        "identity",
        "intake",
        "machine",
        "outbox",
    )

    def __init__(self, server: Host, identity: Identity, now: float) -> None:
        self._server = server
        self._connection: Connection | None = None
        self._closing = False
        self._finished = False
        self._probe = False
        self.identity = identity
        self.machine = ServerMachine(server.protocol, now=now, identity=identity)
        self.due = self.machine.next_deadline
        self.call: HookCall | None = None
        self.intake: Intake | None = None
        self.outbox: Outbox | None = None
        self.handled = False  # a handler has run, or runs

    # The transport's side

    def connected(self, connection: Connection) -> None:
        """The WebSocket is open."""
        self._connection = connection
        self._run(self._server.now())

    def text(self, octets: bytes) -> None:
        """A text message came."""
        server = self._server
        now = server.now()
        server.counters.messages += 1
        self.settle(now)
        self.machine.receive_text(octets, now)
        self._run(now)

    def binary(self, octets: bytes | bytearray | memoryview) -> None:
        """A frame of audio came that ``intake`` has not taken."""
        server = self._server
        now = server.now()
        self.settle(now)
        if self.machine.receive_audio(octets, now) >= 0:  # type: ignore[arg-type]  # only its length is looked at
            counters = server.counters
            counters.audio_frames += 1
            counters.audio_octets += len(octets)
            call = self.call
            if call is not None:
                try:
                    call.take(octets, now)
                except Exception as error:  # of our own making; the session is what must go on
                    self._not_taken(error)
        else:
            self._run(now)

    def disconnected(self, code: int) -> None:
        """The WebSocket is closed, whoever did it."""
        now = self._server.now()
        self._connection = None
        self.settle(now)
        for event in self.machine.transport_closed(now):
            self._happen(event, now)
        self._finish(None, "the connection ended")
        self._server.forget(self)
        self.call = None  # which has a way to this session: a ring would wait for Python's search for garbage

    # The server's side

    def tick(self, now: float) -> None:
        """Let time pass; to be called when ``due`` has come."""
        machine, call = self.machine, self.call
        self.due = inf
        if machine.next_deadline <= now:  # as far as it has been told
            self.settle(now)
            if machine.next_deadline <= now:
                for event in machine.advance(now):
                    self._happen(event, now)
                self._run(now)
        if call is not None:
            if call.due <= now:
                call.tick(now)
            self.due = call.due
        self.due = min(self.due, machine.next_deadline)

    def settle(self, now: float) -> None:
        """Tell the machine of the audio that it has not seen."""
        intake = self.intake
        if intake is not None and intake.n_payloads:
            n_payloads, n_octets = intake.settle()
            self.machine.took_audio(n_payloads, n_octets, now)
            counters = self._server.counters
            counters.audio_frames += n_payloads
            counters.audio_octets += n_octets

    def pace(self, now: float) -> bool:
        """Send what had to wait; whether more does."""
        outbox = self.outbox
        if outbox is None:
            return False
        outbox.run(now)
        self._run(now)
        return outbox.pending and not self.machine.over

    def finish_now(self) -> None:
        """Answer ``close`` if that waits for last events: there will be none."""
        now = self._server.now()
        if self.machine.state == "finishing":
            if self.outbox is not None:
                self.outbox.finish(now)
            self.machine.finish(now)
            self._run(now)

    def abort(self) -> None:
        """Cut the connection."""
        if self._connection is not None:
            self._connection.abort()

    # The call's side

    def send_event(self, entities: Iterable[Entity]) -> bool:
        """See `HookCall.send_event`."""
        outbox, now = self.outbox, self._server.now()
        if outbox is None or self.machine.over or self.machine.state not in ("active", "finishing"):
            return False
        outbox.add(entities, self.machine.sample_rate)
        self._pace_soon(now)
        return True

    async def send_audio(self, payload: bytes) -> bool:
        """See `HookCall.send_audio`."""
        machine, outbox = self.machine, self.outbox
        if not self._server.protocol.two_way:
            raise LocalProtocolError("the product takes no audio; AudioHookConfig(two_way=True) is Audio Connector's")
        if outbox is None or machine.over or machine.media is None:
            return False
        if len(payload) % machine.media.block_octets:
            raise LocalProtocolError(
                f"{len(payload)} octets of audio end amid a sample of {machine.media.block_octets} octets"
            )
        await outbox.add_audio(payload, self._server.now())
        self._pace_soon(self._server.now())
        return not machine.over

    def clear_audio(self) -> None:
        """See `HookCall.clear_audio`."""
        if self.outbox is not None:
            self.outbox.clear_audio()

    def wish(self, what: str) -> None:
        """Ask for a pause or its end."""
        if self.outbox is not None and not self.machine.over:
            self.outbox.wish(what)
            self._pace_soon(self._server.now())

    def updated(self) -> bool:
        """See `HookCall.update_done`."""
        now = self._server.now()
        return self._did(self.machine.updated(now), now)

    def reconnect(self, info: str) -> bool:
        """See `HookCall.reconnect`."""
        now = self._server.now()
        return self._did(self.machine.reconnect(info, now), now)

    def disconnect(self, reason: str, *, info: str = "") -> bool:
        """See `HookCall.disconnect`."""
        now = self._server.now()
        if self.outbox is not None:
            self.outbox.finish(now)
        self.settle(now)
        done = self.machine.disconnect(reason, now, info=info)
        if done and self.call is not None:
            self.call.note("disconnect", self.machine.position, reason=reason)
        return self._did(done, now)

    # Inside

    def _not_taken(self, error: Exception) -> None:
        self._server.log.error("%s: a frame of audio could not be taken", self.machine.session_id, exc_info=error)

    def _did(self, done: bool, now: float) -> bool:
        self._run(now)
        return done

    def _pace_soon(self, now: float) -> None:
        if self.pace(now):
            self._server.pacing.add(self)

    def _run(self, now: float) -> None:
        """Send what the machine has to say, then see to what has happened."""
        machine = self.machine
        while True:
            messages = machine.messages_to_send()
            if messages:
                self._send(messages, now)
            happened = machine.events()
            if not happened:
                break
            for event in happened:
                self._happen(event, now)
        self.due = min(self.due, machine.next_deadline)
        if self.intake is not None:
            self.intake.block_octets = machine.plain_block
        if machine.over and self._connection is not None and not self._closing:
            self._closing = True
            self._connection.close()

    def _send(self, messages: list[str | bytes], now: float) -> None:
        connection = self._connection
        if connection is None:
            return
        for message in messages:
            if isinstance(message, str):
                connection.send_text(message)
                if self.outbox is not None:
                    self.outbox.charge(now)
            else:
                connection.send_binary(message)
        if connection.buffered_octets > self._server.config.max_buffered_octets:
            self._server.counters.failed["slow client"] += 1
            connection.abort()

    def _happen(self, event: Any, now: float) -> None:
        """See to one event; what the user's code does with it runs elsewhere."""
        call, counters = self.call, self._server.counters
        match event:
            case events.Ping():
                if call is not None and event.rtt_s is not None:
                    call.rtt_s = event.rtt_s
            case events.Opened():
                self._open(event, now)
            case events.Paused():
                if call is not None and not event.repeated:
                    call.state = "paused"
                    call.note("paused", event.position, by_server=event.by_server)
            case events.Resumed():
                self._leave_out(event.holes, now)
                if call is not None and not event.repeated:
                    call.state = "live"
                    call.note("resumed", event.position)
            case events.Discarded():
                self._leave_out(event.holes, now)
                if call is not None:
                    n_samples = sum(hole.n_samples for hole in event.holes)
                    call.note("discarded", event.position, n_samples=n_samples)
            case events.Update():
                if call is not None:
                    call.language = event.language
                    call.note("language", self.machine.position)
            case events.PeerError():
                counters.client_errors[str(event.code)] += 1
                if event.code == 429 and self.outbox is not None:
                    self.outbox.hold(event.retry_after_s, now)
                self._server.log.warning("%s: the client tells of error %d", self.machine.session_id, event.code)
            case events.Closing():
                self._leave_out(event.holes, now)
                self._finish(None, f"close with reason {event.reason}")
            case events.Anomaly():
                counters.anomalies[event.kind] += 1
            case events.Unknown():
                counters.anomalies["unknown type"] += 1
            case events.Failed():
                counters.failed[event.cause] += 1
                if call is not None:
                    call.fail(event.cause)
                elif self._server.live is not None and not self._probe:
                    self._server.live.fail(event.cause)
                self._server.log.warning("%s: %s: %s", self.machine.session_id, event.cause, event.detail)
            case events.Ended():
                counters.ended[event.reason if event.clean else f"unclean: {event.reason}"] += 1
                self._finish(None, event.reason)
        if call is not None:
            call.notice(event)

    def _open(self, event: events.Opened, now: float) -> None:
        server = self._server
        if event.probe:
            server.counters.probes += 1
            self._probe = True
            return
        server.counters.opened += 1
        self.outbox = Outbox(self.machine, server.config, server.protocol.max_entities_octets, now)
        self.call = call = server.begin(self, event)
        self.due = min(self.due, call.due)
        intake = call.intake
        if intake is not None:
            intake.max_octets = server.protocol.max_binary_octets
            intake.otherwise = self.binary
            intake.on_error = self._not_taken
            self.intake = intake

    def _leave_out(self, holes: Any, now: float) -> None:
        if holes:
            self._server.counters.missing_samples += sum(hole.n_samples for hole in holes)
            if self.call is not None:
                self.call.leave_out(holes, now)

    def _finish(self, failure: Exception | None, cause: str) -> None:
        """No more audio comes."""
        if self._finished:
            return
        self._finished = True
        intake, self.intake = self.intake, None
        if intake is not None:
            intake.on_ready = intake.otherwise = intake.on_error = None  # no rings
        if self.call is not None:
            self._server.finish(self, self.call, failure, cause)


class RefusedSession:
    """A WebSocket for a request that is not authorised: told so by the protocol, after the delay."""

    __slots__ = ("_connection", "_due", "_server", "_texts", "machine")

    intake = None

    def __init__(self, server: Host, now: float, delay_s: float) -> None:
        self._server = server
        self._connection: Connection | None = None
        self._due: float | None = now + delay_s
        self._texts: list[bytes] = []
        self.machine = ServerMachine(server.protocol, now=now)

    def connected(self, connection: Connection) -> None:
        """The WebSocket is open."""
        self._connection = connection
        self._server.refused.add(self)

    def text(self, octets: bytes) -> None:
        """A text message came: kept until the refusal is out, as it must not be answered before."""
        if self._due is None:
            now = self._server.now()
            self.machine.receive_text(octets, now)
            self._run()
        elif len(self._texts) < 8:
            self._texts.append(octets)

    def binary(self, octets: bytes | bytearray | memoryview) -> None:
        """A frame of audio came, for which there is no use."""

    def disconnected(self, code: int) -> None:
        """The WebSocket is closed."""
        self._connection = None
        self._server.refused.discard(self)

    def advance(self, now: float) -> None:
        """Let time pass."""
        if self._due is not None and now >= self._due:
            self._due = None
            self.machine.disconnect("unauthorized", now)
            for octets in self._texts:
                self.machine.receive_text(octets, now)
            self._texts.clear()
        if self._due is None:
            self.machine.advance(now)
            self._run()

    def _run(self) -> None:
        connection = self._connection
        if connection is None:
            return
        for message in self.machine.messages_to_send():
            if isinstance(message, str):
                connection.send_text(message)
        self.machine.events()
        if self.machine.over:
            connection.close()
