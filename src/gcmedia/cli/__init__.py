"""The ``gcmedia`` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; the exit code tells how it went.

    0 all well; 1 the call failed or its accounting does not hold; 2 wrong usage or settings; 3 not authorised;
    4 no connection; 130 interrupted.
    """
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(f"the gcmedia command needs {error.name}: pip install 'gcmedia[cli]'", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(run())
