"""The consumers of all interactions together, each with a bounded queue and a named policy."""

from __future__ import annotations

from typing import TypeVar

from ..errors import ConfigError
from ..fanout import Fanout, Stream
from .events import MediaFrame, MetadataSync, monitor_line

__all__ = ["Taps"]

T = TypeVar("T")

MAX_BATCH = 10_000


class Taps:
    """Hands each frame and each metadata entry to whoever wants it.

    Attributes
    ----------
    takes_frames, takes_metadata : bool
        Whether anyone has ever asked for frames or lines, and for metadata; nothing need be made for nobody.
    """

    def __init__(self) -> None:
        self._speech: Fanout[MediaFrame] = Fanout()
        self._all: Fanout[MediaFrame] = Fanout()
        self._lines: dict[tuple[bool, bool], Fanout[bytes]] = {}  # by audio, silence
        self._metadata: dict[int, tuple[Fanout[tuple[MetadataSync, ...]], list[MetadataSync]]] = {}  # by batch
        self._every: list[Fanout[MediaFrame] | Fanout[bytes] | Fanout[tuple[MetadataSync, ...]]]
        self._every = [self._speech, self._all]
        self.finished = False
        self.takes_frames = self.takes_metadata = False

    def frames(self, name: str, max_items: int, overflow: str, include_silence: bool) -> Stream[MediaFrame]:
        """A consumer of frames; silent ones are kept from it unless it asks for them."""
        self.takes_frames = True
        fanout = self._all if include_silence else self._speech
        return self._open(fanout.subscribe(name, max_items=max_items, overflow=overflow))

    def lines(self, name: str, max_items: int, overflow: str, audio: bool, include_silence: bool) -> Stream[bytes]:
        """A consumer of monitoring lines."""
        self.takes_frames = True
        key = (audio, include_silence)
        if key not in self._lines:
            self._lines[key] = Fanout()
            self._every.append(self._lines[key])
        fanout = self._lines[key]
        return self._open(fanout.subscribe(name, max_items=max_items, overflow=overflow))

    def metadata(self, name: str, max_items: int, overflow: str, batch: int) -> Stream[tuple[MetadataSync, ...]]:
        """A consumer of metadata, ``batch`` entries at a time."""
        if not 1 <= batch <= MAX_BATCH:
            raise ConfigError(f"batch is {batch} entries, not in [1, {MAX_BATCH}]")
        self.takes_metadata = True
        if batch not in self._metadata:
            self._metadata[batch] = (Fanout(), [])
            self._every.append(self._metadata[batch][0])
        fanout, _ = self._metadata[batch]
        return self._open(fanout.subscribe(name, max_items=max_items, overflow=overflow))

    def _open(self, stream: Stream[T]) -> Stream[T]:
        if self.finished:
            stream.finish()
        return stream

    def put(self, frame: MediaFrame) -> None:
        """Hand a frame on; a frame that is not known to be silent counts as speech."""
        speech = not frame.is_silent
        self._all.put(frame)
        if speech:
            self._speech.put(frame)
        for (audio, include_silence), fanout in self._lines.items():
            if (speech or include_silence) and fanout.wanted:
                fanout.put(monitor_line(frame, audio=audio))

    def sync(self, entry: MetadataSync) -> None:
        """Hand the metadata of a packet on."""
        for size, (fanout, waiting) in self._metadata.items():
            waiting.append(entry)
            if len(waiting) >= size:
                fanout.put(tuple(waiting))
                waiting.clear()

    @property
    def congested(self) -> bool:
        """Whether a consumer that nothing may be dropped for is full."""
        for fanout in self._every:  # noqa: SIM110 -- asked for every frame, and a generator costs more than this
            if fanout.congested:
                return True
        return False

    async def wait_room(self) -> None:
        """Wait until no consumer is."""
        for fanout in tuple(self._every):
            await fanout.wait_room()

    def hurry(self) -> None:
        """From now on wait for nobody."""
        for fanout in self._every:
            fanout.hurry()

    def finish(self, failure: BaseException | None) -> None:
        """No more for anyone."""
        self.finished = True
        for fanout, waiting in self._metadata.values():
            if waiting:
                fanout.put(tuple(waiting))
                waiting.clear()
        for one in self._every:
            one.finish(failure)

    @property
    def dropped(self) -> int:
        """Items that consumers were too slow for."""
        return sum(fanout.dropped for fanout in self._every)
