"""The WAV journal and the reader: files that are readable at every moment, on a disk that may fail."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
import wave
from array import array
from pathlib import Path

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia.errors import ConfigError, FormatError, StateError
from gcmedia.record import WavJournal, read_wav, wav_info


def ramp(n_samples: int, start: int = 0) -> bytes:
    return array("h", [(start + i) % 30000 for i in range(n_samples)]).tobytes()


def stdlib_read(path: str | Path) -> tuple[int, int, bytes]:
    with wave.open(str(path), "rb") as file:
        return file.getframerate(), file.getnchannels(), file.readframes(file.getnframes())


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_closed_journal_is_a_wav_file_for_everybody(tmp_path: Path, n_channels: int) -> None:
    path = tmp_path / "a.wav"
    pcm = ramp(1600 * n_channels)
    with WavJournal(path, 16000, n_channels) as journal:
        for offset in range(0, len(pcm), 320 * n_channels):
            assert journal.append(pcm[offset : offset + 320 * n_channels], offset / 32000)
        assert journal.n_samples == 1600
    assert stdlib_read(path) == (16000, n_channels, pcm)
    assert read_wav(path) == (16000, n_channels, "L16", pcm)
    assert not Path(journal.part_path).exists()
    assert journal.closed
    assert not journal.incomplete


def test_any_buffer_of_int16_is_taken(tmp_path: Path) -> None:
    samples = array("h", [1, -2, 3])
    with WavJournal(tmp_path / "a.wav") as journal:
        journal.append(samples, 0.0)
        journal.append(memoryview(samples), 0.0)
    assert read_wav(tmp_path / "a.wav").data == samples.tobytes() * 2


@pytest.mark.parametrize("encoding", ["PCMU", "PCMA"])
def test_octets_as_received_come_back_with_the_right_tag(tmp_path: Path, encoding: str) -> None:
    octets = bytes(range(256)) + b"\x01"  # odd, so that the chunk needs its pad octet
    with WavJournal(tmp_path / "a.wav", encoding=encoding) as journal:
        journal.append(octets, 0.0)
    assert read_wav(tmp_path / "a.wav") == (8000, 1, encoding, octets)
    size = (tmp_path / "a.wav").stat().st_size
    assert size % 2 == 0
    assert struct.unpack("<I", (tmp_path / "a.wav").read_bytes()[4:8])[0] == size - 8


def test_there_is_room_for_ds64_before_fmt(tmp_path: Path) -> None:
    with WavJournal(tmp_path / "a.wav") as journal:
        journal.append(ramp(10), 0.0)
    head = (tmp_path / "a.wav").read_bytes()
    assert head[12:16] == b"JUNK"
    assert struct.unpack("<I", head[16:20]) == (28,)
    assert head[48:52] == b"fmt "


def test_beyond_4_gib_the_file_is_rf64(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    n_samples = 2**31 + 100
    with WavJournal(path) as journal:  # silence of int16 takes no room on disk
        journal.pad(n_samples, 0.0)
        journal.append(ramp(160), 1.0)
    assert journal.n_samples == n_samples + 160
    info = wav_info(path)
    assert info.n_samples == n_samples + 160
    with path.open("rb") as file:
        head = file.read(48)
    assert head[:4] == b"RF64"
    assert head[12:16] == b"ds64"
    assert struct.unpack_from("<QQQ", head, 20) == (
        path.stat().st_size - 8,
        2 * (n_samples + 160),
        n_samples + 160,
    )
    with path.open("rb") as file:
        file.seek(-320, os.SEEK_END)
        assert file.read() == ramp(160)
    with pytest.raises(FormatError, match="more than 1073741824"):
        read_wav(path)
    path.unlink()


@pytest.mark.parametrize("encoding", ["L16", "PCMU"])
def test_rf64_is_read_by_others_at_any_moment(encoding: str, tmp_path: Path) -> None:
    """The switch in the middle of a file, at a size that a test can write."""
    path = tmp_path / "a.wav"
    octets = bytes(range(256)) * 10
    journal = WavJournal(path, encoding=encoding, rf64_from=20_000)
    for index in range(20):
        journal.append(octets, float(index))
        journal.flush(float(index))
        part = Path(journal.part_path)
        assert (part.read_bytes()[:4] == b"RF64") == ((index + 1) * len(octets) >= 20_000 - 100)
        n_samples = (index + 1) * len(octets) // (2 if encoding == "L16" else 1)
        assert soundfile.info(part).frames == n_samples
        assert wav_info(part).n_samples == n_samples
    journal.close()
    assert read_wav(path).data == octets * 20
    assert soundfile.info(path).format == "RF64"


def test_the_real_switch_to_rf64_is_read_by_libsndfile(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with WavJournal(path) as journal:
        for n_samples in (2**31 - 1000, 2000):  # silence that takes no room
            journal.pad(n_samples, 0.0)
            journal.append(ramp(160), 1.0)
            journal.flush(1.0)
            with soundfile.SoundFile(journal.part_path) as file:
                assert file.frames == journal.n_samples
                file.seek(-160, os.SEEK_END)
                assert file.read(dtype="int16").tobytes() == ramp(160)
        assert soundfile.info(journal.part_path).format == "RF64"
    path.unlink()


def test_the_part_is_readable_with_all_but_the_last_second(tmp_path: Path) -> None:
    journal = WavJournal(tmp_path / "a.wav")
    assert stdlib_read(journal.part_path)[2] == b""
    for index in range(250):  # 5 s of 20 ms
        now = 100.0 + index * 0.02
        journal.append(ramp(160), now)
        assert len(stdlib_read(journal.part_path)[2]) // 320 >= index - 50
    journal.flush(200.0)
    assert stdlib_read(journal.part_path)[2] == ramp(160) * 250
    journal.close()


def test_a_clock_that_steps_back_does_not_hold_audio_back(tmp_path: Path) -> None:
    journal = WavJournal(tmp_path / "a.wav")
    journal.append(ramp(160), 1000.0)
    journal.append(ramp(160), 3.0)
    assert len(stdlib_read(journal.part_path)[2]) == 640
    journal.close()


KILLED = """
import os, signal, sys
from gcmedia.record import WavJournal
journal = WavJournal(sys.argv[1])
for index in range(1_000_000):
    journal.append(index.to_bytes(4, "little") * 80, index * 0.02)
    if index % 100 == 99:
        print(index, flush=True)
"""


def test_after_sigkill_every_flushed_sample_is_there(tmp_path: Path) -> None:
    for kill in range(3):
        path = tmp_path / f"{kill}.wav"
        with subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            seen = [int(process.stdout.readline()) for _ in range(3 + 4 * kill)]
            os.kill(process.pid, signal.SIGKILL)
            rest = process.stdout.read().split()
        assert process.returncode == -signal.SIGKILL
        last = int(rest[-1]) if rest and rest[-1].isdigit() and len(rest) > 1 else seen[-1]
        _, _, data = stdlib_read(f"{path}.part")
        assert len(data) % 320 == 0
        assert len(data) // 320 >= last - 50  # a second of 20 ms
        numbers = array("I", data)[::80]
        assert list(numbers) == list(range(len(numbers)))
        assert not path.exists()


FULL = """
import resource, sys
from gcmedia.record import WavJournal, read_wav
path, encoding = sys.argv[1:]
width = 2 if encoding == "L16" else 1
journal = WavJournal(path, encoding=encoding)
limit = 20_000
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
answers = []
for index in range(300):
    if index == 100:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit * width, hard))
    if index == 200:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    answers.append(journal.append(bytes([index % 250 + 1]) * (160 * width), index * 0.02))
    assert journal.n_samples == 160 * (index + 1)
assert journal.close() is False
assert answers[:100] == [True] * 100
assert False in answers[100:200] and answers[-1] is True
assert journal.incomplete and "large" in journal.error, journal.error
data = read_wav(path).data
assert len(data) == 300 * 160 * width
silence = {"L16": b"\\0", "PCMU": b"\\xff"}[encoding]
missing = set()
for position, n_samples in journal.unwritten:
    missing.update(range(position, position + n_samples))
assert len(missing) == journal.n_unwritten > 0
assert max(missing) < 250 * 160 and min(missing) >= 100 * 160
for index in range(300 * 160):
    sample = data[index * width : (index + 1) * width]
    expected = silence if index in missing else bytes([index // 160 % 250 + 1])
    assert sample == expected * width, (index, sample)
"""


@pytest.mark.parametrize("encoding", ["L16", "PCMU"])
def test_a_file_that_cannot_grow_keeps_its_timeline(tmp_path: Path, encoding: str) -> None:
    subprocess.run([sys.executable, "-c", FULL, tmp_path / "a.wav", encoding], check=True)


def test_a_full_device_raises_nothing(tmp_path: Path) -> None:
    journal = WavJournal(tmp_path / "a.wav")
    journal.append(ramp(160), 0.0)
    journal.flush(0.0)
    held = os.open(journal.part_path, os.O_RDONLY)
    full = os.open("/dev/full", os.O_RDWR)
    fd = next(fd for fd in range(3, 1000) if fd != held and _is_file(fd, journal.part_path))
    saved = os.dup(fd)
    os.dup2(full, fd)  # from now on the kernel answers ENOSPC
    assert not journal.append(ramp(160), 5.0)
    os.dup2(saved, fd)
    assert journal.append(ramp(160), 10.0)
    for opened in (held, full, saved):
        os.close(opened)
    assert journal.close() is False
    assert journal.error is not None
    assert "space" in journal.error
    assert journal.unwritten == ((160, 160),)
    assert read_wav(tmp_path / "a.wav").data == ramp(160) + bytes(320) + ramp(160)


def _is_file(fd: int, path: str) -> bool:
    try:
        return os.path.sameopenfile(fd, fd) and os.fstat(fd).st_ino == os.stat(path).st_ino
    except OSError:
        return False


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_file_that_vanishes_is_made_anew_with_all_it_held(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "calls" / "gone"
    folder.mkdir(parents=True)
    journal = WavJournal(folder / "a.wav")
    assert journal.append(ramp(160), 0.0)
    assert journal.flush(1.0)
    if how == "removed":
        Path(journal.part_path).unlink()
        folder.rmdir()
        folder.parent.rmdir()
    else:
        folder.rename(tmp_path / "elsewhere")
    assert journal.append(ramp(160, 160), 2.0)
    assert journal.close()
    assert journal.troubles == 1
    assert journal.error is not None
    assert "vanished" in journal.error
    assert not journal.incomplete
    assert read_wav(folder / "a.wav").data == ramp(320)


def test_a_file_that_cannot_be_made_anew_yet_is_held_on_to(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    journal = WavJournal(folder / "a.wav")
    assert journal.append(ramp(160), 0.0)
    Path(journal.part_path).unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert not journal.append(ramp(160, 160), 2.0)
    assert not journal.append(ramp(160, 320), 4.0)
    assert journal.troubles == 1
    folder.unlink()
    assert journal.append(ramp(160, 480), 6.0)
    assert journal.close()
    assert journal.unwritten == ()
    assert stdlib_read(folder / "a.wav")[2] == ramp(640)


def test_what_never_gets_a_place_again_is_told_incomplete(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    journal = WavJournal(folder / "a.wav")
    assert journal.append(ramp(160), 0.0)
    Path(journal.part_path).unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert journal.close() is False
    assert journal.close() is False
    assert journal.incomplete


def test_pad_is_silence_of_the_encoding(tmp_path: Path) -> None:
    for encoding, silence in (("L16", b"\0\0"), ("PCMU", b"\xff"), ("PCMA", b"\xd5")):
        path = tmp_path / f"{encoding}.wav"
        with WavJournal(path, encoding=encoding) as journal:
            journal.append(silence.replace(b"\0", b"\1") * 3, 0.0)
            journal.pad(5, 0.0)
            journal.pad(100_000, 0.0)
        assert read_wav(path).data[3 * len(silence) :] == silence * 100_005


def test_sync_period_is_accepted(tmp_path: Path) -> None:
    with WavJournal(tmp_path / "a.wav", sync_s=1.0) as journal:
        for second in range(3):
            assert journal.append(ramp(8000), float(second))


def test_what_is_out_of_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="encoding is 'G729'"):
        WavJournal(tmp_path / "a.wav", encoding="G729")
    with pytest.raises(ConfigError, match="sample_rate is 0 Hz"):
        WavJournal(tmp_path / "a.wav", 0)
    with pytest.raises(ConfigError, match="n_channels is 17"):
        WavJournal(tmp_path / "a.wav", 8000, 17)
    with pytest.raises(ConfigError, match=r"flush_s is 2\.0 s"):
        WavJournal(tmp_path / "a.wav", flush_s=2.0)
    with WavJournal(tmp_path / "a.wav", n_channels=2) as journal, pytest.raises(FormatError, match="6 octets"):
        journal.append(b"123456", 0.0)
    with pytest.raises(StateError, match="is closed"):
        journal.append(b"", 0.0)
    with pytest.raises(FileExistsError):
        WavJournal(tmp_path / "a.wav")


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(k + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for k, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


PCM_FMT = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        pytest.param(b"", r"begins with b'' \(0 octets", id="empty"),
        pytest.param(b"OggS" + bytes(40), "no WAV file, it begins with b'OggS", id="other format"),
        pytest.param(riff((b"data", b"12")), "before the fmt chunk", id="data first"),
        pytest.param(riff((b"fmt ", PCM_FMT)), "without a data chunk", id="no data"),
        pytest.param(riff((b"LIST", b"abc")), "without a fmt chunk", id="no fmt"),
        pytest.param(riff((b"fmt ", PCM_FMT[:10])), "10 octets, fewer than 16", id="short fmt"),
        pytest.param(riff((b"fmt ", b"\x55" + PCM_FMT[1:]), (b"data", b"")), "format tag 85", id="mp3"),
        pytest.param(riff((b"fmt ", PCM_FMT[:12] + b"\3" + PCM_FMT[13:]), (b"data", b"")), "blocks of 3", id="block"),
        pytest.param(riff((b"fmt ", PCM_FMT), (b"data", bytes(100)))[:-40], "100 octets .* 60 are there", id="cut"),
        pytest.param(riff(*[(b"junk", b"")] * 2000), "among the first 1000 chunks", id="many chunks"),
    ],
)
def test_what_is_no_wav_is_refused_with_its_place(tmp_path: Path, octets: bytes, message: str) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(octets)
    with pytest.raises(FormatError, match=message):
        read_wav(path)


def test_other_people_s_wav_files_are_read(tmp_path: Path) -> None:
    extensible = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4) + b"\1\0" + bytes(14)
    path = tmp_path / "x.wav"
    path.write_bytes(riff((b"fmt ", extensible), (b"LIST", b"odd"), (b"data", b"abcd")))
    assert read_wav(path) == (8000, 1, "L16", b"abcd")
    eight = struct.pack("<HHIIHH", 1, 2, 8000, 16000, 2, 8)
    path.write_bytes(riff((b"fmt ", eight), (b"data", b"abcde")))
    assert read_wav(path) == (8000, 2, "U8", b"abcd")
    piped = riff((b"fmt ", PCM_FMT)) + b"data" + b"\xff" * 4 + b"123456"
    path.write_bytes(piped)
    assert read_wav(path).data == b"123456"


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 100))
def test_the_reader_raises_nothing_but_format_errors(noise: bytes, cut: int) -> None:
    good = riff((b"fmt ", PCM_FMT), (b"data", b"abcd"))
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(good[:cut] + noise)
        file.flush()
        try:
            assert len(read_wav(file.name).data) <= len(good) + len(noise)
        except FormatError:
            pass
