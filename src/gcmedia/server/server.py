"""The AudioHook server: Genesys Cloud dials in, and every call gets its frames, its recording and its handler."""

from __future__ import annotations

import logging
import resource
import ssl as ssl_module
from collections.abc import Awaitable, Callable
from os import PathLike
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from ..clock import Clock
from ..config import CompressorConfig, GateConfig, SilenceConfig
from ..delivery import repair_once
from ..dialects.audiohook import AudioHookConfig, Keys, Nonces, SignatureConfig, events
from ..dialects.audiohook.keys import KeySource
from ..errors import ConfigError, StateError
from ..live import LiveCalls, as_live
from ..reconnect import folder_name
from ..record import AuditPolicy, RecordConfig, Writers
from ..transport.accept import Limits, Listener, bind, listen
from .admission import Admission
from .call import HookCall, lull_s
from .counters import Counters
from .lulls import Lulls
from .session import HookSession, RefusedSession
from .settings import ServerConfig

__all__ = ["AudioHookServer", "Handler"]

Handler = Callable[[HookCall], Awaitable[object]]

SPARE_FILES = 100  # beside those of sessions
TICK_S = 0.1
SESSIONS_EVERY = 2  # ticks between looks at what sessions have to do
DRAIN_TICK_S = 0.05


class AudioHookServer:
    """Serve AudioHook on one address, from one process.

    An async context manager: entering listens, leaving stops (see `stop`).  ``serve`` is the blocking form, with
    workers and signals.

    Parameters
    ----------
    handler : callable, optional
        ``async def handler(call)``, run for each call in a task of its own; see `HookCall`.  Without one calls are
        only recorded.
    host, port : str, int
        Where to listen; ``""`` for every address, 0 for any port.
    keys : Keys, mapping, path or async callable
        API keys and their client secrets in base64; a path names a JSON file of them.
    record_to : path, optional
        Record each call into a folder below this one, named after its conversation; a further session of the same
        conversation gets its session's id behind that.  What processes that died have left there is mended first.
    gate, compressor, silence : configuration, optional
        See each.
    config : ServerConfig, optional
        Bounds, deadlines, and how to stop.
    protocol : AudioHookConfig, optional
        What is negotiated, and the protocol's own timers.
    signatures : SignatureConfig, optional
        How upgrade requests are verified; name the public ``authority`` behind a proxy that rewrites ``Host``.
    nonces : Nonces, optional
        Memory of requests that have been let in; one of this process by default.
    audit_policy : AuditPolicy, optional
        Consent and purpose of the recordings.
    recording : RecordConfig, optional
        How calls are recorded: encoding, files, how often they are flushed, and when a file goes on in another one.
    ssl : ssl.SSLContext, optional
        Of a server, for TLS that ends here.
    transport : str
        ``"auto"``: picows where it is installed and runs, else websockets; or either by name.
    on_event : callable, optional
        Called with the call and a dictionary for each of its events; it must be quick.
    sock : socket.socket, optional
        Bound already, instead of host and port.
    shared : bool
        Whether other processes share the port (SO_REUSEPORT).
    clock : Clock, optional
        Source of time.
    live : LiveCalls, optional
        Where calls with audio, failures and refused upgrades are announced, for `gcmedia.monitor.serve_monitor` and
        `gcmedia.metrics.Collector`; connection probes are not.

    Attributes
    ----------
    counters : Counters
        What has been done; the audio of open sessions up to their last text message.
    sessions : set of HookSession
        Those that are open, or about to be.
    max_sessions : int
        That of the settings, or fewer where too few open files are allowed.
    draining : bool
        Whether no more sessions are taken.
    transport : str
        What it came to.
    address : (str, int)
        Where it listens.
    lag_s : float
        How late the last tick of the server's own clockwork was: how long a ``pong`` may have waited.
    """

    log = logging.getLogger("gcmedia.server")

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        host: str = "",
        port: int = 8443,
        keys: Keys | KeySource | str | PathLike[str],
        record_to: str | PathLike[str] | None = None,
        gate: GateConfig | None = None,
        compressor: CompressorConfig | None = None,
        silence: SilenceConfig | None = None,
        config: ServerConfig | None = None,
        protocol: AudioHookConfig | None = None,
        signatures: SignatureConfig | None = None,
        nonces: Nonces | None = None,
        audit_policy: AuditPolicy | None = None,
        recording: RecordConfig | None = None,
        ssl: ssl_module.SSLContext | None = None,
        transport: str = "auto",
        on_event: Callable[[HookCall, dict[str, Any]], object] | None = None,
        sock: socket | None = None,
        shared: bool = False,
        clock: Clock | None = None,
        live: LiveCalls | None = None,
    ) -> None:
        self.live = as_live(live)
        self.config = config or ServerConfig()
        self.protocol = protocol or AudioHookConfig()
        self.clock = clock or Clock()
        self.now = self.clock.now
        self.counters = Counters()
        self.sessions: set[HookSession] = set()
        self.refused: set[RefusedSession] = set()
        self.pacing: set[HookSession] = set()
        self.draining = False
        self.transport = ""
        self.address = (host, port)
        self.lag_s = 0.0
        if self.config.reconnect and not self.protocol.reconnect:
            raise ConfigError("ServerConfig(reconnect=True) needs AudioHookConfig(reconnect=True) as well")
        if isinstance(keys, str | PathLike):
            keys = Keys.from_file(keys)
        elif not callable(keys) and not isinstance(keys, Keys):
            keys = Keys(keys)
        self.admission = Admission(self, keys, signatures or SignatureConfig(), nonces)
        if isinstance(keys, Keys) and keys.unsigned:
            self.log.warning("%d of %d API keys have no secret: whoever knows one comes in", keys.unsigned, len(keys))
        self._handler = handler
        self._record_to = None if record_to is None else Path(record_to)
        self._processing = {"gate": gate, "compressor": compressor, "silence": silence}
        self._audit_policy = audit_policy
        self._recording = recording or RecordConfig()
        self._lulls: Lulls[HookCall] = Lulls(lull_s(self._recording), self.now())
        self._ssl = ssl
        self._wanted = transport
        self._on_event = on_event
        self._sock = sock
        self._shared = shared
        self._listener: Listener | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stopped: anyio.Event | None = None
        self._busy = 0  # handlers, and calls being finished
        self._writers: Writers | None = None
        self._scopes: dict[HookSession, anyio.CancelScope] = {}

        self.max_sessions = self.config.max_sessions

    # Life

    def _limit_sessions(self) -> None:
        """Take no more sessions than there may be open files for: one refused is better than one not recorded."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        cleaned = self._processing["gate"] is not None or self._processing["compressor"] is not None
        tracks = 1 + (cleaned and self._recording.clean)
        files = tracks * (1 if self._recording.layout == "interleaved" else 2)
        each = 1 if self._record_to is None else 1 + files
        room = max(1, (allowed - SPARE_FILES) // each)
        if allowed != resource.RLIM_INFINITY and room < self.config.max_sessions:
            self.max_sessions = room
            self.log.warning(
                "%d open files are allowed, %d of each session: no more than %d sessions are taken, not %d",
                allowed, each, room, self.config.max_sessions,
            )  # fmt: skip

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise StateError("this server has run; a new one is needed")
        if self._record_to is not None:
            self._record_to.mkdir(parents=True, exist_ok=True)
            await repair_once(self._record_to)
            if self.live is not None:
                self.live.watch_folder(self._record_to)
            self._writers = Writers()
        self._limit_sessions()
        host, port = self.address
        sock = self._sock or bind(host, port, shared=self._shared)
        self._stopped = anyio.Event()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        config = self.config
        try:
            self._listener = await listen(
                sock,
                self.admission,
                tasks=self._tasks,
                now=self.now,
                limits=Limits(
                    max_message_octets=config.max_message_octets,
                    max_waiting=config.max_waiting,
                    head_timeout_s=config.head_timeout_s,
                    close_timeout_s=config.close_timeout_s,
                ),
                ssl=self._ssl,
                transport=self._wanted,
            )
        except BaseException:
            sock.close()
            self._stop_writers()
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
            raise
        self.address = self._listener.address
        self.transport = self._listener.transport
        self._tasks.start_soon(self._keep_time)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        with anyio.CancelScope(shield=True):
            await self.stop()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        self._stop_writers()

    def _stop_writers(self) -> None:
        if self._writers is not None:
            self._writers.stop()

    @property
    def n_sessions(self) -> int:
        """Sessions that are open, or about to be."""
        return len(self.sessions)

    @property
    def listener(self) -> Listener:
        """The listening socket and its connections."""
        if self._listener is None:
            raise StateError("the server does not listen yet")
        return self._listener

    async def wait(self) -> None:
        """Wait until `stop` has done its work."""
        if self._stopped is None:
            raise StateError("the server does not listen yet")
        await self._stopped.wait()

    async def stop(self) -> None:
        """Take no more sessions, end those that are there by the protocol, and finish every recording.

        Calls may go on for ``drain_s``, while clients open new ones elsewhere if ``reconnect`` asks them to.  Then
        each is asked to end; a client that does not is cut when its time is over.
        """
        if self._stopped is None or self._stopped.is_set():
            return
        if self.draining:
            await self._stopped.wait()
            return
        self.draining = True
        self.listener.close()
        config = self.config
        if config.reconnect:
            for session in list(self.sessions):
                session.reconnect("the server goes out of service")
        if config.drain_s:
            await self._wait_for_none(config.drain_s)
        for session in list(self.sessions):
            session.disconnect("completed", info="the server goes out of service")
        if not await self._wait_for_none(
            self.protocol.close_timeout_s + self.protocol.final_events_s + config.close_timeout_s + 1.0
        ):
            for session in list(self.sessions):
                session.abort()
        self.listener.abort()
        deadline = self.now() + config.handler_grace_s
        while self._busy and self.now() < deadline:
            await self.clock.sleep(DRAIN_TICK_S)
        for scope in list(self._scopes.values()):
            scope.cancel()
        while self._busy:  # recordings are closed, however long a disk takes
            await self.clock.sleep(DRAIN_TICK_S)
        self._stopped.set()

    async def _wait_for_none(self, seconds: float) -> bool:
        deadline = self.now() + seconds
        while self.sessions and self.now() < deadline:
            await self.clock.sleep(DRAIN_TICK_S)
        return not self.sessions

    async def _keep_time(self) -> None:
        """The clockwork of all sessions: deadlines, pacing, and what is to be written down."""
        ticks = 0
        due = self.now()
        while True:
            due += TICK_S
            now = self.now()
            if due > now:
                await self.clock.sleep(due - now)
                now = self.now()
            self.lag_s = max(0.0, now - due)
            if self.lag_s > 1.0:
                due = now
            ticks += 1
            try:
                self._tick(now, ticks)
            except Exception:
                self.log.exception("the server's clockwork stumbled; it goes on")

    def _tick(self, now: float, ticks: int) -> None:
        self.listener.sweep(now)
        for session in [session for session in self.pacing if not session.pace(now)]:
            self.pacing.discard(session)
        for refused in list(self.refused):
            refused.advance(now)
        part = ticks % SESSIONS_EVERY
        if part == 0:
            for session in [session for session in self.sessions if session.due <= now]:
                session.tick(now)
        for call in self._lulls.over(now):
            try:
                call.lull(now)
            except Exception:
                self.log.exception("%s: what waited could not be passed on", call.conversation_id)

    # What sessions ask for

    def begin(self, session: HookSession, opened: events.Opened) -> HookCall:
        """A session was opened: make its call, and start what takes time."""
        config = self.config
        call = HookCall(
            session,
            session.identity,
            opened.offer,
            opened.media,
            position=opened.position,
            format=session.machine.format,
            processing=self._processing,
            fill_s=config.fill_s,
            audit_policy=self._audit_policy,
            recording=self._recording,
            max_frames=config.max_frames,
            overflow=config.overflow,
            consumed=self._handler is not None,
            metrics_period_s=config.metrics_period_s,
            on_event=None,
            clock=self.clock,
            live=self.live,
            lulls=self._lulls,
        )
        if self._on_event is not None:
            on_event = self._on_event
            call._on_event = lambda event: on_event(call, event)
        if self._writers is not None:
            names = folder_name(opened.offer.conversation_id), folder_name(session.machine.session_id)
            call.record_behind(
                self._writers,
                lambda: self._claim(*names),
                lambda error: self.log.error("%s cannot be recorded, and goes on: %s", call.conversation_id, error),
            )
        call.note("opened", opened.position)
        if self._handler is not None:
            assert self._tasks is not None
            session.handled = True
            self._busy += 1
            self._tasks.start_soon(self._handle, session, call)
        return call

    def _claim(self, conversation: str, session: str) -> Path:
        """Make a folder that no other session has got, of this worker or another; in a writer's thread."""
        assert self._record_to is not None
        try:
            (self._record_to / conversation).mkdir(mode=0o700)
            return self._record_to / conversation
        except FileExistsError:
            folder = self._record_to / f"{conversation}.{session}"
            folder.mkdir(mode=0o700)
            return folder

    async def _handle(self, session: HookSession, call: HookCall) -> None:
        assert self._handler is not None
        try:
            with anyio.CancelScope() as scope:
                self._scopes[session] = scope
                await self._handler(call)
        except Exception:
            self.counters.handlers_failed += 1
            self.log.exception("the handler of %s raised", call.conversation_id)
            goes_on = self.config.on_handler_error == "continue" or (
                self.config.on_handler_error == "auto" and self._writers is not None
            )
            if not goes_on:
                session.disconnect("error")
        finally:
            self._scopes.pop(session, None)
            self._busy -= 1
            call._frames.close()  # nobody reads it any more
            session.finish_now()

    def finish(self, session: HookSession, call: HookCall, failure: Exception | None, cause: str) -> None:
        """No more audio comes for a call."""
        assert self._tasks is not None
        self._busy += 1
        self._tasks.start_soon(self._finish, session, call, failure, cause)

    async def _finish(self, session: HookSession, call: HookCall, failure: Exception | None, cause: str) -> None:
        try:
            with anyio.CancelScope(shield=True):
                folder = call._folder
                await call.end(failure, cause)
                if folder is not None and folder.incomplete:
                    self.counters.recordings_failed += 1
            self.counters.frames_dropped += call.dropped_frames
        except Exception:
            self.log.exception("%s could not be finished", call.conversation_id)
        finally:
            self._busy -= 1
            self._lulls.forget(call)  # which has passed on its rest
        scope = self._scopes.get(session)
        if scope is not None:
            scope.deadline = anyio.current_time() + self.clock.real(self.config.handler_grace_s)
        elif session.machine.state == "finishing":
            session.finish_now()

    def forget(self, session: HookSession) -> None:
        """Its connection is closed."""
        if session in self.sessions:
            self.sessions.discard(session)
            self.pacing.discard(session)
            self.admission.forget(session.identity)
            if session.outbox is not None:
                session.outbox.finish(self.now())
                self.counters.entities_dropped += session.outbox.dropped_entities
