"""The monitor over its own socket: who may in, what is sent, what it says when one is too slow, what is audited."""

from __future__ import annotations

import json
import logging
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest

import gcmedia
from gcmedia.errors import ConfigError
from gcmedia.live import LiveCalls, Tail
from gcmedia.monitor import Monitor, MonitorConfig, serve_monitor
from gcmedia.record import verify_audit
from gcmedia.record.lines import read_lines
from gcmedia.types import Hole

from .calls import AUDIO, COLUMNS, HISTORY, LISTEN, POINT, ROWS, TEXT, TOKEN, Talker, bearer, captured, messages

NASTY = "<script>alert(1)</script>\" ' & \u202e日本 ${x}"


@pytest.fixture
def calls() -> LiveCalls:
    return LiveCalls()


@pytest.fixture
def monitor(calls: LiveCalls) -> Iterator[Monitor]:
    with serve_monitor(calls, token=TOKEN) as monitor:
        yield monitor


@pytest.fixture
def client(monitor: Monitor) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=monitor.url, trust_env=False, timeout=30) as client:
        yield client


def test_the_page_is_there_for_everybody_and_holds_nothing(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Sign in" in page.text
    assert "<script>" not in page.text
    assert " style=" not in page.text
    assert not re.search(r"<[^>]* on[a-z]+=", page.text)
    for path in ("/static/monitor.css", "/static/main.js", "/static/call.js", "/static/icon.svg"):
        assert client.get(path).status_code == 200
    assert client.get("/static/../config.py").status_code == 404
    assert client.post("/").status_code == 405


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/fleet", "/api/calls/1", "/metrics", "/nowhere"])
def test_every_answer_forbids_what_the_page_does_not_need(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_nothing_is_told_without_the_token(monitor: Monitor, calls: LiveCalls) -> None:
    Talker(calls)
    wrong: list[Any] = [
        {},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer ä".encode()},
        {"Cookie": f"token={TOKEN}"},
    ]
    asked = [
        (path, headers, params)
        for path in ("/api/fleet", "/api/calls/1", "/api/calls/1/listen/0", "/metrics")
        for headers, params in [*((header, {}) for header in wrong), ({}, {"token": TOKEN, "access_token": TOKEN})]
    ]

    async def ask_all() -> list[httpx.Response]:
        found: list[httpx.Response] = []

        async def ask(path: str, headers: Any, params: dict[str, str]) -> None:
            found.append(await asker.get(path, headers=headers, params=params))

        limits = httpx.Limits(max_connections=20)
        asker = httpx.AsyncClient(base_url=monitor.url, trust_env=False, timeout=60, limits=limits)
        async with asker, anyio.create_task_group() as tasks:
            for one in asked:
                tasks.start_soon(ask, *one)
        return found

    answers = anyio.run(ask_all)
    assert len(answers) == len(asked)
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {"error": "a bearer token is needed"}


def test_the_fleet_in_rows(client: httpx.Client, calls: LiveCalls) -> None:
    talkers = [Talker(calls, f"call {n}") for n in range(3)]
    for talker in talkers:
        talker.talk(100)
    talkers[1].lose = 30
    calls.refuse("no room")
    calls.fail("AuthError")
    with client.stream("GET", "/api/fleet", headers=bearer()) as response:
        assert response.status_code == 200
        stream = messages(response)
        kind, news = next(stream)
        assert kind == TEXT
        assert [about["id"] for about in news["calls"]] == ["call 0", "call 1", "call 2"]
        assert news["calls"][0]["channels"] == ["external", "internal"]
        totals = news["totals"]
        assert (totals["live"], totals["opened"], totals["failed"], totals["refused"]) == (3, 3, 1, 1)
        assert totals["tokenAgeS"] is None
        found = [next(stream) for _ in range(4)]
        assert [kind for kind, _ in found] == [HISTORY] * 3 + [ROWS]
        rows = list(struct.iter_unpack("<IBBBBBBBB", found[3][1]))
        assert [row[0] for row in rows] == [1, 2, 3]
        for talker in talkers:
            talker.talk(60)
        calls.leave(talkers[2].live, failed=True)
        kind, news = next(stream)
        assert news["gone"] == [{"call": 3, "state": "failed"}]
        assert news["totals"]["live"] == 2
        assert news["totals"]["received"] == 3 * 160 - 30
        rows = list(struct.iter_unpack("<IBBBBBBBB", next(stream)[1]))
        (_, state, n_channels, first, second, loss, _, depth, target), burst = rows
        assert (state, n_channels) == (1, 2)
        assert 200 < first < 255
        assert 200 < second < 255
        assert loss == 0
        assert burst[5] == 250  # half of the last 60 packets, in steps of 0.2 %
        assert (depth, target) == (talkers[0].receiver.stats().buffer_depth, talkers[0].receiver.stats().buffer_target)


def test_one_call_from_behind_to_now(client: httpx.Client, calls: LiveCalls) -> None:
    talker = Talker(calls, NASTY)
    live = talker.live
    talker.lose = 3
    talker.talk(100)
    live.holes.append(Hole(0, 480, "lost"))
    talker.event("muted", channel="internal")
    talker.words.append(("external", NASTY))
    talker.talk(10)
    live.qa.append({"timestamp": 1e12, "positionMs": 2000, "bufferDepth": 3, "jitterMs": 4.5, "packetLossRate": 0.02})
    with client.stream("GET", f"/api/calls/{live.number}", headers=bearer()) as response:
        stream = messages(response)
        kind, value = next(stream)
        about = value["about"]
        assert about["id"] == NASTY
        assert about["columnSamples"] == 320
        assert about["listen"] is False
        assert next(stream) == (POINT, struct.pack("<IBBHH", 2000, 3, 0, 45, 200))
        kind, octets = next(stream)
        assert kind == COLUMNS
        (first,) = struct.unpack_from("<I", octets)
        table = np.frombuffer(octets, np.uint8, offset=4).reshape(-1, 2, 4)
        assert first == 0
        assert len(table) == live.meter.columns  # type: ignore[union-attr]
        assert not (table[:, :, 1] & 4).any()  # nobody looked, so no peaks
        assert next(stream)[0] == POINT
        kind, news = next(stream)
        assert news["holes"] == [[0, 480, "lost"]]
        assert news["transcripts"][0]["text"] == NASTY
        assert news["events"][0]["kind"] == "muted"
        stats, expected = news["stats"], talker.receiver.stats()
        assert stats["balanced"] is True
        assert stats["received"] == expected.packets_received
        assert stats["received"] == sum(
            stats[part] for part in ("played", "late", "duplicate", "discarded", "refused", "buffered")
        )
        assert stats["expected"] == stats["unique"] + stats["lost"]
        talker.talk(100)
        newer = next(value for kind, value in stream if kind == COLUMNS)
        (at,) = struct.unpack_from("<I", newer)
        table = np.frombuffer(newer, np.uint8, offset=4).reshape(-1, 2, 4)
        assert at == len(octets[4:]) // 8
        assert (table[1:, :, 1] & 4).all()  # now somebody does
        highest = np.frombuffer(gcmedia.ulaw_decode(table[1:, 0, 3].tobytes()), np.int16)
        assert 500 < highest.max() < 8000  # the talker's tone
        calls.leave(live)
        news = [value for kind, value in stream if kind == TEXT][-1]
        assert news["over"] is True
        assert news["state"] == "ended"
    assert live.meter is not None
    assert not live.meter.watched
    assert client.get(f"/api/calls/{live.number}", headers=bearer()).status_code == 404


def test_a_slow_onlooker_misses_the_oldest_and_is_told(client: httpx.Client, calls: LiveCalls) -> None:
    talker = Talker(calls)
    talker.talk(50)
    with client.stream("GET", f"/api/calls/{talker.live.number}", headers=bearer()) as response:
        stream = messages(response)
        assert next(value for kind, value in stream if kind == TEXT and "stats" in value)
        for n in range(2000):  # events, more than are kept, while nobody reads
            talker.event("resumed", n=n)
        talker.talk(6000)  # 120 s of audio, of which the ring holds 41
        told = next(value for kind, value in stream if kind == TEXT and "skipped" in value)
        assert told["skipped"] > 1500
        news = next(value for kind, value in stream if kind == TEXT and "events" in value)
        assert len(news["events"]) == 300
        assert news["events"][-1]["n"] == 1999


def test_what_waits_for_one_who_does_not_read_is_bounded(monitor: Monitor, calls: LiveCalls) -> None:
    """Audio for an hour goes by, and neither the monitor nor the call keeps any of it for the one who sleeps."""
    talker = Talker(calls)
    host, port = monitor.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as sleeper:
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET /api/calls/{talker.live.number} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        sleeper.sendall(head.encode())
        talker.talk(20_000)
        with (
            httpx.Client(base_url=monitor.url, trust_env=False, timeout=30) as client,
            client.stream("GET", "/api/fleet", headers=bearer()) as response,
        ):  # the others are served meanwhile
            assert next(messages(response))[0] == TEXT
    assert talker.live.meter is not None
    assert len(talker.live.meter.read(0)[1]) <= 4 * 2 * 1024


def test_only_so_many_look_on(calls: LiveCalls) -> None:
    with (
        serve_monitor(calls, token=TOKEN, max_onlookers=2) as monitor,
        httpx.Client(base_url=monitor.url, trust_env=False, timeout=30) as client,
        client.stream("GET", "/api/fleet", headers=bearer()) as first,
        client.stream("GET", "/api/fleet", headers=bearer()) as second,
    ):
        streams = messages(first), messages(second)  # kept: who lets go of one leaves
        assert [next(stream)[0] for stream in streams] == [TEXT, TEXT]
        third = client.get("/api/fleet", headers=bearer())
        assert third.status_code == 503
        assert third.json() == {"error": "2 look on already"}
        assert int(third.headers["retry-after"]) > 0


def test_it_ends_while_somebody_looks(calls: LiveCalls) -> None:
    talker = Talker(calls)
    with serve_monitor(calls, token=TOKEN) as monitor:
        client = httpx.Client(base_url=monitor.url, trust_env=False, timeout=30)
        with client.stream("GET", f"/api/calls/{talker.live.number}", headers=bearer()) as response:
            stream = messages(response)
            next(stream)
            closer = threading.Thread(target=monitor.__exit__, args=(None, None, None))
            closer.start()
            with pytest.raises((StopIteration, httpx.TransportError)):  # noqa: PT012
                while True:
                    next(stream)
            closer.join(30)
            assert not closer.is_alive()
        client.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_listening_in(backend: str, calls: LiveCalls, tmp_path: Path) -> None:
    """Off without a token of its own; with it what is heard is the call; each step is audited, in the call too."""
    audit = tmp_path / "monitor.jsonl"
    with (
        serve_monitor(calls, token=TOKEN, listen_tokens={"quality": LISTEN}, audit_to=audit) as monitor,
        captured(calls, tmp_path / "call", backend) as call,
        httpx.Client(base_url=monitor.url, trust_env=False, timeout=30) as client,
    ):
        address = f"/api/calls/{calls.calls[0].number}/listen/1"
        for headers in ({}, bearer(), bearer(LISTEN + "x")):
            assert client.get(address, headers=headers).status_code == 401
        assert client.get("/api/fleet", headers=bearer(LISTEN)).status_code == 401  # it opens nothing else
        assert (
            client.get(address.replace("/1", "/7").replace("calls/7", "calls/1"), headers=bearer(LISTEN)).status_code
            == 404
        )
        assert client.get(address, params={"track": "loud"}, headers=bearer(LISTEN)).status_code == 400
        heard = b""
        with client.stream("GET", address, headers=bearer(LISTEN)) as response:
            stream = messages(response)
            assert next(stream) == (TEXT, {"listen": "internal", "rate": 8000})
            for kind, value in stream:
                heard += value if kind == AUDIO else b""
                if len(heard) > 8000:
                    break
        deadline = time.monotonic() + 60
        while call.events[-1].get("outcome") != "ended" and time.monotonic() < deadline:
            time.sleep(0.01)  # until the server has noticed that nobody listens
        state = call.state
    assert state in ("live", "ended")
    whole = np.frombuffer((tmp_path / "call" / "raw-internal.wav").read_bytes()[-2 * call.position :], np.int16)
    assert bytes(heard[:4000]) in bytes(gcmedia.ulaw_encode(whole.copy()))
    lines = read_lines(audit)
    assert [(line["action"], line["outcome"]) for line in lines] == [
        *[("denied", "refused")] * 3, ("listen_in", "begun"), ("listen_in", "ended"),
    ]  # fmt: skip
    assert lines[3]["actor"] == "quality"
    assert lines[3]["interactionId"] == "conv"
    assert lines[3]["channel"] == "internal"
    verify_audit(audit)
    of_call = [line for line in read_lines(tmp_path / "call" / "audit.jsonl") if line["action"] == "listen_in"]
    assert [(line["actor"], line["outcome"]) for line in of_call] == [("quality", "begun"), ("quality", "ended")]
    verify_audit(tmp_path / "call" / "audit.jsonl")
    timeline = json.loads((tmp_path / "call" / "timeline.json").read_text())
    assert [event["outcome"] for event in timeline["events"] if event["kind"] == "listen_in"] == ["begun", "ended"]


def test_listening_in_is_off_by_default(client: httpx.Client, calls: LiveCalls, tmp_path: Path) -> None:
    with captured(calls, tmp_path, "asyncio"):
        address = f"/api/calls/{calls.calls[0].number}/listen/0"
        for token in (TOKEN, LISTEN):
            assert client.get(address, headers=bearer(token)).status_code == 401


def test_a_capture_announces_itself_and_is_counted_when_it_is_over(calls: LiveCalls, tmp_path: Path) -> None:
    with captured(calls, tmp_path / "calls" / "one", "asyncio") as call:
        (live,) = calls.calls
        assert (live.conversation_id, live.source, live.channels) == (
            "conv",
            "platform-media",
            ("external", "internal"),
        )
        assert calls.token_age_s is not None
        assert calls.token_left_s is not None
        assert calls.disk()[0][0] > 0
    assert calls.calls == ()
    assert (calls.opened, calls.ended, calls.failed) == (1, 1, 0)
    _, past = calls.snapshot()
    assert past["platform-media"][0] == call.stats().packets_received > 0
    assert live.ended
    assert live.state == "ended"
    kinds = [event["kind"] for _, event in live.events.since(0)[1]]
    assert kinds == [event["kind"] for event in call.events]
    assert "connected" in kinds


def test_nothing_personal_is_logged(caplog: pytest.LogCaptureFixture, calls: LiveCalls, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with serve_monitor(calls, token=TOKEN, listen_tokens={"q": LISTEN}, audit_to=tmp_path / "a.jsonl") as monitor:
        talker = Talker(calls, "a-conversation-id")
        talker.words.append(("external", "my card number is"))
        talker.talk()
        with httpx.Client(base_url=monitor.url, trust_env=False, timeout=30) as client:
            client.get("/api/calls/1/listen/0", headers=bearer())
            client.get("/metrics", headers=bearer())
            with client.stream("GET", "/api/calls/1", headers=bearer()) as response:
                next(messages(response))
        assert "was refused" in caplog.text
        for secret in (TOKEN, LISTEN, "a-conversation-id", "my card"):
            assert secret not in caplog.text
            assert secret not in repr(monitor)
            assert secret not in repr(talker.live)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 70000}, "port is 70000"),
        ({"token": "short"}, "the token has 5 characters"),
        ({"token": "with a space in it, and long"}, "without spaces"),
        ({"token": "a" * 20, "listen_tokens": {"q": "a" * 20}, "audit_to": "x"}, "one of its own"),
        ({"listen_tokens": {"q": "a" * 20}}, "audit_to says where"),
        ({"host": "0.0.0.0"}, "in the clear"),
        ({"certificate": "/nowhere.pem"}, "certificate and key go together"),
        ({"certificate": "/nowhere.pem", "key": "/nowhere.key"}, "no such file: /nowhere.pem"),
        ({"max_onlookers": 0}, "max_onlookers is 0"),
    ],
)
def test_settings_that_make_no_sense(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MonitorConfig(**settings)


def test_addresses_and_tokens_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GCMEDIA_MONITOR_TOKEN", TOKEN)
    monkeypatch.setenv("GCMEDIA_LISTEN_TOKEN", f"quality={LISTEN}, {LISTEN}2")
    config = MonitorConfig.at("8900", audit_to=tmp_path / "a")
    assert (config.host, config.port, config.token) == ("127.0.0.1", 8900, TOKEN)
    assert config.listen_tokens == {"quality": LISTEN, "listener": f"{LISTEN}2"}
    assert TOKEN not in repr(config)
    assert LISTEN not in repr(config)
    assert MonitorConfig.at("[::1]:1", listen_tokens={}).host == "::1"
    for address in ("eight", "host:", "1.2.3.4:x", ""):
        with pytest.raises(ConfigError, match="not PORT or HOST:PORT"):
            MonitorConfig.at(address, listen_tokens={})


def test_an_address_that_is_taken(monitor: Monitor, calls: LiveCalls) -> None:
    port = int(monitor.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"), serve_monitor(calls, port=port):
        pass


def test_a_tail_is_numbered_and_bounded() -> None:
    tail: Tail[str] = Tail(3)
    assert tail.since(0) == (0, [])
    for word in "abcde":
        tail.append(word)
    assert tail.since(0) == (5, [(2, "c"), (3, "d"), (4, "e")])
    assert tail.since(4) == (5, [(4, "e")])
    assert tail.since(5) == (5, [])


def test_reasons_and_sources_are_bounded(calls: LiveCalls) -> None:
    for n in range(100):
        calls.refuse(f"reason {n}")
        calls.announce("c", receiver=gcmedia.Receiver(), source=f"source {n}")
    assert len(calls.reasons) <= 21
    assert sum(calls.reasons.values()) == 100
    assert len({live.source for live in calls.calls}) <= 21
