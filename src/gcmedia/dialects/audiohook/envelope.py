"""The frame of every text message: version, type, id, counters, position, parameters."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from ...errors import RemoteProtocolError

__all__ = [
    "MAX_QUOTE",
    "VERSION",
    "ClientEnvelope",
    "ServerEnvelope",
    "compose",
    "is_uuid",
    "read_client",
    "read_server",
]

VERSION = "2"
MAX_QUOTE = 64  # characters of the peer's text in a message of ours

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
Counter = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_NO_PARAMETERS: dict[str, Any] = {}


class ClientEnvelope(msgspec.Struct):
    """A message of the client."""

    version: str
    type: str
    id: str
    seq: Counter
    serverseq: Counter
    position: Any = None
    parameters: Any = None


class ServerEnvelope(msgspec.Struct):
    """A message of the server."""

    version: str
    type: str
    id: str
    seq: Counter
    clientseq: Counter
    parameters: Any = None


_read_client = msgspec.json.Decoder(ClientEnvelope).decode
_read_server = msgspec.json.Decoder(ServerEnvelope).decode
_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)  # ValidationError is a DecodeError


def is_uuid(text: object) -> bool:
    """Whether it has the form of a UUID, of any version."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def read_client(text: str | bytes) -> ClientEnvelope:
    """Read a message of the client.

    Raises
    ------
    RemoteProtocolError
        If it is no message at all; with status 400.
    """
    try:
        return _read_client(text)
    except _UNREADABLE as error:
        raise RemoteProtocolError(f"text message of {len(text)} cannot be read: {error}", status=400) from None


def read_server(text: str | bytes) -> ServerEnvelope:
    """Read a message of the server; see `read_client`."""
    try:
        return _read_server(text)
    except _UNREADABLE as error:
        raise RemoteProtocolError(f"text message of {len(text)} cannot be read: {error}", status=400) from None


def compose(
    type_: str, id_: str, seq: int, ack: int, parameters: dict[str, Any] = _NO_PARAMETERS, position: str | None = None
) -> str:
    """Write a message: of the client with a position, of the server without."""
    message: dict[str, Any] = {"version": VERSION, "type": type_, "id": id_, "seq": seq}
    if position is None:
        message["clientseq"] = ack
    else:
        message["serverseq"] = ack
        message["position"] = position
    message["parameters"] = parameters
    return _encode(message).decode()
