"""What does a packet cost from the socket's octets to an ordered, decoded, measured frame, all but the gate?"""

from __future__ import annotations

import zlib
from typing import Any

import pytest

import gcmedia
import peers
import workloads
from peers import gstreamer
from peers.composition import Composition
from peers.node import buffering
from ways import as_frames, into_buffer


@pytest.fixture(params=["in order", "1 % lost, twice, late"])
def arrived(request: pytest.FixtureRequest, benchmark: Any, packets: list[bytes], rough_packets: list[bytes]) -> Any:
    benchmark.group = f"whole path, {request.param}"
    return packets if request.param == "in order" else rough_packets


def numbered(arrived: list[bytes]) -> list[tuple[bytes, float]]:
    return list(zip(arrived, workloads.arrivals(len(arrived)), strict=True))


@pytest.fixture
def expected(arrived: list[bytes]) -> int:
    """CRC of the minute as gcmedia plays it, holes as silence; with the composition's it is one sum."""
    return zlib.crc32(b"".join(bytes(frame.raw) for frame in play(gcmedia.Receiver(conceal="silence"), arrived)))


def play(receiver: gcmedia.Receiver, arrived: list[bytes]) -> list[gcmedia.Frame]:
    out: list[gcmedia.Frame] = []
    for packet, now in numbered(arrived):
        receiver.push(packet, now)
        out.extend(receiver.frames(now))
    receiver.flush()
    out.extend(receiver.frames(60.0))
    return out


def test_gcmedia(stream: Any, benchmark: Any, arrived: list[bytes], expected: int) -> None:
    items = numbered(arrived)
    out = stream(
        lambda receiver: as_frames(receiver, items), lambda: (gcmedia.Receiver(conceal="silence"),), len(items)
    )
    benchmark.extra_info["note"] = "push and frames for each packet; frames as objects"
    assert zlib.crc32(b"".join(bytes(frame.raw) for frame in out)) == expected


def test_gcmedia_into_out(stream: Any, benchmark: Any, arrived: list[bytes], expected: int) -> None:
    items = numbered(arrived)
    out = bytearray(200 * 320)
    written = stream(
        lambda receiver: into_buffer(receiver, items, out), lambda: (gcmedia.Receiver(conceal="silence"),), len(items)
    )
    benchmark.extra_info["note"] = "push_into for each packet"

    receiver: Any = gcmedia.Receiver(conceal="silence")
    heard = [bytes(out[: 2 * receiver.push_into(packet, now, out)]) for packet, now in items]
    receiver.flush()
    heard.append(bytes(out[: 2 * receiver.read_into(out, 60.0)]))
    assert zlib.crc32(b"".join(heard)) == expected
    assert 2 * written == sum(map(len, heard))


def test_gcmedia_batches(stream: Any, benchmark: Any, arrived: list[bytes], expected: int) -> None:
    """Ten packets at a time, as a socket gives them after a stall."""
    batches = [(arrived[at : at + 10], 0.02 * (at + 10)) for at in range(0, len(arrived), 10)]
    out = stream(
        lambda receiver: as_frames(receiver, batches, batches=True),
        lambda: (gcmedia.Receiver(conceal="silence"),),
        len(arrived),
    )
    benchmark.extra_info["note"] = "push_many of ten, then frames"
    assert zlib.crc32(b"".join(bytes(frame.raw) for frame in out)) == expected


def test_composition(stream: Any, benchmark: Any, arrived: list[bytes], expected: int) -> None:
    def run(composition: Composition) -> list[Any]:
        out: list[Any] = []
        push, keep = composition.push, out.extend
        for packet in arrived:
            keep(push(packet))
        keep(composition.flush())
        return out

    out = stream(run, lambda: (Composition(),), len(arrived))
    benchmark.extra_info["note"] = "struct, dict, audioop"
    assert zlib.crc32(b"".join(pcm for _, pcm, _, _ in out)) == expected


@pytest.mark.benchmark(timer=peers.REPORTED)
def test_node(reported: Any, benchmark: Any, arrived: list[bytes]) -> None:
    told = buffering(arrived)["path"]
    reported([ns * 1e-9 for ns in told["ns"]], len(arrived))
    benchmark.extra_info["note"] = f"the tutorials' code up to silence; plays {told['released']} of {len(arrived)}"
    assert told["pushed"] == len(arrived)
    assert told["samples"] == 160 * told["released"]


@pytest.mark.benchmark(timer=peers.REPORTED)
def test_gstreamer(reported: Any, benchmark: Any, arrived: list[bytes]) -> None:
    packets = workloads.as_rtp(arrived)
    distinct = {workloads.RTP.unpack_from(packet)[2]: packet[workloads.RTP.size :] for packet in packets}
    in_order = b"".join(distinct[number] for number in sorted(distinct))
    assert gstreamer.heard(packets) == bytes(gcmedia.ulaw_decode(in_order))
    reported([ns * 1e-9 * len(arrived) for ns in gstreamer.path_ns(packets)], len(arrived))
    benchmark.extra_info["note"] = "rtpjitterbuffer, rtppcmudepay, mulawdec, level; start-up taken off"
