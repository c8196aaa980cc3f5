"""The messages of the media streams dialect as the server writes them, well-formed and otherwise."""

from __future__ import annotations

import json
from base64 import b64encode
from random import Random

from .audio import resample
from .calls import Call
from .media_messages import MediaFormatAsked, MediaMessages
from .streams_plan import StreamsPlan

__all__ = ["StreamsMessages", "pick_codec", "streams_error"]

CLOCK_RATES = {"pcmu": 8000, "pcma": 8000, "opus": 48_000}


def pick_codec(preferences: list[str]) -> str:
    """The first of a client's preferences that can be sent; Opus takes PyAV."""
    for codec in preferences:
        if codec in ("pcmu", "pcma") or (codec == "opus" and _has_av()):
            return codec
    return "pcmu"


def _has_av() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


class StreamsMessages(MediaMessages):
    """Messages about one interaction: both parties mixed, packets as JSON."""

    def __init__(self, interaction_id: str, call: Call, codec: str, plan: StreamsPlan, seed: int) -> None:
        super().__init__(call, MediaFormatAsked(codec, 8000, 1), "json")
        self.codec = codec
        self._id = interaction_id
        self._plan = plan
        self._clock_rate = CLOCK_RATES[codec] if plan.timestamp_unit == "samples" else 1000
        self._start = Random(f"{seed}/{interaction_id}/rtp").getrandbits(32)  # where RTP timestamps begin
        self._opus: list[bytes] | None = None
        self._head = json.dumps({"interactionId": interaction_id})[:-1]

    def media(self, index: int, sequence_number: int, timestamp: int) -> str:
        """Packet ``index`` of the call under a number and a time."""
        if self.codec == "opus":
            if self._opus is None:
                self._opus = encode_opus(self._call)
            payload = self._opus[index % len(self._opus)]
        else:
            payload = self._call.payload(index, self.codec, 8000, 1)
        return self._packet(sequence_number, timestamp, b64encode(payload).decode())

    def malformed(self, kind: str, sequence_number: int, timestamp: int, rng: Random) -> bytes | str:
        """A message that no client can use."""
        match kind:
            case "garbage_binary" | "short":
                return rng.randbytes(rng.randrange(1, 64))
            case "oversized":
                return self._packet(sequence_number, timestamp, b64encode(bytes(20_000)).decode())
            case "truncated_json":
                whole = self._packet(sequence_number, timestamp, "AAAA")
                return whole[: rng.randrange(1, len(whole))]
            case "garbage_text":
                return rng.choice(["null", "[]", "7", "<html></html>", "{{}}", '"media"'])
            case "wrong_types":
                return json.dumps({"interactionId": self._id, "sequenceNumber": "one", "timestamp": None, "payload": 7})
            case "unknown_type":
                return json.dumps({"type": "telemetry", "timestamp": timestamp, "value": rng.randrange(100)})
            case _:  # bad_base64
                return self._packet(sequence_number, timestamp, "@@@=")

    def timestamp(self, timestamp_ms: int) -> int:
        """A time of the call on the clock of the wire."""
        if self._plan.timestamp_unit == "ms":
            return timestamp_ms
        passed = timestamp_ms - self._call.start_timestamp_ms
        return (self._start + passed * self._clock_rate // 1000) & 0xFFFFFFFF

    def number(self, sequence_number: int) -> int:
        """A sequence number on the wire."""
        return sequence_number & 0xFFFF if self._plan.sequence_bits == 16 else sequence_number

    def ended(self, timestamp: int) -> str:
        """Word that the interaction is over."""
        return json.dumps({"type": "ended", "interactionId": self._id, "timestamp": self.timestamp(timestamp)})

    def granted(self) -> dict[str, object]:
        """This interaction's part of an acknowledgement."""
        return {"interactionId": self._id, "codec": self.codec, "sampleRate": CLOCK_RATES[self.codec]}

    def _packet(self, sequence_number: int, timestamp: int, payload: str) -> str:
        codec = f', "codec": "{self.codec}"' if self._plan.name_codec else ""
        return (
            f'{self._head}, "sequenceNumber": {self.number(sequence_number)},'
            f' "timestamp": {self.timestamp(timestamp)}, "payload": "{payload}"{codec}}}'
        )


def streams_error(status: int, code: str, message: str, interaction_id: str | None = None) -> str:
    """An error of the socket."""
    error: dict[str, object] = {"type": "error", "status": status, "code": code, "message": message}
    if interaction_id is not None:
        error["interactionId"] = interaction_id
    return json.dumps(error)


def encode_opus(call: Call) -> list[bytes]:
    """The packets of a call in Opus, one for each of the call's, both parties mixed."""
    import av

    samples = resample(call.pcm(channels=1), call.sample_rate, 48_000)[:, 0]
    context = av.AudioCodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = 48_000, "mono", "s16"
    context.open()
    size = 48_000 * call.packet_ms // 1000
    packets: list[bytes] = []
    for at in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, at
        packets += [bytes(packet) for packet in context.encode(frame)]
    packets += [bytes(packet) for packet in context.encode(None)]
    return packets[: len(samples) // size]
