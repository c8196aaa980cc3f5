"""What does it cost to read one packet of the media streams socket: JSON, its audio in base64, fields checked?"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

import workloads
from gcmedia.dialects.media_streams import Media, receive

pytestmark = pytest.mark.benchmark(group="read a JSON packet")


@pytest.fixture
def message(packets: list[bytes]) -> str:
    return workloads.as_streams(packets[:1])[0]


@pytest.fixture
def expected(packets: list[bytes]) -> bytes:
    return packets[0][workloads.HEADER.size :]


def test_gcmedia(thousand: Any, message: str, expected: bytes) -> None:
    event = thousand(receive, message)
    assert isinstance(event, Media)
    assert (event.interaction_id, event.sequence_number, event.payload) == (workloads.INTERACTION, 0, expected)


def test_json(thousand: Any, benchmark: Any, message: str, expected: bytes) -> None:
    loads, decode = json.loads, base64.b64decode

    def read(text: str) -> tuple[str, int, int, bytes]:
        packet = loads(text)
        return (
            packet["interactionId"], packet["sequenceNumber"], packet["timestamp"],
            decode(packet["payload"], validate=True),
        )  # fmt: skip

    benchmark.extra_info["note"] = "json and base64; fields are not checked"
    assert thousand(read, message) == (workloads.INTERACTION, 0, 0, expected)


def test_msgspec(thousand: Any, benchmark: Any, message: str, expected: bytes) -> None:
    import msgspec

    loads, decode = msgspec.json.decode, base64.b64decode

    def read(text: str) -> tuple[str, int, int, bytes]:
        packet = loads(text)
        return (
            packet["interactionId"], packet["sequenceNumber"], packet["timestamp"],
            decode(packet["payload"], validate=True),
        )  # fmt: skip

    benchmark.extra_info["note"] = "msgspec without types, and base64; fields are not checked"
    assert thousand(read, message) == (workloads.INTERACTION, 0, 0, expected)
