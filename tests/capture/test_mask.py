"""Masking: what is said behind it is nowhere, and everything else is where it was."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

import numpy as np
import pytest

from gcmedia import ConfigError, Frame, GateConfig
from gcmedia.capture import Capture
from gcmedia.masking import MASKED_TEXT, Masking
from gcmedia.record import Timeline, read_wav, verify_call
from gcmedia.simulator import Call
from tests.reference.g711 import ulaw_decode, ulaw_encode

from .running import run

CALL = Call.demo(seconds=6)
RATE = 8000
BEGIN, END = 100, 300  # frames of both channels between which it is asked for


@pytest.mark.anyio
@pytest.mark.parametrize("fill", ["silence", "tone"])
@pytest.mark.parametrize("layout", ["raw", "clean"])
async def test_what_is_masked_is_in_no_file_and_no_frame(fill: str, layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "call"
    live: list[Capture] = []
    asked: list[int] = []

    async def act(call: Capture, n_frames: int) -> None:
        if n_frames == BEGIN:
            await call.mask(fill)
            await call.mask(fill)  # again changes nothing
            asked.append(call.position)
        elif n_frames == END:
            await call.unmask()
            await call.unmask()
            asked.append(call.position)

    found = await run_acting(folder, act, live, GateConfig() if layout == "clean" else None)
    timeline = Timeline.load(folder / "timeline.json")
    ((position, n_samples, kind),) = timeline.masks
    assert kind == fill
    assert position <= asked[0]
    assert position + n_samples >= asked[1]  # with all that had been received by then
    assert timeline.n_samples == CALL.n_samples
    assert [event["kind"] for event in timeline.events if "mask" in event["kind"]] == ["masked", "unmasked"]
    actions = [json.loads(line)["action"] for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert actions.count("masked") == actions.count("unmasked") == 1
    spoken = ulaw_decode(ulaw_encode(CALL.pcm(RATE, 2)))
    masked = np.zeros(CALL.n_samples, bool)
    masked[position : position + n_samples] = True
    expected = np.zeros(CALL.n_samples, np.int16)
    if fill == "tone":
        one = [round(3277 * np.sin(2 * np.pi * i / 16)) for i in range(16)]
        expected = np.resize(np.array(one, np.int16), CALL.n_samples)
    for channel, name in enumerate(("external", "internal")):
        raw = np.frombuffer(read_wav(folder / f"raw-{name}.wav").data, np.int16)
        assert np.array_equal(raw[masked], expected[masked])
        assert np.array_equal(raw[~masked], spoken[~masked, channel])
        heard = np.concatenate([np.frombuffer(frame.pcm, np.int16) for frame in found if frame.channel == channel])
        assert np.array_equal(heard[masked], expected[masked])
        if layout == "clean":
            clean = np.frombuffer(read_wav(folder / f"clean-{name}.wav").data, np.int16)
            assert np.array_equal(clean, heard)
    assert verify_call(folder).ok


async def run_acting(folder: Path, act: object, live: list[Capture], gate: GateConfig | None) -> list[Frame]:
    """Capture at an even pace, with something done at some frames."""
    from gcmedia.capture import capture
    from gcmedia.simulator import Simulator
    from tests.clocks import HurriedClock

    from .running import CONVERSATION, SPEED, UNHURRIED, credentials, patient

    frames: list[Frame] = []
    async with (
        Simulator({CONVERSATION: CALL}, speed=20.0) as cloud,
        capture(
            CONVERSATION,
            credentials=credentials(cloud),
            profile=patient(),
            clock=HurriedClock(SPEED),
            folder=folder,
            gate=gate,
            jitter=UNHURRIED,
            overflow="wait",
            max_frames=4,
        ) as call,
    ):
        async for frame in call:
            frames.append(frame)
            await act(call, len(frames))  # type: ignore[operator]
    return frames


@pytest.mark.anyio
async def test_words_behind_a_mask_are_masked_too(tmp_path: Path) -> None:
    folder = tmp_path / "call"
    heard: list[str] = []
    found = await run(CALL)
    said = [transcript.text for transcript in found.transcripts]
    assert said

    async def act(call: Capture, n_frames: int) -> None:
        if n_frames == 1:
            await call.mask()

    live: list[Capture] = []
    await run_acting(folder, act, live, None)
    written = (folder / "transcript.json").read_text() + (folder / "transcript.vtt").read_text()
    heard = [entry["text"] for entry in json.loads((folder / "transcript.json").read_text())]
    assert heard.count(MASKED_TEXT) >= len(said) - 1
    for text in said[1:]:
        assert text not in written


def test_a_mask_covers_what_it_must() -> None:
    masking = Masking()
    assert not masking.active
    assert not masking.end(5)
    with pytest.raises(ConfigError, match="fill is 'noise'"):
        masking.begin(0, "noise")
    assert masking.begin(800, "silence")
    assert not masking.begin(900, "tone")
    assert masking.covers(10_000, 1)
    assert not masking.covers(0, 800)
    assert masking.covers(0, 801)
    assert masking.end(1600)
    assert not masking.end(2000)
    assert masking.ended(1599) is None
    assert masking.ended(1600) == (800, 800, "silence")
    assert not masking.active
    assert masking.covers(1599, 0)
    assert not masking.covers(1600, 100)
    assert masking.begin(3200, "tone")
    masking.end(4000)
    assert masking.begin(3500, "tone")  # taken back before it was over
    assert masking.ended(4000) is None
    assert masking.finish(5000) == (3200, 1800, "tone")
    assert masking.finish(6000) is None


def test_a_masked_frame_has_nothing_of_the_other() -> None:
    from gcmedia import Receiver

    receiver = Receiver(jitter=None)
    for number in range(10):
        receiver.push_media(number, number * 20, b"\x01" * 160, number * 0.02)
    receiver.flush()
    frame = next(iter(receiver.frames(1.0)))
    masked = frame.masked(array("h", [0] * 160))
    assert (masked.position, masked.channel, masked.n_samples, masked.sample_rate) == (0, 0, 160, 8000)
    assert masked.silent
    assert masked.raw.tobytes() == masked.pcm.tobytes() == bytes(320)
    assert masked.level_dbov == float("-inf")
    assert frame.raw.tobytes() != bytes(320)
    loud = frame.masked(array("h", [100] * 160))
    assert not loud.silent
    assert loud.level_dbov == pytest.approx(20 * np.log10(100 / 32768))
    with pytest.raises(ValueError, match="pcm has 159 samples, the frame 160"):
        frame.masked(array("h", [0] * 159))
