"""Seeded workloads: the same octets in every run, shaped like a call."""

from __future__ import annotations

import base64
import json
import math
import random
import struct
from array import array

SAMPLE_RATE = 8000  # Hz
FRAME = 160  # samples: 20 ms at 8 kHz
PACKET_S = 0.02
MINUTE = 3000  # packets
SEED = 20240607

HEADER = struct.Struct("<I4xq")  # padded16: u32 sequence number, 4 octets of padding, i64 timestamp in ms
INTERACTION = "0f3c1f8e-5b7a-4a6e-9d51-2f6f0b7f3a11"
RTP = struct.Struct(">BBHII")  # RFC 3550 5.1, without contributing sources


def voiced(n_samples: int, seed: int = SEED) -> array[int]:
    """Synthesise something with the levels of speech: gliding harmonics in bursts, noise at -54 dBov under them."""
    rng = random.Random(seed)
    samples = array("h", bytes(2 * n_samples))
    phase = 0.0
    for position in range(n_samples):
        seconds = position / SAMPLE_RATE
        loud = max(0.0, math.sin(2 * math.pi * 0.7 * seconds)) ** 0.5
        phase += 2 * math.pi * (140 + 40 * math.sin(2 * math.pi * 0.9 * seconds)) / SAMPLE_RATE
        tone = sum(math.sin(k * phase) / k for k in (1, 2, 3, 5, 8))
        samples[position] = max(-32768, min(32767, round(4200 * loud * tone + rng.gauss(0, 65))))
    return samples


def noise(n_samples: int, rms: float = 400.0, seed: int = SEED) -> array[int]:
    """White noise."""
    rng = random.Random(seed)
    return array("h", [max(-32768, min(32767, round(rng.gauss(0, rms)))) for _ in range(n_samples)])


def packet(sequence_number: int, timestamp: int, payload: bytes) -> bytes:
    """Frame ``payload`` in the ``padded16`` layout."""
    return HEADER.pack(sequence_number, timestamp) + payload


def in_order(n_packets: int = MINUTE, seed: int = SEED) -> list[bytes]:
    """PCMU packets of 20 ms, none missing; every code as likely."""
    rng = random.Random(seed)
    return [packet(number, 20 * number, rng.randbytes(FRAME)) for number in range(n_packets)]


def roughen(packets: list[bytes], share: float = 0.01, seed: int = SEED + 1) -> list[bytes]:
    """The same packets over a bad network: of each 100, one lost, one twice, one up to four places late."""
    rng = random.Random(seed)
    arrivals: list[tuple[float, bytes]] = []
    for place, item in enumerate(packets):
        if rng.random() < share:
            continue
        arrivals.append((place + (rng.uniform(1, 4) if rng.random() < share else 0), item))
        if rng.random() < share:
            arrivals.append((place + 0.5, item))
    arrivals.sort(key=lambda arrival: arrival[0])
    return [item for _, item in arrivals]


def as_rtp(packets: list[bytes]) -> list[bytes]:
    """The same packets with an RTP header: 16 bits of sequence number, timestamps in samples."""
    framed = []
    for item in packets:
        number, timestamp = HEADER.unpack_from(item)
        header = RTP.pack(0x80, 0, number & 0xFFFF, timestamp * SAMPLE_RATE // 1000 & 0xFFFFFFFF, 1)
        framed.append(header + item[HEADER.size :])
    return framed


def as_streams(packets: list[bytes]) -> list[str]:
    """The same packets as the media streams socket sends them: JSON, audio in base64, timestamps in samples."""
    messages = []
    for item in packets:
        number, timestamp = HEADER.unpack_from(item)
        packet = {
            "interactionId": INTERACTION,
            "sequenceNumber": number & 0xFFFF,
            "timestamp": timestamp * SAMPLE_RATE // 1000 & 0xFFFFFFFF,
            "payload": base64.b64encode(item[HEADER.size :]).decode(),
        }
        messages.append(json.dumps(packet))
    return messages


def arrivals(n_packets: int) -> list[float]:
    """When they come, in seconds: one every 20 ms."""
    return [place * PACKET_S for place in range(n_packets)]
