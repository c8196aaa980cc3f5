"""The server machine against the client machine, whatever they do and however slow the link is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia._core.stream import StreamReceiver
from gcmedia.dialects.audiohook import (
    Answer,
    AudioHookClientConfig,
    AudioHookConfig,
    Media,
    Open,
)
from gcmedia.dialects.audiohook.events import (
    Audio,
    Closing,
    Discarded,
    Ended,
    EventReceived,
    Failed,
    OpenAnswered,
    Paused,
    Ping,
    Pong,
    Requested,
    Resumed,
)
from gcmedia.types import Hole

from .pair import MONO, STEREO, Pair, call, of

L16 = Media("L16", ("internal", "external"))


def drive(pair: Pair, action: tuple[str, int]) -> None:
    """One action of one end, or of the link."""
    what, n = action
    now = pair.now
    match what:
        case "audio":
            pair.audio(n)
        case "burst":
            for _ in range(8):
                pair.audio(n * 7)
        case "up" | "down":
            for _ in range(n % 5):
                pair.step(up=what == "up")
        case "discard":
            pair.client.discard(n, now)
        case "hold":
            pair.client.pause(now)
        case "let_go":
            pair.client.resume(now)
        case "pause":
            pair.server.pause(now)
        case "resume":
            pair.server.resume(now)
        case "event":
            pair.server.send_event([{"type": "x", "data": n}], now)
        case "update":
            pair.client.update("en-US", now)
            pair.server.updated(now)
        case "error":
            pair.client.error(429, "slow down", now, retry_after_s=n / 1000)
        case "wait":
            pair.wait(n / 1000)
        case "settle":
            pair.settle()
    pair.collect()


actions = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "audio",
                "audio",
                "audio",
                "burst",
                "up",
                "down",
                "discard",
                "hold",
                "let_go",
                "pause",
                "resume",
                "event",
                "update",
                "error",
                "wait",
                "settle",
            ]
        ),
        st.integers(0, 2000),
    ),
    max_size=40,
)


@given(actions, st.sampled_from([STEREO, MONO, L16]), st.booleans(), st.integers(0, 3000), st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_servers_timeline_is_the_clients_to_the_sample(
    script: list[tuple[str, int]], media: Media, start_paused: bool, discard_to: int, declared: bool
) -> None:
    def answer(offer: Open, chosen: Media | None) -> Answer:
        return Answer(chosen, start_paused, discard_to or None)

    pair = Pair(
        call(media),
        answer=answer,
        server=AudioHookConfig(holes="declared" if declared else "counted"),
        client=AudioHookClientConfig(pong_timeout_s=600.0, ping_interval_s=500.0),
    ).start()
    for action in script:
        drive(pair, action)
    pair.settle()
    pair.client.close("end", pair.now)
    pair.settle()
    pair.hang_up()
    assert pair.client.violations == []
    assert pair.server.anomalies.keys() <= {"empty frame"}
    assert pair.server.position == pair.client.position
    assert pair.received() == [(position, n) for position, n in pair.sent if n]
    assert pair.server.received_samples == pair.client.sent_samples
    assert pair.server.missing_samples == pair.client.dropped_samples
    assert pair.tiles()
    assert pair.server_events[-1] == Ended("end", True)
    assert pair.client_events[-1] == Ended("end", True)


def test_a_recording_with_pauses_discards_and_a_late_burst_is_the_clients_timeline_to_the_sample() -> None:
    """The whole way: source, client, link, server, core; what was dropped is silence."""
    source = bytes((i * 37 + i // 251) & 0xFF for i in range(2 * 8000 * 30))
    pair = Pair(call(STEREO)).start()
    receiver = StreamReceiver("PCMU", 8000, 2)
    kept = bytearray()  # what the server must end up with
    at = 0

    def bring(n_samples: int, *, drop: bool = False) -> None:
        """The next of the source, which goes on whether anybody listens or not."""
        nonlocal at
        payload = source[2 * at : 2 * (at + n_samples)]
        at += n_samples
        if drop:
            pair.client.discard(n_samples, pair.now)
            kept.extend(b"\xff" * len(payload))
        elif pair.client.audio(payload, pair.now):
            pair.collect()
            pair.to_server.append(payload)
            kept.extend(payload)
        else:
            kept.extend(b"\xff" * len(payload))

    for _ in range(50):  # 10 s late, all at once, in frames of 0.2 s and one of 4 s
        bring(1600)
    bring(32_000)
    pair.settle()
    pair.server.pause(pair.now)
    bring(811)  # on its way when the pause comes
    pair.settle()
    bring(4001)
    pair.client.pause(pair.now)
    bring(1)
    pair.server.resume(pair.now)
    pair.settle()
    bring(333)
    pair.client.resume(pair.now)
    bring(1600)
    bring(8000, drop=True)
    bring(79)  # a partial frame
    pair.server.pause(pair.now)
    pair.settle()
    bring(5000)
    pair.client.close("end", pair.now)
    pair.settle()
    pair.hang_up()
    for event in pair.server_events:
        if isinstance(event, Audio):
            receiver.push(event.payload)
        for hole in event.holes if isinstance(event, Discarded | Resumed | Closing) else ():
            receiver.hole(hole.n_samples, hole.cause)
    receiver.flush()
    lines: list[list[int]] = [[], []]
    for frame in receiver.frames():
        lines[frame.channel] += frame.raw
    reference = StreamReceiver("PCMU", 8000, 2)
    reference.push(bytes(kept))
    reference.flush()
    expected: list[list[int]] = [[], []]
    for frame in reference.frames():
        expected[frame.channel] += frame.raw
    assert lines == expected
    assert len(lines[0]) == at == pair.client.position == pair.server.position == receiver.end
    assert [(hole.n_samples, hole.cause) for hole in pair.holes()] == [
        (4001 + 1 + 333, "paused"),
        (8000, "discarded"),
        (5000, "paused"),
    ]


@given(actions, st.integers(0, 60), st.sampled_from(["lose", "twice", "cut", "seq", "swap", "garbage", "octets"]))
@settings(max_examples=200, deadline=None)
def test_a_broken_link_ends_the_session_by_the_protocol_and_nothing_raises(
    script: list[tuple[str, int]], when: int, fault: str
) -> None:
    pair = Pair(client=AudioHookClientConfig(strict=True)).start()
    for at, action in enumerate([*script, ("settle", 0), ("audio", 160), ("event", 1), ("settle", 0)]):
        if at == when % (len(script) + 1):
            break_queue(pair, fault)
        drive(pair, action)
    pair.settle()
    pair.client.close("end", pair.now)
    pair.settle()
    for _ in range(10):
        pair.wait(30.0)
        pair.settle()
    assert pair.server.over or pair.client.over
    pair.hang_up()
    assert isinstance(pair.server_events[-1], Ended)
    assert isinstance(pair.client_events[-1], Ended)
    assert len(of(pair.server_events, Ended)) == len(of(pair.client_events, Ended)) == 1
    assert len(of(pair.server_events, Failed)) <= 1
    assert len(of(pair.client_events, Failed)) <= 1
    assert pair.received() == sorted(pair.received())


def break_queue(pair: Pair, fault: str) -> None:
    pair.collect()
    for queue in (pair.to_server, pair.to_client):
        for at, message in enumerate(queue):
            if not isinstance(message, str):
                continue
            changed = json.loads(message)
            match fault:
                case "lose":
                    del queue[at]
                case "twice":
                    queue.insert(at, message)
                case "cut":
                    queue[at] = message[: len(message) // 2]
                case "seq":
                    queue[at] = json.dumps({**changed, "seq": 77})
                case "swap":
                    queue[at], queue[0] = queue[0], message
                case "garbage":
                    queue.insert(at, "\x00")
                case "octets":
                    queue.insert(at, b"abc")
            break


# What they say to each other


def test_ping_tells_the_time_of_the_one_before() -> None:
    pair = Pair().start()
    pair.wait(1.0)
    pair.now += 0.025
    pair.step(up=True)
    pair.step(up=False)
    pair.settle()
    assert [event.rtt_s for event in of(pair.client_events, Pong)] == [pytest.approx(0.025), 0.0]
    rtts = [event.rtt_s for event in of(pair.server_events, Ping)]
    assert rtts == [None, pytest.approx(0.025, abs=1e-9)]
    pair.wait(4.9)
    assert len(of(pair.server_events, Ping)) == 2
    pair.wait(0.2)
    pair.settle()
    assert len(of(pair.server_events, Ping)) == 3


def test_two_pauses_are_independent() -> None:
    pair = Pair().start()
    pair.client.pause(pair.now)
    pair.settle()
    pair.server.pause(pair.now)
    pair.settle()
    assert not pair.audio(160)
    pair.server.resume(pair.now)
    pair.settle()
    assert pair.client.paused
    assert pair.server.paused
    assert not pair.audio(160)
    pair.client.resume(pair.now)
    pair.settle()
    assert pair.audio(160)
    pair.settle()
    paused = of(pair.server_events, Paused)
    assert [(event.by_server, event.repeated) for event in paused] == [(False, False), (True, True), (False, True)]
    assert of(pair.server_events, Resumed) == [Resumed(320, (Hole(0, 320, "paused"),))]
    assert [event.paused for event in of(pair.client_events, Requested)] == [True, True]
    assert pair.received() == [(320, 160)]


def test_a_resume_that_nothing_waits_for_changes_nothing() -> None:
    pair = Pair().start()
    pair.audio(100)
    pair.server.resume(pair.now)
    pair.settle()
    assert of(pair.server_events, Resumed) == [Resumed(100, (), True)]
    pair.audio(100)
    pair.settle()
    assert pair.received() == [(0, 100), (100, 100)]
    assert pair.server.anomalies == {}


def test_a_position_that_stands_while_paused_is_one_way_of_counting() -> None:
    pair = Pair(client=AudioHookClientConfig(paused_position="stands")).start()
    pair.audio(100)
    pair.server.pause(pair.now)
    pair.settle()
    pair.audio(500)
    pair.server.resume(pair.now)
    pair.settle()
    pair.audio(100)
    pair.client.close("end", pair.now)
    pair.settle()
    assert pair.holes() == []
    assert pair.server.position == pair.client.position == 200
    assert pair.server.anomalies == {}


def test_a_pause_that_lasts_to_the_end_is_a_hole_too() -> None:
    pair = Pair().start()
    pair.audio(100)
    pair.server.pause(pair.now)
    pair.settle()
    pair.audio(700)
    pair.client.close("end", pair.now)
    pair.settle()
    assert of(pair.server_events, Closing) == [Closing("end", 800, (Hole(100, 700, "paused"),))]


def test_discard_to_skips_history() -> None:
    pair = Pair(answer=lambda offer, media: Answer(media, discard_to=8000)).start()
    assert of(pair.client_events, OpenAnswered)[0].skip_samples == 8000
    assert of(pair.server_events, Discarded) == [Discarded(8000, (Hole(0, 8000, "discarded"),))]
    pair.audio(10)
    pair.settle()
    assert pair.received() == [(8000, 10)]


def test_a_stream_that_goes_on_after_a_reconnect_begins_where_it_says() -> None:
    pair = Pair(call(STEREO, position=80_000), answer=lambda offer, media: Answer(media, discard_to=88_000)).start()
    pair.audio(10)
    pair.settle()
    assert pair.received() == [(88_000, 10)]
    assert pair.holes() == [Hole(80_000, 8000, "discarded")]
    assert pair.tiles()


def test_two_way_audio_with_barge_in_variables_and_playback() -> None:
    pair = Pair(
        call(MONO, input_variables={"queue": "sales"}),
        server=AudioHookConfig(two_way=True),
        client=AudioHookClientConfig(two_way=True),
    ).start()
    assert pair.server.offer is not None
    assert pair.server.offer.input_variables == {"queue": "sales"}
    pair.server.send_audio(bytes(150_000), pair.now)
    pair.collect()
    assert [len(message) for message in pair.to_client] == [64_000, 64_000, 22_000]
    pair.settle()
    heard = of(pair.client_events, Audio)
    assert [(event.position, event.n_samples) for event in heard] == [
        (0, 64_000),
        (64_000, 64_000),
        (128_000, 22_000),
    ]
    pair.client.playback(True, pair.now)
    pair.client.dtmf("5", pair.now)
    pair.client.playback(False, pair.now)
    pair.settle()
    kinds = [type(event).__name__ for event in pair.server_events[1:]]
    assert kinds == ["Playback", "Dtmf", "Playback"]
    assert pair.server_events[2].digit == "5"
    assert "5" not in repr(pair.server_events[2])
    from gcmedia.dialects.audiohook.entities import BargeIn, BotTurn

    pair.server.send_event([BargeIn(), BotTurn("match", "yes", 0.9)], pair.now)
    pair.server.output_variables = {"intent": "pay"}
    pair.server.disconnect("completed", pair.now)
    pair.settle()
    entities = of(pair.client_events, EventReceived)[0].entities
    assert entities == (
        {"type": "barge_in", "data": {}},
        {"type": "bot_turn_response", "data": {"disposition": "match", "text": "yes", "confidence": 0.9}},
    )
    told = [getattr(event, "output_variables", None) for event in pair.client_events]
    assert [variables for variables in told if variables] == [{"intent": "pay"}] * 2
    assert pair.client_events[-1] == Ended("disconnect", True)


def test_last_events_may_follow_close_for_a_time() -> None:
    pair = Pair(server=AudioHookConfig(final_events_s=2.0)).start()
    pair.client.close("end", pair.now)
    pair.settle()
    assert pair.server.state == "finishing"
    assert pair.server.send_event([{"type": "last", "data": 1}], pair.now)
    pair.wait(1.9)
    assert pair.server.state == "finishing"
    pair.wait(0.2)
    pair.settle()
    assert pair.client_events[-1] == Ended("end", True)
    assert len(of(pair.client_events, EventReceived)) == 1
    assert not pair.server.send_event([], pair.now)


def test_last_events_end_when_the_server_says_so() -> None:
    pair = Pair(server=AudioHookConfig(final_events_s=5.0)).start()
    pair.client.close("end", pair.now)
    pair.settle()
    assert pair.server.finish(pair.now)
    pair.settle()
    assert pair.client.over
    assert not pair.server.finish(pair.now)


def test_reconnect_hands_over_when_the_integration_has_it() -> None:
    pair = Pair(server=AudioHookConfig(reconnect=True)).start()
    pair.audio(1600)
    pair.settle()
    assert pair.server.reconnect("restart", pair.now)
    pair.settle()
    checkpoint = pair.server.checkpoint
    later = Pair(
        call(STEREO, position=1600, continued_sessions=(checkpoint,)),
        answer=lambda offer, media: Answer(media, discard_to=1600),
    ).start()
    assert later.server.offer is not None
    assert later.server.offer.continued_sessions == (checkpoint,)
    pair.client.close("reconnect", pair.now)
    pair.settle()
    assert pair.client_events[-1] == Ended("reconnect", True)
    pair.hang_up()
    assert pair.server_events[-1] == Ended("reconnect", True)
