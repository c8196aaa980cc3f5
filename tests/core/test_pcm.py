"""Linear samples: byte order, channels, levels."""

import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia._core.pcm import (
    extract_channel,
    interleave,
    l16_decode,
    l16_encode,
    level_dbov,
    mean_abs,
    peak,
    rms,
)
from gcmedia.errors import ConfigError, FormatError

pcm_lists = st.lists(st.integers(-32768, 32767), max_size=200)


@given(pcm_lists)
def test_l16_is_big_endian_unless_asked(values: list[int]) -> None:
    pcm = np.array(values, np.int16)
    assert l16_encode(pcm) == pcm.astype(">i2").tobytes()
    assert l16_encode(pcm, "little") == pcm.astype("<i2").tobytes()
    for byteorder in ("big", "little"):
        assert l16_decode(l16_encode(pcm, byteorder), byteorder) == pcm.tobytes()


def test_l16_at_any_address_and_into_out() -> None:
    odd = memoryview(b"\0\x12\x34\xff\xfe")[1:]
    out = np.zeros(2, np.int16)
    assert l16_decode(odd, out=out) is out
    assert out.tolist() == [0x1234, -2]
    octets = bytearray(4)
    assert l16_encode(out, "little", octets) is octets
    assert octets == b"\x34\x12\xfe\xff"


def test_l16_refuses_half_a_sample_and_unknown_orders() -> None:
    with pytest.raises(FormatError, match="3 octets"):
        l16_decode(b"abc")
    with pytest.raises(ConfigError, match="'network', not one of big, little"):
        l16_decode(b"ab", "network")


@given(st.integers(1, 5), st.integers(0, 50), st.randoms(use_true_random=False))
def test_channels_come_apart_as_they_went_together(n_channels: int, n_samples: int, random: Random) -> None:
    channels = [
        np.array([random.randint(-32768, 32767) for _ in range(n_samples)], np.int16) for _ in range(n_channels)
    ]
    woven = interleave(*channels)
    assert woven == np.stack(channels, axis=1).tobytes()
    for i, channel in enumerate(channels):
        assert extract_channel(woven, n_channels, i) == channel.tobytes()
        out = np.empty(n_samples, np.int16)
        assert extract_channel(woven, n_channels, i, out) is out
        assert out.tobytes() == channel.tobytes()


def test_channels_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"channel is 2, not in \[0, 1\]"):
        extract_channel(bytes(8), 2, 2)
    with pytest.raises(ConfigError, match="n_channels is 0"):
        extract_channel(bytes(8), 0, 0)
    with pytest.raises(FormatError, match=r"3 samples.*2 channels"):
        extract_channel(bytes(6), 2, 0)
    with pytest.raises(FormatError, match="channel 1 has 1 samples, channel 0 has 2"):
        interleave(bytes(4), bytes(2))
    with pytest.raises(FormatError, match="no channel"):
        interleave()


@given(pcm_lists.filter(bool))
def test_levels_are_shares_of_full_scale(values: list[int]) -> None:
    pcm = np.array(values, np.int16)
    x = pcm.astype(np.float64) / 32768
    assert rms(pcm) == pytest.approx(math.sqrt(np.mean(x * x)), rel=1e-12)
    assert mean_abs(pcm) == pytest.approx(np.mean(abs(x)), rel=1e-12)
    assert peak(pcm) == np.max(abs(x))


def test_levels_at_the_ends() -> None:
    lowest = np.full(100_001, -32768, np.int16)
    assert rms(lowest) == mean_abs(lowest) == peak(lowest) == 1.0
    assert level_dbov(lowest) == 0.0
    assert rms(b"") == mean_abs(b"") == peak(b"") == 0.0
    assert level_dbov(b"") == level_dbov(bytes(320)) == -math.inf
    sine = np.round(32767 * np.sin(2 * np.pi * np.arange(8000) / 80)).astype(np.int16)
    assert level_dbov(sine) == pytest.approx(-3.01, abs=0.005)


@pytest.mark.parametrize("measure", [rms, mean_abs, peak, level_dbov])
def test_levels_want_int16(measure: Callable[[Any], float]) -> None:
    with pytest.raises(TypeError, match="int16"):
        measure(np.zeros(4))
    with pytest.raises(ValueError, match="3 octets"):
        measure(b"abc")
