"""Calls that come in: frames, recordings, holes, handlers, and what goes back."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from gcmedia import AudioHookConfig, GateConfig, HookCall, ServerConfig, ulaw_decode
from gcmedia.dialects.audiohook import events
from gcmedia.dialects.audiohook.entities import BotTurn, Transcript
from gcmedia.record import RecordConfig, read_wav, verify_call

from .dialer import PROBE, Dialer, dial, offer, server_of, settled

pytestmark = pytest.mark.anyio


def timeline_of(dialer: Dialer, n_samples: int) -> list[np.ndarray[Any, Any]]:
    """What the client sent, each channel on its own timeline, silence where it sent nothing."""
    channels = [np.zeros(n_samples, np.int16) for _ in range(2)]
    for position, payload in dialer.sent:
        for channel in range(2):
            samples = np.frombuffer(ulaw_decode(payload[channel::2]), np.int16)
            channels[channel][position : position + len(samples)] = samples
    return channels


def folders(root: Path) -> list[Path]:
    return sorted(root.iterdir())


def recorded(folder: Path, name: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(read_wav(folder / f"{name}.wav").data, np.int16)


async def test_a_call_is_handed_on_and_recorded_to_the_sample(transport: str, tmp_path: Path) -> None:
    heard: dict[int, list[tuple[int, bytes]]] = {0: [], 1: []}

    async def handler(call: HookCall) -> None:
        assert call.channels == ("external", "internal")
        async for frame in call:
            heard[frame.channel].append((frame.position, bytes(frame.raw)))

    async with server_of(handler, record_to=tmp_path, gate=GateConfig(), transport=transport) as server:
        async with dial(server, offer("30b0e395-84d3-4570-ac13-9a62d8f514c0")) as dialer:
            await dialer.audio(7)
            await dialer.audio(1, 400)  # a partial last frame
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    folder = tmp_path / "30b0e395-84d3-4570-ac13-9a62d8f514c0"
    n_samples = dialer.machine.position
    truth = timeline_of(dialer, n_samples)
    for channel, name in enumerate(("external", "internal")):
        assert np.array_equal(recorded(folder, f"raw-{name}"), truth[channel])
        assert len(recorded(folder, f"clean-{name}")) == n_samples
        assert b"".join(raw for _, raw in heard[channel]) == truth[channel].tobytes()
        assert [position for position, _ in heard[channel]] == list(range(0, n_samples, 160))
    manifest = json.loads((folder / "timeline.json").read_text())
    assert manifest["identity"]["balanced"]
    assert manifest["identity"]["played"] == 8
    assert manifest["holes"] == []


async def test_a_call_is_recorded_in_the_way_that_is_asked_for(transport: str, tmp_path: Path) -> None:
    recording = RecordConfig(layout="interleaved", encoding="received", rotate_s=1.0)
    async with server_of(record_to=tmp_path, recording=recording, transport=transport) as server:
        async with dial(server, offer("30b0e395-84d3-4570-ac13-9a62d8f514c0")) as dialer:
            await dialer.audio(12)
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    folder = tmp_path / "30b0e395-84d3-4570-ac13-9a62d8f514c0"
    truth = timeline_of(dialer, dialer.machine.position)
    assert verify_call(folder).ok
    parts = [read_wav(folder / f"{name}.wav") for name in ("raw", "raw.2", "raw.3")]
    assert {(part.encoding, part.n_channels) for part in parts} == {("PCMU", 2)}
    pcm = np.frombuffer(ulaw_decode(b"".join(part.data for part in parts)), np.int16)
    assert np.array_equal(pcm.reshape(-1, 2).T, truth)


@pytest.mark.parametrize("fill_s", [0.0, 10.0])
async def test_pauses_discards_and_a_late_burst_are_exact_on_the_client_s_timeline(
    transport: str, tmp_path: Path, fill_s: float
) -> None:
    calls: list[HookCall] = []
    heard: list[tuple[int, int, bytes]] = []

    async def handler(call: HookCall) -> None:
        calls.append(call)
        async for frame in call:
            heard.append((frame.channel, frame.position, bytes(frame.raw)))

    config = ServerConfig(fill_s=fill_s)
    async with server_of(handler, record_to=tmp_path, config=config, transport=transport) as server:
        async with dial(server, paused_position="advances") as dialer:
            await settled(lambda: calls)
            await dialer.audio(3)
            await dialer.audio(1, 402)  # leaves the frames' grid
            dialer.machine.discard(12_345, dialer.now())
            await dialer.audio(2)
            await calls[0].pause()
            await dialer.until(events.Requested)
            await dialer.audio(5)  # dropped, and counted
            dialer.machine.pause(dialer.now())  # the client's own, on top
            await dialer.flush()
            await calls[0].resume()
            assert (await dialer.until(events.Requested)).paused
            await dialer.audio(3)
            dialer.machine.resume(dialer.now())
            await dialer.flush()
            await dialer.audio(5, 64_000)  # 20 s at once
            dialer.machine.discard(8_000, dialer.now())
            await dialer.audio(1, 202)
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
        call = calls[0]
    n_samples = dialer.machine.position
    truth = timeline_of(dialer, n_samples)
    folder = folders(tmp_path)[0]
    manifest = json.loads((folder / "timeline.json").read_text())
    for channel, name in enumerate(("external", "internal")):
        assert np.array_equal(recorded(folder, f"raw-{name}"), truth[channel])
        mine = np.zeros(n_samples, np.int16)
        end = 0
        for position, raw in [(at, raw) for of, at, raw in heard if of == channel]:
            assert position >= end
            end = position + len(raw) // 2
            mine[position:end] = np.frombuffer(raw, np.int16)
        assert np.array_equal(mine, truth[channel])
    assert sum(hole["n_samples"] for hole in manifest["holes"]) == n_samples - sum(len(p) // 2 for _, p in dialer.sent)
    assert {hole["cause"] for hole in manifest["holes"]} == {"paused", "discarded"}
    assert manifest["n_samples"] == n_samples
    assert call.stats().balanced
    assert call.stats().packets_played == len(dialer.sent)
    assert call.dropped_frames == 0


async def test_a_handler_that_is_slow_or_raises_disturbs_neither_its_session_nor_others(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[int] = []

    async def handler(call: HookCall) -> None:
        match call.offer.custom_config:
            case "slow":
                async for _ in call:
                    await anyio.sleep(3600)
            case "raises":
                raise RuntimeError("the handler's own fault")
            case _:
                async for frame in call:
                    taken.append(frame.n_samples)

    config = ServerConfig(max_frames=300, handler_grace_s=0.05)
    async with server_of(handler, transport=transport, config=config) as server:
        async with dial(server, offer(custom_config="slow")) as slow, dial(server) as good:
            async with dial(server, offer(custom_config="raises"), strict=True) as broken:
                disconnecting = await broken.until(events.Disconnecting)
                assert (disconnecting.reason, disconnecting.info) == ("error", "")
                await broken.until(events.Closed)
            for one in (slow, good, slow, good):
                await one.audio(10)
                await one.ping()
            await good.hang_up()
            await slow.hang_up()
        await settled(lambda: not server.sessions)
    assert sum(taken) == 2 * 20 * 1600
    assert server.counters.handlers_failed == 1
    assert server.counters.frames_dropped > 0
    assert "the handler's own fault" in caplog.text
    assert any(record.levelno == logging.ERROR for record in caplog.records)


async def test_opened_and_pong_and_closed_wait_for_no_handler(transport: str) -> None:
    async def handler(call: HookCall) -> None:
        await anyio.sleep_forever()

    async with server_of(handler, transport=transport, config=ServerConfig(handler_grace_s=0.05)) as server:
        async with dial(server) as dialer:  # returns when opened is here
            await dialer.ping()
            await dialer.hang_up()
        await settled(lambda: not server.sessions)


async def test_a_probe_starts_no_handler_and_no_recording(transport: str, tmp_path: Path) -> None:
    async def handler(call: HookCall) -> None:
        raise AssertionError("a probe is no call")

    async with server_of(handler, record_to=tmp_path, transport=transport) as server:
        async with dial(server, PROBE) as dialer:
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    assert (server.counters.probes, server.counters.opened, server.counters.handlers_failed) == (1, 0, 0)
    assert folders(tmp_path) == []


async def test_sessions_of_one_conversation_get_folders_of_their_own(transport: str, tmp_path: Path) -> None:
    same = offer()
    async with server_of(record_to=tmp_path, transport=transport) as server:
        async with dial(server, same) as one, dial(server, same) as other:
            await one.audio(2)
            await other.audio(3)
            await one.hang_up()
            await other.hang_up()
        await settled(lambda: not server.sessions)
    names = [folder.name for folder in folders(tmp_path)]
    first, further = names
    assert first == same.conversation_id
    assert further in {f"{first}.{dialer.machine.session_id}" for dialer in (one, other)}
    lengths = [len(recorded(tmp_path / name, "raw-external")) for name in names]
    assert lengths == ([3200, 4800] if further.endswith(other.machine.session_id) else [4800, 3200])


async def test_a_session_that_continues_begins_where_its_audio_does(transport: str, tmp_path: Path) -> None:
    async with server_of(record_to=tmp_path, transport=transport) as server:
        async with dial(server, offer(position=40_000)) as dialer:
            await dialer.audio(2)
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    folder = folders(tmp_path)[0]
    assert np.array_equal(recorded(folder, "raw-internal"), timeline_of(dialer, 43_200)[1])
    hole = json.loads((folder / "timeline.json").read_text())["holes"][0]
    assert (hole["position"], hole["n_samples"], hole["cause"]) == (0, 40_000, "reconnect")


async def test_entities_go_out_in_order_and_no_faster_than_the_client_takes_them(transport: str) -> None:
    n_entities = 120
    started = anyio.Event()
    calls: list[HookCall] = []

    async def handler(call: HookCall) -> None:
        calls.append(call)
        for n in range(n_entities):
            assert call.send_event(Transcript(f"{n:08}-0000-4000-8000-000000000000", 0, f"word {n}", False))
        started.set()
        async for _ in call:
            pass

    async with server_of(handler, transport=transport) as server, dial(server) as dialer:
        await started.wait()
        while sum(len(event.entities) for event in dialer.happened if isinstance(event, events.EventReceived)) < (
            n_entities
        ):
            await dialer.until(events.EventReceived)
        messages = [event for event in dialer.happened if isinstance(event, events.EventReceived)]
        told = [entity["data"]["id"] for message in messages for entity in message.entities]
        assert told == sorted(told)
        assert len(told) == n_entities
        assert len(messages) < 40  # 25 at once, the rest together
        await dialer.hang_up()


async def test_a_client_that_answers_429_is_left_alone_as_long_as_it_asks(transport: str) -> None:
    calls: list[HookCall] = []

    async def handler(call: HookCall) -> None:
        calls.append(call)
        async for _ in call:
            pass

    async with server_of(handler, transport=transport) as server, dial(server) as dialer:
        await settled(lambda: calls)
        began = time.monotonic()
        dialer.machine.error(429, "too fast", dialer.now(), retry_after_s=0.6)
        await dialer.ping()
        calls[0].send_event(BotTurn("match"))
        await dialer.until(events.EventReceived)
        assert time.monotonic() - began > 0.55
        assert server.counters.client_errors["429"] == 1
        await dialer.hang_up()


async def test_audio_goes_back_where_the_product_takes_it(transport: str) -> None:
    tone = bytes(range(256)) * 500  # 16 s

    async def handler(call: HookCall) -> None:
        call.output_variables["outcome"] = "booked"
        assert await call.send_audio(tone)
        async for _ in call:
            pass

    protocol = AudioHookConfig(two_way=True)
    async with (
        server_of(handler, transport=transport, protocol=protocol) as server,
        dial(server, two_way=True) as dialer,
    ):
        heard = b""
        while len(heard) < len(tone):
            heard += (await dialer.until(events.Audio)).payload
        assert heard == tone
        assert sum(isinstance(event, events.Audio) for event in dialer.happened) == 2
        dialer.machine.close("end", dialer.now())
        await dialer.flush()
        assert (await dialer.until(events.Closed)).output_variables == {"outcome": "booked"}


async def test_what_the_client_tells_is_there_to_be_read(transport: str) -> None:
    told: list[Any] = []
    calls: list[HookCall] = []

    async def handler(call: HookCall) -> None:
        notices = call.notices
        calls.append(call)
        async for notice in notices:
            told.append(notice)

    async with server_of(handler, transport=transport) as server:
        async with dial(server) as dialer:
            await settled(lambda: calls)
            dialer.machine.update("de-DE", dialer.now())
            dialer.machine.dtmf("5", dialer.now())
            dialer.machine.pause(dialer.now())
            await dialer.ping()
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    kinds = [type(notice) for notice in told]
    assert [kind for kind in kinds if kind in (events.Update, events.Dtmf, events.Paused, events.Closing)] == [
        events.Update,
        events.Dtmf,
        events.Paused,
        events.Closing,
    ]
    assert calls[0].language == "de-DE"


async def test_a_recording_that_cannot_be_begun_costs_the_recording_and_not_the_call(
    transport: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[int] = []

    async def handler(call: HookCall) -> None:
        async for frame in call:
            taken.append(frame.n_samples)

    asked = offer()
    async with server_of(handler, record_to=tmp_path / "calls", transport=transport) as server:
        (tmp_path / "calls").rmdir()
        (tmp_path / "calls").write_text("a file where the folder was")
        async with dial(server, asked) as dialer:
            await dialer.audio(2)
            await dialer.hang_up()
        await settled(lambda: not server.sessions)
    assert sum(taken) == 2 * 3200
    assert server.counters.recordings_failed == 1
    assert "cannot be recorded" in caplog.text


def test_a_plain_asyncio_run_serves_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with server_of(record_to=tmp_path) as server:
            async with dial(server) as dialer:
                await dialer.audio(3)
                await dialer.hang_up()
            await settled(lambda: not server.sessions)
            assert (server.counters.opened, server.counters.audio_frames) == (1, 3)

    asyncio.run(main())
