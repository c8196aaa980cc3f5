"""The client's end: what it asks of a server, and how it leaves one that breaks the rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gcmedia import LocalProtocolError, StateError
from gcmedia.dialects.audiohook import AudioHookClientConfig, ClientMachine
from gcmedia.dialects.audiohook.events import (
    Anomaly,
    Disconnecting,
    Ended,
    EventReceived,
    Failed,
    OpenAnswered,
    Pong,
    Reconnect,
    Unknown,
    Updated,
)

from .pair import call, of
from .recorded import SESSION_ID
from .wire import MONO_WIRE, STEREO_WIRE

OPENED = {"media": [STEREO_WIRE], "startPaused": False}


class Server:
    """A server written out by hand, against a client machine."""

    def __init__(self, config: AudioHookClientConfig | None = None) -> None:
        self.now = 10.0
        self.client = ClientMachine(call(), session_id=SESSION_ID, config=config)
        self.seq = 0
        self.heard: list[dict[str, Any]] = []
        self.client.start(self.now)
        self.listen()

    def listen(self) -> None:
        for message in self.client.messages_to_send():
            assert isinstance(message, str)
            self.heard.append(json.loads(message))

    def say(self, type_: str, parameters: object = None, /, **changes: Any) -> list[Any]:
        self.seq += 1
        message = {
            "version": "2",
            "type": type_,
            "id": SESSION_ID,
            "seq": self.seq,
            "clientseq": self.heard[-1]["seq"],
            "parameters": {} if parameters is None else parameters,
            **changes,
        }
        return self.send(json.dumps({name: value for name, value in message.items() if value != "left out"}))

    def send(self, message: str | bytes) -> list[Any]:
        events = self.client.receive(message, self.now)
        self.listen()
        return events

    def wait(self, seconds: float) -> list[Any]:
        self.now += seconds
        events = self.client.advance(self.now)
        self.listen()
        return events

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.heard]

    @property
    def code(self) -> int | None:
        """Of the last error that the client has told."""
        codes = [message["parameters"]["code"] for message in self.heard if message["type"] == "error"]
        return codes[-1] if codes else None


def opened(config: AudioHookClientConfig | None = None) -> Server:
    server = Server(config)
    assert of(server.say("opened", OPENED), OpenAnswered)
    return server


@pytest.mark.parametrize(
    ("type_", "parameters", "changes", "code"),
    [
        ("pong", {}, {}, 409),
        ("opened", {"media": [STEREO_WIRE, MONO_WIRE]}, {}, 400),
        ("opened", {"media": [{**STEREO_WIRE, "channels": ["internal", "external"]}]}, {}, 400),
        ("opened", {"media": [{**STEREO_WIRE, "format": "L16"}]}, {}, 400),
        ("opened", {}, {}, 400),
        ("opened", OPENED, {"seq": 2}, 500),
        ("opened", OPENED, {"clientseq": 2}, 400),
        ("opened", OPENED, {"id": "x"}, 400),
        ("opened", OPENED, {"version": "3"}, 400),
        ("opened", OPENED, {"parameters": "left out"}, 400),
        ("event", {"entities": []}, {}, 409),
    ],
)
def test_a_server_that_opens_wrongly_is_left(
    type_: str, parameters: object, changes: dict[str, Any], code: int
) -> None:
    server = Server()
    events = server.say(type_, parameters, **changes)
    assert of(events, Failed)[0].code == code
    assert server.types == ["open", "error", "close"]
    assert server.code == code
    assert server.heard[-1]["parameters"] == {"reason": "error"}
    assert server.client.violations


@pytest.mark.parametrize(
    ("type_", "parameters", "changes", "code"),
    [
        ("opened", OPENED, {}, 409),
        ("closed", {}, {}, 409),
        ("novelty", {}, {}, 500),
        ("event", {"entity": {}}, {}, 400),
        ("event", {"entities": [{"data": 1}]}, {}, 400),
        ("pause", {}, {"seq": 4}, 500),
        ("pause", {}, {"clientseq": 9}, 400),
        ("pause", {}, {"parameters": None}, 400),
    ],
)
def test_a_server_that_breaks_a_rule_later_is_left_too(
    type_: str, parameters: object, changes: dict[str, Any], code: int
) -> None:
    server = opened()
    assert of(server.say(type_, parameters, **changes), Failed)[0].code == code
    assert server.types[-2:] == ["error", "close"]
    assert server.code == code
    server.say("closed")
    assert server.client.over


@pytest.mark.parametrize("message", [b"audio", "{", "[]", "\ud800", "x" * 70_000])
def test_what_is_no_message_ends_it(message: str | bytes) -> None:
    server = opened()
    assert of(server.send(message), Failed)
    assert server.types[-2:] == ["error", "close"]


def test_a_pong_of_another_ping_is_told_and_nothing_ends() -> None:
    server = opened()
    server.say("pong")
    assert (server.code, server.client.state) == (409, "active")
    server.wait(1.0)
    assert server.types[-1] == "ping"
    server.say("pong", clientseq=1)
    assert (server.code, server.client.state) == (400, "active")
    assert len(server.client.violations) == 2


def test_a_lenient_client_only_tells() -> None:
    server = opened(AudioHookClientConfig(strict=False))
    assert of(server.say("novelty"), Unknown) == [Unknown("novelty")]
    assert of(server.say("pause", clientseq=9), Anomaly)
    assert server.client.paused
    assert len(server.client.violations) == 2
    assert server.types == ["open", "paused"]


def test_violations_are_kept_up_to_a_bound() -> None:
    server = opened(AudioHookClientConfig(strict=False))
    for _ in range(150):
        server.say("novelty")
    assert (len(server.client.violations), server.client.anomalies["violation"]) == (100, 150)


@pytest.mark.parametrize(
    ("seconds", "types", "message"),
    [(5.0, ["open", "error", "close"], "Timed out waiting for opened response")],
)
def test_opened_that_does_not_come_is_waited_for_5_s(seconds: float, types: list[str], message: str) -> None:
    server = Server()
    assert server.wait(seconds - 0.1) == []
    assert of(server.wait(0.2), Failed)[0].code == 408
    assert server.types == types
    assert server.heard[1]["parameters"] == {"code": 408, "message": message}


def test_closed_that_does_not_come_is_waited_for_10_s() -> None:
    server = opened()
    assert server.client.close("end", server.now)
    assert server.wait(9.9) == []
    assert server.wait(0.2) == [Ended("no closed", False)]
    assert server.code == 408


def test_a_pong_that_does_not_come_ends_it_after_5_s() -> None:
    server = opened()
    server.wait(1.0)
    assert server.types[-1] == "ping"
    server.wait(4.9)
    assert server.client.state == "active"
    assert of(server.wait(0.2), Failed)[0].detail == "Timeout waiting for pong"
    assert server.types[-2:] == ["error", "close"]


def test_pings_keep_their_beat_also_when_called_late() -> None:
    server = opened()
    server.wait(1.0)
    server.say("pong", clientseq=2)
    server.say("pong", clientseq=3)
    assert server.types.count("ping") == 2
    server.wait(23.0)
    assert server.types.count("ping") == 3
    assert of(server.say("pong"), Pong)
    assert server.client.next_deadline == server.now + 5.0


def test_pings_can_be_left_out() -> None:
    server = opened(AudioHookClientConfig(ping_interval_s=0.0))
    server.wait(1000.0)
    assert server.types == ["open"]


def test_disconnect_is_answered_by_close() -> None:
    server = Server()
    events = server.say("disconnect", {"reason": "unauthorized", "info": "no"})
    assert of(events, Disconnecting) == [Disconnecting("unauthorized", "no")]
    assert server.types == ["open", "close"]
    assert server.heard[-1]["parameters"] == {"reason": "disconnect"}
    assert of(server.say("disconnect", {"reason": "error"}), Disconnecting) == []
    assert server.say("closed")[-1] == Ended("disconnect", True)


def test_events_are_taken_while_closing() -> None:
    server = opened()
    server.client.close("end", server.now)
    server.listen()
    assert of(server.say("event", {"entities": [{"type": "x"}]}), EventReceived)
    server.say("pause")
    server.say("resume")
    assert server.types[-1] == "close"
    assert server.say("closed")[-1] == Ended("end", True)
    assert server.say("event", {"entities": []}) == []


def test_closed_names_the_close_that_it_answers() -> None:
    server = opened()
    server.client.close("end", server.now)
    server.listen()
    server.say("closed", clientseq=1)
    assert server.client.violations == ["400: closed has clientseq 1, close was 2"]


def test_updates_and_reconnects_are_told() -> None:
    server = opened()
    assert server.client.update("es-ES", server.now)
    server.listen()
    assert server.heard[-1]["parameters"] == {"language": "es-ES"}
    assert of(server.say("updated"), Updated)
    assert of(server.say("reconnect", {"info": "restart"}), Reconnect) == [Reconnect("restart")]


def test_audio_is_whole_samples_of_a_bounded_length() -> None:
    server = opened()
    for payload in (b"a", bytes(64_002)):
        with pytest.raises(LocalProtocolError, match="multiple of 2 up to 64000"):
            server.client.audio(payload, server.now)
    assert server.client.audio(memoryview(bytes(64_000)), server.now)
    assert server.client.position == 32_000


def test_nothing_flows_before_opened_or_after_close() -> None:
    server = Server()
    client = server.client
    assert not client.audio(b"ab", server.now)
    assert not client.pause(server.now)
    assert not client.discard(1, server.now)
    server.say("opened", OPENED)
    client.close("end", server.now)
    assert not client.audio(b"ab", server.now)
    assert not client.resume(server.now)
    assert not client.dtmf("1", server.now)
    assert not client.close("end", server.now)
    assert client.position == client.sent_samples == 0
    with pytest.raises(StateError, match="opens but once"):
        client.start(server.now)
    with pytest.raises(LocalProtocolError, match="bored"):
        client.close("bored", server.now)


def test_after_the_connection_is_gone_nothing_is_said() -> None:
    server = opened()
    assert server.client.transport_closed(server.now) == [Ended("connection lost", False)]
    assert not server.client.audio(b"ab", server.now)
    assert not server.client.close("end", server.now)
    assert not server.client.error(400, "x", server.now)
    assert server.send(b"ab") == []
    assert server.wait(100.0) == []
    assert server.types == ["open"]
