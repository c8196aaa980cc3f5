"""The command ``gcmedia serve``, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .dialer import KEYS

MAIN = "from gcmedia.cli import main; main()"


@contextmanager
def serve_command(tmp_path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(KEYS))
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", "--listen", "127.0.0.1:0", "--keys", str(keys), "--plain",
         "--out", str(tmp_path / "calls"), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


class Address:
    """As much of a server as `dial` wants."""

    def __init__(self, port: int) -> None:
        self.address = ("127.0.0.1", port)
