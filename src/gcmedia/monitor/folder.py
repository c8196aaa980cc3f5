"""Calls that other processes are recording, seen through their folders; nothing of theirs is touched."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from .._core.counters import COUNTERS
from .._core.g711 import alaw_decode, ulaw_decode
from .._core.jitter import JitterBuffer
from .._core.meter import Meter
from .._core.pcm import extract_channel
from .._core.silence import SilenceDetector
from ..errors import ConfigError, MediaError
from ..live import LiveCall, LiveCalls
from ..record import wav_info
from ..record.journal import JOURNAL_NAME
from ..types import Hole, Transcript

__all__ = ["FolderWatch"]

POLL_S = 0.5
SCAN_S = 2.0
STALE_S = 30.0  # a call that nothing is written of for so long was cut off
MAX_CALLS = 2000
MAX_PIECE = 1 << 22  # octets of a file read at a time
#: Octets of a sample, and how it becomes int16.
DECODERS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "L16": (2, bytes),
    "PCMU": (1, ulaw_decode),
    "PCMA": (1, alaw_decode),
}
#: Our counters, and what the QA record calls them.
QA_NAMES = {
    "packets_received": "packetsReceived",
    "packets_played": "packetsPlayed",
    "packets_buffered": "packetsBuffered",
    "packets_lost": "packetsLost",
    "packets_late": "packetsLate",
    "packets_duplicate": "packetsDuplicate",
    "packets_discarded": "packetsDiscarded",
    "packets_refused": "packetsRefused",
    "concealed_samples": "concealedSamples",
    "underruns": "underruns",
}


class _Lines:
    """The lines of a file that grows, each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> list[dict[str, Any]]:
        """The whole lines that are new; those that are no JSON objects are left out."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                octets = file.read(MAX_PIECE)
        except OSError:
            return []
        end = octets.rfind(b"\n") + 1
        self._at += end
        found = []
        for line in octets[:end].splitlines():
            try:
                value = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if isinstance(value, dict):
                found.append(value)
        return found


class _Track:
    """The audio of one raw track, as it is written: one channel or all of them, in one file after the other."""

    def __init__(self, folder: Path, name: str, channels: list[int]) -> None:
        self._folder = folder
        self._stem = name.removesuffix(".wav")
        self._channels = channels  # their places in the call
        self._part = 1
        self._at = 0  # octets of audio read of this part
        self._rest = b""
        self._silence = [SilenceDetector() for _ in channels]

    def feed(self, meter: Meter) -> bool:
        """Hand the new frames to the meter; False when there are none."""
        fed = False
        try:
            while True:
                fed |= self._feed(meter)
                if not self._go_on():
                    return fed
        except (OSError, MediaError):  # it is just being renamed, or something else lies there
            return fed

    def _name(self, part: int) -> str:
        return f"{self._stem}.wav" if part == 1 else f"{self._stem}.{part}.wav"

    def _go_on(self) -> bool:
        """Turn to the next file, once this one has its name, and all of it has been read."""
        closed = self._folder / self._name(self._part)
        if not (closed.exists() and self._at >= wav_info(closed).n_octets):
            return False
        following = self._name(self._part + 1)
        if not any((self._folder / name).exists() for name in (f"{following}.part", following)):
            return False
        self._part += 1
        self._at = 0
        return True

    def _feed(self, meter: Meter) -> bool:
        name = self._name(self._part)
        path = self._folder / f"{name}.part"
        if not path.exists():
            path = self._folder / name
        info = wav_info(path)
        if info.n_channels != len(self._channels) or info.encoding not in DECODERS:
            return False
        with open(path, "rb") as file:
            file.seek(info.data_offset + self._at)
            octets = file.read(min(MAX_PIECE, info.n_octets - self._at))  # as far as the header tells
        self._at += len(octets)
        octets = self._rest + octets
        width, decode = DECODERS[info.encoding]
        size = meter.frame_samples * info.n_channels * width
        whole = len(octets) // size * size
        self._rest = octets[whole:]
        for at in range(0, whole, size):
            pcm = decode(octets[at : at + size])
            for index, channel in enumerate(self._channels):
                one = pcm if info.n_channels == 1 else extract_channel(pcm, info.n_channels, index)
                meter.note(channel, one, silent=self._silence[index].push(one))
        return whole > 0


class _Folder:
    """One call folder that is being written."""

    def __init__(self, path: Path, calls: LiveCalls) -> None:
        self._path = path
        self._calls = calls
        self._journal = _Lines(path / JOURNAL_NAME)
        self._series = _Lines(path / "series.jsonl")
        self._metrics = _Lines(path / "metrics.jsonl")
        self._tracks: list[_Track] = []
        self._qa: dict[str, Any] = {}
        self._point: dict[str, Any] = {}
        self._heard_at = time.monotonic()
        self.live: LiveCall | None = None

    def poll(self) -> bool:
        """Take what is new; False when the call is over."""
        news = self._journal.read()
        for line in news:
            self._take(line)
        live = self.live
        if live is None:
            return time.monotonic() - self._heard_at < STALE_S
        assert live.meter is not None
        grown = [track.feed(live.meter) for track in self._tracks]
        for point in self._series.read():
            self._point = point
        for record in self._metrics.read():
            self._qa = record
            live.qa.append({**record, "timestamp": _number(record.get("timestamp"))})
        live.told = self._row(live.meter)
        if news or any(grown):
            self._heard_at = time.monotonic()
        finished = (self._path / "timeline.json").exists() and not (self._path / JOURNAL_NAME).exists()
        if finished or time.monotonic() - self._heard_at > STALE_S:
            self._calls.leave(live, failed=not finished, reason="" if finished else "cut off")
            return False
        return True

    def _take(self, line: dict[str, Any]) -> None:
        live = self.live
        try:
            if live is None:
                if "call" in line:
                    self._begin(line["call"])
            elif "tracks" in line:
                self._tracks = [
                    _Track(self._path, name, [live.channels.index(channel) for channel in about["channels"]])
                    for name, about in line["tracks"].items()
                    if about["kind"] == "raw" and "/" not in name
                ]
            elif "hole" in line:
                live.holes.append(msgspec.convert(line["hole"], Hole))
            elif "event" in line:
                live.events.append(line["event"])
            elif "transcript" in line:
                live.transcripts.append(msgspec.convert(line["transcript"], Transcript))
        except (msgspec.ValidationError, KeyError, TypeError, ValueError):
            pass  # of another version; the rest is shown

    def _begin(self, about: dict[str, Any]) -> None:
        channels, rate = [str(name) for name in about["channels"]], int(about["sample_rate"])
        self.live = self._calls.announce(
            str(about.get("conversation_id", self._path.name)),
            receiver=JitterBuffer(),
            channels=channels,
            sample_rate=rate,
            source="recording",
        )
        self.live.meter = Meter(len(channels), rate // 50, rate, n_frames=4096)
        self.live.meter.watch()

    def _row(self, meter: Meter) -> tuple[float, ...]:
        """Counters as the folder tells them."""
        found = dict.fromkeys(COUNTERS, 0.0)
        for name, key in QA_NAMES.items():
            found[name] = _number(self._qa.get(key))
        received = found["packets_received"] - found["packets_duplicate"] - found["packets_refused"]
        found["packets_expected"] = received + found["packets_lost"]
        found["jitter"] = _number(self._point.get("jitter_ms", self._qa.get("jitterMs"))) / 1000
        found["loss_rate"] = _number(self._point.get("loss_rate", self._qa.get("packetLossRate")))
        found["buffer_depth"] = _number(self._point.get("depth"))
        found["buffer_target"] = _number(self._point.get("target"))
        found["sample_rate"] = meter.sample_rate
        found["position"] = 2.0 * meter.columns * meter.frame_samples
        _, octets = meter.read(max(0, meter.columns - 25))
        for channel, name in enumerate(("level_first", "level_second")[: meter.n_channels]):
            found[name] = max(octets[4 * channel :: 4 * meter.n_channels], default=0)
        return tuple(found[name] for name in COUNTERS)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


class FolderWatch:
    """Announces every call that is being recorded below a folder.

    Use it as ``with FolderWatch("calls/", calls)``.

    Parameters
    ----------
    folder : path
        That of all calls, or of one.
    calls : LiveCalls
        Where they are announced.
    poll_s, scan_s : float
        Seconds between two looks at the calls that are open, and for new ones.

    Raises
    ------
    ConfigError
        If it is no folder.
    """

    def __init__(
        self, folder: str | os.PathLike[str], calls: LiveCalls, *, poll_s: float = POLL_S, scan_s: float = SCAN_S
    ) -> None:
        self._folder = Path(folder)
        self._poll_s, self._scan_s = poll_s, scan_s
        if not self._folder.is_dir():
            raise ConfigError(f"{self._folder} is no folder")
        self._calls = calls
        self._open: dict[Path, _Folder] = {}
        self._over: set[Path] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gcmedia-folders", daemon=True)

    def __enter__(self) -> Self:
        self._calls.watch_folder(self._folder)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        scanned = -math.inf
        while not self._stop.is_set():
            if time.monotonic() - scanned >= self._scan_s:
                scanned = time.monotonic()
                self._scan()
            for path, folder in list(self._open.items()):
                if not folder.poll():
                    del self._open[path]
                    self._over.add(path)
            self._stop.wait(self._poll_s)

    def _scan(self) -> None:
        """Find calls that have begun, and forget those that somebody has removed."""
        try:
            there = [self._folder, *(entry for entry in self._folder.iterdir() if entry.is_dir())]
        except OSError:
            return
        found = {path for path in there if (path / JOURNAL_NAME).exists()}
        self._over &= found
        for path in sorted(found - self._over - self._open.keys()):
            if len(self._open) >= MAX_CALLS:
                return
            self._open[path] = _Folder(path, self._calls)
