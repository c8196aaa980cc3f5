"""Transcripts as JSON and as WebVTT, whatever people say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia.errors import FormatError
from gcmedia.record import TranscriptLog
from gcmedia.types import Transcript


def parse_vtt(text: str) -> list[tuple[int, int, str, str]]:
    """Start and end in ms, voice and text of each cue; strict where the standard's parser would be lenient."""
    blocks = re.split(r"\n\n+", text.rstrip("\n"))
    assert blocks[0].rstrip("\n") == "WEBVTT"
    cues = []
    for block in blocks[1:]:
        lines = block.rstrip("\n").split("\n")
        timing = re.fullmatch(
            r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})", lines[0]
        )
        assert timing, lines[0]
        h, m, s, ms, h2, m2, s2, ms2 = map(int, timing.groups())
        payload = "\n".join(lines[1:])
        assert "-->" not in payload
        assert "\r" not in payload
        voice = ""
        tag = re.match(r"<v ([^>\n]+)>", payload)
        if tag:
            voice, payload = unescape(tag.group(1)), payload[tag.end() :]
        assert "<" not in payload
        assert ">" not in payload
        assert not re.sub(r"&(amp|lt|gt);", "", payload).count("&")
        cues.append(
            (((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2, voice, unescape(payload))
        )
    return cues


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def spoken(text: str) -> str:
    """What is left of a text in a cue: no NUL, no empty lines, no half characters."""
    text = text.encode(errors="replace").decode().replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line for line in text.split("\n") if line.strip(" \t\f"))


nasty = st.one_of(
    st.text(alphabet=st.characters(), max_size=60),
    st.text(alphabet="&<>-\n\r \t;ampltgv\0é\u2028\ud800", max_size=60),
    st.sampled_from(
        ["-->", "a\n\nb", "00:00:01.000 --> 00:00:02.000\nfake", "</v><v x>", "&amp;", "<script>", "NOTE", ""]
    ),
)


@given(
    st.lists(
        st.tuples(nasty, st.integers(0, 10**9), st.integers(0, 10**6), st.sampled_from(["external", "", "a>b&\nc"]))
    )
)
def test_any_text_survives_in_vtt_and_json(said: list[tuple[str, int, int, str]]) -> None:
    log = TranscriptLog(8000)
    for text, position, n_samples, channel in said:
        log.add(Transcript(text, 0.5, position, n_samples, channel))
    expected = sorted(said, key=lambda entry: entry[1])
    cues = parse_vtt(log.vtt())
    assert len(cues) == len(said)
    for (start, end, voice, text), (said_text, position, _, channel) in zip(cues, expected, strict=True):
        assert text == spoken(said_text)
        assert voice == " ".join(channel.split())
        assert abs(start - position / 8) <= 0.5
        assert end > start
    assert [entry["text"] for entry in log.as_list()] == [
        text.encode(errors="replace").decode() for text, *_ in expected
    ]


def test_both_files_hold_what_was_said(tmp_path: Path) -> None:
    log = TranscriptLog(8000)
    log.add(Transcript("second", 0.75, 16000, 4000, "internal", 91234))
    log.add(Transcript("first & <best>", 0.0, 8000, 0, "external"))
    log.write_json(tmp_path / "t.json")
    log.write_vtt(tmp_path / "t.vtt")
    assert json.loads((tmp_path / "t.json").read_text()) == [
        {
            "text": "first & <best>",
            "confidence": 0.0,
            "channel": "external",
            "start_s": 1.0,
            "duration_s": 0.0,
            "position": 8000,
            "n_samples": 0,
            "localTimestamp": 1.0,
            "serverTimestamp": 0,
        },
        {
            "text": "second",
            "confidence": 0.75,
            "channel": "internal",
            "start_s": 2.0,
            "duration_s": 0.5,
            "position": 16000,
            "n_samples": 4000,
            "localTimestamp": 2.0,
            "serverTimestamp": 91234,
        },
    ]
    assert (tmp_path / "t.vtt").read_text() == (
        "WEBVTT\n\n"
        "00:00:01.000 --> 00:00:02.000\n<v external>first &amp; &lt;best&gt;\n\n"
        "00:00:02.000 --> 00:00:02.500\n<v internal>second\n"
    )
    assert TranscriptLog.load(tmp_path / "t.json", 8000).entries == log.entries


def test_a_cue_of_unknown_length_ends_after_seven_seconds_at_most() -> None:
    log = TranscriptLog(8000)
    for position in (0, 0, 80_000, 32_000_000):
        log.add(Transcript("x", 1.0, position))
    assert [(start, end) for start, end, _, _ in parse_vtt(log.vtt())] == [
        (0, 7000),
        (0, 7000),
        (10_000, 17_000),
        (4_000_000, 4_007_000),
    ]


def test_bounds_and_odd_values_are_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gcmedia.record.transcript.MAX_ENTRIES", 2)
    log = TranscriptLog(8000)
    assert log.add(Transcript("y" * 20_000, float("nan"), 0))
    assert log.add(Transcript("", 1.0, 0))
    assert not log.add(Transcript("z", 1.0, 0))
    assert (len(log), log.not_stored) == (2, 1)
    assert len(log.as_list()[0]["text"]) == 10_000
    log.write_json(tmp_path / "t.json")
    assert TranscriptLog.load(tmp_path / "t.json", 8000).entries[0].confidence == 0.0
    (tmp_path / "t.json").write_text('{"text": 1}')
    with pytest.raises(FormatError, match="no list of transcripts"):
        TranscriptLog.load(tmp_path / "t.json", 8000)
