"""The page in Debian's Chromium: what somebody in front of it sees, and what nobody shall be able to do to them."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gcmedia.live import LiveCalls
from gcmedia.monitor import Monitor, serve_monitor
from gcmedia.record.lines import read_lines

from .browser import Browser, needs_browser
from .calls import LISTEN, TOKEN, Talker, captured

pytestmark = [pytest.mark.slow, needs_browser]

NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'" onclick=window.hacked=1 ${1} \u202e'


@pytest.fixture
def calls() -> LiveCalls:
    return LiveCalls()


@pytest.fixture
def monitor(calls: LiveCalls, tmp_path: Path) -> Iterator[Monitor]:
    with serve_monitor(
        calls, token=TOKEN, listen_tokens={"quality": LISTEN}, audit_to=tmp_path / "audit.jsonl"
    ) as monitor:
        yield monitor


@pytest.fixture(scope="module")
def shared() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(shared: Browser) -> Iterator[Browser]:
    shared.problems.clear()
    yield shared
    shared.open("about:blank#")


def pixels(png: bytes) -> NDArray[np.uint8]:
    """Rows, columns, colours of an 8-bit RGB or RGBA PNG."""
    at, data, header = 8, b"", b""
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        header, data = (body, data) if kind == b"IHDR" else (header, data + body if kind == b"IDAT" else data)
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", header)
    n = {2: 3, 6: 4}[colour]
    assert depth == 8
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * n)
    rows = np.zeros((height, width * n), np.uint8)
    above = np.zeros(width * n, np.uint8)
    for y, (filter_, line) in enumerate(zip(raw[:, 0], raw[:, 1:], strict=True)):
        above = rows[y] = unfilter(int(filter_), line, above, n)
    return rows.reshape(height, width, n)[:, :, :3]


def unfilter(kind: int, line: NDArray[np.uint8], above: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    """PNG 9.2."""
    if kind == 0:
        return line
    if kind == 1:
        return np.cumsum(line.reshape(-1, n), axis=0, dtype=np.uint8).reshape(-1)
    if kind == 2:
        return line + above
    out = bytearray(len(line))
    for x, value in enumerate(line.tolist()):
        left = out[x - n] if x >= n else 0
        up = int(above[x])
        if kind == 3:
            guess = (left + up) // 2
        else:
            corner = int(above[x - n]) if x >= n else 0
            estimate = left + up - corner
            guess = min(
                (abs(estimate - left), 0, left), (abs(estimate - up), 1, up), (abs(estimate - corner), 2, corner)
            )[2]
        out[x] = (value + guess) & 255
    return np.frombuffer(bytes(out), np.uint8)


def near(picture: NDArray[np.uint8], colour: str, most: int = 24) -> NDArray[np.bool_]:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    found: NDArray[np.bool_] = np.abs(picture.astype(int) - wanted).max(axis=2) <= most
    return found


def stage(browser: Browser) -> NDArray[np.uint8]:
    """What is drawn of the call."""
    url = browser.run("document.getElementById('stage').toDataURL('image/png')")
    return pixels(base64.b64decode(url.partition(",")[2]))


def open_call(browser: Browser, monitor: Monitor) -> None:
    browser.sign_in(monitor.url, TOKEN)  # each monitor has a port of its own, so the browser remembers nothing of it
    browser.wait("document.querySelectorAll('#rows tr').length >= 1")
    browser.click("#rows tr button")
    browser.wait("window.gcmedia.callPage.nColumns > 50")


def test_signing_in_and_all_calls(browser: Browser, monitor: Monitor, calls: LiveCalls) -> None:
    browser.open(monitor.url)
    browser.run("sessionStorage.clear()")
    browser.sign_in(monitor.url, TOKEN + "x")
    browser.wait("document.getElementById('door-problem').textContent.includes('not the one')")
    assert browser.text("#rows") == ""
    browser.problems.clear()  # the browser notes the 401
    with Talker(calls, "first call"), Talker(calls, "second call") as second:
        browser.sign_in(monitor.url, TOKEN)
        browser.wait("document.querySelectorAll('#rows tr').length === 2")
        assert "first call" in browser.text("#rows tr:nth-child(1)")
        browser.wait("document.querySelector('#tiles .tile:nth-child(1) dd').innerText === '2'")
        fill = "document.querySelector('#rows tr .fill').style.transform"
        before = browser.run(fill)
        browser.wait(f"{fill} !== {before!r}")
        second.lose = 200
        browser.wait(
            "[...document.querySelectorAll('#rows tr:nth-child(2) td.bad')].some((td) => parseFloat(td.innerText) >= 5)"
        )
        assert browser.run("location.href.includes('token')") is False
        assert TOKEN not in browser.run("location.href + document.body.innerText")
        browser.run("document.querySelector('#rows tr button').focus()")
        browser.key("ArrowDown")
        assert browser.run("document.activeElement.textContent") == "second call"
        browser.key("Enter")
        browser.wait(
            "!document.getElementById('call').hidden && "
            "document.getElementById('call-title').innerText === 'second call'"
        )
        browser.key("Escape")
        browser.wait("!document.getElementById('fleet').hidden")
        browser.key("/")
        browser.wait("document.activeElement.id === 'filter'")
        browser.type("first")
        browser.wait("document.querySelectorAll('#rows tr:not([hidden])').length === 1")
    browser.wait("document.querySelectorAll('#rows tr').length === 0")
    assert browser.problems == []


def test_waveforms_move_a_burst_shows_and_the_transcript_follows(
    browser: Browser, monitor: Monitor, calls: LiveCalls
) -> None:
    with Talker(calls) as talker:
        open_call(browser, monitor)
        first = browser.run("getComputedStyle(document.documentElement).getPropertyValue('--first').trim()")
        second = browser.run("getComputedStyle(document.documentElement).getPropertyValue('--second').trim()")
        lost = browser.run("getComputedStyle(document.documentElement).getPropertyValue('--lost').trim()")
        browser.wait("window.gcmedia.callPage.nColumns > 300")
        picture = stage(browser)
        up, down = near(picture, first), near(picture, second)
        assert up.sum() > 500
        assert down.sum() > 500
        assert np.nonzero(up.any(axis=1))[0].mean() < np.nonzero(down.any(axis=1))[0].mean()  # mirrored
        column = browser.run("window.gcmedia.callPage.nColumns")
        browser.wait(f"window.gcmedia.callPage.nColumns > {column + 50}")
        moved = stage(browser)
        assert (near(moved, first) != up).sum() > 200
        assert near(moved, lost).sum() == 0
        talker.lose = 60
        browser.wait("window.gcmedia.callPage.holes.some((hole) => hole.kind === 'lost')")
        browser.wait("window.gcmedia.callPage.points.some((point) => point.loss > 10)")
        browser.wait("parseFloat([...document.querySelectorAll('#figures dd')][0].innerText) > 0")
        browser.wait(
            "(() => { const p = window.gcmedia.callPage; p.redraw(); return p.right > "
            "p.holes.at(-1).from / 8000 + 0.5; })()"
        )
        assert near(stage(browser), lost).sum() > 50
        talker.words.append(("external", "it comes back for a minute"))
        browser.wait("document.querySelector('#transcript')?.innerText.includes('comes back for a minute')")
        position = browser.run("window.gcmedia.callPage.transcripts[0].position")
        assert position == talker.live.transcripts.since(0)[1][0][1].position
        talker.event("masked")
        talker.talk(50)
        talker.event("unmasked")
        browser.wait(
            "window.gcmedia.callPage.spans.some((span) => span.kind === 'masked' && span.to > "
            "span.from && span.to < Infinity)"
        )
        browser.wait("document.querySelector('#events').innerText.includes('masked')")
        browser.wait("document.querySelector('#verdict').innerText.includes('adds up')")
        for key, span in (("-", 60), ("+", 30), ("+", 20)):
            browser.run("document.getElementById('stage').focus()")
            browser.key(key)
            browser.wait(f"window.gcmedia.callPage.span === {span}")
        browser.wait("window.gcmedia.callPage.now > 25")
        browser.key("ArrowLeft")
        browser.wait("document.getElementById('follow').getAttribute('aria-pressed') === 'false'")
        browser.key("End")
        browser.wait("document.getElementById('follow').getAttribute('aria-pressed') === 'true'")
    browser.wait("document.getElementById('call-note').innerText.includes('over')")
    assert browser.problems == []


def test_nothing_that_is_said_or_named_runs(browser: Browser, monitor: Monitor, calls: LiveCalls) -> None:
    with Talker(calls, NASTY, channels=(NASTY, "</td><script>window.hacked=1</script>")) as talker:
        open_call(browser, monitor)
        talker.words += [(NASTY, NASTY), ("x", "</li><iframe src=javascript:window.hacked=1>"), ("", "{{constructor}}")]
        talker.event("<b>bold</b>", reason=NASTY)
        browser.wait(
            "document.querySelectorAll('#transcript li').length === 3 && "
            "document.querySelectorAll('#events li').length === 1"
        )
        assert browser.run("document.getElementById('call-title').textContent") == NASTY
        assert browser.run("document.querySelector('#transcript li span:last-child').textContent") == NASTY
        assert (
            browser.run(
                "document.querySelectorAll('main img, main script, main iframe, main "
                "b:not(.first):not(.second)').length"
            )
            == 0
        )
        assert browser.run("window.hacked") is None
        # And what somebody slipped in would not run either: the policy of the page forbids it.
        for slip in (
            "document.body.insertAdjacentHTML('beforeend', '<p>x</p>')",
            "document.createElement('img').setAttribute('onerror', 'window.hacked = 1')",
            "document.createElement('script').text = 'window.hacked = 1'",
            "eval('window.hacked = 1')",
        ):
            assert (
                browser.run(f"(() => {{ try {{ {slip}; return 'done'; }} catch {{ return 'refused'; }} }})()")
                == "refused"
            )
        assert browser.run("fetch('https://example.com/').then(() => 'sent', () => 'refused')") == "refused"
        assert browser.run("window.hacked") is None


def test_listening_in_needs_its_token(browser: Browser, monitor: Monitor, calls: LiveCalls, tmp_path: Path) -> None:
    with captured(calls, tmp_path / "call", "asyncio", speed=1.0):
        open_call(browser, monitor)
        listen = "document.querySelector('[data-listen=\"1\"]')"
        browser.run(f"{listen}.click()")
        for token in (TOKEN, LISTEN + "x"):
            browser.wait("document.getElementById('listen-dialog').open")
            browser.run(
                "document.getElementById('listen-problem').textContent = ''; "
                "document.getElementById('listen-token').focus()"
            )
            browser.type(token)
            browser.key("Enter")
            browser.wait("document.getElementById('listen-problem').textContent.includes('does not allow')")
        assert browser.run("window.gcmedia.listening.playedSamples") == 0
        browser.problems.clear()
        browser.run("document.getElementById('listen-token').focus()")
        browser.type(LISTEN)
        browser.key("Enter")
        browser.wait("window.gcmedia.listening.playedSamples > 4000")
        assert not browser.run("document.getElementById('listen-dialog').open")
        assert "stop" in browser.run(f"{listen}.textContent")
        assert browser.run("Object.values({...sessionStorage, ...localStorage}).join()").count(LISTEN) == 0
        browser.run(f"{listen}.click()")
        browser.wait(f"{listen}.textContent === 'Listen in'")
    done = [(line["action"], line["outcome"]) for line in read_lines(tmp_path / "audit.jsonl")]
    assert done == [("denied", "refused")] * 2 + [("listen_in", "begun"), ("listen_in", "ended")]
    assert browser.problems == []


def test_dark_and_light(browser: Browser, monitor: Monitor, calls: LiveCalls) -> None:
    backgrounds = {}
    with Talker(calls):
        browser.open(monitor.url)
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            browser.wait(f"document.documentElement.dataset.theme === {scheme!r}")
            backgrounds[scheme] = browser.run("getComputedStyle(document.body).backgroundColor")
        browser.scheme("light")
        browser.wait("document.documentElement.dataset.theme === 'light'")
        browser.click("#theme")
        browser.wait("document.documentElement.dataset.theme === 'dark'")
        browser.click("#theme")
        browser.wait("document.documentElement.dataset.theme === 'light'")
    assert backgrounds["light"] != backgrounds["dark"]


def test_a_narrow_screen_shows_the_same(browser: Browser, monitor: Monitor, calls: LiveCalls) -> None:
    """Levels, last minute, loss and jitter of a call are in sight on a telephone, without moving sideways."""
    with Talker(calls, "0f3c1f8e-5b7a-4a6e-9d51-2f6f0b7f3a11"):
        browser.sign_in(monitor.url, TOKEN)
        browser.wait("document.querySelectorAll('#rows tr').length === 1")
        shown = """[...document.querySelectorAll('#rows .bars, #rows .spark, #rows td:nth-child(6), #rows .badge')]
            .map((part) => part.getBoundingClientRect())
            .every((at) => at.width > 0 && at.left >= 0 && at.right <= innerWidth)"""
        fits = "document.documentElement.scrollWidth <= innerWidth"  # once the page has been laid out anew
        try:
            for width in (1440, 420, 360):
                browser.command(
                    "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
                )
                browser.wait(f"innerWidth === {width} && {fits} && {shown}")
            browser.run("document.querySelector('#rows tr button').focus()")
            browser.key("Enter")
            browser.wait(f"!document.getElementById('call').hidden && {fits}")
        finally:
            browser.command(
                "Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False
            )
    assert browser.problems == []
