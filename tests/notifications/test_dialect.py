"""Messages of the notification socket, read; and what one socket owes by the clock."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia.dialects import notifications as dialect
from gcmedia.dialects.conversations import Conversation
from gcmedia.dialects.notifications import (
    Heartbeat,
    Malformed,
    NoLongerSubscribed,
    Notification,
    Overlap,
    Pong,
    Reply,
    SocketClosing,
    SocketState,
    TokenRevoked,
    Transcription,
    Unknown,
    UtteranceLog,
    pinned,
    receive,
    utterances,
)


def envelope(topic: str, body: Any, **more: Any) -> str:
    return json.dumps({"topicName": topic, "version": "2", "eventBody": body, **more})


@pytest.mark.parametrize(
    ("message", "event"),
    [
        pytest.param(envelope("channel.metadata", {"message": "WebSocket Heartbeat"}), Heartbeat(), id="heartbeat"),
        pytest.param(envelope("channel.metadata", {"message": "pong"}), Pong(), id="pong"),
        pytest.param(envelope("channel.metadata", {"message": "new"}), Unknown("channel.metadata"), id="metadata"),
        pytest.param(envelope("channel.metadata", None), Unknown("channel.metadata"), id="metadata-null"),
        pytest.param(envelope("v2.system.socket_closing", {"message": "soon"}), SocketClosing(), id="closing"),
        pytest.param(envelope("v2.system.socket_closing", 7), SocketClosing(), id="closing-odd"),
        pytest.param(
            envelope("v2.system.no_longer_subscribed.t", {"reason": "another_channel_subscribed"}),
            NoLongerSubscribed("t", "another_channel_subscribed"),
            id="taken",
        ),
        pytest.param(
            envelope("v2.system.token_revoked.c", {"channelId": "c", "reason": "user_tokens_revoked"}),
            TokenRevoked("user_tokens_revoked"),
            id="revoked",
        ),
        pytest.param(envelope("v2.system.token_revoked.c", {"reason": 7}), TokenRevoked(), id="revoked-odd"),
        pytest.param(envelope("v2.system.brand_new", {}), Unknown("v2.system.brand_new"), id="system"),
        pytest.param('{"result":"200","status":"subscribed","correlationId":"x"}', Reply("200", "subscribed"), id="ok"),
        pytest.param('{"result":404,"status":"failure"}', Reply("404", "failure"), id="no"),
    ],
)
def test_what_the_server_says_about_the_channel(message: str, event: dialect.Event) -> None:
    assert receive(message) == event
    assert receive(message.encode()) == event


def test_both_shapes_of_a_conversation_are_read() -> None:
    flat = receive(
        envelope(
            "v2.users.u.conversations.calls",
            {"id": "c", "participants": [{"id": "p", "user": {"id": "u"}, "state": "connected", "muted": True}]},
            metadata={"CorrelationId": "abc"},
        )
    )
    call = {"id": "x", "state": "connected", "muted": True}
    nested = receive(
        envelope("v2.users.u.conversations", {"id": "c", "participants": [{"id": "p", "userId": "u", "calls": [call]}]})
    )
    assert isinstance(flat, Notification)
    assert isinstance(flat.body, Conversation)
    assert flat.correlation_id == "abc"
    (participant,) = flat.body.participants or []
    assert (participant.agent, participant.state, participant.muted) == ("u", "connected", True)
    assert isinstance(nested, Notification)
    assert isinstance(nested.body, Conversation)
    (participant,) = nested.body.participants or []
    inner = participant.call()
    assert inner is not None
    assert (participant.agent, inner.state, inner.muted) == ("u", "connected", True)


def test_other_topics_are_handed_on_as_they_came() -> None:
    event = receive(envelope("v2.users.u.conversationsummary", {"call": {"contactCenter": {"active": 1}}}))
    assert isinstance(event, Notification)
    assert isinstance(event.body, msgspec.Raw)
    assert msgspec.json.decode(event.body) == {"call": {"contactCenter": {"active": 1}}}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"topicName":7}',
        pytest.param("[" * 100_000, id="deep-list"),
        pytest.param('{"a":' * 50_000, id="deep-object"),
        pytest.param("\ud800", id="surrogate"),
        b"\xff\xfe",
        envelope("v2.users.u.conversations", {"id": 1}),
        envelope("v2.users.u.conversations", None),
        envelope("v2.users.u.conversations.calls", {"id": "c", "participants": [{"muted": "CANARY"}]}),
        envelope("v2.conversations.c.transcription", {"transcripts": [{"isFinal": "CANARY"}]}),
        '{"topicName":"v2.conversations.c.transcription","eventBody":{"sessionStartTimeMs":1e999}}',
    ],
)
def test_what_cannot_be_read_is_an_event_with_a_reason_and_without_the_content(message: str | bytes) -> None:
    event = receive(message)
    assert isinstance(event, Malformed)
    assert event.reason
    assert "CANARY" not in repr(event)


def test_no_repr_shows_who_called_or_what_was_said() -> None:
    participant = {"id": "p", "name": "CANARY", "ani": "CANARY", "address": "CANARY"}
    conversation = receive(envelope("v2.users.u.conversations", {"id": "c", "participants": [participant]}))
    assert "CANARY" not in repr(conversation)
    assert isinstance(conversation, Notification)
    assert "CANARY" not in repr(conversation.body)
    said = {"transcript": "CANARY", "decoratedTranscript": "CANARY", "words": [{"word": "CANARY", "offsetMs": 1}]}
    event = receive(
        envelope("v2.conversations.c.transcription", {"transcripts": [{"utteranceId": "u", "alternatives": [said]}]})
    )
    assert isinstance(event, Notification)
    assert isinstance(event.body, Transcription)
    (utterance,) = utterances(event.body)
    assert utterance.text == "CANARY"
    assert "CANARY" not in f"{event}{event.body}{utterance}{utterance.words}"


CONVERSATION_FIELDS = ["id", "participants", "calls", "user", "userId", "muted", "state", "startTime", "message"]
TRANSCRIPT_FIELDS = ["transcripts", "alternatives", "words", "offsetMs", "utteranceId", "isFinal", "status", "reason"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*CONVERSATION_FIELDS, *TRANSCRIPT_FIELDS]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
topics = st.sampled_from(
    [
        "channel.metadata",
        "v2.system.socket_closing",
        "v2.system.token_revoked.x",
        "v2.users.u.conversations",
        "v2.users.u.conversations.calls",
        "v2.conversations.c.transcription",
        "",
    ]
)


@settings(max_examples=200, deadline=None)
@given(message=st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_never_raises(message: bytes | str) -> None:
    receive(message)


@settings(max_examples=200, deadline=None)
@given(topic=topics | json_values, body=json_values, metadata=json_values)
def test_json_of_any_shape_never_raises(topic: Any, body: Any, metadata: Any) -> None:
    event = receive(json.dumps({"topicName": topic, "eventBody": body, "metadata": metadata}))
    if isinstance(event, Notification) and isinstance(event.body, Transcription):
        UtteranceLog().add(event.body)


def test_flipped_octets_never_raise() -> None:
    draws = random.Random(3)
    original = envelope(
        "v2.conversations.c.transcription", transcription("a"), metadata={"CorrelationId": "x"}
    ).encode()
    for _ in range(5000):
        octets = bytearray(original)
        for _ in range(draws.randint(1, 4)):
            octets[draws.randrange(len(octets))] = draws.randrange(256)
        event = receive(bytes(octets))
        if isinstance(event, Notification) and isinstance(event.body, Transcription):
            UtteranceLog().add(event.body)


# Topics and channels


def test_topics_have_a_length_and_some_cannot_be_subscribed_to() -> None:
    assert dialect.topic_problem("x" * 200) is None
    for topic in ("", "x" * 201, "channel.metadata", "v2.system.socket_closing"):
        assert dialect.topic_problem(topic)


def test_a_channel_shows_neither_its_id_nor_its_uri() -> None:
    body = {"id": "CANARY-1", "connectUri": "wss://s/channels/CANARY-1", "expires": "2026-11-21T13:00:00.000Z"}
    channel = dialect.read_channel(json.dumps(body).encode())
    assert channel.connect_uri == "wss://s/channels/CANARY-1"
    assert channel.expires_ms == 1_795_266_000_000
    assert "CANARY" not in repr(channel)


def test_each_refused_topic_is_told_with_the_permission_that_is_missing() -> None:
    body = {
        "entities": [
            {"id": "a", "state": "Permitted"},
            {"id": "b", "state": "Rejected", "rejectionReason": "no", "missingPermissions": ["x:y:view"]},
            {"id": "c", "state": "Rejected"},
        ]
    }
    states = dialect.read_subscriptions(json.dumps(body).encode())
    assert [(state.topic, state.permitted) for state in states] == [("a", True), ("b", False), ("c", False)]
    assert states[1].reason == "no; missing permissions: x:y:view"
    assert states[2].reason


# One socket by the clock

HEARTBEAT = envelope("channel.metadata", {"message": "WebSocket Heartbeat"})


def test_a_socket_is_dead_after_35_s_of_silence_and_not_before() -> None:
    socket = SocketState(100.0)
    assert not socket.dead(134.9)
    assert socket.dead(135.0)
    socket.receive(HEARTBEAT, 130.0)
    assert not socket.dead(164.9)
    assert socket.dead(165.0)


def test_anything_that_comes_is_a_sign_of_life() -> None:
    socket = SocketState(0.0)
    for message in ("garbage", envelope("v2.users.u.conversations", {"id": "c"})):
        socket.receive(message, 30.0)
        assert not socket.dead(64.0)
    assert socket.counts == {"malformed": 1, "notification": 1}


def test_pings_go_out_in_silence_only() -> None:
    socket = SocketState(0.0, watchdog_s=35.0, ping_interval_s=15.0)
    assert socket.next_deadline() == 15.0
    assert not socket.ping_due(14.9)
    assert socket.ping_due(15.0)
    socket.pinged(15.0)
    assert not socket.ping_due(29.9)
    assert socket.ping_due(30.0)
    socket.pinged(30.0)
    assert socket.next_deadline() == 35.0  # no third ping before the end
    socket.receive(envelope("channel.metadata", {"message": "pong"}), 31.0)
    assert socket.next_deadline() == 46.0


def test_the_announcement_of_an_end_is_remembered() -> None:
    socket = SocketState(0.0)
    socket.receive(HEARTBEAT, 1.0)
    assert not socket.closing
    socket.receive(envelope("v2.system.socket_closing", {}), 2.0)
    assert socket.closing


@pytest.mark.parametrize(
    ("lifetime_s", "at"),
    [
        pytest.param(86_400.0, 82_800.0, id="a-day"),
        pytest.param(None, 82_800.0, id="not-told"),
        pytest.param(1e9, 82_800.0, id="too-good"),
        pytest.param(3600.0, 3450.0, id="an-hour"),
        pytest.param(-5.0, 57.5, id="gone-by-our-clock"),
    ],
)
def test_a_channel_is_renewed_before_it_ends(lifetime_s: float | None, at: float) -> None:
    assert SocketState.renew_at(10.0, lifetime_s, 82_800.0) == 10.0 + at


def test_what_two_sockets_tell_alike_is_told_once() -> None:
    overlap = Overlap()
    told = [(0, "A"), (0, "B"), (1, "B"), (0, "A"), (1, "A")]
    # The second A of the old socket is news: muted, unmuted, muted again.
    assert [overlap.new(side, message) for side, message in told] == [True, True, False, True, False]
    assert overlap.duplicates == 2


@settings(max_examples=200, deadline=None)
@given(told=st.lists(st.sampled_from("AB"), max_size=12), order=st.randoms(use_true_random=False))
def test_however_two_sockets_interleave_each_telling_is_handed_on_once(told: list[str], order: random.Random) -> None:
    overlap = Overlap()
    turns = [0] * len(told) + [1] * len(told)
    order.shuffle(turns)
    at = [0, 0]
    handed: list[str] = []
    for side in turns:
        message = told[at[side]]
        at[side] += 1
        if overlap.new(side, message):
            handed.append(message)
    assert sorted(handed) == sorted(told)


def test_the_memory_of_an_overlap_is_bounded() -> None:
    overlap = Overlap(max_messages=2)
    assert overlap.new(0, "A")
    assert overlap.new(0, "B")
    assert overlap.new(0, "C")  # A is forgotten
    assert overlap.new(1, "A")
    assert not overlap.new(1, "C")


# Transcripts


def transcription(
    text: str, *, final: bool = True, utterance: str = "u1", offset: float = 1000.0, **more: Any
) -> dict[str, Any]:
    return {
        "eventTime": "2026-11-20T10:00:05.000Z",
        "conversationId": "c",
        "communicationId": "m",
        "sessionStartTimeMs": 1_795_000_000_040,
        "transcriptionStartTimeMs": 1_795_000_000_000,
        "transcripts": [
            {
                "utteranceId": utterance,
                "isFinal": final,
                "channel": "EXTERNAL",
                "alternatives": [
                    {
                        "confidence": 0.9,
                        "offsetMs": offset,
                        "durationMs": 800,
                        "transcript": text,
                        "words": [
                            {"word": text, "confidence": 0.8, "offsetMs": offset + 100, "durationMs": 300},
                            {"word": text, "offsetMs": 0, "durationMs": 1, "startTimeMs": 1_795_000_001_500},
                        ],
                    }
                ],
            }
        ],
        **more,
    }


def read(body: dict[str, Any]) -> Transcription:
    event = receive(envelope("v2.conversations.c.transcription", body))
    assert isinstance(event, Notification)
    assert isinstance(event.body, Transcription)
    return event.body


def test_an_utterance_has_absolute_times_and_so_have_its_words() -> None:
    (utterance,) = utterances(read(transcription("hello")))
    assert (utterance.text, utterance.channel, utterance.final) == ("hello", "external", True)
    assert (utterance.start_ms, utterance.duration_ms) == (1_795_000_001_000, 800)
    # a word's offset counts from the session too, not from the utterance; an absolute time of its own comes first
    assert [word.start_ms for word in utterance.words] == [1_795_000_001_100, 1_795_000_001_500]
    assert utterance.words[0].duration_ms == 300


def test_without_a_transcription_start_the_session_is_the_origin() -> None:
    (utterance,) = utterances(read(transcription("hello", transcriptionStartTimeMs=None)))
    assert utterance.start_ms == 1_795_000_001_040
    (utterance,) = utterances(read(transcription("hello", transcriptionStartTimeMs=None, sessionStartTimeMs=None)))
    assert utterance.start_ms is None


def test_the_most_confident_alternative_with_its_punctuation_is_what_was_said() -> None:
    body = transcription("x")
    body["transcripts"][0]["alternatives"] = [
        {"confidence": 0.5, "transcript": "worse"},
        {"confidence": 0.7, "transcript": "better", "decoratedTranscript": "Better."},
    ]
    (utterance,) = utterances(read(body))
    assert utterance.text == "Better."


def test_the_last_final_word_wins() -> None:
    log = UtteranceLog()

    def texts(body: dict[str, Any]) -> list[str]:
        return [utterance.text for utterance in log.add(read(body))]

    assert texts(transcription("hel", final=False)) == ["hel"]
    assert texts(transcription("hello")) == ["hello"]
    assert texts(transcription("hello")) == []  # told again
    assert texts(transcription("hell", final=False)) == []  # an interim wording that comes late
    assert texts(transcription("hello!")) == ["hello!"]
    assert texts(transcription("first", utterance="u0", offset=0.0)) == ["first"]
    assert [utterance.text for utterance in log.latest] == ["first", "hello!"]


def test_the_log_of_utterances_is_bounded() -> None:
    log = UtteranceLog(max_utterances=3)
    for number in range(5):
        log.add(read(transcription("x", utterance=f"u{number}", offset=number)))
    assert [utterance.utterance_id for utterance in log.latest] == ["u2", "u3", "u4"]


def test_an_event_may_hold_only_the_status() -> None:
    event = read({"conversationId": "c", "status": {"offsetMs": 300_000, "status": "SESSION_ONGOING"}})
    assert utterances(event) == []
    assert not event.ended
    assert read({"status": {"offsetMs": 1, "status": "SESSION_ENDED"}}).ended


def test_an_utterance_is_pinned_to_a_timeline_of_samples() -> None:
    (utterance,) = utterances(read(transcription("hello")))
    said = pinned(utterance, 1_795_000_000_500, 8000)
    assert said is not None
    assert (said.position, said.n_samples, said.channel, said.text) == (4000, 6400, "external", "hello")
    begun_before = pinned(utterance, 1_795_000_001_400, 8000)
    assert begun_before is not None
    assert (begun_before.position, begun_before.n_samples) == (0, 3200)
    assert pinned(utterance, 1_795_000_009_000, 8000) is None
