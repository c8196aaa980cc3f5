"""Opus, where PyAV is installed (the extra ``codecs``)."""

from __future__ import annotations

from collections import OrderedDict
from importlib.util import find_spec

__all__ = ["OpusDecoder", "can_decode"]

SAMPLE_RATE = 48_000
_REMEMBERED = 32  # packets


def can_decode() -> bool:
    """Whether Opus can be decoded here."""
    return find_spec("av") is not None


class OpusDecoder:
    """Decode the packets of one stream to mono int16 at 48 kHz.

    The decoder goes from packet to packet, so a packet that comes twice is decoded once.  Packets are taken in the
    order of their arrival, which over one socket is the order in which they were sent.
    """

    def __init__(self) -> None:
        import av

        self._packet = av.Packet
        self._errors = av.FFmpegError
        self._context = av.AudioCodecContext.create("libopus", "r")
        self._context.sample_rate = SAMPLE_RATE
        self._context.layout = "mono"
        self._recent: OrderedDict[int, bytes] = OrderedDict()

    def decode(self, sequence_number: int, payload: bytes) -> bytes | None:
        """Samples of a packet, or None when it is no Opus."""
        pcm = self._recent.get(sequence_number)
        if pcm is not None:
            return pcm
        try:
            frames = self._context.decode(self._packet(payload))
        except self._errors:
            return None
        pcm = b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)
        if not pcm:
            return None
        self._recent[sequence_number] = pcm
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        return pcm
