"""What a server has done, counted; read when somebody asks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Counters of one process since its start.

    Attributes
    ----------
    upgrades : Counter
        Upgrade requests by outcome: ``"verified"``, ``"unsigned"``, and why they were refused.
    opened, probes : int
        Sessions that were opened, and connection probes among the rest.
    ended : Counter
        Sessions by how they ended: the reason of their ``close``, or what was missing.
    failed : Counter
        Sessions that could not go on, by cause.
    anomalies : Counter
        What did not fit and was put up with, by kind.
    messages, audio_frames, audio_octets : int
        Text messages and frames of audio received.
    missing_samples : int
        Samples that clients told of and did not send.
    client_errors : Counter
        Errors that clients told of, by code.
    handlers_failed : int
        Handlers that raised.
    frames_dropped, entities_dropped : int
        For consumers, and for clients, that were too slow.
    recordings_failed : int
        Recordings that could not be begun, or not be finished.
    """

    upgrades: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    probes: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    anomalies: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    audio_frames: int = 0
    audio_octets: int = 0
    missing_samples: int = 0
    client_errors: Counter[str] = field(default_factory=Counter)
    handlers_failed: int = 0
    frames_dropped: int = 0
    entities_dropped: int = 0
    recordings_failed: int = 0
