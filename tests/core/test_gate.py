"""The noise gates: reconstruction, streaming, noise, tones and odd inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcmedia._core import cpu
from gcmedia._core.gate import SpectralGate
from gcmedia.config import GateConfig
from gcmedia.errors import ConfigError

Noise = Callable[[int, float], npt.NDArray[Any]]

RATES = [8000, 11025, 16000, 44100, 48000]


def power_db(x: npt.NDArray[Any]) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-20))


def white(n_samples: int, level_db: float, seed: int = 1) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(n_samples) * 10 ** (level_db / 20)


def pink(n_samples: int, level_db: float, seed: int = 1) -> npt.NDArray[Any]:
    spectrum = np.fft.rfft(white(n_samples, 0, seed))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(n_samples, 1 / 8000), 50.0))
    x = np.fft.irfft(spectrum, n_samples)
    return np.asarray(x / np.sqrt(np.mean(x * x)) * 10 ** (level_db / 20))


def voice(seconds: float, level_db: float) -> npt.NDArray[Any]:
    """Something like speech: gliding harmonics in syllables of 0.2 s, two formants, pauses of 0.15 s."""
    t = np.arange(int(8000 * seconds)) / 8000
    pitch = 130 + 30 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / 8000
    x = np.zeros(len(t))
    for k in range(1, 24):
        f = k * pitch
        x += np.sin(k * phase) * (np.exp(-(((f - 600) / 300) ** 2)) + 0.4 * np.exp(-(((f - 1900) / 500) ** 2)))
    x *= np.clip(np.sin(np.pi * np.clip((t % 0.35) / 0.2, 0, 1)) * 3, 0, 1)
    spoken = (t % 0.35) < 0.2
    return np.asarray(x / np.sqrt(np.mean(x[spoken] ** 2)) * 10 ** (level_db / 20))


def gated(x: npt.NDArray[Any], **settings: Any) -> np.ndarray:
    """The whole of ``x`` through a gate at 8 kHz, aligned with it."""
    gate = SpectralGate(8000, **settings)
    out = gate.process(x.astype(np.float32)) + gate.flush()
    return np.frombuffer(out, np.float32)[gate.delay_samples :].astype(np.float64)


def as_int16(x: npt.NDArray[Any]) -> np.ndarray:
    return np.round(x * 32768).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize("sample_rate", RATES)
def test_without_reduction_the_input_comes_back_to_the_bit(sample_rate: int) -> None:
    gate = SpectralGate(sample_rate, reduction_db=0.0)
    pcm = np.random.default_rng(3).integers(-32768, 32768, 20_003).astype(np.int16)
    out = np.frombuffer(gate.process(pcm) + gate.flush(), np.int16)
    assert gate.delay_samples == 2 * round(sample_rate / 100 + 1e-9)
    assert not out[: gate.delay_samples].any()
    assert (out[gate.delay_samples :] == pcm).all()


def test_without_reduction_float32_comes_back_to_rounding() -> None:
    x = white(20_003, -12)
    assert abs(gated(x, reduction_db=0.0) - x).max() < 5e-7


def test_the_delay_is_160_samples_at_8_khz() -> None:
    click = np.zeros(4000, np.float32)
    click[2001] = 0.9
    gate = SpectralGate()
    out = np.frombuffer(gate.process(click), np.float32)
    assert gate.delay_samples == 160
    assert int(np.argmax(abs(out))) == 2001 + 160


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 5), st.integers(0, 1100), st.just(160)), max_size=20),
    st.sampled_from([np.int16, np.float32]),
    st.sampled_from(["spectral", "sample"]),
    st.booleans(),
)
def test_any_chunking_gives_the_same(sizes: list[int], kind: type, gate_kind: str, in_place: bool) -> None:
    x = voice(sum(sizes) / 8000 + 0.01, -20)[: sum(sizes)] + white(sum(sizes), -45)
    pcm = as_int16(x) if kind is np.int16 else x.astype(np.float32)
    whole, parts = SpectralGate(kind=gate_kind), SpectralGate(kind=gate_kind)
    expected = whole.process(pcm) + (whole.flush() if sizes else b"")
    found = b""
    for piece in np.split(pcm, np.cumsum(sizes)[:-1]) if sizes else []:
        piece = piece.copy()
        found += bytes(parts.process(piece, piece)) if in_place else parts.process(piece)
    assert found + (parts.flush() if sizes else b"") == expected


@pytest.mark.parametrize("level_db", [-30, -45, -60, -75])
@pytest.mark.parametrize("noise", [white, pink])
def test_steady_noise_is_turned_down_within_half_a_second(noise: Noise, level_db: float) -> None:
    x = noise(24_000, level_db)
    out = gated(x)
    first, later = slice(2000, 4000), slice(4000, None)
    assert power_db(x[later]) - power_db(out[later]) > 14
    assert power_db(x[first]) - power_db(out[first]) > 12
    assert power_db(x[later]) - power_db(out[later]) < 20.5


@pytest.mark.parametrize("reduction_db", [6.0, 12.0, 30.0])
def test_no_more_is_taken_than_asked_for(reduction_db: float) -> None:
    x = white(24_000, -50)
    out = gated(x, reduction_db=reduction_db)
    taken = power_db(x[8000:]) - power_db(out[8000:])
    assert 0.5 * reduction_db < taken < reduction_db + 0.1


@pytest.mark.parametrize("noise", [white, pink])
@pytest.mark.parametrize("snr_db", [5, 10])
def test_speech_in_noise(noise: Noise, snr_db: float) -> None:
    """Pauses lose at least 12 dB, speech little; speech stands out more than before."""
    speech = voice(8.0, -24)
    noisy = speech + noise(len(speech), -24 - snr_db)
    out = gated(noisy)
    t = np.arange(len(speech)) / 8000
    pause = (t > 1) & (t % 0.35 > 0.27)
    spoken = (t > 1) & (t % 0.35 > 0.05) & (t % 0.35 < 0.15)
    assert power_db(noisy[pause]) - power_db(out[pause]) > 12
    assert abs(power_db(out[spoken]) - power_db(speech[spoken])) < 20 / snr_db
    before = power_db(speech[t > 1]) - power_db((noisy - speech)[t > 1])
    scale = np.dot(speech[t > 1], out[t > 1]) / np.dot(speech[t > 1], speech[t > 1])
    after = power_db(scale * speech[t > 1]) - power_db((out - scale * speech)[t > 1])
    assert after > before + 3


def test_speech_without_noise_passes() -> None:
    """On a quiet line, heard for half a second before."""
    speech = np.concatenate([np.zeros(4000), voice(5.0, -24)])
    out = gated(speech + white(len(speech), -70))
    assert power_db(out[8000:]) == pytest.approx(power_db(speech[8000:]), abs=0.5)
    assert power_db(speech[8000:]) - power_db((out - speech)[8000:]) > 18


def test_onsets_are_kept() -> None:
    x = white(40_000, -55)
    burst = voice(0.4, -24)
    for start in range(8000, 36_000, 7000):
        x[start : start + len(burst)] += burst
    out = gated(x)
    for start in range(8000, 36_000, 7000):
        onset = slice(start + 80, start + 480)
        assert power_db(out[onset]) - power_db(x[onset]) > -1.5


@pytest.mark.parametrize("frequency", [350.0, 440.0, 1004.3, 3000.0])
def test_what_is_louder_than_the_floor_is_no_noise(frequency: float) -> None:
    """A steady tone, however long, passes: no noise is louder than 20 dB over the floor."""
    x = 0.3 * np.sin(2 * np.pi * frequency * np.arange(48_000) / 8000) + white(48_000, -70)
    out = gated(x)
    for start in range(800, 47_200, 4000):
        part = slice(start, start + 4000)
        assert power_db(out[part]) - power_db(x[part]) > -1.5


def test_the_floor_is_where_tones_become_noise() -> None:
    tone = 10 ** (-25 / 20) * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 8000)
    assert power_db(gated(tone, floor_db=-60)[16_000:]) - power_db(tone[16_000:]) > -1.5
    assert power_db(gated(tone, floor_db=-40)[16_000:]) - power_db(tone[16_000:]) < -15


@pytest.mark.parametrize("offset", [0.001, 0.01, 0.1])  # the last is far louder than noise can be
def test_dc_is_noise_however_loud(offset: float) -> None:
    t = np.arange(3 * 8000) / 8000
    for tone in (0.0, 0.25):
        out = gated(offset + tone * np.sin(2 * np.pi * 800 * t))
        assert out[16_000:].mean() == pytest.approx(0.1 * offset, rel=0.1, abs=1e-4)  # 20 dB down


def test_a_rise_of_the_noise_is_followed() -> None:
    x = np.concatenate([white(24_000, -65), white(40_000, -35, 2)])
    out = gated(x)
    assert power_db(x[48_000:]) - power_db(out[48_000:]) > 14


def test_a_pause_in_the_sending_does_not_unlearn_the_noise() -> None:
    x = white(40_000, -40)
    x[12_000:24_000] = 0.0
    out = gated(x)
    after = slice(24_400, 28_000)
    assert power_db(x[after]) - power_db(out[after]) > 13


@pytest.mark.parametrize(("on_s", "off_s"), [(0.1, 0.1), (0.2, 0.1), (0.6, 0.4)])
@pytest.mark.parametrize("level_db", [-15, -26])
def test_digits_in_digital_silence_are_no_noise(on_s: float, off_s: float, level_db: float) -> None:
    """DTMF "4" and nothing else on the line; of the first one there is nothing to tell it from noise."""
    t = np.arange(40_000) / 8000
    digits = np.sin(2 * np.pi * 770 * t) + np.sin(2 * np.pi * 1209 * t)
    digits *= ((t % (on_s + off_s)) < on_s) * 10 ** (level_db / 20)
    out = gated(digits)
    late = slice(16_000, 40_000)
    assert abs(power_db(digits[late]) - power_db(out[late])) < 1.0


def test_speech_in_digital_silence_passes() -> None:
    x = voice(8.0, -30) * (np.arange(64_000) / 8000 % 1.0 < 0.5)
    out = gated(x)
    error = out[16_000:] - x[16_000:]
    assert power_db(x[16_000:]) - power_db(error) > 20


def test_noise_of_a_second_is_remembered_over_gaps() -> None:
    """Silence suppression: the line's noise comes and goes with the speech."""
    t = np.arange(80_000) / 8000
    sent = t % 2 < 1.5
    x = white(80_000, -45) * sent
    out = gated(x)
    for start in range(16_000, 80_000, 16_000):
        later = slice(start + 400, start + 11_600)
        assert power_db(x[later]) - power_db(out[later]) > 14


def test_noise_after_a_beep_and_a_gap_is_learned() -> None:
    t = np.arange(48_000) / 8000
    x = white(48_000, -45) * (t >= 1.0)
    x[2400:4800] = 0.1 * np.sin(2 * np.pi * 1000 * t[2400:4800])
    out = gated(x)
    assert power_db(x[32_000:]) - power_db(out[32_000:]) > 12


def test_no_musical_noise() -> None:
    """What is left of noise is as even as the noise was: no bins that flicker far above the rest."""
    out = gated(white(80_000, -45))[16_000:]
    frames = np.lib.stride_tricks.sliding_window_view(out, 256)[::128] * np.hanning(256)
    power = abs(np.fft.rfft(frames, axis=1)[:, 4:-4]) ** 2
    # The power of Gaussian noise in a bin is exponentially distributed: 1 in 22,000 is over 10 times the mean.
    assert (power > 40 * power.mean(axis=0)).mean() < 2e-4


@pytest.mark.parametrize(
    "pcm",
    [
        pytest.param(np.zeros(8000, np.int16), id="silence"),
        pytest.param(np.full(8000, 12_345, np.int16), id="dc"),
        pytest.param(np.full(8000, -32768, np.int16), id="lowest"),
        pytest.param(np.where(np.arange(8000) // 40 % 2, 32767, -32768).astype(np.int16), id="full-scale-square"),
        pytest.param(np.eye(1, 8000, 4001, dtype=np.int16)[0] * 32767, id="click"),
        pytest.param(np.tile(np.array([8, -8], np.int16), 4000), id="least-alaw"),
        pytest.param(np.random.default_rng(1).integers(-32768, 32768, 8000).astype(np.int16), id="full-scale-noise"),
    ],
)
@pytest.mark.parametrize("kind", ["spectral", "sample"])
def test_odd_inputs_stay_sane(pcm: npt.NDArray[Any], kind: str) -> None:
    gate = SpectralGate(kind=kind)
    whole = np.frombuffer(gate.process(pcm) + gate.flush(), np.int16)
    x = pcm.astype(np.float32) / 32768
    exact = np.frombuffer(gate.process(x) + gate.flush(), np.float32)
    assert np.isfinite(exact).all()
    assert abs(exact).max() <= 1.3 * abs(x).max()
    assert abs(whole - (exact.astype(np.float64) * 32768).clip(-32768, 32767)).max() <= 0.51


def test_digital_silence_stays_digital_silence() -> None:
    gate = SpectralGate()
    assert gate.process(bytes(3200)) + gate.flush() == bytes(3520)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38, 1e-40, -1e-44])
@pytest.mark.parametrize("kind", ["spectral", "sample"])
def test_no_float_spoils_the_state(poison: float, kind: str) -> None:
    x = white(40_000, -30).astype(np.float32)
    x[4000:4100] = poison
    gate = SpectralGate(kind=kind)
    out = np.frombuffer(gate.process(x), np.float32)
    assert np.isfinite(out).all()
    assert abs(out[36_000:]).max() < 1.0


def test_sample_gate_is_the_literal_one() -> None:
    """004-29: floor -45 dB, samples under it times 0.1."""
    gate = SpectralGate(8000, GateConfig(kind="sample"))
    assert gate.delay_samples == 0
    floor = 32768 * 10 ** (-45 / 20)
    pcm = np.arange(-400, 400).astype(np.int16)
    expected = np.where(abs(pcm) < floor, np.round(pcm * 0.1), pcm)
    assert (np.frombuffer(gate.process(pcm), np.int16) == expected).all()
    assert gate.flush() == b""


def test_sample_gate_cuts_a_tone_where_the_spectral_gate_keeps_it() -> None:
    """004-29: of a tone at -40 dBFS, 37.5 % of the samples are cut by the per-sample gate."""
    pcm = np.round(327.68 * np.sin(2 * np.pi * 1003 * np.arange(16_000) / 8000)).astype(np.int16)
    literal = np.frombuffer(SpectralGate(kind="sample").process(pcm), np.int16)
    assert np.mean((literal != pcm)[pcm != 0]) == pytest.approx(0.375, abs=0.01)


SETTINGS: list[dict[str, Any]] = [{}, {"low_delay": True}, {"reduction_db": 6.0}, {"floor_db": -30.0}]


@pytest.mark.parametrize("sample_rate", [4000, *RATES, 24_000, 96_000])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_set_of_kernels_gives_the_same_bits(sample_rate: int, settings: dict[str, Any]) -> None:
    x = np.concatenate([np.zeros(777), voice(1.5, -20) + white(12_000, -40), np.full(500, 0.7)])
    before, outs = cpu.cpu_features(), []
    for name in before.available:
        cpu.select(name)
        whole, exact = SpectralGate(sample_rate, **settings), SpectralGate(sample_rate, **settings)
        outs.append((whole.process(as_int16(x)) + whole.flush(), exact.process(x.astype(np.float32)) + exact.flush()))
    cpu.select(before.kernels)
    assert all(out == outs[0] for out in outs)


@pytest.mark.parametrize("sample_rate", RATES)
def test_a_low_delay_is_10_ms_and_as_exact(sample_rate: int) -> None:
    gate = SpectralGate(sample_rate, reduction_db=0.0, low_delay=True)
    pcm = np.random.default_rng(3).integers(-32768, 32768, 20_003).astype(np.int16)
    out = np.frombuffer(gate.process(pcm) + gate.flush(), np.int16)
    assert 0.0095 * sample_rate < gate.delay_samples <= 0.01 * sample_rate
    assert not out[: gate.delay_samples].any()
    assert (out[gate.delay_samples :] == pcm).all()


def test_a_low_delay_takes_noise_out_too() -> None:
    speech = voice(4.0, -24)
    noisy = speech + white(len(speech), -40)
    out = gated(noisy, low_delay=True)
    t = np.arange(len(speech)) / 8000
    pause = (t > 1) & (t % 0.35 > 0.27)
    spoken = (t > 1) & (t % 0.35 > 0.05) & (t % 0.35 < 0.15)
    assert power_db(noisy[pause]) - power_db(out[pause]) > 10
    assert abs(power_db(out[spoken]) - power_db(speech[spoken])) < 2


@pytest.mark.parametrize("kind", ["spectral", "sample"])
def test_a_copy_goes_on_alike_and_by_itself(kind: str) -> None:
    x = voice(2.0, -20) + white(16_000, -40)
    pcm = as_int16(x)
    gate = SpectralGate(kind=kind)
    gate.process(pcm[:7001])
    other = gate.copy()
    expected = gate.process(pcm[7001:]) + gate.flush()
    assert gate.process(pcm) == SpectralGate(kind=kind).process(pcm)
    assert other.config == gate.config
    assert other.process(pcm[7001:]) + other.flush() == expected


def test_a_step_of_15_db_is_followed_within_a_second_and_a_half() -> None:
    x = np.concatenate([white(24_000, -60), white(40_000, -45, 2)])
    out = gated(x)
    after = slice(24_000 + 12_000, 24_000 + 16_000)
    assert power_db(x[after]) - power_db(out[after]) > 12


def test_reset_and_flush_begin_anew() -> None:
    pcm = as_int16(voice(1.0, -20) + white(8000, -40))
    gate = SpectralGate()
    expected = gate.process(pcm)
    gate.reset()
    assert gate.process(pcm) == expected
    tail = gate.flush()
    assert len(tail) == 320
    assert gate.process(pcm) + gate.flush() == expected + tail


def test_flush_speaks_the_type_of_the_stream() -> None:
    gate = SpectralGate()
    assert len(gate.flush()) == 160 * 2
    gate.process(np.zeros(3, np.float32))
    assert len(gate.flush()) == 160 * 4


def test_any_buffer_and_out() -> None:
    pcm = as_int16(white(333, -10))
    expected = SpectralGate().process(pcm)
    for form in (pcm.tobytes(), bytearray(pcm.tobytes()), pcm.data, memoryview(b"\0" + pcm.tobytes())[1:]):
        assert SpectralGate().process(form) == expected
    out = np.empty(333, np.int16)
    assert SpectralGate().process(pcm, out) is out
    assert out.tobytes() == expected
    assert SpectralGate().process(b"") == b""


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="floor_db is -61"):
        SpectralGate(floor_db=-61)
    with pytest.raises(ConfigError, match="kind is 'magic'"):
        SpectralGate(kind="magic")
    with pytest.raises(ConfigError, match="sample_rate is 1 Hz"):
        SpectralGate(1)
    with pytest.raises(TypeError, match="GateConfig, not int"):
        SpectralGate(8000, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="format 'd'"):
        SpectralGate().process(np.zeros(4))
    with pytest.raises(ValueError, match="161 octets"):
        SpectralGate().process(bytes(161))
    with pytest.raises(ValueError, match="4 octets, 8 are needed"):
        SpectralGate().process(bytes(8), bytearray(4))
