"""Make the speech that ships with the simulator: two parties, one mu-law WAV each, and the script.

Needs espeak-ng (any recent version) on the path; nothing of this is needed at run time.  Run from the
repository root::

    python tools/make_speech.py

Each line of the dialogue is spoken by a voice of its party, brought to 8 kHz, cut at the first and last
audible sample, and laid on the timeline ``pause_ms`` after the end of the line before it; a negative pause
makes the parties overlap.  The times in ``script.json`` are those of the audible speech, measured, not planned.
The people, the address and the reference number are invented.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from gcmedia import ulaw_encode
from gcmedia.simulator.audio import read_wav, resample

RATE = 8000
LEVEL_DBOV = -22.0  # nominal speech (RFC 7874 section 4), of the loud part of each line
AUDIBLE = 160  # int16; quieter than this at either end of a line is not speech yet
HOME = Path(__file__).parent.parent / "src/gcmedia/simulator/speech"

VOICES = {
    "internal": ["-v", "en-gb+f3", "-s", "190", "-p", "48"],
    "external": ["-v", "en-us+m3", "-s", "196", "-p", "40"],
}

# channel, pause in ms after the line before (negative: overlap), text
DIALOGUE = [
    ("internal", 400, "Good morning, Brightwater Broadband, my name is Anna. How can I help?"),
    ("external", 520, "Hi Anna. My internet has been dropping out since Tuesday evening."),
    ("external", 380, "It comes back for a minute, then it goes again."),
    ("internal", -180, "Oh, I am sorry to hear that."),
    ("internal", 260, "May I take your account reference and your postcode, please?"),
    ("external", 900, "Sure. It is B W, four four seven, one nine. Postcode A B one, two C D."),
    ("internal", 350, "Thank you. Let me look at your line."),
    ("internal", 1700, "Right. I see eleven disconnections since yesterday. Is the light on the router red?"),
    ("external", 450, "It blinks orange, then red."),
    ("internal", 300, "And have you tried turning it off"),
    ("external", -420, "Yes, twice. It made no difference."),
    ("internal", 380, "Okay. Then it is most likely a fault outside. I will send an engineer."),
    ("internal", 300, "I have Thursday between eight and twelve, or Friday after two."),
    ("external", 1100, "Um, Friday after two is better. I work from home that day."),
    ("internal", 320, "Friday it is. You will get a text message half an hour before he arrives."),
    ("external", 420, "Great. Will I be charged for the visit?"),
    ("internal", 360, "No. And I will credit the three days that you lost."),
    ("external", -150, "Perfect, thank you so much."),
    ("internal", 300, "You are welcome. Anything else?"),
    ("external", 400, "No, that is all. Bye bye."),
    ("internal", -200, "Goodbye, and have a lovely day."),
]
TAIL_MS = 400


def speak(channel: str, text: str) -> np.ndarray:
    """One line as int16 at 8 kHz, cut to what can be heard and brought to level."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        subprocess.run(["espeak-ng", *VOICES[channel], "-w", str(path), text], check=True)  # noqa: S603, S607
        samples, rate = read_wav(path)
    line = resample(samples[:, :1], rate, RATE)[:, 0].astype(np.float64)
    loud = line[np.abs(line) > 0.1 * np.abs(line).max()]
    line *= 32768 * 10 ** (LEVEL_DBOV / 20) / np.sqrt(np.mean(loud**2))
    line = np.clip(line, -32000, 32000)
    audible = np.flatnonzero(np.abs(line) > AUDIBLE)
    return line[audible[0] : audible[-1] + 1].astype(np.int16)


def write_wav(path: Path, pcm: np.ndarray) -> None:
    """Mono mu-law WAV with the fact chunk that non-PCM files carry."""
    octets = ulaw_encode(pcm)
    layout = b"".join(
        n.to_bytes(w, "little") for n, w in ((7, 2), (1, 2), (RATE, 4), (RATE, 4), (1, 2), (8, 2), (0, 2))
    )
    chunks = b"".join(
        name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) & 1)
        for name, body in ((b"fmt ", layout), (b"fact", len(pcm).to_bytes(4, "little")), (b"data", octets))
    )
    path.write_bytes(b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks)


def main() -> None:
    """Speak every line, lay them out, write the two files and the script."""
    placed: list[tuple[str, str, int, np.ndarray]] = []
    end = 0
    for channel, pause_ms, text in DIALOGUE:
        line = speak(channel, text)
        start = end + pause_ms * RATE // 1000
        placed.append((channel, text, start, line))
        end = start + len(line)
    packet = RATE // 50
    total = -(-(end + TAIL_MS * RATE // 1000) // packet) * packet
    HOME.mkdir(exist_ok=True)
    for channel in VOICES:
        track = np.zeros(total, dtype=np.int16)
        for name, _, start, line in placed:
            if name == channel:
                track[start : start + len(line)] = line
        write_wav(HOME / f"{channel}.wav", track)
    script = [
        {
            "channel": channel,
            "text": text,
            "start_ms": round(start * 1000 / RATE),
            "duration_ms": round(len(line) * 1000 / RATE),
        }
        for channel, text, start, line in placed
    ]
    (HOME / "script.json").write_text(json.dumps(script, indent=1) + "\n", encoding="utf-8")
    print(f"{total / RATE:.2f} s, {len(script)} lines")


if __name__ == "__main__":
    main()
