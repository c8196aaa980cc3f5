"""Who is judged: each takes and gives int16 at 8 kHz as float64, with whatever delay it has."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
from material import RATE, Signal, as_int16

import gcmedia

Denoiser = Callable[[Signal], Signal]


def in_frames(process: Callable[[bytes], Any], pcm: np.ndarray, n: int) -> Signal:
    """One call a frame of n samples; what is missing of the last one is silence."""
    pcm = np.concatenate([pcm, np.zeros(-len(pcm) % n, np.int16)])
    out = b"".join(bytes(process(pcm[at : at + n].tobytes())) for at in range(0, len(pcm), n))
    return np.frombuffer(out, np.int16).astype(np.float64) / 32768


def nothing(x: Signal) -> Signal:
    return x


def gate(**settings: Any) -> Denoiser:
    def denoise(x: Signal) -> Signal:
        process = gcmedia.SpectralGate(RATE, **settings)
        return in_frames(process.process, np.concatenate([as_int16(x), np.zeros(160, np.int16)]), 160)

    return denoise


def speexdsp(x: Signal) -> Signal:
    create = importlib.import_module("speexdsp_ns").NoiseSuppression.create
    return in_frames(create(160, RATE).process, np.concatenate([as_int16(x), np.zeros(320, np.int16)]), 160)


def webrtc(x: Signal) -> Signal:
    from scipy.signal import resample_poly

    process = importlib.import_module("webrtc_noise_gain").AudioProcessor(0, 2).Process10ms
    wide = as_int16(np.concatenate([resample_poly(x, 2, 1), np.zeros(640)]))
    return np.asarray(resample_poly(in_frames(lambda frame: process(frame).audio, wide, 160), 1, 2))


def noisereduce(x: Signal) -> Signal:
    return np.asarray(importlib.import_module("noisereduce").reduce_noise(y=x, sr=RATE, stationary=True))


def ffmpeg(x: Signal) -> Signal:
    program = shutil.which("ffmpeg")
    if program is None:
        raise ImportError("ffmpeg is not on PATH")
    form = ["-f", "s16le", "-ar", str(RATE), "-ac", "1"]
    command = [program, "-loglevel", "error", *form, "-i", "-", "-af", "afftdn=nr=20:nf=-45:tn=1", *form, "-"]
    done = subprocess.run(command, input=as_int16(x).tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.int16).astype(np.float64) / 32768


DENOISERS: dict[str, Denoiser] = {
    "input": nothing,
    "gcmedia": gate(),
    "gcmedia, low delay": gate(low_delay=True),
    "speexdsp-ns": speexdsp,
    "webrtc-noise-gain": webrtc,
    "ffmpeg afftdn": ffmpeg,
    "noisereduce (not live)": noisereduce,
}


def versions() -> dict[str, str]:
    """Packages that took part."""
    found = {}
    for name in ("speexdsp-ns", "webrtc-noise-gain", "noisereduce", "pesq", "pystoi", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
