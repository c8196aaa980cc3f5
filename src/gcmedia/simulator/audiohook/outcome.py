"""What went over the wire in a session, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .conformity import Conformity

__all__ = ["Line", "SessionReport"]


@dataclass(frozen=True, slots=True)
class Line:
    """A message as it went over the wire.

    Attributes
    ----------
    at_s : float
        From the moment the connection was made.
    sent : bool
        By this end.
    kind : str
        ``type`` of a text message; ``"audio"``; ``"?"`` for a text that has none.
    text : str
        The text message as it is; ``""`` for audio.
    n_octets : int
        Its length.
    """

    at_s: float
    sent: bool
    kind: str
    text: str = field(repr=False)
    n_octets: int


@dataclass(slots=True)
class SessionReport:
    """What came of a session.

    Attributes
    ----------
    session_id : str
        Its id.
    media : str
        What the server chose, as ``"PCMU external+internal 8000"``; ``""`` for none.
    connect_s, opened_s : float or None
        From the beginning to the upgrade, and from ``open`` to ``opened``.
    rtts_s : list of float
        From ping to pong, each.
    sent_frames, sent_samples, dropped_samples : int
        Audio of this end.
    position : int
        Where the stream ended, in samples.
    received : dict of str to int
        Messages of the server by type.
    server_audio_samples : int
        Audio of the server.
    reason : str
        How it ended: the reason of ``close``, or what was missing.
    disconnect : str
        The reason that the server gave for its ``disconnect``; ``""`` when there was none.
    clean : bool
        Whether ``close`` and ``closed`` were exchanged.
    close_code : int or None
        Of the server's close frame; 1005 for one without a code, 1006 when there was none.
    output_variables : dict
        Of Audio Connector.
    conformity : Conformity
        What the server did wrong.
    """

    session_id: str
    media: str = ""
    connect_s: float | None = None
    opened_s: float | None = None
    rtts_s: list[float] = field(default_factory=list)
    sent_frames: int = 0
    sent_samples: int = 0
    dropped_samples: int = 0
    position: int = 0
    received: dict[str, int] = field(default_factory=dict)
    server_audio_samples: int = 0
    reason: str = ""
    disconnect: str = ""
    clean: bool = False
    close_code: int | None = None
    output_variables: dict[str, Any] = field(default_factory=dict)
    conformity: Conformity = field(default_factory=Conformity)

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        rtts = sorted(self.rtts_s)
        return {
            "session_id": self.session_id,
            "conforming": self.conformity.conforming,
            "findings": [found.as_dict() for found in self.conformity.findings],
            "further_findings": self.conformity.further,
            "media": self.media,
            "connect_s": _rounded(self.connect_s),
            "opened_s": _rounded(self.opened_s),
            "rtt_s": {
                "n": len(rtts),
                "min": _rounded(rtts[0]) if rtts else None,
                "median": _rounded(rtts[len(rtts) // 2]) if rtts else None,
                "max": _rounded(rtts[-1]) if rtts else None,
            },
            "sent_frames": self.sent_frames,
            "sent_samples": self.sent_samples,
            "dropped_samples": self.dropped_samples,
            "position": self.position,
            "received": dict(sorted(self.received.items())),
            "server_audio_samples": self.server_audio_samples,
            "reason": self.reason,
            "disconnect": self.disconnect,
            "clean": self.clean,
            "close_code": self.close_code,
            "output_variables": self.output_variables,
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
