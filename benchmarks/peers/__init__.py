"""Who we are compared with.  Each peer is optional: what is not on the machine is listed as absent."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import warnings
from importlib import metadata
from typing import Any, NoReturn

#: Module to distribution; the standard library has audioop up to 3.12, audioop-lts from 3.13.
MODULES = {
    "numpy": "numpy",
    "audioop": "audioop-lts",
    "av": "av",
    "aiortc": "aiortc",
    "webrtcvad": "webrtcvad-wheels",
    "soxr": "soxr",
    "speexdsp_ns": "speexdsp-ns",
    "webrtc_noise_gain": "webrtc-noise-gain",
}
PROGRAMS = {"node": "node", "gstreamer": "gst-launch-1.0"}


def skip(reason: str) -> NoReturn:
    """End the benchmark, its peer being absent."""
    import pytest  # here, so that what is run under valgrind does without it

    pytest.skip(reason)


def load(module: str) -> Any:
    """Import a peer, or skip the benchmark."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return importlib.import_module(module)
        except ImportError as problem:
            skip(f"{module} is absent: {problem}")


def program(peer: str) -> str:
    """Path of a peer's program, or skip the benchmark."""
    path = shutil.which(PROGRAMS[peer])
    if path is None:
        skip(f"{peer} is absent: no {PROGRAMS[peer]} on PATH")
    return path


def version_of(peer: str) -> str | None:
    """What is installed, None for nothing."""
    if peer in PROGRAMS:
        path = shutil.which(PROGRAMS[peer])
        if path is None:
            return None
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        return told.stdout.splitlines()[0].split()[-1].removeprefix("v")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            importlib.import_module(peer)
    except ImportError:
        return None
    try:
        return metadata.version(MODULES[peer])
    except metadata.PackageNotFoundError:
        return "standard library"


def versions() -> dict[str, str | None]:
    """Version of every peer, None for the absent ones."""
    return {peer: version_of(peer) for peer in (*MODULES, *PROGRAMS)}


class ReportedClock:
    """A clock that stands still but for the times that a peer reports of itself."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


REPORTED = ReportedClock()
