"""A server that breaks a rule is found out, and told which, where and when."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gcmedia.dialects.audiohook import AudioHookClientConfig, AudioHookConfig
from gcmedia.simulator.audiohook import Action, Conformity, Dialer, DialReport, Script, Speech

from .servers import Spoil, an_offer, as_it_is, spoilt_server

pytestmark = pytest.mark.anyio

#: Pings at once; no wait of it is over while a busy machine gets round to an answer.
PATIENT = AudioHookClientConfig(first_ping_s=0.0, open_timeout_s=30.0, pong_timeout_s=30.0, close_timeout_s=30.0)
MEDIA = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
WORD = {"type": "word", "value": "hello", "confidence": 0.9, "offset": "PT0.1S", "duration": "PT0.2S"}
GOOD = {
    "id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "channelId": 0,
    "isFinal": True,
    "offset": "PT0.1S",
    "duration": "PT0.2S",
    "alternatives": [
        {"confidence": 0.9, "interpretations": [{"type": "display", "transcript": "hello", "tokens": [WORD]}]}
    ],
}


async def call(url: str, *actions: Action, seconds: float = 3.0, **config: Any) -> DialReport:
    script = Script(actions, seconds=seconds, speed=10.0)
    return await Dialer(url, an_offer(), Speech.shipped(), script=script, config=replace(PATIENT, **config)).run()


def changed(kind: str, **fields: Any) -> Spoil:
    """Other fields in messages of a type; a field that is None is left out."""

    def spoil(message: dict[str, Any]) -> list[str | bytes | None]:
        if message["type"] == kind:
            message = {name: value for name, value in (message | fields).items() if value is not None}
        return [json.dumps(message)]

    return spoil


def instead(kind: str, *pieces: str | bytes | None, after: bool = False) -> Spoil:
    """Other messages in place of one of a type, or after it."""

    def spoil(message: dict[str, Any]) -> list[str | bytes | None]:
        if message["type"] != kind:
            return as_it_is(message)
        return [*as_it_is(message), *pieces] if after else list(pieces)

    return spoil


def events(*entities: Any, times: int = 1) -> Spoil:
    """Events after the first pong, with their numbers; later messages are counted on."""
    extra = 0

    def spoil(message: dict[str, Any]) -> list[str | bytes | None]:
        nonlocal extra
        if message["type"] == "opened":
            extra = 0
        message = message | {"seq": message["seq"] + extra}
        found = as_it_is(message)
        if message["type"] == "pong" and not extra:
            for _ in range(times):
                extra += 1
                event = message | {"type": "event", "seq": message["seq"] + extra}
                found.append(json.dumps(event | {"parameters": {"entities": list(entities)}}))
        return found

    return spoil


def shifted(kind: str, field: str) -> Spoil:
    """A counter of messages of a type is one lower than it should be."""

    def spoil(message: dict[str, Any]) -> list[str | bytes | None]:
        return [json.dumps(message | {field: message[field] - 1} if message["type"] == kind else message)]

    return spoil


@pytest.mark.parametrize(
    ("spoil", "rule", "where", "detail"),
    [
        pytest.param(changed("opened", seq=2), "protocol", "opened, seq 2", "seq is 2, not 1", id="seq"),
        pytest.param(changed("pong", id=GOOD["id"]), "protocol", "pong, seq 2", "not that of the session", id="id"),
        pytest.param(changed("opened", version="1"), "protocol", "opened, seq 1", "version is '1'", id="version"),
        pytest.param(changed("pong", parameters=None), "protocol", "pong, seq 2", "has no parameters", id="parameters"),
        pytest.param(changed("pong", clientseq=99), "protocol", "pong, seq 2", "clientseq is 99", id="clientseq"),
        pytest.param(
            changed("opened", parameters={"media": [MEDIA | {"rate": 16000}]}),
            "protocol", "opened, seq 1", "media that were not offered", id="media-not-offered",
        ),
        pytest.param(
            changed("opened", parameters={"media": [MEDIA, MEDIA]}),
            "protocol", "opened, seq 1", "not one entry of media", id="two-media",
        ),
        pytest.param(
            shifted("pong", "clientseq"),
            "protocol", "pong, seq 2", "pong has clientseq", id="pong-of-another",
        ),
        pytest.param(
            shifted("closed", "clientseq"),
            "protocol", "closed, seq", "closed has clientseq", id="closed-of-another",
        ),
        pytest.param(instead("opened", None), "ending", "connection", "before closed", id="closes-instead-of-opening"),
        pytest.param(instead("closed", None), "ending", "connection", "before closed", id="closes-instead-of-closed"),
        pytest.param(instead("pong", None), "ending", "connection", "before closed", id="closes-amid"),
        pytest.param(instead("pong", b"\x7f" * 160), "protocol", "audio frame 1", "415: binary message", id="audio"),
        pytest.param(instead("pong", "{]"), "protocol", "?, seq None", "cannot be read", id="no-json"),
        pytest.param(instead("pong", "[]"), "protocol", "?, seq None", "cannot be read", id="no-object"),
        pytest.param(changed("pong", type="pang"), "protocol", "pang, seq 2", "unknown type 'pang'", id="unknown-type"),
        pytest.param(
            changed("pong", type="opened"),
            "protocol", "opened, seq 2", "nothing was to be opened", id="opened-twice",
        ),
        pytest.param(
            changed("pong", type="closed"),
            "protocol", "closed, seq 2", "no close was sent", id="closed-unasked",
        ),
        pytest.param(
            changed("opened", type="pong"),
            "protocol", "pong, seq 1", "pong before opened", id="before-opened",
        ),
        pytest.param(changed("pong", padding="x" * 70_000), "size", "pong, seq 2", "more than 64000", id="size"),
        pytest.param(changed("pong", position="PT9S"), "position", "pong, seq 2", "ahead of", id="position-ahead"),
        pytest.param(
            changed("pong", position="1:20"),
            "position", "pong, seq 2", "not PT<seconds>S", id="position-text",
        ),
        pytest.param(instead("closed", "{}", after=True), "ending", "text message", "after closed", id="after-closed"),
        pytest.param(events(times=40), "pace", "event, seq 2", "faster than 5 a second", id="pace"),
        pytest.param(
            events({"type": "transcript", "data": GOOD | {"channelId": 2}}),
            "entities", "event, seq 3", "entity 1, transcript: channelId is 2, not 0 to 1", id="channel",
        ),
        pytest.param(
            events({"type": "barge_in", "data": {}}, {"type": "transcript", "data": GOOD | {"offset": "0.1"}}),
            "entities", "event, seq 3", "entity 2, transcript: offset: duration is '0.1'", id="second-entity",
        ),
        pytest.param(
            events({"type": "bot_turn_response", "data": {"disposition": "maybe"}}),
            "entities", "event, seq 3", "disposition is 'maybe'", id="bot-turn",
        ),
        pytest.param(events({"data": {}}), "protocol", "event, seq 3", "no list of entities", id="entity-without-type"),
    ],
)  # fmt: skip
async def test_a_broken_rule_is_found(spoil: Spoil, rule: str, where: str, detail: str) -> None:
    with spoilt_server(spoil) as url:
        report = await call(url)
    assert not report.conforming
    found = report.sessions[0].conformity.findings
    assert any(
        one.rule == rule and one.where.startswith(where) and detail in one.detail and one.severity == "error"
        for one in found
    ), [str(one) for one in found]


@pytest.mark.parametrize(
    ("kind", "detail"), [("opened", "waiting for opened"), ("pong", "waiting for pong"), ("closed", "no closed")]
)
async def test_what_is_never_sent_is_waited_for_so_long(kind: str, detail: str) -> None:
    wait = {"opened": "open_timeout_s", "pong": "pong_timeout_s", "closed": "close_timeout_s"}[kind]
    with spoilt_server(instead(kind)) as url:
        report = await call(url, **{wait: 0.3})
    assert not report.conforming
    found = report.sessions[0].conformity.findings
    assert any((one.rule, one.where) == ("timeout", "connection") and detail in one.detail for one in found), found


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(as_it_is, id="plain"),
        pytest.param(events({"type": "transcript", "data": GOOD}), id="transcript"),
        pytest.param(events({"type": "of tomorrow", "data": [1]}, times=20), id="unknown-entities-at-full-burst"),
        pytest.param(changed("pong", position="PT0S", more={"unknown": 1}), id="further-fields"),
        pytest.param(changed("opened", parameters={"media": []}), id="no-media"),
    ],
)
async def test_what_breaks_no_rule_is_not_found(spoil: Spoil) -> None:
    with spoilt_server(spoil) as url:
        report = await call(url)
    assert report.conforming, [str(one) for one in report.sessions[0].conformity.findings]
    assert report.sessions[0].clean


async def test_a_pause_and_events_of_the_server_conform() -> None:
    with spoilt_server(config=AudioHookConfig(start_paused=True)) as url:
        report = await call(url)
    session = report.sessions[0]
    assert report.conforming
    assert session.sent_frames == 0
    assert (session.dropped_samples, session.position) == (24_000, 24_000)


def test_slow_answers_are_warnings() -> None:
    conformity = Conformity()
    conformity.opened("opened, seq 1", 1.0, 1.9)
    conformity.pong("pong, seq 2", 1.0, 0.9)
    assert conformity.findings == []
    conformity.opened("opened, seq 1", 3.0, 2.1)
    conformity.pong("pong, seq 2", 3.0, 1.1)
    assert [(one.rule, one.severity) for one in conformity.findings] == [("opened", "warning"), ("pong", "warning")]
    assert conformity.conforming


def test_findings_are_bounded_and_what_is_beyond_still_counts() -> None:
    conformity = Conformity()
    for _ in range(200):
        conformity.find("pong", "pong", 0.0, "slow", severity="warning")
    assert conformity.conforming
    conformity.find("pace", "event", 0.0, "too fast")
    assert (len(conformity.findings), conformity.further, conformity.conforming) == (200, 1, False)


@pytest.mark.parametrize(
    ("entity", "problem"),
    [
        ({**GOOD, "id": "one"}, "id is no UUID"),
        ({**GOOD, "isFinal": "yes"}, "isFinal is 'yes'"),
        ({**GOOD, "alternatives": []}, "no alternatives"),
        ({**GOOD, "alternatives": [{"confidence": 2, "interpretations": [{}]}]}, "confidence of an alternative is 2"),
        ({**GOOD, "alternatives": [{"confidence": 1, "interpretations": [{}]}]}, "no transcript"),
        ({**GOOD, "alternatives": [{"confidence": 1, "interpretations": []}]}, "no interpretations"),
        ({**GOOD, "alternatives": [3]}, "no object"),
    ],
)
def test_transcripts_are_read_to_the_bottom(entity: dict[str, Any], problem: str) -> None:
    conformity = Conformity()
    conformity.entities("event, seq 2", 0.0, ({"type": "transcript", "data": entity},), None)
    assert any(problem in one.detail for one in conformity.findings)


def tokens(*words: Any) -> dict[str, Any]:
    reading = {"type": "display", "transcript": "hello", "tokens": list(words)}
    return GOOD | {"alternatives": [{"confidence": 1, "interpretations": [reading]}]}


@pytest.mark.parametrize(
    ("entity", "problem"),
    [
        (tokens(WORD, WORD), "the same offset"),
        (tokens(WORD | {"value": 1}), "a token has no value"),
        (tokens(WORD | {"duration": 1}), "duration of a token"),
        (tokens(1), "no list of objects"),
    ],
)
def test_so_are_their_words(entity: dict[str, Any], problem: str) -> None:
    conformity = Conformity()
    conformity.entities("event, seq 2", 0.0, ({"type": "transcript", "data": entity},), None)
    assert any(problem in one.detail for one in conformity.findings)
