"""How good is what came out?  PESQ (ITU-T P.862, narrow band), STOI and ESTOI, SI-SDR, attenuation in pauses."""

from __future__ import annotations

import warnings

import numpy as np
from material import RATE, Signal, active

SKIPPED = 3 * RATE // 2  # samples in which a noise suppressor may learn


def aligned(out: Signal, reference: Signal, most: int = 800) -> tuple[Signal, int]:
    """``out`` without the delay at which it is most like the reference, and that delay."""
    n = 1 << (len(out) + len(reference)).bit_length()
    product = np.fft.irfft(np.fft.rfft(out, n) * np.conj(np.fft.rfft(reference, n)), n)
    lags = np.concatenate([product[-most:], product[: most + 1]])
    delay = int(np.argmax(np.abs(lags))) - most
    shifted = np.zeros(len(reference))
    if delay >= 0:
        part = out[delay : delay + len(reference)]
        shifted[: len(part)] = part
    else:
        part = out[: len(reference) + delay]
        shifted[-delay : -delay + len(part)] = part
    return shifted, delay


def pesq(reference: Signal, out: Signal) -> float:
    from pesq import NoUtterancesError
    from pesq import pesq as score

    try:
        return float(score(RATE, reference.astype(np.float32), out.astype(np.float32), "nb"))
    except NoUtterancesError:
        return 1.0


def stoi(reference: Signal, out: Signal, extended: bool = False) -> float:
    from pystoi import stoi as score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(score(reference, out, RATE, extended=extended))


def si_sdr(reference: Signal, out: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019)."""
    scale = np.dot(out, reference) / np.dot(reference, reference)
    target = scale * reference
    return float(10 * np.log10(np.dot(target, target) / (np.sum((out - target) ** 2) + 1e-20)))


def attenuation(speech: Signal, noisy: Signal, out: Signal) -> float:
    """By how many dB the pauses have become quieter."""
    pause = ~active(speech)
    pause[:SKIPPED] = False
    return float(10 * np.log10((np.sum(noisy[pause] ** 2) + 1e-20) / (np.sum(out[pause] ** 2) + 1e-20)))


def judge(speech: Signal, noisy: Signal, out: Signal) -> dict[str, float]:
    """All scores of one item; the first 1.5 s count in none of them."""
    out, delay = aligned(out, noisy)
    tail = slice(SKIPPED, None)
    return {
        "pesq": pesq(speech[tail], out[tail]),
        "stoi": stoi(speech[tail], out[tail]),
        "estoi": stoi(speech[tail], out[tail], extended=True),
        "si_sdr": si_sdr(speech[tail], out[tail]),
        "attenuation": attenuation(speech, noisy, out),
        "delay": float(delay),
    }
