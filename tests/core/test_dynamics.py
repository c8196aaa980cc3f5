"""The compressor: static curve, times, state."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia._core.dynamics import Compressor
from gcmedia.config import CompressorConfig
from gcmedia.errors import ConfigError
from tests.reference import dynamics


def slow_curve(level_db: float, threshold_db: float, knee_db: float, ratio: float) -> float:
    """Output level; the bend of the knee is found on a grid, by its exact slope."""
    threshold, end = 10 ** (threshold_db / 20), 10 ** ((threshold_db + knee_db) / 20)

    def knee(x: float, k: float) -> float:
        return threshold + (1 - math.exp(-k * (x - threshold))) / k

    k = min(
        np.geomspace(0.1, 1e4, 30_000),
        key=lambda k: abs(end * math.exp(-k * (end - threshold)) / knee(end, k) - 1 / ratio),
    )
    x = 10 ** (level_db / 20)
    if x <= threshold:
        return level_db
    if x < end:
        return 20 * math.log10(knee(x, k))
    return 20 * math.log10(knee(end, k)) + (level_db - threshold_db - knee_db) / ratio


def settled_db(compressor: Compressor, level_db: float) -> float:
    """Output level for a constant input, after attack and release."""
    x = np.full(20_000, 10 ** (level_db / 20), np.float32)
    return 20 * math.log10(np.frombuffer(compressor.process(x), np.float32)[-1])


def floats(compressor: Compressor, x: npt.NDArray[Any]) -> np.ndarray:
    return np.frombuffer(compressor.process(x.astype(np.float32)), np.float32).astype(np.float64)


def bursts(rate: int) -> npt.NDArray[np.float64]:
    """A tone of 440 Hz whose level jumps, 3 s of it."""
    t = np.arange(3 * rate) / rate
    ends, levels = [0.3, 0.8, 1.3, 1.8, 2.2, 2.6], [0.01, 0.9, 0.05, 0.3, 0.004, 0.6]
    return np.select([t < end for end in ends], levels, 0.1) * np.sin(2 * np.pi * 440 * t)


@pytest.mark.parametrize(
    ("threshold", "knee", "ratio"), [(-24, 30, 12), (-40, 10, 4), (-30, 0, 2), (-6, 40, 20), (-60, 5, 1.5), (-24, 6, 1)]
)
def test_static_curve(threshold: float, knee: float, ratio: float) -> None:
    compressor = Compressor(
        threshold_db=threshold, knee_db=knee, ratio=ratio, attack_s=0.0, release_s=0.01, makeup_db=0.0
    )
    for level_db in np.arange(-70, 12.1, 3.7):
        assert settled_db(compressor, level_db) == pytest.approx(slow_curve(level_db, threshold, knee, ratio), abs=0.03)


def test_makeup_is_that_of_web_audio_unless_set() -> None:
    """004-27: the inverse of full scale's own gain, to the power of 0.6."""
    compressor = Compressor()
    full = slow_curve(0.0, -24, 30, 12)
    assert compressor.makeup_db == pytest.approx(-0.6 * full, abs=2e-3)
    assert settled_db(compressor, -60) == pytest.approx(-60 - 0.6 * full, abs=0.003)
    assert Compressor(makeup_db=3.0).makeup_db == 3.0
    assert Compressor(8000, CompressorConfig(makeup_db=3.0), makeup_db=None).makeup_db > 3.5


def test_below_the_threshold_nothing_happens_but_delay() -> None:
    x = np.random.default_rng(1).integers(-2000, 2000, 16_000).astype(np.int16)
    out = np.frombuffer(Compressor(makeup_db=0.0).process(x), np.int16)
    assert (out[8000:] == x[8000 - 48 : -48]).all()


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attack_s": 0.02, "release_s": 0.1, "knee_db": 5.0, "ratio": 4.0},
        {"lookahead_s": 0.0, "makeup_db": 0.0, "threshold_db": -50.0},
        {"knee_db": 0.0, "ratio": 20.0, "lookahead_s": 0.02},
    ],
    ids=["defaults", "slow", "no-lookahead", "hard"],
)
def test_against_a_slow_one(rate: int, settings: dict[str, float]) -> None:
    x = bursts(rate)[:60_000] + np.random.default_rng(2).normal(0, 0.003, min(3 * rate, 60_000))
    reference = dynamics.Compressor(rate, **settings)
    compressor = Compressor(rate, CompressorConfig(**settings))
    assert compressor.delay_samples == reference.delay
    deviation = abs(floats(compressor, x) - reference.process(x))
    assert np.quantile(deviation, 0.8) < 4e-4
    assert deviation.max() < 5e-3  # single precision may turn from attack to release a division later


def test_against_chromium() -> None:
    """Rendered by its OfflineAudioContext; the file tells the version, and benchmarks/compressor.py made it."""
    vector = json.loads((Path(__file__).parent / "vectors" / "chromium_compressor.json").read_text(encoding="utf-8"))
    assert len(vector["renderings"]) >= 3
    for one in vector["renderings"]:
        out = floats(Compressor(one["sample_rate"], **one["settings"]), bursts(one["sample_rate"]))
        found = out[one["first"] :: one["every"]]
        assert len(found) == len(one["samples"])
        assert abs(found - np.array(one["samples"])).max() < 2e-6  # -114 dB


def test_attack_and_release_take_their_time() -> None:
    """004-27: 3 ms and 0.25 s; by Web Audio's own meaning of them, which is some 10 dB."""
    compressor = Compressor(threshold_db=-40, knee_db=0, ratio=20, makeup_db=0.0, lookahead_s=0.0)
    floats(compressor, np.full(16_000, 1e-3))
    loud = 20 * np.log10(floats(compressor, np.full(1600, 0.5)) / 0.5)
    settled = loud[-1]
    assert settled == pytest.approx(-0.95 * (40 - 6.02), abs=0.05)
    assert loud[0] > settled + 20
    attack = np.argmax(loud < -10) / 8000
    assert 0.0002 < attack < 0.003 + 32 / 8000  # it is looked at every 32 samples
    quiet = 20 * np.log10(floats(compressor, np.full(16_000, 1e-3)) / 1e-3)
    release = (np.argmax(quiet > settled + 20) - np.argmax(quiet > settled + 10)) / 8000
    assert 0.03 < release < 0.25  # far from its aim it goes quicker than 10 dB in 0.25 s
    assert quiet[-1] == pytest.approx(0.0, abs=0.001)


def test_the_gain_comes_before_the_sound() -> None:
    """With 6 ms of look-ahead a burst never passes at full gain."""
    x = np.concatenate([np.full(16_000, 1e-3), np.ones(800)])
    with_it = floats(Compressor(makeup_db=0.0), x)[16_000:]
    without = floats(Compressor(makeup_db=0.0, lookahead_s=0.0), x)[16_000:]
    assert with_it.max() < 1.2 * with_it[-1]
    assert without.max() > 1.6 * without[-1]


def test_flush_gives_the_rest_and_begins_anew() -> None:
    compressor = Compressor(16_000)
    x = np.random.default_rng(3).normal(0, 0.2, 5000).astype(np.float32)
    whole = Compressor(16_000).process(np.concatenate([x, np.zeros(96, np.float32)]))
    assert compressor.delay_samples == 96
    assert compressor.process(x) + compressor.flush() == whole
    assert compressor.process(x) == Compressor(16_000).process(x)
    assert Compressor(8000).flush() == bytes(2 * 48)


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
    out = np.frombuffer(Compressor(ratio=1.0, makeup_db=40.0, lookahead_s=0.0).process(x), np.int16)
    assert set(out[100:].tolist()) == {32767, -32768}


def test_numbers_that_are_none_do_not_stay() -> None:
    compressor, untouched = Compressor(), Compressor()
    x = np.array([0.5, np.nan, np.inf, -np.inf, 1e30, 1e-40], np.float32)
    compressor.process(x)
    tail = np.full(16_000, 0.01, np.float32)
    out = floats(compressor, tail)
    assert np.isnan(out[43])  # at its own place, 48 samples later
    assert np.isfinite(out[48:]).all()
    assert out[-1] == floats(untouched, tail)[-1]


@pytest.mark.parametrize("kind", ["silence", "dc", "square", "click", "denormal", "tiny"])
def test_extreme_sounds(kind: str) -> None:
    x = {
        "silence": np.zeros(8000),
        "dc": np.ones(8000),
        "square": np.tile(np.repeat([1.0, -1.0], 8), 500),
        "click": np.eye(1, 8000, 4000)[0],
        "denormal": np.full(8000, 1e-42),
        "tiny": np.full(8000, 1e-30),
    }[kind]
    out = floats(Compressor(), x)
    assert np.isfinite(out).all()
    assert abs(out).max() <= 1.6 * abs(x).max()
    assert (out[:48] == 0).all()


def test_in_place_out_and_reset() -> None:
    x = np.random.default_rng(3).normal(0, 9000, 1000).clip(-32768, 32767).astype(np.int16)
    compressor = Compressor()
    expected = compressor.process(x)
    compressor.reset()
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
