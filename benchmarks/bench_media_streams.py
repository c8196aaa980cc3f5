"""What does a packet of the media streams socket cost from its JSON text to an ordered, decoded, measured frame?"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

import gcmedia
import workloads
from gcmedia.dialects.media_streams import Media, SequenceUnwrap, TimestampUnwrap, receive
from peers.composition import Block, Composition

RATE = 8000.0  # ticks of the timestamps per second


@pytest.fixture(params=["in order", "1 % lost, twice, late"])
def messages(request: pytest.FixtureRequest, benchmark: Any, packets: list[bytes], rough_packets: list[bytes]) -> Any:
    benchmark.group = f"JSON path, {request.param}"
    return workloads.as_streams(packets if request.param == "in order" else rough_packets)


class JsonComposition(Composition):
    """The same glue, its packets from json and base64."""

    def __init__(self) -> None:
        super().__init__()
        self.loads, self.unpack = json.loads, base64.b64decode

    def push_message(self, message: str) -> list[Block]:
        packet = self.loads(message)
        number, payload = packet["sequenceNumber"], self.unpack(packet["payload"], validate=True)
        if self.next < 0:
            self.next, self.newest = number, number - 1
        if number < self.next:
            self.late += 1
            return []
        if number in self.waiting:
            self.duplicate += 1
            return []
        self.waiting[number] = self.padding + payload
        self.newest = max(self.newest, number)
        blocks = []
        while self.newest - self.next >= 5:
            blocks.append(self.release())
        return blocks

    padding = bytes(workloads.HEADER.size)


def play(messages: list[str]) -> list[gcmedia.Frame]:
    receiver = gcmedia.Receiver(conceal="silence", timestamp_rate=RATE)
    sequence, time = SequenceUnwrap(), TimestampUnwrap()
    out: list[gcmedia.Frame] = []
    for place, message in enumerate(messages):
        event = receive(message)
        assert isinstance(event, Media)
        now = place * workloads.PACKET_S
        receiver.push_media(sequence(event.sequence_number), time(event.timestamp), event.payload, now)
        out.extend(receiver.frames(now))
    receiver.flush()
    out.extend(receiver.frames(60.0))
    return out


def test_gcmedia(stream: Any, benchmark: Any, messages: list[str]) -> None:
    items = list(zip(messages, workloads.arrivals(len(messages)), strict=True))

    def run(receiver: gcmedia.Receiver, sequence: SequenceUnwrap, time: TimestampUnwrap) -> list[gcmedia.Frame]:
        out: list[gcmedia.Frame] = []
        push, frames, keep = receiver.push_media, receiver.frames, out.extend
        for message, now in items:
            event: Any = receive(message)
            push(sequence(event.sequence_number), time(event.timestamp), event.payload, now)
            keep(frames(now))
        receiver.flush()
        keep(frames(60.0))
        return out

    def make() -> tuple[gcmedia.Receiver, SequenceUnwrap, TimestampUnwrap]:
        return gcmedia.Receiver(conceal="silence", timestamp_rate=RATE), SequenceUnwrap(), TimestampUnwrap()

    out = stream(run, make, len(items))
    benchmark.extra_info["note"] = "wire, push and frames for each packet; numbers unwrapped, fields checked"
    assert len(out) == workloads.MINUTE


def test_composition(stream: Any, benchmark: Any, messages: list[str]) -> None:
    def run(composition: JsonComposition) -> list[Block]:
        out: list[Block] = []
        push, keep = composition.push_message, out.extend
        for message in messages:
            keep(push(message))
        keep(composition.flush())
        return out

    out = stream(run, lambda: (JsonComposition(),), len(messages))
    benchmark.extra_info["note"] = "json, base64, dict, audioop; no wrap, no checks"
    expected = zlib.crc32(b"".join(bytes(frame.raw) for frame in play(messages)))
    assert zlib.crc32(b"".join(pcm for _, pcm, _, _ in out)) == expected
