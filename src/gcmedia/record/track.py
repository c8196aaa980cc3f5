"""One track of a recording: a channel, or several interleaved, in one file or in one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.g711 import alaw_encode, ulaw_encode
from .._core.pcm import interleave
from .settings import RecordConfig
from .wav import WavJournal
from .wav_file import CODINGS

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Track", "file_names"]

AHEAD_S = 10  # by how much one channel of a file may be ahead of another; then silence is put for the other


def file_names(channels: tuple[str, ...]) -> list[str]:
    """Names of channels as parts of file names; servers choose them, so nothing but letters and digits is kept."""
    names = [re.sub(r"[^A-Za-z0-9_-]", "_", channel)[:32] or "_" for channel in channels]
    lowered = [name.lower() for name in names]
    return [name if lowered.count(name.lower()) == 1 else f"{name}-{index}" for index, name in enumerate(names)]


class _Part(NamedTuple):
    position: int  # first sample on the timeline
    wav: WavJournal


class Track:
    """Write frames of one or more channels, each at its place on the timeline.

    Parameters
    ----------
    folder : Path
        Where its files go.
    kind : str
        ``"raw"`` or ``"clean"``.
    name : str
        What the files are named for; empty for a track of all channels.
    channels : sequence of str
        Their names, in the order in which samples are interleaved.
    sample_rate : int
        Hz.
    encoding : str
        Of the files; int16 comes in.
    config : RecordConfig
        How they are written.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        name: str,
        channels: Sequence[str],
        sample_rate: int,
        encoding: str,
        config: RecordConfig,
    ) -> None:
        self.kind = kind
        self.channels = tuple(channels)
        self._stem = f"{kind}-{name}" if name else kind
        self._folder = folder
        self._sample_rate = sample_rate
        self._encoding = encoding
        self._encode = {"L16": None, "PCMU": ulaw_encode, "PCMA": alaw_encode}[encoding]
        self._silence = bytes((CODINGS[encoding].silence,)) * CODINGS[encoding].width
        self._width = CODINGS[encoding].width
        self._config = config
        limits = [] if config.rotate_s is None else [int(config.rotate_s * sample_rate)]
        limits += [] if config.rotate_octets is None else [config.rotate_octets // (self._width * len(channels))]
        self._limit = min(limits, default=None)  # samples of a file
        self._ahead = AHEAD_S * sample_rate
        self._waiting = [bytearray() for _ in channels]  # of several channels: what the others have not reached
        self._parts: list[_Part] = []
        self._next_part(0)

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What the manifest tells of each file."""
        return {
            Path(part.wav.path).name: {
                "channel": self.channels[0] if len(self.channels) == 1 else None,
                "channels": list(self.channels),
                "kind": self.kind,
                "encoding": part.wav.encoding,
                "sample_rate": self._sample_rate,
                "position": part.position,
                "n_samples": part.wav.n_samples,
                "incomplete": part.wav.incomplete,
                "error": part.wav.error,
                "n_unwritten": part.wav.n_unwritten,
                "unwritten": [[part.position + position, n] for position, n in part.wav.unwritten],
            }
            for part in self._parts
        }

    @property
    def n_samples(self) -> int:
        """Where the longest of its channels ends."""
        return self._written + max(len(waiting) for waiting in self._waiting) // self._width

    @property
    def failing(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._wav.failing

    @property
    def troubles(self) -> int:
        """How often writing began to fail."""
        if len(self._parts) == 1:
            return self._parts[0].wav.troubles
        return sum(part.wav.troubles for part in self._parts)

    @property
    def incomplete(self) -> bool:
        """Whether any audio was lost, or may be."""
        return any(part.wav.incomplete for part in self._parts)

    @property
    def n_unwritten(self) -> int:
        """Samples that were lost."""
        return sum(part.wav.n_unwritten for part in self._parts)

    @property
    def error(self) -> str | None:
        """The first thing that went wrong with the newest file that had any trouble."""
        return next((part.wav.error for part in reversed(self._parts) if part.wav.error), None)

    def end(self, index: int) -> int:
        """Where a channel ends on the timeline."""
        return self._written + len(self._waiting[index]) // self._width

    def write(self, index: int, position: int, pcm: Buffer, now: float) -> None:
        """Add samples of a channel (by its index in the track), which lie not before its `end`."""
        octets = pcm if self._encode is None else self._encode(pcm)
        if len(self.channels) == 1:
            if self._limit is None and position == self._written:  # as nearly always
                self._wav.append(octets, now)
                return
            self._pad(position - self._written, now)
            self._put(memoryview(octets).cast("B"), now)
            return
        self._reach(position - self._ahead, now)
        waiting = self._waiting[index]
        waiting += self._silence * (position - self.end(index))
        waiting += memoryview(octets).cast("B")
        if index == len(self.channels) - 1 or len(waiting) > self._width * self._ahead:
            self._write_common(now)

    def flush(self, now: float) -> None:
        """Write what all channels have."""
        self._write_common(now)
        self._wav.flush(now)

    def finish(self, end: int, now: float) -> None:
        """Let every channel end there, and close."""
        self._reach(end, now)
        self._wav.close()

    def abandon(self) -> None:
        """Leave no files behind."""
        for part in self._parts:
            part.wav.close()
            Path(part.wav.path).unlink(missing_ok=True)

    @property
    def _wav(self) -> WavJournal:
        return self._parts[-1].wav

    @property
    def _written(self) -> int:
        """How far the files go, with what their journals hold in memory."""
        return self._parts[-1].position + self._wav.n_samples

    def _next_part(self, position: int) -> None:
        number = len(self._parts) + 1
        suffix = "" if number == 1 else f".{number}"
        wav = WavJournal(
            self._folder / f"{self._stem}{suffix}.wav",
            self._sample_rate,
            len(self.channels),
            self._encoding,
            flush_s=self._config.flush_s,
            sync_s=self._config.sync_s,
            patient=True,
        )
        self._parts.append(_Part(position, wav))

    def _reach(self, end: int, now: float) -> None:
        """No channel stays behind this place: silence takes it there."""
        if min(self.end(index) for index in range(len(self.channels))) >= end:
            return
        if len(self.channels) > 1:
            longest = min(end, self.n_samples)
            for index, waiting in enumerate(self._waiting):
                waiting += self._silence * (longest - self.end(index))
            self._write_common(now)
        if self._written < end and not any(self._waiting):
            self._pad(end - self._written, now)

    def _write_common(self, now: float) -> None:
        """Interleave as far as all channels go."""
        common = min(len(waiting) for waiting in self._waiting)
        if not common:
            return
        pieces = [bytes(waiting[:common]) for waiting in self._waiting]
        for waiting in self._waiting:
            del waiting[:common]
        if self._width == 2:
            octets = interleave(*(memoryview(piece).cast("h") for piece in pieces))
        else:
            mixed = bytearray(common * len(pieces))
            for index, piece in enumerate(pieces):
                mixed[index :: len(pieces)] = piece
            octets = bytes(mixed)
        self._put(memoryview(octets), now)

    def _put(self, octets: memoryview, now: float) -> None:
        block = self._width * len(self.channels)
        self._in_parts(
            len(octets) // block, lambda wav, start, n: wav.append(octets[start * block : (start + n) * block], now)
        )

    def _pad(self, n_samples: int, now: float) -> None:
        self._in_parts(n_samples, lambda wav, _, n: wav.pad(n, now))

    def _in_parts(self, n_samples: int, write: Callable[[WavJournal, int, int], object]) -> None:
        """Write into the file, and into the next one where this one is full."""
        done = 0
        while done < n_samples:
            room = n_samples - done if self._limit is None else self._limit - self._wav.n_samples
            if room == 0:
                full, end = self._wav, self._written
                try:
                    self._next_part(end)
                except OSError:  # something lies in the way of the next name
                    self._limit = None
                else:
                    full.close()
                continue
            n = min(room, n_samples - done)
            write(self._wav, done, n)
            done += n
