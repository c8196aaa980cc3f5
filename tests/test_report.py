"""The page of a call: drawn from the files alone, whatever they hold, and safe to open."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
from array import array
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gcmedia.errors import FormatError
from gcmedia.record import AuditPolicy, CallFolder
from gcmedia.record.convert import convert_file, replace_in_manifest
from gcmedia.report import render_report
from gcmedia.report.figure import THEME
from gcmedia.report.page import DARK
from gcmedia.types import Hole, MediaFormat, Transcript

from .record.test_timeline import STATS

NASTY = "<script>alert('x')</script> $\\frac{1}{$ & \" --> 日本 🙂 \ud800 </svg>"


@dataclass
class Frame:
    channel: int
    position: int
    raw: array[int]
    silent: bool
    concealed: bool
    level_dbov: float = -30.0
    n_samples: int = 160

    @property
    def pcm(self) -> array[int]:
        return self.raw


def record(
    path: Path,
    *,
    n_frames: int = 400,
    channels: tuple[str, ...] = ("external", "internal"),
    clean: bool = True,
    conversation_id: str = "c-1",
    said: int = 3,
    text: str = "good morning",
    series: bool = True,
) -> CallFolder:
    noise = random.Random(7)
    folder = CallFolder(
        path,
        MediaFormat("PCMU", 8000, channels),
        conversation_id=conversation_id,
        clean=clean,
        audit_policy=AuditPolicy(consent=True, purpose="quality"),
    )
    loud = [array("h", [noise.randint(-9000, 9000) for _ in range(160)]) for _ in range(8)]
    for index in range(n_frames):
        for channel in range(len(channels)):
            silent = (index // 50 + channel) % 2 == 0
            pcm = array("h", [0] * 160) if silent else loud[index % 8]
            folder.frame(Frame(channel, index * 160, pcm, silent, index % 100 == 60), index * 0.02)
        if series and index % 10 == 0:
            more = {"jitter_ms": None if index == 20 else 2.0, "loss_rate": 0.01}
            folder.sample({"position": index * 160, "depth": index % 7, "target": 5, **more})
    for index in range(said):
        at = index * n_frames * 160 // max(said, 1)
        folder.transcript(Transcript(text, 0.9, at, 4000, channels[index % len(channels)]))
    return folder


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = "".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:])
    return width, height


def test_a_page_of_a_whole_call(tmp_path: Path) -> None:
    folder = record(tmp_path)
    folder.hole(Hole(9600, 160, "lost"))
    folder.hole(Hole(40000, 8000, "reconnect"))
    folder.event("reconnect", 40000, attempts=2)
    folder.close(STATS)
    png, html = render_report(tmp_path)
    assert (png, html) == (tmp_path / "report.png", tmp_path / "report.html")
    assert png_size(png)[0] == 1600
    page = Page(html.read_text())
    for words in ("good morning", "reconnect", "attempts: 2", "balanced", STATS.identity(), "raw-internal.wav", "90 %"):
        assert words in page.text, words
    assert "the chain of" in page.text
    assert "every line within the policy" in page.text
    assert folder.timeline.files["raw-external.wav"]["sha256"] in page.text
    assert page.text.count("1,000 ms") == 1


def test_nothing_on_the_page_runs_or_is_fetched(tmp_path: Path) -> None:
    folder = record(tmp_path, n_frames=60, conversation_id=NASTY, said=2, text=NASTY, channels=('a"><img src=x>', "b"))
    folder.event("reconnect", 0, reason="</td><script>alert(1)</script>")
    folder.hole(Hole(0, 160, "<i>lost</i>"))
    folder.close(STATS)
    html = render_report(tmp_path)[1].read_text()
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "link", "base", "form", "b", "i", "audio"} & set(page.tags)
    assert "<script>alert('x')</script>" in page.text
    assert "</td><script>alert(1)</script>" in page.text
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,")), value[:80]
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme:dark" in html
    drawing = html[html.index("<svg") : html.index("</svg>")]
    assert "var(--first)" in drawing
    assert not [colour for colour in THEME.values() if colour in drawing]  # each has its counterpart in the dark
    assert THEME.keys() == DARK.keys()
    assert len(set(THEME.values())) == len(THEME)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"channels": ("mixed",)}, "mixed", id="mono"),
        pytest.param({"n_frames": 0, "said": 0, "series": False}, "Nothing was transcribed", id="empty"),
        pytest.param({"clean": False, "said": 0, "n_frames": 100}, "No packet counters", id="raw only"),
        pytest.param({"said": 300, "text": "word " * 40}, "word word", id="many words"),
        pytest.param({"channels": ("a", "b", "c"), "n_frames": 1}, "good morning", id="one frame of three"),
    ],
)
def test_every_kind_of_call_is_drawn(tmp_path: Path, options: dict[str, object], words: str) -> None:
    record(tmp_path, **options).close()  # type: ignore[arg-type]
    png, html = render_report(tmp_path)
    assert png_size(png)[0] == 1600
    assert words in Page(html.read_text()).text


def test_a_call_that_was_cut_off_is_drawn_from_what_is_there(tmp_path: Path) -> None:
    folder = record(tmp_path)
    folder.hole(Hole(9600, 160, "lost"))
    folder.flush(100.0)
    page = Page(render_report(tmp_path)[1].read_text())
    assert "good morning" in page.text
    assert "was not finished" in page.text
    folder.close()


def test_a_call_that_was_cut_off_has_the_counters_that_were_last_told(tmp_path: Path) -> None:
    folder = record(tmp_path)
    counters = {
        "packetsReceived": 50,
        "packetsPlayed": 44,
        "packetsBuffered": 4,
        "packetsDuplicate": 2,
        "packetsLost": 3,
    }
    folder.metrics(counters | {"packetsPlayed": 40, "positionMs": 500})
    folder.metrics(counters | {"positionMs": 1000, "jitterMs": 7})
    folder.flush(99.0)
    text = Page(render_report(tmp_path)[1].read_text()).text
    assert "balanced" in text
    assert "at 0:01.0, when last told: received 50 = played 44 + late 0 + duplicate 2" in text
    assert "expected 51 = unique 48 + lost 3" in text
    folder.close()


def test_a_broken_trail_and_counters_that_do_not_balance_are_shown(tmp_path: Path) -> None:
    record(tmp_path, n_frames=60).close(replace(STATS, packets_played=89))
    trail = tmp_path / "audit.jsonl"
    trail.write_bytes(trail.read_bytes().replace(b'"frames":120', b'"frames":121'))
    page = Page(render_report(tmp_path)[1].read_text())
    assert "does not balance" in page.text
    assert "the chain does not hold: line 2 was changed" in page.text


def test_a_folder_without_a_call_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no call: neither timeline"):
        render_report(tmp_path)
    record(tmp_path / "call", n_frames=10).close()
    (tmp_path / "call" / "raw-external.wav").write_bytes(b"RIFF")
    with pytest.raises(FormatError, match=r"raw-external\.wav: no WAV file"):
        render_report(tmp_path / "call")


def test_a_call_that_was_converted_is_drawn_as_before(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    record(tmp_path, n_frames=100).close(STATS)
    png, _ = render_report(tmp_path)
    before = png.read_bytes()
    replace_in_manifest(tmp_path, [convert_file(path) for path in sorted(tmp_path.glob("*.wav"))])
    assert not list(tmp_path.glob("*.wav"))
    render_report(tmp_path)
    assert png.read_bytes() == before
    (tmp_path / "raw-external.flac").write_bytes(b"fLaC")
    with pytest.raises(FormatError, match=r"raw-external\.flac"):
        render_report(tmp_path)


def test_what_was_masked_and_muted_is_shaded_and_told(tmp_path: Path) -> None:
    folder = record(tmp_path)
    for kind, position, more in (
        ("masked", 8000, {}), ("unmasked", 16000, {"until": 24000}), ("muted", 32000, {}), ("paused", 40000, {}),
    ):  # fmt: skip
        folder.event(kind, position, **more)
    folder.close(STATS)
    html = render_report(tmp_path)[1].read_text()
    page = Page(html)
    assert "Masked: 2.00 s, at 0:01.0 for 2.00 s." in page.text
    assert "Muted: 4.00 s, at 0:04.0 for 4.00 s." in page.text  # to the end of the call


@pytest.mark.parametrize(
    ("cut_off", "gone"),
    [
        pytest.param(False, ("transcript.json", "series.jsonl", "raw-external.wav"), id="finished"),
        pytest.param(True, ("audit.jsonl", "clean-internal.wav.part"), id="being written"),
        pytest.param(False, ("timeline.json",), id="finished, no manifest"),
        pytest.param(True, ("timeline.jsonl.part", "series.jsonl"), id="cut off, audio alone"),
    ],
)
def test_a_folder_without_some_of_its_files_is_drawn(tmp_path: Path, cut_off: bool, gone: tuple[str, ...]) -> None:
    folder = record(tmp_path, n_frames=100)
    folder.event("reconnect", 4000)
    if cut_off:
        folder.flush(100.0)
    else:
        folder.close(STATS)
    for name in gone:
        (tmp_path / name).unlink()
    png, html = render_report(tmp_path)
    assert png_size(png)[0] == 1600
    page = Page(html.read_text())
    assert any("0:02.0 long" in value for name, value in page.attributes if name == "aria-label")
    if gone[0].startswith("timeline"):
        assert tmp_path.name in page.text
        assert "was not finished" in page.text
    folder.close()


@pytest.mark.parametrize("name", ["transcript.json", "series.jsonl"])
def test_a_damaged_file_beside_the_audio_is_told_of_and_the_rest_is_drawn(tmp_path: Path, name: str) -> None:
    record(tmp_path, n_frames=100).close(STATS)
    (tmp_path / name).write_bytes(b"\x00 no JSON <b>\n")
    png, html = render_report(tmp_path)
    assert png_size(png)[0] == 1600
    text = Page(html.read_text()).text
    assert "not read" in text
    assert name in text


def test_nothing_but_the_report_loads_the_plotting_library() -> None:
    code = "import sys, gcmedia.record; assert not {'matplotlib', 'numpy', 'httpx', 'websockets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys, gcmedia.report; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_an_hour_is_drawn(tmp_path: Path) -> None:
    folder = record(tmp_path, n_frames=180_000, said=400)
    for index in range(0, 180_000, 300):
        folder.hole(Hole(index * 160, 160, "lost"))
    folder.close()
    png, html = render_report(tmp_path)
    assert png_size(png)[0] == 1600
    assert html.stat().st_size < 5_000_000
