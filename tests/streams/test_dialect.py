"""The wire format: whatever a server sends becomes an event, and numbers that wrap go on."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import FormatError
from gcmedia.dialects import media_streams as dialect
from gcmedia.dialects.media_streams import (
    Ack,
    Ended,
    Failure,
    Granted,
    Malformed,
    Media,
    Packet,
    SequenceUnwrap,
    TimestampUnwrap,
    Unknown,
    ended_at,
    receive,
)


def packet(**fields: object) -> str:
    whole = {"interactionId": "i", "sequenceNumber": 7, "timestamp": 160, "payload": "AAEC"}
    return json.dumps({**whole, **fields})


def test_003_19_a_packet_is_json_with_base64_in_text_or_binary() -> None:
    expected = Media("i", 7, 160, b"\x00\x01\x02")
    assert receive(packet()) == expected
    assert receive(packet().encode()) == expected
    assert receive(packet(type="media", more=[1, {}])) == expected
    assert receive(packet(codec="opus")) == Media("i", 7, 160, b"\x00\x01\x02", "opus")


@given(
    st.text(min_size=1, max_size=200).filter(lambda name: name.isprintable()),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**62),
    st.binary(max_size=2000),
)
def test_003_19_what_a_server_writes_is_what_is_read(name: str, number: int, time: int, payload: bytes) -> None:
    message = packet(
        interactionId=name, sequenceNumber=number, timestamp=time, payload=base64.b64encode(payload).decode()
    )
    assert receive(message) == Media(name, number, time, payload)


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": "@@@="},
        {"payload": "AAE"},
        {"payload": None},
        {"payload": 7},
        {"sequenceNumber": -1},
        {"sequenceNumber": 2**32},
        {"sequenceNumber": "7"},
        {"sequenceNumber": 7.5},
        {"timestamp": None},
        {"timestamp": -1},
        {"timestamp": 2**63},
    ],
)
def test_003_19_fields_are_checked_and_the_interaction_is_known_all_the_same(fields: dict[str, object]) -> None:
    """003-12: nothing reaches a decoder that is not there."""
    event = receive(packet(**fields))
    assert isinstance(event, Malformed)
    assert event.interaction_id == "i"
    assert "text message of" in event.reason


def test_003_23_an_odd_octet_is_nobody_s_crash() -> None:
    assert receive(packet(payload="AA==")) == Media("i", 7, 160, b"\x00")


@pytest.mark.parametrize("message", ["", "null", "[]", "7", "{", '{"a":', "\x00", "[" * 5000, "\ud800"])
def test_003_36_text_that_is_nothing_is_malformed(message: str) -> None:
    event = receive(message)
    assert isinstance(event, Malformed)
    assert event.interaction_id is None


def test_003_19_binary_that_is_no_json_is_audio_alone() -> None:
    assert receive(b"\xff\x7f\xd5") == Packet(b"\xff\x7f\xd5")
    assert isinstance(receive(b'{"interactionId": 1'), Malformed)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(
                        ["type", "interactionId", "interactions", "payload", "status", "code", "timestamp", "x"]
                    ),
                    inner,
                )
            ),
        ).map(json.dumps),
    )
)
def test_003_36_nothing_that_can_be_sent_raises(message: str | bytes) -> None:
    """003-14: errors never end the host."""
    assert isinstance(receive(message), Media | Packet | Ack | Ended | Failure | Unknown | Malformed)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"status": 400, "code": "mediaNotAvailable"}, Failure((), 400, "mediaNotAvailable")),
        ({"type": "error", "message": "no"}, Failure((), None, None, "no")),
        ({"status": "429", "interactionId": "a"}, Failure(("a",), 429)),
        ({"code": "x", "interactions": [{"interactionId": "a"}, "b", "a", 7, {}]}, Failure(("a", "b"), None, "x")),
        ({"type": "subscribed", "interactions": ["a"]}, Ack((Granted("a"),))),
        (
            {"type": "ack", "interactions": [{"interactionId": "a", "codec": "PCMU", "sampleRate": 8000}]},
            Ack((Granted("a", "PCMU", 8000),)),
        ),
        (
            {"type": "ack", "interactions": [{"interactionId": "a", "code": "mediaNotAvailable"}]},
            Ack((Granted("a", status=400, code="mediaNotAvailable"),)),
        ),
        ({"type": "ended", "interactionId": "a", "timestamp": 5}, Ended("a", 5)),
        ({"type": "weather", "interactionId": "a"}, Unknown("weather")),
    ],
)
def test_003_12_what_is_no_packet_is_read_before_it_is_taken_for_one(message: object, expected: object) -> None:
    assert receive(json.dumps(message)) == expected


@pytest.mark.parametrize("message", [{"type": "ended"}, {"type": "ack"}, {"type": "ack", "interactions": [7]}, {}])
def test_003_12_a_message_without_what_it_must_have_is_malformed(message: object) -> None:
    assert isinstance(receive(json.dumps(message)), Malformed)


def test_003_28_numbers_of_16_bits_go_on_over_the_wrap() -> None:
    unwrap = SequenceUnwrap()
    assert [unwrap(number) for number in (65_533, 65_535, 65_534, 0, 65_535, 2, 1)] == [
        65_533, 65_535, 65_534, 65_536, 65_535, 65_538, 65_537,
    ]  # fmt: skip
    assert unwrap.wire(65_538) == 2


def test_003_28_a_number_from_nowhere_does_not_move_the_stream() -> None:
    unwrap = SequenceUnwrap()
    assert [unwrap(number) for number in (65_530, 30_000, 65_535, 0)] == [65_530, 30_000, 65_535, 65_536]


def test_003_28_a_sender_that_begins_anew_is_followed() -> None:
    unwrap = SequenceUnwrap()
    assert [unwrap(number) for number in (40_000, 10, 11, 12)] == [40_000, 10, 11, 12]


def test_003_28_a_number_beyond_16_bits_shows_a_wider_counter() -> None:
    unwrap = SequenceUnwrap()
    assert [unwrap(number) for number in (65_534, 65_535, 65_536, 65_537, 3)] == [65_534, 65_535, 65_536, 65_537, 3]
    assert unwrap.wire(65_537) == 65_537


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-5, 2000), max_size=200))
def test_003_28_any_walk_is_unwrapped_as_it_was_walked(start: int, steps: list[int]) -> None:
    unwrap, true, highest = SequenceUnwrap(), start, start
    assert unwrap(start) == start
    for step in steps:
        true = max(true, highest) + step
        highest = max(highest, true)
        assert unwrap(true & 0xFFFF) == true & 0xFFFFFFFF


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-100_000, 2**30), max_size=100))
def test_003_18_timestamps_go_on_over_the_wrap(start: int, steps: list[int]) -> None:
    unwrap, highest = TimestampUnwrap(), start
    assert unwrap(start) == start
    for step in steps:
        true = highest + step
        assert unwrap(true & 0xFFFFFFFF) == true
        assert unwrap.wire(true) == true & 0xFFFFFFFF
        highest = max(highest, true)


def test_003_18_timestamps_that_are_no_rtp_are_left_alone() -> None:
    unwrap = TimestampUnwrap()
    assert [unwrap(time) for time in (1_700_000_000_000, 1_700_000_000_020, 5)] == [
        1_700_000_000_000, 1_700_000_000_020, 5,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("conversation", "end"),
    [
        ({"endTime": "2026-01-01T00:00:10.500Z"}, 1_767_225_610.5),
        ({"endTime": "2026-01-01T01:00:10+01:00"}, 1_767_225_610.0),
        ({"endTime": None, "participants": []}, None),
        ({"participants": [{"endTime": "2026-01-01T00:00:10Z"}, {"endTime": "2026-01-01T00:00:12Z"}]}, 1_767_225_612.0),
        ({"participants": [{"endTime": "2026-01-01T00:00:10Z"}, {}]}, None),
        ({"media": [{"endTime": "2026-01-01T00:00:10Z"}]}, None),
        ({}, None),
    ],
)
def test_003_10_the_end_is_that_of_the_conversation_or_of_its_last_participant(
    conversation: object, end: float | None
) -> None:
    assert ended_at(json.dumps(conversation).encode()) == end


@pytest.mark.parametrize("body", [b"", b"[]", b'{"endTime": "yesterday"}', b'{"participants": [{"endTime": 7}]}'])
def test_003_10_a_description_that_cannot_be_read_says_so(body: bytes) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        ended_at(body)


@pytest.mark.parametrize(("name", "codec"), [("PCMU", "pcmu"), ("opus", "opus"), ("Pcma", "pcma")])
def test_003_24_codecs_are_known_by_any_spelling(name: str, codec: str) -> None:
    assert dialect.codec_of(name) == codec


def test_003_24_a_codec_or_rate_that_is_not_known_is_an_error_that_lists_what_is() -> None:
    with pytest.raises(FormatError, match="'g729'; known are pcmu, pcma, opus"):
        dialect.codec_of("g729")
    with pytest.raises(FormatError, match="pcmu at 16000 Hz; 8000 Hz"):
        dialect.format_of("pcmu", 16_000)
