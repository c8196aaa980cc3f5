"""What a client does with a server's audio (Audio Connector): plays it one after the other, and says when."""

from __future__ import annotations

from math import inf

__all__ = ["Playback"]

MAX_KEPT_OCTETS = 64 << 20  # some two hours of PCMU


class Playback:
    """A queue that empties in real time; it keeps what was played.

    Attributes
    ----------
    playing : bool
        Whether there is something to play.
    audio : bytearray
        All octets that came, up to 64 MiB.
    flushed_samples : int
        Samples that were not played because of a barge-in.
    """

    def __init__(self) -> None:
        self.playing = False
        self.audio = bytearray()
        self.flushed_samples = 0
        self._until = 0.0

    @property
    def next_deadline(self) -> float:
        """When the queue will be empty; infinity while it is."""
        return self._until if self.playing else inf

    def push(self, payload: bytes, n_samples: int, rate: int, now: float) -> bool:
        """Append audio; True when playing begins with it."""
        if len(self.audio) + len(payload) <= MAX_KEPT_OCTETS:
            self.audio += payload
        begins = not self.playing
        self._until = (now if begins else self._until) + n_samples / rate
        self.playing = True
        return begins

    def advance(self, now: float) -> bool:
        """Let time pass; True when all has been played now."""
        if self.playing and now >= self._until:
            self.playing = False
            return True
        return False

    def flush(self, rate: int, now: float) -> bool:
        """Drop what has not been played, for a barge-in; True when there was anything."""
        if not self.playing:
            return False
        self.flushed_samples += max(0, round((self._until - now) * rate))
        self.playing = False
        return True
