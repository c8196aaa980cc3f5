"""The examples about muting run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["README.md", "docs/mute.md"])
def test_examples_on_the_simulator_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    examples = [block for block in blocks if "open_mute" in block and "Simulator(" in block]
    assert len(examples) == 1
    exec(compile(examples[0], name, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.startswith("confirmed 0.")
