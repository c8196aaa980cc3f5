"""Many sessions at once, on gcmedia's own server and on servers that misbehave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gcmedia import ConfigError, TransportError
from gcmedia.load import LoadPlan, LoadReport, Tally, run_load
from gcmedia.load.observe import ProcessWatch, parse_metrics, scrape
from gcmedia.server import AudioHookServer
from gcmedia.server.status import StatusServer

from ..audiohook_client.servers import API_KEY, SECRET, real_server, spoilt_server
from ..audiohook_client.test_misbehaviour import changed, events, instead
from ..capture.test_cli import gcmedia_many

KEYS = {"api_key": API_KEY, "secret": SECRET}


@contextmanager
def served(**options: Any) -> Iterator[tuple[AudioHookServer, str, str]]:
    """gcmedia's server in a thread: itself, its URL, and that of its metrics."""
    ready, stop = threading.Event(), threading.Event()
    found: list[Any] = []

    async def main() -> None:
        async with real_server(**options) as (server, url), anyio.create_task_group() as tasks:
            status = StatusServer(server, "127.0.0.1", 0)
            await tasks.start(status.run)
            found.extend((server, url, f"http://127.0.0.1:{status.address[1]}/metrics"))
            ready.set()
            while not stop.is_set():  # noqa: ASYNC110 - of another thread
                await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0], found[1], found[2]
    finally:
        stop.set()
        thread.join()


def a_plan(url: str, **options: Any) -> LoadPlan:
    """Fifty sessions within a second, with audio of a second in ten messages."""
    return LoadPlan(url, **{"sessions": 50, "rate_per_s": 200.0, "seconds": 1.5, "close_s": 0.2, **KEYS, **options})


def test_fifty_sessions_are_served_and_counted_the_same_at_both_ends() -> None:
    with served() as (server, url, metrics):
        report = run_load(a_plan(url, frame_ms=100), metrics=(metrics,), watch=os.getpid())
        assert server.counters.opened == 50
        assert server.counters.ended["end"] == 50
    tally = report.tally
    assert (tally.started, tally.opened, tally.clean, tally.failed) == (50, 50, 50, 0)
    assert not tally.failures
    assert report.held == 50
    assert tally.rtt.n >= 50  # at least one ping of each in that time
    assert tally.opened_after.n == tally.connect.n == tally.closed_after.n == 50
    assert tally.frames_sent >= 50 * 10
    assert tally.samples_sent == tally.frames_sent * 800
    assert tally.octets_sent == tally.samples_sent * 2
    assert tally.lag.n == tally.frames_sent
    assert [name for name, _, _ in report.counts] == ["sessions", "text messages", "audio frames", "audio octets"]
    assert all(mine == theirs > 0 for _, mine, theirs in report.counts)
    cost = report.server_cost()
    assert cost is not None
    assert cost["cpu_us_per_session_second"] > 0
    told = report.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert sum(second["send_lag"]["n"] for second in told["seconds"]) == tally.frames_sent


def test_workers_share_the_sessions_and_add_up() -> None:
    seconds: list[int] = []
    with served() as (server, url, metrics):
        report = run_load(
            a_plan(url, sessions=21, workers=2, seconds=1.0, stereo=False, loop="asyncio"),
            metrics=(metrics,),
            on_second=lambda number, second: seconds.append(number),
        )
        assert server.counters.opened == 21
    assert (report.tally.opened, report.tally.clean) == (21, 21)
    assert all(mine == theirs > 0 for _, mine, theirs in report.counts)
    assert report.tally.octets_sent == report.tally.samples_sent
    assert report.held == 21
    assert seconds
    assert report.loop == "asyncio"


def test_sixteen_bits_of_one_channel_are_offered_and_sent() -> None:
    with served() as (_, url, metrics):
        report = run_load(a_plan(url, sessions=5, format="L16", stereo=False), metrics=(metrics,))
    assert (report.tally.opened, report.tally.clean) == (5, 5)  # opened with just that, or it had failed
    assert report.tally.octets_sent == 2 * report.tally.samples_sent > 0
    assert all(mine == theirs > 0 for _, mine, theirs in report.counts)
    assert report.as_dict()["format"] == "L16"


def test_idle_sessions_send_no_audio() -> None:
    with served() as (_, url, metrics):
        report = run_load(a_plan(url, sessions=5, idle=True), metrics=(metrics,))
    assert (report.tally.clean, report.tally.frames_sent) == (5, 0)
    assert ("audio frames", 0, 0) in report.counts


def test_stopping_closes_by_the_protocol_ahead_of_time() -> None:
    stopping = threading.Event()
    with served() as (server, url, _):
        threading.Timer(1.0, stopping.set).start()
        report = run_load(a_plan(url, sessions=10, seconds=600.0), stopping=stopping)
        assert server.counters.ended["end"] == 10
    assert report.tally.clean == 10
    assert report.took_s < 300


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        pytest.param(changed("opened", seq=2), "protocol: 500: seq is #, not #", id="seq"),
        pytest.param(changed("opened", id=KEYS["secret"]), "protocol: 400: id is", id="id"),
        pytest.param(instead("opened", None), "connection lost while opening (code 1000)", id="closes"),
        pytest.param(instead("closed", None), "connection lost while closing (code 1000)", id="closes-at-the-end"),
        pytest.param(instead("pong", b"\x7f" * 160), "protocol: 415: binary message of", id="audio"),
        pytest.param(instead("opened", "{]"), "protocol: 400: text message", id="no-json"),
        pytest.param(changed("opened", parameters={"media": []}), "opened with other media than asked for", id="media"),
        pytest.param(
            changed("opened", type="disconnect", parameters={"reason": "rejected"}),
            "disconnect: rejected",
            id="rejects",
        ),
    ],
)
def test_failures_are_counted_by_their_cause(spoil: Any, cause: str) -> None:
    with spoilt_server(spoil) as url:
        report = run_load(a_plan(url, sessions=3, seconds=1.3 if "415" in cause else 0.2))
    assert not report.ok
    assert report.tally.failed == 3
    [found] = report.tally.failures
    assert found.startswith(cause)


def test_sessions_are_held_once_they_are_open_and_one_that_never_is_is_no_violation() -> None:
    stopping = threading.Event()
    with spoilt_server(instead("opened")) as url:
        threading.Timer(1.0, stopping.set).start()
        report = run_load(a_plan(url, sessions=2, seconds=600.0), stopping=stopping)
    assert dict(report.tally.failures) == {"not opened by the end": 2}
    assert report.tally.opened == 0


def test_late_pongs_are_counted_and_end_the_opening() -> None:
    with spoilt_server() as url:
        report = run_load(
            a_plan(url, sessions=60, rate_per_s=30.0, seconds=0.5, late_pong_s=0.0001, stop_when_late=True)
        )
    assert report.tally.late_pongs >= 1
    assert report.tally.first_late is not None
    assert report.tally.opened < 60
    assert report.tally.failed == 0
    assert not report.ok


def test_events_of_a_server_are_no_failures() -> None:
    with spoilt_server(events({"type": "of tomorrow", "data": {}})) as url:
        assert run_load(a_plan(url, sessions=1, seconds=1.5)).ok


def test_a_wrong_secret_and_a_missing_server_are_causes_too() -> None:
    with served() as (_, url, _):
        report = run_load(a_plan(url, sessions=2, seconds=0.1, secret="bm90IGl0"))
    assert dict(report.tally.failures) == {"upgrade: 401": 2}
    report = run_load(a_plan(url, sessions=2, seconds=0.1))
    assert dict(report.tally.failures) == {"connect: ConnectionRefusedError": 2}
    assert (report.held, report.tally.opened, report.ok) == (0, 0, False)


def of_lag(lag_s: float, busiest: float) -> LoadReport:
    tally = Tally()
    tally.lag.add(lag_s, 100)
    tally.busiest = busiest
    return LoadReport(LoadPlan("ws://localhost/"), tally, "asyncio", 1.0)


def test_a_generator_that_was_too_slow_says_so() -> None:
    assert of_lag(0.01, 0.5).bottleneck == ""
    assert "ms late" in of_lag(0.2, 0.5).bottleneck
    assert "99 % of a processor" in of_lag(0.01, 0.99).bottleneck


def of_pongs(pongs_s: list[float]) -> LoadReport:
    tally = Tally()
    for number, pong_s in enumerate(pongs_s):
        second = tally.second(number)
        second.open = 10
        second.rtt.add(pong_s, 10)
    return LoadReport(LoadPlan("ws://localhost/"), tally, "asyncio", 1.0)


def test_pongs_that_come_ever_later_are_told() -> None:
    assert not of_pongs([0.010] * 9).growing
    assert not of_pongs([0.001] * 6 + [0.005] * 3).growing  # more than twice, and nothing
    assert of_pongs([0.02 * 1.3**second for second in range(9)]).growing


def test_metrics_are_added_up_over_labels_and_processes() -> None:
    text = '# HELP a b\na 1\nb{x="1"} 2\nb{x="} 9 {"} 3.5\nc nan-sense\nd 4 1700000000\n'
    assert parse_metrics(text) == {"a": 1.0, "b": 5.5, "d": 4.0}
    with pytest.raises(ConfigError, match="no HTTP URL"):
        scrape(("file:///etc/hosts",))
    with pytest.raises(TransportError, match="cannot fetch metrics"):
        scrape(("http://127.0.0.1:9/metrics",))


def test_a_process_is_watched_with_its_children() -> None:
    child = "held = bytearray(1 << 26); print(len(held), flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        watch = ProcessWatch(process.pid)
        watch.start()
        watch.stop()
        process.communicate(b"\n", timeout=60)
    assert watch.costs
    assert all(cost.resident_octets > 1 << 26 for cost in watch.costs)
    assert all(cost.cpu_s > 0 for cost in watch.costs)
    with pytest.raises(ConfigError, match="no process"):
        ProcessWatch(process.pid)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sessions": 0}, "sessions is 0"),
        ({"rate_per_s": 0.0}, "rate_per_s is 0.0"),
        ({"workers": 3, "sessions": 2}, "workers is 3, more than the 2 sessions"),
        ({"loop": "trio"}, "loop is 'trio'"),
        ({"url": "http://localhost/"}, "not one of a WebSocket server"),
        ({"url": "ws://localhost:99999/"}, "not one of a WebSocket server"),
    ],
)
def test_plans_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        LoadPlan(**{"url": "ws://localhost/", **options})
    assert SECRET not in repr(a_plan("ws://localhost/"))


def many(folder: Path, *runs: tuple[str, ...]) -> list[tuple[int, str, str]]:
    return gcmedia_many(runs, cwd=folder, AUDIOHOOK_API_KEY=API_KEY, AUDIOHOOK_CLIENT_SECRET=SECRET, COLUMNS="200")


def test_the_commands_tell_all_of_it(tmp_path: Path) -> None:
    with served() as (_, url, metrics), spoilt_server(changed("closed", clientseq=0)) as spoilt:
        load = ("load", url, "--sessions", "10", "--rate", "100", "--seconds", "1.2", "--close-seconds", "0")
        call = ("dial", url, "--seconds", "2", "--speed", "20", "--pause", "1:0.5")
        answers = many(
            tmp_path,
            (*load, "--metrics", metrics, "--late-ms", "60000"),
            (*load, "--late-ms", "0.1", "--json", "-q"),
            (*call, "--json", "--backend", "trio"),
            ("dial", url, "--probe"),
            ("dial", url, "--probe", "--secret", "bm90IGl0"),
            ("dial", url, "--fault", "wrong-seq@0.1", "--seconds", "9"),
            ("dial", url, "--pause", "1"),
            ("dial", "ws://127.0.0.1:9/", "--probe"),
            ("dial", spoilt, "--probe", "-q"),
        )
    assert [code for code, _, _ in answers] == [0, 5, 0, 0, 3, 6, 2, 4, 5]
    assert not any(SECRET in text for _, *texts in answers for text in texts)
    loaded, late, called, probed, *_, spoilt_answer = answers
    assert "10 of 10 sessions opened, 10 at once" in loaded[2]
    assert "sessions: 10 sent, 10 counted by the server" in loaded[2]
    told = json.loads(late[1])
    assert (told["opened"], told["ok"], late[2]) == (10, False, "")
    assert told["late_pongs"] >= 1
    lines = [json.loads(line) for line in called[1].splitlines()]
    said = [line["type"] for line in lines if line["kind"] == "message" and line["type"] != "audio"]
    assert said == ["open", "opened", "paused", "resumed", "close", "closed"]
    assert lines[-1]["conforming"]
    assert lines[-1]["sessions"][0]["position"] == 16_000
    assert "->  open" in probed[1]
    assert "conforms" in probed[2]
    assert "error: protocol: closed, seq 2" in spoilt_answer[2]
    assert spoilt_answer[1] == ""
