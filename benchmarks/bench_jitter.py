"""What does it cost to bring one packet into its place: sequence number, jitter buffer, out again in order?

A minute of 3,000 packets, in order, and with 1 % lost, 1 % twice and 1 % late.
"""

from __future__ import annotations

import zlib
from typing import Any

import pytest

import gcmedia
import peers
import workloads
from peers.node import buffering


@pytest.fixture(params=["in order", "1 % lost, twice, late"])
def arrived(request: pytest.FixtureRequest, benchmark: Any, packets: list[bytes], rough_packets: list[bytes]) -> Any:
    benchmark.group = f"jitter buffer, {request.param}"
    return packets if request.param == "in order" else rough_packets


def unique(arrived: list[bytes]) -> list[bytes]:
    """What a perfect buffer gives: each packet once, by number."""
    return sorted(set(arrived), key=lambda item: workloads.HEADER.unpack_from(item))


def checksum(payloads: list[bytes]) -> int:
    return zlib.crc32(b"".join(payloads))


def fields(arrived: list[bytes]) -> list[tuple[int, int, bytes, float]]:
    times = workloads.arrivals(len(arrived))
    return [(*workloads.HEADER.unpack_from(item), item[16:], now) for item, now in zip(arrived, times, strict=True)]


def test_gcmedia(stream: Any, benchmark: Any, arrived: list[bytes]) -> None:
    """`JitterBuffer`, header already parsed: the call forms of aiortc."""
    items = fields(arrived)

    def run(buffer: gcmedia.JitterBuffer) -> list[gcmedia.Packet]:
        out: list[gcmedia.Packet] = []
        push, pull, keep = buffer.push, buffer.pull, out.extend
        for number, timestamp, payload, now in items:
            push(number, timestamp, payload, now)
            keep(pull(now))
        keep(buffer.flush())
        return out

    out = stream(run, lambda: (gcmedia.JitterBuffer(),), len(items))
    benchmark.extra_info["note"] = "push and pull, packets as objects"
    assert checksum([packet.payload for packet in out]) == checksum([item[16:] for item in unique(arrived)])


def test_gcmedia_receiver(stream: Any, benchmark: Any, arrived: list[bytes]) -> None:
    """`Receiver.push` alone: header, sequence and jitter in one call; untaken frames are decoded ahead."""
    items = list(zip(arrived, workloads.arrivals(len(arrived)), strict=True))

    def run(receiver: gcmedia.Receiver) -> gcmedia.Receiver:
        push = receiver.push
        for packet, now in items:
            push(packet, now)
        return receiver

    receiver = stream(run, lambda: (gcmedia.Receiver(conceal="silence"),), len(items))
    benchmark.extra_info["note"] = "header too, and most of it decoded and measured besides"
    stats = receiver.stats()
    assert stats.packets_received == len(items)
    assert stats.packets_received - stats.packets_duplicate - stats.packets_late == len(unique(arrived))


def test_aiortc(stream: Any, benchmark: Any, arrived: list[bytes]) -> None:
    buffers, rtp = peers.load("aiortc.jitterbuffer"), peers.load("aiortc.rtp")
    items = []
    for framed in workloads.as_rtp(arrived):
        packet = rtp.RtpPacket.parse(framed)
        packet._data = packet.payload  # as its receiver does after taking the codec's descriptor off
        items.append(packet)

    def run(buffer: Any) -> list[Any]:
        out = []
        add = buffer.add
        for packet in items:
            _, frame = add(packet)
            if frame is not None:
                out.append(frame)
        return out

    out = stream(run, lambda: (buffers.JitterBuffer(capacity=16, prefetch=4),), len(items), rounds=10)
    delivered = [frame.data for frame in out]
    benchmark.extra_info["note"] = f"add alone, header already parsed; gives {len(delivered)} of {len(unique(arrived))}"
    wanted = [item[16:] for item in unique(arrived)]
    places = {payload: place for place, payload in enumerate(wanted)}
    order = [places[payload] for payload in delivered]
    assert order == sorted(set(order))  # each once, in order; it keeps the last ones, and drops some after a loss
    assert len(delivered) > 0.7 * len(wanted)


@pytest.mark.benchmark(timer=peers.REPORTED)
@pytest.mark.parametrize("buffer", ["003", "004"])
def test_node(reported: Any, benchmark: Any, arrived: list[bytes], buffer: str) -> None:
    told = buffering(arrived)[f"buffer {buffer}"]
    reported([ns * 1e-9 for ns in told["ns"]], len(arrived))
    benchmark.extra_info["reference"] = True  # it orders nothing, or gives packets again and again
    benchmark.extra_info["note"] = f"the tutorial's buffer as published; gives {told['released']} of {len(arrived)}"
    assert told["pushed"] == len(arrived)
