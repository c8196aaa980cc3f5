"""Speech and noise at 8 kHz: made anew from seeds, so the same in every run.

Speech is espeak-ng's, in several voices, and the prompts of Debian's asterisk-core-sounds-en-wav, which a person has
spoken.  Noise is synthesised: white, pink, babble (other voices, all at once), hum (mains and its harmonics),
music-like (chords with decay), street-like (rumble, passing cars, a horn far off), and stepped (white, 15 dB up in the
middle).

``EASY_NOISES`` are four that take less from speech: pink goes on under 20 Hz, where nobody speaks, and hum is but five
harmonics and little beside them.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import wave
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float64]

RATE = 8000
LEVEL_DB = -26.0  # of active speech, relative to full scale
LEAD = RATE // 2  # samples before the first word
EASY_LEAD = 3 * RATE // 2
PROMPTS = Path(os.environ.get("GCMEDIA_PROMPTS", "/usr/share/asterisk/sounds/en_US_f_Allison"))

SENTENCES = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well. These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls. The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us. A large size in stockings is hard to sell.",
    "The boy was there when the sun rose. A rod is used to catch pink salmon.",
    "My account number is four seven one, nine, double two. Could you check the last invoice, please?",
    "Hello, thanks for calling. Your engineer will be with you on Thursday between eight and twelve.",
)
VOICES = (
    ("en-gb", 165, 42), ("en-us+f3", 170, 55), ("en-us+m3", 180, 38), ("en-gb+f4", 160, 60),
    ("en-us+m7", 150, 30), ("en-gb-scotland+f2", 175, 50), ("de+f3", 165, 52), ("es+m4", 175, 45),
)  # fmt: skip
BABBLE = (("en-us+m1", 150, 35), ("en-gb+f1", 165, 58), ("fr+f3", 170, 55), ("en-us+m5", 185, 45), ("it+m2", 160, 40),
          ("en-gb+f5", 175, 65))  # fmt: skip
PROMPT_NAMES = (
    ("vm-intro", "demo-thanks"), ("conf-onlyperson", "tt-weasels"), ("queue-thankyou", "vm-options"),
    ("demo-congrats",), ("privacy-prompt", "auth-thankyou"), ("tt-allbusy", "invalid"),
)  # fmt: skip


def resample(x: Signal, rate: int) -> Signal:
    """To 8 kHz, by the spectrum of the whole; what is over 3.8 kHz goes, as on a line."""
    n = round(len(x) * RATE / rate)
    spectrum = np.fft.rfft(x)[: n // 2 + 1]
    f = np.arange(len(spectrum)) * rate / len(x)
    spectrum = spectrum * np.clip((3950 - f) / 150, 0, 1)
    return np.asarray(np.fft.irfft(spectrum, n) * (n / len(x)))


def read(path: Path) -> Signal:
    """A mono WAV file, at 8 kHz."""
    with wave.open(str(path)) as file:
        x = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64) / 32768
        rate = file.getframerate()
    return x if rate == RATE else resample(x, rate)


def active(x: Signal) -> npt.NDArray[np.bool_]:
    """Whether there is speech at each sample: 16 ms blocks within 35 dB of the loudest, and their neighbours."""
    size = 128
    n = -(-len(x) // size)
    blocks = np.zeros(n * size)
    blocks[: len(x)] = x
    power = np.mean(blocks.reshape(n, size) ** 2, axis=1)
    loud = power > np.max(power) * 10**-3.5
    near = np.convolve(loud, np.ones(5), "same") > 0
    return np.asarray(np.repeat(near, size)[: len(x)])


def level(x: Signal, db: float = LEVEL_DB) -> Signal:
    """Bring the active parts of ``x`` to a level."""
    return np.asarray(x * (10 ** (db / 20) / np.sqrt(np.mean(x[active(x)] ** 2))))


@functools.cache
def spoken(text: str, voice: str, speed: int, pitch: int) -> Signal:
    """One text by espeak-ng."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise SystemExit("espeak-ng is not on PATH; it is in the package of that name")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(
            [program, "-v", voice, "-s", str(speed), "-p", str(pitch), "-g", "5", "-w", path, text], check=True
        )
        return read(path)


def with_lead(x: Signal, lead: int = LEAD) -> Signal:
    """Nothing before, half a second of it after, at the usual level."""
    return level(np.concatenate([np.zeros(lead), x, np.zeros(RATE // 2)]))


def espeak(index: int, lead: int = LEAD) -> Signal:
    """The index-th synthetic utterance."""
    return with_lead(spoken(SENTENCES[index % len(SENTENCES)], *VOICES[index % len(VOICES)]), lead)


def natural(index: int) -> Signal | None:
    """The index-th utterance of a person: prompts with a pause between; None where they are not installed."""
    parts: list[Signal] = []
    for name in PROMPT_NAMES[index % len(PROMPT_NAMES)]:
        path = PROMPTS / f"{name}.wav"
        if not path.exists():
            return None
        parts += [read(path)[: 6 * RATE], np.zeros(RATE // 3)]
    return with_lead(np.concatenate(parts)[: 8 * RATE])


# Noise: n samples from a seed, of whatever level.


def white(n: int, seed: int) -> Signal:
    return np.random.default_rng(seed).standard_normal(n)


def shaped(n: int, seed: int, weight: Callable[[Signal], Signal]) -> Signal:
    """White noise with a weight by frequency."""
    return np.asarray(np.fft.irfft(np.fft.rfft(white(n, seed)) * weight(np.fft.rfftfreq(n, 1 / RATE)), n))


def pink(n: int, seed: int) -> Signal:
    return shaped(n, seed, lambda f: 1 / np.sqrt(np.maximum(f, 20.0)))


def deep_pink(n: int, seed: int) -> Signal:
    return shaped(n, seed, lambda f: np.where(f > 0, 1 / np.sqrt(np.maximum(f, 1e-3)), 0.0))


def babble(n: int, seed: int) -> Signal:
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    for number, voice in enumerate(BABBLE):
        talk = level(spoken(SENTENCES[(number + seed) % len(SENTENCES)], *voice))
        x += np.resize(np.roll(talk, rng.integers(len(talk))), n) * 10 ** (rng.uniform(-3, 3) / 20)
    return x


def hum(n: int, seed: int) -> Signal:
    rng = np.random.default_rng(seed)
    mains = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
    t = np.arange(n) / RATE
    x = sum(k**-0.7 * np.sin(2 * np.pi * (k * mains * t + rng.uniform())) for k in (1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 20))
    return np.asarray(x + 0.03 * white(n, seed + 1))


def bare_hum(n: int, seed: int) -> Signal:
    rng = np.random.default_rng(seed)
    t = np.arange(n) / RATE
    x = sum(np.sin(2 * np.pi * (50 * k * t + rng.uniform())) for k in range(1, 6))
    return np.asarray(x / np.std(x) + 0.07 * white(n, seed + 1))


def music(n: int, seed: int) -> Signal:
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    for start in range(0, n, RATE // 2):
        t = np.arange(min(RATE, n - start)) / RATE
        for note in rng.choice([0, 3, 5, 7, 10, 12, 15, 17], 3, replace=False):
            f = 196.0 * 2 ** (note / 12)
            for k in range(1, 6):
                x[start : start + len(t)] += k**-1.2 * np.exp(-3 * t) * np.sin(2 * np.pi * k * f * t)
    return x + 0.02 * white(n, seed + 1)


def street(n: int, seed: int) -> Signal:
    rng = np.random.default_rng(seed)
    rumble = shaped(n, seed, lambda f: 1 / np.maximum(f, 40.0))
    rumble /= np.sqrt(np.mean(rumble**2))
    tyres = shaped(n, seed + 1, lambda f: np.exp(-(((f - 900) / 900) ** 2)))
    tyres /= np.sqrt(np.mean(tyres**2))
    t = np.arange(n) / RATE
    passing = np.exp(-((((t + rng.uniform(0, 4)) % 4 - 2) / 0.8) ** 2))
    horn = np.sin(2 * np.pi * 420 * t) * ((t % 5.3 > 4.6) & (t % 5.3 < 4.9))
    return np.asarray(rumble + (0.3 + 0.9 * passing) * tyres + 0.3 * horn)


def stepped(n: int, seed: int) -> Signal:
    x = white(n, seed)
    x[: n // 2] *= 10 ** (-15 / 20)
    return x


NOISES: dict[str, Callable[[int, int], Signal]] = {
    "white": white, "pink": pink, "babble": babble, "hum": hum, "music": music, "street": street, "stepped": stepped,
}  # fmt: skip
EASY_NOISES: dict[str, Callable[[int, int], Signal]] = {
    "white": white, "pink": deep_pink, "babble": babble, "hum": bare_hum,
}  # fmt: skip


def mix(speech: Signal, noise: str, snr_db: float, seed: int, easy: bool = False) -> Signal:
    """Speech with noise so many dB under its active parts."""
    x = (EASY_NOISES if easy else NOISES)[noise](len(speech), zlib.crc32(f"{noise}/{seed}".encode()))
    power = np.mean(speech[active(speech)] ** 2)
    return np.asarray(speech + x * np.sqrt(power / np.mean(x**2) / 10 ** (snr_db / 10)))


def as_int16(x: Signal) -> npt.NDArray[np.int16]:
    return np.clip(np.round(x * 32768), -32768, 32767).astype(np.int16)
