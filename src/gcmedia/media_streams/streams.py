"""Many interactions as one thing: spread over connections, consumed together or one by one."""

from __future__ import annotations

import json
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.abc

from ..auth import Credentials, TokenProvider, TokenSource
from ..clock import Clock
from ..config import (
    CompressorConfig,
    GateConfig,
    JitterConfig,
    MediaStreamsConfig,
    ReconnectConfig,
    SilenceConfig,
)
from ..delivery import repair_once
from ..errors import ConfigError, StateError, TooManyStreams
from ..fanout import Stream
from ..live import LiveCalls, as_live
from ..reconnect import Reconnects, folder_name, tokens_and_region
from ..record import AuditLog, AuditPolicy, RecordConfig
from ..regions import Region, takes_secrets
from ..transport.http import HttpClient
from .availability import Availability, Lookup
from .connection import Connection
from .events import MediaFrame, MetadataSync, Throughput
from .rate import total
from .stream import MediaStream
from .taps import Taps

if TYPE_CHECKING:
    import httpx

__all__ = ["MediaStreams", "capture_streams"]

logger = logging.getLogger("gcmedia.media_streams")

MAX_EVENTS = 1000
MAX_OVER = 1000  # interactions that are over and still known


def capture_streams(
    interactions: Iterable[str],
    *,
    credentials: Credentials | None = None,
    token: str | TokenSource | Callable[[], str | Awaitable[str]] | None = None,
    region: str | Region | None = None,
    profile: MediaStreamsConfig | None = None,
    strict: bool = False,
    keep_open: bool = False,
    gate: GateConfig | None = None,
    compressor: CompressorConfig | None = None,
    silence: SilenceConfig | None = None,
    jitter: JitterConfig | None = None,
    reconnect: ReconnectConfig | None = None,
    record_to: str | PathLike[str] | None = None,
    overwrite: bool = False,
    audit_to: str | PathLike[str] | None = None,
    audit_frames: bool = False,
    audit_policy: AuditPolicy | None = None,
    recording: RecordConfig | None = None,
    max_frames: int | None = None,
    overflow: str = "drop_oldest",
    include_silence: bool = False,
    on_event: Callable[[dict[str, Any]], object] | None = None,
    allow_custom_host: bool = False,
    http_client: httpx.AsyncClient | None = None,
    live: LiveCalls | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> MediaStreams:
    """Capture the audio of many interactions.

    Use it as ``async with capture_streams([...]) as streams`` and iterate over it for the frames of all, or over
    ``streams["id"]`` for those of one.

    Parameters
    ----------
    interactions : iterable of str
        The interactions; the same one twice is one.  Beyond ``profile.max_interactions`` they are spread over more
        connections.
    credentials, token, region
        As for `capture`.
    profile : MediaStreamsConfig, optional
        What is asked for, the limits and the timers.
    strict : bool
        Whether one interaction that cannot be had makes entering fail, and one that fails later the end of the
        iteration; otherwise each has its own result, and only all of them together do.
    keep_open : bool
        Whether to go on when all are over, for interactions to come.
    gate, compressor, silence, jitter, reconnect : configuration, optional
        See each.  By default a missing packet is waited for 50 ms, and 100 ms while more than 5 % are lost.
    record_to : path, optional
        Record each interaction into a folder of its name below this one.
    overwrite : bool
        Replace calls that those folders hold already.
    audit_to : path, optional
        One audit log of all interactions, beside those of the recordings.
    audit_frames : bool
        Whether that log gets a line for every frame, not one a period.
    recording : RecordConfig, optional
        How they are recorded.
    audit_policy : AuditPolicy, optional
        Consent and purpose; ``privacyCompliant`` is computed from it.
    max_frames : int, optional
        Bound of the queue between the network and you; by default 100 an interaction, and at least 1,000.  0 is for no
        such queue, when you only use other consumers.
    overflow : str
        What happens there when you are slow: ``"drop_oldest"``, ``"drop_newest"`` or ``"wait"``, which holds back the
        server, for all interactions of the same connection.
    include_silence : bool
        Whether silent frames are among those of the iteration.  They are recorded and audited in either case.
    on_event : callable, optional
        Called with a dictionary for each event.
    allow_custom_host : bool
        Whether credentials and tokens may go to a host that is neither the platform's, over TLS, nor this machine.
    http_client : httpx.AsyncClient, optional
        For look-ups, instead of an own one; it is not closed.
    live : LiveCalls, optional
        Where the interactions are announced, for monitor and metrics.
    clock, rng : Clock, random.Random, optional
        Sources of time and of the jitter of reconnects.

    Returns
    -------
    MediaStreams

    Raises
    ------
    ConfigError
        If there is no interaction, or a setting is out of its range.
    TooManyStreams
        If there are more than all connections allowed can carry.
    """
    profile = profile or MediaStreamsConfig()
    clock = clock or Clock()
    names = _distinct(interactions)
    if not names and not keep_open:
        raise ConfigError("interactions is empty")
    tokens, region = tokens_and_region(
        credentials,
        token,
        region,
        refresh_margin_s=profile.refresh_margin_s,
        allow_custom_host=allow_custom_host,
        clock=clock,
    )
    try:
        url = profile.url.format(media_url=region.media_url, aws=region.aws, domain=region.domain, code=region.code)
    except (KeyError, IndexError, ValueError):
        raise ConfigError(
            f"url is {profile.url!r}; it may hold {{media_url}}, {{aws}}, {{domain}} and {{code}}"
        ) from None
    for target in (url, region.api_url):
        if not (allow_custom_host or takes_secrets(target)):
            raise ConfigError(
                f"the token would go to {target}, which is no host of the platform over TLS;"
                " pass allow_custom_host=True if that is meant"
            )
    return MediaStreams(
        names,
        tokens=tokens,
        owns_tokens=isinstance(tokens, TokenProvider) and tokens is not token,
        region=region,
        url=url,
        profile=profile,
        strict=strict,
        keep_open=keep_open,
        processing={
            "gate": gate,
            "compressor": compressor,
            "silence": silence,
            "jitter": jitter or JitterConfig(policy="window"),
        },
        reconnect=reconnect or ReconnectConfig(),
        record_to=None if record_to is None else Path(record_to),
        overwrite=overwrite,
        audit_to=None if audit_to is None else Path(audit_to),
        audit_frames=audit_frames,
        audit_policy=audit_policy,
        recording=recording,
        max_frames=max(1000, 100 * len(names)) if max_frames is None else max_frames,
        overflow=overflow,
        include_silence=include_silence,
        on_event=on_event,
        http_client=http_client,
        live=as_live(live),
        clock=clock,
        rng=rng or random.Random(),
    )


def _distinct(interactions: Iterable[str]) -> list[str]:
    if isinstance(interactions, str):
        raise ConfigError("interactions is one text; give a list of ids")
    names = list(dict.fromkeys(name.strip() for name in interactions))
    for name in names:
        if not 1 <= len(name) <= 200:
            raise ConfigError(f"an interaction id has {len(name)} characters, not 1 to 200")
    return names


class MediaStreams:
    """Interactions being captured; made by `capture_streams`.

    An async context manager: entering connects and waits until each interaction has media, is granted, has failed,
    or has had its time to answer; leaving stops.  An async iterator over `MediaFrame` of all interactions.

    Attributes
    ----------
    state : str
        ``"new"``, ``"connecting"``, ``"live"``, ``"ended"`` or ``"failed"``.
    events : deque of dict
        The last 1,000 events that concern connections or all; those of an interaction are its own.
    """

    def __init__(
        self,
        names: list[str],
        *,
        tokens: TokenSource,
        owns_tokens: bool,
        region: Region,
        url: str,
        profile: MediaStreamsConfig,
        strict: bool,
        keep_open: bool,
        processing: dict[str, Any],
        reconnect: ReconnectConfig,
        record_to: Path | None,
        overwrite: bool,
        audit_to: Path | None,
        audit_frames: bool,
        audit_policy: AuditPolicy | None,
        recording: RecordConfig | None,
        max_frames: int,
        overflow: str,
        include_silence: bool,
        on_event: Callable[[dict[str, Any]], object] | None,
        http_client: httpx.AsyncClient | None,
        live: LiveCalls | None,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.state = "new"
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self.profile = profile
        self.clock = clock
        self.tokens = tokens
        self.url = url
        self._owns_tokens = owns_tokens
        self._region = region
        self._strict = strict
        self._keep_open = keep_open
        self._processing = processing
        self._reconnect = reconnect
        self._record_to = record_to
        self._overwrite = overwrite
        self._audit_to = audit_to
        self._audit: AuditLog | None = None
        self._audit_frames = audit_frames
        self._audit_policy = audit_policy
        self._recording = recording
        self._max_frames = max_frames
        self._on_event = on_event
        self._live = live
        if live is not None:
            live.watch_token(tokens)
        self._rng = rng
        self._streams: dict[str, MediaStream] = {}
        self._connections: list[Connection] = []
        self._n_connections = 0
        self._taps = Taps()
        self._frames: Stream[MediaFrame] | None = None
        if max_frames:
            self._frames = self._taps.frames("frames", max_frames, overflow, include_silence)
        self._http = HttpClient(http_client, total_timeout_s=profile.check_timeout_s, clock=clock)
        self._lookup = Lookup(self._http, tokens, region.api_url, profile, clock)
        self._checks = anyio.CapacityLimiter(profile.max_checks)
        self._latencies: dict[int, float] = {}
        self._failure: Exception | None = None
        self._stopping = False
        self._changed = anyio.Event()
        self._done = anyio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._check_room(len(names))
        self._names = names

    # Life

    async def __aenter__(self) -> Self:
        if self.state != "new":
            raise StateError(f"these streams are {self.state}; they are captured once")
        self.state = "connecting"
        if self._record_to is not None:
            await repair_once(self._record_to)
        if self._audit_to is not None:
            self._audit = AuditLog(
                self._audit_to, self._region.aws or self._region.domain, self._audit_policy, clock=self.clock.wall
            )
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            self._tasks.start_soon(self._run)
            if self._names:
                await self.add(self._names)
            if self.state == "connecting":
                self.state = "live"
            errors = self.errors
            if errors and (self._strict or len(errors) == len(self._names)):
                raise next(iter(errors.values()))
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()
        untold = None if self._frames is None else self._frames.failure_pending
        if untold is not None and error is None:
            raise untold

    async def _leave(self) -> None:
        assert self._tasks is not None
        with anyio.CancelScope(shield=True):
            await self.stop()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def stop(self) -> None:
        """End all: what has been received is handed out and recorded, then the iteration ends."""
        if self._tasks is None:  # not begun
            return
        self._stopping = True
        self._taps.hurry()  # who stops is not taking frames meanwhile
        for stream in self._streams.values():
            stream.hurry()
        for connection in self._connections:
            connection.stop()
        self._changed.set()
        await self._done.wait()

    async def _run(self) -> None:
        """Wait until all is over, then tell everyone."""
        assert self._tasks is not None
        self._tasks.start_soon(self._tell_throughput)
        try:
            while not self._stopping and (self._connections or self._keep_open or not self._streams):
                await self._change()
        finally:  # also when cancelled from outside
            with anyio.CancelScope(shield=True):
                self._stopping = True
                while self._connections:
                    for connection in self._connections:
                        connection.stop()
                    await self._change()
                await self._finish()

    async def _change(self) -> None:
        """Wait until a connection is over, or all are to be."""
        self._changed = anyio.Event()
        await self._changed.wait()

    async def _finish(self) -> None:
        errors = self.errors
        if errors and (self._strict or len(errors) == len(self._streams)):
            self._failure = next(iter(errors.values()))
        try:
            await self._http.aclose()
            if self._owns_tokens and isinstance(self.tokens, TokenProvider):
                await self.tokens.aclose()
        except Exception as error:
            self._failure = self._failure or error
        self.state = "ended" if self._failure is None else "failed"
        self.tell(self.state)
        if self._audit is not None:
            self._audit.close()
        self._taps.finish(self._failure)
        self._done.set()

    async def _carry(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)
            self._changed.set()

    # Interactions

    async def add(self, interactions: Iterable[str]) -> dict[str, Exception | None]:
        """Capture more interactions; waits for each as entering does.

        Ones that are there already are left as they are.  Of those that are over the last 1,000 are kept.

        Returns
        -------
        dict of str to Exception or None
            Why one failed; None for one that is subscribed to, or still waited for.

        Raises
        ------
        TooManyStreams
            If they do not fit; nothing has been done then.
        StateError
            If the capture is over.
        """
        names = _distinct(interactions)
        if self._tasks is None or self._stopping or self._done.is_set():
            raise StateError(f"the streams are {'new' if self._tasks is None else 'over'}; none can be added")
        fresh = [name for name in names if name not in self._streams]
        self._check_room(len(fresh))
        self._forget()
        streams = [self._make(name) for name in fresh]
        self._streams |= {stream.interaction_id: stream for stream in streams}
        for connection in list(self._connections):
            if streams and not connection.over and connection.room > 0:
                share, streams = streams[: connection.room], streams[connection.room :]
                await connection.add(share)
        size = self.profile.max_interactions
        for at in range(0, len(streams), size):
            self._n_connections += 1
            again = Reconnects(self._reconnect, self.tokens, random.Random(self._rng.random()))
            connection = Connection(self._n_connections, self, again)
            await connection.add(streams[at : at + size])
            self._connections.append(connection)
            self._tasks.start_soon(self._carry, connection)
        for name in names:
            await self._streams[name].answered.wait()
            error = self._streams[name].error
            if error is not None and self._strict:
                break
        return {name: self._streams[name].error for name in names}

    async def remove(self, interactions: Iterable[str]) -> None:
        """Capture these no more; what has been received is handed out and recorded.

        Raises
        ------
        KeyError
            If one of them never was.
        """
        for name in _distinct(interactions):
            stream = self._streams[name]
            for connection in self._connections:
                if connection.wanted.get(name) is stream:
                    await connection.remove(stream)

    def _forget(self) -> None:
        """Let go the oldest of those that are over, so that a capture that is kept open does not grow."""
        over = [name for name, one in self._streams.items() if one.state in ("ended", "failed")]
        for name in over[: max(0, len(over) - MAX_OVER)]:
            del self._streams[name]

    def _check_room(self, n_more: int) -> None:
        profile = self.profile
        spare = profile.max_connections - len(self._connections)
        room = spare * profile.max_interactions + sum(max(0, one.room) for one in self._connections if not one.over)
        if n_more > room:
            raise TooManyStreams(
                f"{n_more} interactions, but room for {room}: {profile.max_connections} connections"
                f" of {profile.max_interactions} each"
            )

    def _make(self, name: str) -> MediaStream:
        return MediaStream(
            name,
            profile=self.profile,
            processing=self._processing,
            folder=None if self._record_to is None else self._record_to / folder_name(name),
            overwrite=self._overwrite,
            audit_policy=self._audit_policy,
            recording=self._recording,
            audit=self._audit,
            audit_frames=self._audit_frames,
            region=self._region.aws or self._region.domain,
            taps=self._taps,
            max_frames=self._max_frames or 1000,
            on_event=self._on_event,
            clock=self.clock,
            live=self._live,
        )

    def __getitem__(self, interaction_id: str) -> MediaStream:
        return self._streams[interaction_id]

    def __iter__(self) -> Iterator[MediaStream]:
        return iter(tuple(self._streams.values()))

    @property
    def streams(self) -> Mapping[str, MediaStream]:
        """Every interaction so far, by id."""
        return MappingProxyType(self._streams)

    @property
    def errors(self) -> dict[str, Exception]:
        """Why interactions failed, by id."""
        return {name: one.error for name, one in self._streams.items() if one.error is not None}

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The connections that carry something."""
        return tuple(self._connections)

    # Consumers

    def __aiter__(self) -> AsyncIterator[MediaFrame]:
        return self

    async def __anext__(self) -> MediaFrame:
        if self._frames is None:
            raise StateError("max_frames is 0, so there is no queue to iterate over; subscribe() opens one")
        return await self._frames.__anext__()

    def subscribe(
        self, name: str, *, max_frames: int = 1000, overflow: str = "drop_oldest", include_silence: bool = False
    ) -> Stream[MediaFrame]:
        """Another consumer of the frames of all interactions, with a bounded queue of its own."""
        return self._taps.frames(name, max_frames, overflow, include_silence)

    def monitor(
        self,
        name: str,
        *,
        audio: bool = True,
        include_silence: bool = True,
        max_lines: int = 1000,
        overflow: str = "drop_oldest",
    ) -> Stream[bytes]:
        """Frames as JSON lines for live monitoring; as many consumers as you like, each with a queue of its own.

        Parameters
        ----------
        name : str
            For logs.
        audio : bool
            Whether a line holds the audio, in base64, or only what is known of it.
        include_silence : bool
            Whether silent frames get a line.
        max_lines : int
            Bound of its queue.
        overflow : str
            ``"drop_oldest"``, ``"drop_newest"`` or ``"wait"``.
        """
        return self._taps.lines(name, max_lines, overflow, audio, include_silence)

    def metadata(
        self, name: str, *, batch: int = 1, max_batches: int = 1000, overflow: str = "drop_oldest"
    ) -> Stream[tuple[MetadataSync, ...]]:
        """Which packet begins at which sample: each packet that is played, once, in order, ``batch`` at a time."""
        return self._taps.metadata(name, max_batches, overflow, batch)

    @property
    def dropped(self) -> int:
        """Items that consumers were too slow for; recordings have them."""
        return self._taps.dropped + sum(stream.dropped_frames for stream in self._streams.values())

    # What is known

    def throughput(self) -> Throughput:
        """Rates of all interactions together; ``streams["id"].throughput()`` has those of one."""
        return total(stream.throughput() for stream in self._streams.values())

    async def _tell_throughput(self) -> None:
        while not self._done.is_set():
            await self.clock.sleep(self.profile.throughput_period_s)
            now = self.clock.now()
            for stream in self._streams.values():
                stream.tick(now)
            for connection in self._connections:
                latency = connection.latency_s
                if latency is not None and self._latencies.get(connection.number) != latency:
                    self._latencies[connection.number] = latency
                    self.tell("heartbeat", connection=connection.number, rtt_ms=round(latency * 1000, 3))
            window = self.throughput().window
            self.tell(
                "throughput",
                packetsPerSecond=round(window.packets_per_second, 2),
                bytesPerSecond=round(window.bytes_per_second, 2),
                wireBytesPerSecond=round(window.wire_bytes_per_second, 2),
                packetLossRate=round(window.packet_loss_rate, 4),
            )

    async def look_up(self, interaction_id: str) -> Availability:
        """Ask the platform whether the media of an interaction can be had."""
        async with self._checks:
            return await self._lookup(interaction_id)

    def tell(self, kind: str, **details: Any) -> None:
        """Tell of an event."""
        event = {"kind": kind, **details}
        logger.info("[Media Streams] %s", json.dumps(event, default=str))
        self.events.append(event)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                logger.exception("on_event raised for %s; the streams go on", kind)
