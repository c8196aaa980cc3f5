"""The picture of the package's layers, held to its ``import`` and ``cimport`` lines."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import gcmedia

# A room is a top-level module or package.  It imports rooms of lower levels, and itself; ``gcmedia/__init__`` may
# import anything, because nothing below it imports it.
LEVELS = (
    ("errors", "types"),
    ("config", "_core", "dialects", "regions", "backoff", "clock", "fanout", "redact", "resample"),
    ("auth", "live", "masking", "transport", "record"),
    ("delivery", "notifications", "reconnect"),
    ("mute", "capture", "media_streams", "process", "server"),
    ("metrics", "monitor", "report", "simulator", "cli", "demo", "load"),
    ("__main__",),
)
ROOT = "__init__"

# (importer, imported): why these siblings may.
EXCEPTIONS = {
    ("_core", "config"): "settings are checked in one place, and the core takes them as they are",
    ("auth", "transport"): "a token is asked for over the same HTTP client as everything else",
    ("backoff", "config"): "its one setting is ReconnectConfig",
    ("resample", "_core"): "it names the type of the frames that it is given",
    ("cli", "load"): "a command starts whatever it is named after",
    ("cli", "metrics"): "a command starts whatever it is named after",
    ("cli", "monitor"): "a command starts whatever it is named after",
    ("cli", "report"): "a command starts whatever it is named after",
    ("cli", "simulator"): "a command starts whatever it is named after",
    ("cli", "demo"): "a command starts whatever it is named after",
    ("monitor", "metrics"): "the port that serves the page answers scrapes too",
    ("monitor", "report"): "a recorded call is read in one place",
    ("demo", "report"): "the demo is a captured call with a report about it",
    ("demo", "simulator"): "the demo calls the simulator",
    ("load", "simulator"): "a load is many of the simulator's callers at once",
}

# No clock, no socket, no event loop below the edge; and no wire format in the core.
CLOCKS_AND_SOCKETS = {"anyio", "asyncio", "datetime", "httpx", "select", "socket", "ssl", "time", "trio", "websockets"}
FORBIDDEN = {
    "_core": CLOCKS_AND_SOCKETS | {"json", "msgspec", "threading"},
    "dialects": CLOCKS_AND_SOCKETS - {"datetime"},
}

# What ``import gcmedia`` leaves for the moment of use.
HEAVY = {
    "anyio",
    "asyncio",
    "cryptography",
    "h11",
    "http_message_signatures",
    "http_sf",
    "httpcore",
    "httpx",
    "matplotlib",
    "msgspec",
    "numpy",
    "prometheus_client",
    "rich",
    "soxr",
    "ssl",
    "starlette",
    "trio",
    "typer",
    "uvicorn",
    "websockets",
}


@dataclass(frozen=True)
class Import:
    """One name that a file imports: absolute, as written once the dots are resolved."""

    file: Path
    line: int
    target: str


# One statement of a .pyx or .pxd, its comments and strings blanked; a parenthesised list may span lines.
CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n;]+)"
    r"|c?import[ \t]+(?P<modules>[^\n;]+))",
    re.MULTILINE,
)
CYTHON_BLANKS = re.compile(r"'''.*?'''|\"\"\".*?\"\"\"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*", re.DOTALL)


def module_name(package: Path, file: Path) -> str:
    """``gcmedia._core.gate`` for ``gcmedia/_core/gate.pyx``; a package is named as its folder."""
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == ROOT else parts)


def absolute(base: str, module: str, is_package: bool) -> str:
    """Resolve the leading dots of ``base``, met in ``module``."""
    dots = len(base) - len(base.lstrip("."))
    if not dots:
        return base
    parts = module.split(".")
    parts = parts[: len(parts) - dots + is_package]
    return ".".join([*parts, *filter(None, [base.lstrip(".")])])


def python_imports(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Each import of a Python file: line, module with its dots, names taken out of it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def cython_imports(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Each import and cimport of a Cython file, in the same form."""
    text = CYTHON_BLANKS.sub(lambda match: "\n" * match[0].count("\n"), text).replace("\\\n", "  ")
    for match in CYTHON_IMPORT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        listed = (match["names"] or match["modules"]).strip("() \t\n")
        names = [name.split()[0] for name in listed.split(",") if name.strip()]
        if match["base"]:
            yield line, match["base"], names
        else:
            for name in names:
                yield line, name, []


def imports_of(package: Path) -> dict[str, list[Import]]:
    """Every import in ``package``, by the module that has it."""
    files = sorted(file for kind in ("py", "pyi", "pyx", "pxd") for file in package.rglob(f"*.{kind}"))
    modules = {module_name(package, file) for file in files}
    graph: dict[str, list[Import]] = {module: [] for module in sorted(modules)}
    for file in files:
        module = module_name(package, file)
        read = python_imports if file.suffix in (".py", ".pyi") else cython_imports
        for line, base, names in read(file.read_text(encoding="utf-8")):
            target = absolute(base, module, file.stem == ROOT)
            # ``from . import gate`` names a module, ``from .gate import SpectralGate`` something within one.
            for name in names or [""]:
                if target == package.name and name == "__version__":
                    continue  # a constant, there before anything else of the package
                inner = f"{target}.{name}"
                graph[module].append(Import(file, line, inner if inner in modules else target))
    return graph


def room_of(module: str) -> str:
    """The room of ``gcmedia.<room>...``; the package itself is its own."""
    return module.split(".")[1] if "." in module else ROOT


def violations(package: Path) -> list[str]:
    """Every line that does not fit the picture."""
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    level[ROOT] = len(LEVELS)
    problems = []
    for module, imports in imports_of(package).items():
        room = room_of(module)
        if room not in level:
            problems.append(f"{module} is in no room of the picture: give {room!r} a level")
            continue
        for found in imports:
            where = f"{found.file.relative_to(package.parent)}:{found.line}: {room} imports"
            top, _, _ = found.target.partition(".")
            if top != package.name:
                if top in FORBIDDEN.get(room, ()):
                    problems.append(f"{where} {top}, which it must do without")
                continue
            other = room_of(found.target)
            if other == room or (room, other) in EXCEPTIONS or other not in level:
                continue
            if level[other] > level[room]:
                problems.append(f"{where} {found.target}, which lies above it")
            elif level[other] == level[room]:
                problems.append(f"{where} {found.target}, its sibling")
    return problems


def cycles(package: Path) -> list[str]:
    """Every loop of modules that import each other, once each; lines under ``if TYPE_CHECKING`` count."""
    graph = {
        module: sorted({line.target for line in lines} - {module}) for module, lines in imports_of(package).items()
    }
    found: dict[frozenset[str], str] = {}
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            loop = path[path.index(module) :]
            found.setdefault(frozenset(loop), " -> ".join([*loop, module]))
            return
        if module in done or module not in graph:
            return
        for target in graph[module]:
            visit(target, [*path, module])
        done.add(module)

    for module in graph:
        visit(module, [])
    return list(found.values())


def package_folder() -> Path:
    return Path(gcmedia.__file__).parent


def test_lower_rooms_never_import_higher_ones_nor_siblings_each_other() -> None:
    problems = violations(package_folder())
    assert not problems, "\n".join(problems)


def test_no_module_takes_part_in_an_import_cycle() -> None:
    loops = cycles(package_folder())
    assert not loops, "\n".join(loops)


def in_fresh_process(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_gcmedia_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import gcmedia; print(*sorted(set(sys.modules) - before), sep='\\n')"
    loaded = {name.partition(".")[0] for name in in_fresh_process(code).split()}
    assert not loaded & HEAVY, sorted(loaded & HEAVY)


# Each module in a process that has imported nothing but the packages around it, which Python itself imports before any
# module of theirs: as fresh as a new process, and much quicker to have by a fork of the package's own.
IMPORT_EACH_ALONE = """
import gc, json, os, sys, traceback

def import_alone(module):
    child = os.fork()
    if child == 0:
        try:
            __import__(module)
        except BaseException:
            tell(module, traceback.format_exc()[-4000:])
        else:
            for inner in within.get(module, ()):
                import_alone(inner)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        tell(module, "died")

def tell(module, report):
    os.write(1, (json.dumps([module, report]) + "\\n").encode())

gc.disable()
within = {}
for module in sys.argv[1:]:
    within.setdefault(module.rpartition(".")[0], []).append(module)
for top in within[""]:
    import_alone(top)
"""


def failing_alone(package: Path, *, path: Path | None = None) -> dict[str, str]:
    """The modules that cannot be imported first, and why; behind a package that cannot, those within are not tried."""
    files = [*package.rglob("[!_]*.py"), *package.rglob("__init__.py"), *package.rglob(f"*{EXTENSION_SUFFIXES[0]}")]
    modules = sorted(module_name(package, file.with_name(file.name.partition(".")[0])) for file in files)
    assert {module.rpartition(".")[0] for module in modules} <= {"", *modules}, "a folder of modules is no package"
    find = "" if path is None else f"import sys; sys.path.insert(0, {str(path)!r})\n"
    return dict(json.loads(line) for line in in_fresh_process(find + IMPORT_EACH_ALONE, *modules).splitlines())


def test_each_module_can_be_imported_first() -> None:
    failures = failing_alone(package_folder())
    assert not failures, "\n".join(f"{module}:\n{report}" for module, report in failures.items())


# The checker itself, on small trees.


def plant(folder: Path, files: dict[str, str]) -> Path:
    """Write a package ``gcmedia`` of ``files`` under ``folder``."""
    package = folder / "gcmedia"
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


SOUND = {
    "__init__.py": "def __getattr__(name):\n    from .capture import capture\n",
    "errors.py": "import enum\n",
    "config.py": "from .errors import ConfigError\n",
    "_core/__init__.py": "",
    "_core/g711.pxd": "from libc.stdint cimport int16_t\n",
    "_core/gate.pyx": '"""import json, from .. import capture"""\nfrom . cimport g711  # from ..capture import x\n',
    "transport/__init__.py": "from . import http\n",
    "transport/http.py": "import httpx\nfrom ..errors import (\n    TransportError,\n)\n",
    "capture.py": "import time\nfrom .transport.http import Client\nimport gcmedia._core.gate\n",
    "cli.py": "from . import __version__\nfrom .simulator import serve\n",
    "simulator.py": "from . import capture\n",
}


def test_the_checker_accepts_a_sound_tree(tmp_path: Path) -> None:
    package = plant(tmp_path, SOUND)
    assert violations(package) == []
    assert cycles(package) == []


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        pytest.param(
            "errors.py", "from .config import x", "errors.py:1: errors imports gcmedia.config, which", id="up"
        ),
        pytest.param("errors.py", "from gcmedia import x", "errors imports gcmedia, which lies above it", id="root"),
        pytest.param("config.py", "def f():\n    import gcmedia.capture", "config.py:2: config", id="inside-function"),
        pytest.param("config.pyi", "from . import capture", "config.pyi:1: config", id="stub"),
        pytest.param("transport/http.py", "from .. import auth", "http.py:1: transport imports", id="sibling-as-name"),
        pytest.param("transport/http.py", "from ..auth import t", "imports gcmedia.auth, its sibling", id="sibling"),
        pytest.param("simulator.py", "from .cli import x", "simulator imports gcmedia.cli, its sibling", id="one-way"),
        pytest.param("_core/gate.pyx", "from ..regions cimport (\n    a,\n)", "gate.pyx:1: _core", id="cimport"),
        pytest.param("_core/gate.pxd", "\ncimport gcmedia.dialects as d", "gate.pxd:2: _core", id="plain-cimport"),
        pytest.param("_core/gate.pyx", "import math, json", "_core imports json, which it must", id="core-json"),
        pytest.param("_core/gate.pyx", "  import time  # now", "_core imports time, which it must", id="core-clock"),
        pytest.param("_core/gate.pyi", "from asyncio import Task", "_core imports asyncio", id="core-stub"),
        pytest.param("dialects/hook.py", "import socket", "dialects imports socket", id="wire-socket"),
        pytest.param("attic.py", "", "gcmedia.attic is in no room", id="no-room"),
    ],
)
def test_the_checker_finds_what_breaks_the_picture(tmp_path: Path, file: str, text: str, expected: str) -> None:
    others = {"auth.py": "", "regions.py": "", "dialects/__init__.py": ""}
    problems = violations(plant(tmp_path, {**SOUND, **others, file: text}))
    assert len(problems) == 1
    assert expected in problems[0]


def test_the_checker_finds_a_cycle_within_a_room(tmp_path: Path) -> None:
    package = plant(
        tmp_path,
        {
            "record/__init__.py": "",
            "record/wav.py": "from .journal import Journal",
            "record/journal.py": "def f():\n    from . import timeline",
            "record/timeline.py": "from gcmedia.record.wav import Wav",
        },
    )
    assert cycles(package) == [
        "gcmedia.record.journal -> gcmedia.record.timeline -> gcmedia.record.wav -> gcmedia.record.journal"
    ]


def test_importing_alone_finds_a_module_that_needs_another_one_first(tmp_path: Path) -> None:
    package = plant(
        tmp_path,
        {
            "config.py": "from .record.wav import Wav\nclass Config: pass",
            "record/__init__.py": "",
            "record/journal.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
            "record/late.py": "import sys\nsys.modules['gcmedia.record.wav']",
            "record/wav.py": "from ..config import Config\nclass Wav: pass",
            "server/__init__.py": "from ..record import wav",
            "server/call.py": "",
        },
    )
    failures = failing_alone(package, path=tmp_path)
    assert failures.keys() == {
        "gcmedia.config", "gcmedia.record.journal", "gcmedia.record.late", "gcmedia.record.wav", "gcmedia.server",
    }  # fmt: skip
    assert failures["gcmedia.record.journal"] == "died"
    assert "partially initialized" in failures["gcmedia.server"]
