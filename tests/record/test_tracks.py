"""Tracks apart and interleaved, 16-bit and as received, in one file and in several: always the same samples."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode
from gcmedia.errors import ConfigError
from gcmedia.record import CallFolder, RecordConfig, Timeline, read_wav, verify_call
from gcmedia.types import MediaFormat

from .test_folder import MONO, STEREO, frame

MAGNITUDES = st.integers(1, 30_000)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-200, 400), st.integers(1, 300)), max_size=30),
    st.sampled_from(["L16", "received"]),
    st.sampled_from([None, 0.05]),
)
def test_interleaved_files_hold_what_files_apart_hold(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, int, int]],
    encoding: str,
    rotate_s: float | None,
) -> None:
    truth: list[list[int]] = [[], []]
    rotate_s = None if rotate_s is None else 1.0  # the shortest that is allowed: 8000 samples
    folders = []
    for layout in ("apart", "interleaved"):
        config = RecordConfig(encoding=encoding, layout=layout, rotate_s=rotate_s)
        folders.append(
            CallFolder(tmp_path_factory.mktemp("call"), STEREO, conversation_id="c", clean=False, config=config)
        )
    for value, (channel, step, n_samples) in enumerate(steps, 1):
        position = max(0, len(truth[channel]) + step)
        if position >= len(truth[channel]):
            truth[channel] += [0] * (position - len(truth[channel])) + [100 * value] * n_samples
        for folder in folders:
            folder.frame(frame(channel, position, 100 * value, n_samples), value * 0.02)
    length = max(map(len, truth))
    expected = np.array([one + [0] * (length - len(one)) for one in truth], np.int16)
    if encoding == "received":
        expected = np.frombuffer(ulaw_decode(ulaw_encode(expected.tobytes())), np.int16).reshape(2, -1)
    for folder in folders:
        folder.close()
        found = verify_call(folder.path)
        assert found.ok, found.problems
    apart = [samples(folders[0].path, f"raw-{name}")[:, 0] for name in STEREO.channels]
    assert np.array_equal(np.array(apart), expected)
    assert np.array_equal(samples(folders[1].path, "raw"), expected.T)


def samples(folder: Path, stem: str) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    """Of all files of a track, by position, of shape (n, n_channels)."""
    timeline = Timeline.load(folder / "timeline.json")
    found: list[np.ndarray[tuple[int, int], np.dtype[np.int16]]] = []
    for name, track in sorted(timeline.tracks.items(), key=lambda item: item[1]["position"]):
        if name.split(".")[0] == stem:
            assert track["position"] == sum(len(one) for one in found)
            wav = read_wav(folder / name)
            octets = ulaw_decode(wav.data) if wav.encoding == "PCMU" else wav.data
            found.append(np.frombuffer(octets, np.int16).reshape(-1, wav.n_channels))
    return np.concatenate(found)


@pytest.mark.parametrize(
    ("encoding", "decode", "encode"), [("PCMU", ulaw_decode, ulaw_encode), ("PCMA", alaw_decode, alaw_encode)]
)
def test_octets_are_kept_as_received_but_for_negative_zero(
    encoding: str,
    decode: object,
    encode: object,
    tmp_path: Path,
) -> None:
    received = bytes(range(256)) * 5  # every code
    linear = array("h", decode(received))  # type: ignore[operator]
    one = frame(0, 0, 1, len(linear))
    one.raw = linear
    config = RecordConfig(encoding="received")
    media = MediaFormat(encoding, 8000, ("mixed",))
    with CallFolder(tmp_path, media, conversation_id="c", clean=False, config=config) as folder:
        folder.frame(one, 0.0)
    wav = read_wav(tmp_path / "raw-mixed.wav")
    assert wav.encoding == encoding
    assert {(a, b) for a, b in zip(received, wav.data, strict=True) if a != b} <= {(0x7F, 0xFF)}
    assert decode(wav.data) == linear.tobytes()  # type: ignore[operator]
    data, _ = soundfile.read(tmp_path / "raw-mixed.wav", dtype="int16")
    assert data.tobytes() == linear.tobytes()
    assert Timeline.load(tmp_path / "timeline.json").encoding == encoding


def test_a_track_goes_on_in_another_file(tmp_path: Path) -> None:
    config = RecordConfig(rotate_s=1.0)
    with CallFolder(tmp_path, MONO, conversation_id="c", clean=True, config=config) as folder:
        for index in range(120):
            folder.frame(frame(0, index * 160, index + 1), index * 0.02)
        assert {path.name for path in tmp_path.glob("raw*")} == {
            "raw-mixed.wav",
            "raw-mixed.2.wav",
            "raw-mixed.3.wav.part",
        }
    timeline = Timeline.load(tmp_path / "timeline.json")
    parts = [(timeline.tracks[f"raw-mixed{n}.wav"]["position"]) for n in ("", ".2", ".3")]
    assert parts == [0, 8000, 16_000]
    assert list(samples(tmp_path, "raw-mixed")[::160, 0]) == list(range(1, 121))
    assert verify_call(tmp_path).ok


def test_a_name_that_is_taken_ends_rotation_not_the_call(tmp_path: Path) -> None:
    config = RecordConfig(rotate_s=1.0)
    with CallFolder(tmp_path, MONO, conversation_id="c", clean=False, config=config) as folder:
        (tmp_path / "raw-mixed.2.wav").write_text("mine")
        for index in range(120):
            assert folder.frame(frame(0, index * 160, index + 1), index * 0.02)
    assert (tmp_path / "raw-mixed.2.wav").read_text() == "mine"
    assert len(read_wav(tmp_path / "raw-mixed.wav").data) == 120 * 320


def test_one_channel_far_ahead_takes_bounded_memory(tmp_path: Path) -> None:
    config = RecordConfig(layout="interleaved")
    with CallFolder(tmp_path, STEREO, conversation_id="c", clean=False, config=config) as folder:
        for index in range(1000):  # 20 s of one channel alone
            folder.frame(frame(0, index * 160, index + 1), index * 0.02)
        folder.flush(20.0)
        assert len(read_wav(tmp_path / "raw.wav.part").data) >= 4 * 8000 * 9  # but for the last 10 s it is on disk
        assert folder.frame(frame(1, 12 * 8000, 7), 20.0)
        assert not folder.frame(frame(1, 0, 7), 20.0)  # too late by far
        assert folder.frames_overlapping == 1
    found = samples(tmp_path, "raw")
    assert list(found[::160, 0]) == list(range(1, 1001))
    assert set(found[12 * 8000 : 12 * 8000 + 160, 1]) == {7}
    assert not found[: 12 * 8000, 1].any()


def test_a_jump_costs_no_memory(tmp_path: Path) -> None:
    config = RecordConfig(layout="interleaved")
    with CallFolder(tmp_path, STEREO, conversation_id="c", clean=False, config=config) as folder:
        assert folder.frame(frame(0, 3 * 3600 * 8000, 5), 0.0)
        assert folder.frame(frame(1, 3 * 3600 * 8000, 6), 0.0)
    path = tmp_path / "raw.wav"
    assert path.stat().st_size > 4 * 3 * 3600 * 8000
    assert path.stat().st_blocks * 512 < 10_000_000
    path.unlink()


def test_files_are_rotated_by_size_or_length_whichever_comes_first(tmp_path: Path) -> None:
    for layout, rotate_s, n_samples in (("apart", None, 50_000), ("interleaved", None, 25_000), ("apart", 2.0, 16_000)):
        config = RecordConfig(layout=layout, rotate_octets=100_001, rotate_s=rotate_s)
        folder = CallFolder(tmp_path / f"{layout}-{rotate_s}", STEREO, conversation_id="c", clean=False, config=config)
        for index in range(350):
            for channel in (0, 1):
                folder.frame(frame(channel, index * 160, index), index * 0.02)
        folder.close()
        found = verify_call(folder.path)
        assert found.ok, found.problems
        tracks = [about for about in folder.timeline.tracks.values() if about["channels"][0] == STEREO.channels[0]]
        assert [about["position"] for about in tracks] == list(range(0, 56_000, n_samples))
        assert sum(about["n_samples"] for about in tracks) == 56_000


def test_settings_out_of_range_are_named() -> None:
    for settings_, message in (
        ({"encoding": "flac"}, "encoding is 'flac'"),
        ({"layout": "mixed"}, "layout is 'mixed'"),
        ({"flush_s": 1.5}, r"flush_s is 1\.5 s"),
        ({"sync_s": -1.0}, r"sync_s is -1\.0 s"),
        ({"rotate_s": 0.5}, r"rotate_s is 0\.5 s"),
        ({"rotate_octets": 99_999}, "rotate_octets is 99999, not in"),
    ):
        with pytest.raises(ConfigError, match=message):
            RecordConfig(**settings_)
