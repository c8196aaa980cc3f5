"""The timeline of a session: counted samples are the clock; what the client dropped are holes of exact length."""

from __future__ import annotations

from ...types import Hole

__all__ = ["StreamTimeline"]


class StreamTimeline:
    """Where the stream stands, in samples per channel; see ``holes`` of `AudioHookConfig` for the two ways of counting.

    Attributes
    ----------
    position : int
        First sample behind what was received or told as dropped.
    received, missing : int
        Samples received; samples of all holes.
    deviation : int
        How far the client's last position was ahead of this one; negative behind.
    """

    __slots__ = ("_declared", "_max_hole", "_max_position", "deviation", "missing", "position", "received")

    def __init__(self, position: int, *, declared: bool, max_hole: int, max_position: int) -> None:
        self.position = position
        self.received = 0
        self.missing = 0
        self.deviation = 0
        self._declared = declared
        self._max_hole = max_hole
        self._max_position = max_position

    def audio(self, n_samples: int) -> int:
        """Take received samples; return the position of the first of them."""
        position = self.position
        self.position = position + n_samples
        self.received += n_samples
        return position

    def hole(self, start: int, n_samples: int, cause: str) -> tuple[tuple[Hole, ...], str]:
        """Take a span that the client says it dropped.

        Returns
        -------
        tuple of Hole, str
            The holes that it makes, in order, and what does not fit, ``""`` when all does.
        """
        detail = ""
        holes: tuple[Hole, ...] = ()
        if start != self.position:
            detail = f"dropped {n_samples} samples from {start} on, at {self.position}"
            if self._declared and start > self.position:
                holes, refused = self._add(start - self.position, "lost")
                detail = refused or detail
        more, refused = self._add(n_samples, cause)
        return holes + more, refused or detail

    def declare(self, position: int, *, paused: bool) -> tuple[tuple[Hole, ...], str]:
        """Compare with a position of the client; returns what `hole` returns.  While paused it may run ahead."""
        deviation = position - self.position
        if deviation == 0 or (paused and deviation > 0):
            self.deviation = 0
            return (), ""
        if deviation == self.deviation:
            return (), ""  # told already
        if self._declared and deviation > 0:
            holes, refused = self._add(deviation, "lost")
            self.deviation = 0 if holes else deviation
            return holes, refused or f"position is {position} samples, {deviation} more than counted"
        self.deviation = deviation
        how = "more" if deviation > 0 else "less"
        return (), f"position is {position} samples, {abs(deviation)} {how} than counted"

    def end(self, position: int, *, paused: bool) -> tuple[tuple[Hole, ...], str]:
        """Take the position of ``close``: a pause that goes on to the end is a hole too."""
        if paused and position > self.position:
            return self._add(position - self.position, "paused")
        return self.declare(position, paused=paused)

    def _add(self, n_samples: int, cause: str) -> tuple[tuple[Hole, ...], str]:
        if n_samples == 0:
            return (), ""
        if n_samples > self._max_hole or self.position + n_samples > self._max_position:
            return (), f"hole of {n_samples} samples at {self.position} is too long"
        hole = Hole(self.position, n_samples, cause)
        self.position += n_samples
        self.missing += n_samples
        return (hole,), ""
