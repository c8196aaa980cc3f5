"""One page that shows a recorded call: PNG, and HTML that needs nothing but itself.

Only the files of the call folder are read, so a call that was cut off, or is still running, can be drawn too.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..record.lines import replace_file
from .data import load_call
from .figure import draw, to_png, to_svg
from .page import render_page

__all__ = ["render_report"]


def render_report(call_dir: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Draw a call folder into ``report.png`` and ``report.html`` beside its files.

    Parameters
    ----------
    call_dir : path
        A folder that `gcmedia.record.CallFolder` wrote, closed or not.

    Returns
    -------
    tuple of Path
        The PNG, 1600 pixels wide, and the HTML.

    Raises
    ------
    ConfigError
        If its audio is FLAC, and the extra ``files`` is not installed.
    FormatError
        If the folder holds no call, or one of its files is damaged; the message names it.
    OSError
        If files cannot be read or written.
    """
    call = load_call(Path(call_dir))
    figure = draw(call)
    png_path, html_path = call.path / "report.png", call.path / "report.html"
    replace_file(png_path, to_png(figure))
    replace_file(html_path, render_page(call, to_svg(figure)).encode())
    return png_path, html_path
