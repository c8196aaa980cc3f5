"""One call that the platform has dialled in: its frames, and what can be told the platform about it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from .._core.block import Block
from .._core.frame import Frame
from .._core.intake import Intake
from .._core.stream import StreamReceiver
from ..clock import Clock
from ..delivery import Delivery, series
from ..dialects.audiohook import Identity, Media, Open, ServerMachine
from ..dialects.audiohook.entities import Entity
from ..fanout import Stream
from ..live import LiveCalls
from ..record import AuditPolicy, CallFolder, RecordConfig, Writers
from ..types import Hole, MediaFormat
from .lulls import Lulls

__all__ = ["HookCall", "lull_s"]

SERIES_S = 5.0
MAX_NOTICES = 1000
# Where nobody hears a call as it comes, its audio is decoded, cleaned and recorded in pieces of about so much: the work
# of a piece costs little more than that of a message, and what waits is as small as it was on the wire.  Pieces are
# counted in samples, and calls begin at different ones: else a moment's delay would make all of them due at once, and
# again and again from then on.
GATHER_S = 0.65
N_PHASES = 4
SHARE_OF_FLUSH = 0.7  # of the time within which it has to be on the disk
WAITS = 1.3  # and what waits goes on after so many pieces, when no more has come, or more slowly than it plays

_phases = count()


def gather_s(recording: RecordConfig) -> float:
    """Length of the pieces."""
    return min(GATHER_S, SHARE_OF_FLUSH * recording.flush_s)


def lull_s(recording: RecordConfig) -> float:
    """How long nothing has been passed on of a call when it is time for `HookCall.lull`."""
    return WAITS * gather_s(recording)


class Line(Protocol):
    """A call's way back to its client; the session is one."""

    machine: ServerMachine

    def send_event(self, entities: Iterable[Entity]) -> bool:
        """Send entities."""

    async def send_audio(self, payload: bytes) -> bool:
        """Send audio."""

    def clear_audio(self) -> None:
        """Drop audio that waits."""

    def wish(self, what: str) -> None:
        """Ask for a pause or its end."""

    def updated(self) -> bool:
        """Answer an update."""

    def reconnect(self, info: str) -> bool:
        """Ask for another session."""

    def disconnect(self, reason: str, *, info: str = "") -> bool:
        """Ask to end the session."""


class HookCall(Delivery):
    """One call of an AudioHook client; handed to the handler of `AudioHookServer`.

    An async iterator over `Frame`: 20 ms each, channel beside channel, in order; the iteration ends with the call.
    `subscribe` opens further queues.  Nothing that is done with a call delays the answers that the protocol needs.

    Attributes
    ----------
    conversation_id, session_id, organization_id, correlation_id : str
        The conversation; the session, of which a conversation may have several; who calls.
    offer : Open
        What the client opened the session with: participant, language, custom configuration, input variables.
    media : Media or None
        What is sent; None for a session without audio.
    state : str
        ``"live"``, ``"paused"``, ``"ended"`` or ``"failed"``.
    rtt_s : float or None
        What the client measured last between a ping and its pong.
    language : str or None
        As opened, or as updated since.
    folder : Path or None
        Where it is recorded; None where it is not, and until its folder has been made.
    """

    _logger = logging.getLogger("gcmedia.server.calls")
    _keep_files_open = False  # of thousands of calls
    _source = "audiohook"

    def __init__(
        self,
        session: Line,
        identity: Identity,
        offer: Open,
        media: Media | None,
        *,
        position: int,
        format: MediaFormat | None,
        processing: dict[str, Any],
        fill_s: float,
        audit_policy: AuditPolicy | None,
        recording: RecordConfig,
        max_frames: int,
        overflow: str,
        consumed: bool,
        metrics_period_s: float,
        on_event: Callable[[dict[str, Any]], object] | None,
        clock: Clock,
        live: LiveCalls | None,
        lulls: Lulls[HookCall],
    ) -> None:
        frames: Stream[Frame] = Stream("frames", max_frames, overflow)
        if not consumed:
            frames.finish()  # nobody is told of drops in a queue that nobody reads
        super().__init__(
            offer.conversation_id,
            processing=processing,
            folder=None,  # of its own, see `record_behind`
            overwrite=False,
            audit_policy=audit_policy,
            recording=recording,
            region="",
            sample_rate=8000 if media is None else media.rate,
            frames=frames,
            transcripts_at="once",
            metrics_period_s=metrics_period_s,
            on_event=on_event,
            clock=clock,
            live=live,
        )
        self.session_id = identity.session_id
        self.organization_id = offer.organization_id
        self.correlation_id = identity.correlation_id
        self.offer = offer
        self.media = media
        self.rtt_s: float | None = None
        self.language = offer.language
        self._session = session
        self._position = position
        self._fill_s = fill_s
        self._gather_s = gather_s(recording)
        self._lulls = lulls
        self._stream: StreamReceiver | None = None
        self.intake: Intake | None = None
        self._failed = ""
        self._consumed = consumed
        self._notices: Stream[Any] | None = None
        self._metrics_at = self.due = clock.now() + metrics_period_s  # when `tick` has something to do
        self._prompt = consumed
        self._unflushed = False
        self._alarms: list[tuple[str, int, dict[str, Any]]] = []  # of the writers' threads
        self._listen_to(format)

    # The session's side

    def _listen_to(self, format: MediaFormat | None) -> None:
        self.state = "live"
        if format is None:
            return
        self._format = format
        self._show(self._listen_from(self._position), format.channels, format.sample_rate)
        if self._shown is not None:
            self._prompt = True
            if self._position:
                self._shown.holes.append(Hole(0, self._position, "reconnect"))

    def _listen_from(self, position: int, *, after: StreamReceiver | None = None) -> StreamReceiver:
        format = self._format
        assert format is not None
        stream = StreamReceiver(
            format.encoding,
            format.sample_rate,
            len(format.channels),
            position=position,
            after=after,
            **self._processing,
        )
        self._stream = stream
        gather = int(self._gather_s * format.sample_rate) // stream.frame_samples * stream.n_channels
        self._gather = 0 if self._prompt else gather
        if self.intake is None:
            self.intake = Intake(stream)
            self.intake.on_ready = self._on_ready
        self.intake.receiver = stream
        self.intake.enough = self._gather * (1 + next(_phases) % N_PHASES) // N_PHASES
        self._lulls.heard_of(self)
        self._receiver = stream  # type: ignore[assignment]  # what is used of it here has the same names
        if self._shown is not None:
            self._shown.receiver = stream
        return stream

    def record_behind(
        self, writers: Writers, claim: Callable[[], Path], on_failure: Callable[[Exception], object]
    ) -> None:
        """Begin the recording, in a thread; ``claim`` makes and names its folder there."""
        format = self._format
        if format is None:
            return

        def make() -> CallFolder:
            self._folder_path = claim()
            return self._new_folder(self._folder_path, format, self._alarm)

        behind = writers.open(make, on_failure, self._alarm)
        self._folder = behind  # type: ignore[assignment]  # the same calls, done later
        if self._position:
            behind.hole(Hole(0, self._position, "reconnect"))

    def _alarm(self, kind: str, position: int, details: dict[str, Any]) -> None:
        """The disk fails, or works again; told by a writer's thread, and handed on with what is passed on next."""
        self._alarms.append((kind, position, details))

    def take(self, payload: bytes | bytearray | memoryview, now: float) -> None:
        """Take audio that did not come by ``intake``."""
        assert self._stream is not None
        assert self.intake is not None
        if self._stream.push(payload) >= self.intake.enough:
            self._pass_on_due(now)

    def _on_ready(self) -> None:
        self._pass_on_due(self._clock.now())

    def leave_out(self, holes: tuple[Hole, ...], now: float) -> None:
        """Take what the client says that it has dropped."""
        stream = self._stream
        if stream is None:
            return
        for hole in holes:
            if hole.n_samples > self._fill_s * stream.sample_rate:
                stream = self._jump(hole, now)
            elif stream.hole(hole.n_samples, hole.cause):
                self._pass_on_due(now)
        self._tell_holes()

    def _jump(self, hole: Hole, now: float) -> StreamReceiver:
        """Go on behind a hole that is too long to be filled; the frame before it may be short."""
        before = self._stream
        assert before is not None
        before.flush()
        self._pass_on_due(now)
        self._tell_holes()
        position = before.end
        self._tell_hole(Hole(position, hole.n_samples, hole.cause))
        return self._listen_from(position + hole.n_samples, after=before)

    def _pass_on_due(self, now: float) -> bool:
        """Hand on what is due; False when nothing is."""
        assert self._stream is not None
        assert self.intake is not None
        block = self._stream.block()
        if block is None:
            return False
        self.intake.enough = self._gather
        self._lulls.heard_of(self)
        self._pass_on(block, now)
        return True

    def note(self, kind: str, at: int | None = None, **details: Any) -> None:
        """Tell of something that happened, by the client's own position where it told one."""
        self._event(kind, **({} if at is None else {"at": at}), **details)

    def fail(self, cause: str) -> None:
        """The session cannot go on: tell monitor and metrics; the recording ends as of any other call."""
        self._failed = cause

    def notice(self, event: Any) -> None:
        """Hand on what the client has told."""
        if self._notices is not None:
            self._notices.put(event)

    def _note_metrics(self) -> None:
        """Write the QA record, once there is media; of thousands of calls, so only for those who look."""
        logged = self._logger.isEnabledFor(logging.INFO)
        if self._stream is None or not (logged or self._folder is not None or self._shown is not None):
            return
        metrics = self.metrics()
        if self._shown is not None:
            self._shown.serve_requests()
            self._shown.qa.append(metrics)
        if logged:
            self._logger.info("[QA Metrics] %s", json.dumps(metrics))
        if self._folder is not None:
            self._folder.metrics(metrics)
            self._unflushed = True

    def _tell_alarms(self) -> None:
        while self._alarms:
            self._tell(*self._alarms.pop(0))

    def tick(self, now: float) -> None:
        """Write down what is due; to be called when ``due`` has come."""
        if self._stream is not None:
            self._pass_on_due(now)
        if self._alarms:
            self._tell_alarms()
        self._metrics_at = self.due = now + self._metrics_period_s
        self._note_metrics()
        if self._unflushed:
            self._lulls.heard_of(self)

    def lull(self, now: float) -> None:
        """Pass on what waits for more in vain; to be called when nothing has been passed on for a while."""
        if self._alarms:
            self._tell_alarms()
        if self._stream is not None:
            if self._pass_on_due(now):
                return
            assert self.intake is not None
            self.intake.enough = 1  # for what comes next nobody looks again
        if self._unflushed and self._folder is not None:  # else the next audio does it
            self._unflushed = False
            self._folder.flush(now)

    async def end(self, failure: Exception | None, cause: str) -> None:
        """It is over: hand out and record what there is, and close the recording."""
        await self._finish(failure, cause)
        self._tell_alarms()
        self._on_event = None  # it may know this call: no ring
        if self._notices is not None:
            self._notices.finish()

    def _pass_on(self, block: Block, now: float) -> None:
        if self._alarms:
            self._tell_alarms()
        if self._masking.active:
            block = self._masked_block(block)
        if self._shown is not None:
            self._shown.serve_requests()
        if self._folder is not None:
            self._folder.block(block, now)
            self._unflushed = True
            if block.position >= self._next_sample:
                self._next_sample = block.position + int(SERIES_S * block.sample_rate)
                assert self._receiver is not None
                self._folder.sample(series(self._receiver, self._receiver.stats()))
        if self._consumed or self._fanout.wanted:
            frames = block.frames()
            self._frames.put_many(frames)
            self._fanout.put_many(frames)

    def _masked_block(self, block: Block) -> Block:
        masked, over = self._masking.apply_to(block)
        if over is not None and self._folder is not None:
            self._folder.mask(*over)
        return masked

    def _hide(self, failure: Exception | None) -> None:
        if self._failed and failure is None and self._shown is not None and self._live is not None:
            self._live.leave(self._shown, failed=True, reason=self._failed)
        super()._hide(failure)

    async def _deliver_rest(self) -> None:
        if self._stream is not None:
            self._stream.flush()
            self._pass_on_due(self._clock.now())
            self._tell_holes()

    # The handler's side

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in the order of `Frame.channel`: ``"external"`` is the customer."""
        return () if self.media is None else self.media.channels

    @property
    def notices(self) -> Stream[Any]:
        """What the client tells, from the first look on, as an async iterator.

        Its items are ``Paused``, ``Resumed``, ``Discarded``, ``Update``, ``Dtmf``, ``Playback``, ``PeerError`` and
        ``Closing`` of `gcmedia.dialects.audiohook.events`; 1,000 wait at most, then the oldest give way.
        """
        if self._notices is None:
            self._notices = Stream("notices", MAX_NOTICES, "drop_oldest")
            if self._done.is_set():
                self._notices.finish()
        return self._notices

    @property
    def output_variables(self) -> dict[str, Any]:
        """Told to the platform with the end of the session (Audio Connector); to be filled."""
        return self._session.machine.output_variables

    @property
    def ping_s(self) -> float | None:
        """What the client measured last between a ping and its pong."""
        return self.rtt_s

    def send_event(self, *entities: Entity) -> bool:
        """Send entities: `Transcript`, `AgentAssist`, or any mapping with ``type`` and ``data``.

        They go at once as long as the client takes so many messages, else together with others in their turn.

        Returns
        -------
        bool
            False when the session is over, and nothing is sent.

        Raises
        ------
        LocalProtocolError
            If one is too long for a message.
        """
        return self._session.send_event(entities)

    async def send_audio(self, payload: bytes) -> bool:
        """Send audio of `media` (Audio Connector); waits while too much of it waits.

        Parameters
        ----------
        payload : bytes
            Whole samples, encoded as negotiated.

        Returns
        -------
        bool
            False when the session is over, and nothing is sent.

        Raises
        ------
        LocalProtocolError
            If the product takes no audio, or the payload ends amid a sample.
        """
        return await self._session.send_audio(payload)

    def clear_audio(self) -> None:
        """Drop audio that waits to be sent; send a ``BargeIn`` too for what the client has got already."""
        self._session.clear_audio()

    def subscribe(self, name: str, *, max_frames: int = 1000, overflow: str = "drop_oldest") -> Stream[Frame]:
        """Another consumer of the frames from now on; as of every call."""
        self._prompt = True
        self._gather = 0
        if self.intake is not None:
            self.intake.enough = 0
        return super().subscribe(name, max_frames=max_frames, overflow=overflow)

    async def mask(self, fill: str = "silence") -> None:
        """Replace what is said from now on, for a card number, by ``"silence"`` or a ``"tone"``.

        The client goes on sending; what it sends is in no recording and reaches no consumer.  Where it can, `pause`
        instead: what is said meanwhile is never sent.  Masking again changes nothing.
        """
        if self._stream is not None:
            self._pass_on_due(self._clock.now())  # it was said before
        await super().mask(fill)

    async def unmask(self) -> None:
        """Let what is received from now on be heard again; what was received before stays masked."""
        end = self.position if self._stream is None else self._stream.end
        if self._masking.end(end) and not self._done.is_set():
            self._event("unmasked", until=end)

    async def pause(self, mode: str = "drop") -> None:
        """Stop the audio.

        Parameters
        ----------
        mode : str
            ``"drop"`` asks the client to send none; it goes on until the client says that it has paused, and what it
            left out becomes a hole of its exact length.  ``"buffer"`` and ``"live_edge"`` only hold back your frames.
        """
        if mode == "drop":
            self._session.wish("pause")
        else:
            await super().pause(mode)

    async def resume(self) -> None:
        """Go on after a pause.  The client may go on holding its audio for reasons of its own."""
        if self._paused is not None:
            await super().resume()
        else:
            self._session.wish("resume")

    def update_done(self) -> bool:
        """Answer an update of the language; optional in the protocol."""
        return self._session.updated()

    def reconnect(self, info: str = "") -> bool:
        """Ask the client to open another session in place of this one, where the integration allows it."""
        return self._session.reconnect(info)

    def disconnect(self, reason: str = "completed", *, info: str = "") -> bool:
        """Ask the client to end the session.

        Parameters
        ----------
        reason : str
            ``"completed"``, ``"error"`` or ``"rejected"``.
        info : str
            For the client's log; no secrets, nothing personal.
        """
        return self._session.disconnect(reason, info=info)

    def __repr__(self) -> str:
        return f"HookCall(conversation_id={self.conversation_id!r}, session_id={self.session_id!r}, {self.state})"
