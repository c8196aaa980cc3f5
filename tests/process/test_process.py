"""Re-processing gives what the live path gave, bit for bit, skips what is done, and never takes the whole file."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import wave
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gcmedia import (
    CompressorConfig,
    GateConfig,
    Resampler,
    SilenceConfig,
    SilenceDetector,
    alaw_decode,
    alaw_encode,
    level_dbov,
    ulaw_decode,
    ulaw_encode,
)
from gcmedia.errors import ConfigError, FormatError
from gcmedia.process import ProcessConfig, find_recordings, process_file, process_many
from gcmedia.record import RecordConfig, Timeline, WavJournal, read_wav
from gcmedia.simulator import Call, Disconnect, Faults
from tests.capture.running import run

CALL = Call.demo(noise_db=-48.0, seconds=8)
FAULTS = Faults(seed=3, loss=0.08, duplicates=0.02, disconnects=(Disconnect(3000, "abnormal", 400),))


def noisy(seconds: float, n_channels: int = 1, rate: int = 8000) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    rng = np.random.default_rng(5)
    t = np.arange(int(seconds * rate))
    voice = 5000 * np.sin(t * 0.2) * (np.sin(t / rate * 2 * math.pi / 3) > 0)
    noise = rng.standard_normal((len(t), n_channels)) * 150
    return np.asarray(voice[:, None] * (1 + np.arange(n_channels)) / n_channels + noise, np.int16)


def write(path: Path, pcm: bytes, rate: int = 8000, n_channels: int = 1, encoding: str = "L16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with WavJournal(path, rate, n_channels, encoding) as journal:
        journal.append(pcm, 0.0)
    return path


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("gate", "compressor"),
    [(GateConfig(), None), (None, CompressorConfig()), (GateConfig(reduction_db=12.0), CompressorConfig())],
)
@pytest.mark.parametrize("layout", ["apart", "interleaved"])
async def test_the_clean_track_of_a_call_is_its_raw_track_processed(
    gate: GateConfig | None, compressor: CompressorConfig | None, layout: str, tmp_path: Path
) -> None:
    folder = tmp_path / "call"
    found = await run(
        CALL, FAULTS, folder=folder, gate=gate, compressor=compressor, recording=RecordConfig(layout=layout)
    )
    assert found.error is None
    assert found.stats.packets_lost > 10
    timeline = Timeline.load(folder / "timeline.json")
    config = ProcessConfig(gate=gate, compressor=compressor)
    stems = ["external", "internal"] if layout == "apart" else [""]
    for stem in stems:
        name = f"-{stem}" if stem else ""
        done = process_file(folder / f"raw{name}.wav", config=config)
        (output,) = done.outputs
        assert output.read_bytes() == (folder / f"clean{name}.wav").read_bytes()
        told = json.loads(done.report.read_text())
        for channel, one in zip([stem] if stem else timeline.channels, told["channels"], strict=True):
            assert [tuple(span) for span in one["silence"]] == list(timeline.silence[channel])
            assert one["silent_samples"] == timeline.silence[channel].total
    (output,) = process_file(folder / f"raw{name}.wav", config=ProcessConfig(gate=None), force=True).outputs
    assert output.read_bytes() == (folder / f"raw{name}.wav").read_bytes()


@pytest.mark.anyio
@pytest.mark.parametrize("layout", ["apart", "interleaved"])
async def test_a_track_in_several_files_is_processed_as_one(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "call"
    recording = RecordConfig(layout=layout, rotate_s=1.5)
    found = await run(CALL, FAULTS, folder=folder, gate=GateConfig(), recording=recording)
    assert found.error is None
    stems = ["raw-external", "raw-internal"] if layout == "apart" else ["raw"]
    sources = find_recordings([folder])
    assert sources == [folder / f"{stem}.wav" for stem in stems]
    for source in sources:
        parts = [source.with_name(source.name.replace(".wav", f"{suffix}.wav")) for suffix in ("", ".2", ".3")]
        assert all(part.exists() for part in parts)
        done = process_file(source)
        clean = [folder / part.name.replace("raw", "clean") for part in parts]
        clean += sorted(folder.glob(f"{clean[0].stem}.[4-9].wav"))
        assert read_wav(done.outputs[0]).data == b"".join(read_wav(part).data for part in clean)
        assert process_file(source).skipped
        alone = process_file(parts[1])
        assert alone.duration_s == 1.5
        octets = parts[2].read_bytes()
        parts[2].write_bytes(octets[:-2] + b"\1\2")
        assert not process_file(source).skipped


@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("encoding", ["L16", "PCMU", "PCMA", "U8"])
def test_every_kind_of_file_is_decoded_and_told_of(encoding: str, n_channels: int, tmp_path: Path) -> None:
    pcm = noisy(2.51, n_channels)  # the last frame is short
    path = tmp_path / "in.wav"
    if encoding == "U8":
        octets = (pcm[:, :] // 256 + 128).astype(np.uint8).tobytes()
        with wave.open(str(path), "wb") as file:
            file.setparams((n_channels, 1, 8000, 0, "NONE", ""))
            file.writeframes(octets)
        linear = ((np.frombuffer(octets, np.uint8).astype(np.int16) - 128) * 256).reshape(-1, n_channels)
    else:
        laws: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
            "L16": (bytes, bytes),
            "PCMU": (ulaw_encode, ulaw_decode),
            "PCMA": (alaw_encode, alaw_decode),
        }
        encode, decode = laws[encoding]
        octets = encode(pcm.tobytes())
        write(path, octets, 8000, n_channels, encoding)
        linear = np.frombuffer(decode(octets), np.int16).reshape(-1, n_channels)
    done = process_file(path, config=ProcessConfig(gate=None))
    assert read_wav(done.outputs[0]) == (8000, n_channels, "L16", linear.tobytes())
    told = json.loads(done.report.read_text())
    assert (told["n_samples"], told["duration_s"], len(told["channels"])) == (len(pcm), 2.51, n_channels)
    for channel, one in enumerate(told["channels"]):
        samples = np.ascontiguousarray(linear[:, channel])
        assert one["level_dbov"] == pytest.approx(level_dbov(samples), abs=0.01)
        assert one["peak_dbov"] == pytest.approx(20 * math.log10(np.abs(samples.astype(int)).max() / 32768), abs=0.01)
        assert one["levels_dbov"] == [
            pytest.approx(level_dbov(samples[at : at + 8000]), abs=0.01) for at in range(0, len(samples), 8000)
        ]
        detector, silent = SilenceDetector(SilenceConfig()), []
        for at in range(0, len(samples), 160):
            if detector.push(samples[at : at + 160]):
                silent.append((at, len(samples[at : at + 160])))
        assert one["silent_samples"] == sum(n for _, n in silent)
        covered = {at for position, n in one["silence"] for at in range(position, position + n, 160)}
        assert covered == {at for at, _ in silent}


def test_channels_can_be_split(tmp_path: Path) -> None:
    pcm = noisy(1.0, 2)
    path = write(tmp_path / "in.wav", pcm.tobytes(), n_channels=2)
    whole = process_file(path)
    both = np.frombuffer(read_wav(whole.outputs[0]).data, np.int16).reshape(-1, 2)
    split = process_file(path, config=ProcessConfig(split=True))
    assert [output.name for output in split.outputs] == ["in.0.processed.wav", "in.1.processed.wav"]
    for channel, output in enumerate(split.outputs):
        assert read_wav(output).data == np.ascontiguousarray(both[:, channel]).tobytes()


def test_what_is_done_is_done_again_only_for_a_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "in.wav", noisy(1.0).tobytes())
    first = process_file(path)
    assert not first.skipped
    octets = first.outputs[0].read_bytes()
    stamp = first.outputs[0].stat().st_mtime_ns
    assert process_file(path).skipped
    assert first.outputs[0].stat().st_mtime_ns == stamp
    os.utime(path)  # the same octets at another time
    assert process_file(path).skipped
    other = ProcessConfig(gate=GateConfig(reduction_db=10.0))
    assert not process_file(path, config=other).skipped
    assert first.outputs[0].read_bytes() != octets
    assert not process_file(path).skipped
    assert process_file(path).skipped
    os.truncate(first.outputs[0], 1000)
    assert not process_file(path).skipped
    path.unlink()
    write(path, noisy(1.0)[::-1].tobytes())  # as long, of other octets
    assert not process_file(path).skipped
    assert not process_file(path, force=True).skipped
    first.report.write_text("{}")
    assert not process_file(path).skipped


def test_a_resampled_file_has_its_length_and_its_tone(tmp_path: Path) -> None:
    pytest.importorskip("soxr")
    tone = (8000 * np.sin(2 * math.pi * 1000 * np.arange(80_000) / 8000)).astype(np.int16)
    path = write(tmp_path / "in.wav", tone.tobytes())
    done = process_file(path, config=ProcessConfig(gate=None, sample_rate=16_000))
    data, rate = soundfile.read(done.outputs[0], dtype="int16")
    assert rate == 16_000
    assert len(data) == 160_000
    spectrum = np.abs(np.fft.rfft(data[16_000:144_000]))
    assert np.argmax(spectrum) == 1000 * 128_000 // 16_000
    expected = 8000 * np.sin(2 * math.pi * 1000 * np.arange(160_000) / 16_000)
    assert np.abs(data[2000:-2000] - expected[2000:-2000]).max() < 80


def test_it_is_resampled_as_a_live_call_is(tmp_path: Path) -> None:
    pytest.importorskip("soxr")
    pcm = noisy(33.3, 2)  # more than one piece
    path = write(tmp_path / "in.wav", pcm.tobytes(), n_channels=2)
    done = process_file(path, config=ProcessConfig(gate=None, sample_rate=48_000))
    found = np.frombuffer(read_wav(done.outputs[0]).data, np.int16).reshape(-1, 2)
    for channel in (0, 1):
        resampler = Resampler(8000, 48_000)
        samples = np.ascontiguousarray(pcm[:, channel])
        live = b"".join(resampler.process(samples[at : at + 160].tobytes()) for at in range(0, len(samples), 160))
        assert found[:, channel].tobytes() == live + resampler.flush()
    with pytest.raises(ConfigError, match="in_rate is 12000 Hz, not one of"):
        process_file(write(tmp_path / "odd.wav", bytes(24_000), 12_000), config=ProcessConfig(sample_rate=16_000))
    assert sorted(path.name for path in tmp_path.glob("odd*")) == ["odd.wav"]


@pytest.mark.parametrize("encoding", ["L16", "PCMA"])
def test_any_number_of_threads_gives_the_same(encoding: str, tmp_path: Path) -> None:
    pcm = noisy(40.5, 3).tobytes()
    path = write(tmp_path / "in.wav", pcm if encoding == "L16" else alaw_encode(pcm), 8000, 3, encoding)
    config = ProcessConfig(compressor=CompressorConfig())
    alone = process_file(path, tmp_path / "alone.json", config)
    seconds: list[float] = []
    shared = process_file(path, tmp_path / "shared.json", config, threads=3, on_progress=seconds.append)
    assert sum(seconds) == pytest.approx(40.5)
    assert shared.outputs[0].read_bytes() == alone.outputs[0].read_bytes()
    told = [json.loads(one.report.read_text()) for one in (alone, shared)]
    assert told[0]["channels"] == told[1]["channels"]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FormatError, match="octets of audio"):
        process_file(path, tmp_path / "cut.json", config, threads=3)
    assert not list(tmp_path.glob("cut*"))


def test_who_stops_waiting_stops_the_work(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"{i}.wav", noisy(2.0).tobytes()) for i in range(4)]
    outcomes = process_many(sources, jobs=1)
    first = next(outcomes)
    outcomes.close()
    assert first.result is not None
    assert not list(tmp_path.glob("*.part"))
    done = {path.name.split(".")[0] for path in tmp_path.glob("*.processed.wav")}
    assert first.source.stem in done
    assert done == {path.name.split(".")[0] for path in tmp_path.glob("*.processed.json")}


def test_side_by_side_is_as_one_after_the_other(tmp_path: Path) -> None:
    sources = [write(tmp_path / "in" / f"{i}" / "a.wav", noisy(2.0 + i).tobytes()) for i in range(4)]
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF")
    seconds: list[float] = []
    outcomes = {
        outcome.source: outcome
        for outcome in process_many(
            find_recordings([tmp_path / "in"]), out=tmp_path / "out", jobs=2, on_progress=seconds.append
        )
    }
    assert sum(seconds) == pytest.approx(2.0 + 3.0 + 4.0 + 5.0)
    bad = outcomes.pop(tmp_path / "in" / "bad.wav")
    assert bad.result is None
    assert "no WAV file" in str(bad.problem)
    assert set(outcomes) == set(sources)
    for outcome in process_many(sources, jobs=1):
        assert outcome.result is not None
        twin = tmp_path / "out" / outcome.source.parent.name / "a.processed.wav"
        assert twin.read_bytes() == outcome.result.outputs[0].read_bytes()
    again = list(process_many(sources, out=tmp_path / "out", jobs=2))
    assert len(again) == 4


def test_only_recordings_are_found(tmp_path: Path) -> None:
    call = tmp_path / "call"
    call.mkdir()
    for name in ("raw-a.wav", "clean-a.wav", "raw-a.processed.wav", "timeline.json", "raw-b.wav.part"):
        (call / name).write_text("")
    (tmp_path / "music.WAV").write_text("")
    assert find_recordings([tmp_path]) == [tmp_path / "music.WAV", call / "raw-a.wav"]
    assert find_recordings([tmp_path], raw_only=False) == [
        tmp_path / "music.WAV",
        call / "clean-a.wav",
        call / "raw-a.wav",
    ]
    assert find_recordings([call / "clean-a.wav", call / "clean-a.wav"]) == [call / "clean-a.wav"]
    with pytest.raises(ConfigError, match="no such file"):
        find_recordings([tmp_path / "missing"])


def test_what_cannot_be_done_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "cd.wav", noisy(0.1).tobytes(), rate=44_100)
    with pytest.raises(FormatError, match="44100 Hz, not a multiple of 1000"):
        process_file(path)
    first, second = (write(tmp_path / name / "x.wav", b"\0\0") for name in "ab")
    with pytest.raises(ConfigError, match="would both become"):
        list(process_many([first, first], out=tmp_path / "out"))
    assert len(list(process_many([first, second], out=tmp_path / "out", jobs=1))) == 2
    with pytest.raises(ConfigError, match="jobs is 0"):
        list(process_many([first], jobs=0))
    with pytest.raises(ConfigError, match="sample_rate is 10 Hz"):
        ProcessConfig(sample_rate=10)


FULL = """
import resource, sys
from gcmedia.process import process_file
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    process_file(sys.argv[1])
except OSError as error:
    print(error)
"""


def test_a_disk_that_is_full_leaves_nothing_half_done(tmp_path: Path) -> None:
    path = write(tmp_path / "in.wav", noisy(20.0).tobytes())
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert "large" in done.stdout
    assert list(tmp_path.iterdir()) == [path]


BOUNDED = """
import resource, sys
from gcmedia.process import ProcessConfig, process_file
process_file(sys.argv[1], force=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
process_file(sys.argv[2], force=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_twenty_minutes_take_no_more_memory_than_one(tmp_path: Path) -> None:
    minute = write(tmp_path / "minute.wav", noisy(60.0).tobytes())
    with WavJournal(tmp_path / "long.wav") as journal:  # 19 MB
        for _ in range(20):
            journal.append(noisy(60.0).tobytes(), 0.0)
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, minute, tmp_path / "long.wav"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 5_000_000
    shutil.rmtree(tmp_path)


def test_levels_of_digital_silence_are_null(tmp_path: Path) -> None:
    path = write(tmp_path / "in.wav", array("h", [0] * 12_000).tobytes())
    told = json.loads(process_file(path).report.read_text())
    assert told["channels"][0] == {
        "level_dbov": None,
        "peak_dbov": None,
        "silent_samples": 12_000,
        "silence": [[0, 12_000]],
        "silence_not_stored": 0,
        "levels_dbov": [None, None],
    }
