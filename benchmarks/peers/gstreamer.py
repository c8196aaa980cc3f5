"""GStreamer's chain over packets in a file: rtpjitterbuffer, depayloader, decoder, level; by gst-launch-1.0."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from . import program

# With no latency nothing waits on the clock; what comes late by less than a packet's place in the file is in time.
CHAIN = "rtpjitterbuffer latency=0 ! rtppcmudepay ! mulawdec ! level post-messages=false"
CAPS = "application/x-rtp-stream,media=audio,clock-rate=8000,encoding-name=PCMU,payload=0"
HEAD = struct.Struct(">HI")  # sequence number and timestamp


def seconds(packets: list[bytes], times: int, sink: str = "fakesink sync=false") -> float:
    """How long one process takes for all of it; RFC 4571 framing, sequence numbers and timestamps going on."""
    numbers = [HEAD.unpack_from(packet, 2)[0] for packet in packets]
    with tempfile.NamedTemporaryFile(suffix=".rtp") as file:
        for before in range(0, times * (max(numbers) + 1), max(numbers) + 1):
            for packet, number in zip(packets, numbers, strict=True):
                number += before
                head = packet[:2] + HEAD.pack(number & 0xFFFF, 160 * number & 0xFFFFFFFF)
                file.write(struct.pack(">H", len(packet)) + head + packet[8:])
        file.flush()
        elements = f"filesrc location={file.name} ! {CAPS} ! rtpstreamdepay ! {CHAIN} ! {sink}"
        begin = time.perf_counter()
        done = subprocess.run(
            [program("gstreamer"), "-q", *elements.split()], capture_output=True, text=True, timeout=120, check=False
        )
        taken = time.perf_counter() - begin
    if done.returncode:
        pytest.skip(f"gstreamer cannot run the chain: {done.stderr.strip().splitlines()[-1:]}")
    return taken


def heard(packets: list[bytes]) -> bytes:
    """The samples that come out of the chain."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "heard.raw"
        seconds(packets, 1, f"filesink location={out}")
        return out.read_bytes()


def path_ns(packets: list[bytes], rounds: int = 5) -> list[float]:
    """Nanoseconds a packet, from the difference of a long and a short run, so that start-up falls out."""
    few, many = 2, 42
    return [(seconds(packets, many) - seconds(packets, few)) / (many - few) / len(packets) * 1e9 for _ in range(rounds)]
