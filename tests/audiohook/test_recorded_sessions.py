"""Whole sessions of the published client and server, played again with one end ours."""

from __future__ import annotations

from typing import Any

import pytest

from gcmedia.dialects.audiohook import Answer, AudioHookConfig, ClientMachine, Media, Open, ServerMachine
from gcmedia.dialects.audiohook.events import Closing, Discarded, Ended, Failed, Opened, Ping, Resumed
from gcmedia.types import Hole

from .recorded import SESSION_ID, SESSIONS, Step, offered, position_of, session, texts

# What the recorded server was set to.
SETTINGS: dict[str, AudioHookConfig] = {
    "start-paused-update": AudioHookConfig(start_paused=True, supported_languages=("en-US", "es-ES")),
}


def answer_of(name: str) -> Any:
    def answer(offer: Open, media: Media | None) -> Answer:
        if name == "no-media":
            return Answer(None)
        if name == "discard-pause-resume-disconnect":
            return Answer(media, discard_to=8000)
        return Answer(media, start_paused=name == "start-paused-update")

    return answer


def ask(server: ServerMachine, step: Step) -> None:
    """Do what the recorded server did of its own accord."""
    if step.type == "pause":
        assert server.pause(step.now)
    elif step.type == "resume":
        assert server.resume(step.now)
    elif step.type == "event":
        assert server.send_event(step.parameters["entities"], step.now)
    elif step.type == "disconnect":
        assert server.disconnect(step.parameters["reason"], step.now, info=step.parameters["info"])


def play_server(name: str) -> tuple[ServerMachine, list[Any], list[tuple[int, int]]]:
    """The server machine through a session: itself, its events, and the audio as (position, octets)."""
    server = ServerMachine(SETTINGS.get(name), now=0.0, answer=answer_of(name))
    said: list[dict[str, Any]] = []
    recorded: list[dict[str, Any]] = []
    events: list[Any] = []
    audio: list[tuple[int, int]] = []
    for step in session(name):
        if step.by_client and step.message:
            position_before_audio_stops = server.position
            events += server.receive(encode(step.message), step.now)
            assert server.position >= position_before_audio_stops
        elif step.by_client:
            for _ in range(step.count):
                audio.append((server.receive_audio(bytes(step.n_octets), step.now), step.n_octets))
        else:
            assert step.message is not None
            ask(server, step)
            recorded.append(step.message)
        said += texts(server)
        assert said[: len(recorded)] == recorded[: len(said)]
    events += server.transport_closed(10.0)
    assert said == recorded
    return server, events, audio


def encode(message: dict[str, Any]) -> str:
    import json

    return json.dumps(message)


@pytest.mark.parametrize("name", SESSIONS)
def test_the_server_says_what_was_recorded(name: str) -> None:
    server, events, audio = play_server(name)
    steps = session(name)
    assert not [event for event in events if isinstance(event, Failed)]
    assert server.anomalies == {}
    assert isinstance(events[0], Opened)
    assert isinstance(events[-1], Ended)
    assert events[-1].clean
    assert events[-1].reason == next(step for step in steps if step.type == "close").parameters["reason"]
    assert server.audio_frames == sum(step.count for step in steps) == len(audio)
    if name != "no-media":
        assert server.position == position_of([step for step in steps if step.by_client and step.message][-1])
    pings = [event for event in events if isinstance(event, Ping)]
    rtts = [step.parameters.get("rtt") for step in steps if step.type == "ping"]
    assert [event.rtt_s is None for event in pings] == [rtt is None for rtt in rtts]


def test_the_holes_of_a_session_are_exact() -> None:
    server, events, audio = play_server("discard-pause-resume-disconnect")
    holes = [hole for event in events if isinstance(event, Discarded | Resumed | Closing) for hole in event.holes]
    assert holes == [Hole(0, 8000, "discarded"), Hole(16_000, 6400, "paused")]
    assert [position for position, _ in audio] == [8000, 9600, 11_200, 12_800, 14_400, 22_400, 24_000, 25_600]
    assert (server.position, server.received_samples, server.missing_samples) == (27_200, 12_800, 14_400)


def test_a_partial_last_frame_counts_its_samples() -> None:
    server, _, audio = play_server("mono-partial-last-frame")
    assert audio == [(0, 1600), (1600, 1600), (3200, 400)]
    assert server.position == server.received_samples == 3600


@pytest.mark.parametrize("name", SESSIONS)
def test_the_client_says_what_was_recorded(name: str) -> None:
    steps = session(name)
    client = ClientMachine(offered(steps[0]), session_id=SESSION_ID)
    said: list[dict[str, Any]] = []
    recorded: list[dict[str, Any]] = []
    pinged_at = 0.0
    for at, step in enumerate(steps):
        following = [later for later in steps[at:] if later.by_client and later.message]
        if following and (client.paused or (client.media is None and client.state == "active")):
            client.skip(max(0, position_of(following[0]) - client.position), step.now)
        if not step.by_client:
            assert step.message is not None
            now = step.now
            if step.type == "pong" and following and "rtt" in following[0].parameters:
                now = pinged_at + float(following[0].parameters["rtt"][2:-1])
            client.receive(encode(step.message), now)
        elif step.message is None:
            assert all(client.audio(bytes(step.n_octets), step.now) for _ in range(step.count))
        else:
            recorded.append(step.message)
            if step.type == "open":
                client.start(step.now)
            elif step.type == "ping" and "rtt" not in step.parameters:
                client.advance(pinged_at := max(step.now, client.next_deadline))
            elif step.type == "update":
                assert client.update(step.parameters["language"], step.now)
            elif step.type == "close" and step.parameters["reason"] == "end":
                assert client.close("end", step.now)
        said += texts(client)
        assert said[: len(recorded)] == recorded[: len(said)]
    assert said == recorded
    assert client.violations == []
    assert client.over
