"""Calls that another process records, seen through their folders."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

import gcmedia
from gcmedia.errors import ConfigError
from gcmedia.live import LiveCalls
from gcmedia.metrics import Collector
from gcmedia.monitor.folder import FolderWatch
from gcmedia.record import CallFolder, RecordConfig
from gcmedia.types import Hole, MediaFormat, Transcript

from ..record.test_timeline import STATS
from .calls import TEXT, TOKEN, bearer, messages, packet

COMMAND = "import sys; from gcmedia.cli import main; sys.exit(main())"


def until(true: Callable[[], object], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def write(folder: CallFolder, receiver: gcmedia.Receiver, n: int) -> None:
    for number in range(receiver.position // 160, receiver.position // 160 + n):
        receiver.push(packet(number), number * 0.02)
        for frame in receiver.frames(number * 0.02 + 1.0):
            folder.frame(frame, number * 0.02)
    folder.flush(receiver.position / 8000)


def test_a_call_that_is_being_recorded_is_followed_to_its_end(tmp_path: Path) -> None:
    calls = LiveCalls()
    with FolderWatch(tmp_path, calls, poll_s=0.05, scan_s=0.1):
        folder = CallFolder(
            tmp_path / "one", MediaFormat("PCMU", 8000, ("external", "internal")), clean=False, conversation_id="c-1"
        )
        receiver = gcmedia.Receiver(n_channels=2)
        reference = receiver.meter()
        reference.watch()
        write(folder, receiver, 100)
        until(lambda: calls.calls and calls.calls[0].meter and calls.calls[0].meter.columns >= 45)
        (live,) = calls.calls
        assert (live.conversation_id, live.channels, live.source) == ("c-1", ("external", "internal"), "recording")
        folder.hole(Hole(8000, 160, "lost"))
        folder.event("reconnect", 9000)
        folder.transcript(Transcript("good morning", 0.9, 4000, 800, "external"))
        folder.sample({"position": 16000, "depth": 4, "target": 5, "jitter_ms": 7.5, "loss_rate": 0.04})
        folder.metrics(
            {"packetsReceived": 100, "packetsPlayed": 95, "packetsBuffered": 4, "packetsLost": 3, "packetsDuplicate": 1}
        )
        write(folder, receiver, 100)
        until(lambda: live.meter and live.meter.columns == reference.columns and live.told)
        until(lambda: live.holes.since(0)[1] and live.events.since(0)[1] and live.transcripts.since(0)[1])
        assert live.meter is not None
        mine, theirs = (
            np.frombuffer(meter.read(0)[1], np.uint8).reshape(-1, 2, 4) for meter in (live.meter, reference)
        )
        assert (mine[:, :, [0, 2, 3]] == theirs[:, :, [0, 2, 3]]).all()
        assert live.holes.since(0)[1][0][1] == Hole(8000, 160, "lost")
        assert [event["kind"] for _, event in live.events.since(0)[1]] == ["reconnect"]
        assert live.transcripts.since(0)[1][0][1].text == "good morning"
        told: dict[str, float] = {}

        def all_is_read() -> bool:  # of files that are read one after the other
            told.update(zip(_names(), calls.read([live])[0], strict=True))
            return told["packets_lost"] == 3 and told["buffer_depth"] == 4

        until(all_is_read)
        assert told["packets_expected"] == 102
        assert live.stats().balanced
        assert live.stats().packets_played == 95
        shown = scraped(calls)
        assert shown["gcmedia_packets_received_total", "recording"] == 100
        assert shown["gcmedia_packets_lost", "recording"] == 3
        assert shown["gcmedia_calls", "recording"] == 1
        assert shown["gcmedia_calls_unbalanced", ""] == 0
        assert shown["gcmedia_jitter_seconds_bucket", "recording 0.005"] == 0
        assert shown["gcmedia_jitter_seconds_bucket", "recording 0.01"] == 1
        assert told["jitter"] == 0.0075
        assert told["buffer_depth"] == 4
        assert told["level_first"] > 200
        before = sorted((path.name, path.stat().st_size) for path in (tmp_path / "one").iterdir())
        time.sleep(0.3)
        assert sorted((path.name, path.stat().st_size) for path in (tmp_path / "one").iterdir()) == before
        folder.close(STATS)
        until(lambda: not calls.calls)
    assert (calls.ended, calls.failed) == (1, 0)


@pytest.mark.parametrize("encoding", ["PCMU", "PCMA"])
@pytest.mark.parametrize("layout", ["apart", "interleaved"])
def test_every_way_of_recording_is_followed(layout: str, encoding: str, tmp_path: Path) -> None:
    recording = RecordConfig(layout=layout, encoding="received", rotate_s=1.0)
    calls = LiveCalls()
    folder = CallFolder(
        tmp_path / "one",
        MediaFormat(encoding, 8000, ("a/b", "a b")),
        clean=False,
        conversation_id="c-1",
        config=recording,
    )
    receiver = gcmedia.Receiver(encoding, n_channels=2)
    reference = receiver.meter()
    reference.watch()
    write(folder, receiver, 80)
    with FolderWatch(tmp_path, calls, poll_s=0.05, scan_s=0.1):
        until(lambda: calls.calls and calls.calls[0].meter and calls.calls[0].meter.columns >= 30)
        (live,) = calls.calls
        assert live.channels == ("a/b", "a b")
        write(folder, receiver, 130)
        assert len(list((tmp_path / "one").glob("raw*.4.wav"))) == 1 + (layout == "apart")
        until(lambda: live.meter and live.meter.columns == reference.columns)
        assert live.meter is not None
        mine, theirs = (
            np.frombuffer(meter.read(0)[1], np.uint8).reshape(-1, 2, 4) for meter in (live.meter, reference)
        )
        assert (mine[:, :, [0, 2, 3]] == theirs[:, :, [0, 2, 3]]).all()
        folder.close()
        until(lambda: not calls.calls)


def scraped(calls: LiveCalls) -> dict[tuple[str, str], float]:
    """Samples by name, and source and bound."""
    return {
        (sample.name, " ".join(sample.labels[key] for key in ("source", "le") if key in sample.labels)): sample.value
        for family in Collector(calls).collect()
        for sample in family.samples
    }


def _names() -> tuple[str, ...]:
    from gcmedia._core.counters import COUNTERS

    return COUNTERS


def test_what_lies_there_besides_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "timeline.jsonl.part").write_bytes(b'\x00\n{"call": 3}\n[]\n{"call":{"channels":[]}}\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    calls = LiveCalls()
    with FolderWatch(tmp_path, calls, poll_s=0.05, scan_s=0.1):
        folder = CallFolder(
            tmp_path / "whole", MediaFormat("PCMU", 8000, ("mixed",)), clean=False, conversation_id="c-2"
        )
        folder.flush(0.0)
        until(lambda: [live.conversation_id for live in calls.calls] == ["c-2"])
        folder.close()
    with pytest.raises(ConfigError, match="is no folder"):
        FolderWatch(tmp_path / "file", calls)


def test_the_command_serves_a_folder(tmp_path: Path) -> None:
    folder = CallFolder(tmp_path / "one", MediaFormat("PCMU", 8000, ("mixed",)), clean=False, conversation_id="c-3")
    folder.flush(0.0)
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "monitor", str(tmp_path), "--at", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GCMEDIA_MONITOR_TOKEN": TOKEN},
    )
    try:
        assert command.stderr is not None
        line = command.stderr.readline()
        address = re.search(r"http://\S+", line)
        assert address is not None, line
        with (
            httpx.Client(base_url=address[0], trust_env=False, timeout=30) as client,
            client.stream("GET", "/api/fleet", headers=bearer()) as response,
        ):
            ids = (
                about["id"] for kind, value in messages(response) if kind == TEXT for about in value.get("calls", [])
            )
            assert next(ids) == "c-3"
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 130
        assert TOKEN not in command.stderr.read()
    finally:
        command.kill()
        command.wait()
        command.stderr.close()  # type: ignore[union-attr]
        folder.close()
    assert json.loads((tmp_path / "one" / "timeline.json").read_text())["conversation_id"] == "c-3"
