"""Calls of the client's end to gcmedia's own server."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from gcmedia import ConfigError, FormatError, HandshakeError, ulaw_decode, ulaw_encode
from gcmedia.dialects.audiohook import AudioHookClientConfig, AudioHookConfig, Media, events
from gcmedia.server import HookCall
from gcmedia.simulator.audiohook import (
    Action,
    AudioHookClient,
    Caller,
    Dialer,
    Line,
    Script,
    Speech,
    offer_of,
    probe_of,
)

from .servers import API_KEY, SECRET, an_offer, real_server

pytestmark = pytest.mark.anyio

STEREO = Media("PCMU", ("external", "internal"))


def noise(seconds: float, channels: int = 2) -> NDArray[np.int16]:
    return np.random.default_rng(5).integers(-9000, 9000, (int(seconds * 8000), channels), dtype=np.int16)


def a_caller(organization_id: str) -> Caller:
    return Caller(API_KEY, SECRET, organization_id)


def a_dialer(url: str, speech: Speech, *actions: Action, **options: Any) -> Dialer:
    offer = options.pop("offer", None) or an_offer(options.pop("channels", "external,internal"))
    script = Script(actions, **{"speed": 20.0, **options.pop("script", {})})
    return Dialer(url, offer, speech, script=script, caller=a_caller(offer.organization_id), **options)


async def until(there: Callable[[], bool]) -> None:
    while not there():  # noqa: ASYNC110 - counters have no event
        await anyio.sleep(0.02)


def recorded(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def samples_of(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


async def test_a_recording_is_exact_to_the_sample(tmp_path: Path) -> None:
    speech = Speech(noise(12.0))
    actions = (
        Action(2.5, "pause", "1.25"),
        Action(5.0, "discard", "0.753125"),
        Action(6.5, "stall", "4"),
        Action(9.0, "pause", "0.5"),
        Action(10.0, "discard", "0.000125"),
    )
    async with real_server(record_to=tmp_path) as (_, url):
        report = await a_dialer(url, speech, *actions, script={"burst_s": 2.0}).run()
    session = report.sessions[0]
    assert report.conforming, [str(found) for found in session.conformity.findings]
    missing = np.zeros(12 * 8000, bool)
    for at_s, length_s in ((2.5, 1.25), (5.0, 0.753125), (9.0, 0.5), (10.0, 0.000125)):
        missing[round(at_s * 8000) : round((at_s + length_s) * 8000)] = True
    assert session.position == len(missing)
    assert session.dropped_samples == missing.sum()
    [folder] = recorded(tmp_path)
    for column, name in enumerate(("external", "internal")):
        found = samples_of(folder / f"raw-{name}.wav")
        sent = np.frombuffer(ulaw_decode(ulaw_encode(np.ascontiguousarray(noise(12.0)[:, column]))), np.int16)
        assert len(found) == len(sent)
        assert np.array_equal(found[~missing], sent[~missing])
        assert not found[missing].any()
    timeline = json.loads((folder / "timeline.json").read_text())
    assert [(hole["position"], hole["n_samples"], hole["cause"]) for hole in timeline["holes"]] == [
        (20_000, 10_000, "paused"),
        (40_000, 6025, "discarded"),
        (72_000, 4000, "paused"),
        (80_000, 1, "discarded"),
    ]


@pytest.mark.parametrize(
    ("channels", "taken"),
    [
        ("internal,external", "PCMU internal+external 8000"),
        ("external", "PCMU external 8000"),
        ("internal", "PCMU internal 8000"),
    ],
)
async def test_channels_are_sent_in_the_order_offered(tmp_path: Path, channels: str, taken: str) -> None:
    async with real_server(record_to=tmp_path) as (_, url):
        report = await a_dialer(url, Speech(noise(1.0)), channels=channels).run()
    assert report.sessions[0].media == taken
    [folder] = recorded(tmp_path)
    for name in channels.split(","):
        column = ("external", "internal").index(name)
        sent = ulaw_decode(ulaw_encode(np.ascontiguousarray(noise(1.0)[:, column])))
        assert samples_of(folder / f"raw-{name}.wav").tobytes() == sent


async def test_l16_arrives_as_it_was_sent(tmp_path: Path) -> None:
    async with real_server(record_to=tmp_path) as (_, url):
        offer = an_offer()
        offer = type(offer)(offer.organization_id, offer.conversation_id, offer.participant, offer_of(formats=("L16",)))
        report = await a_dialer(url, Speech(noise(1.0)), offer=offer).run()
    assert report.sessions[0].media == "L16 external+internal 8000"
    [folder] = recorded(tmp_path)
    assert np.array_equal(samples_of(folder / "raw-internal.wav"), noise(1.0)[:, 1])


async def test_a_probe_opens_and_closes_and_leaves_nothing(tmp_path: Path) -> None:
    async with real_server(record_to=tmp_path) as (server, url):
        report = await a_dialer(url, Speech(noise(1.0)), offer=probe_of(an_offer())).run()
        assert server.counters.probes == 1
    assert report.conforming
    assert report.sessions[0].clean
    assert report.sessions[0].sent_frames == 0
    assert recorded(tmp_path) == []


async def test_a_wrong_secret_is_refused() -> None:
    offer = an_offer()
    caller = Caller(API_KEY, "bm90IHRoZSBzZWNyZXQ=", offer.organization_id)
    async with real_server() as (_, url):
        with pytest.raises(HandshakeError, match="401"):
            await Dialer(url, offer, Speech(noise(0.2)), caller=caller).run()
        with pytest.raises(HandshakeError, match="401"):  # not signed, though the key has a secret
            await Dialer(url, offer, Speech(noise(0.2)), caller=Caller(API_KEY)).run()


async def test_a_server_may_pause_go_on_and_end() -> None:
    paused, resumed = anyio.Event(), anyio.Event()

    async def handler(call: HookCall) -> None:
        await call.pause()
        await paused.wait()
        await until(lambda: dialer.clients[0].machine.position > 0)  # which goes on, though nothing is sent
        await call.resume()
        await resumed.wait()
        assert call.disconnect("completed", info="that was all")

    def take(number: int, event: Any) -> None:
        if isinstance(event, events.Requested):
            (paused if event.paused else resumed).set()

    async with real_server(handler) as (_, url):
        dialer = a_dialer(url, Speech(noise(1.0)), on_event=take, script={"seconds": 3600.0})
        with anyio.fail_after(30):
            report = await dialer.run()
    session = report.sessions[0]
    assert report.conforming, [str(found) for found in session.conformity.findings]
    assert (session.disconnect, session.reason, session.clean) == ("completed", "disconnect", True)
    assert session.position == session.sent_samples + session.dropped_samples
    assert session.dropped_samples > 0


async def test_a_call_may_be_ended_from_outside() -> None:
    opened = anyio.Event()

    def take(number: int, event: Any) -> None:
        if isinstance(event, events.OpenAnswered):
            opened.set()

    async with real_server() as (server, url), anyio.create_task_group() as tasks:
        dialer = a_dialer(url, Speech(noise(1.0)), on_event=take, script={"seconds": 3600.0})
        tasks.start_soon(dialer.run)
        await opened.wait()
        dialer.stop()
    assert dialer.report.stopped
    assert (dialer.report.sessions[0].reason, dialer.report.sessions[0].clean) == ("end", True)
    assert server.counters.ended["end"] == 1


async def test_another_session_takes_over_where_the_server_or_the_script_says(tmp_path: Path) -> None:
    protocol = AudioHookConfig()
    async with real_server(record_to=tmp_path, protocol=protocol) as (server, url):
        actions = Action(2.0, "reconnect"), Action(3.0, "drop")
        report = await a_dialer(url, Speech(noise(4.0)), *actions, script={"replay_s": 1.0}).run()
        assert server.counters.opened == 3
    first, second, third = report.sessions
    assert (first.reason, first.clean) == ("reconnect", True)
    assert (second.reason, second.clean) == ("connection lost", False)
    assert (third.reason, third.clean, third.position) == ("end", True, 32_000)
    assert first.position == 16_000
    assert second.position - second.sent_samples == 8000  # a second is sent again
    assert len({session.session_id for session in report.sessions}) == 3


async def test_continued_sessions_are_named_with_their_counters() -> None:
    opened: list[dict[str, Any]] = []

    def line(number: int, one: Line) -> None:
        if one.kind == "open":
            opened.append(json.loads(one.text))

    async with real_server() as (_, url):
        report = await a_dialer(url, Speech(noise(2.0)), Action(1.0, "reconnect"), on_line=line).run()
    first = report.sessions[0]
    assert "continuedSessions" not in opened[0]["parameters"]
    [named] = opened[1]["parameters"]["continuedSessions"]
    assert named["id"] == first.session_id
    assert named["serverseq"] >= 1
    assert named["clientseq"] >= 1


@pytest.mark.parametrize("fault", ["garbage", "wrong-seq", "odd-audio", "oversize", "bad-frame", "vanish"])
async def test_one_that_misbehaves_is_ended_and_its_neighbour_goes_on(fault: str) -> None:
    ended: dict[str, Any] = {}
    async with real_server() as (_, url), anyio.create_task_group() as tasks:

        async def misbehave() -> None:
            report = await a_dialer(url, Speech(noise(1.0)), Action(0.5, fault), script={"seconds": 40.0}).run()
            ended["bad"] = report.sessions[0]

        async def behave() -> None:
            ended["good"] = await a_dialer(url, Speech(noise(4.0))).run()

        tasks.start_soon(misbehave)
        tasks.start_soon(behave)
    assert ended["good"].conforming
    assert ended["good"].sessions[0].position == 32_000
    bad = ended["bad"]
    assert bad.position < 40 * 8000
    if fault in ("garbage", "wrong-seq", "odd-audio", "oversize"):
        assert (bad.disconnect, bad.reason, bad.clean) == ("error", "disconnect", True)
    else:
        assert not bad.clean


async def test_one_that_hangs_is_ended_by_the_server() -> None:
    protocol = AudioHookConfig(idle_timeout_s=0.3, close_timeout_s=0.3)
    async with real_server(protocol=protocol) as (server, url), anyio.create_task_group() as tasks:
        dialer = a_dialer(url, Speech(noise(1.0)), Action(0.5, "freeze", "30"), script={"seconds": 40.0})
        tasks.start_soon(dialer.run)
        with anyio.fail_after(20):
            await until(lambda: bool(server.counters.failed["timeout"] and not server.sessions))
        dialer.stop()
    assert dialer.clients[0].silent
    assert not dialer.report.sessions[0].clean


async def test_a_slow_reader_gets_its_answers_later() -> None:
    async with real_server() as (_, url):
        report = await a_dialer(url, Speech(noise(8.0)), Action(0.5, "slow-reader", "6")).run()
    assert report.conforming
    assert report.sessions[0].position == 64_000


async def test_audio_of_the_server_is_played_and_interrupted() -> None:
    config = AudioHookClientConfig(two_way=True, ping_interval_s=0.0)
    told: list[str] = []
    played = anyio.Event()

    def line(one: Line) -> None:
        if one.sent and one.kind.startswith("playback"):
            told.append(one.kind)
            if len(told) == 2:
                played.set()

    async def handler(call: HookCall) -> None:
        await call.send_audio(ulaw_encode(np.zeros(800, np.int16)))
        async for _ in call:
            pass

    offer = an_offer("external")
    async with real_server(handler, protocol=AudioHookConfig(two_way=True)) as (_, url):
        client = AudioHookClient(url, offer, caller=a_caller(offer.organization_id), config=config, on_line=line)
        async with client:
            assert await client.opened()
            with anyio.fail_after(20):
                await played.wait()
            await client.dtmf("5")
            report = await client.close()
    assert told == ["playback_started", "playback_completed"]
    assert report.server_audio_samples == 800
    assert bytes(client.playback.audio) == ulaw_encode(np.zeros(800, np.int16))
    assert report.conformity.conforming


def test_speech_of_two_files_is_two_channels(tmp_path: Path) -> None:
    for name, length in (("a.wav", 800), ("b.wav", 400)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(np.full(length, 1000, "<i2").tobytes())
    speech = Speech.from_wavs([tmp_path / "a.wav", tmp_path / "b.wav"])
    assert (speech.n_samples, speech.n_channels) == (800, 2)
    quiet, loud = ulaw_encode(np.array([0], np.int16)), ulaw_encode(np.array([1000], np.int16))
    assert speech.payload(0, 1, STEREO) == loud + loud
    assert speech.payload(500, 1, STEREO) == loud + quiet
    assert speech.payload(799, 2, STEREO) == loud + quiet + loud + loud  # from the beginning again
    with pytest.raises(ConfigError, match="3 WAV files"):
        Speech.from_wavs([tmp_path / "a.wav"] * 3)
    with pytest.raises(FormatError, match="shape"):
        Speech(np.zeros((0, 1), np.int16))


def test_mono_speech_is_what_the_party_asked_for_says() -> None:
    speech = Speech(np.full((8, 1), 1000, np.int16))
    loud, quiet = ulaw_encode(np.array([1000], np.int16)), ulaw_encode(np.array([0], np.int16))
    assert speech.payload(0, 1, STEREO) == loud + quiet
    assert speech.payload(0, 1, Media("PCMU", ("internal",))) == loud
    assert speech.payload(0, 1, Media("L16", ("external",)), "big") == (1000).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("pause", "1", "pause lasts ''"),
        ("pause", "x:1", "not AT or AT:VALUE"),
        ("pause", "1:-2", "pause lasts '-2'"),
        ("dtmf", "1:E", "key is 'E'"),
        ("error", "1:99", "code is '99'"),
        ("drop", "1:2", "takes no value"),
        ("dance", "1", "action is 'dance'"),
        ("update", "-1:en", "not 0 or more"),
        ("update", "1", "names no language"),
    ],
)
def test_actions_that_cannot_be_done_are_refused(kind: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Action.parse(kind, text)


def test_scripts_and_offers_are_checked() -> None:
    with pytest.raises(ConfigError, match="burst_s is 31"):
        Script(burst_s=31.0)
    with pytest.raises(ConfigError, match="close_reason is 'bye'"):
        Script(close_reason="bye")
    with pytest.raises(ConfigError, match="nothing that can be sent"):
        offer_of("left,right")
    with pytest.raises(ConfigError, match="not a URL of a WebSocket server"):
        Caller(API_KEY).headers("http://localhost/", 0)
    assert SECRET not in repr(Caller(API_KEY, SECRET))
