"""FLAC and Opus after the call: the same audio, put in place whole, and told in manifest and trail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gcmedia import ulaw_decode
from gcmedia.errors import ConfigError, FormatError
from gcmedia.record import CallFolder, Timeline, WavJournal, read_wav, verify_call
from gcmedia.record.convert import convert_file, replace_in_manifest

from .test_folder import STEREO, frame, record_call


def speechlike(n_samples: int, n_channels: int = 1) -> bytes:
    t = np.arange(n_samples)
    tones = [6000 * np.sin(t * 0.15 * (channel + 1)) * np.sin(t / 4000) for channel in range(n_channels)]
    return np.stack(tones, axis=1).astype(np.int16).tobytes()


@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("encoding", ["L16", "PCMU"])
def test_flac_loses_nothing(encoding: str, n_channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    octets = speechlike(100_000, n_channels) if encoding == "L16" else bytes(range(256)) * 300 * n_channels
    with WavJournal(path, 8000, n_channels, encoding) as journal:
        journal.append(octets, 0.0)
    before = path.read_bytes()
    seconds: list[float] = []
    done = convert_file(path, on_progress=seconds.append)
    assert done.target == str(tmp_path / "a.flac")
    assert path.read_bytes() == before
    data, rate = soundfile.read(done.target, dtype="int16", always_2d=True)
    assert rate == 8000
    assert data.tobytes() == (octets if encoding == "L16" else ulaw_decode(octets))
    assert sum(seconds) == pytest.approx(done.duration_s)
    assert done.target_octets == Path(done.target).stat().st_size
    with pytest.raises(ConfigError, match="is there already"):
        convert_file(path)
    convert_file(path, overwrite=True)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.flac", "a.wav"]


@pytest.mark.parametrize("n_channels", [1, 2])
def test_opus_has_the_length_and_the_sound(n_channels: int, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.wav"
    pcm = speechlike(80_123, n_channels)
    with WavJournal(path, 8000, n_channels) as journal:
        journal.append(pcm, 0.0)
    done = convert_file(path, "opus")
    assert done.target_octets < done.source_octets / 2
    with av.open(done.target) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
        assert container.streams[0].channels == n_channels
    n_samples = sum(block.shape[1] for block in blocks) // (n_channels if blocks[0].shape[0] == 1 else 1)
    assert abs(n_samples / 48_000 - 80_123 / 8000) < 0.02
    assert max(np.abs(block).max() for block in blocks) > 0


def test_flac_takes_the_place_of_wav_and_the_call_is_proven(tmp_path: Path) -> None:
    record_call(tmp_path)
    pcm = read_wav(tmp_path / "raw-external.wav").data
    done = [convert_file(path) for path in sorted(tmp_path.glob("*.wav"))]
    replace_in_manifest(tmp_path, done)
    assert not list(tmp_path.glob("*.wav"))
    found = verify_call(tmp_path)
    assert found.ok, found.problems
    timeline = Timeline.load(tmp_path / "timeline.json")
    assert set(timeline.tracks) == {Path(one.target).name for one in done}
    assert len(timeline.tracks["raw-external.flac"]["converted_from"]) == 64
    data, _ = soundfile.read(tmp_path / "raw-external.flac", dtype="int16")
    assert data.tobytes() == pcm
    last = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])
    assert (last["action"], last["codec"], last["files"]) == ("convert", "flac", 4)


def test_what_cannot_be_converted_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with CallFolder(tmp_path / "live", STEREO, conversation_id="c", clean=False) as folder:
        folder.frame(frame(0, 0), 0.0)
        folder.flush(1.0)
        with pytest.raises(FormatError, match="still being written"):
            convert_file(tmp_path / "live" / "raw-external.wav.part")
        with pytest.raises(ConfigError, match="no finished call"):
            replace_in_manifest(tmp_path / "live", [])
    with WavJournal(tmp_path / "a.wav", 11_000) as journal:
        journal.append(bytes(2000), 0.0)
    with pytest.raises(ConfigError, match="codec is 'mp3'"):
        convert_file(tmp_path / "a.wav", "mp3")
    with pytest.raises(FormatError, match="11000 Hz, and Opus takes 8000"):
        convert_file(tmp_path / "a.wav", "opus")
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(FormatError, match="no WAV file"):
        convert_file(tmp_path / "b.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav", "live"]
    done = convert_file(tmp_path / "live" / "raw-external.wav", "opus")
    with pytest.raises(ConfigError, match="has lost something"):
        replace_in_manifest(tmp_path / "live", [done])
