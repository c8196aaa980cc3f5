"""Audio as WebSocket frames, masked once and sent by all sessions."""

from __future__ import annotations

from typing import NamedTuple

from websockets.frames import Frame, Opcode

from ..dialects.audiohook import Media
from ..simulator.audiohook import Speech

__all__ = ["Piece", "pieces_of"]


class Piece(NamedTuple):
    """A message of audio, and the octets that carry it."""

    payload: bytes
    octets: bytes


def pieces_of(speech: Speech, media: Media, frame_ms: int) -> list[Piece]:
    """Cut speech into masked frames, one loop of it (RFC 6455 section 5.2).

    A masking key makes nothing secret between two processes of one's own; the server has the same work with each.
    """
    n_samples = media.rate * frame_ms // 1000
    n_pieces = max(1, speech.n_samples // n_samples)
    found = []
    for place in range(n_pieces):
        payload = speech.payload(place * n_samples, n_samples, media)
        found.append(Piece(payload, Frame(Opcode.BINARY, payload).serialize(mask=True)))
    return found
