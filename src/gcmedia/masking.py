"""Masking: audio replaced by silence or a tone, on the same timeline, so that a card number is nowhere."""

from __future__ import annotations

import math
from array import array

from ._core.block import Block
from ._core.frame import Frame
from .errors import ConfigError

__all__ = ["FILLS", "MASKED_TEXT", "Masking"]

#: What masked audio becomes.
FILLS = ("silence", "tone")
#: What stands for words said behind a mask.
MASKED_TEXT = "[masked]"

TONE_HZ = 500  # divides every sample rate that is a multiple of 1000
TONE_AMPLITUDE = 3277  # -20 dB of full scale
MAX_TONES = 8  # lengths for which a tone is kept
MAX_SPANS = 10_000  # kept, to judge words that come late


class Masking:
    """Which samples are masked; frames are asked for in order.

    A mask that is taken off covers what has been received until then, so that nothing said behind it comes out of the
    buffers afterwards.
    """

    def __init__(self) -> None:
        self.active = False
        self.fill = "silence"
        self._start = 0
        self._until: int | None = None
        self._spans: list[tuple[int, int, str]] = []
        self._tones: dict[tuple[int, int], array[int]] = {}

    def begin(self, position: int, fill: str) -> bool:
        """Mask from here on; False where that is so already.

        Raises
        ------
        ConfigError
            If there is no such fill.
        """
        if fill not in FILLS:
            raise ConfigError(f"fill is {fill!r}, not one of {', '.join(FILLS)}")
        if self.active:
            again, self._until = self._until is None, None
            return not again
        self.active, self.fill, self._start, self._until = True, fill, position, None
        return True

    def end(self, position: int) -> bool:
        """Mask up to here; False where nothing is masked, or the end is known."""
        if not self.active or self._until is not None:
            return False
        self._until = max(position, self._start)
        return True

    def ended(self, position: int) -> tuple[int, int, str] | None:
        """The mask that is over when the timeline has come to ``position``, once."""
        if not self.active or self._until is None or position < self._until:
            return None
        return self.finish(position)

    def finish(self, position: int) -> tuple[int, int, str] | None:
        """Let the mask, if there is one, end here: ``(position, n_samples, fill)``."""
        if not self.active:
            return None
        span = (self._start, max(0, position - self._start), self.fill)
        self.active, self._until = False, None
        if len(self._spans) == MAX_SPANS:
            del self._spans[0]
        self._spans.append(span)
        return span

    def apply(self, frame: Frame) -> Frame:
        """The frame as it may be handed out, for as long as the mask is active."""
        return frame.masked(self._samples(frame.position, frame.n_samples, frame.sample_rate))

    def apply_to(self, block: Block) -> tuple[Block, tuple[int, int, str] | None]:
        """The same for a block of frames, of which the first ones are masked; and the mask, if it is over now."""
        until = block.n_frames
        if self._until is not None:
            ahead = max(0, self._until - block.position)
            until = min(until, -(-ahead // block.frame_samples))
        end = block.position + min(block.n_samples, until * block.frame_samples)
        if until:
            block = block.masked(until, self._samples(block.position, end - block.position, block.sample_rate))
        return block, self.ended(end)

    def _samples(self, position: int, n_samples: int, sample_rate: int) -> array[int]:
        """What is heard in place of a span."""
        if self.fill == "silence":
            return array("h", bytes(2 * n_samples))
        period = sample_rate // TONE_HZ
        key = (sample_rate, n_samples)
        tone = self._tones.get(key)
        if tone is None:
            one = [round(TONE_AMPLITUDE * math.sin(2 * math.pi * i / period)) for i in range(period)]
            if len(self._tones) >= MAX_TONES:
                self._tones.clear()
            tone = self._tones[key] = array("h", one * (n_samples // period + 2))
        phase = position % period
        return tone[phase : phase + n_samples]

    def covers(self, position: int, n_samples: int) -> bool:
        """Whether anything of a span was, is or may yet be masked."""
        end = position + max(1, n_samples)
        if self.active and end > self._start and (self._until is None or position < self._until):
            return True
        return any(start < end and position < start + length for start, length, _ in self._spans)
