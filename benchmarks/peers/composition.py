"""The whole path glued together: struct, a dictionary, audioop and numpy, as one writes it without gcmedia.

It does no more than it must: no statistics but counts, no timeline across restarts, holes filled with silence.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import numpy as np

from . import load

HEADER_SIZE = 16
DEPTH = 5  # packets in hand, gcmedia's default
SILENT = 0.01 * 32768  # rms
Process = Callable[[bytes], Any]


Block = tuple[int, Any, bool, bool]  # position, samples as bytes or array, silent, concealed


class Composition:
    """Order, decode and measure the packets of one stream; `process` cleans each frame, int16 in bytes."""

    def __init__(self, process: Process | None = None) -> None:
        audioop = load("audioop")
        self.decode, self.rms = audioop.ulaw2lin, audioop.rms
        self.header = Struct("<I4xq").unpack_from
        self.process = process
        self.waiting: dict[int, bytes] = {}
        self.next = self.newest = -1
        self.position = 0
        self.lost = self.late = self.duplicate = 0

    def push(self, packet: bytes) -> list[Block]:
        number, _timestamp = self.header(packet)
        following = self.next
        if following < 0:
            following = self.next = number
            self.newest = number - 1
        if number < following:
            self.late += 1
            return []
        waiting = self.waiting
        if number in waiting:
            self.duplicate += 1
            return []
        waiting[number] = packet
        if number > self.newest:
            self.newest = number
        blocks = []
        while self.newest - self.next >= DEPTH:
            blocks.append(self.release())
        return blocks

    def release(self) -> Block:
        packet = self.waiting.pop(self.next, None)
        self.next += 1
        if packet is None:
            self.lost += 1
            pcm = bytes(320)
        else:
            pcm = self.decode(packet[HEADER_SIZE:], 2)
        silent = self.rms(pcm, 2) < SILENT
        if self.process is not None:
            pcm = self.process(pcm)
        position = self.position
        self.position = position + 160
        return position, pcm, silent, packet is None

    def flush(self) -> list[Block]:
        return [self.release() for _ in range(self.newest - self.next + 1)]


class NumpyGate:
    """A short-time Fourier gate in numpy: windows of 40 ms every 20 ms, bins under the floor turned down."""

    def __init__(self, floor_db: float = -45.0, reduction_db: float = 20.0) -> None:
        self.window = np.sqrt(np.hanning(321)[:320]).astype(np.float32)
        self.before = np.zeros(160, np.float32)
        self.tail = np.zeros(160, np.float32)
        self.floor = 10 ** (floor_db / 20) * 32768 * self.window.sum() / 2
        self.reduction = 10 ** (-reduction_db / 20)

    def __call__(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, np.int16).astype(np.float32)
        spectrum = np.fft.rfft(np.concatenate((self.before, samples)) * self.window)
        self.before = samples
        spectrum *= np.where(np.abs(spectrum) < self.floor, self.reduction, 1.0)
        sound = np.fft.irfft(spectrum).astype(np.float32) * self.window
        out = sound[:160] + self.tail
        self.tail = sound[160:]
        return np.clip(out, -32768, 32767).astype(np.int16).tobytes()


def numpy_compressor(threshold_db: float = -24.0, ratio: float = 12.0) -> Process:
    """Hard knee, one gain for each millisecond with attack and release: what numpy can do without a loop per sample."""
    gain_db = 0.0

    def process(pcm: bytes) -> bytes:
        nonlocal gain_db
        samples = np.frombuffer(pcm, np.int16).astype(np.float32).reshape(20, 8)
        level = 20 * np.log10(np.maximum(np.abs(samples).max(axis=1) / 32768, 1e-6))
        wanted = np.minimum(0.0, (threshold_db - level) * (1 - 1 / ratio))
        gains = np.empty(20, np.float32)
        for place, goal in enumerate(wanted.tolist()):
            gain_db += (goal - gain_db) * (0.283 if goal < gain_db else 0.004)
            gains[place] = gain_db
        samples *= (10 ** (gains / 20))[:, None]
        return samples.astype(np.int16).tobytes()

    return process
