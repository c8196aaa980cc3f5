"""Concealment of missing samples."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia._core.conceal import Concealer
from gcmedia.errors import ConfigError
from tests.reference import concealment

METHODS = ["pitch", "repeat", "silence"]


def noise(n_samples: int, seed: int = 1, level: int = 32768) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).integers(-level, level, n_samples).astype(np.int16)


def voice(n_samples: int, pitch_hz: float = 130.0, rate: int = 8000, start: int = 0) -> npt.NDArray[Any]:
    """Harmonics that fall by 1/n, with a slow vibrato."""
    t = (np.arange(n_samples) + start) / rate
    phase = 2 * np.pi * (pitch_hz * t + 0.3 * np.sin(2 * np.pi * 3 * t))
    return np.asarray(np.sum([4000 * np.sin(k * phase + k) / k for k in range(1, 9)], axis=0), np.int16)


def fill(concealer: Concealer, n_samples: int, following: Any = None) -> npt.NDArray[Any]:
    return np.frombuffer(concealer.conceal(n_samples, following), np.int16)


def pieces(pcm: npt.NDArray[Any], sizes: list[int]) -> list[npt.NDArray[Any]]:
    return [pcm[start : start + n] for start, n in zip(np.cumsum([0, *sizes]), sizes, strict=False)]


# By pitch


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("sound", [voice, lambda n, rate: noise(n)], ids=["voice", "noise"])
@pytest.mark.parametrize("ms", [2, 10, 20, 60, 100, 130])
@pytest.mark.parametrize("known", [False, True], ids=["one-sided", "bridged"])
def test_pitch_against_a_slow_one(rate: int, sound: Any, ms: int, known: bool) -> None:
    n, before = rate // 1000 * ms, rate // 10
    pcm = sound(before + n + rate // 20, rate=rate)
    following = pcm[before + n :] if known else None
    concealer = Concealer("pitch", rate)
    concealer.push(pcm[:before])  # not yet long enough for comfort noise
    found = fill(concealer, n, following)
    expected = concealment.conceal(pcm[:before], n, rate, following).clip(-32768, 32767)
    assert abs(found - expected).max() < 1.01


@pytest.mark.parametrize("n_following", [80, 100, 159, 161])
@pytest.mark.parametrize("n", [80, 400])
def test_packets_that_are_shorter_or_longer_bridge_too(n_following: int, n: int) -> None:
    pcm = voice(800 + n + n_following)
    concealer = Concealer()
    concealer.push(pcm[:800])
    found = fill(concealer, n, pcm[800 + n :])
    assert abs(found - concealment.conceal(pcm[:800], n, 8000, pcm[800 + n :])).max() < 1.01


def test_a_steady_voice_goes_on_as_if_nothing_were_lost() -> None:
    period = 64  # samples, so that it is repeated exactly
    wave = noise(period, level=8000)
    pcm = np.tile(wave, 40)
    concealer = Concealer()
    concealer.push(pcm[:800])
    hole = fill(concealer, 40)
    assert abs(hole - pcm[800:840]).max() <= 1
    assert abs(np.frombuffer(concealer.push(pcm[840:1000]), np.int16) - pcm[840:1000]).max() <= 1


def test_turned_down_by_20_percent_per_10_ms_and_gone_at_60() -> None:
    concealer = Concealer()
    concealer.push(np.full(400, 10_000, np.int16))
    hole = fill(concealer, 800)
    assert set(hole[:80].tolist()) == {10_000}
    for ms, expected in ((20, 8000), (30, 6000), (40, 4000), (50, 2000)):
        assert hole[8 * ms] == pytest.approx(expected, abs=1)
    assert not hole[480:].any()


def test_a_bridge_meets_both_sides() -> None:
    """No jump at either end of a hole is greater than the voice's own."""
    pcm = voice(4000)
    own = abs(np.diff(pcm.astype(int))).max()
    for start in range(800, 3000, 37):
        for n in (80, 160, 480):
            concealer = Concealer()
            concealer.push(pcm[:start])
            repaired = np.concatenate([pcm[:start], fill(concealer, n, pcm[start + n :]), pcm[start + n :]])
            around = repaired[start - 2 : start + n + 2].astype(int)
            assert abs(np.diff(around)).max() <= 1.6 * own


def test_what_follows_is_handed_through_untouched_when_it_was_known() -> None:
    concealer = Concealer()
    concealer.push(voice(800))
    after = noise(160)
    concealer.conceal(160, after)
    assert concealer.push(after) == after.tobytes()


@pytest.mark.parametrize(("hole", "mixed"), [(40, 30), (80, 62), (160, 80), (800, 80)])
def test_without_that_the_fill_fades_under_it(hole: int, mixed: int) -> None:
    """3.75 ms, and 4 ms more for each 10 ms of the hole, 10 ms at most."""
    concealer = Concealer()
    concealer.push(np.full(800, 8000, np.int16))
    last = int(fill(concealer, hole)[-1])
    after = np.frombuffer(concealer.push(np.full(160, -8000, np.int16)), np.int16)
    assert set(after[mixed:].tolist()) == {-8000}
    assert all(a >= b for a, b in itertools.pairwise(after))
    if last:
        assert after[0] == pytest.approx(last, abs=600)
        assert after[mixed - 1] > -8000
    else:
        assert after[0] == pytest.approx(0, abs=600)


@pytest.mark.parametrize("level", [10, 100, 1000])
def test_long_holes_end_in_comfort_noise_of_the_background(level: int) -> None:
    rng = np.random.default_rng(4)
    background = rng.normal(0, level, 16_000)
    speech = np.zeros(16_000)
    speech[3000:9000] = voice(6000)
    speech[11_000:16_000] = voice(5000)
    concealer = Concealer()
    concealer.push((background + speech).clip(-32768, 32767).astype(np.int16))
    late = fill(concealer, 8000)[960:].astype(np.float64)
    assert 20 * np.log10(late.std() / level) == pytest.approx(0, abs=2)
    assert abs(late.mean()) < 0.05 * level
    spectrum = abs(np.fft.rfft(late[:7040].reshape(-1, 64))) ** 2
    assert np.ptp(10 * np.log10(spectrum.mean(axis=0)[1:-1])) < 6  # white


def test_no_comfort_noise_over_digital_silence_or_before_half_a_second() -> None:
    concealer = Concealer()
    concealer.push(np.concatenate([np.zeros(400), noise(8000)]).astype(np.int16))
    assert not fill(concealer, 4000)[480:].any()
    early = Concealer()
    early.push(noise(3900))
    assert not fill(early, 4000)[480:].any()


def test_the_background_is_that_of_lately() -> None:
    concealer = Concealer()
    concealer.push(noise(8000, level=4000))
    concealer.push(noise(28_000, level=40))
    assert fill(concealer, 4000)[800:].std() < 60
    concealer.push(noise(28_000, level=4000))
    assert fill(concealer, 4000)[800:].std() > 1000


def test_before_any_audio_only_what_follows_is_heard() -> None:
    concealer = Concealer()
    after = voice(160)
    hole = fill(concealer, 1600, after)
    assert not hole[: 1600 - 480].any()
    assert hole[-40:].any()


@pytest.mark.parametrize("n", [0, 1, 39, 79])
def test_too_little_of_what_follows_is_as_none(n: int) -> None:
    known, unknown = Concealer(), Concealer()
    for concealer in (known, unknown):
        concealer.push(voice(800))
    assert known.conceal(160, noise(n)) == unknown.conceal(160)
    assert known.push(noise(160)) == unknown.push(noise(160))


# Repetition


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_repeats_the_last_20_ms_and_fades_within_60(sample_rate: int) -> None:
    period, fade = sample_rate // 50, sample_rate * 3 // 50
    concealer = Concealer("repeat", sample_rate)
    pcm = noise(3 * period)
    assert concealer.push(pcm) == pcm.tobytes()
    filled = fill(concealer, 2 * fade)
    expected = np.tile(pcm[-period:], 3) * (1 - np.arange(fade) / fade)
    assert abs(filled[:fade] - expected).max() < 1
    assert not filled[fade:].any()


def test_less_than_20_ms_of_audio_repeats_as_it_is() -> None:
    concealer = Concealer("repeat")
    concealer.push(np.array([1000, -1000, 500], np.int16))
    assert fill(concealer, 6).tolist() == [1000, -997, 497, 993, -991, 494]


def test_a_new_hole_begins_at_full_level() -> None:
    concealer = Concealer("repeat")
    pcm = noise(160)
    concealer.push(pcm)
    concealer.conceal(1000)
    concealer.push(pcm[:1])
    filled = fill(concealer, 160)
    assert filled[0] == pcm[1]
    assert filled[-1] != 0


@pytest.mark.parametrize("method", ["repeat", "silence"])
def test_good_audio_is_never_altered(method: str) -> None:
    concealer = Concealer(method)
    pcm = noise(160)
    for _ in range(3):
        assert concealer.push(pcm) == pcm.tobytes()
        concealer.conceal(77)


# All of them


@pytest.mark.parametrize("method", METHODS)
def test_before_any_audio_the_fill_is_silence(method: str) -> None:
    assert Concealer(method).conceal(320) == bytes(640)


@given(
    st.sampled_from(METHODS),
    st.lists(st.integers(0, 400), max_size=8),
    st.lists(st.integers(0, 300), max_size=4),
    st.lists(st.integers(0, 1500), max_size=6),
)
def test_any_chunking_gives_the_same(method: str, fills: list[int], goods: list[int], befores: list[int]) -> None:
    before, after = noise(sum(befores), level=500), noise(sum(goods), 2)
    whole, parts = Concealer(method), Concealer(method)
    for _ in range(2):
        assert whole.push(before) == b"".join(parts.push(piece) for piece in pieces(before, befores))
        assert whole.conceal(sum(fills)) == b"".join(parts.conceal(n) for n in fills)
        assert whole.push(after) == b"".join(parts.push(piece) for piece in pieces(after, goods))
        assert whole.conceal(70) == parts.conceal(70)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros(1600),
        np.full(1600, 32767),
        np.full(1600, -32768),
        np.tile([32767, -32768], 800),
        np.repeat(np.tile([32767, -32768], 20), 40),
        np.eye(1, 1600, 1599)[0] * 32767,
        np.eye(1, 1600, 3)[0] * -32768,
        np.tile([1, 0, -1, 0], 400),
    ],
    ids=["silence", "dc", "dc-", "nyquist", "square", "click", "old-click", "one-step"],
)
def test_extreme_sounds_stay_within_their_own_bounds(method: str, pcm: Any) -> None:
    """No repetition is louder than what it repeats, however the hole ends."""
    concealer = Concealer(method)
    peak = abs(pcm).max()
    for following in (None, pcm[:160].astype(np.int16), np.zeros(160, np.int16)):
        concealer.push(pcm.astype(np.int16))
        hole = fill(concealer, 2000, following)
        assert abs(hole.astype(int)).max() <= min(2 * peak, 32768)
        if pcm[-480:].any() == 0 and (following is None or not following.any()):
            assert not hole.any()


def test_silence_is_zeros_whatever_came() -> None:
    concealer = Concealer("silence")
    concealer.push(noise(160))
    assert concealer.conceal(160, noise(160)) == bytes(320)


@pytest.mark.parametrize("method", METHODS)
def test_reset_forgets_the_audio(method: str) -> None:
    concealer, fresh = Concealer(method), Concealer(method)
    concealer.push(noise(8000))
    concealer.conceal(1000)
    concealer.reset()
    assert concealer.conceal(160) == bytes(320)
    for either in (concealer, fresh):
        either.push(noise(5000, level=50))
    assert concealer.conceal(3000) == fresh.conceal(3000)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="'magic', not one of pitch, repeat, silence"):
        Concealer("magic")
    with pytest.raises(ConfigError, match="sample_rate is 999 Hz"):
        Concealer(sample_rate=999)
    with pytest.raises(ValueError, match="n_samples is -1"):
        Concealer().conceal(-1)
    with pytest.raises(TypeError, match="int16"):
        Concealer().push([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="following has 3 octets"):
        Concealer().conceal(10, b"abc")
