"""From a stream's packets to its consumers: receiver, recording, queues; transcripts, pauses, metrics and events.

Whoever has a connection feeds a `Delivery`: a capture one, a socket with many streams one for each.  It knows no
socket and no dialect.
"""

from __future__ import annotations

import json
import logging
import math
from bisect import insort
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
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
from .dialects.notifications import Utterance
from .errors import ConfigError, StateError
from .fanout import Fanout, Latch, Stream
from .live import LiveCall, LiveCalls
from .masking import MASKED_TEXT, Masking
from .record import AuditPolicy, CallFolder, RecordConfig, WallMap, repair_room
from .types import Hole, MediaFormat, Stats, Transcript

__all__ = ["PAUSE_MODES", "Delivery", "Said", "repair_once", "series"]

#: What becomes of the audio of a pause: not taken at all; kept for later; kept out of the stream only.
PAUSE_MODES = ("drop", "buffer", "live_edge")

MAX_EVENTS = 1000
MAX_TRANSCRIPTS = 1000
SERIES_S = 0.2
MAX_PACKET_MS = 200.0
EPOCH_S = 60.0  # media timestamps this near to the wall clock are taken for epoch ms
FRAMES_AT_ONCE = 256  # then other tasks get a turn


_repaired: set[Path] = set()


async def repair_once(room: Path) -> None:
    """Mend what processes that died have left in a room of recordings, the first time that this one records into it.

    Calls that are being recorded, by whichever process, are left alone.  What cannot be mended is logged and left.
    """
    if not _first_time(room):
        return
    log = logging.getLogger("gcmedia.delivery")
    try:
        found = await anyio.to_thread.run_sync(partial(repair_room, room, unfinished=True))
    except FileNotFoundError:
        return  # the first call makes it
    except OSError as error:
        log.warning("%s cannot be looked through for calls that were cut off: %s", room, error)
        return
    for repair in found:
        if repair.problem is not None:
            log.warning("%s cannot be mended: %s", repair.path, repair.problem)
        elif repair.outcome in ("mended", "named", "recovered"):
            log.info("%s, of a process that died, is %s", repair.path, repair.outcome)


def _first_time(room: Path) -> bool:
    room = room.absolute()
    if room in _repaired:
        return False
    _repaired.add(room)
    return True


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
        recording: RecordConfig | None = None,
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
        self._recording = recording
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
        self._masking = Masking()
        self._wall: WallMap | None = None
        self._storage_failures = 0
        self._end_timestamp: int | None = None  # where the server said that the stream ends
        self._unplaced: list[Said] = []  # both up to MAX_TRANSCRIPTS, then the oldest gives way
        self._unheard: list[Utterance] = []  # told of before there was a timeline
        self._unplayed: list[Transcript] = []
        self._next_sample = 0
        self._done = Latch()
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
        self._wall = WallMap(format.sample_rate)
        if self._masking.active and self._folder is not None:  # from before there was a recording
            self._folder.event("masked", 0, fill=self._masking.fill)
        self._show(self._receiver, format.channels, format.sample_rate)
        return self._receiver

    def _record(self, format: MediaFormat) -> None:
        """Begin the recording, where there is to be one."""
        if self._folder_path is not None:
            self._folder = self._new_folder(self._folder_path, format, self._tell)

    def _new_folder(
        self,
        path: Path,
        format: MediaFormat,
        on_storage: Callable[[str, int, dict[str, Any]], object] | None = None,
    ) -> CallFolder:
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
            config=self._recording,
            on_storage=on_storage,
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
            del self._unplaced[0]
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
            self._hand_on(self._masked(frame) if self._masking.active else frame, now)
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
        if receiver.position >= self._next_sample:
            self._next_sample = receiver.position + int(SERIES_S * receiver.sample_rate)
            stats = receiver.stats()
            if self._wall is not None:
                self._wall.note(self._clock.wall() * 1000, receiver.position + _waiting(receiver, stats))
            if folder is not None:
                folder.sample(series(receiver, stats))

    def _masked(self, frame: Frame) -> Frame:
        over = self._masking.ended(frame.position)
        if over is None:
            return self._masking.apply(frame)
        if self._folder is not None:
            self._folder.mask(*over)
        return frame

    def _tell_holes(self) -> None:
        assert self._receiver is not None
        for hole in self._receiver.holes():
            self._tell_hole(hole)

    def _tell_hole(self, hole: Hole) -> None:
        if self._folder is not None:
            self._folder.hole(hole)
        if self._shown is not None:
            self._shown.holes.append(hole)

    def _place_transcripts(self) -> None:
        """Pin what was said to the timeline, as soon as it is known where that is; hand on what has been played."""
        receiver = self._receiver
        over = self.state in ("ended", "failed")
        if self._wall is not None and len(self._wall):
            while self._unheard:
                self._pin_utterance(self._unheard.pop(0))
        while self._unplaced:
            position = None if receiver is None else receiver.position_at(self._unplaced[0].timestamp)
            if position is None and not over:
                break
            said = self._unplaced.pop(0)
            sample_rate = self._expected_rate if receiver is None else receiver.sample_rate
            n_samples = said.duration_ms * sample_rate // 1000
            transcript = Transcript(
                text=said.text,
                confidence=min(max(said.confidence, 0.0), 1.0),
                position=max(0, position or 0),  # 0 where no audio ever came: the words are not lost for that
                n_samples=n_samples,
                channel=said.channel,
                server_timestamp=said.timestamp,
            )
            self._pin(transcript)
        self._emit_transcripts()

    def _pin_utterance(self, utterance: Utterance) -> None:
        assert self._receiver is not None
        receiver, start_ms = self._receiver, utterance.start_ms
        assert start_ms is not None
        now = receiver.position_at(round(self._clock.wall() * 1000))
        if now is not None and abs(now - receiver.position) < EPOCH_S * receiver.sample_rate:
            position = receiver.position_at(start_ms)  # media timestamps are epoch ms too
        else:
            position = None if self._wall is None else self._wall.position_at(start_ms)
        end = (position or 0) + utterance.duration_ms * receiver.sample_rate // 1000
        if position is not None and end >= 0:  # else it was over before the timeline began
            begin = max(0, position)
            self._pin(
                Transcript(
                    text=utterance.text,
                    confidence=utterance.confidence,
                    position=begin,
                    n_samples=end - begin,
                    channel=utterance.channel,
                    server_timestamp=start_ms,
                )
            )

    def _pin(self, transcript: Transcript) -> None:
        """Record what was said, and let it wait for its audio; what was said behind a mask stays there."""
        if self._masking.covers(transcript.position, transcript.n_samples):
            transcript = replace(transcript, text=MASKED_TEXT)
        if self._folder is not None:
            self._folder.transcript(transcript)
        if self._shown is not None:
            self._shown.transcripts.append(transcript)
        insort(self._unplayed, transcript, key=lambda t: t.position)

    def _emit_transcripts(self) -> None:
        """Hand on what has been played."""
        over = self.state in ("ended", "failed")
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

    async def mask(self, fill: str = "silence") -> None:
        """Replace what is said from now on, for a card number: in the recording, for all consumers, in transcripts.

        Unlike a pause it leaves the stream running: frames come as ever, with silence or a tone in them.  What is
        masked is listed in the manifest, and told in the audit trail.

        Parameters
        ----------
        fill : str
            ``"silence"`` or ``"tone"`` (500 Hz, at -20 dB).  Masking again changes nothing.
        """
        position = self.position
        if self._masking.begin(position, fill) and not self._done.is_set():
            self._event("masked", fill=fill)

    async def unmask(self) -> None:
        """Let what is received from now on be heard again; without a mask it changes nothing.

        What was received before and still waits in the buffers stays masked.
        """
        position = self.position
        if self._receiver is not None:
            receiver = self._receiver
            position += _waiting(receiver, receiver.stats()) + 2 * receiver.frame_samples
        if self._masking.end(position) and not self._done.is_set():
            self._event("unmasked", until=position)

    def add_transcript(self, transcript: Transcript) -> None:
        """Put something said on the timeline, whose sample position is known: of a recogniser that hears the frames.

        It is recorded, and handed on with the others in ``transcripts``, when its audio has been or at once.
        """
        if not self._done.is_set():
            self._pin(transcript)
            self._emit_transcripts()

    def add_utterance(self, utterance: Utterance) -> None:
        """Put something said on the timeline that is known by the time of day: of the platform's own transcription.

        Give final ones, as `gcmedia.dialects.notifications.UtteranceLog` tells them.  One without a time is left out.
        Its place comes from the media timestamps where those are epoch ms, else from the times at which packets came,
        to within a packet and the delay of the network.
        """
        if not self._done.is_set() and utterance.start_ms is not None:
            if len(self._unheard) == MAX_TRANSCRIPTS:
                del self._unheard[0]
                self.transcripts.dropped += 1
            self._unheard.append(utterance)
            self._place_transcripts()

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

    @property
    def storage_failures(self) -> int:
        """How often the disk began to refuse the recording; the call went on."""
        return self._storage_failures if self._folder is None else self._folder.storage_failures

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
            "packetsPlayed": stats.packets_played,
            "packetsBuffered": stats.packets_buffered,
            "packetsLost": stats.packets_lost,
            "packetsLate": stats.packets_late,
            "packetsDuplicate": stats.packets_duplicate,
            "packetsDiscarded": stats.packets_discarded,
            "packetsRefused": stats.packets_refused,
            "concealedSamples": stats.concealed_samples,
            "underruns": stats.underruns,
            "reconnects": self.reconnects,
            "droppedFrames": self.dropped_frames,
            "storageFailures": self.storage_failures,
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
                self._hand_on(self._masked(frame) if self._masking.active else frame, now)
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
        self._tell(kind, position, details)

    def _tell(self, kind: str, position: int, details: dict[str, Any]) -> None:
        """Let those know who listen, beside the recording."""
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
            masked = self._masking.finish(self.position)
            if self._folder is not None:
                if masked is not None:
                    self._folder.mask(*masked)
                folder, self._folder = self._folder, None  # nothing is recorded any more
                stats = None if self._receiver is None else self._receiver.stats()
                await anyio.to_thread.run_sync(folder.close, stats)  # hashes the files
                self._storage_failures = folder.storage_failures
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


def series(receiver: Receiver, stats: Stats) -> dict[str, Any]:
    """The state of the buffer at one moment."""
    return {
        "position": receiver.position,
        "depth": stats.buffer_depth,
        "target": stats.buffer_target,
        "jitter_ms": round(stats.jitter * 1000, 3),
        "loss_rate": round(stats.loss_rate, 4),
    }


def _waiting(receiver: Receiver, stats: Stats) -> int:
    """Samples that have been received and not been handed out, to within a packet."""
    packet_ms = stats.interval_ms if 0.0 < stats.interval_ms <= MAX_PACKET_MS else 20.0
    return math.ceil(stats.buffer_depth * packet_ms * receiver.sample_rate / 1000) + receiver.delay_samples
