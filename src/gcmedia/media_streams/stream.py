"""One interaction: its packets to frames, its counters, its audit."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio

from .._core.frame import Frame
from .._core.jitter import JitterBuffer, Packet
from ..clock import Clock
from ..config import MediaStreamsConfig
from ..delivery import Delivery
from ..dialects import media_streams as dialect
from ..errors import ConfigError, FormatError, StateError
from ..fanout import Stream
from ..live import LiveCalls
from ..record import AuditLog, AuditPolicy, RecordConfig
from ..types import Stats
from .events import MediaFrame, MetadataSync, Throughput
from .opus import OpusDecoder, can_decode
from .order import PacketOrder
from .rate import Rate
from .taps import Taps

__all__ = ["MediaStream"]

MAX_OPUS_OCTETS = 8192


class MediaStream(Delivery):
    """One interaction of `MediaStreams`.

    Iterating over it gives its frames (`Frame`) from then on, silent ones too; `subscribe` opens further queues.

    Attributes
    ----------
    conversation_id, interaction_id : str
        The interaction, which is a conversation of the platform.
    state : str
        ``"new"``, ``"checking"``, ``"subscribing"``, ``"waiting"`` (asked for, no media yet), ``"live"``,
        ``"paused"``, ``"reconnecting"``, ``"ended"`` or ``"failed"``.
    error : Exception or None
        Why it failed.
    codec : str
        What it is sent in, ``""`` until that is known.
    decoded : bool
        Whether there are samples; Opus without a decoder is passed on as it is.
    malformed_messages : int
        Messages of this interaction that could not be read.
    """

    _logger = logging.getLogger("gcmedia.media_streams")
    _source = "media-streams"

    def __init__(
        self,
        interaction_id: str,
        *,
        profile: MediaStreamsConfig,
        processing: dict[str, Any],
        folder: Path | None,
        overwrite: bool,
        audit_policy: AuditPolicy | None,
        recording: RecordConfig | None,
        audit: AuditLog | None,
        audit_frames: bool,
        region: str,
        taps: Taps,
        max_frames: int,
        on_event: Callable[[dict[str, Any]], object] | None,
        clock: Clock,
        live: LiveCalls | None = None,
    ) -> None:
        unused: Stream[Frame] = Stream("frames", 1, "drop_oldest")
        unused.finish()  # whoever iterates gets a queue then; nobody is told of drops in one that nobody reads
        super().__init__(
            interaction_id,
            processing=processing,
            folder=folder,
            overwrite=overwrite,
            audit_policy=audit_policy,
            recording=recording,
            region=region,
            sample_rate=8000,
            frames=unused,
            transcripts_at="playout",
            metrics_period_s=profile.throughput_period_s,
            on_event=None if on_event is None else lambda event: on_event({"interactionId": interaction_id, **event}),
            clock=clock,
            live=live,
        )
        self.codec = ""
        self.decoded = True
        self.malformed_messages = 0
        self.answered = anyio.Event()  # with media, a grant, a failure, or nothing for long enough
        self.carried = False  # media, ever
        self.heard_at = 0.0
        self.asked_at = 0.0
        self.rechecks = 0
        self._profile = profile
        self._audit = audit
        self._audit_frames = audit_frames
        self._taps = taps
        self._max_frames = max_frames
        self._own: Stream[Frame] | None = None
        self._sequence = dialect.SequenceUnwrap(profile.sequence_bits)
        self._time = dialect.TimestampUnwrap()
        self._order = PacketOrder()
        self._rate = Rate()
        self._bare = (0, 0)  # number and timestamp of the next packet without a header
        self._opus: OpusDecoder | None = None
        self._buffer: JitterBuffer | None = None  # of packets that are not decoded
        self._origin: int | None = None  # timestamp of their first
        self._closing = False
        self._stood = False  # the subscription, ever
        self._assumed = False  # the codec
        self._audited_to = 0
        self._audited = [0, 0, 0]  # frames, silent, concealed
        self._wire: tuple[int, int] | None = None  # sequence number and timestamp of the last packet played

    # The connection's side

    def ask(self, now: float) -> None:
        """It is being asked for."""
        self.asked_at = self.heard_at = now
        if self.state not in ("live", "paused"):
            self.state = "subscribing"

    def grant(self, codec: str | None, sample_rate: int | None) -> None:
        """The server has taken the subscription."""
        if not self.codec and codec is not None:
            self._open(codec, sample_rate)
        self._stands()

    def wait_on(self) -> None:
        """Nothing has come for long; who waits for an answer waits no more."""
        if self.state == "subscribing":
            self.state = "waiting"
        self.answered.set()

    async def take(self, media: dialect.Media, wire: int, now: float) -> None:
        """Take a packet and hand on what is due."""
        if not self.codec:
            self._assumed = media.codec is None
            self._open(media.codec or self._profile.assumed_codec, None)
        elif media.codec is not None and media.codec.lower() != self.codec:
            raise FormatError(f"the server changed the codec from {self.codec} to {media.codec[:64]!r} in mid-stream")
        if not self.carried or self.state not in ("live", "paused"):
            self.carried = True
            self._stands()
        self.heard_at = now
        payload = media.payload
        self._rate.add(len(payload), wire, now)
        number = self._sequence(media.sequence_number)
        timestamp = self._time(media.timestamp)
        if self._buffer is not None:
            self._origin = timestamp if self._origin is None else self._origin
            self._buffer.push(number, timestamp, payload, now)
            await self._deliver(now)
            return
        receiver = self._receiver
        assert receiver is not None
        if self._opus is not None:
            pcm = self._opus.decode(number, payload)
            if pcm is None:
                receiver.refuse(f"packet {media.sequence_number} has {len(payload)} octets that are no Opus")
                return
            payload = pcm
        self._order.add(timestamp, media.sequence_number, media.timestamp)
        if receiver.push_media(number, timestamp, payload, now):
            await self._deliver(now)

    async def take_octets(self, payload: bytes, now: float) -> None:
        """Take audio without a header: the next packet, as far as anyone can tell."""
        ticks = 1 if self.codec == "opus" else len(payload)
        if self._profile.timestamp_unit == "ms":
            ticks = ticks * 1000 // 8000
        number, timestamp = self._bare
        self._bare = (number + 1, timestamp + ticks)
        await self.take(dialect.Media(self.interaction_id, number & 0xFFFFFFFF, timestamp, payload), len(payload), now)

    def refuse(self, reason: str) -> None:
        """Count a message of this interaction that is no packet."""
        self.malformed_messages += 1
        if self._receiver is not None:
            self._receiver.refuse(reason)
        if self.malformed_messages == 1:
            self._event("malformed_message", reason=reason)

    async def lose(self, attempt: int, wait_s: float, cause: str) -> None:
        """The connection is lost, and will be made again."""
        await self._restart()
        if self.state in ("live", "paused", "waiting", "subscribing"):
            self._become("reconnecting", attempt=attempt, wait_s=round(wait_s, 3), cause=cause)

    async def close(self, failure: Exception | None, cause: str, end_timestamp: int | None = None) -> None:
        """It is over."""
        if self._closing:
            return
        self._closing = True
        if end_timestamp is not None:
            self._end_timestamp = self._time(end_timestamp)
        if failure is not None and self._audit is not None:
            self._note("denied" if not self.carried else "failed", reason=type(failure).__name__)
        await self._finish(failure, cause)
        self._audit_media()
        if failure is None:
            self._note("ended", outcome=cause)
        self.answered.set()

    def note(self, kind: str, **details: Any) -> None:
        """Tell of something that was done with it."""
        self._event(kind, **details)
        self._note(kind, **details)

    def tick(self, now: float) -> None:
        """Write down rates and metrics; let go what has waited too long."""
        self._rate.record(self.stats(), now)
        if self.state in ("ended", "failed"):
            return
        if self._buffer is not None and not self._congested:
            for packet in self._buffer.pull(now):
                self._pass_on(packet)
        self._note_metrics()

    def hurry(self) -> None:
        """From now on wait for no consumer."""
        self._fanout.hurry()

    # The consumers' side

    @property
    def interaction_id(self) -> str:
        """The interaction."""
        return self.conversation_id

    @property
    def error(self) -> Exception | None:
        """Why it failed."""
        return self._failure

    def throughput(self) -> Throughput:
        """Rates of the last whole period, and of its lifetime."""
        return self._rate.rates(self.interaction_id, self.stats(), self._clock.now())

    def stats(self) -> Stats:
        """Counters of the stream so far."""
        return super().stats() if self._buffer is None else self._buffer.stats()

    def __aiter__(self) -> AsyncIterator[Frame]:
        if self._own is None:
            self._own = self.subscribe("frames", max_frames=self._max_frames)
        return self._own

    async def __anext__(self) -> Frame:
        self.__aiter__()
        assert self._own is not None
        return await self._own.__anext__()

    async def pause(self, mode: str = "drop") -> None:
        """Take no packets; the timeline goes on, and the pause is a hole of its exact length.

        Parameters
        ----------
        mode : str
            ``"drop"``: the queues are those of all interactions, so nothing can be kept back in one.
        """
        if mode != "drop":
            raise ConfigError(f"mode is {mode!r}; of many streams each can only be paused by 'drop'")
        if not self.decoded:
            raise StateError(
                f"the packets of {self.interaction_id} are passed on undecoded; there is no timeline to keep"
            )
        await super().pause(mode)

    async def mask(self, fill: str = "silence") -> None:
        """Replace what is said from now on, as `Delivery.mask` does; taps get it replaced too."""
        if not self.decoded:
            raise StateError(
                f"the packets of {self.interaction_id} are passed on undecoded; what they hold cannot be masked"
            )
        await super().mask(fill)

    # Inside

    def _open(self, name: str, sample_rate: int | None) -> None:
        """Make what takes the packets of a codec."""
        codec = dialect.codec_of(name)
        format = dialect.format_of(codec, sample_rate)
        ticks = 1000.0 if self._profile.timestamp_unit == "ms" else float(format.sample_rate)
        if codec == "opus" and not can_decode():
            self.decoded = False
            self._buffer = JitterBuffer(
                self._processing["jitter"], timestamp_rate=ticks, max_payload_octets=MAX_OPUS_OCTETS
            )
            self._show(self._buffer, format.channels, format.sample_rate)
        else:
            if codec == "opus":
                self._opus = OpusDecoder()
            self._begin(format, timestamp_rate=ticks)
        self.codec = codec

    def _stands(self) -> None:
        """The subscription stands."""
        if self.state in ("live", "paused"):
            return
        again, self._stood = self._stood, True
        self.reconnects += again
        self.state = "paused" if self._paused else "live"
        details = {"codec": self.codec, "assumed": self._assumed, "decoded": self.decoded}
        self.note("reconnected" if again else "subscribed", **details)
        self.answered.set()

    def _hand_on(self, frame: Frame, now: float) -> None:
        super()._hand_on(frame, now)
        receiver = self._receiver
        assert receiver is not None
        position, n_samples = frame.position, frame.n_samples
        mine: tuple[int, int] | None = None
        for at, number, timestamp in self._order.take(position, position + n_samples, receiver.position_at):
            mine = self._wire = (number, timestamp)
            if self._taps.takes_metadata:
                self._taps.sync(MetadataSync(self.interaction_id, timestamp, number, at))
        if self._taps.takes_frames:
            self._taps.put(
                MediaFrame(
                    interaction_id=self.interaction_id,
                    sequence_number=None if mine is None else mine[0],
                    timestamp=None if mine is None else mine[1],
                    position=position,
                    payload=frame.pcm,
                    is_silent=frame.silent,
                    level_dbov=frame.level_dbov,
                    concealed=frame.concealed,
                    codec=self.codec,
                    decoded=True,
                    processed_at=self._clock.wall(),
                )
            )
        if self._audit is not None:
            self._count(position + n_samples, frame.silent, frame.concealed)

    def _pass_on(self, packet: Packet) -> None:
        """Hand on a packet that is not decoded."""
        assert self._origin is not None
        number, timestamp = self._sequence.wire(packet.sequence_number), self._time.wire(packet.timestamp)
        self._wire = (number, timestamp)
        position = max(0, packet.timestamp - self._origin)
        self._taps.sync(MetadataSync(self.interaction_id, timestamp, number, position))
        self._taps.put(
            MediaFrame(
                interaction_id=self.interaction_id,
                sequence_number=number,
                timestamp=timestamp,
                position=position,
                payload=packet.payload,
                is_silent=None,
                level_dbov=None,
                concealed=False,
                codec=self.codec,
                decoded=False,
                processed_at=self._clock.wall(),
            )
        )
        if self._audit is not None:
            self._count(position, False, False)

    async def _deliver(self, now: float) -> None:
        if self._buffer is None:
            await super()._deliver(now)
            return
        for packet in self._buffer.pull(now):
            self._pass_on(packet)
            if self._congested:
                await self._wait_room()

    async def _restart(self) -> None:
        if self._buffer is None:
            await super()._restart()
        else:
            self._buffer.restart()
            await self._deliver(self._clock.now())

    async def _finish(self, failure: Exception | None, cause: str) -> None:
        if self._buffer is not None:
            for packet in self._buffer.flush():
                self._pass_on(packet)
        await super()._finish(failure, cause)

    @property
    def _congested(self) -> bool:
        return self._fanout.congested or self._taps.congested

    async def _wait_room(self) -> None:
        await self._fanout.wait_room()
        await self._taps.wait_room()

    # Audit

    def _count(self, end: int, silent: bool, concealed: bool) -> None:
        counts = self._audited
        counts[0] += 1
        counts[1] += silent
        counts[2] += concealed
        rate = 48_000 if self.codec == "opus" else 8000
        if self._audit_frames or end - self._audited_to >= self._profile.audit_period_s * rate:
            self._audited_to = end
            self._audit_media()

    def _audit_media(self) -> None:
        frames, silent, concealed = self._audited
        if self._audit is None or not frames:
            return
        self._audited = [0, 0, 0]
        self._audit.record(
            "media_capture",
            interaction_id=self.interaction_id,
            sequence_number=None if self._wire is None else self._wire[0],
            signal_detected=silent < frames if self.decoded else None,
            position=self._audited_to,
            frames=frames,
            silent=silent,
            concealed=concealed,
        )

    def _note(self, action: str, **details: Any) -> None:
        if self._audit is not None:
            self._audit.record(action, interaction_id=self.interaction_id, **details)
