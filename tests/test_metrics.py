"""What a scrape says, against the counters themselves; the dashboard and the alerts, against what a scrape says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import gcmedia
from gcmedia.errors import ConfigError
from gcmedia.live import LiveCall, LiveCalls
from gcmedia.metrics import Collector, exposition

from .core.packets import packet

DOCS = Path(__file__).parent.parent / "docs"
WORDS = re.compile(r"\bgcmedia_[a-z_]+")


def scraped(calls: LiveCalls, *, per_call: bool = False) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, by name and labels."""
    text, kind = exposition(calls, per_call=per_call)
    assert kind.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def talk(calls: LiveCalls, n: int, *, lose: set[int] | None = None, source: str = "platform-media") -> LiveCall:
    receiver = gcmedia.Receiver()
    live = calls.announce("a-conversation-id", receiver=receiver, source=source)
    for number in range(n):
        if number not in (lose or ()):
            receiver.push(packet(number, 20 * number, bytes([number % 251]) * 160), number * 0.02)
        for _ in receiver.frames(number * 0.02):
            pass
    return live


def test_counters_are_summed_by_source_and_survive_their_calls() -> None:
    calls = LiveCalls()
    first = talk(calls, 100, lose={10, 11, 12, 50})
    second = talk(calls, 60)
    third = talk(calls, 40, source="audiohook")
    for _ in range(2):
        found = scraped(calls)
        stats = [first.stats(), second.stats()]
        for source, parts in (("platform-media", stats), ("audiohook", [third.stats()])):
            labels = (("source", source),)
            for name, field in (
                ("packets_received_total", "packets_received"),
                ("packets_played_total", "packets_played"),
                ("packets_expected_total", "packets_expected"),
                ("packets_unique_received_total", "unique_received"),
                ("packets_lost", "packets_lost"),
                ("samples_received_total", "total_samples"),
                ("concealed_samples_total", "concealed_samples"),
                ("bytes_received_total", "bytes_received"),
                ("jitter_buffer_emitted_total", "jitter_buffer_emitted_count"),
            ):
                assert found[f"gcmedia_{name}", labels] == sum(getattr(part, field) for part in parts), name
        live = [one for one in (first, second) if not one.ended]
        assert found["gcmedia_calls", (("source", "platform-media"),)] == len(live)
        calls.leave(first, failed=True, reason="ConnectionLost")
        calls.leave(first)  # once is enough
    found = scraped(calls)
    assert found["gcmedia_calls_failed_total", (("reason", "ConnectionLost"),)] == 1
    assert found["gcmedia_calls_opened_total", ()] == 3
    assert found["gcmedia_calls_ended_total", ()] == 1
    assert found["gcmedia_calls_unbalanced", ()] == 0


def test_jitter_and_loss_as_histograms_over_calls() -> None:
    calls = LiveCalls()
    streams = [talk(calls, 80), talk(calls, 80, lose=set(range(20, 40))), talk(calls, 3)]
    found = scraped(calls)
    source = ("source", "platform-media")
    losses = [stream.stats().loss_rate for stream in streams]
    assert max(losses) > 0.2
    buckets = {labels[0][1]: value for (name, labels), value in found.items() if name == "gcmedia_loss_ratio_bucket"}
    assert list(buckets.values()) == sorted(buckets.values())
    for bound, value in buckets.items():
        assert value == sum(loss <= float(bound) for loss in losses)
    assert found["gcmedia_jitter_seconds_bucket", (("le", "+Inf"), source)] == 3


def test_labels_are_few_unless_asked_for() -> None:
    calls = LiveCalls()
    for _ in range(600):
        calls.announce("a-conversation-id", receiver=gcmedia.Receiver())
    assert len(scraped(calls)) < 120
    found = scraped(calls, per_call=True)
    numbers = {dict(labels)["call"] for name, labels in found if name.startswith("gcmedia_call_")}
    assert len(numbers) == 500
    assert "600" in numbers
    assert "a-conversation-id" not in exposition(calls, per_call=True)[0].decode()
    with pytest.raises(ConfigError, match="max_calls is 0"):
        Collector(calls, max_calls=0)


def test_an_empty_process_can_be_scraped() -> None:
    found = scraped(LiveCalls())
    assert found["gcmedia_calls_opened_total", ()] == 0
    assert found["gcmedia_frames_dropped_total", ()] == 0


class _Token:
    age_s = 100.0
    expires_in_s = 50.0


def everything(tmp_path: Path) -> LiveCalls:
    """All that a scrape can tell."""
    calls = LiveCalls()
    talk(calls, 10)
    calls.watch_token(_Token())
    calls.watch_folder(tmp_path)
    calls.refuse("no room")
    calls.fail("AuthError")
    return calls


def expressions() -> Iterator[tuple[str, str]]:
    for name in ("grafana-dashboard.json", "prometheus-alerts.yml"):
        for word in WORDS.findall((DOCS / name).read_text()):
            yield name, word


def test_dashboard_and_alerts_use_what_there_is(tmp_path: Path) -> None:
    names = {name for name, _ in scraped(everything(tmp_path))}
    assert [(file, word) for file, word in expressions() if word not in names] == []
    assert len({word for _, word in expressions()}) > 25


def test_the_dashboard_is_whole() -> None:
    board = json.loads((DOCS / "grafana-dashboard.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 10
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
            assert "$" not in target["expr"].replace("$job", "").replace("$instance", "").replace(
                "$__rate_interval", ""
            )


def test_every_metric_is_told_of(tmp_path: Path) -> None:
    page = (DOCS / "metrics.md").read_text()
    text, _ = exposition(everything(tmp_path), per_call=True)
    names = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")]
    known = [name for name in names if not name.endswith(("_gcount", "_gsum"))]
    assert [name for name in known if f"`{name}`" not in page] == []


# promtool is Prometheus's own, a large package that not every developer has; .ci/run installs it, and the test runs.
@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool: apt-get install prometheus")
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", DOCS / "prometheus-alerts.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text, _ = exposition(everything(tmp_path), per_call=True)
    done = subprocess.run(["promtool", "check", "metrics"], input=text.decode(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# promtool is Prometheus's own, a large package that not every developer has; .ci/run installs it, and the test runs.
@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool: apt-get install prometheus")
def test_the_dashboard_s_expressions_are_promql(tmp_path: Path) -> None:
    board = json.loads((DOCS / "grafana-dashboard.json").read_text())
    rules = {
        "groups": [
            {
                "name": "board",
                "rules": [
                    {"record": f"x:{index}", "expr": target["expr"].replace("$__rate_interval", "5m")}
                    for index, target in enumerate(target for panel in board["panels"] for target in panel["targets"])
                ],
            }
        ]
    }
    file = tmp_path / "rules.json"  # JSON is YAML too
    file.write_text(json.dumps(rules).replace('"x:', '"board:x'))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
