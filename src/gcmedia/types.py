"""Frozen value types that travel between the layers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["CpuFeatures", "Hole", "MediaFormat", "SequenceStats", "Stats", "Transcript"]


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """What the octets of a stream mean.

    Attributes
    ----------
    encoding : str
        ``"PCMU"``, ``"PCMA"`` (RFC 3551), ``"L16"`` (big-endian, as RTP has it) or ``"L16LE"``.
    sample_rate : int
        Hz.
    channels : tuple of str
        One name a channel, in the order in which their samples are interleaved.
    """

    encoding: str
    sample_rate: int
    channels: tuple[str, ...] = ("mixed",)


@dataclass(frozen=True, slots=True)
class Hole:
    """A span of the timeline for which there is no received audio.

    Attributes
    ----------
    position : int
        First sample of the hole; the origin is the first sample of the call.
    n_samples : int
        Its exact length, per channel.
    cause : str
        ``"lost"`` (never came, or came too late), ``"reconnect"`` (no connection), ``"restart"`` (the sender
        began a new sequence), ``"paused"`` (the caller asked for it), ``"overrun"`` (nobody took the frames),
        ``"idle"`` (the sender sent nothing although nothing was lost), ``"discarded"`` (the sender says that it
        dropped it).
    """

    position: int
    n_samples: int
    cause: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """Something said, pinned to the sample timeline.

    Attributes
    ----------
    text : str
        What was said; in no repr, so that none gets into a log by accident.
    confidence : float
        0 to 1; 0 when the server gave none.
    position : int
        Sample at which it begins.
    n_samples : int
        Its length, 0 when unknown.
    channel : str
        Name of the channel, ``""`` when unknown.
    server_timestamp : int
        Media time as the server sent it, in its own ticks.
    """

    text: str = field(repr=False)
    confidence: float
    position: int
    n_samples: int = 0
    channel: str = ""
    server_timestamp: int = 0


@dataclass(frozen=True, slots=True)
class CpuFeatures:
    """Instruction sets for which the core has kernels; all of them give the same bits.

    Attributes
    ----------
    kernels : str
        The set that runs: ``"baseline"``, ``"avx2"`` or ``"avx512"``.
    available : tuple of str
        Those that this processor can run, the widest last; baseline is SSE2 on x86-64 and NEON on arm64, ``"avx2"``
        takes FMA as well.
    """

    kernels: str
    available: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SequenceStats:
    """Counters of a sequence validator; ``expected == received - duplicate - refused + lost`` at every moment.

    Attributes
    ----------
    received : int
        Numbers handed in.
    expected, lost : int
        Numbers that the sender has used, and those of them that never came (RFC 3550 A.3).
    duplicate, late, refused : int
        Seen before; lower than the highest and new; fitting nowhere.
    gaps, resets : int
        Jumps ahead; sequences begun anew.
    """

    received: int
    expected: int
    lost: int
    duplicate: int
    late: int
    refused: int
    gaps: int
    resets: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters of one stream since its start.

    The names are those of W3C webrtc-stats (RTCInboundRtpStreamStats) where it has one.  Two identities hold
    at every moment: ``packets_received`` = played + late + duplicate + discarded + refused + buffered, and
    ``packets_expected`` = unique received + ``packets_lost``.

    Attributes
    ----------
    packets_received : int
        Every packet handed in, whatever became of it.
    packets_played : int
        Their audio is in the frames, once.
    packets_late : int
        Came after their place had been filled.
    packets_duplicate : int
        Their number had come before.
    packets_discarded : int
        Dropped by us: paused, or no room because nobody took the frames.
    packets_refused : int
        Malformed, oversized, or of a number that fits nowhere.
    packets_buffered : int
        Waiting for their turn.
    packets_expected, packets_lost : int
        Numbers that the sender has used, and those of them that never came (RFC 3550 A.3).
    packets_reordered : int
        Came after a higher number, in time or late.
    gaps, resets, flushes : int
        Jumps of the sequence, restarts of it, and holes longer than the gap tolerance.
    underruns, overruns : int
        The buffer ran dry; a packet found no room.
    timestamp_jumps : int
        Media timestamps that the sequence does not explain.
    bytes_received : int
        Octets of all packets, headers included.
    jitter : float
        Interarrival jitter in seconds (RFC 3550 A.8).
    interval_ms : float
        Mean spacing of the media timestamps over the last 50 packets.
    loss_rate : float
        Share of the packets expected lately (about the last 256) that have not come; 0 to 1.
    buffer_depth, buffer_target : int
        Packets between the playout point and the newest; what the policy aims at.
    playout_delay_ms : float
        The window in force, for the window policy; target times packet length for the depth policy; the delay
        over the least transit for the adaptive policy.
    total_samples : int
        Length of the timeline so far, per channel.
    concealed_samples, silent_concealed_samples : int
        Samples made up for missing ones; those of them that are plain silence.
    concealment_events : int
        Runs of concealed samples.
    jitter_buffer_delay, jitter_buffer_target_delay : float
        Seconds that the packets have waited in the jitter buffer, and that its policy wanted at their release,
        summed over the packets.
    jitter_buffer_emitted_count : int
        Packets that the jitter buffer has released.  W3C counts samples, and its sums run over them; the quotients
        of the two, the mean delays, mean the same.
    malformed : dict
        Refused packets by reason: ``short``, ``empty``, ``oversized``, ``unreadable``, ``suspect``; and ``ragged``
        ones, whose last, incomplete sample was left out and the rest played.
    """

    packets_received: int
    packets_played: int
    packets_late: int
    packets_duplicate: int
    packets_discarded: int
    packets_refused: int
    packets_buffered: int
    packets_expected: int
    packets_lost: int
    packets_reordered: int
    gaps: int
    resets: int
    flushes: int
    underruns: int
    overruns: int
    timestamp_jumps: int
    bytes_received: int
    jitter: float
    interval_ms: float
    loss_rate: float
    buffer_depth: int
    buffer_target: int
    playout_delay_ms: float
    total_samples: int
    concealed_samples: int
    silent_concealed_samples: int
    concealment_events: int
    malformed: dict[str, int]
    jitter_buffer_delay: float = 0.0
    jitter_buffer_target_delay: float = 0.0
    jitter_buffer_emitted_count: int = 0

    @property
    def unique_received(self) -> int:
        """Packets with a valid number of their own."""
        return self.packets_received - self.packets_duplicate - self.packets_refused

    @property
    def balanced(self) -> bool:
        """Whether both accounting identities hold, to the packet."""
        return (
            self.packets_received
            == self.packets_played
            + self.packets_late
            + self.packets_duplicate
            + self.packets_discarded
            + self.packets_refused
            + self.packets_buffered
            and self.packets_expected == self.unique_received + self.packets_lost
            and self.packets_lost >= 0
        )

    def identity(self) -> str:
        """Both accounting identities in figures, for a summary."""
        return (
            f"received {self.packets_received} = played {self.packets_played} + late {self.packets_late}"
            f" + duplicate {self.packets_duplicate} + discarded {self.packets_discarded}"
            f" + refused {self.packets_refused} + buffered {self.packets_buffered}; "
            f"expected {self.packets_expected} = unique {self.unique_received} + lost {self.packets_lost}"
        )

    def as_dict(self) -> dict[str, Any]:
        """All counters as plain values, for JSON."""
        return asdict(self)
