"""How the media streams socket behaves, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ConfigError

__all__ = ["StreamsPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsPlan:
    """Settings of the media streams socket; what its network does is the matter of `Faults`.

    A planned end of one interaction's connection is that of all on the socket.  Between connections a stream waits,
    whether the cloud is live or not.

    Attributes
    ----------
    replies : str
        ``"media"``: packets, and errors, as the published clients expect; ``"full"``: also an acknowledgement of each
        subscription and a word at the end of each interaction.
    name_codec : bool
        Whether every packet says its codec.
    sequence_bits : int
        16 or 32.
    timestamp_unit : str
        ``"samples"`` or ``"ms"``.
    max_interactions : int
        Of one connection at a time; more are refused with ``tooManyStreams``.
    refused : mapping of str to int
        How often the subscription to an interaction is answered with ``mediaNotAvailable`` before it is taken.
    ended_ago_s : mapping of str to float
        Interactions that are over, and for how long; up to 60 s their media is still sent.
    clock_skew_s : float
        How far the server's clock is ahead of ours.
    """

    replies: str = "media"
    name_codec: bool = False
    sequence_bits: int = 16
    timestamp_unit: str = "samples"
    max_interactions: int = 50
    refused: Mapping[str, int] = field(default_factory=dict)
    ended_ago_s: Mapping[str, float] = field(default_factory=dict)
    clock_skew_s: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("replies", self.replies, ("media", "full")),
            ("sequence_bits", self.sequence_bits, (16, 32)),
            ("timestamp_unit", self.timestamp_unit, ("samples", "ms")),
        ):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}, not one of {', '.join(map(str, known))}")
        if self.max_interactions < 1:
            raise ConfigError(f"max_interactions is {self.max_interactions}, less than 1")
