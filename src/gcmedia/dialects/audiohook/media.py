"""Media as it is offered and chosen; how its octets lie in a frame."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ...types import MediaFormat

__all__ = ["CHANNELS", "Media", "choose"]

#: What the customer says, and what the customer hears.
CHANNELS = ("external", "internal")

_SAMPLE_OCTETS = {"PCMU": 1, "L16": 2}


class Media(msgspec.Struct, frozen=True, gc=False):
    """One entry of an offer; ``channels`` are in the order in which their samples are interleaved."""

    format: str
    channels: tuple[str, ...]
    rate: int = 8000
    type: str = "audio"

    @property
    def usable(self) -> bool:
        """Whether frames of it can be told apart: a known format, one or both channels, a rate that is one."""
        return (
            self.type == "audio"
            and self.format in _SAMPLE_OCTETS
            and 0 < len(self.channels) <= 2
            and len(set(self.channels)) == len(self.channels)
            and set(self.channels) <= set(CHANNELS)
            and 8000 <= self.rate <= 48_000
            and self.rate % 1000 == 0
        )

    @property
    def block_octets(self) -> int:
        """Octets of one sample of every channel."""
        return _SAMPLE_OCTETS[self.format] * len(self.channels)

    def to_format(self, l16_byteorder: str = "little") -> MediaFormat:
        """What the core calls it: encoding, sample rate and channels in the order of the wire."""
        encoding = "PCMU" if self.format == "PCMU" else "L16LE" if l16_byteorder == "little" else "L16"
        return MediaFormat(encoding, self.rate, self.channels)

    def to_wire(self) -> dict[str, object]:
        """As it stands in a message."""
        return {"type": self.type, "format": self.format, "channels": list(self.channels), "rate": self.rate}


def choose(
    offer: Iterable[Media], *, formats: tuple[str, ...], channels: tuple[str, ...], rates: tuple[int, ...]
) -> Media | None:
    """Choose from an offer by the wishes given; among equals the one offered first.

    Parameters
    ----------
    offer : iterable of Media
        As the client sent it.
    formats : tuple of str
        Formats taken, the one liked best first.
    channels : tuple of str
        ``"both"``, ``"external"``, ``"internal"``: sets of channels taken, the one liked best first.  Which channel
        of both comes first is the client's choice.
    rates : tuple of int
        Hz, likewise.

    Returns
    -------
    Media or None
        An entry of the offer as it is; None when none will do.
    """
    best: tuple[tuple[int, int, int], Media] | None = None
    for media in offer:
        named = "both" if len(media.channels) == 2 else "".join(media.channels)
        if not media.usable or named not in channels or media.format not in formats or media.rate not in rates:
            continue
        rank = channels.index(named), formats.index(media.format), rates.index(media.rate)
        if best is None or rank < best[0]:
            best = rank, media
    return best[1] if best else None
