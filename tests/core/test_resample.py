"""Resampling through soxr."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia import ConfigError, FrameResampler, GateConfig, Receiver, Resampler

from .packets import packet

soxr = pytest.importorskip("soxr")
RATES = (8000, 16_000, 24_000, 48_000)


def resampled(pcm: npt.NDArray[Any], in_rate: int, out_rate: int, **settings_: Any) -> npt.NDArray[Any]:
    resampler = Resampler(in_rate, out_rate, **settings_)
    return np.frombuffer(resampler.process(pcm) + resampler.flush(), pcm.dtype)


def tone(hz: float, rate: int, seconds: float = 0.5) -> npt.NDArray[np.int16]:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


@pytest.mark.parametrize("in_rate", RATES)
@pytest.mark.parametrize("out_rate", RATES)
def test_a_tone_keeps_its_place_pitch_and_level(in_rate: int, out_rate: int) -> None:
    found = resampled(tone(440, in_rate), in_rate, out_rate)
    expected = tone(440, out_rate)
    assert len(found) == len(expected)
    inner = slice(len(found) // 4, -len(found) // 4)
    assert abs(found.astype(int) - expected)[inner].max() <= 2


@given(
    st.lists(st.integers(0, 700), min_size=1, max_size=10),
    st.sampled_from([(8000, 16_000), (16_000, 8000), (8000, 48_000), (24_000, 16_000), (8000, 8000)]),
    st.sampled_from([np.int16, np.float32]),
)
@settings(deadline=None)
def test_any_chunking_gives_the_same_and_the_length_is_exact(
    sizes: list[int], rates: tuple[int, int], kind: type
) -> None:
    pcm = np.random.default_rng(1).normal(0, 5000, sum(sizes))
    pcm = pcm.astype(np.int16) if kind is np.int16 else (pcm / 32768).astype(np.float32)
    parts = Resampler(*rates)
    out = b""
    for piece in np.split(pcm, np.cumsum(sizes)[:-1]):
        out += parts.process(piece)
        assert parts.held_samples == -(-parts.n_in * rates[1] // rates[0]) - len(out) // pcm.itemsize >= 0
    out += parts.flush()
    assert out == resampled(pcm, *rates).tobytes()
    assert len(out) // pcm.itemsize == -(-len(pcm) * rates[1] // rates[0])


@pytest.mark.parametrize(("quality", "most_ms"), [("VHQ", 112), ("HQ", 119), ("MQ", 119), ("LQ", 62), ("QQ", 0.3)])
def test_no_more_is_held_back_than_told(quality: str, most_ms: float) -> None:
    resampler = Resampler(quality=quality)
    held = []
    for _ in range(200):
        resampler.process(np.zeros(160, np.int16))
        held.append(resampler.held_samples)
    assert 0 < max(held) <= 16 * most_ms


def test_at_the_default_quality_there_are_no_images() -> None:
    out = resampled(tone(3400, 8000, 2.0), 8000, 16_000)[4000:-4000].astype(float)
    spectrum = abs(np.fft.rfft(out * np.blackman(len(out)))) ** 2
    hz = np.fft.rfftfreq(len(out), 1 / 16_000)
    image = spectrum[hz > 4100].max() / spectrum.max()
    assert 10 * np.log10(image) < -95  # what rounding to int16 leaves


@pytest.mark.parametrize(
    "pcm",
    [np.zeros(4000), np.full(4000, 32767), np.tile([32767] * 8 + [-32768] * 8, 250), np.eye(1, 4000, 2000)[0] * 32767],
    ids=["silence", "dc", "square", "click"],
)
def test_extreme_sounds(pcm: Any) -> None:
    out = resampled(pcm.astype(np.int16), 8000, 16_000)
    assert len(out) == 8000
    if pcm.max() == 0:
        assert not out.any()
    else:
        assert abs(out[1000:-1000].astype(int)).max() <= 32768
        assert abs(out[1000:-1000].astype(int)).max() > 0.6 * 32767  # and no overflow turned it round
        assert abs(out.astype(float).mean() - pcm.mean()) < 0.02 * 32768


def test_numbers_that_are_none_are_not_hidden_and_reset_forgets_them() -> None:
    resampler = Resampler()
    x = np.zeros(4000, np.float32)
    x[5] = np.nan
    assert np.isnan(np.frombuffer(resampler.process(x), np.float32)).any()
    resampler.reset()
    clean = np.frombuffer(resampler.process(np.zeros(4000, np.float32)), np.float32)
    assert np.isfinite(clean).all()


def frames(n_channels: int = 1, n: int = 30, **settings_: Any) -> list[Any]:
    receiver = Receiver("L16LE", 8000, n_channels=n_channels, **settings_)
    pcm = np.random.default_rng(3).normal(0, 3000, (n * 160, n_channels)).astype("<i2")
    for i in range(n):
        receiver.push(packet(i, 20 * i, pcm[160 * i : 160 * (i + 1)].tobytes()), 0.02 * i)
    receiver.flush()
    return list(receiver.frames(1.0))


@pytest.mark.parametrize("n_channels", [1, 2])
def test_frames_come_out_in_order_with_exact_places_and_their_own_audio(n_channels: int) -> None:
    taken = frames(n_channels, gate=GateConfig())
    raw = [bytes(frame.raw) for frame in taken]
    resampler = FrameResampler(16_000)
    out = [made for frame in taken for made in resampler.push(frame)] + resampler.flush()
    assert sorted(map(id, (made.frame for made in out))) == sorted(map(id, taken))
    for made in out:
        assert (made.position, made.n_samples, made.sample_rate) == (2 * made.frame.position, 320, 16_000)
    for channel in range(n_channels):
        mine = [made for made in out if made.frame.channel == channel]
        assert [made.position for made in mine] == [320 * i for i in range(30)]
        whole = np.concatenate([np.asarray(frame.pcm) for frame in taken if frame.channel == channel])
        assert b"".join(bytes(made.pcm) for made in mine) == resampled(whole, 8000, 16_000).tobytes()
    assert [bytes(frame.raw) for frame in taken] == raw


def test_frames_that_do_not_follow_begin_anew() -> None:
    taken = frames()
    resampler = FrameResampler()
    out = [made for frame in taken[:10] + taken[20:] for made in resampler.push(frame)] + resampler.flush()
    assert [made.position for made in out] == [320 * i for i in (*range(10), *range(20, 30))]
    first = np.concatenate([np.asarray(frame.pcm) for frame in taken[:10]])
    assert b"".join(bytes(made.pcm) for made in out[:10]) == resampled(first, 8000, 16_000).tobytes()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="in_rate is 11025 Hz, not one of 8000, 16000"):
        Resampler(11_025)
    with pytest.raises(ConfigError, match="quality is 'best'"):
        Resampler(quality="best")
    with pytest.raises(ConfigError, match="sample_rate is 44100 Hz"):
        FrameResampler(44_100)
    with pytest.raises(TypeError, match="format 'd'"):
        Resampler().process(np.zeros(3))
    with pytest.raises(ValueError, match="3 octets"):
        Resampler().process(b"abc")


def test_without_soxr_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['soxr'] = None; import gcmedia\n"
        "try: gcmedia.Resampler()\nexcept gcmedia.ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "resampling needs soxr: pip install 'gcmedia[dsp]'"
