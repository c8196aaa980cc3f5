"""``gcmedia capture --dialect media-streams`` as a process of its own."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from gcmedia.record import read_wav
from gcmedia.simulator import Call, Faults, Simulator, StreamsPlan
from tests.capture.test_cli import environment, gcmedia, gcmedia_many, started

CALL = Call.demo(seconds=1)
FULL = StreamsPlan(replies="full")
STREAMS = ("capture", "--dialect", "media-streams", "--no-gate")


def known(cloud: Simulator) -> dict[str, str]:
    return {
        "GENESYS_REGION": cloud.base_url,
        "GENESYS_CLIENT_ID": cloud.client_id,
        "GENESYS_CLIENT_SECRET": cloud.client_secret,
    }


def test_003_37_a_list_of_interactions_is_captured_each_into_its_folder(tmp_path: Path) -> None:
    """Ids are trimmed, and may come from the published variable."""
    with Simulator.in_thread(CALL, Faults(seed=1, loss=0.05), speed=None, media_streams=FULL) as cloud:
        done = gcmedia(
            *STREAMS, "--out", tmp_path, "--json", "--consent", "--purpose", "quality",
            **known(cloud), TARGET_INTERACTIONS=" one, two ,one,",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["balanced"] is True
    assert list(told["interactions"]) == ["one", "two"]
    for name, one in told["interactions"].items():
        assert (one["state"], one["codec"], one["error"], one["balanced"]) == ("ended", "pcmu", None, True)
        assert read_wav(tmp_path / name / "raw-mixed.wav").data
        assert one["folder"] == str(tmp_path / name)
    assert "one: subscribed codec pcmu" in done.stderr


def test_003_11_one_that_fails_is_told_and_shows_in_the_exit_code(tmp_path: Path) -> None:
    with Simulator.in_thread({"one": CALL}, speed=None, media_streams=FULL) as cloud:
        options = [*STREAMS, "--json", "--quiet", "--interactions", "one,nobody"]
        runs = [
            [*options, "--out", str(tmp_path / "partial")],
            [*STREAMS, "--quiet", "--interactions", "nobody", "--out", str(tmp_path / "none")],
        ]
        (partial, out, _), (none, _, said) = gcmedia_many(runs, cwd=tmp_path, **known(cloud))
    assert partial == 1
    states = {name: one["state"] for name, one in json.loads(out)["interactions"].items()}
    assert states == {"one": "ended", "nobody": "failed"}
    assert none == 1
    assert said == "gcmedia: interaction nobody was not found, or has ended\n"


def test_003_37_wrong_usage_says_what_to_do(tmp_path: Path) -> None:
    wrong = {
        ("capture",): "Missing argument CONVERSATION; or give --dialect media-streams --interactions A,B,C",
        ("capture", "c", "--dialect", "smoke"): "dialect is 'smoke', not platform-media or media-streams",
        STREAMS: "interactions is empty",
        (*STREAMS, "a", "--codecs", "g729"): "codec is 'g729', not one of pcmu, pcma, opus",
        (*STREAMS, *",".join(map(str, range(1001))).join(("--interactions=", "")).split()): "room for 1000",
    }
    variables = {"GENESYS_REGION": "us-east-1", "GENESYS_CLIENT_ID": "i", "GENESYS_CLIENT_SECRET": "s"}
    answers = gcmedia_many([list(run) for run in wrong], cwd=tmp_path, **variables)
    for (code, _, said), text in zip(answers, wrong.values(), strict=True):
        assert text in said
        assert code in (1, 2)
    assert environment()


def test_003_37_a_signal_ends_it_gracefully(tmp_path: Path) -> None:
    arguments = (*STREAMS, "--json", "--interactions", "a,b", "--out", tmp_path)
    with (
        Simulator.in_thread(Call.demo(seconds=60), speed=1.0, media_streams=FULL) as cloud,
        started(*arguments, **known(cloud)) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("b: subscribed"):
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    told = json.loads(out)
    assert told["balanced"] is True
    assert {one["state"] for one in told["interactions"].values()} == {"ended"}
