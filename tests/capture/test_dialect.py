"""The platform media dialect, message by message."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import FormatError, MediaFormat
from gcmedia.dialects.platform_media import (
    Ack,
    Event,
    Failure,
    Malformed,
    Media,
    Packet,
    TranscriptText,
    Unknown,
    negotiated,
    receive,
    subscription,
)

EVENTS = get_args(Event)


def text(**message: object) -> str:
    return json.dumps(message)


# What a server sends


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (b"", Packet(b"")),
        (b"\x01\x02", Packet(b"\x01\x02")),
        (text(type="media", seq=7, timestamp=20, audioData="AAEC"), Media(7, 20, b"\x00\x01\x02")),
        (text(type="media", seq=0, timestamp=-5, audioData=""), Media(0, -5, b"")),
        (text(type="media", seq=2**32 - 1, timestamp=2**62, audioData="AA=="), Media(2**32 - 1, 2**62, b"\x00")),
        (text(type="media", seq=1, timestamp=2, audioData="AAEC", more=[1]), Media(1, 2, b"\x00\x01\x02")),
        (text(type="transcript", timestamp=9, text="hello"), TranscriptText(9, "hello")),
        (text(type="transcript", timestamp=0, text=""), TranscriptText(0, "")),
        (
            text(type="transcript", timestamp=9, text="hello", confidence=0.5, durationMs=70, channel="external"),
            TranscriptText(9, "hello", 0.5, 70, "external"),
        ),
        (text(type="ack"), Ack()),
        (text(type="ack", status="ended", timestamp=99), Ack("ended", 99)),
        (
            text(
                type="ack",
                conversationId="c",
                format="pcmu",
                sampleRate=8000,
                channels=["external", "internal"],
                timestamp=4,
            ),
            Ack(None, 4, "pcmu", 8000, ("external", "internal")),
        ),
        (text(type="ack", channels=2, format=None, sampleRate=None), Ack(channels=2)),
        (text(type="error", status=404, code="not.found", message="gone"), Failure(404, "not.found", "gone")),
        (text(type="error"), Failure()),
        (text(type="telemetry", value=3), Unknown("telemetry")),
        (text(type="x" * 1000), Unknown("x" * 64)),
    ],
)
def test_004_10_each_message_is_read(message: bytes | str, event: Event) -> None:
    assert receive(message) == event


def test_004_10_only_an_acknowledgement_that_says_so_ends_the_call() -> None:
    assert Ack("ended").ended
    assert not Ack().ended
    assert not Ack("subscribed").ended


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        "7",
        "\x00",
        '"media"',
        "{{}}",
        "<html></html>",
        "{}",
        text(type=None),
        text(type=7),
        text(type="media"),
        text(type="media", seq="one", timestamp=None, audioData=7),
        text(type="media", seq=-1, timestamp=0, audioData="AA=="),
        text(type="media", seq=2**32, timestamp=0, audioData="AA=="),
        text(type="media", seq=1.5, timestamp=0, audioData="AA=="),
        text(type="media", seq=True, timestamp=0, audioData="AA=="),
        text(type="media", seq=1, timestamp=2**63, audioData="AA=="),
        text(type="media", seq=1, timestamp=0, audioData="@@@="),
        text(type="media", seq=1, timestamp=0, audioData="AA"),
        text(type="media", seq=1, timestamp=0, audioData="AAEC")[:-4],
        text(type="transcript", text="when?"),
        text(type="transcript", timestamp=0, text=None),
        text(type="transcript", timestamp=0, text="long", durationMs=10**30),
        text(type="transcript", timestamp=0, text="back", durationMs=-1),
        text(type="ack", sampleRate="8000"),
        text(type="ack", channels=True),
        text(type="error", status="503"),
        '{"type": "ack", "timestamp": 1e400}',
        '{"type": "ack", "sampleRate": ' + "9" * 5000 + "}",
        '{"type": "transcript", "timestamp": 1, "text": "\\ud800"}',
        '"\ud800"',
        '{"type": "\ud800"}',
    ],
)
def test_004_10_what_cannot_be_used_is_told_with_its_size(message: str) -> None:
    event = receive(message)
    assert isinstance(event, Malformed)
    assert f"text message of {len(message)} characters" in event.reason


@pytest.mark.parametrize(
    "message",
    ['{"type": "media", "x": ' + "[" * 200_000, '{"a": ' * 200_000, '{"type": "later", "x": ' + "[" * 200_000],
)
def test_004_10_nesting_without_end_is_malformed(message: str) -> None:
    assert isinstance(receive(message), Malformed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = ("seq", "timestamp", "audioData", "text", "confidence", "durationMs", "channel", "status", "format")
messages = st.fixed_dictionaries(
    {"type": st.sampled_from(["media", "transcript", "ack", "error", "other"])},
    optional={
        name: json_values | st.integers(0, 1 << 33) | st.just(b64encode(b"abc").decode())
        for name in (*names, "sampleRate", "channels", "code", "message")
    },
)


@given(st.binary() | st.text() | json_values.map(json.dumps) | messages.map(json.dumps))
def test_004_10_nothing_that_is_sent_raises(message: bytes | str) -> None:
    event = receive(message)
    assert isinstance(event, EVENTS)
    if isinstance(event, Ack):
        with suppress(FormatError):
            assert 8000 <= negotiated(event).sample_rate <= 48_000


@given(st.integers(0, 2**32 - 1), st.integers(-(2**62), 2**62), st.binary(max_size=400))
def test_004_13_media_as_json_is_what_it_was(number: int, timestamp: int, payload: bytes) -> None:
    message = text(type="media", seq=number, timestamp=timestamp, audioData=b64encode(payload).decode())
    assert receive(message) == Media(number, timestamp, payload)


# What is sent


def test_004_12_the_subscription_is_the_published_one() -> None:
    assert json.loads(subscription("c-1")) == {
        "type": "subscribe",
        "conversationId": "c-1",
        "format": "raw",
        "sampleRate": 16000,
    }
    assert "channels" not in json.loads(subscription("c-1", format="pcmu", sample_rate=8000))


def test_004_12_both_parties_apart_are_asked_for_by_a_number() -> None:
    assert json.loads(subscription("c-1", format="pcma", sample_rate=8000, n_channels=2)) == {
        "type": "subscribe",
        "conversationId": "c-1",
        "format": "pcma",
        "sampleRate": 8000,
        "channels": 2,
    }


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_004_12_any_conversation_id_is_quoted(conversation_id: str) -> None:
    assert json.loads(subscription(conversation_id))["conversationId"] == conversation_id


def test_004_12_an_unknown_format_is_not_asked_for() -> None:
    with pytest.raises(FormatError, match="'opus', not one of raw, pcmu, pcma"):
        subscription("c", format="opus")


# What both then mean


@pytest.mark.parametrize(
    ("ack", "asked", "format"),
    [
        (None, {}, MediaFormat("L16LE", 16_000, ("mixed",))),
        (Ack(), {}, MediaFormat("L16LE", 16_000, ("mixed",))),
        (Ack(), {"format": "pcmu", "sample_rate": 8000}, MediaFormat("PCMU", 8000, ("mixed",))),
        (
            None,
            {"format": "pcma", "sample_rate": 8000, "n_channels": 2},
            MediaFormat("PCMA", 8000, ("external", "internal")),
        ),
        (Ack(format="pcmu", sample_rate=8000), {"n_channels": 2}, MediaFormat("PCMU", 8000, ("external", "internal"))),
        (Ack(channels=("agent", "customer")), {"n_channels": 2}, MediaFormat("L16LE", 16_000, ("agent", "customer"))),
        (Ack(channels=("internal",)), {"n_channels": 2}, MediaFormat("L16LE", 16_000, ("internal",))),
        (Ack(channels=1), {"n_channels": 2}, MediaFormat("L16LE", 16_000, ("mixed",))),
    ],
)
def test_004_12_the_server_s_word_goes_before_what_was_asked(
    ack: Ack | None, asked: dict[str, object], format: MediaFormat
) -> None:
    assert negotiated(ack, **asked) == format  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ack", "message"),
    [
        (Ack(format="opus"), "format 'opus'; known are raw, pcmu, pcma"),
        (Ack(format=""), "format ''"),
        (Ack(sample_rate=0), "0 Hz"),
        (Ack(sample_rate=11_025), "11025 Hz; a multiple of 1000"),
        (Ack(sample_rate=96_000), "96000 Hz"),
        (Ack(channels=0), "channels 0; 1 to 8"),
        (Ack(channels=3), "channels 3; 1 to 8"),
        (Ack(channels=()), r"channels \(\); 1 to 8"),
        (Ack(channels=("a", "a")), "different ones"),
        (Ack(channels=tuple("abcdefghi")), "1 to 8"),
        (Ack(channels=("../../etc", "b")), "plain names"),
        (Ack(channels=("a" * 33,)), "plain names"),
        (Ack(channels=("",)), "plain names"),
    ],
)
def test_004_12_a_format_that_cannot_be_used_is_refused_by_name(ack: Ack, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        negotiated(ack)


def test_004_12_a_long_answer_makes_no_long_error() -> None:
    with pytest.raises(FormatError) as caught:
        negotiated(Ack(channels=("x" * 10_000,) * 100))
    assert len(str(caught.value)) < 400
