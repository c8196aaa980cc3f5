"""Capture one call: connect, subscribe, listen; reconnect until it is over.  `Delivery` has what arrives."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import anyio
import anyio.abc

from ._core.frame import Frame
from ._core.receiver import Receiver
from .auth import Credentials, TokenProvider, TokenSource
from .clock import Clock
from .config import CompressorConfig, GateConfig, JitterConfig, PlatformMediaConfig, ReconnectConfig, SilenceConfig
from .delivery import MAX_TRANSCRIPTS, PAUSE_MODES, Delivery, repair_once
from .dialects import platform_media as dialect
from .errors import (
    AuthError,
    ConfigError,
    ConnectionLost,
    FormatError,
    HandshakeError,
    RemoteProtocolError,
    StateError,
    TransportError,
)
from .fanout import Stream
from .live import LiveCalls, as_live
from .reconnect import ENDED, FATAL, Reconnects, folder_name, quoted, tokens_and_region
from .record import AuditPolicy, RecordConfig
from .regions import Region, takes_secrets
from .transport.websocket import WebSocket, connect

__all__ = ["FATAL", "MAX_TRANSCRIPTS", "PAUSE_MODES", "Capture", "capture"]


def capture(
    conversation_id: str,
    *,
    credentials: Credentials | None = None,
    token: str | TokenSource | Callable[[], str | Awaitable[str]] | None = None,
    region: str | Region | None = None,
    profile: PlatformMediaConfig | None = None,
    gate: GateConfig | None = None,
    compressor: CompressorConfig | None = None,
    silence: SilenceConfig | None = None,
    jitter: JitterConfig | None = None,
    reconnect: ReconnectConfig | None = None,
    record_to: str | PathLike[str] | None = None,
    folder: str | PathLike[str] | None = None,
    overwrite: bool = False,
    audit_policy: AuditPolicy | None = None,
    recording: RecordConfig | None = None,
    max_frames: int = 1000,
    overflow: str = "drop_oldest",
    transcripts_at: str = "playout",
    on_event: Callable[[dict[str, Any]], object] | None = None,
    allow_custom_host: bool = False,
    live: LiveCalls | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> Capture:
    """Capture the audio of a conversation.

    Use it as ``async with capture(...) as call`` and iterate over the call for its frames.

    Parameters
    ----------
    conversation_id : str
        The conversation.
    credentials : Credentials, optional
        OAuth client; by default from ``GENESYS_CLIENT_ID``, ``GENESYS_CLIENT_SECRET`` and ``GENESYS_REGION``.
    token : str, token source or callable, optional
        Instead of credentials: a token, or where tokens come from.
    region : str or Region, optional
        Instead of the credentials' own; an AWS id, a domain, a short code or a URL.
    profile : PlatformMediaConfig, optional
        What is asked for, and the timers.
    gate, compressor, silence, jitter, reconnect : configuration, optional
        See each.
    record_to : path, optional
        Record into a folder of the conversation's name below this one.  What processes that died have left in it is
        mended first.
    folder : path, optional
        Record into exactly this folder instead.
    overwrite : bool
        Replace a call that the folder holds already.
    recording : RecordConfig, optional
        How it is recorded: encoding, files, how often it is flushed.
    audit_policy : AuditPolicy, optional
        Consent and purpose of the recording; ``privacyCompliant`` in the audit log is computed from it, and
        false for audio as long as nobody states them.
    max_frames : int
        Bound of the frame queue between the network and you.
    overflow : str
        What happens there when you are slow: ``"drop_oldest"`` and ``"drop_newest"`` count and log what they
        drop; ``"wait"`` reads no further, so that TCP holds the server back.  A recording misses nothing in
        either case.
    transcripts_at : str
        ``"playout"`` hands a transcript on when its audio has been, ``"once"`` as it arrives.
    on_event : callable, optional
        Called with a dictionary for each event: connected, reconnecting, paused, ...
    allow_custom_host : bool
        Whether credentials and tokens may go to a host that is neither the platform's, over TLS, nor this machine.
    live : LiveCalls, optional
        Where the call is announced, for monitor and metrics.
    clock, rng : Clock, random.Random, optional
        Sources of time and of the jitter of reconnects.

    Returns
    -------
    Capture
    """
    if not conversation_id:
        raise ConfigError("conversation_id is empty")
    if transcripts_at not in ("playout", "once"):
        raise ConfigError(f"transcripts_at is {transcripts_at!r}, not 'playout' or 'once'")
    profile = profile or PlatformMediaConfig()
    clock = clock or Clock()
    tokens, region = tokens_and_region(
        credentials,
        token,
        region,
        refresh_margin_s=profile.refresh_margin_s,
        allow_custom_host=allow_custom_host,
        clock=clock,
    )
    if not (allow_custom_host or takes_secrets(region.media_url)):
        raise ConfigError(
            f"the token would go to {region.media_url}, which is no host of the platform over TLS;"
            " pass allow_custom_host=True if that is meant"
        )
    room = None
    if folder is None and record_to is not None:
        room = Path(record_to)
        folder = room / folder_name(conversation_id)
    return Capture(
        conversation_id,
        tokens=tokens,
        owns_tokens=isinstance(tokens, TokenProvider) and tokens is not token,
        region=region,
        profile=profile,
        processing={"gate": gate, "compressor": compressor, "silence": silence, "jitter": jitter},
        reconnect=reconnect or ReconnectConfig(),
        room=room,
        folder=None if folder is None else Path(folder),
        overwrite=overwrite,
        audit_policy=audit_policy,
        recording=recording,
        frames=Stream("frames", max_frames, overflow),
        transcripts_at=transcripts_at,
        on_event=on_event,
        live=as_live(live),
        clock=clock,
        rng=rng or random.Random(),
    )


class Capture(Delivery):
    """One call being captured; made by `capture`.

    An async context manager: entering connects and waits for the subscription, leaving stops.  An async iterator
    over `Frame`: 20 ms each, in order, holes filled and marked; what failed is raised at its end, behind the last
    frame.

    Attributes
    ----------
    conversation_id : str
        The conversation.
    state : str
        ``"new"``, ``"connecting"``, ``"live"``, ``"paused"``, ``"reconnecting"``, ``"ended"`` or ``"failed"``.
    transcripts : Stream of Transcript
        What is said, pinned to the sample timeline; at most 1,000 wait, then the oldest give way.
    events : deque of dict
        The last 1,000 events.
    reconnects : int
        Connections that took over from a lost one.
    unknown_messages, malformed_messages : int
        Messages of a type that the dialect does not have; messages that could not be read.
    """

    _logger = logging.getLogger("gcmedia.capture")
    _source = "platform-media"

    def __init__(
        self,
        conversation_id: str,
        *,
        tokens: TokenSource,
        owns_tokens: bool,
        region: Region,
        profile: PlatformMediaConfig,
        processing: dict[str, Any],
        reconnect: ReconnectConfig,
        room: Path | None,
        folder: Path | None,
        overwrite: bool,
        audit_policy: AuditPolicy | None,
        recording: RecordConfig | None,
        frames: Stream[Frame],
        transcripts_at: str,
        on_event: Callable[[dict[str, Any]], object] | None,
        live: LiveCalls | None,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        super().__init__(
            conversation_id,
            processing=processing,
            folder=folder,
            overwrite=overwrite,
            audit_policy=audit_policy,
            recording=recording,
            region=region.aws or region.domain,
            sample_rate=profile.sample_rate,
            frames=frames,
            transcripts_at=transcripts_at,
            metrics_period_s=profile.metrics_period_s,
            on_event=on_event,
            clock=clock,
            live=live,
        )
        if live is not None:
            live.watch_token(tokens)
        self.unknown_messages = 0
        self.malformed_messages = 0
        self._room = room
        self._tokens = tokens
        self._owns_tokens = owns_tokens
        self._token = ""  # the one in use, so that no text of a server can repeat it
        self._region = region
        self._profile = profile
        self._again = Reconnects(reconnect, tokens, rng)
        self._websocket: WebSocket | None = None
        self._heard = False  # media or acknowledgement on this connection
        self._carried = False  # media on this connection
        self._over = False  # the server said so
        self._ready = anyio.Event()
        self._stopping = False
        self._scope: anyio.CancelScope | None = None  # made on entering: there may be no event loop yet
        self._tasks: anyio.abc.TaskGroup | None = None

    # Life

    async def __aenter__(self) -> Self:
        if self.state != "new":
            raise StateError(f"this capture is {self.state}; a call is captured once")
        self.state = "connecting"
        self._scope = anyio.CancelScope()
        if self._room is not None:
            await repair_once(self._room)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            self._tasks.start_soon(self._run)
            await self._ready.wait()
            if self._format is None and self._failure is not None:
                raise self._failure
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()
        untold = self._frames.failure_pending
        if untold is not None and error is None:
            raise untold

    async def _leave(self) -> None:
        assert self._tasks is not None
        with anyio.CancelScope(shield=True):
            await self.stop()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def stop(self) -> None:
        """End the capture: what has been received is handed out and recorded, then the iteration ends."""
        if self._scope is None:  # not begun
            return
        self._stopping = True
        self._frames.hurry()  # who stops is not taking frames meanwhile
        self._fanout.hurry()
        self._scope.cancel()
        await self._done.wait()

    async def _run(self) -> None:
        failure: Exception | None = None
        assert self._tasks is not None
        assert self._scope is not None
        self._tasks.start_soon(self._tell_metrics)
        try:
            with self._scope:
                await self._stay_connected()
        except Exception as error:  # told to the consumer, behind what has been received
            failure = error
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    if self._owns_tokens and isinstance(self._tokens, TokenProvider):
                        await self._tokens.aclose()
                except Exception as error:
                    failure = failure or error
                here = self._stopping and not self._over
                await self._finish(failure, "stopped here" if here else "the call is over")
                self._ready.set()

    async def _stay_connected(self) -> None:
        while True:
            self._heard = self._carried = False
            problem: Exception
            try:
                await self._one_connection()
                return
            except (TransportError, AuthError, RemoteProtocolError) as error:
                problem = error
            finally:
                self._websocket = None
            if self._over:
                return
            if self._carried:  # an acknowledgement alone proves nothing: a server may acknowledge and close for ever
                self._again.carried()
            if self._heard:
                await self._restart()
            wait = self._again.after(problem, reached=self._format is not None)
            if wait is None:
                continue
            self._become("reconnecting", attempt=self._again.attempts, wait_s=round(wait, 3), cause=str(problem))
            await self._clock.sleep(wait)

    async def _one_connection(self) -> None:
        """Connect, subscribe and listen until the call is over; anything else raises."""
        profile = self._profile
        token = await self._tokens.token()
        if self._token and token != self._token:
            self._event("token_refresh")
        self._token = token
        url = self._region.media_url + profile.path
        headers = {}
        if profile.token_in == "query":  # noqa: S105 -- a place, not a password
            url += f"?access_token={quote(token, safe='')}"
        else:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with connect(
                url,
                headers=headers,
                clock=self._clock,
                ping_interval_s=profile.ping_interval_s,
                pong_timeout_s=profile.pong_timeout_s,
                open_timeout_s=profile.open_timeout_s,
                max_message_octets=profile.max_message_octets,
            ) as websocket:
                self._websocket = websocket
                self._again.opened()
                await websocket.send(
                    dialect.subscription(
                        self.conversation_id,
                        format=profile.format,
                        sample_rate=profile.sample_rate,
                        n_channels=profile.n_channels,
                    )
                )
                await self._listen(websocket)
        except HandshakeError as error:
            if error.status == 401:
                self._tokens.invalidate(token)
            raise

    async def _listen(self, websocket: WebSocket) -> None:
        while True:
            patience = self._profile.idle_timeout_s if self._heard else self._profile.ack_timeout_s
            try:
                with self._clock.fail_after(patience):
                    message = await websocket.receive()
            except TimeoutError:
                raise ConnectionLost(
                    f"no {'message' if self._heard else 'acknowledgement'} within {patience:g} s", code=1006
                ) from None
            except ConnectionLost as error:
                if error.code not in ENDED:
                    raise
                if self._receiver is None:
                    raise ConnectionLost(
                        f"{error}, before it acknowledged the subscription", code=error.code, reason=error.reason
                    ) from None
                self._over = True
                return
            await self._take(message)

    async def _take(self, message: bytes | str) -> None:
        now = self._clock.now()
        event = dialect.receive(message)
        if isinstance(event, dialect.Packet | dialect.Media):
            self._carried = True
        if isinstance(event, dialect.Packet):
            if self._hear(None).push(event.octets, now):
                await self._deliver(now)
        elif isinstance(event, dialect.Media):
            if self._hear(None).push_media(event.sequence_number, event.timestamp, event.payload, now):
                await self._deliver(now)
        elif isinstance(event, dialect.TranscriptText):
            self._say(event)
        elif isinstance(event, dialect.Ack):
            if event.ended:
                self._over = True
                self._end_timestamp = event.timestamp
            else:
                self._hear(event)
        elif isinstance(event, dialect.Failure):
            said = quoted(event.message or event.code or "", self._token)
            raise RemoteProtocolError(
                f"the server reports an error: {said or 'no reason given'}",
                status=event.status,
                code=None if event.code is None else quoted(event.code, self._token),
            )
        elif isinstance(event, dialect.Unknown):
            self.unknown_messages += 1
            if self.unknown_messages == 1:
                self._event("unknown_message", message_type=quoted(event.type, self._token))
        else:
            self.malformed_messages += 1
            if self._receiver is not None:
                self._receiver.refuse(event.reason)
            if self.malformed_messages == 1:
                self._event("malformed_message", reason=event.reason)

    def _hear(self, ack: dialect.Ack | None) -> Receiver:
        """Note that the subscription stands; make the receiver when it is the first."""
        receiver = self._receiver
        if receiver is None or ack is not None:
            profile = self._profile
            format = dialect.negotiated(
                ack, format=profile.format, sample_rate=profile.sample_rate, n_channels=profile.n_channels
            )
            if receiver is None:
                receiver = self._begin(format, layout=profile.layout)
                if ack is not None and ack.timestamp is not None:
                    receiver.begin(ack.timestamp)
            elif format != self._format:
                raise FormatError(f"the server changed the format from {self._format} to {format} in mid-call")
        if not self._heard:
            self._heard = True
            again = self._ready.is_set()
            self.reconnects += again
            self._become("paused" if self._paused else "live", event="reconnected" if again else "connected")
            self._ready.set()
        return receiver

    @property
    def ping_s(self) -> float | None:
        """Round trip of the last keep-alive ping, None before the first."""
        return None if self._websocket is None else self._websocket.latency_s
