"""What a recording of the server can be told: masks, files, a disk that fails, and the calls of a process that died."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from gcmedia import CompressorConfig, ConfigError, GateConfig, HookCall, RecordConfig
from gcmedia.record import read_wav, verify_call, wav_info
from gcmedia.server import AudioHookServer

from .dialer import PATIENCE_S, Dialer, dial, offer, server_of, settled
from .test_calls import recorded, timeline_of

pytestmark = pytest.mark.anyio

CONVERSATION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"


def tone(n_samples: int) -> np.ndarray[Any, Any]:
    """500 Hz at -20 dB, from position 0 on."""
    one = [round(3277 * np.sin(2 * np.pi * i / 16)) for i in range(16)]
    return np.resize(np.array(one, np.int16), n_samples)


@pytest.mark.parametrize("fill", ["silence", "tone"])
@pytest.mark.parametrize("consumed", [True, False])
async def test_what_is_masked_is_in_no_file_and_no_frame(
    transport: str, tmp_path: Path, fill: str, consumed: bool
) -> None:
    calls: list[HookCall] = []
    heard: list[tuple[int, int, bytes, bytes]] = []

    async def handler(call: HookCall) -> None:
        async for frame in call:
            heard.append((frame.channel, frame.position, bytes(frame.raw), bytes(frame.pcm)))

    def on_event(call: HookCall, event: dict[str, Any]) -> None:
        if event["kind"] == "opened":
            calls.append(call)

    async with server_of(
        handler if consumed else None, record_to=tmp_path, gate=GateConfig(), transport=transport, on_event=on_event
    ) as server:
        async with dial(server, offer(CONVERSATION)) as dialer:
            await dialer.audio(6)
            await dialer.ping()
            await calls[0].mask(fill)
            begin = calls[0].position
            await calls[0].mask(fill)  # again changes nothing
            await dialer.audio(4)
            await dialer.audio(1, 3202)  # leaves the frames' grid
            await dialer.ping()
            await calls[0].unmask()
            await calls[0].unmask()
            end = dialer.machine.position
            await dialer.audio(6)
            await dialer.ping()
            await calls[0].mask(fill)  # to the end
            await dialer.audio(2)
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    folder = tmp_path / CONVERSATION
    n_samples = dialer.machine.position
    manifest = json.loads((folder / "timeline.json").read_text())
    first, second = [(mask["position"], mask["position"] + mask["n_samples"]) for mask in manifest["masks"]]
    # From what had not left the gate by then, to the frame that holds the last sample received under it.
    assert 6 * 1600 - 320 <= first[0] == begin <= 6 * 1600
    assert end <= first[1] < end + 160
    assert second[0] < second[1] == n_samples
    masked = np.zeros(n_samples, bool)
    masked[first[0] : first[1]] = masked[second[0] :] = True
    assert second[0] >= 17 * 1600 - 320
    expected = tone(n_samples) if fill == "tone" else np.zeros(n_samples, np.int16)
    for channel, name in enumerate(("external", "internal")):
        raw, clean = recorded(folder, f"raw-{name}"), recorded(folder, f"clean-{name}")
        assert np.array_equal(raw, np.where(masked, expected, timeline_of(dialer, n_samples)[channel]))
        assert np.array_equal(clean[masked], expected[masked])
        if consumed:
            of_channel = [one for one in heard if one[0] == channel]
            assert b"".join(one[2] for one in of_channel) == raw.tobytes()
            assert b"".join(one[3] for one in of_channel) == clean.tobytes()
    kinds = [event["kind"] for event in manifest["events"] if "mask" in event["kind"]]
    assert kinds == ["masked", "unmasked", "masked"]
    assert manifest["identity"]["balanced"]
    assert not verify_call(folder).problems


@pytest.mark.parametrize(
    ("config", "files"),
    [
        (RecordConfig(layout="interleaved", clean=False), {"raw.wav": (2, "L16")}),
        (RecordConfig(encoding="received", clean=False, flush_s=0.0), {
            "raw-external.wav": (1, "PCMU"), "raw-internal.wav": (1, "PCMU"),
        }),
        (RecordConfig(rotate_s=1.0, clean=False), {
            f"raw-{name}{part}.wav": (1, "L16") for name in ("external", "internal") for part in ("", ".2", ".3")
        }),
    ],
    ids=["interleaved", "received", "rotated"],
)  # fmt: skip
async def test_files_are_as_the_settings_say(
    transport: str, tmp_path: Path, config: RecordConfig, files: dict[str, tuple[int, str]]
) -> None:
    async with server_of(
        record_to=tmp_path, gate=GateConfig(), compressor=CompressorConfig(), recording=config, transport=transport
    ) as server:
        async with dial(server, offer(CONVERSATION)) as dialer:
            await dialer.audio(12)
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    folder = tmp_path / CONVERSATION
    assert {path.name for path in folder.glob("*.wav")} == set(files)
    truth = timeline_of(dialer, dialer.machine.position)
    n_of_channel = 0
    for name, (n_channels, encoding) in sorted(files.items()):
        info = wav_info(folder / name)
        assert (info.n_channels, info.encoding) == (n_channels, encoding)
        n_of_channel += info.n_samples
    assert n_of_channel == dialer.machine.position * (1 if n_channels == 2 else 2)
    if n_channels == 2:
        both = np.frombuffer(read_wav(folder / "raw.wav").data, np.int16)
        assert np.array_equal(both[::2], truth[0])
        assert np.array_equal(both[1::2], truth[1])


async def talk_until(kind: str, dialer: Dialer, told: list[dict[str, Any]]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while told[-1]["kind"] != kind:
            await dialer.audio(1)
            await anyio.sleep(0.02)


async def test_a_disk_that_fails_is_told_of_while_the_call_goes_on(transport: str, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    room = tmp_path / "room"
    config = RecordConfig(flush_s=0.1)
    async with server_of(
        record_to=room, recording=config, transport=transport, on_event=lambda call, event: told.append(event)
    ) as server:
        async with dial(server, offer(CONVERSATION)) as dialer:
            await dialer.audio(3)
            part = room / CONVERSATION / "raw-external.wav.part"
            await settled(lambda: part.exists() and wav_info(part).n_samples >= 160)
            room.rename(tmp_path / "elsewhere")  # as a mount that goes away
            room.write_text("in the way")
            await talk_until("storage_failed", dialer, told)
            (call,) = (session.call for session in server.sessions)
            assert call is not None
            assert call.storage_failures == 1
            assert call.events[-1]["kind"] == "storage_failed"
            room.unlink()
            (tmp_path / "elsewhere").rename(room)
            await talk_until("storage_resumed", dialer, told)
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    assert server.counters.ended == {"end": 1}
    assert wav_info(room / CONVERSATION / "raw-external.wav").n_samples == dialer.machine.position


async def test_what_a_process_left_that_died_is_mended_at_the_start(transport: str, tmp_path: Path) -> None:
    async with server_of(record_to=tmp_path / "before", transport=transport) as server:
        async with dial(server, offer(CONVERSATION)) as dialer:
            await dialer.audio(4)
            part = tmp_path / "before" / CONVERSATION / "raw-external.wav.part"
            await settled(lambda: part.exists() and wav_info(part).n_samples >= 160)
            # As it lies on the disk now, held by nobody.
            shutil.copytree(tmp_path / "before", tmp_path / "after")
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    async with server_of(record_to=tmp_path / "after", transport=transport):
        folder = tmp_path / "after" / CONVERSATION
        assert not list(folder.glob("*.part"))
        assert wav_info(folder / "raw-external.wav").n_samples >= 160
        assert json.loads((folder / "timeline.json").read_text())["recovered"]


async def test_as_many_sessions_are_taken_as_files_may_be_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda what: (700, 700))
    rooms = {}
    for name, more in {
        "all": {},
        "one file": {"recording": RecordConfig(layout="interleaved")},
        "raw only": {"recording": RecordConfig(clean=False)},
    }.items():
        async with server_of(record_to=tmp_path, gate=GateConfig(), **more) as server:
            rooms[name] = server.max_sessions
    assert rooms == {"all": 600 // 5, "one file": 600 // 3, "raw only": 600 // 3}


def test_settings_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="flush_s"):
        AudioHookServer(keys={}, record_to=tmp_path, recording=RecordConfig(flush_s=2.0))
