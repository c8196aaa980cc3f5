"""Teach the gate's network, and write src/gcmedia/_core/kernels/network.h.

    pip install jax
    python benchmarks/quality/train.py make 1800 --seed 5 material.npz
    python benchmarks/quality/train.py learn material.npz network.pkl --steps 2200
    python benchmarks/quality/train.py learn more.npz network.pkl --steps 1500 --start network.pkl --rate 2.5e-3 --under 0.65
    python benchmarks/quality/train.py refine more.npz network.pkl --steps 9800 --start network.pkl --rate 3e-3
    python benchmarks/quality/train.py write network.pkl src/gcmedia/_core/kernels/network.h

Speech is espeak-ng's and flite's, in other voices and sentences than those that are judged, and the prompts of Debian's
asterisk-core-sounds-{en,es,fr,it,ru}-wav but those that are judged; all at random levels, through random lines, in noise of
many kinds, some of it coded by the mu-law.  First it learns spectra, then what listeners hear (perception.py).  The model
here does what kernels/spectral_isa.h does, frame by frame, with the network's octets.

The weights in use were refined in several runs, each from what the one before had left: 4,700 steps in all by PESQ and
STOI of the gate's own spectra, then 5,100 at rates of 1.5e-3 to 3e-3 by those of the sound that comes out, as here, on 5,500
items of four seeds, 500 of them without noise.  The last ones knew nothing yet of how `gains` lets pass what is too loud
for noise.
"""  # noqa: E501

from __future__ import annotations

import argparse
import dataclasses
import functools
import pickle
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import material
import numpy as np

N, HOP, FALL = 256, 144, 24  # samples at 8 kHz
N_BINS, N_HIDDEN = N // 2 + 1, 24
EDGES = np.array([*range(0, 17, 2), *range(20, 33, 4), *range(40, 65, 8), *range(80, 129, 16)])
N_BANDS = len(EDGES) - 1
BAND = np.zeros((N_BINS, N_BANDS), np.float32)  # sums the bins of each
for band in range(N_BANDS):
    BAND[EDGES[band] : EDGES[band + 1], band] = 1
SPREAD = BAND.T.copy()  # gives each bin what its band has
SPREAD[-1, -1] = 1
RISE = N - FALL
WINDOW = np.concatenate(
    [np.sin(0.5 * np.pi * (np.arange(RISE) + 0.5) / RISE), np.cos(0.5 * np.pi * (np.arange(FALL) + 0.5) / FALL)]
)
FULL_SCALE = 0.25 * WINDOW.sum() ** 2
PUT_OUT = 160  # of a frame, the last; as many of them as follow overlap with the next frame's
OVERLAP = PUT_OUT - HOP
FADE = 0.5 * (1 - np.cos(np.pi * (np.arange(OVERLAP) + 0.5) / OVERLAP))
SYNTHESIS = np.concatenate([FADE, np.ones(PUT_OUT - 2 * OVERLAP), FADE[::-1]]) / WINDOW[N - PUT_OUT :]
TINY = 1e-12
TILT = (1 + np.arange(N_BINS) * 31.25 / 600) ** -0.5
TILT /= TILT.mean()
MINIMUM_RISE = 1.0508  # a hop
# What the network is given: octets that count such units from there, for ratios, shapes, and what it has kept in mind.
UNITS = np.repeat([1 / 63, 1 / 42, 1 / 63], [N_BANDS, N_BANDS, N_HIDDEN]).astype(np.float32)
ZEROS = np.repeat([-32.0, -64.0, -64.0], [N_BANDS, N_BANDS, N_HIDDEN]).astype(np.float32)
MOST = (4, 2, 2)  # of the logarithms of what it says
TRACKER_RANGE = np.array([[0.3, 0.03, 0.02, 1.0], [0.95, 0.4, 0.8, 3.0]], np.float32)

TEXTS = (
    "Please hold the line while I transfer you to the billing department, it will take a minute.",
    "I ordered a pair of shoes last week and they have still not arrived, can you tell me why?",
    "The quick thinking of the driver saved three people from a nasty accident on the bridge.",
    "She sells fresh bread, cheese and olives at the market every Saturday morning.",
    "Zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve.",
    "Our offices are open from Monday to Friday, between half past eight and six o'clock.",
    "Fishing boats left the harbour before dawn, chased by a flock of noisy gulls.",
    "Yes. No. Maybe later. I think so, but let me check that with my colleague first.",
    "Thirty thousand thirsty thieves thought they thrilled the throne throughout Thursday.",
    "The wireless router keeps blinking orange; I have already switched it off and on again.",
    "Could you spell your surname for me? It is B, R, A, N, D, T, as in Brandt.",
    "My grandmother always kept a small jar of honey on the window sill above the sink.",
    "Der Zug nach Hamburg faehrt heute von Gleis sieben, bitte beachten Sie die Durchsagen.",
    "Buenos dias, quisiera saber cuando llega mi pedido, por favor, gracias.",
    "Je voudrais reserver une table pour deux personnes ce soir, vers huit heures.",
    "Vorrei parlare con un operatore, il mio numero di telefono non funziona da ieri.",
    "Judge whether those vision measures azure leisure usually enjoy.",
    "Sixteen ships sailed past six sandy shores searching for shelter from the storm.",
    "Why would anyone pay more for a worse service? That is what I would like to know.",
    "We were away a year ago. Nine men were mining near Miami in the morning.",
)
VOICES = (
    "en-us", "en-us+m1", "en-us+m2", "en-us+m4", "en-us+m5", "en-us+m6", "en-us+m8", "en-us+f1", "en-us+f2",
    "en-us+f4", "en-us+f5", "en-gb+m1", "en-gb+m3", "en-gb+m5", "en-gb+f2", "en-gb+f3", "en-gb+f5",
    "en-029+m2", "en-gb-x-rp+f1", "en-gb-scotland+m4", "de+m2", "de+f1", "fr+m3", "fr+f2", "es+f1", "it+m1",
    "it+f4", "pt+m5", "nl+f5", "pl+m6", "sv+f2", "ru+m1",
)  # fmt: skip
JUDGED = {name for names in material.PROMPT_NAMES for name in names}


def speech(seed: int) -> list[material.Signal]:
    """What is spoken, at one level."""
    rng = np.random.default_rng(seed)
    pool = []
    for text in TEXTS:
        for _ in range(9):
            voice = VOICES[rng.integers(len(VOICES))]
            pool.append(material.spoken(text, voice, int(rng.integers(130, 215)), int(rng.integers(20, 75))))
        for voice in ("awb", "rms", "slt", "kal16"):
            with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                subprocess.run(["flite", "-voice", voice, "-t", text, file.name], check=True, capture_output=True)
                pool.append(material.read(Path(file.name)))
    for folder in sorted(material.PROMPTS.parent.iterdir()):
        paths = [p for p in sorted(folder.rglob("*.wav")) if p.stem not in JUDGED and p.stat().st_size > 24_000]
        rng.shuffle(paths)  # type: ignore[arg-type]
        pool += [material.read(path)[: 8 * material.RATE] for path in paths[:60]]
    return [material.level(x) for x in pool if len(x) > 4000 and np.max(np.abs(x)) > 1e-3]


def coloured(n: int, rng: np.random.Generator) -> material.Signal:
    f = np.fft.rfftfreq(n, 1 / material.RATE)
    weight = np.interp(f, np.sort(rng.uniform(0, 4000, 6)), rng.uniform(-15, 15, 6))
    weight += rng.uniform(-10, 2) * np.log2(np.maximum(f, 60) / 1000)
    return np.asarray(np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * 10 ** (weight / 20), n))


def noise(n: int, rng: np.random.Generator, pool: list[material.Signal]) -> material.Signal:
    kinds = ("white", "pink", "babble", "hum", "music", "street", "coloured", "swelling", "keys", "tones", "stepped")
    kind = rng.choice(kinds, p=[0.1, 0.1, 0.16, 0.12, 0.08, 0.1, 0.14, 0.08, 0.04, 0.03, 0.05])
    t = np.arange(n) / material.RATE
    if kind in ("white", "pink", "music", "street"):
        return material.NOISES[kind](n, int(rng.integers(1 << 30)))
    if kind == "coloured":
        return coloured(n, rng)
    if kind == "swelling":
        return coloured(n, rng) * (
            1 + rng.uniform(0.3, 0.9) * np.sin(2 * np.pi * (rng.uniform(0.2, 4) * t + rng.uniform()))
        )
    x = np.zeros(n)
    if kind == "babble":
        for _ in range(rng.integers(4, 11)):
            talk = pool[rng.integers(len(pool))]
            x += np.resize(np.roll(talk, rng.integers(len(talk))), n) * 10 ** (rng.uniform(-4, 3) / 20)
    elif kind == "hum":
        mains = rng.choice([50.0, 60.0, rng.uniform(45, 120)]) * rng.uniform(0.997, 1.003)
        decay = rng.uniform(0.2, 1.3)
        for k in range(1, rng.integers(6, 45)):
            if rng.uniform() < 0.75 and k * mains < 3900:
                x += k**-decay * np.sin(2 * np.pi * (k * mains * t + rng.uniform()))
        x += rng.uniform(0.01, 0.3) * rng.standard_normal(n)
    elif kind == "keys":
        x = coloured(n, rng)
        x *= 0.1 / np.std(x)
        for _ in range(rng.integers(3, 20)):
            at = rng.integers(n - 400)
            x[at : at + 400] += (
                rng.uniform(2, 8) * rng.standard_normal(400) * np.exp(-np.arange(400) / rng.uniform(20, 150))
            )
    elif kind == "tones":
        x = 0.2 * rng.standard_normal(n)
        for _ in range(rng.integers(1, 4)):
            x += np.sin(2 * np.pi * rng.uniform(100, 3500) * t)
    else:
        x = coloured(n, rng)
        x[: rng.integers(n // 4, 3 * n // 4)] *= 10 ** (rng.uniform(-18, 18) / 20)
    return x


def mulaw(x: material.Signal) -> material.Signal:
    magnitude = np.round(np.log1p(255 * np.abs(np.clip(x, -1, 1))) / np.log(256) * 127) / 127
    return np.asarray(np.sign(x) * np.expm1(magnitude * np.log(256)) / 255)


def item(
    rng: np.random.Generator, pool: list[material.Signal], n: int = 4 * material.RATE
) -> tuple[material.Signal, material.Signal]:
    """Four seconds of speech, and the same in noise."""
    clean = np.zeros(n)
    at = int(rng.uniform(0, 1.2) * material.RATE) if rng.uniform() < 0.8 else 0
    while at < n:
        talk = pool[rng.integers(len(pool))]
        talk = talk[rng.integers(0, max(1, len(talk) - material.RATE)) if rng.uniform() < 0.5 else 0 :][: n - at]
        clean[at : at + len(talk)] = talk
        at += len(talk) + int(rng.uniform(0.1, 1.0) * material.RATE)
    if rng.uniform() < 0.5:
        f = np.fft.rfftfreq(n, 1 / material.RATE)
        ends = [rng.uniform(-30, 0), rng.uniform(-15, 0), 0, 0, rng.uniform(-6, 4), rng.uniform(-15, 0), -25]
        line = np.interp(f, [0, 150, 300, 1000, 3400, 3700, 4000], ends)
        line += rng.uniform(-3, 3) * np.log2(np.maximum(f, 100) / 1000)
        clean = np.fft.irfft(np.fft.rfft(clean) * 10 ** (line / 20), n)
    level = rng.uniform(-38, -15)
    clean *= 10 ** ((level - material.LEVEL_DB) / 20)
    x = rng.standard_normal(n) * 10 ** (-rng.uniform(65, 90) / 20)
    if rng.uniform() < 0.07:
        return clean, np.round(clean * 32768) / 32768
    if rng.uniform() > 0.07:
        loud = noise(n, rng, pool)
        ratio = rng.choice([rng.uniform(-3, 8), rng.uniform(0, 25)])
        x += loud / np.std(loud) * 10 ** ((level - ratio) / 20)
    noisy = np.clip(clean + x, -1, 1)
    return clean, mulaw(noisy) if rng.uniform() < 0.3 else np.round(noisy * 32768) / 32768


def make(count: int, seed: int, path: str) -> None:
    pool, rng = speech(seed), np.random.default_rng(seed + 1)
    items = [item(rng, pool) for _ in range(count)]
    np.savez(path, clean=np.float32([clean for clean, _ in items]), noisy=np.float32([noisy for _, noisy in items]))


def spectra(x: np.ndarray) -> np.ndarray:
    """Frames first, then streams, then bins."""
    padded = np.concatenate([np.zeros((len(x), N - HOP)), x], 1)
    at = np.arange(x.shape[1] // HOP)[:, None] * HOP + np.arange(N)
    return np.stack([np.fft.rfft(row[at] * WINDOW, axis=1).astype(np.complex64) for row in padded], 1)


def gains(jnp: Any, scan: Any, p: Any, power: Any) -> Any:
    """Of all frames of some streams, as spectral_isa.h has them, before the reduction bounds them."""
    from jax.lax import bitcast_convert_type, stop_gradient

    def inverse(x: Any) -> Any:  # the kernel's rough one, with the slope of the true one
        rough = bitcast_convert_type(0x7EF127EA - bitcast_convert_type(x, jnp.int32), jnp.float32)
        return stop_gradient(rough * x) / x

    def rounded(x: Any, unit: Any, zero: Any) -> Any:  # with the slope of what is not
        return x + stop_gradient((jnp.round(x / unit - zero) + zero) * unit - x)

    def whole(weights: Any, units: Any) -> Any:
        worth = jnp.max(jnp.abs(weights * units), 0) / 127
        return rounded(weights, worth / units, 0.0)

    into = whole(jnp.concatenate([p["Wx"], p["Wh"]]), UNITS[:, None])
    out_of = whole(p["Wo"], UNITS[-1])
    streams = power.shape[1]
    warm_power, most_power = 10**-4.5 * FULL_SCALE, 10**-2.5 * FULL_SCALE
    kept, near, speed, bias = p["tracker"]

    def step(state: Any, x: Any) -> Any:
        noise, smoothed, minimum, clean, hidden, heard = state
        sounds = jnp.max(x, 1, keepdims=True) > TINY  # digital silence changes nothing here; see `rest` of the kernels
        warm, share = heard < 8, jnp.where(heard < 3, 1.0, 1.0 / jnp.maximum(heard - 2.0, 1.0))
        smoother = jnp.where(warm, smoothed + share * (x - smoothed), kept * smoothed + (1 - kept) * x)
        minimum = jnp.where(warm, smoother, jnp.minimum(smoother, minimum * MINIMUM_RISE))
        far = jnp.maximum(0.0, 1 - x * inverse(noise) * near)
        tracked = jnp.minimum(jnp.maximum(noise + speed * far * far * (x - noise), bias * minimum), most_power)
        begun = noise + share * (jnp.minimum(x, warm_power) - noise)
        noise = jnp.maximum(jnp.where(warm, begun, tracked), TINY)
        loud = jnp.log2(x @ BAND + TINY)
        ratio = jnp.clip((loud - jnp.log2(noise @ BAND)) / 8, -0.5, 1.5)
        shape = jnp.clip((loud - loud.mean(1, keepdims=True)) / 8, -1.5, 1.5)
        a = rounded(jnp.concatenate([ratio, shape, hidden], 1), UNITS, ZEROS) @ into + p["b"]
        z, c = jnp.clip(0.5 + 0.25 * a[:, :N_HIDDEN], 0, 1), jnp.clip(a[:, N_HIDDEN:], -1, 1)
        hidden = c + z * (hidden - c)
        out = rounded(hidden, UNITS[-1], ZEROS[-1]) @ out_of + p["bo"] + jnp.concatenate([ratio] * 3, 1) * p["sk"]
        weights = [
            jnp.exp2(jnp.clip(part, -8, most)) @ SPREAD for part, most in zip(jnp.split(out, 3, 1), MOST, strict=True)
        ]
        excess = jnp.maximum(x - noise, 0)
        beside = jnp.pad(excess, ((0, 0), (1, 1)))
        speech = weights[0] * clean + weights[1] * excess + weights[2] * (beside[:, :-2] + beside[:, 2:])
        gain = jnp.maximum(speech / (noise + speech), 1 - most_power / (x + TINY))  # what no noise can be passes
        after = noise, smoother, minimum, gain * gain * x, hidden, jnp.minimum(heard + 1, 8)
        held = tuple(jnp.where(sounds, new, old) for new, old in zip(after, state, strict=True))
        return held, jnp.where(sounds, gain, 1.0)

    none = jnp.zeros((streams, N_BINS))
    state = (none + TINY, none, none, none, jnp.zeros((streams, N_HIDDEN)), jnp.zeros((streams, 1)))
    return scan(step, state, power)[1]


def sound(jnp: Any, spectra: Any) -> Any:
    """What comes out: streams by samples, OVERLAP of them late."""
    frames = jnp.fft.irfft(spectra, axis=2)[:, :, N - PUT_OUT :] * SYNTHESIS.astype(np.float32)
    last = jnp.pad(frames[:-1, :, HOP:], ((1, 0), (0, 0), (0, HOP - OVERLAP)))
    return (frames[:, :, :HOP] + last).transpose(1, 0, 2).reshape(spectra.shape[1], -1)


def power(x: Any) -> Any:
    return x.real**2 + x.imag**2


@dataclasses.dataclass
class Examples:
    """Spectra of speech in noise and of the speech, and the speech itself, as late as what comes out."""

    noisy: np.ndarray
    clean: np.ndarray
    speech: np.ndarray

    @classmethod
    def of(cls, path: str) -> Examples:
        data = np.load(path)
        noisy, clean = spectra(data["noisy"]), spectra(data["clean"])
        return cls(noisy, clean, np.pad(data["clean"], [(0, 0), (OVERLAP, 0)])[:, : len(noisy) * HOP])

    def some(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.noisy[:, which], self.clean[:, which], self.speech[which]


def by_spectrum(p: Any, noisy: Any, clean: Any, speech: Any, under: float = 0.75) -> Any:
    """Spectra and band envelopes, compressed; the distortion; and what STOI looks at."""
    import jax
    import jax.numpy as jnp

    def correlation(y: Any, x: Any) -> Any:
        at = jnp.arange(0, len(y) - 21, 6)[:, None] + jnp.arange(21)  # 378 ms
        y, x = y[at], x[at]
        loud = jnp.sum(x**2, 1) > 21e-3 * jnp.mean(x**2)
        scale = jnp.sqrt(jnp.sum(x * x, 1, keepdims=True) / (jnp.sum(y * y, 1, keepdims=True) + 1e-9) + 1e-12)
        y = jnp.minimum(y * scale, x * (1 + 10**0.75))
        y, x = y - y.mean(1, keepdims=True), x - x.mean(1, keepdims=True)
        found = jnp.sum(y * x, 1) / jnp.sqrt(jnp.sum(y * y, 1) * jnp.sum(x * x, 1) + 1e-8)
        return jnp.sum(found * loud) / (jnp.sum(loud) + 1)

    x, c, s = power(noisy), noisy.real * clean.real + noisy.imag * clean.imag, power(clean)
    g = jnp.maximum(gains(jnp, jax.lax.scan, p, x), 0.1)[10:]
    x, c, s = x[10:], c[10:], s[10:]
    level = jnp.mean(s, axis=(0, 2), keepdims=True) + 1e-9
    x, c, s = x / level, c / level, s / level
    ideal = jnp.maximum(0.81 * s + 0.18 * c + 0.01 * x, 0)  # speech, and noise 20 dB down
    out = g * g * x
    fine = (out + 1e-6) ** 0.15 - (ideal + 1e-6) ** 0.15
    coarse = (out @ BAND + 1e-4) ** 0.25 - (ideal @ BAND + 1e-4) ** 0.25
    distortion = jnp.sum(out - 2 * g * c + s, axis=(0, 2)) / jnp.sum(s, axis=(0, 2))
    return (
        jnp.mean(jnp.where(fine < 0, under, 1.0) * fine * fine * TILT)
        + 3 * jnp.mean(jnp.where(coarse < 0, under, 1.0) * coarse * coarse)
        + 0.02 * jnp.mean(jnp.log10(distortion + 1e-3))
        + 0.2 * (1 - correlation(jnp.sqrt(out @ BAND + 1e-9), jnp.sqrt(s @ BAND + 1e-9)))
    )


def by_ear(p: Any, noisy: Any, clean: Any, speech: Any, under: float = 0.65) -> Any:
    """PESQ, STOI and SI-SDR of what comes out; how quiet pauses are; and still a little of the spectrum."""
    import jax
    import jax.numpy as jnp
    import perception

    x = power(noisy)
    g = jnp.maximum(gains(jnp, jax.lax.scan, p, x), 0.1).at[:, :, 0].set(0.1)
    out, speech = sound(jnp, noisy * g)[:, 20 * HOP :], speech[:, 20 * HOP :]
    raw = perception.pesq(out, speech)
    heard = 0.6 * jnp.mean(perception.listening_quality(raw)) + 0.4 * jnp.mean(raw)
    target = speech * jnp.sum(out * speech, 1, keepdims=True) / (jnp.sum(speech**2, 1, keepdims=True) + 1e-9)
    distortion = (jnp.sum((out - target) ** 2, 1) + 1e-9) / (jnp.sum(target**2, 1) + 1e-9)
    loud, left = (jnp.sum(part.reshape(len(part), -1, HOP) ** 2, 2) for part in (speech, out))
    pause = loud < 10**-3.5 * jnp.max(loud, 1, keepdims=True)
    came = jnp.sum(x[20:], -1).T * (2 / N / float(np.sum(WINDOW**2)) * HOP)
    louder = jnp.log10(jnp.sum(left * pause, 1) + 1e-7) - jnp.log10(jnp.sum(came * pause, 1) + 1e-7)
    found, wanted = (perception.powers(part, perception.WINDOW) for part in (out, speech))
    level = jnp.mean(wanted, axis=(0, 2), keepdims=True) + 1e-9
    fine = (found / level + 1e-5) ** 0.15 - (0.81 * wanted / level + 1e-5) ** 0.15
    return (
        -1.5 * heard
        + 22 * (1 - jnp.mean(perception.stoi(out, speech)))
        + 0.1 * jnp.mean(jnp.log10(distortion + 1e-3))
        + 0.6 * jnp.mean(louder)
        + jnp.mean(jnp.where(fine < 0, under, 1.0) * fine * fine * TILT)
    )


def learn(
    path: str, to: str, steps: int, rate: float, under: float, start: str | None, loss: Any = by_spectrum, seed: int = 1
) -> None:
    """Adam, with a rate that falls like a cosine; what is kept is a running mean of the weights."""
    import jax
    import jax.numpy as jnp

    examples = Examples.of(path)

    @jax.jit
    def step(p: Any, m: Any, v: Any, kept: Any, t: Any, noisy: Any, clean: Any, speech: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(p, noisy, clean, speech, under)
        size = jnp.sqrt(sum(jnp.sum(d * d) for d in slope.values()))
        now = rate * jnp.minimum(1, t / 30) * jnp.maximum(0.02, 0.5 * (1 + jnp.cos(jnp.pi * t / steps)))
        for k, d in slope.items():
            d = jnp.where(jnp.isfinite(size), d * jnp.minimum(1, 2 / (size + 1e-9)), 0.0)
            m[k], v[k] = 0.9 * m[k] + 0.1 * d, 0.995 * v[k] + 0.005 * d * d
            change = now * (m[k] / (1 - 0.9**t)) / (jnp.sqrt(v[k] / (1 - 0.995**t)) + 1e-8)
            p[k] = jnp.clip(p[k] - 0.25 * change, *TRACKER_RANGE) if k == "tracker" else p[k] - change
        share = jnp.minimum(0.998, t / (t + 10))
        return p, m, v, {k: share * kept[k] + (1 - share) * p[k] for k in p}, value

    rng = np.random.default_rng(seed)
    p = {
        "Wx": rng.standard_normal((2 * N_BANDS, 2 * N_HIDDEN)) * 0.5 / np.sqrt(2 * N_BANDS),
        "Wh": rng.standard_normal((N_HIDDEN, 2 * N_HIDDEN)) * 0.5 / np.sqrt(N_HIDDEN),
        "b": np.repeat([0.7, 0.0], N_HIDDEN),
        "Wo": rng.standard_normal((N_HIDDEN, 3 * N_BANDS)) * 0.3 / np.sqrt(N_HIDDEN),
        "bo": np.repeat([0.0, -4.0, -4.5], N_BANDS),
        "sk": np.zeros(3 * N_BANDS),
        "tracker": np.array([0.6, 0.125, 0.2, 1.5]),
    }
    if start is not None:
        p = pickle.loads(Path(start).read_bytes())
    p = {k: jnp.asarray(x, jnp.float32) for k, x in p.items()}
    m = {k: jnp.zeros_like(x) for k, x in p.items()}
    v, kept = dict(m), dict(p)
    for t in range(1, steps + 1):
        some = rng.choice(len(examples.speech), 24, replace=False)
        p, m, v, kept, value = step(dict(p), dict(m), dict(v), kept, float(t), *examples.some(some))
        if t % 50 == 0:
            print(t, float(value), flush=True)
    Path(to).write_bytes(pickle.dumps({k: np.asarray(x) for k, x in kept.items()}))


def write(path: str, to: str) -> None:
    """Octets for weights, by fours of inputs; three kinds of 20 outputs become 64."""
    p = pickle.loads(Path(path).read_bytes())

    def octets(weights: np.ndarray, units: np.ndarray, zeros: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The weights of octets that count units from zero; what their sum is worth, and what is to be added then."""
        worth = np.max(np.abs(weights * units[:, None]), 0) / 127
        whole = np.round(weights * units[:, None] / worth).astype(int)
        return whole, worth, np.sum(whole * zeros[:, None], 0) * worth

    def wide(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 4)])

    def in_fours(x: np.ndarray) -> list[str]:
        return [str(w) for w in x.reshape(len(x) // 4, 4, -1).transpose(0, 2, 1).ravel()]

    def number(x: float) -> str:
        text = f"{np.float32(x):.9g}"
        return text + ("f" if set(text) & set(".e") else ".0f")

    def numbers(x: np.ndarray) -> list[str]:
        return [number(x) for x in x]

    hidden = UNITS[-1:].repeat(N_HIDDEN), ZEROS[-1:].repeat(N_HIDDEN)
    weights, worth, added = octets(np.concatenate([p["Wx"], p["Wh"]]), UNITS, ZEROS)
    out_weights, out_worth, out_added = octets(p["Wo"], *hidden)
    # The first half are gates: 0.5 + 0.25 x.
    share, more = np.repeat([0.25, 1.0], N_HIDDEN), np.repeat([0.5, 0.0], N_HIDDEN)
    kept, near, speed, bias = (float(x) for x in p["tracker"])
    constants = (
        ("POWER_KEPT", kept, "share of the smoothed power that stays from hop to hop"),
        ("NOISE_REACH", 1 / near, "times the noise, over which sound is speech"),
        ("NOISE_SPEED", speed**0.5, "its square is the share with which noise follows what is near it, at most"),
        ("MINIMUM_BIAS", bias, "from the least power to the mean of noise"),
    )
    tables = (
        ("int8_t", "NETWORK_WEIGHTS", in_fours(weights)),
        ("float", "NETWORK_WORTH", numbers(worth * share)),
        ("float", "NETWORK_BIAS", numbers((p["b"] + added) * share + more)),
        ("int8_t", "NETWORK_OUT_WEIGHTS", in_fours(wide(out_weights))),
        ("float", "NETWORK_OUT_WORTH", numbers(wide(out_worth))),
        ("float", "NETWORK_OUT_BIAS", numbers(wide(p["bo"] + out_added))),
        ("float", "NETWORK_SKIP", numbers(wide(p["sk"]))),
        ("float", "NETWORK_MOST", numbers(np.repeat([*MOST, 0.0], [N_BANDS, N_BANDS, N_BANDS, 4]))),
    )
    text = """/* What the gate's network has learned; written by benchmarks/quality/train.py, not by hand.

   Weights are by fours of inputs; what the sum over a column is worth, and what is added to it, lie beside.
   network_isa.h tells what they do. */

#ifndef GCMEDIA_NETWORK_H
#define GCMEDIA_NETWORK_H

#include <stdint.h>
"""
    text += "\n"
    for name, value, told in constants:
        text += f"{f'#define {name} {value:.6g}f':32}/* {told} */\n"
    for kind, name, items in tables:
        text += f"\nstatic const {kind} {name}[] __attribute__((aligned(64), unused)) = {{\n"
        line = "   "
        for item in items:
            if len(line) + len(item) > 116:
                text += line + "\n"
                line = "   "
            line += f" {item},"
        text += line + "\n};\n"
    Path(to).write_text(text + "\n#endif\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make")
    making.add_argument("count", type=int)
    making.add_argument("path")
    making.add_argument("--seed", type=int, default=0)
    making.set_defaults(run=make)
    for name, loss, under in (("learn", by_spectrum, 0.75), ("refine", by_ear, 0.65)):
        learning = commands.add_parser(name)
        learning.add_argument("path")
        learning.add_argument("to")
        learning.add_argument("--steps", type=int, default=2200)
        learning.add_argument("--rate", type=float, default=4e-3)
        learning.add_argument("--under", type=float, default=under)
        learning.add_argument("--start")
        learning.add_argument("--seed", type=int, default=1)
        learning.set_defaults(run=functools.partial(learn, loss=loss))
    writing = commands.add_parser("write")
    writing.add_argument("path")
    writing.add_argument("to")
    writing.set_defaults(run=write)
    told = vars(parser.parse_args())
    functools.partial(told.pop("run"), **told)()


if __name__ == "__main__":
    main()
