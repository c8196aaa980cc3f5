"""What monitor and metrics see of an AudioHook server: real sessions over loopback, looked at over HTTP."""

from __future__ import annotations

import signal
import struct
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import numpy as np
import pytest

import gcmedia
from gcmedia import ConfigError, HandshakeError, LiveCalls, ServerConfig
from gcmedia.monitor import MonitorConfig, serve_monitor
from gcmedia.record.lines import read_lines
from gcmedia.simulator.audiohook import AudioHookClient, Caller, probe_of

from ..audiohook_client.servers import API_KEY, SECRET, an_offer, real_server
from ..monitor.calls import AUDIO, COLUMNS, HISTORY, LISTEN, ROWS, TEXT, TOKEN, bearer, messages
from .command import Address, serve_command
from .dialer import KEYS, PATIENCE_S, dial, offer, settled

TONE = (12_000 * np.sin(np.arange(1600) / 3)).astype(np.int16)
QUIET = np.zeros(1600, np.int16)
SPOKEN = bytes(gcmedia.ulaw_encode(np.ascontiguousarray(np.column_stack([TONE, QUIET]))))  # 200 ms, of the customer
SILENT, CONCEALED = 1, 2


def client_of(url: str, secret: str = SECRET, **more: Any) -> AudioHookClient:
    offered = more.pop("offer", None) or an_offer()
    return AudioHookClient(url, offered, caller=Caller(API_KEY, secret, offered.organization_id), **more)


def fleet(url: str) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
    """The first snapshot: its words, and its rows."""
    with httpx.stream("GET", f"{url}api/fleet", headers=bearer(), trust_env=False, timeout=PATIENCE_S) as response:
        stream = messages(response)
        kind, words = next(stream)
        assert kind == TEXT
        kind, payload = next(stream)
        while kind == HISTORY:
            kind, payload = next(stream)
        assert kind == ROWS
        return words, list(struct.iter_unpack("<IBBBBBBBB", payload))


def one_call(url: str, number: int) -> tuple[dict[str, Any], np.ndarray[Any, Any], dict[str, Any]]:
    """What is told of a call at first: what stays, columns, and what is new."""
    path = f"{url}api/calls/{number}"
    with httpx.stream("GET", path, headers=bearer(), trust_env=False, timeout=PATIENCE_S) as response:
        stream = messages(response)
        about = next(stream)[1]["about"]
        columns: list[Any] = []
        for kind, value in stream:
            if kind == COLUMNS:
                columns.append(np.frombuffer(value[4:], np.uint8).reshape(-1, len(about["channels"]), 4))
            elif kind == TEXT:
                return about, np.concatenate(columns), value
    raise AssertionError("the stream ended")


def scraped(url: str) -> str:
    response = httpx.get(f"{url}metrics", headers=bearer(), trust_env=False, timeout=PATIENCE_S)
    assert response.status_code == 200
    return response.text


async def asked(function: Any, *arguments: Any) -> Any:
    return await anyio.to_thread.run_sync(function, *arguments)


@pytest.mark.anyio
async def test_a_session_shows_in_the_fleet_in_its_own_view_and_in_metrics(transport: str, tmp_path: Path) -> None:
    calls, offered = LiveCalls(), an_offer()
    async with (
        serve_monitor(calls, token=TOKEN) as monitor,
        real_server(live=calls, record_to=tmp_path, transport=transport, config=ServerConfig(fill_s=1.0)) as (
            server,
            url,
        ),
    ):
        async with client_of(url, offer=offered) as client:
            assert await client.opened()
            for hole_s in (0.5, 2.0, 0.0):  # one that is filled, one that is jumped over
                for _ in range(5):
                    await client.send_audio(SPOKEN)
                await client.discard(int(8000 * hole_s))
            await settled(lambda: server.counters.audio_frames == 15)

            words, rows = await asked(fleet, monitor.url)
            (about,) = words["calls"]
            assert (about["id"], about["channels"]) == (offered.conversation_id, ["external", "internal"])
            totals = words["totals"]
            assert (totals["live"], totals["opened"], totals["failed"], totals["refused"]) == (1, 1, 0, 0)
            assert (totals["received"], totals["expected"], totals["lost"]) == (15, 15, 0)
            assert totals["tokenAgeS"] is None
            assert totals["diskFree"] > 0
            ((number, state, n_channels, loud, quiet, loss, *_),) = rows
            assert (number, state, n_channels, loss) == (1, 1, 2, 0)
            assert loud > 215
            assert quiet == 0

            view, columns, news = await asked(one_call, monitor.url, number)
            assert (view["source"], view["start"], view["listen"]) == ("audiohook", 0, False)
            assert news["holes"] == [[8000, 4000, "discarded"], [20_000, 16_000, "discarded"]]
            assert [event["kind"] for event in news["events"]][:1] == ["opened"]
            assert news["stats"]["balanced"]
            assert (news["stats"]["received"], news["stats"]["played"], news["stats"]["lost"]) == (15, 15, 0)
            spoken = np.ones(137, bool)  # columns of 40 ms
            spoken[25:38] = spoken[62:113] = False
            sure = np.ones(137, bool)
            sure[[37, 62, 112]] = False  # where a hole begins or ends within one
            assert len(columns) == 137
            assert np.array_equal(columns[sure, 0, 0] > 215, spoken[sure])
            assert np.array_equal((columns[sure, 0, 1] & CONCEALED) > 0, ~spoken[sure])
            assert (columns[:, 1, 1] & SILENT).all()

            metrics = await asked(scraped, monitor.url)
            assert 'gcmedia_calls{source="audiohook"} 1.0' in metrics
            assert 'gcmedia_packets_received_total{source="audiohook"} 15.0' in metrics
            assert "gcmedia_calls_unbalanced 0.0" in metrics
            assert "gcmedia_token" not in metrics
            assert offered.conversation_id not in metrics
        await settled(lambda: calls.ended == 1)
        metrics = await asked(scraped, monitor.url)
        assert 'gcmedia_calls{source="audiohook"} 0.0' in metrics
        assert 'gcmedia_packets_received_total{source="audiohook"} 15.0' in metrics
        assert calls.failed == 0


@pytest.mark.anyio
async def test_what_is_turned_away_or_fails_is_counted_and_a_probe_is_not(transport: str) -> None:
    calls = LiveCalls()
    async with (
        serve_monitor(calls, token=TOKEN) as monitor,
        real_server(live=calls, transport=transport, config=ServerConfig(max_sessions=1)) as (server, url),
    ):
        with pytest.raises(HandshakeError):
            async with client_of(url, secret="d3Jvbmc="):
                pass
        async with client_of(url, offer=probe_of(an_offer())) as probe:
            assert await probe.opened()
            with pytest.raises(HandshakeError):
                async with client_of(url):
                    pass
        await settled(lambda: not server.sessions)
        assert (server.counters.probes, calls.opened, calls.failed) == (1, 0, 0)
        async with client_of(url) as client:
            assert await client.opened()
            await client.send_message("this is no JSON")
            await client.wait_ended()
        await settled(lambda: calls.ended == 1)
        assert calls.reasons == {
            ("refused", "failed"): 1, ("refused", "too many sessions"): 1, ("failed", "protocol"): 1,
        }  # fmt: skip
        words, rows = await asked(fleet, monitor.url)
        assert (words["totals"]["refused"], words["totals"]["failed"], rows) == (2, 1, [])
        metrics = await asked(scraped, monitor.url)
        assert 'gcmedia_calls_refused_total{reason="failed"} 1.0' in metrics
        assert 'gcmedia_calls_failed_total{reason="protocol"} 1.0' in metrics


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["asyncio-websockets"], indirect=True)
async def test_one_may_listen_in_and_the_call_s_own_audit_tells(transport: str, tmp_path: Path) -> None:
    calls, offered = LiveCalls(), an_offer()
    config = MonitorConfig(token=TOKEN, listen_tokens={"quality": LISTEN}, audit_to=tmp_path / "monitor.jsonl")
    record_to = tmp_path / "calls"
    heard = anyio.Event()

    def listen(url: str) -> int:
        path = f"{url}api/calls/1/listen/0"
        with httpx.stream("GET", path, headers=bearer(LISTEN), trust_env=False, timeout=PATIENCE_S) as response:
            assert response.status_code == 200
            return next(len(payload) for kind, payload in messages(response) if kind == AUDIO)

    async def wait() -> None:
        assert await asked(listen, monitor.url) > 0
        heard.set()

    async with serve_monitor(calls, config) as monitor, real_server(live=calls, record_to=record_to) as (_, url):
        async with client_of(url, offer=offered) as client, anyio.create_task_group() as tasks:
            assert await client.opened()
            tasks.start_soon(wait)
            while not heard.is_set():
                await client.send_audio(SPOKEN)
                await anyio.sleep(0.02)
        await settled(lambda: calls.ended == 1)
    lines = read_lines(record_to / offered.conversation_id / "audit.jsonl")
    found = [line for line in lines if line["action"] == "listen_in"]
    assert [(line["actor"], line["outcome"], line["channel"]) for line in found][:1] == [
        ("quality", "begun", "external")
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["asyncio-websockets"], indirect=True)
async def test_the_command_serves_the_page_beside_the_calls(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCMEDIA_MONITOR_TOKEN", TOKEN)
    asking = offer()
    with serve_command(tmp_path, "--transport", transport, "--monitor", "0", "--no-gate") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int((await asked(process.stdout.readline)).rpartition(":")[2])
        told = ""
        while not told.startswith("monitor: "):
            told = await asked(process.stderr.readline)
            assert told, "it has ended"
        url = told.removeprefix("monitor: ").strip()
        async with dial(Address(port), asking) as dialer:  # type: ignore[arg-type]
            await dialer.audio(3)
            await dialer.ping()
            words, rows = await asked(fleet, url)
            assert [about["id"] for about in words["calls"]] == [asking.conversation_id]
            assert (words["totals"]["received"], len(rows)) == (3, 1)
            await dialer.hang_up()
        process.send_signal(signal.SIGTERM)
        _, errors = await asked(lambda: process.communicate(timeout=60))
    assert process.returncode == 0, errors
    assert TOKEN not in told + errors


def test_one_monitor_does_not_pretend_to_see_several_processes() -> None:
    with pytest.raises(ConfigError, match=r"one process, and workers is 2"):
        gcmedia.serve(host="127.0.0.1", port=0, keys=KEYS, workers=2, live=LiveCalls())
