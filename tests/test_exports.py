"""The public face: what ``gcmedia`` exports, the tree of its errors, the stubs of its core."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import gcmedia
from gcmedia import config, errors, types

CORE = Path(gcmedia.__file__).parent / "_core"
STUBS = sorted(path.stem for path in CORE.glob("*.pyi") if not path.stem.startswith("_"))

# The call forms that users and other programs rely on.
KEPT = {
    "Compressor",
    "JitterBuffer",
    "Receiver",
    "SequenceValidator",
    "SilenceDetector",
    "SpectralGate",
    "SpectralGateBank",
    "alaw_decode",
    "alaw_encode",
    "capture",
    "parse_header",
    "ulaw_decode",
    "ulaw_encode",
}


def test_all_is_sorted_and_names_nothing_twice() -> None:
    assert gcmedia.__all__ == sorted(set(gcmedia.__all__))


def test_every_name_of_all_can_be_had() -> None:
    missing = [name for name in gcmedia.__all__ if not hasattr(gcmedia, name)]
    assert not missing


def test_all_holds_the_errors_the_settings_the_types_and_the_kept_names() -> None:
    exceptions = {error.__name__ for error in error_classes()}
    expected = KEPT | exceptions | set(config.__all__) | set(types.__all__)
    assert not expected - set(gcmedia.__all__)


def test_dir_shows_lazy_names_before_they_are_used() -> None:
    code = "import gcmedia, json; print(json.dumps(sorted(set(gcmedia.__all__) - set(dir(gcmedia)))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(gcmedia, "no_such_name")  # noqa: B009 - mypy would refuse the plain form


def error_classes() -> list[type[Exception]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    ]


def drawn_tree() -> dict[str, set[str]]:
    """Each exception drawn at the top of errors.py, with the names of its bases: its parent, then those in brackets."""
    lines = (errors.__doc__ or "").split("::\n", 1)[1].splitlines()
    tree: dict[str, set[str]] = {}
    path: list[str] = []
    for line in filter(str.strip, lines):
        drawing = line.strip().lstrip("│├└─ ")
        depth = (len(line.strip()) - len(drawing)) // 4
        if not line.startswith("    "):
            break  # the drawing is over
        name, _, rest = drawing.partition(" ")
        builtin = rest[1:].partition(")")[0] if rest.startswith("(") else ""
        tree[name] = {*path[depth - 1 : depth], *filter(None, [builtin])} if depth else set()
        path[depth:] = [name]
    return tree


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    real = {error.__name__: {base.__name__ for base in error.__bases__} for error in error_classes()}
    root = real.pop("GcmediaError")
    drawn = drawn_tree()
    assert drawn.pop("GcmediaError") == set()
    assert root == {"Exception"}
    assert drawn == real


def public_names(module: ModuleType) -> set[str]:
    """What a compiled module defines itself; what it imports belongs to another."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


def stubbed_names(stub: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("stem", STUBS)
def test_the_stub_names_what_the_compiled_module_defines(stem: str) -> None:
    module = importlib.import_module(f"gcmedia._core.{stem}")
    stubbed = stubbed_names(CORE / f"{stem}.pyi")
    assert not public_names(module) - stubbed, "missing in the stub"
    assert not {name for name in stubbed if not hasattr(module, name)}, "missing in the module"
