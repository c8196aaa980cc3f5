"""What consumers of media streams get: frames, what they belong to, and how fast they come."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import msgspec
from typing_extensions import Buffer

__all__ = ["MediaFrame", "MetadataSync", "Rates", "Throughput", "monitor_line"]


class MediaFrame(msgspec.Struct, frozen=True, kw_only=True):
    """20 ms of one interaction, in order; or one packet, where its codec is not decoded.

    Attributes
    ----------
    interaction_id : str
        The interaction.
    sequence_number, timestamp : int or None
        Of the packet that it came with, as on the wire; None where it stands in for one that did not come.
    position : int
        First sample on the timeline of the interaction.
    payload : buffer
        int16 samples behind gate and compressor, if there are any; or the packet's octets when not decoded.
    is_silent : bool or None
        Whether it is silent; None when not decoded.
    level_dbov : float or None
        Its level (RFC 6464); None when not decoded.
    concealed : bool
        Whether it is made up for media that did not come.
    codec : str
        What it was sent in.
    decoded : bool
        Whether ``payload`` is samples.
    processed_at : float
        Unix time, for display.
    """

    interaction_id: str
    sequence_number: int | None
    timestamp: int | None
    position: int
    payload: Buffer
    is_silent: bool | None
    level_dbov: float | None
    concealed: bool
    codec: str
    decoded: bool
    processed_at: float


class MetadataSync(msgspec.Struct, frozen=True, rename="camel"):
    """One packet whose place on the timeline has been reached; each once, in order.

    Attributes
    ----------
    interaction_id : str
    timestamp, sequence_number : int
        As on the wire.
    position : int
        Sample of the interaction's timeline at which the packet begins.
    """

    interaction_id: str
    timestamp: int
    sequence_number: int
    position: int


@dataclass(frozen=True, slots=True)
class Rates:
    """How much came in a span of time.

    Attributes
    ----------
    seconds : float
        Length of the span.
    packets_per_second, bytes_per_second, wire_bytes_per_second : float
        Packets; octets of their payload; octets of the messages that carried them.
    packet_loss_rate : float
        Packets lost, of those expected in the span; 0 to 1.
    """

    seconds: float
    packets_per_second: float
    bytes_per_second: float
    wire_bytes_per_second: float
    packet_loss_rate: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rates of one interaction, or of all together.

    Attributes
    ----------
    interaction_id : str
        Empty for all.
    window, lifetime : Rates
        Since the last record; since the first packet, connections lost included.
    """

    interaction_id: str
    window: Rates
    lifetime: Rates


_encode = msgspec.json.encode


def monitor_line(frame: MediaFrame, *, audio: bool) -> bytes:
    """One line of the monitoring stream, its audio in base64."""
    line: dict[str, object] = {
        "type": "monitor",
        "metadata": {
            "interactionId": frame.interaction_id,
            "sequenceNumber": frame.sequence_number,
            "timestamp": frame.timestamp,
            "position": frame.position,
        },
        "isSilent": frame.is_silent,
        "levelDbov": _finite(frame.level_dbov),
        "concealed": frame.concealed,
        "codec": frame.codec,
        "decoded": frame.decoded,
        "processedAt": round(frame.processed_at * 1000),
    }
    if audio:
        line["payload"] = base64.b64encode(frame.payload).decode()
    return _encode(line) + b"\n"


def _finite(level_dbov: float | None) -> float | None:
    return None if level_dbov is None or level_dbov == float("-inf") else round(level_dbov, 1)
