"""How good does speech sound when packets are lost?  Writes CONCEALMENT.md and plots of repaired gaps.

    make concealment                             # installs what it needs
    python benchmarks/concealment.py --seeds 1   # quicker, shown only

Speech is espeak-ng's and that of Debian's asterisk-core-sounds-en-wav; libspandsp2 is the peer.  Each is left out, and
said to be so, where it is not installed.
"""

from __future__ import annotations

import argparse
import io
import platform
import shutil
import struct
import subprocess
import wave
from collections.abc import Callable, Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pesq import pesq

import gcmedia
from peers import spandsp
from plotting import save_small

Samples = npt.NDArray[np.int16]

HERE = Path(__file__).parent
RATE = 8000
PACKET = 160
LEVEL_DBOV = -26.0  # active speech, as in ITU-T P.56
LOSS = 0.05
MEAN_BURST = 3.0  # packets
VOICES = ("en-gb+f3", "en-us+m3", "en-gb", "en-us+f2", "en-gb-scotland+m7", "en-us+m1")
TEXTS = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
    "It is easy to tell the depth of a well.",
    "Thank you for calling. Your account reference is four four seven, one nine. "
    "An engineer will come on Friday after two.",
    "These days a chicken leg is a rare dish. Rice is often served in round bowls. "
    "The juice of lemons makes fine punch.",
)
PROMPTS = Path("/usr/share/asterisk/sounds")
N_PROMPTS, PROMPT_S = 6, 8.0


# Material


def read_wav(source: Any) -> tuple[npt.NDArray[np.float64], int]:
    with wave.open(source) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64), file.getframerate()


def to_8_khz(pcm: npt.NDArray[np.float64], rate: int) -> npt.NDArray[np.float64]:
    """Resample a whole recording by its spectrum, nothing above 3.8 kHz."""
    n = int(len(pcm) * RATE / rate)
    spectrum = np.fft.rfft(pcm)
    kept = np.zeros(n // 2 + 1, complex)
    top = min(len(kept), int(3800 / rate * len(pcm)))
    kept[:top] = spectrum[:top]
    return np.fft.irfft(kept, n) * n / len(pcm)


def synthetic() -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    if shutil.which("espeak-ng") is None:
        return
    for i, voice in enumerate(VOICES):
        command = ["espeak-ng", "-v", voice, "-s", "165", "--stdout", TEXTS[i % len(TEXTS)]]
        octets = bytearray(subprocess.run(command, capture_output=True, check=True).stdout)
        octets[40:44] = (len(octets) - 44).to_bytes(4, "little")  # a pipe has no length in its header
        yield f"espeak-ng {voice}", to_8_khz(*read_wav(io.BytesIO(octets)))


def natural() -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    files = sorted(file for file in PROMPTS.rglob("*.wav") if file.stat().st_size > 40_000)
    order = iter(np.random.default_rng(7).permutation(len(files)))
    for number in range(N_PROMPTS if files else 0):
        parts: list[npt.NDArray[np.float64]] = []
        while sum(map(len, parts)) < PROMPT_S * RATE:
            pcm, rate = read_wav(str(files[next(order)]))
            assert rate == RATE
            parts.append(pcm)
        yield f"asterisk {number}", np.concatenate(parts)[: int(10 * RATE)]


def levelled(pcm: npt.NDArray[np.float64]) -> Samples:
    """Whole packets, the active ones at the nominal level."""
    frames = pcm[: len(pcm) // PACKET * PACKET].reshape(-1, PACKET)
    power = (frames**2).mean(axis=1)
    active = power[power > 1e-3 * power.max()].mean()
    scaled = frames.ravel() * 32768 * 10 ** (LEVEL_DBOV / 20) / np.sqrt(active)
    return np.clip(np.rint(scaled), -32768, 32767).astype(np.int16)


# Loss


def random_loss(n: int, seed: int) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(seed).random(n) < LOSS


def bursty_loss(n: int, seed: int) -> npt.NDArray[np.bool_]:
    """Gilbert's two states: everything is lost in the bad one, which lasts three packets in the mean."""
    draws = np.random.default_rng(1000 + seed).random(n)
    leave, lost, bad = 1 / MEAN_BURST, np.zeros(n, bool), False
    for i, draw in enumerate(draws):
        bad = draw >= leave if bad else draw < leave * LOSS / (1 - LOSS)
        lost[i] = bad
    return lost


PATTERNS = {"random": random_loss, "bursty": bursty_loss}


# Who repairs


def by_receiver(method: str) -> Callable[[Samples, npt.NDArray[np.bool_]], Samples]:
    """Through packets, jitter buffer and all, as a call goes."""

    def repair(pcm: Samples, lost: npt.NDArray[np.bool_]) -> Samples:
        receiver = gcmedia.Receiver("L16LE", RATE, conceal=method)
        for i in np.flatnonzero(~lost):
            header = struct.pack("<I4xq", i, 20 * i)
            receiver.push(header + pcm[i * PACKET : (i + 1) * PACKET].tobytes(), 0.02 * i)
        receiver.flush()
        out = np.concatenate([np.asarray(frame.pcm) for frame in receiver.frames(1e6)])
        return np.concatenate([out, np.zeros(len(pcm) - len(out), np.int16)])  # loss at the very end has no frames

    return repair


def by_calls(make: Callable[[], Any]) -> Callable[[Samples, npt.NDArray[np.bool_]], Samples]:
    """Packet by packet, not knowing what follows."""

    def repair(pcm: Samples, lost: npt.NDArray[np.bool_]) -> Samples:
        concealer = make()
        out = [
            concealer.conceal(PACKET) if gone else concealer.push(pcm[i * PACKET : (i + 1) * PACKET])
            for i, gone in enumerate(lost)
        ]
        return np.frombuffer(b"".join(out), np.int16)

    return repair


def systems() -> dict[str, Callable[[Samples, npt.NDArray[np.bool_]], Samples]]:
    found = {
        "silence": by_receiver("silence"),
        "gcmedia `repeat`": by_receiver("repeat"),
        "gcmedia `pitch`, one-sided": by_calls(gcmedia.Concealer),
        "gcmedia `pitch`, in the receiver": by_receiver("pitch"),
    }
    if spandsp.find():
        found["libspandsp plc"] = by_calls(spandsp.Concealer)
    return found


# Scores


def score(work: tuple[str, Samples, npt.NDArray[np.bool_]]) -> float:
    system, pcm, lost = work
    repaired = systems()[system](pcm, lost)
    assert (repaired.reshape(-1, PACKET)[~lost] == pcm.reshape(-1, PACKET)[~lost]).all() or "receiver" not in system
    return float(pesq(RATE, pcm, repaired, "nb"))


def patterns(material: dict[str, Samples], n_seeds: int) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    for kind, pattern in PATTERNS.items():
        for number, (item, pcm) in enumerate(material.items()):
            for seed in range(n_seeds):
                lost = pattern(len(pcm) // PACKET, 31 * number + seed)
                lost[:5] = False
                yield kind, item, lost


def measured(material: dict[str, Samples], n_seeds: int) -> dict[tuple[str, str, str], float]:
    """Mean PESQ-NB by system, kind of loss and kind of speech."""
    work, keys = [], []
    for system in systems():
        for kind, item, lost in patterns(material, n_seeds):
            work.append((system, material[item], lost))
            keys.append((system, kind, item.split()[0]))
    with Pool() as pool:
        scores = pool.map(score, work, chunksize=8)
    by_key: dict[tuple[str, str, str], list[float]] = {}
    for key, value in zip(keys, scores, strict=True):
        by_key.setdefault(key, []).append(value)
    return {key: float(np.mean(values)) for key, values in by_key.items()}


def table(scores: dict[tuple[str, str, str], float], sources: list[str]) -> list[str]:
    lines = [
        "| | "
        + " | ".join(f"{kind}, {source}" for kind in PATTERNS for source in sources)
        + " | random | bursty | over silence |",
        "|---|" + "---|" * (2 * len(sources) + 3),
    ]
    silence = {kind: np.mean([scores["silence", kind, source] for source in sources]) for kind in PATTERNS}
    for system in systems():
        cells = [scores[system, kind, source] for kind in PATTERNS for source in sources]
        means = {kind: np.mean([scores[system, kind, source] for source in sources]) for kind in PATTERNS}
        over = " / ".join(f"{means[kind] - silence[kind]:+.2f}" for kind in PATTERNS)
        figures = [f"{value:.2f}" for value in (*cells, *means.values())]
        lines.append(f"| {system} | " + " | ".join(figures) + f" | {over} |")
    return lines


# Plots


def gaps(material: dict[str, Samples]) -> list[tuple[str, int, int]]:
    """Holes to look at, as (item, first packet, packets): the loudest and an ordinary one of each length."""
    chosen = []
    for item, pcm in list(material.items())[:: max(len(material) // 3, 1)][:3]:
        power = (pcm.reshape(-1, PACKET).astype(np.float64) ** 2).mean(axis=1)
        order = np.argsort(power[10:-10]) + 10
        chosen += [(item, int(order[-20]), 1), (item, int(order[len(order) * 2 // 3]), 3)]
    return chosen


def plot(material: dict[str, Samples], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    chosen = gaps(material)
    figure, axes = pyplot.subplots(len(chosen), 1, figsize=(11, 2.3 * len(chosen)), layout="constrained")
    for axis, (item, first, n) in zip(axes, chosen, strict=True):
        pcm = material[item]
        lost = np.zeros(len(pcm) // PACKET, bool)
        lost[first : first + n] = True
        begin, end = (first - 1) * PACKET, (first + n + 1) * PACKET
        time = np.arange(begin, end) / RATE * 1000
        axis.axvspan(first * 20, (first + n) * 20, color="0.92")
        for name, colour, width in (("gcmedia `pitch`, in the receiver", "C0", 1.3), ("libspandsp plc", "C1", 0.8)):
            if name in systems():
                axis.plot(time, systems()[name](pcm, lost)[begin:end], colour, lw=width, label=name.replace("`", ""))
        axis.plot(time, pcm[begin:end], "k", lw=0.6, alpha=0.6, label="what was sent")
        axis.set_title(f"{item}: {20 * n} ms lost", fontsize=9, loc="left")
        axis.margins(x=0)
    axes[0].legend(fontsize=8, ncols=3, loc="upper right")
    axes[-1].set_xlabel("ms")
    save_small(figure, path)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=4, help="loss patterns of each kind for each recording")
    arguments.add_argument("--write", action="store_true", help="write CONCEALMENT.md and plots/concealment.png")
    chosen = arguments.parse_args()
    material = {name: levelled(pcm) for source in (synthetic(), natural()) for name, pcm in source}
    if not material:
        raise SystemExit("no speech: install espeak-ng or asterisk-core-sounds-en-wav")
    sources = list(dict.fromkeys(item.split()[0] for item in material))
    lines = table(measured(material, chosen.seeds), sources)
    print("\n".join(lines))
    absent = [
        name
        for name, there in (
            ("espeak-ng", "espeak-ng" in sources),
            ("asterisk", "asterisk" in sources),
            ("libspandsp2", "libspandsp plc" in systems()),
        )
        if not there
    ]
    if absent:
        print("absent:", ", ".join(absent))
    if chosen.write:
        plot(material, HERE / "plots" / "concealment.png")
        text = (HERE / "CONCEALMENT.in.md").read_text(encoding="utf-8")
        n = chosen.seeds * len(material)
        where = (
            f"{n} calls of each kind: {len(material)} recordings, {chosen.seeds} seeds; Python "
            f"{platform.python_version()}; " + (f"absent: {', '.join(absent)}" if absent else "nothing was absent")
        )
        text = text.replace("{{where}}", where).replace("{{table}}", "\n".join(lines))
        (HERE / "CONCEALMENT.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
