"""What is said, pinned to the samples of what is heard."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from websockets.sync.server import ServerConnection

from gcmedia import Transcript
from gcmedia.capture import MAX_TRANSCRIPTS, Capture, capture
from gcmedia.config import PlatformMediaConfig
from gcmedia.record.transcript import TranscriptLog
from gcmedia.simulator import Call, Disconnect, Faults, Jump, Span, Utterance

from .conftest import ScriptedServer
from .running import UNHURRIED, Run, by_turns, run
from .scripts import ACK, ENDED, Script, cuts, packets, plays, said

pytestmark = pytest.mark.anyio

Scripted = Callable[..., ScriptedServer]
MONO = PlatformMediaConfig(format="pcmu", sample_rate=8000)
CALL = Call.demo(seconds=14, first_sequence_number=3)


def assert_in_their_places(found: Run, *, within: int = 8) -> None:
    """Every line that was sent is there once, where it was said."""
    assert found.error is None
    expected = {line.text: line for line in found.truth.transcripts if line.fate == "sent"}
    assert len(expected) >= 2
    assert sorted(transcript.text for transcript in found.transcripts) == sorted(expected)
    for transcript in found.transcripts:
        line = expected[transcript.text]
        assert abs(transcript.position - line.start_ms * 8) <= within
        assert abs(transcript.n_samples - line.duration_ms * 8) <= 8
        assert (transcript.channel, transcript.server_timestamp) == (line.channel, line.timestamp)
        assert transcript.confidence == pytest.approx(0.93)


NETWORKS = {
    "perfect": Faults(),
    "late words": Faults(transcript_delay_ms=2500.0),
    "some words much later": Faults(seed=3, transcript_late=0.5, transcript_late_ms=6000.0),
    "words lost": Faults(seed=4, transcript_loss=0.3),
    "audio lost": Faults(seed=1, loss=0.2, gaps=(Span(5000, 1000),)),
    "sender idle": Faults(idle=(Span(2000, 1500), Span(6000, 500))),
    "reconnects": Faults(disconnects=(Disconnect(3000, "abnormal", 700), Disconnect(6000, "close:1012", 500))),
    "reconnects, new sequence": Faults(
        seed=2, disconnects=(Disconnect(3000, "abnormal", 700),), restart_sequence_on_reconnect=True
    ),
    "new sequence": Faults(seed=2, sequence_restarts_ms=(2000.0, 5000.0)),
    "numbers jump": Faults(sequence_jumps=(Jump(3000, 500),)),
    "disorder": Faults(seed=5, reorder=0.3, duplicates=0.2, jitter_ms=50.0),
}


@by_turns("name", NETWORKS)
@pytest.mark.parametrize("at", ["playout", "once"])
async def test_004_36_words_are_where_they_were_said(name: str, at: str) -> None:
    found = await run(CALL, NETWORKS[name], transcripts_at=at)
    assert_in_their_places(found)
    if name != "some words much later":  # than others that were said after them
        positions = [transcript.position for transcript in found.transcripts]
        assert positions == sorted(positions)


async def received(call: Capture, n_packets: int) -> None:
    """Wait until so many packets have come."""
    while call.stats().packets_received < n_packets:  # noqa: ASYNC110 -- counters tell nobody
        await anyio.sleep(0.001)


async def test_004_35_a_pause_does_not_make_words_drift(scripted: Scripted) -> None:
    """Words of before, of meanwhile and of after a pause of 50 packets."""
    words = [said("before", 200), said("meanwhile", 1500), said("after", 3000)]
    paused, resumed = threading.Event(), threading.Event()

    def script(websocket: ServerConnection) -> None:
        for message in [ACK, *packets(0, 50), words[0]]:
            websocket.send(message)
        paused.wait(10)
        for message in [*packets(50, 50), words[1]]:
            websocket.send(message)
        resumed.wait(10)
        plays(*packets(100, 100), words[2], ENDED)(websocket)

    server = scripted(script)
    with anyio.fail_after(60):
        async with capture("c", token="t", region=server.url, profile=MONO, jitter=UNHURRIED, overflow="wait") as call:
            n = 0
            async for frame in call:
                n += 1
                assert frame.position == 160 * (n - 1)
                if n == 40:
                    await received(call, 50)
                    await call.pause()
                    paused.set()
                    await received(call, 100)
                    await call.resume()
                    resumed.set()
        found = [(transcript.text, transcript.position) async for transcript in call.transcripts]
    assert found == [("before", 1600), ("meanwhile", 12_000), ("after", 24_000)]
    assert call.stats().packets_discarded == 50
    assert call.stats().balanced


# When they are handed on


def early_words(go: threading.Event) -> Script:
    """Words about audio that is still to come."""

    def script(websocket: ServerConnection) -> None:
        for message in [ACK, *packets(0, 10), said("second", 1400), said("first", 1000)]:
            websocket.send(message)
        go.wait(10)
        plays(*packets(10, 90), ENDED)(websocket)

    return script


@pytest.mark.parametrize("at", ["playout", "once"])
async def test_004_36_words_wait_for_their_audio_unless_told_not_to(scripted: Scripted, at: str) -> None:
    go = threading.Event()
    server = scripted(early_words(go))
    heard: list[tuple[str, int]] = []
    with anyio.fail_after(60):
        async with (
            capture(
                "c", token="t", region=server.url, profile=MONO, jitter=UNHURRIED, transcripts_at=at, max_frames=1000
            ) as call,
            anyio.create_task_group() as tasks,
        ):

            async def listen() -> None:
                async for transcript in call.transcripts:
                    heard.append((transcript.text, call.position))

            tasks.start_soon(listen)
            await anext(call)
            if at == "once":
                while len(heard) < 2:  # noqa: ASYNC110 -- there is no event for it
                    await anyio.sleep(0.005)
            else:
                await anyio.sleep(0.05)
                assert heard == []
            go.set()
            async for _ in call:
                pass
    if at == "once":
        assert [text for text, _ in heard] == ["second", "first"]  # as they came
        assert all(position < 2000 for _, position in heard)
    else:
        assert [text for text, _ in heard] == ["first", "second"]  # as they were said
        assert [position >= start for (_, position), start in zip(heard, (8000, 11_200), strict=True)] == [True, True]


async def test_004_36_words_that_come_before_any_audio_wait_for_it(scripted: Scripted) -> None:
    server = scripted(plays(ACK, said("early", 40), said("at once", 0), *packets(0, 20), ENDED))
    async with capture("c", token="t", region=server.url, profile=MONO) as call:
        assert len([frame async for frame in call]) == 20
    found = [(transcript.text, transcript.position) async for transcript in call.transcripts]
    assert found == [("at once", 0), ("early", 320)]


async def test_004_36_words_of_before_the_first_sample_are_at_the_start(scripted: Scripted) -> None:
    server = scripted(plays(ACK, *packets(100, 20), said("joined late", 500), ENDED))
    async with capture("c", token="t", region=server.url, profile=MONO) as call:
        assert [frame async for frame in call]
    assert [transcript.position async for transcript in call.transcripts] == [0]


async def test_words_without_any_audio_are_not_lost(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(plays(ACK, said("nobody heard", 5000), ENDED))
    async with capture("c", token="t", region=server.url, profile=MONO, folder=tmp_path / "call") as call:
        assert [frame async for frame in call] == []
    assert [transcript.text async for transcript in call.transcripts] == ["nobody heard"]
    assert [entry["text"] for entry in json.loads((tmp_path / "call" / "transcript.json").read_text())] == [
        "nobody heard"
    ]


async def test_words_of_before_an_outage_survive_it(scripted: Scripted) -> None:
    server = scripted(
        cuts(ACK, *packets(0, 50), said("before", 900)),
        plays(ACK, said("during", 1100), *packets(75, 25), said("after", 1600), ENDED),
    )
    async with capture("c", token="t", region=server.url, profile=MONO) as call:
        assert len([frame async for frame in call]) == 100
    found = [(transcript.text, transcript.position) async for transcript in call.transcripts]
    assert found == [("before", 7200), ("during", 8800), ("after", 12_800)]


# Words of any kind


NASTY = [
    "",
    " ",
    "\x00\x01\x1b[31m",
    "WEBVTT\n\n00:00:00.000 --> 99:00:00.000\nnot a cue",
    "<v Anna><script>alert(1)</script>&amp;",
    "\u202eright to left\u2066\ufeff",
    "\N{FAMILY}" * 100,
    "a" * 100_000,
    '"},{"type":"ack","status":"ended"}',
    "\r\n\r\n\u2028\u2029",
]


async def test_words_of_any_kind_reach_consumer_and_files(scripted: Scripted, tmp_path: Path) -> None:
    words = [said(text, 20 * n, channel=text[:20], confidence=0.5) for n, text in enumerate(NASTY)]
    server = scripted(plays(ACK, *packets(0, 20), *words, ENDED))
    folder = tmp_path / "call"
    async with capture("c", token="t", region=server.url, profile=MONO, folder=folder) as call:
        assert len([frame async for frame in call]) == 20
    assert [transcript.text async for transcript in call.transcripts] == NASTY
    stored = TranscriptLog.load(folder / "transcript.json", 8000)
    assert [entry.position for entry in stored.entries] == [160 * n for n in range(len(NASTY))]
    cues = [line for line in (folder / "transcript.vtt").read_text().splitlines() if "-->" in line]
    assert len(cues) == len(NASTY)  # what looks like a cue inside a text has been made harmless


@pytest.mark.parametrize("timestamp", [-(2**62), -1, 2**40, 2**62])
async def test_words_of_an_impossible_time_do_not_end_the_call(
    scripted: Scripted, timestamp: int, tmp_path: Path
) -> None:
    server = scripted(plays(ACK, *packets(0, 10), said("when?", timestamp), *packets(10, 10), ENDED))
    folder = tmp_path / "call"
    async with capture("c", token="t", region=server.url, profile=MONO, folder=folder) as call:
        assert len([frame async for frame in call]) == 20
    found = [transcript async for transcript in call.transcripts]
    assert [transcript.text for transcript in found] == ["when?"]
    assert found[0].position >= 0
    assert len(TranscriptLog.load(folder / "transcript.json", 8000).entries) == 1


async def test_confidence_is_brought_into_its_range(scripted: Scripted) -> None:
    words = [said("much", 0, confidence=1e308), said("little", 20, confidence=-3), said("none", 40)]
    server = scripted(plays(ACK, *packets(0, 10), *words, ENDED))
    async with capture("c", token="t", region=server.url, profile=MONO) as call:
        assert [frame async for frame in call]
    assert [transcript.confidence async for transcript in call.transcripts] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("timestamp", [10_000_000, 100], ids=["of a time to come", "of before any audio"])
async def test_words_that_wait_are_bounded(scripted: Scripted, timestamp: int) -> None:
    words = [said(str(n), timestamp + n) for n in range(MAX_TRANSCRIPTS + 500)]
    first, last = packets(0, 10), packets(10, 10)
    server = scripted(plays(ACK, *(first if timestamp > 1000 else ()), *words, *last, ENDED))
    async with capture("c", token="t", region=server.url, profile=MONO) as call:
        async for _ in call:
            assert len(call._unplayed) <= MAX_TRANSCRIPTS
            assert len(call._unplaced) <= MAX_TRANSCRIPTS
    found: list[Transcript] = [transcript async for transcript in call.transcripts]
    assert len(found) + call.transcripts.dropped == len(words)
    assert len(found) >= MAX_TRANSCRIPTS
    assert found[-1].text == str(len(words) - 1)


async def test_a_call_with_many_short_words() -> None:
    lines = [Utterance("external", f"word {n}", 20.0 * n + 7, 13.0) for n in range(200)]
    pcm = {name: CALL.pcm(8000, 2)[: 8000 * 5, n] for n, name in enumerate(CALL.channels)}
    found = await run(Call(pcm, utterances=lines))
    assert_in_their_places(found)
