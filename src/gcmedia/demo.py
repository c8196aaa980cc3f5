"""The main job, shown: a call over a bad network, captured from the simulator, recorded, and drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import anyio.to_thread

from ._core.frame import Frame
from .auth import Credentials
from .capture import Capture, capture
from .clock import Clock, ScaledClock
from .config import CompressorConfig, GateConfig, JitterConfig, PlatformMediaConfig
from .errors import ConfigError
from .record import AuditPolicy
from .simulator import Call, Faults, Simulator, Truth
from .types import Stats

__all__ = ["Check", "DemoResult", "run_demo", "speech_call"]

CONVERSATION = "demo-call"
NOISE_DB = -48.0  # on the customer's side, so that the gate has something to do


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, in figures."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it.

    Attributes
    ----------
    folder, png, html : Path
        The call folder and its report.
    stats : Stats
        What the capture counted.
    truth : Truth
        What the simulator really sent.
    reconnects : int
        Connections that took over from a lost one.
    checks : tuple of Check
        The accounting, within the capture and against the truth.
    """

    folder: Path
    png: Path
    html: Path
    stats: Stats
    truth: Truth
    reconnects: int
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether everything does."""
        return all(check.holds for check in self.checks)


def speech_call(paths: Sequence[str | PathLike[str]]) -> Call:
    """Make a call of WAV files: one or two are the parties; more, or a folder, are prompts spoken in turn.

    Raises
    ------
    ConfigError
        If a path is not there, or a folder holds no WAV files.
    FormatError
        If a file is no WAV file that can be read.
    """
    found = [Path(path) for path in paths]
    missing = [str(path) for path in found if not path.exists()]
    if missing:
        raise ConfigError(f"no such file or folder: {', '.join(missing)}")
    if len(found) <= 2 and not any(path.is_dir() for path in found):
        return Call.from_wav(*found)
    files = [file for path in found for file in (sorted(path.glob("*.wav")) if path.is_dir() else [path])]
    if not files:
        raise ConfigError(f"no .wav files in {', '.join(str(path) for path in found)}")
    return Call.from_prompts(*files)


async def run_demo(
    out: str | PathLike[str],
    *,
    speech: Sequence[str | PathLike[str]] = (),
    seconds: float | None = None,
    speed: float = 8.0,
    seed: int = 7,
    on_call: Callable[[Capture, float], object] | None = None,
    on_frame: Callable[[Frame], object] | None = None,
) -> DemoResult:
    """Capture one simulated call into a folder and draw it.

    The same seed gives the same frames, bit for bit, at any speed and on either async backend.

    Parameters
    ----------
    out : path
        The call folder; a call that it holds already is replaced.
    speech : sequence of path
        Speech instead of the call that ships, see `speech_call`.
    seconds : float, optional
        Only the beginning of the call that ships.
    speed : float
        Times real time.
    seed : int
        Of the network's faults.
    on_call : callable, optional
        Called with the capture and the length of the call in seconds once it is connected.
    on_frame : callable, optional
        Called with each frame.

    Raises
    ------
    ConfigError
        If the plotting library is not installed.
    """
    try:
        from .report import render_report  # it is heavy, and the other commands do without
    except ModuleNotFoundError as error:
        raise ConfigError(f"the demo's report needs {error.name}: pip install 'gcmedia[report]'") from None
    call = speech_call(speech) if speech else Call.demo(noise_db=NOISE_DB, seed=seed, seconds=seconds)
    clock = Clock() if speed == 1.0 else ScaledClock(speed)
    profile = PlatformMediaConfig(
        format="pcmu" if call.sample_rate == 8000 else "raw",
        sample_rate=call.sample_rate,
        n_channels=2,
        # Hurried seconds are short, and a busy machine's pauses long; no timer may decide what is in the frames.
        ack_timeout_s=30.0 * max(1.0, speed),
        idle_timeout_s=30.0 * max(1.0, speed),
        open_timeout_s=30.0 * max(1.0, speed),
        pong_timeout_s=60.0 * max(1.0, speed),
    )
    async with (
        Simulator(
            {CONVERSATION: call},
            Faults.bad_network(seed),
            speed=speed,
            live=False,
            journal_limit=100_000 + 3 * call.n_packets,  # all of it, for the checks
        ) as cloud,
        capture(
            CONVERSATION,
            credentials=Credentials(cloud.client_id, cloud.client_secret, cloud.base_url),
            profile=profile,
            gate=GateConfig(),
            compressor=CompressorConfig(),
            jitter=JitterConfig(max_hold_ms=math.inf),
            folder=out,
            overwrite=True,
            audit_policy=AuditPolicy(consent=True, purpose="demonstration"),
            overflow="wait",
            clock=clock,
        ) as captured,
    ):
        if on_call is not None:
            on_call(captured, call.duration_ms / 1000)
        async for frame in captured:
            if on_frame is not None:
                on_frame(frame)
        stats, truth = captured.stats(), cloud.truth(CONVERSATION)
        sent = [record.timestamp or 0 for record in cloud.journal.records if record.kind == "packet"]
        checks = _checks(captured, stats, truth, _lost_between(sent, call.packet_ms))
    png, html = await anyio.to_thread.run_sync(render_report, out)
    return DemoResult(Path(out), png, html, stats, truth, captured.reconnects, checks)


def _lost_between(sent: Sequence[int], packet_ms: int) -> int:
    """How many packets are missing between the first and the last of those timestamps."""
    return (max(sent) - min(sent)) // packet_ms + 1 - len(sent) if sent else 0


def _checks(captured: Capture, stats: Stats, truth: Truth, lost_between: int) -> tuple[Check, ...]:
    malformed = sum(truth.malformed_sent.values())
    sent = truth.packets_sent + truth.duplicates_sent + malformed
    lost = truth.packets_lost + truth.packets_missed
    rate = captured.format.sample_rate
    return (
        Check("accounting identity", stats.balanced, stats.identity()),
        Check(
            "received what was sent",
            stats.packets_received + captured.unknown_messages == sent,
            f"the simulator sent {truth.packets_sent} packets, {truth.duplicates_sent} of them again and {malformed}"
            f" malformed messages = {sent}; {stats.packets_received} were counted as packets and"
            f" {captured.unknown_messages} as unknown",
        ),
        Check(
            "lost what was lost",
            lost_between <= stats.packets_lost <= lost,
            f"{stats.packets_lost} of {lost} packets, {lost - lost_between} of them at the very ends of the call,"
            " where no gap in the numbers tells of them",
        ),
        Check(
            "exact length",
            stats.total_samples * 1000 == truth.duration_ms * rate,
            f"{stats.total_samples} samples, {stats.total_samples / rate:.3f} s of {truth.duration_ms / 1000:.3f} s",
        ),
    )
