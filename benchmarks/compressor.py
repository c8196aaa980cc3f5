"""How close is the compressor to Chromium's own?  Writes COMPRESSOR.md, a plot, and the vector of the tests.

make compressor
python benchmarks/compressor.py              # shown only
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import chromium
import gcmedia
from plotting import save_small

HERE = Path(__file__).parent
VECTOR = HERE.parent / "tests" / "core" / "vectors" / "chromium_compressor.json"
NODE = {"threshold_db": "threshold", "knee_db": "knee", "ratio": "ratio", "attack_s": "attack", "release_s": "release"}
SETTINGS: dict[str, dict[str, float]] = {
    "the tutorial's": {},
    "slow and mild": {"threshold_db": -30.0, "knee_db": 6.0, "ratio": 3.0, "attack_s": 0.02, "release_s": 0.1},
    "hard": {"threshold_db": -40.0, "knee_db": 0.0, "ratio": 20.0, "attack_s": 0.0, "release_s": 0.5},
}


def bursts(rate: int) -> npt.NDArray[np.float64]:
    """A tone of 440 Hz whose level jumps, 3 s of it."""
    t = np.arange(3 * rate) / rate
    ends, levels = [0.3, 0.8, 1.3, 1.8, 2.2, 2.6], [0.01, 0.9, 0.05, 0.3, 0.004, 0.6]
    return np.select([t < end for end in ends], levels, 0.1) * np.sin(2 * np.pi * 440 * t)


def stairs(rate: int) -> npt.NDArray[np.float64]:
    """Levels from -70 to 0 dB, 0.4 s each: the static curve."""
    levels = np.repeat(10 ** (np.arange(-70, 0.1, 5) / 20), int(0.4 * rate))
    return levels * np.sin(2 * np.pi * 1000 * np.arange(len(levels)) / rate)


def speech(rate: int) -> npt.NDArray[np.float64]:
    """Something with the envelope of speech: harmonics under seeded syllables, and noise."""
    rng = np.random.default_rng(5)
    t = np.arange(6 * rate) / rate
    voice = np.sum([np.sin(2 * np.pi * k * (120 * t + np.sin(3 * t))) / k for k in range(1, 12)], axis=0)
    levels = np.repeat(rng.choice([0.0, 0.02, 0.1, 0.3, 0.5], 40), int(0.15 * rate))[: len(t)]
    smooth = np.convolve(levels, np.hanning(rate // 50) / np.hanning(rate // 50).sum(), "same")
    return (voice * smooth).clip(-1, 1) + rng.normal(0, 0.001, len(t))


SIGNALS = {"bursts": bursts, "stairs": stairs, "speech-like": speech}


def cases() -> list[tuple[str, str, int, dict[str, float], npt.NDArray[np.float32]]]:
    found = []
    for signal, make in SIGNALS.items():
        for named, settings in SETTINGS.items():
            for rate in (8000, 16_000, 48_000):
                found.append((signal, named, rate, settings, make(rate).astype(np.float32)))
    return found


def ours(rate: int, settings: dict[str, float], x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.frombuffer(gcmedia.Compressor(rate, **settings).process(x), np.float32).astype(np.float64)


def plot(rendered: list[Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 2, figsize=(12, 8), layout="constrained")
    shown = [row for row in rendered if row[2] == 8000 and row[1] == "the tutorial's"]
    for (left, right), (signal, _, rate, _, x, theirs, mine) in zip(axes, shown, strict=True):
        t = np.arange(len(x)) / rate
        left.plot(t, x, "0.75", lw=0.5, label="in")
        left.plot(t, theirs, "C1", lw=0.5, label="Chromium")
        left.plot(t, mine, "C0--", lw=0.4, label="gcmedia")
        left.set_title(f"{signal}, 8 kHz, the tutorial's settings", fontsize=9, loc="left")
        right.plot(t, (mine - theirs) * 1e6, "C3", lw=0.5)
        right.set_title("gcmedia - Chromium, millionths of full scale", fontsize=9, loc="left")
    axes[0][0].legend(fontsize=8, ncols=3)
    for axis in axes[-1]:
        axis.set_xlabel("s")
    save_small(figure, path)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true", help="write COMPRESSOR.md, the plot and the tests' vector")
    chosen = arguments.parse_args()
    all_cases = cases()
    version, outputs = chromium.compress(
        [(rate, x, {NODE[name]: value for name, value in settings.items()}) for _, _, rate, settings, x in all_cases]
    )
    lines = ["| signal | settings | sample rate | greatest deviation, of full scale | dB |", "|---|---|---|---|---|"]
    rendered = []
    for (signal, named, rate, settings, x), theirs in zip(all_cases, outputs, strict=True):
        mine = ours(rate, settings, x)
        worst = float(abs(mine - theirs).max())
        lines.append(f"| {signal} | {named} | {rate} | {worst:.1e} | {20 * np.log10(max(worst, 1e-12)):.0f} |")
        rendered.append((signal, named, rate, settings, x, theirs.astype(np.float64), mine))
    print(version, *lines, sep="\n")
    if not chosen.write:
        return
    plot(rendered, HERE / "plots" / "compressor-chromium.png")
    text = (HERE / "COMPRESSOR.in.md").read_text(encoding="utf-8")
    (HERE / "COMPRESSOR.md").write_text(
        text.replace("{{version}}", version).replace("{{table}}", "\n".join(lines)), encoding="utf-8"
    )
    renderings = []
    for signal, _, rate, settings, _, theirs, _ in rendered:
        if signal == "bursts" and rate <= 16_000:
            first, every = 7, 53  # no multiple of a division or a period
            samples = [float(f"{value:.7g}") for value in theirs[first::every]]
            renderings.append(
                {"sample_rate": rate, "settings": settings, "first": first, "every": every, "samples": samples}
            )
    source = f"{version}, OfflineAudioContext with one DynamicsCompressorNode, by benchmarks/compressor.py"
    VECTOR.write_text(json.dumps({"source": source, "renderings": renderings}), encoding="utf-8")


if __name__ == "__main__":
    main()
