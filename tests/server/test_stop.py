"""The end of a server: nothing received is lost, and every session ends by the protocol."""

from __future__ import annotations

import json
import os
import signal
import ssl
import sys
import time
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from gcmedia import AudioHookConfig, AudioHookServer, HookCall, ServerConfig
from gcmedia.cli import main
from gcmedia.dialects.audiohook import events
from gcmedia.record import wav_info
from gcmedia.server import StatusServer, exposition

from .command import Address, serve_command
from .dialer import KEYS, PATIENCE_S, Dialer, dial, offer, server_of


@pytest.mark.anyio
async def test_stopping_ends_every_session_by_the_protocol_and_loses_nothing(transport: str, tmp_path: Path) -> None:
    taken: dict[str, int] = {}
    dialers: dict[str, Dialer] = {}
    ended: list[bool] = []

    async def handler(call: HookCall) -> None:
        taken[call.conversation_id] = 0
        async for frame in call:
            taken[call.conversation_id] += frame.n_samples

    async def call(server: AudioHookServer, n: int, ready: anyio.abc.TaskStatus[None]) -> None:
        asked = offer()
        async with dial(server, asked, seed=n) as dialer:
            dialers[asked.conversation_id] = dialer
            await dialer.audio(1 + n % 7)
            await dialer.ping()  # the server has it all
            ready.started()
            assert (await dialer.until(events.Disconnecting)).reason == "completed"
            await dialer.until(events.Closed)
            ended.append(True)

    async with (
        anyio.create_task_group() as tasks,
        server_of(handler, record_to=tmp_path, transport=transport) as server,
    ):
        for n in range(20):
            await tasks.start(lambda n=n, task_status=None: call(server, n, task_status))
        with anyio.fail_after(PATIENCE_S):
            await server.stop()
    assert len(ended) == 20
    assert server.counters.ended == {"disconnect": 20}
    for conversation_id, dialer in dialers.items():
        n_samples = sum(len(payload) // 2 for _, payload in dialer.sent)
        assert taken[conversation_id] == 2 * n_samples
        assert wav_info(tmp_path / conversation_id / "raw-external.wav").n_samples == n_samples
        assert json.loads((tmp_path / conversation_id / "timeline.json").read_text())["identity"]["balanced"]


@pytest.mark.anyio
async def test_a_client_that_does_not_go_is_cut_and_its_recording_is_whole(transport: str, tmp_path: Path) -> None:
    config = ServerConfig(close_timeout_s=0.2)
    protocol = AudioHookConfig(close_timeout_s=0.3)
    async with server_of(record_to=tmp_path, transport=transport, config=config, protocol=protocol) as server:
        asked = offer()
        async with dial(server, asked) as dialer:
            await dialer.audio(4)
            await dialer.ping()
            with anyio.fail_after(PATIENCE_S):
                await server.stop()
            assert not server.sessions
    assert wav_info(tmp_path / asked.conversation_id / "raw-external.wav").n_samples == 6400


@pytest.mark.anyio
async def test_who_has_not_agreed_on_tls_yet_is_let_go_of(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gcmedia.transport.accept.on_asyncio.TLS_TIMEOUT_S", 3600.0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with (
        server_of(transport=transport, ssl=context) as server,
        await anyio.connect_tcp(*server.address) as silent,
        await anyio.connect_tcp(*server.address) as halfway,
    ):
        await halfway.send(b"\x16\x03\x01")  # the beginning of a ClientHello
        await anyio.wait_all_tasks_blocked()
        await server.stop()
        with anyio.fail_after(PATIENCE_S):
            for client in (silent, halfway):
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await client.receive()


@pytest.mark.anyio
async def test_calls_may_go_on_while_their_clients_reconnect_elsewhere(transport: str) -> None:
    config = ServerConfig(drain_s=30.0, reconnect=True)
    async with (
        server_of(transport=transport, config=config, protocol=AudioHookConfig(reconnect=True)) as server,
        dial(server) as dialer,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.stop)
        await dialer.until(events.Reconnect)
        await dialer.audio(2)  # the old session goes on
        await dialer.ping()
        with pytest.raises(OSError, match=r"."):
            await anyio.connect_tcp(*server.address)
        await dialer.hang_up("reconnect")
    assert server.counters.ended == {"reconnect": 1}


@pytest.mark.anyio
async def test_status_tells_of_health_and_counters(transport: str) -> None:
    async with server_of(transport=transport) as server, anyio.create_task_group() as tasks:
        status = StatusServer(server, "127.0.0.1", 0)
        await tasks.start(status.run)

        async def get(path: str, method: str = "GET") -> tuple[int, str]:
            async with await anyio.connect_tcp(*status.address) as stream:
                await stream.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                octets = b""
                with anyio.fail_after(PATIENCE_S):
                    async for more in stream:
                        octets += more
                head, _, body = octets.decode().partition("\r\n\r\n")
                return int(head.split(" ")[1]), body

        async with dial(server) as dialer:
            await dialer.audio(2)
            await dialer.ping()
            assert await get("/health") == (200, "ok\n")
            assert await get("/ready?x") == (200, "ok\n")
            found, page = await get("/metrics")
            assert found == 200
            assert "gcmedia_audiohook_sessions 1\n" in page
            assert "gcmedia_audiohook_audio_frames_total 2\n" in page
            assert 'gcmedia_audiohook_upgrades_total{outcome="verified"} 1\n' in page
            assert (await get("/nothing"))[0] == 404
            assert (await get("/health", "POST"))[0] == 405
            assert await get("/health", "HEAD") == (200, "")
            await dialer.hang_up()
        server.draining = True
        assert (await get("/ready"))[0] == 503
        server.draining = False
        assert exposition(server).endswith("\n")
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("n_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_sigterm_to_the_command_under_load(
    transport: str, anyio_backend: str, tmp_path: Path, n_workers: int
) -> None:
    options = ["--transport", transport, "--backend", anyio_backend, "--workers", str(n_workers)]
    dialers: list[Dialer] = []
    with serve_command(tmp_path, *options) as process:
        assert process.stdout is not None
        ports = set()
        for _ in range(n_workers):
            line = await anyio.to_thread.run_sync(process.stdout.readline)
            ports.add(int(line.rpartition(":")[2]))
        assert len(ports) == 1

        async def call(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            async with dial(Address(ports.copy().pop())) as dialer:  # type: ignore[arg-type]
                dialers.append(dialer)
                await dialer.audio(3)
                await dialer.ping()
                task_status.started()
                await dialer.until(events.Disconnecting)
                await dialer.until(events.Closed)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                await tasks.start(call)
            process.send_signal(signal.SIGTERM)
        _, errors = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=60))
    assert process.returncode == 0, errors
    assert errors.count(f"transport {transport}") == n_workers
    folders = list((tmp_path / "calls").iterdir())
    assert len(folders) == 8
    for folder in folders:
        for name in ("raw-external", "raw-internal", "clean-external", "clean-internal"):
            assert wav_info(folder / f"{name}.wav").n_samples == 4800
        assert json.loads((folder / "timeline.json").read_text())["identity"]["played"] == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--listen", "8443"], "not HOST:PORT"),
        (["--transport", "carrier-pigeon"], "transport is 'carrier-pigeon'"),
        (["--workers", "0"], "workers is 0"),
        (["--unauthorized", "maybe"], "unauthorized is 'maybe'"),
        (["--workers", "2", "--monitor", "0"], "--monitor sees the calls of one"),
        (["--reconnect", "--drain", "-1"], "drain_s is -1"),
    ],
)
def test_the_command_tells_what_is_wrong_with_its_settings(
    options: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(KEYS))
    monkeypatch.setattr(sys, "argv", ["gcmedia", "serve", "--keys", str(keys), *options])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert expected in capsys.readouterr().err


def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    with serve_command(tmp_path, "--workers", "2", "--transport", "websockets") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(2):
            assert "listening" in process.stdout.readline()
        pids: list[int] = []
        while len(pids) < 2:
            told, _, pid = process.stderr.readline().partition("process ")
            assert told
            pids += [int(pid)] if pid else []
        os.kill(pids[0], signal.SIGKILL)
        assert "listening" in process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "started again" in errors
