"""Judge noise suppressors on seeded speech in noise, and write QUALITY.md with a spectrogram of each.

python benchmarks/quality/run.py            all: 5 utterances in 7 noises, 6 in 4 easy ones, at 4 ratios
python benchmarks/quality/run.py --short    2 utterances and an easy one, shown and not written
"""

from __future__ import annotations

import argparse
import datetime
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import material
import numpy as np
import scores
from denoisers import DENOISERS, versions

HOME = Path(__file__).parent
sys.path.append(str(HOME.parent))
from plotting import save_small  # noqa: E402

WRITTEN = HOME.parent / "QUALITY.md"
PLOTS = HOME.parent / "plots"
RATIOS_DB = (0, 5, 10, 20)
SCORES = ("pesq", "stoi", "estoi", "si_sdr", "attenuation")
HEADS = ("PESQ-NB", "STOI", "ESTOI", "SI-SDR, dB", "pauses quieter by, dB")
TABLE_NOISES = ("white", "pink", "babble", "hum")
UTTERANCES = ("espeak 0", "espeak 2", "espeak 3", "natural 0", "natural 3")
EASY_UTTERANCES = tuple(f"easy {number}" for number in range(6))
SHORT = ("espeak 0", "natural 0", "easy 0")

Item = tuple[str, str, float]  # utterance, noise, ratio in dB; infinity for none


def utterance(name: str) -> material.Signal | None:
    kind, number = name.split()
    if kind == "natural":
        return material.natural(int(number))
    return material.espeak(int(number), material.EASY_LEAD if kind == "easy" else material.LEAD)


def is_easy(item: Item) -> bool:
    return item[0].startswith("easy")


def noisy(item: Item) -> tuple[material.Signal, material.Signal] | None:
    """Speech, and speech with noise, as int16 has them."""
    speech = utterance(item[0])
    if speech is None:
        return None
    speech = material.as_int16(speech) / 32768
    if math.isinf(item[2]):
        return speech, speech
    mixed = material.mix(speech, item[1], item[2], int(item[0].split()[1]), is_easy(item))
    return speech, material.as_int16(mixed) / 32768


def judge(item: Item) -> list[tuple[str, Item, dict[str, float]]]:
    """One item by everybody."""
    found = noisy(item)
    told = []
    for name, denoise in DENOISERS.items():
        if found is None:
            continue
        speech, mixed = found
        start = time.process_time()
        try:
            out = denoise(mixed)
        except ImportError:
            continue
        spent = time.process_time() - start
        result = scores.judge(speech, mixed, out)
        result["cpu_us"] = spent * 1e6 / (len(mixed) / 160)
        pairs = scores.aligned(out, mixed)[0]
        loud = material.active(speech)
        loud[: scores.SKIPPED] = False
        result["speech_loss"] = float(10 * np.log10(np.sum(speech[loud] ** 2) / np.sum(pairs[loud] ** 2)))
        told.append((name, item, result))
    return told


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += ["| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def mean(told: list[tuple[str, Item, dict[str, float]]], name: str, score: str, keep: object = None) -> float:
    kept = [r[score] for who, item, r in told if who == name and (keep is None or keep(item))]  # type: ignore[operator]
    return float(np.mean(kept)) if kept else math.nan


def spectrogram(x: material.Signal) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(x, 256)[::64] * np.hanning(256)
    return np.asarray(20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T + 1e-5))


def plot() -> list[str]:
    """One picture for each of some noises: the speech, the noisy speech, and what each made of it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    written = []
    for noise in ("white", "babble", "hum", "stepped"):
        speech, mixed = noisy(("espeak 0", noise, 5.0))  # type: ignore[misc]
        shown = {"speech": speech}
        for name, denoise in DENOISERS.items():
            try:
                shown[name] = scores.aligned(denoise(mixed), mixed)[0]
            except ImportError:
                continue
        shown.pop("noisereduce (not live)", None)
        shown.pop("ffmpeg afftdn", None)
        figure, axes = plt.subplots(len(shown), 1, figsize=(9, 1.6 * len(shown)), sharex=True, layout="constrained")
        for axis, (name, x) in zip(axes, shown.items(), strict=True):
            shades = np.round(spectrogram(x) / 5) * 5  # few shades make a small file
            axis.imshow(shades, origin="lower", aspect="auto", vmin=-60, vmax=20, extent=(0, len(x) / 8000, 0, 4))
            axis.set_title(name, fontsize=9, loc="left", pad=2)
            axis.set_ylabel("kHz", fontsize=8)
            axis.tick_params(labelsize=8)
        axes[-1].set_xlabel(f"s; espeak-ng in {noise} noise 5 dB under it")
        path = PLOTS / f"quality-{noise}.png"
        save_small(figure, path)
        written.append(path.name)
    return written


def easy_report(told: list[tuple[str, Item, dict[str, float]]], names: list[str], n_items: int) -> str:
    text = f"""
## White, pink, babble and hum, easy

{n_items} items that ask less: English voices of espeak-ng alone, and 1.5 s of noise before the first word;
the pink goes on under 20 Hz, and the hum is five harmonics of 50 Hz, equally loud, over white 23 dB under them.  The
noises were chosen so that speech in them has the scores that it had in an earlier comparison of the same peers, whose
sound was not kept: PESQ 1.77, STOI 0.886.  Compare with other figures in the mean over all four only.

"""
    text += table(["", *HEADS], ([name, *(mean(told, name, score, is_easy) for score in SCORES)] for name in names))
    text += "\nPESQ-NB, by noise and by its ratio:\n\n"
    text += table(
        ["", *TABLE_NOISES, *(f"{ratio} dB" for ratio in RATIOS_DB)],
        (
            [
                name,
                *(mean(told, name, "pesq", lambda i, n=n: is_easy(i) and i[1] == n) for n in TABLE_NOISES),
                *(mean(told, name, "pesq", lambda i, r=r: is_easy(i) and i[2] == r) for r in RATIOS_DB),
            ]
            for name in names
        ),
    )
    return text


def report(told: list[tuple[str, Item, dict[str, float]]], plots: list[str]) -> str:
    names = [name for name in DENOISERS if any(who == name for who, _, _ in told)]
    in_noise = lambda item: not math.isinf(item[2]) and not is_easy(item)  # noqa: E731
    four = lambda item: in_noise(item) and item[1] in TABLE_NOISES  # noqa: E731
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    items = {item for _, item, _ in told}
    n_items, n_easy = sum(not is_easy(item) for item in items), sum(is_easy(item) for item in items)
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    utterances = ", ".join(sorted({item[0] for item in items if not is_easy(item)}))
    text = f"""# Quality of noise suppressors

Written by `make quality` on {datetime.date.today()}, commit {commit}; {platform.machine()}, Python
{platform.python_version()}, {packages}.

{n_items} items at 8 kHz: {utterances}; speech at -26 dB, noise {", ".join(map(str, RATIOS_DB))} dB under its active
parts.  `quality/material.py` tells how they are made; the first 1.5 s count in no score.  PESQ is ITU-T P.862, narrow
band; delays are taken out by cross-correlation before judging.  The gate's network has not heard these voices of
espeak-ng, these sentences, or these prompts; it has heard other prompts by the same person, and noise of the same kinds
from other seeds.

## White, pink, babble and hum

"""
    text += table(["", *HEADS], ([name, *(mean(told, name, score, four) for score in SCORES)] for name in names))
    text += easy_report(told, names, n_easy)
    text += "\n## All noises\n\n"
    text += table(
        ["", *HEADS, "delay, ms", "CPU, µs a 20 ms"],
        (
            [
                name,
                *(mean(told, name, score, in_noise) for score in SCORES),
                mean(told, name, "delay", in_noise) / 8,
                mean(told, name, "cpu_us", in_noise),
            ]
            for name in names
        ),
    )
    text += "\nCPU time is of one pass, Python included, on a machine that others used; RESULTS.md has better ones.\n"
    text += "\n## Speech without noise\n\n"
    text += table(
        ["", "PESQ-NB", "STOI", "SI-SDR, dB", "speech quieter by, dB"],
        (
            [
                name,
                *(mean(told, name, s, lambda i: math.isinf(i[2])) for s in ("pesq", "stoi", "si_sdr", "speech_loss")),
            ]
            for name in names
            if name != "input"
        ),
    )
    for score, head in zip(SCORES, HEADS, strict=True):
        text += f"\n## {head}, by noise\n\n"
        text += table(
            ["", *material.NOISES],
            (
                [name, *(mean(told, name, score, lambda i, n=n: in_noise(i) and i[1] == n) for n in material.NOISES)]
                for name in names
            ),
        )
    text += "\n## Spectrograms\n\n" + "\n\n".join(f"![{name}](plots/{name})" for name in plots) + "\n"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    short = parser.parse_args().short
    voices = [voice for voice in UTTERANCES if not short or voice in SHORT]
    items: list[Item] = [(voice, noise, ratio) for voice in voices for noise in material.NOISES for ratio in RATIOS_DB]
    items += [(voice, "none", math.inf) for voice in voices]
    voices = [voice for voice in EASY_UTTERANCES if not short or voice in SHORT]
    items += [(voice, noise, ratio) for voice in voices for noise in material.EASY_NOISES for ratio in RATIOS_DB]
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        told = [result for found in pool.imap(judge, items, chunksize=4) for result in found]
    if short:
        print(report(told, []))
    else:
        WRITTEN.write_text(report(told, plot()))
        print(f"written: {WRITTEN.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
