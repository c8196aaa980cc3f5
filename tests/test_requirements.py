"""The page of requirements: complete, and every file and test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "requirements.md"

#: Rows of each tutorial; they are numbered from 1.
ROWS = {"000": 40, "001": 32, "002": 28, "003": 39, "004": 44}

ROW = re.compile(r"\| (\d{3}-\d{2}) \| (.+?) \| (.*?) \| (.+) \|")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LEAST_REASON = 30  # characters


@cache
def page() -> dict[str, tuple[str, str, str]]:
    """What, where and shown by, of each row."""
    rows: dict[str, tuple[str, str, str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        match = ROW.fullmatch(line)
        if match is None:
            assert not re.match(r"\|\s*\d", line), f"no row can be read out of {line!r}"
            continue
        assert match[1] not in rows, f"{match[1]} is there twice"
        rows[match[1]] = match[2], match[3], match[4]
    return rows


@cache
def names_in(file: str) -> frozenset[str]:
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, functions) and node.name.startswith("test_"))


def test_every_row_is_there_in_order() -> None:
    assert list(page()) == [f"{tutorial}-{n:02d}" for tutorial, rows in ROWS.items() for n in range(1, rows + 1)]


@pytest.mark.parametrize("row", page())
def test_a_row_is_shown_by_tests_that_exist_or_says_why_not(row: str) -> None:
    _, where, shown = page()[row]
    named = TEST.findall(shown)
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(file)]
    assert not missing
    reason, otherwise = re.subn(r"^otherwise: ", "", TEST.sub("", shown).strip())
    if otherwise:
        assert len(reason) >= LEAST_REASON
    else:
        assert named
        assert not reason, f"{reason!r} is neither a test nor a reason"
        assert where
    for path in re.findall(r"`([^`]+)`", where):
        assert (ROOT / "src" / "gcmedia" / path).exists(), path
