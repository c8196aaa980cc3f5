"""What does a packet cost from the socket's octets to a cleaned frame, the noise gate included?"""

from __future__ import annotations

from typing import Any

import pytest

import gcmedia
import peers
import workloads
from peers.composition import Composition, NumpyGate
from peers.node import buffering
from ways import as_frames, into_buffer

GROUP = "whole path with a gate"
pytestmark = pytest.mark.benchmark(group=GROUP)
SECONDS = 10


@pytest.fixture(scope="module")
def speech_packets() -> list[bytes]:
    """Ten seconds of speech over noise, 500 packets of PCMU in order."""
    codes = gcmedia.ulaw_encode(workloads.voiced(SECONDS * workloads.SAMPLE_RATE))
    return [workloads.packet(at // 160, at // 8, codes[at : at + 160]) for at in range(0, len(codes), 160)]


def compose(stream: Any, arrived: list[bytes], make: Any) -> None:
    def run(composition: Composition) -> list[Any]:
        out: list[Any] = []
        push, keep = composition.push, out.extend
        for packet in arrived:
            keep(push(packet))
        keep(composition.flush())
        return out

    out = stream(run, lambda: (Composition(make()),), len(arrived), rounds=10)
    assert sum(len(pcm) // 2 for _, pcm, _, _ in out) == SECONDS * workloads.SAMPLE_RATE


def test_gcmedia(stream: Any, speech_packets: list[bytes]) -> None:
    items = list(zip(speech_packets, workloads.arrivals(len(speech_packets)), strict=True))
    out = stream(
        lambda receiver: as_frames(receiver, items), lambda: (gcmedia.Receiver(gate=gcmedia.GateConfig()),), len(items)
    )
    assert sum(frame.n_samples for frame in out) == SECONDS * workloads.SAMPLE_RATE


def test_gcmedia_into_out(stream: Any, benchmark: Any, speech_packets: list[bytes]) -> None:
    items = list(zip(speech_packets, workloads.arrivals(len(speech_packets)), strict=True))
    out = bytearray(200 * 320)
    written = stream(
        lambda receiver: into_buffer(receiver, items, out),
        lambda: (gcmedia.Receiver(gate=gcmedia.GateConfig()),),
        len(items),
    )
    benchmark.extra_info["note"] = "push_into for each packet"
    assert written == SECONDS * workloads.SAMPLE_RATE


def test_speexdsp(stream: Any, benchmark: Any, speech_packets: list[bytes]) -> None:
    speex = peers.load("speexdsp_ns")
    benchmark.extra_info["note"] = "struct, dict, audioop, speexdsp-ns"
    compose(stream, speech_packets, lambda: speex.NoiseSuppression.create(160, 8000).process)


def test_numpy(stream: Any, benchmark: Any, speech_packets: list[bytes]) -> None:
    benchmark.extra_info["note"] = "struct, dict, audioop, numpy.fft"
    compose(stream, speech_packets, NumpyGate)


@pytest.mark.benchmark(group=GROUP, timer=peers.REPORTED)
def test_node(reported: Any, benchmark: Any, speech_packets: list[bytes]) -> None:
    told = buffering(speech_packets)["path with gate"]
    reported([ns * 1e-9 for ns in told["ns"]], len(speech_packets))
    benchmark.extra_info["reference"] = True
    benchmark.extra_info["note"] = "the tutorials' code, less work: each sample alone is turned down"
    assert told["samples"] == 160 * told["released"]
