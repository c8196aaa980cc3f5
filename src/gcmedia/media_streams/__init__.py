"""Capture many interactions over few sockets: the media streams dialect.

::

    async with capture_streams(["id-1", "id-2"], record_to="calls/") as streams:
        async for frame in streams:           # speech of all of them, 20 ms each
            feeds[frame.interaction_id].write(frame.payload)

``docs/media-streams.md`` tells the rest.
"""

from .events import MediaFrame, MetadataSync, Rates, Throughput
from .stream import MediaStream
from .streams import MediaStreams, capture_streams

__all__ = [
    "MediaFrame",
    "MediaStream",
    "MediaStreams",
    "MetadataSync",
    "Rates",
    "Throughput",
    "capture_streams",
]
