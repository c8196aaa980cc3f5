"""One folder per call: audio, what is missing from it, what was said, and what was done."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..errors import ConfigError, FormatError, StateError
from ..types import Hole, MediaFormat, Stats, Transcript
from .audit import AuditLog, AuditPolicy, check_details, iso_time
from .disk import LASTING, PASSING, failure
from .journal import JOURNAL_NAME
from .lines import LineFile, sha256_of
from .settings import RecordConfig
from .timeline import Timeline
from .track import Track, file_names
from .transcript import TranscriptLog
from .wav_file import CODINGS

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["CallFolder", "RecordedBlock", "RecordedFrame", "is_ours"]

log = logging.getLogger(__name__)

LONGEST_JUMP_S = 24 * 3600  # a frame further ahead than this is refused, not padded to
FIXED_NAMES = (
    "transcript.json",
    "transcript.vtt",
    "audit.jsonl",
    "timeline.json",
    JOURNAL_NAME,
    "metrics.jsonl",
    "series.jsonl",
    "report.png",
    "report.html",
)
_TRACK = re.compile(r"(?:raw|clean)(?:-[A-Za-z0-9_-]{1,40})?(?:\.[0-9]{1,6})?\.wav(?:\.part)?")
DERIVED = (".flac", ".opus", ".processed.wav", ".processed.json")  # instead of a track's .wav


class RecordedFrame(Protocol):
    """What the folder reads of a frame."""

    @property
    def channel(self) -> int:
        """Index of the channel."""

    @property
    def position(self) -> int:
        """First sample on the timeline."""

    @property
    def n_samples(self) -> int:
        """Length."""

    @property
    def raw(self) -> Buffer:
        """int16 samples as decoded."""

    @property
    def pcm(self) -> Buffer:
        """int16 samples after gate and compressor."""

    @property
    def silent(self) -> bool:
        """Nothing but silence."""

    @property
    def concealed(self) -> bool:
        """Made up for a missing packet."""

    @property
    def level_dbov(self) -> float:
        """RMS level (RFC 6464)."""


class RecordedBlock(Protocol):
    """What the folder reads of whole frames of all channels, side by side."""

    @property
    def position(self) -> int:
        """First sample on the timeline."""

    @property
    def n_samples(self) -> int:
        """Length, per channel."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def n_frames(self) -> int:
        """Frames, per channel."""

    @property
    def n_channels(self) -> int:
        """Channels."""

    @property
    def silent_frames(self) -> int:
        """Frames that are silent, over all channels."""

    @property
    def concealed_frames(self) -> int:
        """Frames made up in part, over all channels."""

    def raw_bytes(self, channel: int, /) -> bytes:
        """int16 samples as decoded."""

    def pcm_bytes(self, channel: int, /) -> bytes:
        """int16 samples after gate and compressor."""

    def level_dbov(self, channel: int, /) -> float:
        """RMS level of the last frame (RFC 6464)."""

    def silent_runs(self, channel: int, /) -> list[tuple[int, int]]:
        """Position and length of each run of silent frames."""

    def concealed_runs(self, channel: int, /) -> list[tuple[int, int]]:
        """Position and length of each run of frames made up in part."""


class CallFolder:
    """Record one call into a folder.

    ==================================  ==========================================================================
    ``raw-CHANNEL.wav``                 audio as decoded, one file a channel, or ``raw.wav`` with all of them
    ``clean-CHANNEL.wav``               the same after gate and compressor, when asked for
    ``transcript.json``, ``.vtt``       what was said
    ``audit.jsonl``                     what was done, hash-chained
    ``metrics.jsonl``, ``series.jsonl`` the QA record, and the state of the buffer along the call
    ``timeline.json``                   the manifest: holes, events, silence, counters, hashes of the files
    ==================================  ==========================================================================

    While the call runs, audio is in ``.wav.part`` and the timeline in ``timeline.jsonl.part``; all that came is there
    within a second of the caller's time, whatever becomes of the process.

    A disk that is full, fails or goes away raises nothing once the folder is made, nor while it is made if waiting may
    help: what cannot be written is told once, listed, and made up with silence, and recording goes on when it can.

    Parameters
    ----------
    path : path
        The folder; made, for the owner's eyes only, if missing.
    format : MediaFormat
        Sample rate and channels count.
    conversation_id : str
        The call.
    clean : bool
        Whether to record the cleaned track too, unless ``config`` says no.
    region : str
        Where the media is handled; goes to the audit trail.
    clock : callable
        Wall time in seconds since 1970, for annotations.
    audit_policy : AuditPolicy, optional
        From which the audit computes compliance; say here whether there is consent, the purpose, and how often media
        is recorded.
    overwrite : bool
        Whether a call that the folder holds is removed; files that are not ours stay.
    keep_open : bool
        Whether all files stay open; else only those of audio do.
    config : RecordConfig, optional
        How it is recorded.
    on_storage : callable, optional
        Called with the kind of event, the position and details when the disk begins to fail and when it takes the
        recording again.

    Raises
    ------
    ConfigError
        If the folder holds a call already.
    OSError
        If files cannot be made, for a reason that no waiting mends.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: MediaFormat,
        *,
        conversation_id: str,
        clean: bool,
        region: str = "",
        clock: Callable[[], float] = time.time,
        audit_policy: AuditPolicy | None = None,
        overwrite: bool = False,
        keep_open: bool = True,
        config: RecordConfig | None = None,
        on_storage: Callable[[str, int, dict[str, Any]], object] | None = None,
    ) -> None:
        self._keep_open = keep_open
        self.config = config or RecordConfig()
        self.path = Path(path)
        self.format = format
        self._clock = clock
        self._now = 0.0
        self._flushed_at: float | None = None
        self._closed = False
        self._on_storage = on_storage
        self._storage_failed = False
        self._well_from: int | None = None  # position since which everything could be written
        self._troubles = 0
        self.storage_failures = 0
        self.frames_recorded = 0
        self.frames_overlapping = 0
        self.frames_refused = 0
        self._levels = [float("-inf")] * len(format.channels)
        audit_policy = audit_policy or AuditPolicy()
        self._audit_every = round(audit_policy.summary_s * format.sample_rate)
        self._audit_frames = audit_policy.every_frame
        self._audited_to = 0
        self._period = _Period()

        self._tracks: list[Track] = []
        self._lines: list[LineFile] = []
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._clear(overwrite)
        except OSError as error:
            if error.errno in LASTING:
                raise
        self.timeline = Timeline(
            format.sample_rate,
            format.channels,
            conversation_id=conversation_id,
            started_at=iso_time(clock()),
            encoding=format.encoding,
        )
        try:
            # The journal first, so that whatever comes after it can be put together again.
            self._journal = self._open_lines(JOURNAL_NAME, {"call": self.timeline.about()})
            names = file_names(format.channels)
            received = format.encoding if format.encoding in CODINGS and self.config.encoding == "received" else "L16"
            self._raw = self._open_tracks("raw", names, received)
            self._clean = self._open_tracks("clean", names, "L16") if clean and self.config.clean else []
            self._metrics, self._series = (self._open_lines(name) for name in ("metrics.jsonl", "series.jsonl"))
            self.audit = AuditLog(
                self.path / "audit.jsonl",
                region,
                audit_policy,
                interaction_id=conversation_id,
                clock=clock,
                patient=True,
                keep_open=keep_open,
            )
        except FileExistsError as error:
            self._abandon()
            raise ConfigError(f"{self.path} holds a file that is not ours and in the way: {error}") from error
        except BaseException:
            self._abandon()
            raise
        self.timeline.journal = self._journal
        self.transcripts = TranscriptLog(format.sample_rate)
        self._journal.add({"tracks": {name: about for track in self._tracks for name, about in track.files.items()}})
        self._journal.flush()
        self.audit.record(
            "session_start", sample_rate=format.sample_rate, encoding=format.encoding, n_channels=len(format.channels)
        )
        self._look_at_storage(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def incomplete(self) -> bool:
        """Whether anything could not be written."""
        lines = any(file.lost for file in self._lines)
        return lines or self.audit.lost > 0 or any(track.incomplete for track in self._tracks)

    def frame(self, frame: RecordedFrame, now: float) -> bool:
        """Record a frame.

        Frames of a channel come in the order of their positions.  What lies between two of them becomes silence; a
        frame that begins before the end of what is recorded is counted in `frames_overlapping` and left out, and one
        more than a day ahead in `frames_refused`.

        Parameters
        ----------
        frame : RecordedFrame
            Its buffers are borrowed for the call.
        now : float
            Seconds of a steady clock.

        Returns
        -------
        bool
            Whether it is part of the recording.
        """
        self._open_or_raise("frame")
        channel, position, n_samples = frame.channel, frame.position, frame.n_samples
        if not 0 <= channel < len(self.format.channels):
            raise FormatError(f"frame of channel {channel}, there are {len(self.format.channels)}")
        self._now = now
        track, index = self._place(self._raw, channel)
        ahead = position - track.end(index)
        if ahead < 0:
            self.frames_overlapping += 1
            return False
        if ahead > LONGEST_JUMP_S * self.format.sample_rate:
            self.frames_refused += 1
            return False
        track.write(index, position, frame.raw, now)
        if self._clean:
            self._place(self._clean, channel)[0].write(index, position, frame.pcm, now)
        if track.failing and not self._storage_failed:
            self._look_at_storage(position)
        self._levels[channel] = frame.level_dbov
        self.timeline.frame(channel, position, n_samples, frame.silent, frame.concealed)
        if position - self._audited_to >= self._audit_every and self._period.frames:
            self._audit_media(position)
        self._period.count(1, frame.silent, frame.concealed)
        self.frames_recorded += 1
        if self._audit_frames:
            self._audit_media(position + n_samples)
        self._flush_when_due(now, n_samples)
        return True

    def block(self, block: RecordedBlock, now: float) -> bool:
        """Record whole frames of all channels at once, at the cost of a few single ones.

        Blocks come in the order of their positions, and then no single frames between them.

        Parameters
        ----------
        block : RecordedBlock
            Its buffers are borrowed for the call.
        now : float
            Seconds of a steady clock.

        Returns
        -------
        bool
            Whether it is part of the recording; see `frame` for what is not.
        """
        self._open_or_raise("block")
        if block.n_channels != len(self.format.channels):
            raise FormatError(f"block of {block.n_channels} channels, there are {len(self.format.channels)}")
        position = block.position
        n_frames = block.n_frames * block.n_channels
        self._now = now
        ahead = position - max(self._place(self._raw, channel)[0].end(0) for channel in range(block.n_channels))
        if ahead < 0:
            self.frames_overlapping += n_frames
            return False
        if ahead > LONGEST_JUMP_S * self.format.sample_rate:
            self.frames_refused += n_frames
            return False
        timeline = self.timeline
        failing = False
        for channel in range(block.n_channels):
            track, index = self._place(self._raw, channel)
            track.write(index, position, block.raw_bytes(channel), now)
            failing |= track.failing
            if self._clean:
                self._place(self._clean, channel)[0].write(index, position, block.pcm_bytes(channel), now)
            for start, length in block.silent_runs(channel):
                timeline.frame(channel, start, length, True, False)
            for start, length in block.concealed_runs(channel):
                timeline.frame(channel, start, length, False, True)
            self._levels[channel] = block.level_dbov(channel)
        timeline.n_samples = max(timeline.n_samples, position + block.n_samples)
        if failing and not self._storage_failed:
            self._look_at_storage(position)
        if position - self._audited_to >= self._audit_every and self._period.frames:
            self._audit_media(position)
        self._period.count(n_frames, block.silent_frames, block.concealed_frames)
        self.frames_recorded += n_frames
        if self._audit_frames:
            self._audit_media(position + block.n_samples)
        self._flush_when_due(now, block.n_samples)
        return True

    def hole(self, hole: Hole) -> None:
        """Note a span without received audio."""
        self._open_or_raise("hole")
        self.timeline.hole(hole.position, hole.n_samples, hole.cause)

    def mask(self, position: int, n_samples: int, fill: str) -> None:
        """Note a span whose audio was replaced before it came here."""
        self._open_or_raise("mask")
        self.timeline.mask(position, n_samples, fill)

    def event(self, kind: str, position: int, **details: Any) -> None:
        """Note something that happened, on the timeline and in the audit trail.

        Raises
        ------
        ConfigError
            If a detail could carry a secret, audio or personal data; see `AuditLog.record`.
        """
        self._open_or_raise("event")
        check_details(details)
        self.audit.record(kind, **{"position": position, **details})
        self.timeline.event(position, kind, **details)
        self._journal.flush()

    def transcript(self, transcript: Transcript) -> None:
        """Take something said."""
        self._open_or_raise("transcript")
        if self.transcripts.add(transcript):
            self._journal.add({"transcript": asdict(transcript)})
            self._journal.flush()

    def metrics(self, values: dict[str, Any]) -> None:
        """Write one line of the QA record; ``timestamp`` is added when missing."""
        self._open_or_raise("metrics")
        self._metrics.add({"timestamp": iso_time(self._clock()), **values})
        self._metrics.flush()

    def sample(self, values: dict[str, Any]) -> None:
        """Write one point of the series along the call; ``level_dbov`` is added when missing."""
        self._open_or_raise("sample")
        self._series.add(values if "level_dbov" in values else {**values, "level_dbov": self._levels})

    def flush(self, now: float) -> None:
        """Bring everything to disk; call it when no frames come."""
        if self._closed:
            return
        self._now = self._flushed_at = now
        for track in self._tracks:
            track.flush(now)
        for lines in self._lines:
            lines.flush()
        self.audit.flush()
        self._look_at_storage(self.timeline.n_samples)

    def close(self, stats: Stats | None = None) -> bool:
        """Finish the files, once; False if anything could not be written.

        All tracks end at the same sample.  The files are hashed, which takes about a second per GB: from an event
        loop, call it in a thread.

        Parameters
        ----------
        stats : Stats, optional
            Counters of the stream, for the manifest.
        """
        if self._closed:
            return not self.incomplete
        end = max(self.timeline.n_samples, *(track.n_samples for track in self._tracks))
        for track in self._tracks:
            track.finish(end, self._now)
        self._look_at_storage(end, final=True)
        self._closed = True
        self.timeline.n_samples = end
        if stats is not None:
            self.timeline.set_stats(stats)
        if self._period.frames:
            self._audit_media(end)
        self._series.close()
        self._metrics.close()
        complete = self._write_texts()
        self._describe(complete and not self.incomplete)
        self.audit.record(
            "session_end",
            outcome="complete" if complete and not self.incomplete else "incomplete",
            n_samples=end,
            duration_s=round(end / self.format.sample_rate, 3),
            frames=self.frames_recorded,
            balanced=stats.balanced if stats is not None else None,
            manifest_sha256=self.timeline.digest(),
        )
        self.audit.close()
        self._hash("audit.jsonl")
        try:
            self.timeline.write(self.path / "timeline.json")
        except OSError:
            complete = False
        self._journal.close()
        self._on_storage = None  # it may know the call, which knows this
        if complete:
            failure(os.unlink, self.path / JOURNAL_NAME)
        return complete and not self.incomplete

    def _open_tracks(self, kind: str, names: list[str], encoding: str) -> list[Track]:
        channels = self.format.channels
        together = self.config.layout == "interleaved"
        wanted = [("", channels)] if together else [(name, channels[i : i + 1]) for i, name in enumerate(names)]
        opened = []
        for name, of in wanted:
            track = Track(self.path, kind, name, of, self.format.sample_rate, encoding, self.config)
            opened.append(track)
            self._tracks.append(track)
        return opened

    def _place(self, tracks: list[Track], channel: int) -> tuple[Track, int]:
        """The track of a channel, and which of its channels that is."""
        return (tracks[channel], 0) if len(tracks) == len(self.format.channels) else (tracks[0], channel)

    def _open_lines(self, name: str, first: dict[str, Any] | None = None) -> LineFile:
        lines = LineFile(self.path / name, patient=True, keep_open=self._keep_open, first=first)
        self._lines.append(lines)
        return lines

    def _open_or_raise(self, what: str) -> None:
        if self._closed:
            raise StateError(f"{self.path} is closed; it takes no {what}")

    def _flush_when_due(self, now: float, n_samples: int) -> None:
        """As long before the end of the period as what came now is long, so that no more than it may be lost."""
        patience = self.config.flush_s - n_samples / self.format.sample_rate
        if self._flushed_at is None:
            self._flushed_at = now
        elif not 0.0 <= now - self._flushed_at < patience:
            self.flush(now)

    def _look_at_storage(self, position: int, *, final: bool = False) -> None:
        """Raise the alarm once when writing begins to fail, and take it back once all is written again.

        For a second of audio, or to the end: on a full disk a few octets may still find room behind others.
        """
        troubles, failing = 0, False
        files: tuple[Track | LineFile | AuditLog, ...] = (*self._tracks, *self._lines, self.audit)
        for file in files:
            troubles += file.troubles
            failing = failing or file.failing
        news, self._troubles = troubles > self._troubles, troubles
        if (news or failing) and not self._storage_failed:
            self._storage_failed = True
            self.storage_failures += 1
            reasons = [track.error for track in self._tracks] + [lines.error for lines in self._lines]
            reason = next((text for text in reasons if text), "the audit trail cannot be written")
            log.warning("A recording cannot be written, the call goes on: %s", reason)
            self._tell("storage_failed", position, reason=reason)
        if news or failing or not self._storage_failed:
            self._well_from = None
            return
        if self._well_from is None:
            self._well_from = position
        if final or position - self._well_from >= self.format.sample_rate:
            self._storage_failed = False
            unwritten = sum(track.n_unwritten for track in self._tracks)
            log.info("A recording is written again; %d samples are missing in it", unwritten)
            self._tell("storage_resumed", position, unwritten=unwritten)

    def _tell(self, kind: str, position: int, **details: Any) -> None:
        self.event(kind, position, **details)
        if self._on_storage is not None:
            self._on_storage(kind, position, details)

    def _audit_media(self, end: int) -> None:
        period, self._period = self._period, _Period()
        self._audited_to = end
        self.audit.record(
            "media_capture",
            sequence_number=self.frames_recorded - 1,
            signal_detected=period.silent < period.frames,
            position=end,
            frames=period.frames,
            silent=period.silent,
            concealed=period.concealed,
        )

    def _write_texts(self) -> bool:
        try:
            self.transcripts.write_json(self.path / "transcript.json")
            self.transcripts.write_vtt(self.path / "transcript.vtt")
        except OSError:
            return False
        return True

    def _describe(self, complete: bool) -> None:
        """Tell the manifest of the tracks, of what a failing disk cost, and the hashes of all files but the audit."""
        timeline = self.timeline
        timeline.tracks = {name: about for track in self._tracks for name, about in track.files.items()}
        timeline.complete = complete
        timeline.storage = {
            "failures": self.storage_failures,
            "unwritten_samples": sum(track.n_unwritten for track in self._tracks),
            "lost_lines": sum(file.lost for file in self._lines) + self.audit.lost,
        }
        for name in (*timeline.tracks, "transcript.json", "transcript.vtt", "metrics.jsonl", "series.jsonl"):
            self._hash(name)

    def _hash(self, name: str) -> None:
        try:
            digest, n_octets = sha256_of(self.path / name)
        except OSError:
            return  # not written, or not readable: then it has no hash
        self.timeline.files[name] = {"sha256": digest, "n_octets": n_octets}

    def _clear(self, overwrite: bool) -> None:
        ours = [self.path / name for name in FIXED_NAMES if os.path.lexists(self.path / name)]
        ours += [path for path in self.path.iterdir() if _TRACK.fullmatch(path.name) and _is_our_wav(path)]
        if ours and not overwrite:
            raise ConfigError(f"{self.path} holds a call already ({ours[0].name}); say overwrite=True to replace it")
        for path in ours:
            path.unlink()
            for suffix in DERIVED if path.suffix == ".wav" else ():
                path.with_suffix(suffix).unlink(missing_ok=True)

    def _abandon(self) -> None:
        """Leave no empty files behind when the folder could not be opened."""
        for track in self._tracks:
            track.abandon()
        for lines in self._lines:
            lines.close()
            Path(lines.path).unlink(missing_ok=True)


class _Period:
    """What the next ``media_capture`` record tells."""

    __slots__ = ("concealed", "frames", "silent")

    def __init__(self) -> None:
        self.frames = self.silent = self.concealed = 0

    def count(self, frames: int, silent: int, concealed: int) -> None:
        self.frames += frames
        self.silent += silent
        self.concealed += concealed


def is_ours(name: str) -> bool:
    """Whether a file of a call folder has a name that recording, converting, processing or reporting gives."""
    if name.startswith("."):
        return name.endswith(f".part{PASSING}") and is_ours(name[1:].removesuffix(PASSING))
    if name in FIXED_NAMES or _TRACK.fullmatch(name) or name.removesuffix(".tmp") in FIXED_NAMES:
        return True
    return any(name.endswith(end) and _TRACK.fullmatch(f"{name.removesuffix(end)}.wav") for end in DERIVED)


def _is_our_wav(path: Path) -> bool:
    """Whether a file begins as our journals do."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head[:4] in (b"RIFF", b"RF64") and head[8:] in (b"WAVEJUNK", b"WAVEds64")
