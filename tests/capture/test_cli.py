"""The command line, as processes of their own: what they print, leave behind and answer."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gcmedia.record import read_wav
from gcmedia.record.timeline import Timeline
from gcmedia.simulator import Call, Faults, Simulator

from .conftest import ScriptedServer
from .scripts import ACK, packets, plays

Scripted = Callable[..., ScriptedServer]
GCMEDIA = (sys.executable, "-c", "from gcmedia.cli import main; main()")
FILES = {"audit.jsonl", "metrics.jsonl", "series.jsonl", "timeline.json", "transcript.json", "transcript.vtt"}


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENESYS_")}
    return kept | {"COLUMNS": "200", "PYTHONWARNINGS": "error", "MPLBACKEND": "agg"} | variables


def gcmedia(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GCMEDIA, *map(str, arguments)], capture_output=True, text=True, timeout=60, env=environment(**variables)
    )


DRIVER = """
import json, os, sys, tempfile
arguments, answers = json.loads(sys.argv[1]), []
from gcmedia.cli.app import run
for one in arguments:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        kept = os.dup(1), os.dup(2)
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        sys.argv = ["gcmedia", *one]
        code = run()
        sys.stdout.flush(), sys.stderr.flush()
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        texts = [file.seek(0) or file.read().decode() for file in (out, err)]
        answers.append((code, *texts))
print(json.dumps(answers))
"""


def gcmedia_many(runs: Sequence[Sequence[str]], *, cwd: Path, **variables: str) -> list[tuple[int, str, str]]:
    """Run several commands in one process, which costs one start: exit code, output and error output of each."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps([list(run) for run in runs])],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env=environment(**variables),
    )
    assert done.returncode == 0, done.stderr
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]


@contextmanager
def started(*arguments: str | Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*GCMEDIA, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def simulating(*arguments: str) -> Iterator[dict[str, str]]:
    """``gcmedia simulate`` in the background; yields what it tells a shell to export."""
    with started("simulate", *arguments) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        exported = dict(re.findall(r"^export (\w+)=(.+)$", "".join(lines), re.MULTILINE))
        assert set(exported) == {"GENESYS_REGION", "GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET"}
        assert lines[3].startswith("# in another shell: gcmedia capture ")
        yield exported
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


@contextmanager
def cloud_of(*args: Any, **settings: Any) -> Iterator[tuple[Simulator, dict[str, str]]]:
    with Simulator.in_thread(*args, client_id="an-id", client_secret="a-secret", **settings) as cloud:
        yield (
            cloud,
            {
                "GENESYS_REGION": cloud.base_url,
                "GENESYS_CLIENT_ID": cloud.client_id,
                "GENESYS_CLIENT_SECRET": cloud.client_secret,
            },
        )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# The demo


def test_the_demo_shows_the_main_job(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = gcmedia("demo", "--seconds", "10", "--speed", "60", "--quiet", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("holds") == 4
    assert "accounting identity: received" in done.stderr
    assert names(out) == FILES | {
        f"{kind}-{side}.wav" for kind in ("raw", "clean") for side in ("external", "internal")
    } | {
        "report.png",
        "report.html",
    }
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    assert Timeline.load(out / "timeline.json").n_samples == 80_000


@pytest.mark.slow
def test_the_demo_speaks_what_it_is_given(tmp_path: Path) -> None:
    samples = (np.arange(24_000) % 200 * 50).astype("<i2")
    with wave.open(str(tmp_path / "prompt.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    out = tmp_path / "out"
    done = gcmedia(
        "demo", "--speech", tmp_path / "prompt.wav", "--speed", "200", "--quiet", "--out", out, "--backend", "trio"
    )
    assert done.returncode == 0, done.stderr
    assert Timeline.load(out / "timeline.json").n_samples == 24_000


USAGE = [
    (("demo", "--speech", "nowhere.wav"), "no such file or folder: nowhere.wav"),
    (("demo", "--speech", __file__), "not a WAV file"),
    (("demo", "--speed", "0"), "speed"),
    (("demo", "--backend", "curio"), "backend is 'curio', not one of asyncio, trio"),
    (("demo", "--seconds", "soon"), "'--seconds'"),
    (("capture",), "Missing argument"),
    (("capture", "c", "--channels", "3"), "n_channels is 3"),
    (("capture", "c", "--format", "opus"), "format is 'opus'"),
    (("capture", "c"), "set GENESYS_CLIENT_ID, GENESYS_CLIENT_SECRET, GENESYS_REGION in the environment"),
    (("report", "nowhere"), "nowhere"),
    (("simulate", "--layout", "rtp"), "layout is 'rtp'"),
    (("simulate", "--speed", "-1"), "speed is -1"),
    (("sing",), "No such command"),
]


def test_wrong_usage_is_2_and_says_what_is_wrong_and_help_is_there(tmp_path: Path) -> None:
    commands = ("capture", "demo", "report", "simulate")
    helps = [("--help",), *((command, "--help") for command in commands)]
    answers = gcmedia_many([*helps, *(arguments for arguments, _ in USAGE)], cwd=tmp_path)
    assert [code for code, _, _ in answers[: len(helps)]] == [0] * len(helps)
    assert set(commands) <= set(answers[0][1].split())
    for (arguments, message), (code, out, err) in zip(USAGE, answers[len(helps) :], strict=True):
        assert (arguments, code, out) == (arguments, 2, "")
        assert message in err
        assert "Traceback" not in err


def test_the_commands_that_draw_nothing_load_no_plotting_library() -> None:
    code = (
        "import sys; from importlib import import_module; from gcmedia.cli.app import COMMANDS\n"
        "for module, _ in COMMANDS.values(): import_module(f'gcmedia.cli.{module}')\n"
        "print({'matplotlib', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"


# Two processes


def test_simulate_and_capture_find_each_other(tmp_path: Path) -> None:
    with simulating("--speed", "200", "--no-faults", "--layout", "json", "--conversation", "c/1") as exported:
        done = gcmedia("capture", "c/1", "--out", tmp_path, "--quiet", "--json", "--sample-rate", "8000", **exported)
    assert done.returncode == 0, done.stderr
    counters = json.loads(done.stdout)
    call = Call.demo()
    assert counters["balanced"] is True
    assert counters["total_samples"] == call.n_samples
    assert counters["packets_received"] == counters["packets_played"] == call.n_packets
    assert counters["packets_lost"] == counters["reconnects"] == 0
    folder = tmp_path / "c%2F1"
    assert names(folder) >= FILES | {"raw-external.wav", "clean-external.wav"}
    raw = np.frombuffer(read_wav(folder / "raw-external.wav").data, np.int16)
    assert np.array_equal(raw, call.pcm(8000, 2)[:, 0])


def test_a_call_in_the_folder_is_replaced_when_asked(tmp_path: Path) -> None:
    """The same conversation of three clouds."""
    options = (("--no-report",), (), ("--overwrite", "--no-gate", "--report"))
    with ExitStack() as stack:
        clouds = [stack.enter_context(cloud_of({"c": Call.demo(seconds=1)}, speed=None))[1] for _ in options]
        runs = [
            (
                "capture",
                "c",
                "--out",
                ".",
                "--quiet",
                "--sample-rate",
                "8000",
                "--region",
                cloud["GENESYS_REGION"],
                *more,
            )
            for cloud, more in zip(clouds, options, strict=True)
        ]
        first, second, third = gcmedia_many(runs, cwd=tmp_path, **clouds[0])
    assert first[0] == 0, first[2]
    assert second[0] == 2
    assert "holds a call already" in second[2]
    assert third[0] == 0, third[2]
    assert names(tmp_path / "c") >= FILES | {"raw-external.wav", "report.png", "report.html"}
    assert "clean-external.wav" not in names(tmp_path / "c")


def test_so_much_audio_and_no_more(tmp_path: Path) -> None:
    with cloud_of({"c": Call.demo()}, speed=20.0) as (_, exported):
        done = gcmedia(
            "capture",
            "c",
            "--out",
            tmp_path,
            "--quiet",
            "--json",
            "--seconds",
            "2",
            "--channels",
            "1",
            "--sample-rate",
            "8000",
            **exported,
        )
    assert done.returncode == 0, done.stderr
    timeline = Timeline.load(tmp_path / "c" / "timeline.json")
    assert 2.0 <= timeline.duration_s < 10.0
    assert timeline.channels == ("mixed",)
    assert json.loads(done.stdout)["total_samples"] == timeline.n_samples


# How it went


OUTCOMES = {
    "token": (Faults(token_refusals=(401,)), 3, "refused by order"),
    "tokens": (Faults(upgrade_refusals=(401, 401)), 3, "does not accept the token"),
    "scope": (Faults(upgrade_refusals=(403,)), 3, "403"),
    "path": (Faults(upgrade_refusals=(404,)), 4, "404"),
    "wait": (Faults(upgrade_refusals=(503,), retry_after_s=7200.0), 4, "asks to wait 7200 s"),
    "subscription": (Faults(subscribe_refusals=(400,)), 1, "The subscription was refused"),
}


def test_the_exit_code_tells_what_failed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        runs = []
        for name, (faults, _, _) in OUTCOMES.items():
            cloud = stack.enter_context(
                Simulator.in_thread(
                    Call.demo(seconds=1), faults, client_id="an-id", client_secret="a-secret", speed=None
                )
            )
            runs.append(("capture", name, "--out", "calls", "--quiet", "--json", "--region", cloud.base_url))
        answers = gcmedia_many(
            runs,
            cwd=tmp_path,
            GENESYS_CLIENT_ID="an-id",
            GENESYS_CLIENT_SECRET="a-secret",
            GENESYS_REGION="us-east-1",
        )
    for (name, (_, expected, message)), (code, out, err) in zip(OUTCOMES.items(), answers, strict=True):
        assert (name, code) == (name, expected)
        last = err.splitlines()[-1]
        assert last.startswith("gcmedia: ")
        assert message in last
        assert "Traceback" not in err
        assert json.loads(out)["packets_received"] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_fails_on_the_way_keeps_what_came(scripted: Scripted, tmp_path: Path) -> None:
    """The token endpoint is the simulator's, the media that of a script."""
    server = scripted(plays(ACK, *packets(0, 50), close=1008))
    options = f"--quiet --json --region {server.url} --format pcmu --sample-rate 8000 --channels 1"
    program = (
        "import sys, gcmedia.cli.capture as command\n"
        "from functools import partial\n"
        "from gcmedia.cli import main\n"
        "command.capture = partial(command.capture, token='t')\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "capture", "c", "--out", str(tmp_path), *options.split()],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1] == "gcmedia: the server closed the connection with 1008"
    assert json.loads(done.stdout)["packets_played"] == 50
    assert Timeline.load(tmp_path / "c" / "timeline.json").n_samples == 8000


@pytest.mark.parametrize(
    ("sent", "backend"), [(signal.SIGINT, "asyncio"), pytest.param(signal.SIGTERM, "trio", marks=pytest.mark.slow)]
)
def test_a_signal_stops_the_call_and_completes_its_files(sent: signal.Signals, backend: str, tmp_path: Path) -> None:
    with cloud_of({"c": Call.demo()}, Faults(seed=1, loss=0.05), speed=1.0) as (cloud, exported):
        arguments = f"capture c --out {tmp_path} --quiet --json --backend {backend} --sample-rate 8000".split()
        with started(*arguments, **exported) as process:
            while not any(record.kind == "packet" for record in cloud.journal.records):
                threading.Event().wait(0.02)
            threading.Event().wait(0.5)
            process.send_signal(sent)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    counters = json.loads(out)
    assert counters["balanced"] is True
    assert counters["packets_played"] > 0
    timeline = Timeline.load(tmp_path / "c" / "timeline.json")
    assert timeline.n_samples == counters["total_samples"] > 0
    assert timeline.events[-1]["kind"] == "ended"
    assert timeline.events[-1]["cause"] == "stopped here"
    assert not [name for name in names(tmp_path / "c") if name.endswith(".part")]


@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.slow)])
def test_a_signal_while_connecting_is_130(backend: str, tmp_path: Path) -> None:
    with cloud_of({"c": Call.demo()}, Faults(upgrade_refusals=(503,), retry_after_s=100.0)) as (cloud, exported):
        arguments = ("capture", "c", "--out", tmp_path, "--quiet", "--backend", backend)
        with started(*arguments, **exported) as process:
            while not any(request.status == 503 for request in cloud.journal.requests):
                threading.Event().wait(0.02)
            threading.Event().wait(0.2)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_secret_is_in_no_output(tmp_path: Path) -> None:
    with cloud_of({"c": Call.demo(seconds=1)}, Faults(upgrade_refusals=(401,)), speed=None) as (_, exported):
        done = gcmedia("capture", "c", "--out", tmp_path, "--token-in", "query", "--sample-rate", "8000", **exported)
    assert done.returncode == 0, done.stderr
    everything = done.stdout + done.stderr + "".join(p.read_text("latin-1") for p in (tmp_path / "c").iterdir())
    assert exported["GENESYS_CLIENT_SECRET"] not in everything
    assert "access_token=" not in everything
