"""A capture whose disk fails for a while, in a process of its own; run by `test_storage`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio

from gcmedia import Frame
from gcmedia.simulator import Call

from .running import run

SECONDS = 20
FAILS_AT, WORKS_AT = 100, 1500  # frames of 2000


def main(folder: Path, how: str, backend: str) -> None:
    fail, mend = TROUBLES[how](folder)
    if how in AT_START:
        fail()
    n_frames = 0

    def watch(frame: Frame) -> None:
        nonlocal n_frames
        n_frames += 1
        if n_frames == FAILS_AT and how not in AT_START:
            fail()
        elif n_frames == WORKS_AT:
            mend()

    async def capture() -> object:
        return await run(Call.demo(seconds=SECONDS), folder=folder, on_frame=watch, max_frames=4)

    found = anyio.run(capture, backend=backend)
    assert found.error is None, found.error  # type: ignore[attr-defined]
    print(
        json.dumps(
            {
                "frames": len(found.frames),  # type: ignore[attr-defined]
                "balanced": found.stats.balanced,  # type: ignore[attr-defined]
                "events": [event["kind"] for event in found.call.events],  # type: ignore[attr-defined]
                "failures": found.call.storage_failures,  # type: ignore[attr-defined]
                "counted": found.call.metrics()["storageFailures"],  # type: ignore[attr-defined]
            }
        )
    )


Trouble = tuple[Callable[[], object], Callable[[], object]]


def full(folder: Path) -> Trouble:
    """Somebody else takes all the space, and gives it back."""
    filler = folder.parent / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    return fill, filler.unlink


def read_only(folder: Path) -> Trouble:
    """The mount is read-only when the call begins."""

    def remount(option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", folder.parent], check=True)

    return lambda: remount("ro"), lambda: remount("rw")


def input_output(folder: Path) -> Trouble:
    """Every write fails with EIO as long as a file is there; see ``failing_writes.c``."""
    flag = Path(os.environ["FAILING_WRITES"])
    return flag.touch, flag.unlink


def removed(folder: Path) -> Trouble:
    """Somebody removes the folder."""
    return lambda: shutil.rmtree(folder), lambda: None


def moved(folder: Path) -> Trouble:
    """Somebody moves the folder, and puts a file in its place for a while."""

    def move() -> None:
        folder.rename(folder.with_name("elsewhere"))
        folder.write_text("in the way")

    return move, folder.unlink


TROUBLES: dict[str, Callable[[Path], Trouble]] = {
    "full": full,
    "read_only": read_only,
    "input_output": input_output,
    "removed": removed,
    "moved": moved,
}
AT_START = {"read_only"}

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
