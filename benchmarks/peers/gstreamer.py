"""GStreamer's chain over packets in a file: rtpjitterbuffer, depayloader, decoder, level; by gst-launch-1.0."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import time

import pytest

from . import program

CHAIN = "rtpjitterbuffer latency=0 ! rtppcmudepay ! mulawdec ! level post-messages=false ! fakesink sync=false"
CAPS = "application/x-rtp-stream,media=audio,clock-rate=8000,encoding-name=PCMU,payload=0"


def seconds(gst_launch: str, packets: list[bytes], times: int) -> float:
    """How long one process takes for all of it; RFC 4571 framing, sequence numbers going on."""
    with tempfile.NamedTemporaryFile(suffix=".rtp") as file:
        number = 0
        for _ in range(times):
            for packet in packets:
                head = packet[:2] + struct.pack(">HI", number & 0xFFFF, 160 * number & 0xFFFFFFFF) + packet[8:12]
                file.write(struct.pack(">H", len(packet)) + head + packet[12:])
                number += 1
        file.flush()
        command = f"{gst_launch} -q filesrc location={file.name} ! {CAPS} ! rtpstreamdepay ! {CHAIN}".split()
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        taken = time.perf_counter() - begin
    if done.returncode:
        pytest.skip(f"gstreamer cannot run the chain: {done.stderr.strip().splitlines()[-1:]}")
    return taken


def path_ns(packets: list[bytes], rounds: int = 5) -> list[float]:
    """Nanoseconds a packet, from the difference of a long and a short run, so that start-up falls out."""
    gst_launch = program("gstreamer")
    few, many = 2, 42
    return [
        (seconds(gst_launch, packets, many) - seconds(gst_launch, packets, few)) / (many - few) / len(packets) * 1e9
        for _ in range(rounds)
    ]
