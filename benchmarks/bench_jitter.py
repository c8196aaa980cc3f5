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


def test_gcmedia_receiver(benchmark: Any, arrived: list[bytes]) -> None:
    """`Receiver.push` alone: header, sequence, jitter buffer and timeline in one call.

    The ring is so large that nothing is decoded ahead; between the rounds, untimed, the frames are taken and the next
    packets made, so that they lie in the cache as they do when they have just been received.
    """
    rounds, batch = 40, 240  # packets; fewer than a quarter of the slots
    packets = workloads.in_order(rounds * batch)
    packets = packets if "in order" in benchmark.group else workloads.roughen(packets)
    receiver = gcmedia.Receiver(jitter=gcmedia.JitterConfig(slots=1024))
    batches = [packets[at : at + batch] for at in range(0, len(packets) - batch + 1, batch)]
    following = iter(batches)

    def setup() -> tuple[tuple[list[bytes]], dict[str, Any]]:
        for _ in receiver.frames(0.0):
            pass
        return ([bytes(bytearray(packet)) for packet in next(following)],), {}

    def run(arrived: list[bytes]) -> None:
        push = receiver.push
        for packet in arrived:
            push(packet, 0.0)

    benchmark.extra_info["calls"] = batch
    benchmark.extra_info["note"] = "header and timeline too, in one call"
    benchmark.pedantic(run, setup=setup, rounds=len(batches) - 6, warmup_rounds=6)
    stats = receiver.stats()
    assert stats.packets_received == batch * len(batches)
    assert stats.packets_refused == stats.packets_discarded == stats.overruns == 0
    unheard = stats.packets_duplicate + stats.packets_late
    assert stats.packets_received - unheard == len(set(packets[: batch * len(batches)]))


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
