"""From a stream's packets to its consumers: receiver, recording, queues; transcripts, pauses, metrics and events.

Whoever has a connection feeds a `Delivery`: a capture one, a socket with many streams one for each.  It knows no
socket and no dialect.
"""

from __future__ import annotations

import json
import logging
from bisect import insort
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread

from ._core.frame import Frame
from ._core.jitter import JitterBuffer
from ._core.receiver import Receiver
from ._core.stream import StreamReceiver
from .clock import Clock
from .errors import ConfigError, StateError
from .fanout import Fanout, Stream
from .live import LiveCall, LiveCalls
from .record import AuditPolicy, CallFolder
from .types import Hole, MediaFormat, Stats, Transcript

__all__ = ["PAUSE_MODES", "Delivery", "Said"]

#: What becomes of the audio of a pause: not taken at all; kept for later; kept out of the stream only.
PAUSE_MODES = ("drop", "buffer", "live_edge")

MAX_EVENTS = 1000
MAX_TRANSCRIPTS = 1000
SERIES_S = 0.2
FRAMES_AT_ONCE = 256  # then other tasks get a turn


class Said(Protocol):
    """A line of a transcript as a dialect reads it."""

    @property
    def timestamp(self) -> int:
        """Media time at which it begins, in ticks of the stream."""

    @property
    def text(self) -> str:
        """What was said."""

    @property
    def confidence(self) -> float:
        """What the recogniser claims."""

    @property
    def duration_ms(self) -> int:
        """Its length, 0 when unknown."""

    @property
    def channel(self) -> str:
        """Name of the channel, ``""`` when unknown."""


class Delivery:
    """One stream on its way to those who want it; the base of whatever has a connection for it.

    To its consumers it is an async iterator over `Frame`: 20 ms each, in order, holes filled and marked; what failed
    is raised at its end, behind the last frame.

    The source makes the receiver by `_begin` as soon as the format is known, then per packet pushes into
    ``_receiver`` and awaits `_deliver` when frames are ready; `_say` takes transcripts, `_restart` tells of a new
    connection, `_finish` ends everything.  `_tell_metrics` runs beside it as a task.

    Attributes
    ----------
    conversation_id : str
        The conversation.
    state : str
        ``"new"`` at first, ``"live"`` or ``"paused"`` when media may come, ``"ended"`` or ``"failed"`` in the end; the
        source adds its own between.
    transcripts : Stream of Transcript
        What is said, pinned to the sample timeline; at most 1,000 wait, then the oldest give way.
    events : deque of dict
        The last 1,000 events.
    reconnects : int
        Connections that took over from a lost one.
    """

    _logger = logging.getLogger("gcmedia.delivery")
    _keep_files_open = True
    _source = ""

    def __init__(
        self,
        conversation_id: str,
        *,
        processing: dict[str, Any],
        folder: Path | None,
        overwrite: bool,
        audit_policy: AuditPolicy | None,
        region: str,
        sample_rate: int,
        frames: Stream[Frame],
        transcripts_at: str,
        metrics_period_s: float,
        on_event: Callable[[dict[str, Any]], object] | None,
        clock: Clock,
        live: LiveCalls | None = None,
    ) -> None:
        self.conversation_id = conversation_id
        self.state = "new"
        self.reconnects = 0
        self.transcripts: Stream[Transcript] = Stream("transcripts", MAX_TRANSCRIPTS, "drop_oldest")
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._processing = processing
        self._folder_path = folder
        self._overwrite = overwrite
        self._audit_policy = audit_policy
        self._region_name = region
        self._expected_rate = sample_rate  # until the format is known
        self._frames = frames
        self._fanout: Fanout[Frame] = Fanout()
        self._transcripts_at = transcripts_at
        self._metrics_period_s = metrics_period_s
        self._on_event = on_event
        self._clock = clock
        self._live = live
        self._shown: LiveCall | None = None
        self._format: MediaFormat | None = None
        self._receiver: Receiver | None = None
        self._folder: CallFolder | None = None
        self._paused: str | None = None
        self._end_timestamp: int | None = None  # where the server said that the stream ends
        self._unplaced: deque[Said] = deque(maxlen=MAX_TRANSCRIPTS)
        self._unplayed: list[Transcript] = []
        self._next_sample = 0
        self._done = anyio.Event()
        self._failure: Exception | None = None

    # The source's side

    def _begin(self, format: MediaFormat, **receiver: Any) -> Receiver:
        """Make the receiver, with further settings of its own, and the recording."""
        self._record(format)
        self._receiver = Receiver(
            format.encoding, format.sample_rate, n_channels=len(format.channels), **receiver, **self._processing
        )
        if self._paused == "drop":
            self._receiver.pause()
        self._format = format
        self._show(self._receiver, format.channels, format.sample_rate)
        return self._receiver

    def _record(self, format: MediaFormat) -> None:
        """Begin the recording, where there is to be one."""
        if self._folder_path is not None:
            self._folder = self._new_folder(self._folder_path, format)

    def _new_folder(self, path: Path, format: MediaFormat) -> CallFolder:
        return CallFolder(
            path,
            format,
            conversation_id=self.conversation_id,
            clean=self._processing["gate"] is not None or self._processing["compressor"] is not None,
            region=self._region_name,
            clock=self._clock.wall,
            overwrite=self._overwrite,
            audit_policy=self._audit_policy,
            keep_open=self._keep_files_open,
        )

    def _show(
        self, receiver: Receiver | StreamReceiver | JitterBuffer, channels: tuple[str, ...], sample_rate: int
    ) -> None:
        """Let monitor and metrics see the call."""
        if self._live is not None:
            self._shown = self._live.announce(
                self.conversation_id,
                receiver=receiver,
                channels=channels,
                sample_rate=sample_rate,
                source=self._source,
                call=self,
            )
            for event in self.events:
                self._shown.events.append(event)

    def _say(self, said: Said) -> None:
        """Take something said."""
        if len(self._unplaced) == MAX_TRANSCRIPTS:
            self.transcripts.dropped += 1  # said before any audio, so much that the oldest gives way
        self._unplaced.append(said)
        self._place_transcripts()

    async def _restart(self) -> None:
        """A connection is lost: another one may take over, from where its packets say."""
        if self._receiver is not None:
            self._receiver.restart()
            await self._deliver(self._clock.now())

    async def _deliver(self, now: float) -> None:
        """Hand on every frame that is due."""
        assert self._receiver is not None
        for n, frame in enumerate(self._receiver.frames(now), 1):
            self._hand_on(frame, now)
            if n % FRAMES_AT_ONCE == 0:
                self._tell_holes()
                await anyio.lowlevel.checkpoint()
            if self._congested:
                await self._wait_room()
        self._handed_on()

    @property
    def _congested(self) -> bool:
        """Whether a consumer that nothing may be dropped for is full."""
        return self._frames.congested or self._fanout.congested

    async def _wait_room(self) -> None:
        await self._frames.wait_room()
        await self._fanout.wait_room()

    def _hand_on(self, frame: Frame, now: float) -> None:
        if self._folder is not None:
            self._folder.frame(frame, now)
        self._frames.put(frame)
        self._fanout.put(frame)

    def _handed_on(self) -> None:
        """What goes with the frames that were due."""
        receiver, folder = self._receiver, self._folder
        assert receiver is not None
        if self._shown is not None:
            self._shown.serve_requests()
        self._tell_holes()
        self._place_transcripts()
        if folder is not None and receiver.position >= self._next_sample:
            self._next_sample = receiver.position + int(SERIES_S * receiver.sample_rate)
            folder.sample(self._series(receiver))

    def _tell_holes(self) -> None:
        assert self._receiver is not None
        for hole in self._receiver.holes():
            self._tell_hole(hole)

    def _tell_hole(self, hole: Hole) -> None:
        if self._folder is not None:
            self._folder.hole(hole)
        if self._shown is not None:
            self._shown.holes.append(hole)

    def _series(self, receiver: Receiver) -> dict[str, Any]:
        stats = receiver.stats()
        return {
            "position": receiver.position,
            "depth": stats.buffer_depth,
            "target": stats.buffer_target,
            "jitter_ms": round(stats.jitter * 1000, 3),
            "loss_rate": round(stats.loss_rate, 4),
        }

    def _place_transcripts(self) -> None:
        """Pin what was said to the timeline; hand on what has been played."""
        receiver = self._receiver
        over = self.state in ("ended", "failed")
        while self._unplaced:
            position = None if receiver is None else receiver.position_at(self._unplaced[0].timestamp)
            if position is None and not over:
                return
            said = self._unplaced.popleft()
            sample_rate = self._expected_rate if receiver is None else receiver.sample_rate
            transcript = Transcript(
                text=said.text,
                confidence=min(max(said.confidence, 0.0), 1.0),
                position=max(0, position or 0),  # 0 where no audio ever came: the words are not lost for that
                n_samples=said.duration_ms * sample_rate // 1000,
                channel=said.channel,
                server_timestamp=said.timestamp,
            )
            if self._folder is not None:
                self._folder.transcript(transcript)
            if self._shown is not None:
                self._shown.transcripts.append(transcript)
            insort(self._unplayed, transcript, key=lambda t: t.position)
        n = 0
        while n < len(self._unplayed) and (
            over
            or self._transcripts_at == "once"
            or self._unplayed[n].position <= self.position
            or len(self._unplayed) - n > MAX_TRANSCRIPTS  # of a time to come, and no room to wait for it
        ):
            self.transcripts.put(self._unplayed[n])
            n += 1
        del self._unplayed[:n]

    # The consumers' side

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self

    async def __anext__(self) -> Frame:
        return await self._frames.__anext__()

    def subscribe(self, name: str, *, max_frames: int = 1000, overflow: str = "drop_oldest") -> Stream[Frame]:
        """Another consumer of the frames from now on, with a bounded queue of its own.

        One that subscribes before the call is entered misses nothing.

        Parameters
        ----------
        name : str
            For logs.
        max_frames : int
            Bound of its queue.
        overflow : str
            ``"drop_oldest"``, ``"drop_newest"`` or ``"wait"``, as for `capture`.
        """
        stream = self._fanout.subscribe(name, max_items=max_frames, overflow=overflow)
        if self._done.is_set():
            stream.finish()
        return stream

    async def pause(self, mode: str = "drop") -> None:
        """Stop handing out audio; the timeline goes on, and the position is kept.

        Parameters
        ----------
        mode : str
            ``"drop"``: nothing is taken, played or recorded; the pause is a hole of its exact length.
            ``"buffer"``: frames queue up to the bound of `capture`, and come after `resume`.
            ``"live_edge"``: they are dropped and counted on `resume`, which goes on with the present.
            The last two do not touch the recording.  Pausing again changes nothing.
        """
        if mode not in PAUSE_MODES:
            raise ConfigError(f"mode is {mode!r}, not one of {', '.join(PAUSE_MODES)}")
        if self._paused is not None or self._done.is_set():
            return
        self._paused = mode
        if mode != "drop":
            self._frames.hold()
        elif self._receiver is not None:
            self._receiver.pause()
        if self.state == "live":
            self.state = "paused"
        self._event("paused", mode=mode)

    async def resume(self) -> None:
        """Go on after a pause; without one it changes nothing."""
        mode, self._paused = self._paused, None
        if mode is None or self._done.is_set():
            return
        if mode != "drop":
            self._frames.release(clear=mode == "live_edge")
        elif self._receiver is not None:
            self._receiver.resume()
        if self.state == "paused":
            self.state = "live"
        self._event("resumed", mode=mode)

    def note(self, kind: str, **details: Any) -> None:
        """Put an event of your own on the timeline and into the audit trail: a mute, confirmed by whom.

        Details are numbers, flags and short words; those that could carry a secret, audio or a person are left out.
        """
        if not self._done.is_set():
            self._event(kind, **details)

    # What is known

    @property
    def format(self) -> MediaFormat:
        """What the server sends; the names of the channels are here."""
        if self._format is None:
            raise StateError(f"the format is not known yet: the call is {self.state}")
        return self._format

    @property
    def reached(self) -> bool:
        """Whether a subscription has been acknowledged, so that there is a format and a recording."""
        return self._format is not None

    @property
    def position(self) -> int:
        """Samples of the timeline handed out so far."""
        return 0 if self._receiver is None else self._receiver.position

    @property
    def folder(self) -> Path | None:
        """Where the call is recorded."""
        return self._folder_path

    @property
    def dropped_frames(self) -> int:
        """Frames that consumers were too slow for; a recording has them."""
        return self._frames.dropped + self._fanout.dropped

    def stats(self) -> Stats:
        """Counters of the stream so far."""
        return JitterBuffer().stats() if self._receiver is None else self._receiver.stats()

    @property
    def ping_s(self) -> float | None:
        """Round trip of the last keep-alive ping, None before the first."""
        return None

    def metrics(self) -> dict[str, Any]:
        """The QA record as of now: the published keys, then our own."""
        stats = self.stats()
        latency = self.ping_s
        return {
            "timestamp": round(self._clock.wall() * 1000),
            "rttMs": round(stats.interval_ms, 2),
            "packetLossRate": round(stats.loss_rate, 3),
            "bufferDepth": stats.buffer_depth,
            "adaptiveThreshold": stats.buffer_target,
            "state": self.state,
            "positionMs": 0 if self._receiver is None else self.position * 1000 // self._receiver.sample_rate,
            "jitterMs": round(stats.jitter * 1000, 3),
            "pingMs": None if latency is None else round(latency * 1000, 3),
            "packetsReceived": stats.packets_received,
            "packetsLost": stats.packets_lost,
            "packetsLate": stats.packets_late,
            "packetsDuplicate": stats.packets_duplicate,
            "packetsDiscarded": stats.packets_discarded,
            "packetsRefused": stats.packets_refused,
            "concealedSamples": stats.concealed_samples,
            "underruns": stats.underruns,
            "reconnects": self.reconnects,
            "droppedFrames": self.dropped_frames,
        }

    async def _tell_metrics(self) -> None:
        while not self._done.is_set():
            await self._clock.sleep(self._metrics_period_s)
            if self.state in ("ended", "failed"):
                return
            self._note_metrics()

    def _note_metrics(self) -> None:
        """Write the QA record, once there is media."""
        if self._receiver is None:
            return
        if self._receiver.stats().packets_buffered and not self._congested:
            now = self._clock.now()  # a stalled stream gives out what has waited too long
            for frame in self._receiver.frames(now):
                self._hand_on(frame, now)
            self._handed_on()
        metrics = self.metrics()
        if self._shown is not None:
            self._shown.serve_requests()
            self._shown.qa.append(metrics)
        self._logger.info("[QA Metrics] %s", json.dumps(metrics))
        if self._folder is not None:
            self._folder.metrics(metrics)
            self._folder.flush(self._clock.now())  # for the times when no frame does it

    def _become(self, state: str, *, event: str | None = None, **details: Any) -> None:
        self.state = state
        self._event(event or state, **details)

    def _event(self, kind: str, *, at: int | None = None, **details: Any) -> None:
        position = self.position if at is None else at
        self._logger.info("%s: %s at sample %d %s", self.conversation_id, kind, position, details or "")
        if self._folder is not None:
            try:
                self._folder.event(kind, position, **details)
            except ConfigError:  # words of a server that look personal: the fact is recorded without them
                self._folder.event(kind, position)
        event = {"kind": kind, "position": position, **details}
        self.events.append(event)
        if self._shown is not None:
            self._shown.events.append(event)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                self._logger.exception("on_event raised for %s; the call goes on", kind)

    async def _deliver_rest(self) -> None:
        """No more will come: hand on what the receiver still holds."""
        if self._receiver is not None:
            self._receiver.flush(self._end_timestamp)
            await self._deliver(self._clock.now())

    async def _finish(self, failure: Exception | None, cause: str) -> None:
        """Hand out and record all that has come, whatever ended the stream; ``cause`` says what, if nothing failed."""
        try:
            await self._deliver_rest()
        except Exception as error:
            failure = failure or error
        try:
            if failure is None:
                self._become("ended", cause=cause)
            else:
                self._become("failed", cause=str(failure))
            self._place_transcripts()
            if self._folder is not None:
                folder, self._folder = self._folder, None  # nothing is recorded any more
                stats = None if self._receiver is None else self._receiver.stats()
                await anyio.to_thread.run_sync(folder.close, stats)  # hashes the files
        except Exception as error:
            failure = failure or error
        finally:  # whatever happened: nobody is left waiting
            self._failure = failure
            self._hide(failure)
            self._frames.finish(failure)
            self._fanout.finish(failure)
            self.transcripts.finish()
            self._done.set()

    def _hide(self, failure: Exception | None) -> None:
        """The call is over for monitor and metrics too."""
        reason = "" if failure is None else type(failure).__name__
        if self._shown is not None and self._live is not None:
            self._shown.serve_requests()
            self._live.leave(self._shown, failed=failure is not None, reason=reason)
        elif self._live is not None and failure is not None:
            self._live.fail(reason)
