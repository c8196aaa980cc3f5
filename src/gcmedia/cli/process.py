"""``gcmedia process``: recordings through the stages of a live call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..config import CompressorConfig, GateConfig, SilenceConfig
from ..errors import ConfigError
from ..process import ProcessConfig, duration_of, find_recordings, process_many
from .show import AudioProgress, console

__all__ = ["process_command"]


def process_command(
    paths: Annotated[list[Path], typer.Argument(help="WAV files, call folders, or folders of those.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results; else beside each recording.")] = None,
    gate: Annotated[bool, typer.Option(help="Noise gate.")] = True,
    gate_floor: Annotated[float, typer.Option(help="Of the gate, dB of full scale.")] = GateConfig().floor_db,
    gate_reduction: Annotated[float, typer.Option(help="Of the gate, dB.")] = GateConfig().reduction_db,
    compressor: Annotated[bool, typer.Option(help="Compressor behind the gate.")] = False,
    silence: Annotated[
        float, typer.Option(help="Level under which a frame is silent, share of full scale.")
    ] = SilenceConfig().threshold,
    rate: Annotated[int | None, typer.Option(help="Resample to so many Hz.")] = None,
    split: Annotated[bool, typer.Option("--split", help="A file for each channel.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Threads; by default one a core.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Do again what was done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a recording on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Pass recordings through decode, silence, gate, compressor and resampler: NAME.processed.wav and .json.

    The results are those of a live call with the same settings, bit for bit. Of call folders the raw tracks are taken.
    What was done of the same recording with the same settings is skipped. Exit code 0: all done; 1: at least one could
    not be processed; 2: wrong usage, or nothing to process.
    """
    config = ProcessConfig(
        gate=GateConfig(floor_db=gate_floor, reduction_db=gate_reduction) if gate else None,
        compressor=CompressorConfig() if compressor else None,
        silence=SilenceConfig(threshold=silence),
        sample_rate=rate,
        split=split,
    )
    sources = find_recordings(paths)
    if not sources:
        raise ConfigError(f"no WAV files in {', '.join(map(str, paths))}")
    begin = time.perf_counter()
    done = skipped = failed = 0
    audio_s = 0.0
    with AudioProgress(sum(map(duration_of, sources)), quiet=quiet) as progress:
        for outcome in process_many(sources, config, out=out, jobs=jobs, force=force, on_progress=progress.advance):
            result = outcome.result
            if result is None:
                failed += 1
                console.print(f"[bold red]FAILED[/] {escape(outcome.problem or '')}", soft_wrap=True)
            elif result.skipped:
                skipped += 1
            else:
                done += 1
                audio_s += result.duration_s
            if as_json:
                told: dict[str, Any] = {"source": str(outcome.source), "problem": outcome.problem}
                if result is not None:
                    told["outputs"] = [str(path) for path in result.outputs]
                    told |= {"report": str(result.report), "duration_s": result.duration_s, "skipped": result.skipped}
                print(json.dumps(told))
    took_s = time.perf_counter() - begin
    if not quiet:
        speed = f", {audio_s:.0f} s of audio at {audio_s / took_s:.0f} times real time" if done else ""
        console.print(f"{done} processed{speed}; {skipped} done before; {failed} failed")
    if failed:
        raise typer.Exit(1)
