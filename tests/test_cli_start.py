"""A command starts with what it needs, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = """
import contextlib, io, json, sys
from gcmedia.cli.app import run
out = io.StringIO()
sys.argv = ["gcmedia", *sys.argv[1:]]
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    code = run()
print(json.dumps([code, out.getvalue(), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def started(*arguments: str) -> tuple[int, str, set[str]]:
    """Exit code, what was said, and the packages that were loaded for it."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True, timeout=110
    )
    code, said, loaded = json.loads(done.stdout.splitlines()[-1])
    return code, said, set(loaded)


@pytest.mark.parametrize("command", ["process", "verify", "repair", "prune", "audit", "report"])
def test_work_on_files_loads_no_network_and_no_numbers(command: str) -> None:
    code, said, loaded = started(command, "--help")
    assert code == 0
    assert f"gcmedia {command}" in said
    assert not loaded & {"httpx", "matplotlib", "websockets", "starlette", "trio"}
    if command not in ("process", "repair", "verify", "prune"):
        return
    code, said, loaded = started(command, "nowhere", *(["--max-age", "1d"] if command == "prune" else []))
    assert (code, said) == (2, "gcmedia: no such file or folder: nowhere\n")


def test_all_commands_are_listed_and_others_refused() -> None:
    code, said, _ = started("--help")
    assert code == 0
    assert "Capture Genesys Cloud call audio" in said
    for command in ("capture", "demo", "dial", "load", "monitor", "mute", "unmute", "status", "report", "serve"):
        assert f"\n  {command} " in said
    for command in ("verify", "repair", "process", "convert", "prune", "simulate", "audit", "token"):
        assert f"\n  {command} " in said
    code, said, _ = started("no-such-thing")
    assert code == 2
    assert "No such command" in said
    code, said, _ = started("audit", "verify", "--help")
    assert code == 0
    assert "hash chain" in said
