"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import gcmedia

from . import canary


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test another copy of gcmedia than the one that was meant."""
    expected = os.environ.get("GCMEDIA_EXPECT")
    found = Path(gcmedia.__file__).resolve()
    if expected and not found.is_relative_to(Path(expected).resolve()):
        raise pytest.UsageError(f"gcmedia was imported from {found.parent}, not from under {expected}")
    canary.install(config)
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as in the background of a script: commands under test inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run the test on each async backend."""
    backend: str = request.param
    return backend
