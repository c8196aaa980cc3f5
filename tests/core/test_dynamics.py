"""The compressor: static curve, times, state."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia._core.dynamics import Compressor
from gcmedia.config import CompressorConfig
from gcmedia.errors import ConfigError


def slow_curve(level_db: float, threshold: float, knee: float, ratio: float) -> float:
    """Output level; the knee is integrated step by step: its slope falls evenly from 1 to 1 / ratio."""
    if level_db <= threshold:
        return level_db
    over = min(level_db - threshold, knee)
    steps = 2000
    out = threshold
    for i in range(steps):
        at = over * (i + 0.5) / steps
        slope = 1.0 + (1.0 / ratio - 1.0) * (at / knee if knee else 1.0)
        out += slope * over / steps
    return out + max(level_db - threshold - knee, 0.0) / ratio


def settled_db(compressor: Compressor, level_db: float) -> float:
    """Output level for a constant input, after attack and release."""
    x = np.full(1000, 10 ** (level_db / 20), np.float32)
    return 20 * math.log10(np.frombuffer(compressor.process(x), np.float32)[-1])


def floats(compressor: Compressor, x: npt.NDArray[Any]) -> np.ndarray:
    return np.frombuffer(compressor.process(x.astype(np.float32)), np.float32).astype(np.float64)


@pytest.mark.parametrize(
    ("threshold", "knee", "ratio"), [(-24, 30, 12), (-40, 10, 4), (-30, 0, 2), (0, 40, 20), (-100, 5, 1.5), (-24, 6, 1)]
)
def test_static_curve(threshold: float, knee: float, ratio: float) -> None:
    compressor = Compressor(
        threshold_db=threshold, knee_db=knee, ratio=ratio, attack_s=0.0, release_s=0.0, makeup_db=0.0
    )
    for level_db in np.arange(-110, 12.1, 1.7):
        assert settled_db(compressor, level_db) == pytest.approx(
            slow_curve(level_db, threshold, knee, ratio), abs=0.003
        )


def test_makeup_is_that_of_web_audio_unless_set() -> None:
    """004-27: the inverse of full scale's own gain, to the power of 0.6."""
    compressor = Compressor()
    full = slow_curve(0.0, -24, 30, 12)
    assert compressor.makeup_db == pytest.approx(-0.6 * full, abs=1e-4)
    assert settled_db(compressor, -60) == pytest.approx(-60 - 0.6 * full, abs=0.001)
    assert Compressor(makeup_db=3.0).makeup_db == 3.0
    assert Compressor(8000, CompressorConfig(makeup_db=3.0), makeup_db=None).makeup_db > 5


def test_below_the_threshold_nothing_happens() -> None:
    x = np.random.default_rng(1).integers(-2000, 2000, 4000).astype(np.int16)
    assert Compressor(makeup_db=0.0).process(x) == x.tobytes()


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_attack_and_release_take_their_time_per_10_db(sample_rate: int) -> None:
    """004-27: 0.003 s and 0.25 s to change the gain by 10 dB."""
    compressor = Compressor(sample_rate, threshold_db=-60, knee_db=0, ratio=20, makeup_db=0.0)
    loud = floats(compressor, np.ones(sample_rate // 10))
    gain = 20 * np.log10(loud)
    target = -57.0
    assert gain[-1] == pytest.approx(target, abs=0.01)
    reached = int(np.argmax(gain < target / 2))
    assert reached / sample_rate == pytest.approx(0.003 * 28.5 / 10, abs=1.5 / sample_rate)
    quiet = floats(compressor, np.full(2 * sample_rate, 1e-4))
    gain = 20 * np.log10(quiet / 1e-4)
    reached = int(np.argmax(gain > target / 2))
    assert reached / sample_rate == pytest.approx(0.25 * 28.5 / 10, rel=0.002)
    assert gain[-1] == pytest.approx(0.0, abs=0.001)


@given(st.lists(st.integers(0, 700), max_size=10), st.sampled_from([np.int16, np.float32]))
def test_any_chunking_gives_the_same(sizes: list[int], kind: type) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 9000, sum(sizes)).clip(-32768, 32767)
    pcm = x.astype(np.int16) if kind is np.int16 else (x / 32768).astype(np.float32)
    whole, parts = Compressor(), Compressor()
    pieces = np.split(pcm, np.cumsum(sizes)[:-1]) if sizes else []
    assert whole.process(pcm) == b"".join(parts.process(piece) for piece in pieces)


def test_int16_and_float32_agree() -> None:
    x = np.random.default_rng(2).normal(0, 9000, 4000).clip(-32768, 32767).astype(np.int16)
    exact = floats(Compressor(), x / 32768.0) * 32768
    found = np.frombuffer(Compressor().process(x), np.int16)
    assert abs(found - exact.clip(-32768, 32767)).max() <= 0.51


def test_int16_saturates() -> None:
    x = np.tile(np.array([32767, -32768], np.int16), 400)
    out = np.frombuffer(Compressor(ratio=1.0, makeup_db=20.0).process(x), np.int16)
    assert set(out.tolist()) == {32767, -32768}


def test_numbers_that_are_none_do_not_stay() -> None:
    compressor, untouched = Compressor(), Compressor()
    x = np.array([0.5, np.nan, np.inf, -np.inf, 1e30, 1e-40], np.float32)
    compressor.process(x)
    tail = np.full(16_000, 0.01, np.float32)
    out = floats(compressor, tail)
    assert np.isfinite(out).all()
    assert out[-1] == floats(untouched, tail)[-1]


def test_in_place_out_and_reset() -> None:
    x = np.random.default_rng(3).normal(0, 9000, 1000).clip(-32768, 32767).astype(np.int16)
    compressor = Compressor()
    expected = compressor.process(x)
    compressor.reset()
    assert compressor.delay_samples == 0
    assert compressor.process(x, x) is x
    assert x.tobytes() == expected


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ratio is 0\.5"):
        Compressor(ratio=0.5)
    with pytest.raises(ConfigError, match="sample_rate is 0 Hz"):
        Compressor(0)
    with pytest.raises(TypeError, match="CompressorConfig, not str"):
        Compressor(8000, "loud")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"int16 or float32 .*format 'd'"):
        Compressor().process(np.zeros(4))
    with pytest.raises(TypeError, match=r"float32 .*format 'h'"):
        Compressor().process(np.zeros(4, np.float32), np.zeros(4, np.int16))
    with pytest.raises(ValueError, match="6 octets, 8 are needed for 4 samples"):
        Compressor().process(bytes(8), bytearray(6))
