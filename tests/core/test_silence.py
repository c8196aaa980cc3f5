"""Silence detection, and the defects of the published tutorials that it must not have."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcmedia import config
from gcmedia._core.g711 import alaw_decode, ulaw_decode
from gcmedia._core.silence import SilenceDetector
from gcmedia.errors import ConfigError


def level(share: float, n_samples: int = 160) -> npt.NDArray[Any]:
    """A square wave, whose root mean square and mean magnitude are both ``share``."""
    pcm = np.full(n_samples, round(share * 32768), np.int16)
    pcm[1::2] *= -1
    return pcm


def tone(peak: float, n_samples: int = 1600) -> npt.NDArray[Any]:
    return np.round(32768 * peak * np.sin(2 * np.pi * np.arange(n_samples) / 16)).astype(np.int16)


def test_true_rms_and_mean_magnitude_by_name() -> None:
    """003-21: a tone of peak 0.015 has an RMS of 0.0106, over the threshold, and a mean magnitude of 0.0095."""
    quiet_tone = tone(0.015)
    assert not SilenceDetector().push(quiet_tone)
    assert SilenceDetector(metric="mean_abs").push(quiet_tone)


def test_the_level_is_that_of_rfc_6464() -> None:
    """003-21: the threshold of 0.01 is -40 dBov."""
    detector = SilenceDetector()
    detector.push(level(0.01))
    assert detector.level_dbov == pytest.approx(-40.0, abs=0.02)
    assert SilenceDetector(metric="mean_abs").level_dbov == -math.inf


@pytest.mark.parametrize("n_samples", [1, 2, 80, 159, 160, 161])
def test_frames_of_any_length_are_judged(n_samples: int) -> None:
    """003-22: a frame of fewer than 320 octets is judged like any other."""
    assert SilenceDetector().push(level(0.001, n_samples))
    assert not SilenceDetector().push(level(0.1, n_samples))


def test_an_empty_frame_is_silent() -> None:
    """003-22: no samples are silence, and no error."""
    detector = SilenceDetector(hangover_frames=2)
    assert detector.push(b"")
    assert not detector.push(level(0.5))
    assert detector.push(b"")
    assert detector.silent
    assert detector.level_dbov == -math.inf
    # the hangover has not been used up by it
    assert [detector.push(level(0.0)) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("octets", "decode"),
    [
        pytest.param(b"\xff" * 160, ulaw_decode, id="ulaw-zero"),
        pytest.param(b"\x7f" * 160, ulaw_decode, id="ulaw-negative-zero"),
        pytest.param(b"\xd5" * 160, alaw_decode, id="alaw-least"),
        pytest.param(b"\x55" * 160, alaw_decode, id="alaw-negative-least"),
    ],
)
def test_companded_silence_is_silent_once_decoded(octets: bytes, decode: Callable[[bytes], bytes]) -> None:
    """003-24: all four octets of companded silence are silence."""
    assert SilenceDetector().push(decode(octets))


def test_companded_speech_is_no_silence_once_decoded() -> None:
    """003-24: octets of speech are read as what they mean."""
    assert not SilenceDetector().push(ulaw_decode(bytes(range(0x90, 0xA0)) * 10))


def test_the_window_averages_by_samples() -> None:
    """003-26: a moving average over frames, each weighing as much as it is long."""
    detector = SilenceDetector(window_frames=3, threshold=0.1)
    assert not detector.push(level(0.15, 160))
    assert not detector.push(level(0.0, 160))  # rms 0.106
    assert detector.push(level(0.0, 160))  # 0.087
    assert detector.push(level(0.0, 160))  # the loud frame has left
    assert detector.push(level(0.15, 160))  # 0.087
    assert not detector.push(level(0.15, 1600))


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 40)), min_size=1, max_size=60),
    st.integers(1, 8),
    st.floats(0, 12),
    st.integers(0, 3),
    st.sampled_from(["rms", "mean_abs"]),
)
def test_verdicts_against_a_slow_reading(
    frames: list[tuple[int, int]], window: int, hysteresis_db: float, hangover: int, metric: str
) -> None:
    detector = SilenceDetector(
        threshold=0.03, window_frames=window, hysteresis_db=hysteresis_db, hangover_frames=hangover, metric=metric
    )
    power = 2 if metric == "rms" else 1
    low, high = (0.03 * 32768) ** power, (0.03 * 10 ** (hysteresis_db / 20) * 32768) ** power
    speaking, left = False, 0
    for i in range(len(frames)):
        recent = frames[max(0, i - window + 1) : i + 1]
        mean = sum(n * a**power for a, n in recent) / sum(n for _, n in recent)
        if mean >= (low if speaking else high):
            speaking, left = True, hangover
        elif speaking and left:
            left -= 1
        else:
            speaking = False
        pcm = np.full(frames[i][1], frames[i][0], np.int16)
        assert detector.push(pcm) is (not speaking)
        assert detector.silent is (not speaking)


def test_hysteresis_asks_more_of_a_silent_stream() -> None:
    detector = SilenceDetector(threshold=0.1, hysteresis_db=6.0)
    assert detector.push(level(0.15))
    assert not detector.push(level(0.21))
    assert not detector.push(level(0.11))
    assert detector.push(level(0.09))
    assert detector.push(level(0.15))


def test_calibration_sets_the_threshold_over_the_ambience() -> None:
    """003-26: the threshold follows the line's own noise."""
    noise = np.random.default_rng(7).normal(0, 600, 16_000).astype(np.int16)
    detector = SilenceDetector()
    assert not detector.push(noise)
    threshold = detector.calibrate(noise, margin_db=6.0)
    assert threshold == detector.config.threshold == pytest.approx(600 / 32768 * 10**0.3, rel=0.02)
    assert detector.push(noise)
    assert not detector.push(noise * 3)
    mean = SilenceDetector(metric="mean_abs").calibrate(noise, 0.0)
    assert mean == pytest.approx(np.mean(abs(noise.astype(float))) / 32768)


def test_calibration_stays_within_reason() -> None:
    detector = SilenceDetector(threshold=0.02)
    for ambience in (level(1 - 1e-4), np.full(160, -32768, np.int16)):
        with pytest.raises(ConfigError, match="full scale"):
            detector.calibrate(ambience)
    with pytest.raises(ConfigError, match="no samples"):
        detector.calibrate(b"")
    with pytest.raises(ConfigError, match="margin_db is -1"):
        detector.calibrate(bytes(320), -1)
    assert detector.config.threshold == 0.02
    assert detector.calibrate(level(0.6), 40.0) == 1.0
    detector.calibrate(bytes(320))
    assert detector.push(bytes(320))
    assert not detector.push(level(0.001))


def test_settings_come_from_a_config_and_keywords_override_it() -> None:
    detector = SilenceDetector(config.SilenceConfig(threshold=0.2, hangover_frames=3), threshold=0.3)
    assert detector.config == config.SilenceConfig(threshold=0.3, hangover_frames=3)
    with pytest.raises(ConfigError, match="window_frames is 65"):
        SilenceDetector(window_frames=65)
    with pytest.raises(ConfigError, match="metric is 'loudness'"):
        SilenceDetector(metric="loudness")
    with pytest.raises(TypeError, match="must be a SilenceConfig, not dict"):
        SilenceDetector({})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loudness"):
        SilenceDetector(loudness=1)  # type: ignore[call-arg]


def test_reset_forgets_the_stream_and_keeps_the_settings() -> None:
    detector = SilenceDetector(window_frames=4, hangover_frames=9)
    detector.push(level(0.5))
    detector.calibrate(level(0.05))
    detector.reset()
    assert detector.silent
    assert detector.level_dbov == -math.inf
    assert detector.push(level(0.05))
    assert detector.config.threshold > 0.05


def test_no_samples_but_int16_are_taken() -> None:
    with pytest.raises(TypeError, match="format 'f'"):
        SilenceDetector().push(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="161 octets"):
        SilenceDetector().push(bytes(161))
