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
from .journal import JOURNAL_NAME
from .lines import LineFile, sha256_of
from .timeline import Timeline
from .transcript import TranscriptLog
from .wav import WavJournal

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["CallFolder", "RecordedBlock", "RecordedFrame"]

log = logging.getLogger(__name__)

FLUSH_S = 0.95
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
_TRACK = re.compile(r"(?:raw|clean)-[A-Za-z0-9_-]{1,40}\.wav(?:\.part)?")


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
    ``raw-CHANNEL.wav``                 audio as decoded, 16-bit, one file a channel, all of one length
    ``clean-CHANNEL.wav``               the same after gate and compressor, when asked for
    ``transcript.json``, ``.vtt``       what was said
    ``audit.jsonl``                     what was done, hash-chained
    ``metrics.jsonl``, ``series.jsonl`` the QA record, and the state of the buffer along the call
    ``timeline.json``                   the manifest: holes, events, silence, counters, hashes of the files
    ==================================  ==========================================================================

    While the call runs, audio is in ``.wav.part`` and the timeline in ``timeline.jsonl.part``; all that came is there
    within a second of the caller's time, whatever becomes of the process.

    Parameters
    ----------
    path : path
        The folder; made, for the owner's eyes only, if missing.
    format : MediaFormat
        Sample rate and channels count.
    conversation_id : str
        The call.
    clean : bool
        Whether to record the cleaned track too.
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

    Raises
    ------
    ConfigError
        If the folder holds a call already.
    OSError
        If files cannot be made; later a failing disk raises nothing, see `WavJournal`.
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
    ) -> None:
        self.path = Path(path)
        self._keep_open = keep_open
        self.format = format
        self._clock = clock
        self._now = 0.0
        self._flushed_at: float | None = None
        self._closed = False
        self._storage_failed = False
        self.frames_recorded = 0
        self.frames_overlapping = 0
        self.frames_refused = 0
        self._levels = [float("-inf")] * len(format.channels)
        audit_policy = audit_policy or AuditPolicy()
        self._audit_every = round(audit_policy.summary_s * format.sample_rate)
        self._audit_frames = audit_policy.every_frame
        self._audited_to = 0
        self._period = _Period()

        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear(overwrite)
        self._wavs: list[WavJournal] = []
        self._lines: list[LineFile] = []
        try:
            names = _file_names(format.channels)
            self._raw = [self._open_wav(f"raw-{name}.wav") for name in names]
            self._clean = [self._open_wav(f"clean-{name}.wav") for name in names] if clean else []
            self._journal, self._metrics, self._series = (
                self._open_lines(name) for name in (JOURNAL_NAME, "metrics.jsonl", "series.jsonl")
            )
            self.audit = AuditLog(
                self.path / "audit.jsonl",
                region,
                audit_policy,
                interaction_id=conversation_id,
                clock=clock,
                keep_open=keep_open,
            )
        except FileExistsError as error:
            self._abandon()
            raise ConfigError(f"{self.path} holds a file that is not ours and in the way: {error}") from error
        except BaseException:
            self._abandon()
            raise
        self.timeline = Timeline(
            format.sample_rate,
            format.channels,
            conversation_id=conversation_id,
            started_at=iso_time(clock()),
            journal=self._journal,
        )
        self.transcripts = TranscriptLog(format.sample_rate)
        self._journal.flush()
        self.audit.record(
            "session_start", sample_rate=format.sample_rate, encoding=format.encoding, n_channels=len(format.channels)
        )

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
        return lines or self.audit.lost > 0 or any(wav.incomplete for wav in self._wavs)

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
        if not 0 <= channel < len(self._raw):
            raise FormatError(f"frame of channel {channel}, there are {len(self._raw)}")
        self._now = now
        raw = self._raw[channel]
        ahead = position - raw.n_samples
        if ahead < 0:
            self.frames_overlapping += 1
            return False
        if ahead > LONGEST_JUMP_S * self.format.sample_rate:
            self.frames_refused += 1
            return False
        written = self._append(raw, position, frame.raw, now)
        if self._clean:
            written = self._append(self._clean[channel], position, frame.pcm, now) and written
        self._watch_storage(position, written)
        self._levels[channel] = frame.level_dbov
        self.timeline.frame(channel, position, n_samples, frame.silent, frame.concealed)
        if position - self._audited_to >= self._audit_every and self._period.frames:
            self._audit_media(position)
        self._period.count(1, frame.silent, frame.concealed)
        self.frames_recorded += 1
        if self._audit_frames:
            self._audit_media(position + n_samples)
        self._flush_when_due(now)
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
        if block.n_channels != len(self._raw):
            raise FormatError(f"block of {block.n_channels} channels, there are {len(self._raw)}")
        position = block.position
        n_frames = block.n_frames * block.n_channels
        self._now = now
        ahead = position - self._raw[0].n_samples
        if ahead < 0:
            self.frames_overlapping += n_frames
            return False
        if ahead > LONGEST_JUMP_S * self.format.sample_rate:
            self.frames_refused += n_frames
            return False
        timeline = self.timeline
        written = True
        for channel, raw in enumerate(self._raw):
            written = self._append(raw, position, block.raw_bytes(channel), now) and written
            if self._clean:
                written = self._append(self._clean[channel], position, block.pcm_bytes(channel), now) and written
            for start, length in block.silent_runs(channel):
                timeline.frame(channel, start, length, True, False)
            for start, length in block.concealed_runs(channel):
                timeline.frame(channel, start, length, False, True)
            self._levels[channel] = block.level_dbov(channel)
        timeline.n_samples = max(timeline.n_samples, position + block.n_samples)
        self._watch_storage(position, written)
        if position - self._audited_to >= self._audit_every and self._period.frames:
            self._audit_media(position)
        self._period.count(n_frames, block.silent_frames, block.concealed_frames)
        self.frames_recorded += n_frames
        if self._audit_frames:
            self._audit_media(position + block.n_samples)
        self._flush_when_due(now)
        return True

    def hole(self, hole: Hole) -> None:
        """Note a span without received audio."""
        self._open_or_raise("hole")
        self.timeline.hole(hole.position, hole.n_samples, hole.cause)

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
        for wav in self._wavs:
            wav.flush(now)
        for lines in self._lines:
            lines.flush()

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
        self._closed = True
        end = max(self.timeline.n_samples, *(wav.n_samples for wav in self._wavs))
        for wav in self._wavs:
            wav.pad(end - wav.n_samples, self._now)
            wav.close()
        self.timeline.n_samples = end
        if stats is not None:
            self.timeline.set_stats(stats)
        if self._period.frames:
            self._audit_media(end)
        self._series.close()
        self._metrics.close()
        complete = self._write_texts()
        self.audit.record(
            "session_end",
            outcome="complete" if complete and not self.incomplete else "incomplete",
            n_samples=end,
            duration_s=round(end / self.format.sample_rate, 3),
            frames=self.frames_recorded,
            balanced=stats.balanced if stats is not None else None,
        )
        self.audit.close()
        self._describe()
        try:
            self.timeline.write(self.path / "timeline.json")
        except OSError:
            complete = False
        self._journal.close()
        if complete:
            (self.path / JOURNAL_NAME).unlink(missing_ok=True)
        return complete and not self.incomplete

    def _open_wav(self, name: str) -> WavJournal:
        wav = WavJournal(self.path / name, self.format.sample_rate)
        self._wavs.append(wav)
        return wav

    def _open_lines(self, name: str) -> LineFile:
        lines = LineFile(self.path / name, keep_open=self._keep_open)
        self._lines.append(lines)
        return lines

    def _open_or_raise(self, what: str) -> None:
        if self._closed:
            raise StateError(f"{self.path} is closed; it takes no {what}")

    def _append(self, wav: WavJournal, position: int, pcm: Buffer, now: float) -> bool:
        if position > wav.n_samples:
            wav.pad(position - wav.n_samples, now)
        return wav.append(pcm, now)

    def _flush_when_due(self, now: float) -> None:
        if self._flushed_at is None:
            self._flushed_at = now
        elif not 0.0 <= now - self._flushed_at < FLUSH_S:
            self.flush(now)

    def _watch_storage(self, position: int, written: bool) -> None:
        failing = not written or (self._storage_failed and any(wav.failing for wav in self._wavs))
        if failing != self._storage_failed:  # the alarm is raised once, and once taken back
            self._storage_changed(position, failing)

    def _storage_changed(self, position: int, failed: bool) -> None:
        self._storage_failed = failed
        if failed:
            reason = next((wav.error for wav in self._wavs if wav.error), "")
            log.warning("A recording cannot be written, the call goes on: %s", reason)
            self.event("storage_failed", position, reason=reason)
        else:
            self.event("storage_resumed", position, unwritten=sum(wav.n_unwritten for wav in self._wavs))

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

    def _describe(self) -> None:
        """Tell the manifest of the tracks and the hashes of all files."""
        for kind, wavs in (("raw", self._raw), ("clean", self._clean)):
            for channel, wav in zip(self.format.channels, wavs, strict=False):
                self.timeline.tracks[Path(wav.path).name] = {
                    "channel": channel,
                    "kind": kind,
                    "encoding": wav.encoding,
                    "n_samples": wav.n_samples,
                    "incomplete": wav.incomplete,
                    "error": wav.error,
                    "n_unwritten": wav.n_unwritten,
                    "unwritten": wav.unwritten,
                }
        names = [*self.timeline.tracks, *FIXED_NAMES[:3], "metrics.jsonl", "series.jsonl"]
        for name in names:
            try:
                digest, n_octets = sha256_of(self.path / name)
            except OSError:
                continue  # not written, or not readable: then it has no hash
            self.timeline.files[name] = {"sha256": digest, "n_octets": n_octets}

    def _clear(self, overwrite: bool) -> None:
        ours = [self.path / name for name in FIXED_NAMES if os.path.lexists(self.path / name)]
        ours += [path for path in self.path.iterdir() if _TRACK.fullmatch(path.name) and _is_our_wav(path)]
        if ours and not overwrite:
            raise ConfigError(f"{self.path} holds a call already ({ours[0].name}); say overwrite=True to replace it")
        for path in ours:
            path.unlink()

    def _abandon(self) -> None:
        """Leave no empty files behind when the folder could not be opened."""
        for wav in self._wavs:
            wav.close()
            Path(wav.path).unlink(missing_ok=True)
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


def _file_names(channels: tuple[str, ...]) -> list[str]:
    """Names of channels as parts of file names; servers choose them, so nothing but letters and digits is kept."""
    names = [re.sub(r"[^A-Za-z0-9_-]", "_", channel)[:32] or "_" for channel in channels]
    lowered = [name.lower() for name in names]
    return [name if lowered.count(name.lower()) == 1 else f"{name}-{index}" for index, name in enumerate(names)]


def _is_our_wav(path: Path) -> bool:
    """Whether a file begins as our journals do."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head[:4] in (b"RIFF", b"RF64") and head[8:] in (b"WAVEJUNK", b"WAVEds64")
