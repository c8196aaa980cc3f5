"""Gates of many streams against as many single ones, to the bit."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gcmedia
from gcmedia._core import cpu

SETS = cpu.cpu_features().available


@pytest.fixture(params=SETS)
def kernels(request: pytest.FixtureRequest) -> Any:
    cpu.select(request.param)
    yield request.param
    cpu.select(SETS[-1])


def calls(n: int, n_samples: int, seed: int = 1) -> npt.NDArray[Any]:
    """Bursts of tones over noise, each stream noisier than the one before; float of shape (n, n_samples)."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / 8000
    rows = []
    for i in range(n):
        burst = np.clip(np.sin(2 * np.pi * (1.3 + 0.2 * i) * t) * 4, 0, 1)
        tones = sum(np.sin(2 * np.pi * k * (110 + 9 * i) * t) / k for k in range(1, 12))
        rows.append(burst * tones * 0.1 + rng.standard_normal(n_samples) * 10 ** (-(80 - 3.5 * (i % 14)) / 20))
    return np.array(rows)


def as_int16(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.round(x * 32768).clip(-32768, 32767).astype(np.int16)


def one_by_one(pcm: npt.NDArray[Any], sample_rate: int = 8000, **config: Any) -> npt.NDArray[Any]:
    outs = []
    for row in pcm:
        gate = gcmedia.SpectralGate(sample_rate, **config)
        outs.append(np.frombuffer(gate.process(row) + gate.flush(), pcm.dtype))
    return np.array(outs)


def together(pcm: npt.NDArray[Any], sample_rate: int = 8000, **config: Any) -> npt.NDArray[Any]:
    bank = gcmedia.SpectralGateBank(len(pcm), sample_rate, **config)
    out = np.frombuffer(bank.process(pcm), pcm.dtype).reshape(pcm.shape)
    return np.hstack([out, np.frombuffer(bank.flush(), pcm.dtype).reshape(len(pcm), bank.delay_samples)])


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 19])
@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_a_bank_is_as_many_gates(kernels: str, n: int, kind: type) -> None:
    x = calls(n, 6000)
    pcm = as_int16(x) if kind is np.int16 else x.astype(np.float32)
    assert (together(pcm) == one_by_one(pcm)).all()


@pytest.mark.parametrize("sample_rate", [4000, 11_025, 16_000, 44_100, 96_000])
@pytest.mark.parametrize("config", [{}, {"low_delay": True}, {"reduction_db": 6.0, "floor_db": -30.0}], ids=str)
def test_at_any_rate_and_setting(kernels: str, sample_rate: int, config: dict[str, Any]) -> None:
    pcm = as_int16(calls(5, 15_000))
    assert (together(pcm, sample_rate, **config) == one_by_one(pcm, sample_rate, **config)).all()


def test_what_one_stream_has_the_others_do_not_hear(kernels: str) -> None:
    """Silence that ends at odd moments, direct current, full scale, a click, what is no number: side by side."""
    n_samples = 8000
    x = np.zeros((11, n_samples), np.float32)
    x[1] = 0.5
    x[2] = np.where(np.arange(n_samples) // 40 % 2, 1.0, -1.0)
    x[3, 4001] = 0.9
    x[4] = calls(1, n_samples)[0]
    x[4, 3000:3100] = np.nan
    x[5] = calls(1, n_samples, 2)[0]
    x[5, :2531] = 0.0
    x[5, 5000:5400] = np.inf
    x[6] = x[4] * 300
    x[7, 7000:] = 1e-40
    x[8] = np.tile([3e-4, -3e-4], n_samples // 2)
    x[9] = calls(1, n_samples, 3)[0]
    x[9, 3777:6001] = 0.0
    expected = one_by_one(x)
    assert np.isfinite(expected).all()
    assert (together(x) == expected).all()
    pcm = as_int16(np.nan_to_num(x, posinf=1.0).clip(-1, 1))
    assert (together(pcm) == one_by_one(pcm)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 5), st.integers(0, 700), st.just(160)), min_size=1, max_size=20),
    st.sampled_from([np.int16, np.float32]),
    st.sampled_from(["spectral", "sample"]),
    st.booleans(),
)
def test_any_chunking_gives_the_same(sizes: list[int], kind: type, gate_kind: str, in_place: bool) -> None:
    x = calls(10, sum(sizes))
    pcm = as_int16(x) if kind is np.int16 else x.astype(np.float32)
    bank = gcmedia.SpectralGateBank(10, kind=gate_kind)
    found = []
    for piece in np.split(pcm, np.cumsum(sizes)[:-1], axis=1):
        piece = np.array(piece, order="C")
        out = bank.process(piece, piece) if in_place else np.frombuffer(bank.process(piece), kind).reshape(piece.shape)
        found.append(np.array(out))
    found.append(np.frombuffer(bank.flush(), kind).reshape(10, bank.delay_samples))
    assert (np.hstack(found) == one_by_one(pcm, kind=gate_kind)).all()


@pytest.mark.parametrize("before", [0, 1280, 1333, 4000])
def test_a_stream_is_replaced_while_the_others_go_on(kernels: str, before: int) -> None:
    pcm, other = as_int16(calls(9, 9000)), as_int16(calls(1, 9000 - before, 5))[0]
    bank = gcmedia.SpectralGateBank(9)
    bank.process(np.ascontiguousarray(pcm[:, :before]))
    bank.reset(3)
    mixed = pcm.copy()
    mixed[3, before:] = other
    out = np.frombuffer(bank.process(np.ascontiguousarray(mixed[:, before:])), np.int16).reshape(9, -1)
    expected = one_by_one(pcm)[:, before:9000]
    fresh = gcmedia.SpectralGate()
    fresh.process(bytes(2 * (before % 144)))  # frames begin 144 samples apart
    expected[3] = np.frombuffer(fresh.process(other), np.int16)
    assert (out == expected).all()


def test_reset_and_flush_begin_anew() -> None:
    pcm = as_int16(calls(3, 2111))
    bank = gcmedia.SpectralGateBank(3)
    expected = bank.process(pcm)
    bank.reset()
    assert bank.process(pcm) == expected
    tail = bank.flush()
    assert len(tail) == 3 * 2 * bank.delay_samples
    assert bank.process(pcm) + bank.flush() == expected + tail


def test_it_tells_its_settings() -> None:
    bank = gcmedia.SpectralGateBank(12, 16_000, gcmedia.GateConfig(reduction_db=10.0), low_delay=True)
    assert len(bank) == 12
    assert bank.sample_rate == 16_000
    assert bank.delay_samples == 160
    assert bank.config == gcmedia.GateConfig(reduction_db=10.0, low_delay=True)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(gcmedia.ConfigError, match="n is 0 streams"):
        gcmedia.SpectralGateBank(0)
    with pytest.raises(gcmedia.ConfigError, match="floor_db is 1"):
        gcmedia.SpectralGateBank(2, floor_db=1.0)
    bank = gcmedia.SpectralGateBank(3)
    pcm = as_int16(calls(3, 500))
    expected = gcmedia.SpectralGateBank(3).process(pcm)
    with pytest.raises(ValueError, match="pcm has 4 rows, the bank 3 streams"):
        bank.process(np.zeros((4, 3), np.int16))
    with pytest.raises(ValueError, match="pcm has 7 samples, not as many for each of 3 streams"):
        bank.process(bytes(14))
    with pytest.raises(ValueError, match="out has 4 octets"):
        bank.process(pcm, bytearray(4))
    with pytest.raises(TypeError, match="C-contiguous"):
        bank.process(pcm[:, ::2])
    with pytest.raises(IndexError, match=r"index is 3, not in \[0, 2\]"):
        bank.reset(3)
    assert bank.process(pcm) == expected
