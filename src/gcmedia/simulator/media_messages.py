"""The messages of the platform media dialect as the server writes them, well-formed and otherwise."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from random import Random
from struct import Struct

from .calls import Call

__all__ = ["LAYOUTS", "MediaFormatAsked", "MediaMessages", "error_message", "malformed_message"]

LAYOUTS = ("padded16", "packed12", "json")

_PADDED16 = Struct("<I4xq")
_PACKED12 = Struct("<Iq")
_OVERSIZED = 65_536  # octets of audio; every packet of a sane length is far below


@dataclass(frozen=True, slots=True)
class MediaFormatAsked:
    """What a subscription asks for: ``"raw"``, ``"pcmu"`` or ``"pcma"``, Hz, and 1 or 2 channels."""

    encoding: str = "raw"
    sample_rate: int = 16000
    channels: int = 1


class MediaMessages:
    """Messages of one connection: the call, the format that was asked for, the layout that the server uses."""

    def __init__(self, call: Call, asked: MediaFormatAsked, layout: str) -> None:
        self._call = call
        self._asked = asked
        self._layout = layout

    def media(self, index: int, sequence_number: int, timestamp: int) -> bytes | str:
        """Packet ``index`` of the call under a number and a time."""
        asked = self._asked
        payload = self._call.payload(index, asked.encoding, asked.sample_rate, asked.channels)
        if self._layout == "json":
            audio = b64encode(payload).decode()
            return json.dumps({"type": "media", "seq": sequence_number, "timestamp": timestamp, "audioData": audio})
        return self._header(sequence_number, timestamp) + payload

    def malformed(self, kind: str, sequence_number: int, timestamp: int, rng: Random) -> bytes | str:
        """A message that no client can use."""
        return malformed_message(kind, self._header(sequence_number, timestamp), sequence_number, timestamp, rng)

    def _header(self, sequence_number: int, timestamp: int) -> bytes:
        return (_PACKED12 if self._layout == "packed12" else _PADDED16).pack(sequence_number, timestamp)


def malformed_message(kind: str, header: bytes, sequence_number: int, timestamp: int, rng: Random) -> bytes | str:
    """Make a malformed message of a kind named in ``faults.MALFORMED_KINDS``; ``header`` is what a packet has."""
    match kind:
        case "short":
            return rng.randbytes(rng.randrange(12))
        case "garbage_binary":
            return rng.randbytes(rng.randrange(17, 64, 2))
        case "oversized":
            return header + bytes(_OVERSIZED)
        case "truncated_json":
            whole = json.dumps({"type": "media", "seq": sequence_number, "timestamp": timestamp, "audioData": "AAAA"})
            return whole[: rng.randrange(1, len(whole))]
        case "garbage_text":
            return rng.choice(["", "null", "[]", "7", "\x00", "<html></html>", "{{}}", '"media"'])
        case "wrong_types":
            return json.dumps({"type": "media", "seq": "one", "timestamp": None, "audioData": 7})
        case "unknown_type":
            return json.dumps({"type": "telemetry", "timestamp": timestamp, "value": rng.randrange(100)})
        case _:  # bad_base64
            return json.dumps({"type": "media", "seq": sequence_number, "timestamp": timestamp, "audioData": "@@@="})


def error_message(status: int, code: str, message: str) -> str:
    """A refusal, as text."""
    return json.dumps({"type": "error", "status": status, "code": code, "message": message})
