"""A Genesys Cloud on loopback: a real HTTP and WebSocket server, with faults to order, to test captures with.

::

    async with Simulator({"conv-1": Call.demo()}, Faults.bad_network(seed=7), speed=8.0) as cloud:
        ...                                # capture from cloud.base_url and cloud.media_url
        print(cloud.truth("conv-1"))       # what was really sent

``docs/platform-media.md`` is the wire format, ``docs/media-streams.md`` that of the socket for many interactions.
"""

from .agents import AgentLeg, Agents, LegChange, LegRefusal, LegWatch, MuteFaults
from .api_faults import ApiFaults
from .calls import Call, Utterance
from .faults import MALFORMED_KINDS, Disconnect, Faults, Jump, Span
from .journal import Connection, HttpExchange, Journal, Record, SaidLine, Truth, TruthHole
from .server import Simulator, serve_forever
from .streams_plan import StreamsPlan

__all__ = [
    "MALFORMED_KINDS",
    "AgentLeg",
    "Agents",
    "ApiFaults",
    "Call",
    "Connection",
    "Disconnect",
    "Faults",
    "HttpExchange",
    "Journal",
    "Jump",
    "LegChange",
    "LegRefusal",
    "LegWatch",
    "MuteFaults",
    "Record",
    "SaidLine",
    "Simulator",
    "Span",
    "StreamsPlan",
    "Truth",
    "TruthHole",
    "Utterance",
    "serve_forever",
]
