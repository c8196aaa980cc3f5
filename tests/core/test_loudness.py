"""The level normaliser: where it brings speech, what it leaves alone, and what its limiter keeps."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import ConfigError, LoudnessConfig, LoudnessNormalizer
from tests.reference import loudness

PLAIN = LoudnessConfig(max_gain_db=0.0, max_cut_db=0.0)


def syllables(
    rate: int, seconds: float, level_dbov: float, noise_dbov: float = -75.0, seed: int = 1
) -> npt.NDArray[Any]:
    """Harmonics in syllables of 150 ms with pauses, and noise; the level is that of the loud parts."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    t = np.arange(n) / rate
    voice = np.sum([np.sin(2 * np.pi * k * 170 * t + k) / k for k in range(1, 9)], axis=0)
    on = np.repeat(rng.random(int(seconds / 0.15) + 1) < 0.6, int(0.15 * rate))[:n]
    on = np.convolve(on, np.hanning(rate // 50) / np.hanning(rate // 50).sum(), "same")
    voice *= on * 10 ** (level_dbov / 20) / np.sqrt((voice**2).mean())
    return np.asarray(voice + rng.normal(0, 10 ** (noise_dbov / 20), n))


def floats(normalizer: LoudnessNormalizer, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.frombuffer(normalizer.process(x.astype(np.float32)), np.float32).astype(np.float64)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_gain_against_a_slow_one(rate: int) -> None:
    x = np.concatenate([syllables(rate, 3.2, -45), syllables(rate, 2.0, -10, seed=2), np.zeros(rate // 2)])
    x = x.astype(np.float32).astype(np.float64)
    normalizer = LoudnessNormalizer(rate)
    block, found = rate // 100, []
    for start in range(0, len(x) // block * block, block):
        normalizer.process(x[start : start + block].astype(np.float32))
        found.append(normalizer.gain_db)
    expected = loudness.gains_db(x, rate)
    assert max(expected) > 8
    assert expected[-1] < max(expected) - 3
    assert np.allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("hz", [60, 200, 1000, 3000])
def test_the_level_is_weighted_as_bs_1770_has_it(hz: float) -> None:
    normalizer = LoudnessNormalizer(16_000)
    t = np.arange(32_000) / 16_000
    floats(normalizer, 1e-4 * np.sin(2 * np.pi * 300 * t[:4000]))  # a floor to stand out from
    floats(normalizer, 0.1 * np.sin(2 * np.pi * hz * t))
    assert normalizer.speech_dbov == pytest.approx(-23.01 + loudness.weighting_db(hz, 16_000), abs=0.15)


@pytest.mark.parametrize("level", [-45.0, -35.0, -22.0, -12.0])
def test_speech_comes_to_the_target(level: float) -> None:
    x = syllables(8000, 20.0, level)
    normalizer = LoudnessNormalizer()
    out = floats(normalizer, x)
    again = LoudnessNormalizer()
    floats(again, out[-80_000:])
    expected = -22.0 if -22 - level < 24 else level + 24
    assert again.speech_dbov == pytest.approx(expected, abs=1.2)
    assert normalizer.gain_db == pytest.approx(-22 - normalizer.speech_dbov, abs=0.5)


@pytest.mark.parametrize("noise_dbov", [-65.0, -50.0, -40.0, -25.0])
@pytest.mark.parametrize("colour", ["white", "brown"])
def test_steady_noise_is_never_pulled_up(noise_dbov: float, colour: str) -> None:
    x = np.random.default_rng(2).normal(0, 1, 160_000)
    if colour == "brown":
        smooth = np.empty_like(x)
        last = 0.0
        for i, value in enumerate(x):
            smooth[i] = last = 0.9 * last + value
        x = smooth
    x *= 10 ** (noise_dbov / 20) / x.std()
    normalizer = LoudnessNormalizer()
    floats(normalizer, x)
    assert abs(normalizer.gain_db) < 0.7


def test_the_gain_rests_in_pauses() -> None:
    normalizer = LoudnessNormalizer()
    floats(normalizer, syllables(8000, 3.0, -40.0))
    pause = np.random.default_rng(3).normal(0, 10 ** (-75 / 20), 8000 * 5)
    before = normalizer.gain_db
    assert before > 3
    for start in range(800, len(pause), 800):
        floats(normalizer, pause[start - 800 : start])
        if start > 1600:
            assert normalizer.gain_db == pytest.approx(before, abs=0.3)


def test_gain_and_slope_are_bounded() -> None:
    x = np.concatenate([syllables(8000, 10.0, -55), syllables(8000, 6.0, -3)])
    normalizer = LoudnessNormalizer(max_gain_db=15.0, max_cut_db=5.0, rise_db_per_s=4.0, fall_db_per_s=8.0)
    track = []
    for start in range(0, len(x), 800):
        floats(normalizer, x[start : start + 800])
        track.append(normalizer.gain_db)
    steps = np.diff(track)
    assert max(track) == pytest.approx(15.0, abs=1e-3)
    assert min(track[-5:]) == pytest.approx(-5.0, abs=1e-3)
    assert steps.max() <= 0.4 + 1e-4
    assert steps.min() >= -0.8 - 1e-4
    assert steps.max() > 0.3


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("ceiling", [-1.0, -6.0])
def test_true_peaks_stay_under_the_ceiling(rate: int, ceiling: float) -> None:
    """Measured in between the samples, sixteenfold, with an interpolation that is not the limiter's."""
    rng = np.random.default_rng(4)
    n = rate // 2
    t = np.arange(n) / rate
    sounds = {
        "burst": np.concatenate([np.zeros(n // 2), np.sin(2 * np.pi * 997 * t[: n // 2])]) * 2,
        "between": 1.4 * np.sin(2 * np.pi * rate / 4 * t + np.pi / 4),
        "noise": np.convolve(rng.normal(0, 0.5, n), [0.25, 0.5, 0.25], "same"),
        "click": 4 * np.eye(1, n, n // 3)[0],
        "square": np.sign(np.sin(2 * np.pi * 100 * t)) * 1.5,
    }
    for name, x in sounds.items():
        normalizer = LoudnessNormalizer(rate, PLAIN, ceiling_dbov=ceiling)
        out = floats(normalizer, x)
        peak = abs(loudness.oversampled(out, 16)[16 * 256 : -16 * 300]).max()
        assert 20 * np.log10(peak) <= ceiling + 0.25, name
        assert abs(out).max() > 0.5 * 10 ** (ceiling / 20), name


def test_what_is_under_the_ceiling_passes_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(-9000, 9000, 8000).astype(np.int16)
    normalizer = LoudnessNormalizer(8000, PLAIN)
    assert normalizer.delay_samples == 26
    assert normalizer.process(x) + normalizer.flush() == bytes(52) + x.tobytes()
    loud = LoudnessNormalizer(8000, PLAIN)
    floats(loud, 3 * np.sin(np.arange(800)))
    after = floats(loud, np.concatenate([np.zeros(16_000), x / 32768]))  # the limiter lets go in the end
    assert (after[16_026:] == (x / 32768).astype(np.float32)[:-26]).all()


@given(
    st.lists(st.integers(0, 900), max_size=10), st.sampled_from([np.int16, np.float32]), st.sampled_from([8000, 16_000])
)
def test_any_chunking_gives_the_same(sizes: list[int], kind: type, rate: int) -> None:
    x = np.random.default_rng(6).normal(0, 12_000, sum(sizes)) * np.linspace(0, 2, sum(sizes))
    pcm = x.clip(-32768, 32767).astype(np.int16) if kind is np.int16 else (x / 32768).astype(np.float32)
    whole, parts = LoudnessNormalizer(rate), LoudnessNormalizer(rate)
    pieces = np.split(pcm, np.cumsum(sizes)[:-1]) if sizes else []
    assert whole.process(pcm) == b"".join(parts.process(piece) for piece in pieces)
    assert whole.gain_db == parts.gain_db
    if sizes:
        assert whole.flush() == parts.flush()


@pytest.mark.parametrize("kind", ["silence", "dc", "square", "click", "denormal", "none", "huge"])
def test_extreme_sounds(kind: str) -> None:
    x = {
        "silence": np.zeros(16_000),
        "dc": np.ones(16_000),
        "square": np.tile(np.repeat([1.0, -1.0], 8), 1000),
        "click": np.eye(1, 16_000, 8000)[0],
        "denormal": np.full(16_000, 1e-42),
        "none": np.where(np.arange(16_000) % 3, 0.1, np.nan),
        "huge": np.where(np.arange(16_000) % 2, np.inf, -1e30),
    }[kind]
    normalizer = LoudnessNormalizer()
    out = floats(normalizer, x)
    assert np.isfinite(out).all()
    assert abs(out).max() <= 10 ** (-0.9 / 20)
    assert (out[:26] == 0).all()
    if kind in ("silence", "denormal"):
        assert abs(out).max() <= 1e-40
        assert normalizer.gain_db == 0
    tail = floats(normalizer, syllables(8000, 20.0, -35))
    assert np.isfinite(tail).all()
    assert 5 < normalizer.gain_db < 18


def test_in_place_out_and_reset() -> None:
    x = (syllables(8000, 2.0, -35) * 32768).astype(np.int16)
    normalizer = LoudnessNormalizer()
    expected = normalizer.process(x)
    normalizer.reset()
    assert (normalizer.gain_db, normalizer.speech_dbov) == (0.0, -float("inf"))
    assert normalizer.process(x, x) is x
    assert x.tobytes() == expected


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"target_dbov is -3\.0 dBov"):
        LoudnessNormalizer(target_dbov=-3.0)
    with pytest.raises(ConfigError, match="sample_rate is 4000 Hz, not in"):
        LoudnessNormalizer(4000)
    with pytest.raises(TypeError, match="LoudnessConfig, not int"):
        LoudnessNormalizer(8000, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="format 'd'"):
        LoudnessNormalizer().process(np.zeros(3))
    with pytest.raises(ValueError, match="6 octets, 8 are needed"):
        LoudnessNormalizer().process(bytes(8), bytearray(6))
    assert LoudnessNormalizer(8000, LoudnessConfig(), target_dbov=-30.0).config.target_dbov == -30.0
