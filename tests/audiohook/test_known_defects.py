"""What other AudioHook servers have been seen to get wrong, each shown not to be so here.

The numbers are those of the list in docs/audiohook-protocol.md.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest

import gcmedia
from gcmedia import SignatureRefused
from gcmedia.dialects.audiohook import AudioHookConfig, SignatureVerifier, UpgradeRequest
from gcmedia.dialects.audiohook.durations import format_seconds, parse_seconds
from gcmedia.dialects.audiohook.entities import Transcript, Word
from gcmedia.dialects.audiohook.events import (
    Audio,
    Closing,
    Discarded,
    Ended,
    Failed,
    Opened,
    Paused,
    PeerError,
    Ping,
    Resumed,
    Unknown,
    Update,
)
from gcmedia.types import Hole

from .pair import of
from .recorded import vectors
from .signing import API_KEY, NOW, SECRET, TARGET, headers, signed, verify
from .wire import MONO_WIRE, STEREO_WIRE, Wire, open_parameters, opened

NIL = "00000000-0000-0000-0000-000000000000"


def refused(request: UpgradeRequest, asked: SignatureVerifier | None = None, at: float = NOW) -> str:
    with pytest.raises(SignatureRefused) as error:
        verify(asked or SignatureVerifier({API_KEY: SECRET}), request, at)
    return error.value.outcome


def with_signature(value: str, **more: str) -> UpgradeRequest:
    fields = dict(signed(fields=headers(**more)).headers) | {"Signature": value}
    return UpgradeRequest.of(TARGET, fields.items())


@pytest.mark.parametrize("n_octets", [0, 1, 31, 33, 64, 4096])
@pytest.mark.parametrize("key", [API_KEY, "unknown"])
def test_01_a_signature_of_any_length_is_only_refused(n_octets: int, key: str) -> None:
    value = f"sig1=:{base64.b64encode(bytes(n_octets)).decode()}:"
    asked = SignatureVerifier({API_KEY: SECRET})
    assert refused(with_signature(value, X_API_KEY=key), asked) == "failed"
    assert verify(asked, signed()).signed


@pytest.mark.parametrize("n_octets", [65_537, 70_000, 1 << 20])
def test_02_a_frame_that_is_too_long_ends_one_session_by_the_protocol(n_octets: int) -> None:
    wire = opened()
    events = wire.send(bytes(n_octets))
    assert [(event.cause, event.code) for event in of(events, Failed)] == [("protocol", 413)]
    assert wire.types == ["opened", "disconnect"]
    assert wire.heard[-1]["parameters"]["reason"] == "error"
    wire.say("close", {"reason": "disconnect"})
    assert wire.types[-1] == "closed"


def test_02_a_frame_of_65536_octets_is_taken() -> None:
    wire = opened()
    assert isinstance(wire.send(bytes(65_536))[0], Audio)


@pytest.mark.parametrize(("age", "let_in"), [(8, True), (10, True), (15, True), (16, False), (-5, True), (-6, False)])
def test_03_the_skew_makes_the_window_wider(age: int, let_in: bool) -> None:
    asked = SignatureVerifier({API_KEY: SECRET})
    if let_in:
        assert verify(asked, signed(), NOW + age).signed
    else:
        refused(signed(), asked, NOW + age)


def test_03_a_signature_that_expires_in_2_s_is_good() -> None:
    assert verify(SignatureVerifier({API_KEY: SECRET}), signed(expires=NOW + 2)).signed


def test_03_a_nonce_is_good_once() -> None:
    asked = SignatureVerifier({API_KEY: SECRET})
    request = signed()
    verify(asked, request)
    assert refused(request, asked) == "replayed"


def test_04_a_silent_connection_is_asked_to_leave_and_then_dropped() -> None:
    wire = Wire(AudioHookConfig(open_timeout_s=10.0, close_timeout_s=10.0))
    assert of(wire.wait(9.9), Failed) == []
    assert of(wire.wait(0.2), Failed)[0].cause == "timeout"
    assert wire.types == ["disconnect"]
    assert wire.wait(10.0)[-1] == Ended("no close", False)
    assert wire.server.over


def test_04_a_session_that_falls_silent_is_too() -> None:
    wire = opened(AudioHookConfig(idle_timeout_s=45.0, close_timeout_s=10.0))
    wire.now += 44.0
    wire.say("ping")
    assert wire.wait(44.0) == []
    assert of(wire.wait(1.5), Failed)[0].cause == "timeout"
    assert wire.wait(10.5)[-1] == Ended("no close", False)


def test_04_a_client_that_never_closes_its_connection_does_not_keep_it() -> None:
    wire = opened(AudioHookConfig(close_timeout_s=10.0))
    wire.say("close", {"reason": "end"})
    assert wire.wait(9.0) == []
    assert not wire.server.over
    assert wire.wait(1.5) == [Ended("end", True)]
    assert wire.server.over


def test_05_the_position_counts_discards_and_pauses() -> None:
    wire = opened()
    wire.send(bytes(1600))
    wire.say("discarded", {"start": "PT0.1S", "discarded": "PT1S"}, position="PT1.1S")
    wire.say("paused", position="PT1.1S")
    wire.say("resumed", {"start": "PT1.1S", "discarded": "PT0.5S"}, position="PT1.6S")
    (audio,) = wire.send(bytes(1600))
    assert audio.position == 12_800
    assert wire.server.position == 13_600
    assert wire.server.anomalies == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda wire: wire.say("ping", seq=99),
        lambda wire: wire.say("ping", id="0190163d-8694-739b-aea5-966c26f8ad91"),
        lambda wire: wire.send("{"),
        lambda wire: wire.send(b"abc"),
        lambda wire: wire.wait(1000.0),
    ],
)
def test_06_the_client_is_not_told_what_was_wrong(spoil: Any) -> None:
    wire = opened()
    detail = of(spoil(wire), Failed)[0].detail
    (parameters,) = (message["parameters"] for message in wire.heard if message["type"] == "disconnect")
    assert parameters.keys() == {"reason", "info"}
    assert parameters["info"] in ("protocol error", "timeout")
    assert parameters["info"] != detail


def test_07_short_durations_are_written_in_plain_decimals() -> None:
    assert format_seconds(500e-9) == "PT0.0000005S"
    assert parse_seconds("PT0.0000005S") == 500e-9


@pytest.mark.parametrize("n_octets", [1, 2, 3, 5, 6, 161, 642])
def test_07_half_a_sample_of_l16_stereo_is_refused(n_octets: int) -> None:
    wire = opened(media=[{**STEREO_WIRE, "format": "L16"}])
    assert of(wire.send(bytes(n_octets)), Failed)[0].code == 400


def test_07_negative_zero_of_pcmu_is_zero_as_in_g711() -> None:
    published = vectors("ulaw")
    ours = list(memoryview(gcmedia.ulaw_decode(bytes(range(256)))).cast("h"))
    assert ours[0x7F] == 0
    assert published[0x7F] == -1
    assert ours[:0x7F] + ours[0x80:] == published[:0x7F] + published[0x80:]


@pytest.mark.parametrize(
    "changes",
    [
        {"language": "en"},
        {"language": "zh-Hans-CN"},
        {"language": 7},
        {"media": [{**MONO_WIRE, "rate": 16_000}, STEREO_WIRE]},
        {"media": [{**MONO_WIRE, "format": "OPUS", "rate": 48_000}, STEREO_WIRE]},
        {"media": [{"type": "video"}, 7, None, STEREO_WIRE]},
        {"participant": None},
        {"participant": {"id": "x", "more": 1}},
        {"novelty": {"of": ["the", "platform"]}},
        {"customConfig": {"any": [1]}},
        {"continuedSessions": "none"},
    ],
)
def test_08_what_the_platform_adds_to_open_ends_nothing(changes: dict[str, Any]) -> None:
    wire = Wire()
    (event,) = of(wire.open(**changes), Opened)
    assert wire.heard[0]["parameters"]["media"] == [STEREO_WIRE]
    assert event.media is not None


def test_08_an_offer_without_any_media_that_can_be_used_opens_without_audio() -> None:
    wire = Wire()
    events = wire.open(media=[{**MONO_WIRE, "rate": 16_000}])
    assert of(events, Opened)[0].media is None
    assert wire.heard[0]["parameters"]["media"] == []
    assert wire.server.anomalies == {"no media": 1}


def test_08_unknown_types_and_odd_parameters_are_counted_and_passed_over() -> None:
    wire = opened()
    assert of(wire.say("novelty", {"a": 1}), Unknown) == [Unknown("novelty")]
    assert of(wire.say("ping", {"rtt": 0.25}), Ping) == [Ping(0, None)]
    assert of(wire.say("ping", {"rtt": "PT0.25S"}), Ping) == [Ping(0, 0.25)]
    assert of(wire.say("ping", []), Ping) == [Ping(0, None)]
    assert of(wire.say("error", {"code": "x", "message": 7}), PeerError) == [PeerError(0, "")]
    assert of(wire.say("reconnecting"), Unknown) == [Unknown("reconnecting")]
    assert wire.types == ["opened", "pong", "pong", "pong"]
    assert wire.server.anomalies == {"unknown type": 2, "no parameters": 1}


def test_08_ids_of_any_version_of_uuid_are_taken() -> None:
    for conversation in (str(uuid.uuid4()), "0190163d-8694-739b-aea5-966c26f8ad91", str(uuid.uuid4()).upper()):
        assert opened(conversationId=conversation).server.offer is not None


def test_09_unsigned_is_refused_where_there_is_a_secret() -> None:
    assert refused(UpgradeRequest.of(TARGET, headers().items())) == "unsigned"


def test_09_an_unknown_key_is_not_one_with_an_empty_secret() -> None:
    asked = SignatureVerifier({"other": ""})
    assert refused(UpgradeRequest.of(TARGET, headers().items()), asked) == "unsigned"
    assert refused(signed(b""), asked) == "failed"


def test_09_the_secret_is_used_decoded() -> None:
    assert refused(signed(SECRET.encode())) == "failed"
    assert verify(SignatureVerifier({API_KEY: SECRET}), signed(b"MySuperSecretKeyTellNo-1!2@3#4$5")).signed


def test_10_pings_updates_and_probes_end_nothing() -> None:
    wire = Wire()
    (event,) = of(wire.open(conversationId=NIL, participant=vars_of(NIL)), Opened)
    assert event.probe
    for _ in range(3):
        wire.say("ping")
    assert of(wire.say("update", {"language": "es-ES"}), Update) == [Update("es-ES")]
    assert wire.server.updated(wire.now)
    wire.listen()
    wire.say("close", {"reason": "end"})
    assert wire.types == ["opened", "pong", "pong", "pong", "updated", "closed"]


def vars_of(participant_id: str) -> dict[str, str]:
    return {"id": participant_id, "ani": "", "aniName": "", "dnis": ""}


def test_10_a_transcript_names_its_channel_by_index() -> None:
    wire = opened()
    said = Transcript(
        str(uuid.uuid4()),
        1,
        "hello there",
        True,
        confidence=0.9,
        position=8000,
        n_samples=4000,
        words=(Word("hello", 0.9, 8000, 2000), Word("there", 0.8, 10_000, 2000, "en-US")),
    )
    wire.server.send_event([said], wire.now)
    (message,) = wire.listen()
    assert message["parameters"] == {
        "entities": [
            {
                "type": "transcript",
                "data": {
                    "id": said.id,
                    "channelId": 1,
                    "isFinal": True,
                    "offset": "PT1S",
                    "duration": "PT0.5S",
                    "alternatives": [
                        {
                            "confidence": 0.9,
                            "interpretations": [
                                {
                                    "type": "display",
                                    "transcript": "hello there",
                                    "tokens": [
                                        {
                                            "type": "word",
                                            "value": "hello",
                                            "confidence": 0.9,
                                            "offset": "PT1S",
                                            "duration": "PT0.25S",
                                        },
                                        {
                                            "type": "word",
                                            "value": "there",
                                            "confidence": 0.8,
                                            "offset": "PT1.25S",
                                            "duration": "PT0.25S",
                                            "language": "en-US",
                                        },
                                    ],
                                }
                            ],
                        }
                    ],
                },
            }
        ]
    }
    assert "hello" not in repr(said)


def test_11_no_signature_but_the_right_one_is_taken() -> None:
    assert refused(with_signature(f"sig1=:{'A' * 43}=:")) == "failed"
    assert refused(with_signature("")) == "invalid"


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", '{"version":"2"}', "\x00", "\ud800", "[" * 60_000])
def test_11_a_message_that_is_none_gets_the_protocols_own_answer(text: str) -> None:
    wire = opened()
    (failed,) = of(wire.send(text), Failed)
    assert (failed.cause, failed.code) == ("protocol", 400)
    assert wire.types == ["opened", "disconnect"]
    wire.say("close", {"reason": "disconnect"})
    assert wire.types == ["opened", "disconnect", "closed"]


def test_12_pause_goes_out_and_paused_comes_in() -> None:
    wire = opened()
    assert wire.server.pause(wire.now)
    assert [message["type"] for message in wire.listen()] == ["pause"]
    assert of(wire.say("paused"), Paused) == [Paused(0, by_server=True)]
    assert wire.server.resume(wire.now)
    assert [message["type"] for message in wire.listen()] == ["resume"]
    events = wire.say("resumed", {"start": "PT0S", "discarded": "PT1S"}, position="PT1S")
    assert of(events, Resumed) == [Resumed(8000, (Hole(0, 8000, "paused"),))]
    events = wire.say("discarded", {"start": "PT1S", "discarded": "PT1S"}, position="PT2S")
    assert of(events, Discarded) == [Discarded(16_000, (Hole(8000, 8000, "discarded"),))]
    assert of(wire.say("pause", position="PT2S"), Unknown) == [Unknown("pause")]


def test_12_the_order_of_channels_is_the_offers() -> None:
    turned = {**STEREO_WIRE, "channels": ["internal", "external"]}
    wire = opened(media=[MONO_WIRE, turned])
    assert wire.heard[0]["parameters"]["media"] == [turned]
    assert wire.server.format is not None
    assert wire.server.format.channels == ("internal", "external")


def test_12_numbers_and_ids_are_checked() -> None:
    for changes in (
        {"seq": 3},
        {"seq": 1},
        {"seq": -1},
        {"seq": "2"},
        {"serverseq": 2},
        {"serverseq": -1},
        {"id": "0190163d-8694-739b-aea5-966c26f8ad91"},
        {"id": "dummy"},
        {"version": "1"},
        {"version": 2},
    ):
        wire = opened()
        assert of(wire.say("ping", **changes), Failed), changes


def test_12_messages_of_the_server_have_no_position_and_always_parameters() -> None:
    wire = opened()
    wire.say("ping")
    wire.server.pause(wire.now)
    wire.server.send_event([], wire.now)
    wire.server.disconnect("completed", wire.now)
    wire.listen()
    wire.say("close", {"reason": "disconnect"})
    assert wire.types == ["opened", "pong", "pause", "event", "disconnect", "closed"]
    for at, message in enumerate(wire.heard, 1):
        assert message.keys() == {"version", "type", "id", "seq", "clientseq", "parameters"}
        assert (message["seq"], message["version"]) == (at, "2")
        assert isinstance(message["parameters"], dict)


def test_13_events_hold_a_list_of_entities() -> None:
    wire = opened()
    wire.server.send_event([{"type": "a", "data": 1}, {"type": "b", "data": None}], wire.now)
    (message,) = wire.listen()
    assert message["parameters"] == {"entities": [{"type": "a", "data": 1}, {"type": "b", "data": None}]}


def test_13_opened_is_composed_within_the_call_that_takes_open() -> None:
    """Whatever a user does with the event happens after the answer is there to be sent."""
    wire = Wire(AudioHookConfig(supported_languages=("en-US",)))
    events = wire.server.receive(wire.message("open", probe()), wire.now)
    assert isinstance(events[0], Opened)
    assert [json.loads(answer)["type"] for answer in wire.server.messages_to_send() if isinstance(answer, str)] == [
        "opened"
    ]


def probe() -> dict[str, Any]:
    return open_parameters(conversationId=NIL, participant=vars_of(NIL), supportedLanguages=True)


def test_13_a_probe_is_told_from_a_call() -> None:
    assert of(Wire().open(), Opened)[0].probe is False
    assert of(Wire().open(conversationId=NIL), Opened)[0].probe is False
    assert of(Wire().say("open", probe()), Opened)[0].probe is True


def test_a_closing_event_names_the_clients_reason() -> None:
    wire = opened()
    assert of(wire.say("close", {"reason": "end"}), Closing) == [Closing("end", 0)]
