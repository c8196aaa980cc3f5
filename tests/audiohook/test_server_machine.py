"""The server's end: states, limits, what it refuses, what it puts up with."""

from __future__ import annotations

import json
import sys
from math import inf
from typing import Any

import pytest

from gcmedia import LocalProtocolError
from gcmedia.dialects.audiohook import Answer, AudioHookConfig, Identity, Media
from gcmedia.dialects.audiohook.entities import AgentAssist
from gcmedia.dialects.audiohook.events import (
    Anomaly,
    Audio,
    Closing,
    Discarded,
    Ended,
    Failed,
    Opened,
    Paused,
    PeerError,
    Resumed,
)
from gcmedia.types import Hole

from .pair import of
from .recorded import SESSION_ID
from .signing import API_KEY, ORGANIZATION_ID
from .wire import MONO_WIRE, STEREO_WIRE, Wire, open_parameters, opened

OTHER_ID = "0190163d-8694-739b-aea5-966c26f8ad91"


def test_an_organization_that_is_not_that_of_the_upgrade_is_unauthorized() -> None:
    wire = Wire()
    (failed,) = of(wire.open(organizationId=OTHER_ID), Failed)
    assert (failed.cause, failed.code) == ("unauthorized", 401)
    assert wire.heard[0]["parameters"] == {"reason": "unauthorized", "info": "unauthorized"}
    assert wire.heard[0]["clientseq"] == 1


def test_ids_are_the_same_in_either_case() -> None:
    wire = Wire(identity=Identity(API_KEY, ORGANIZATION_ID.upper(), SESSION_ID.upper()))
    assert of(wire.open(), Opened)


def test_without_an_identity_the_first_message_gives_the_id() -> None:
    wire = Wire(identity=None)
    assert of(wire.open(), Opened)
    assert wire.heard[0]["id"] == SESSION_ID
    assert of(wire.say("ping", id=OTHER_ID), Failed)


@pytest.mark.parametrize(
    "changes",
    [{"conversationId": "../../etc"}, {"conversationId": 7}, {"organizationId": None}, {"organizationId": "x"}],
)
def test_ids_that_name_things_are_uuids(changes: dict[str, Any]) -> None:
    parameters = open_parameters()
    parameters.update(changes)
    wire = Wire(identity=None)
    (failed,) = of(wire.say("open", parameters), Failed)
    assert failed.code == 400
    assert wire.types == ["disconnect"]


@pytest.mark.parametrize("type_", ["paused", "resumed", "discarded", "update", "dtmf", "novelty"])
def test_nothing_comes_before_open_but_what_may(type_: str) -> None:
    wire = Wire()
    assert of(wire.say(type_), Failed)[0].code == 409


def test_errors_and_pings_may_come_before_open() -> None:
    wire = Wire()
    assert of(wire.say("error", {"code": 408, "message": "x"}), PeerError) == [PeerError(408, "x")]
    wire.say("ping")
    assert wire.types == ["pong"]
    assert of(wire.open(), Opened)


def test_audio_before_open_ends_the_session() -> None:
    wire = Wire()
    assert of(wire.send(b"a"), Failed)[0].code == 409


def test_open_comes_once() -> None:
    wire = opened()
    assert of(wire.open(), Failed)[0].code == 409


def test_audio_in_a_session_without_ends_it() -> None:
    wire = opened(media=[])
    assert wire.server.media is None
    assert wire.server.format is None
    assert of(wire.send(b"a"), Failed)[0].code == 415


def test_close_is_answered_in_every_state() -> None:
    wire = Wire()
    wire.say("close", {"reason": "end"})
    assert wire.types == ["closed"]
    assert wire.server.transport_closed(wire.now) == [Ended("end", True)]
    wire = opened()
    wire.server.disconnect("completed", wire.now)
    wire.say("close", {"reason": "disconnect"})
    assert wire.types == ["opened", "disconnect", "closed"]
    wire = opened()
    wire.say("close", seq=77)
    assert wire.types == ["opened", "disconnect", "closed"]
    assert wire.heard[-1]["clientseq"] == 77
    assert wire.server.transport_closed(wire.now) == [Ended("", False)]


def test_after_close_nothing_is_answered() -> None:
    wire = opened()
    wire.say("close", {"reason": "end"})
    heard = len(wire.heard)
    wire.say("ping")
    wire.send(b"ab")
    wire.send("{")
    assert not wire.server.pause(wire.now)
    assert not wire.server.resume(wire.now)
    assert not wire.server.send_event([], wire.now)
    assert not wire.server.disconnect("error", wire.now)
    assert not wire.server.updated(wire.now)
    assert len(wire.heard) == heard
    assert wire.server.anomalies == {"message after close": 2, "audio after close": 1}


def test_a_session_fails_once() -> None:
    wire = opened()
    assert len(of(wire.say("ping", seq=9), Failed)) == 1
    for message in ("{", wire.message("ping", seq=3), wire.message("paused", seq=4)):
        assert of(wire.send(message), Failed) == []
    wire.send(b"ab")
    assert wire.types == ["opened", "disconnect", "pong", "pong"]
    assert wire.server.anomalies["audio after failure"] == 1
    assert not wire.server.send_event([], wire.now)


def test_audio_on_its_way_is_taken_after_disconnect_and_after_pause() -> None:
    wire = opened()
    wire.server.pause(wire.now)
    assert of(wire.send(bytes(320)), Audio)[0].position == 0
    wire.server.disconnect("completed", wire.now)
    assert of(wire.send(bytes(320)), Audio)[0].position == 160
    wire.say("close", {"reason": "disconnect"}, position="PT0.04S")
    assert wire.server.position == 320
    assert wire.server.anomalies == {}


def test_open_that_crosses_a_rejection_is_not_answered() -> None:
    wire = Wire()
    assert wire.server.disconnect("unauthorized", wire.now, info="no")
    wire.listen()
    assert wire.open(serverseq=0) == []
    assert wire.types == ["disconnect"]
    assert wire.heard[0] == {
        "version": "2",
        "type": "disconnect",
        "id": SESSION_ID,
        "seq": 1,
        "clientseq": 0,
        "parameters": {"reason": "unauthorized", "info": "no"},
    }
    wire.say("close", {"reason": "disconnect"})
    assert wire.types == ["disconnect", "closed"]


def test_a_reason_must_be_one_of_the_protocols() -> None:
    with pytest.raises(LocalProtocolError, match="bored"):
        opened().server.disconnect("bored", 0.0)


@pytest.mark.parametrize("reason", ["completed", "unauthorized", "error", "rejected"])
def test_disconnect_may_come_before_open(reason: str) -> None:
    wire = Wire()
    assert wire.server.disconnect(reason, wire.now)
    assert wire.server.next_deadline == wire.now + 10.0
    assert wire.listen()[0]["parameters"] == {"reason": reason}


# Positions


def test_an_anomaly_of_the_position_is_told_once_and_counted() -> None:
    wire = opened()
    wire.send(bytes(3200))
    events = wire.say("ping", position="PT0.3S")
    assert isinstance(events[0], Anomaly)
    assert "800 more" in events[0].detail
    assert of(wire.say("ping", position="PT0.3S"), Anomaly) == []
    assert of(wire.say("ping", position="PT0.1S"), Anomaly)[0].detail.endswith("800 less than counted")
    assert of(wire.say("ping", position="PT0.2S"), Anomaly) == []
    assert wire.server.anomalies == {"position": 2}
    assert wire.server.position == 1600


def test_declared_positions_make_holes_of_what_is_missing() -> None:
    wire = opened(AudioHookConfig(holes="declared"))
    wire.send(bytes(3200))
    events = wire.say("ping", position="PT0.3S")
    assert of(events, Discarded) == [Discarded(2400, (Hole(1600, 800, "lost"),))]
    events = wire.say("discarded", {"start": "PT0.4S", "discarded": "PT0.1S"}, position="PT0.5S")
    assert of(events, Discarded) == [Discarded(4000, (Hole(2400, 800, "lost"), Hole(3200, 800, "discarded")))]
    assert wire.server.position == 4000


def test_a_discard_that_lies_elsewhere_is_laid_where_the_audio_ended() -> None:
    wire = opened()
    events = wire.say("discarded", {"start": "PT6.3S", "discarded": "PT0.3S"})
    assert of(events, Discarded) == [Discarded(2400, (Hole(0, 2400, "discarded"),))]
    assert wire.server.anomalies["position"] >= 1
    assert not of(events, Failed)


@pytest.mark.parametrize(
    "parameters", [{}, {"start": "PT0S"}, {"discarded": 1}, {"start": "x", "discarded": "PT1E3S"}, []]
)
def test_a_discard_that_cannot_be_read_changes_nothing(parameters: object) -> None:
    wire = opened()
    wire.say("discarded", parameters)
    assert wire.server.position == 0
    assert wire.server.anomalies["position"] == 1


@pytest.mark.parametrize("duration", ["PT10000000S", "PT4294967296S", "PT14401S"])
def test_a_hole_beyond_the_bound_is_not_laid(duration: str) -> None:
    wire = opened()
    wire.say("resumed", {"start": "PT0S", "discarded": duration})
    assert wire.server.position == 0
    assert wire.server.anomalies["position"] >= 1


def test_no_row_of_holes_makes_the_timeline_endless() -> None:
    wire = opened(AudioHookConfig(max_hole_s=3600.0, max_position_s=7200.0))
    for _ in range(10):
        wire.say("discarded", {"start": "PT0S", "discarded": "PT1000S"})
    assert wire.server.position == 7000 * 8000


def test_a_position_that_cannot_be_read_is_counted() -> None:
    wire = opened()
    wire.say("ping", position="x")
    wire.say("ping", position="left out")
    assert wire.server.anomalies == {"no position": 2}


def test_an_open_without_position_begins_at_0() -> None:
    wire = Wire()
    wire.say("open", open_parameters(), position=None)
    assert wire.server.position == 0
    assert wire.server.anomalies == {"no position": 1}


def test_audio_while_paused_is_taken_and_told_once() -> None:
    wire = opened()
    wire.say("paused")
    assert [type(event) for event in wire.send(bytes(320))] == [Anomaly, Audio]
    assert [type(event) for event in wire.send(bytes(320))] == [Audio]
    assert wire.server.anomalies == {"audio while paused": 2}
    assert wire.server.position == 320


def test_pauses_and_resumes_that_repeat_are_told_so() -> None:
    wire = opened()
    assert of(wire.say("resumed", {"start": "PT0S", "discarded": "PT0S"}), Resumed) == [Resumed(0, (), True)]
    assert of(wire.say("paused"), Paused) == [Paused(0, False)]
    assert of(wire.say("paused"), Paused) == [Paused(0, False, True)]
    assert wire.server.anomalies == {}


def test_an_empty_frame_is_counted() -> None:
    wire = opened()
    assert wire.send(b"") == []
    assert wire.server.anomalies == {"empty frame": 1}


# Answers


def test_an_answer_that_raises_or_lies_is_replaced_by_the_settings() -> None:
    def raises(offer: Any, media: Any) -> Answer:
        raise RuntimeError("no")

    for answer in (
        raises,
        lambda offer, media: Answer(Media("PCMU", ("internal",))),
        lambda offer, media: Answer(media, discard_to=-1),
        lambda offer, media: None,
    ):
        wire = Wire(answer=answer)
        wire.open()
        assert wire.types == ["opened"]
        assert wire.heard[0]["parameters"]["media"] == [STEREO_WIRE]
        assert wire.server.anomalies == {"answer": 1}


def test_an_answer_may_take_another_of_the_offer() -> None:
    wire = Wire(answer=lambda offer, media: Answer(offer.media[1], True, 1600))
    wire.open()
    assert wire.heard[0]["parameters"] == {"media": [MONO_WIRE], "startPaused": True, "discardTo": "PT0.2S"}
    assert wire.server.pause_requested


def test_languages_are_told_to_those_who_ask() -> None:
    config = AudioHookConfig(supported_languages=("en-US", "es-ES"))
    wire = opened(config, supportedLanguages=True)
    assert wire.heard[0]["parameters"]["supportedLanguages"] == ["en-US", "es-ES"]
    assert "supportedLanguages" not in opened(config).heard[0]["parameters"]
    assert "supportedLanguages" not in opened(supportedLanguages=True).heard[0]["parameters"]


def test_an_event_that_is_too_long_is_not_sent_and_takes_no_number() -> None:
    wire = opened()
    with pytest.raises(LocalProtocolError, match="64000"):
        wire.server.send_event([{"type": "x", "data": "y" * 64_000}], wire.now)
    with pytest.raises(LocalProtocolError, match="64000"):
        wire.server.send_event([{"type": "x", "data": "\u00e9" * 40_000}], wire.now)
    assert wire.server.send_event([AgentAssist("a", utterances=({"id": "b"},))], wire.now)
    (message,) = wire.listen()
    assert message["seq"] == 2
    data = {"id": "a", "utterances": [{"id": "b"}]}
    assert message["parameters"]["entities"] == [{"type": "agentassist", "data": data}]


def test_audio_out_and_reconnect_are_for_those_who_have_them() -> None:
    wire = opened()
    with pytest.raises(LocalProtocolError, match="two_way"):
        wire.server.send_audio(b"ab", wire.now)
    with pytest.raises(LocalProtocolError, match="reconnect"):
        wire.server.reconnect("", wire.now)
    wire = opened(AudioHookConfig(two_way=True))
    with pytest.raises(LocalProtocolError, match="multiple of 2"):
        wire.server.send_audio(b"a", wire.now)
    assert not opened(AudioHookConfig(two_way=True), media=[]).server.send_audio(b"ab", 0.0)


def test_messages_count_as_octets_or_characters_up_to_the_bound() -> None:
    wire = opened(AudioHookConfig(max_text_octets=2000))
    message = wire.message("ping", {"x": "y" * 2000})
    assert of(wire.send(message), Failed)[0].code == 413
    wire = opened(AudioHookConfig(max_text_octets=2000))
    wire.server.receive_text(wire.message("ping", {"x": "y" * 1000}).encode(), wire.now)
    assert [message["type"] for message in wire.listen()] == ["pong"]


# Time


def test_deadlines_move_on_with_what_is_heard() -> None:
    wire = Wire(AudioHookConfig(open_timeout_s=3.0, idle_timeout_s=20.0, close_timeout_s=7.0))
    assert wire.server.next_deadline == 53.0
    wire.open()
    assert wire.server.next_deadline == 70.0
    wire.now = 60.0
    wire.send(bytes(2))
    assert wire.server.next_deadline == 80.0
    wire.say("close", {"reason": "end"})
    assert wire.server.next_deadline == 67.0
    wire.wait(7.0)
    assert wire.server.over
    assert wire.server.next_deadline == inf


def test_advance_does_nothing_before_its_time() -> None:
    wire = opened()
    assert wire.wait(44.9) == []
    assert wire.server.advance(0.0) == []


def test_the_end_comes_once() -> None:
    wire = opened()
    assert wire.server.transport_closed(wire.now) == [Ended("connection lost", False)]
    assert wire.server.transport_closed(wire.now) == []
    assert wire.wait(1000.0) == []
    assert wire.send(bytes(320)) == []
    assert wire.say("ping") == []
    assert wire.types == ["opened"]


def test_a_closing_pause_is_bounded_too() -> None:
    wire = opened()
    wire.say("paused")
    events = wire.say("close", {"reason": "end"}, position="PT99999999S")
    assert of(events, Closing) == [Closing("end", 0)]
    assert wire.types[-1] == "closed"


# Cost


def test_a_frame_of_audio_costs_few_steps_and_leaves_nothing_behind() -> None:
    """Counted, not timed: one call, and no object but the position that it returns."""
    wire = opened()
    payload = bytes(3200)
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    wire.server.receive_audio(payload, 1.0)
    sys.setprofile(note)
    try:
        for _ in range(100):
            wire.server.receive_audio(payload, 1.0)
    finally:
        sys.setprofile(None)
    assert calls == 100
    assert wire.server.events() == []
    assert wire.server.messages_to_send() == []
    assert wire.server.position == 101 * 1600


def test_what_is_sent_is_json_of_the_protocols_shape() -> None:
    wire = opened()
    for message in wire.heard:
        assert json.dumps(message)
        assert message["id"] == SESSION_ID


def test_audio_that_a_driver_takes_by_itself_counts_as_any() -> None:
    one, other = Wire(), Wire()
    for wire in (one, other):
        assert wire.server.plain_block == 0
        wire.open()
        assert wire.server.plain_block == 2
    sizes = [3200, 2, 640, 64_000]
    for size in sizes:
        assert one.server.receive_audio(bytes(size), 60.0) >= 0
    other.server.took_audio(len(sizes), sum(sizes), 60.0)
    for name in ("position", "received_samples", "missing_samples", "audio_frames", "next_deadline"):
        assert getattr(one.server, name) == getattr(other.server, name), name
    for wire in (one, other):
        wire.say("paused", position=f"PT{wire.server.position / 8000}S")
        assert wire.server.plain_block == 0
        wire.say("resumed", {"start": f"PT{wire.server.position / 8000}S", "discarded": "PT1S"})
        assert wire.server.plain_block == 2
        wire.say("nonsense", id=OTHER_ID)
        assert wire.server.plain_block == 0
    assert one.server.position == other.server.position
    assert one.server.anomalies == other.server.anomalies
