"""Concealment of missing samples."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia._core.conceal import Concealer
from gcmedia.errors import ConfigError


def noise(n_samples: int, seed: int = 1) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).integers(-32768, 32768, n_samples).astype(np.int16)


def fill(concealer: Concealer, n_samples: int) -> npt.NDArray[Any]:
    return np.frombuffer(concealer.conceal(n_samples), np.int16)


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


def test_good_audio_is_never_altered() -> None:
    concealer = Concealer()
    pcm = noise(160)
    for _ in range(3):
        assert concealer.push(pcm) == pcm.tobytes()
        concealer.conceal(77)


def test_before_any_audio_the_fill_is_silence() -> None:
    assert Concealer().conceal(320) == bytes(640)


def test_less_than_20_ms_of_audio_repeats_as_it_is() -> None:
    concealer = Concealer()
    concealer.push(np.array([1000, -1000, 500], np.int16))
    assert fill(concealer, 6).tolist() == [1000, -997, 497, 993, -991, 494]


def test_a_new_hole_begins_at_full_level() -> None:
    concealer = Concealer()
    pcm = noise(160)
    concealer.push(pcm)
    concealer.conceal(1000)
    concealer.push(pcm[:1])
    filled = fill(concealer, 160)
    assert filled[0] == pcm[1]
    assert filled[-1] != 0


@given(st.lists(st.integers(0, 400), max_size=8), st.lists(st.integers(0, 300), max_size=4), st.integers(0, 500))
def test_any_chunking_gives_the_same(fills: list[int], goods: list[int], n_before: int) -> None:
    before = noise(n_before)
    after = noise(sum(goods), 2)
    whole, parts = Concealer(), Concealer()
    whole.push(before)
    whole.push(after)
    parts.push(before)
    for start, n in zip(np.cumsum([0, *goods]), goods, strict=False):
        parts.push(after[start : start + n])
    assert whole.conceal(sum(fills)) == b"".join(parts.conceal(n) for n in fills)


def test_silence_is_zeros_whatever_came() -> None:
    concealer = Concealer("silence")
    concealer.push(noise(160))
    assert concealer.conceal(160) == bytes(320)


def test_reset_forgets_the_audio() -> None:
    concealer = Concealer()
    concealer.push(noise(160))
    concealer.reset()
    assert concealer.conceal(160) == bytes(320)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="'magic', not one of repeat, silence"):
        Concealer("magic")
    with pytest.raises(ConfigError, match="sample_rate is 999 Hz"):
        Concealer(sample_rate=999)
    with pytest.raises(ValueError, match="n_samples is -1"):
        Concealer().conceal(-1)
    with pytest.raises(TypeError, match="int16"):
        Concealer().push([1, 2])  # type: ignore[arg-type]
