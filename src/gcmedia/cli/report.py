"""``gcmedia report``: draw a recorded call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import ConfigError
from .show import console

__all__ = ["report_command"]


def report_command(call_dir: Annotated[Path, typer.Argument(help="A call folder.")]) -> None:
    """Draw a call folder on one page, PNG and HTML."""
    try:
        from ..report import render_report
    except ModuleNotFoundError as error:
        raise ConfigError(f"a report needs {error.name}: pip install 'gcmedia[report]'") from None
    png, html = render_report(call_dir)
    console.print(f"{escape(str(html))}\n{escape(str(png))}", soft_wrap=True)
