"""FFmpeg's filters through PyAV, 20 ms at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import load


class AvFilter:
    """One filter of FFmpeg; gives what has come out of it since the last call."""

    def __init__(self, name: str, arguments: str) -> None:
        self.av = load("av")
        self.graph = self.av.filter.Graph()
        nodes = [
            self.graph.add_abuffer(format="s16", sample_rate=8000, layout="mono", time_base="1/8000"),
            self.graph.add(name, arguments),
            self.graph.add("aformat", "sample_fmts=s16"),
            self.graph.add("abuffersink"),
        ]
        self.graph.link_nodes(*nodes).configure()
        self.position = 0

    def __call__(self, pcm: bytes) -> bytes:
        frame = self.av.AudioFrame.from_ndarray(np.frombuffer(pcm, np.int16).reshape(1, -1), layout="mono")
        frame.sample_rate = 8000
        frame.pts = self.position
        self.position += frame.samples
        self.graph.push(frame)
        return self.pull()

    def pull(self) -> bytes:
        pieces = []
        while True:
            try:
                found: Any = self.graph.pull()
            except (self.av.BlockingIOError, self.av.EOFError):
                return b"".join(pieces)
            pieces.append(bytes(found.planes[0])[: 2 * found.samples])

    def flush(self) -> bytes:
        self.graph.push(None)
        return self.pull()
