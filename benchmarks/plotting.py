"""Plots that are small enough to be kept beside their text."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


def save_small(figure: Any, path: Path) -> None:
    """Write ``figure`` as a PNG of sixteen colours, which is a quarter of the size."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=60)
    Image.open(drawn).convert("RGB").quantize(16, dither=Image.Dither.NONE).save(path, optimize=True)
