"""What users and other sources put on the timeline: words of their own, of the platform, and events."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import pytest

from gcmedia import RecordConfig, TokenProvider, Transcript
from gcmedia.capture import Capture, capture
from gcmedia.dialects.notifications import Utterance
from gcmedia.record import Timeline, TranscriptLog, verify_call, wav_info
from gcmedia.simulator import Call, Disconnect, Faults, Simulator
from tests.clocks import HurriedClock

from .running import CONVERSATION, SPEED, UNHURRIED, credentials, patient

pytestmark = pytest.mark.anyio

CALL = Call.demo(seconds=4)
ROOT = Path(__file__).parents[2]


class StillClock(HurriedClock):
    """Wall time that goes with the audio: the call began at this second."""

    BEGAN = 1_795_000_000.0

    def __init__(self) -> None:
        super().__init__(SPEED)
        self.call: Capture | None = None

    def wall(self) -> float:
        return self.BEGAN + (0.0 if self.call is None else self.call.position / 8000)


def utterance(start_ms: int | None, text: str, duration_ms: int = 400) -> Utterance:
    return Utterance(
        utterance_id=text,
        conversation_id="c",
        communication_id="l",
        channel="external",
        start_ms=start_ms,
        duration_ms=duration_ms,
        text=text,
        confidence=0.8,
        final=True,
        words=(),
    )


@pytest.mark.parametrize("transcripts_at", ["playout", "once"])
async def test_words_from_elsewhere_are_pinned_recorded_and_handed_on(transcripts_at: str, tmp_path: Path) -> None:
    clock = StillClock()
    folder = tmp_path / "call"
    async with (
        Simulator({CONVERSATION: CALL}) as cloud,
        capture(
            CONVERSATION,
            credentials=credentials(cloud),
            profile=patient(),
            clock=clock,
            folder=folder,
            jitter=UNHURRIED,
            overflow="wait",
            max_frames=4,
            transcripts_at=transcripts_at,
        ) as call,
    ):
        clock.call = call
        n_frames = 0
        async for _ in call:
            n_frames += 1
            if n_frames == 100:  # a second of both channels
                call.add_transcript(Transcript("of my own", 0.7, 24_000, 800, "internal", 3000))
                begun_ms = round(clock.BEGAN * 1000)
                call.add_utterance(utterance(begun_ms + 500, "half a second"))
                call.add_utterance(utterance(begun_ms - 5000, "before the call"))
                call.add_utterance(utterance(begun_ms - 100, "across its beginning"))
                call.add_utterance(utterance(None, "at no time"))
                call.note("muted", actor="supervisor", outcome="confirmed")
        told = {one.text: one async for one in call.transcripts}
    written = {one.text: one for one in TranscriptLog.load(folder / "transcript.json", 8000).entries}
    assert written == told
    assert (told["of my own"].position, told["of my own"].channel) == (24_000, "internal")
    # The newest sample received is known to within the packets that wait.
    assert abs(told["half a second"].position - 4000) <= 8 * 160
    assert told["half a second"].n_samples == 3200
    assert told["across its beginning"].position in range(8 * 160)
    assert "before the call" not in told
    assert "at no time" not in told
    (muted,) = [event for event in Timeline.load(folder / "timeline.json").events if event["kind"] == "muted"]
    assert (muted["actor"], muted["outcome"], muted["position"]) == ("supervisor", "confirmed", muted["position"])
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert [line["actor"] for line in lines if line["action"] == "muted"] == ["supervisor"]


DIES = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from tests.record.test_folder import STEREO, CallFolder, frame
folder = CallFolder(sys.argv[1], STEREO, conversation_id="c", clean=False)
for index in range(100):
    for channel in (0, 1):
        folder.frame(frame(channel, index * 160, index), index * 0.02)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_room_is_mended_before_the_first_call_in_it(tmp_path: Path) -> None:
    room = tmp_path / "calls"
    await anyio.run_process([sys.executable, "-c", DIES, str(room / "cut-off"), str(ROOT)], check=False)
    assert verify_call(room / "cut-off").state == "cut off"
    async with (
        Simulator({CONVERSATION: CALL}) as cloud,
        capture(
            CONVERSATION,
            credentials=credentials(cloud),
            profile=patient(),
            clock=HurriedClock(SPEED),
            record_to=room,
            recording=RecordConfig(layout="interleaved", encoding="received"),
            overflow="wait",
            jitter=UNHURRIED,
        ) as call,
    ):
        async for _ in call:
            pass
    assert verify_call(room / "cut-off").ok
    assert verify_call(room / CONVERSATION).ok
    assert wav_info(room / CONVERSATION / "raw.wav")[:3] == (8000, 2, "PCMU")


async def test_another_token_is_an_event(tmp_path: Path) -> None:
    faults = Faults(disconnects=(Disconnect(2000, "abnormal", 100),))
    async with Simulator({CONVERSATION: CALL}, faults) as cloud:
        tokens = TokenProvider(credentials(cloud))
        call = capture(
            CONVERSATION,
            token=tokens,
            region=cloud.base_url,
            profile=patient(),
            clock=HurriedClock(SPEED),
            folder=tmp_path / "call",
            overflow="wait",
            jitter=UNHURRIED,
        )
        used = await tokens.token()
        async with call:
            async for frame in call:
                if frame.position == 8000:
                    tokens.invalidate(used)
        await tokens.aclose()
    kinds = [event["kind"] for event in Timeline.load(tmp_path / "call" / "timeline.json").events]
    assert [kind for kind in kinds if kind != "unknown_message"] == [
        "connected",
        "reconnecting",
        "token_refresh",
        "reconnected",
        "ended",
    ]
