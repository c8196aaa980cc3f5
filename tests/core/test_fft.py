"""The real Fourier transform against numpy's in double precision."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gcmedia._core.fft import RealFFT
from gcmedia.errors import ConfigError

SIZES = [
    2, 4, 6, 8, 10, 12, 20, 30, 32, 60, 64, 160, 162, 240, 250, 256, 320, 480, 512, 640, 960, 1024, 1280, 1800,
    1920, 2048, 3840, 4096,
]  # fmt: skip


def relative_error(found: npt.NDArray[Any], expected: np.ndarray) -> float:
    return float(np.sqrt(np.sum(abs(found - expected) ** 2) / np.sum(abs(expected) ** 2)))


@pytest.mark.parametrize("size", SIZES)
def test_forward_and_inverse(size: int) -> None:
    plan = RealFFT(size)
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    spectrum = np.frombuffer(plan.forward(x), np.complex64)
    assert relative_error(spectrum, np.fft.rfft(x.astype(np.float64))) < 3e-7
    assert relative_error(np.frombuffer(plan.inverse(spectrum), np.float32), x) < 3e-7


@pytest.mark.parametrize("size", [160, 240, 320])
def test_every_impulse(size: int) -> None:
    plan = RealFFT(size)
    for n in range(size):
        x = np.zeros(size, np.float32)
        x[n] = 1.0
        spectrum = np.frombuffer(plan.forward(x), np.complex64)
        assert relative_error(spectrum, np.fft.rfft(x.astype(np.float64))) < 3e-7


def test_one_plan_serves_many_threads() -> None:
    plan = RealFFT(320)
    x = np.random.default_rng(1).standard_normal(320).astype(np.float32)
    expected = plan.forward(x)
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(i for i in range(300) if plan.forward(x) != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("size", [-2, 0, 1, 3, 14, 161, 322, 4098, 8192])
def test_sizes_without_a_plan_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"size is {size}"):
        RealFFT(size)


def test_inputs_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="x has 12 octets, 16 are needed"):
        RealFFT(4).forward(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="spectrum has 16 octets, 24 are needed"):
        RealFFT(4).inverse(bytes(16))
