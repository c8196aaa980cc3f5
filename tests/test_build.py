"""What the build leaves beside the Python files, in the source tree and in an installed wheel alike."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

import gcmedia
from tools.check_wheel import sdist_problems, wheel_problems

PACKAGE = Path(gcmedia.__file__).parent
COMPILED = sorted(path.name.partition(".")[0] for path in PACKAGE.glob(f"_core/*{EXTENSION_SUFFIXES[0]}"))


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert gcmedia.__version__ == version("gcmedia")


def test_this_python_is_one_that_the_distribution_allows() -> None:
    assert metadata("gcmedia")["Requires-Python"] == ">=3.11"
    assert sys.version_info >= (3, 11)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_every_contract_of_the_core_is_compiled_and_stubbed() -> None:
    assert COMPILED
    for suffix in (".pxd", ".pyi"):
        assert [stem for stem in COMPILED if not (PACKAGE / "_core" / f"{stem}{suffix}").is_file()] == []
    assert [path.stem for path in PACKAGE.glob("_core/*.pyi") if path.stem not in COMPILED] == []


WHEEL = "gcmedia-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
SOUND = [
    "gcmedia/__init__.py",
    "gcmedia/py.typed",
    "gcmedia/_core/__init__.py",
    "gcmedia/_core/gate.cpython-311-x86_64-linux-gnu.so",
    "gcmedia/_core/gate.pxd",
    "gcmedia/_core/gate.pyi",
    "gcmedia/simulator/__init__.py",
    "gcmedia/simulator/speech/agent.wav",
    "gcmedia-1.0.dist-info/METADATA",
]


def test_a_sound_wheel_passes() -> None:
    assert wheel_problems(WHEEL, SOUND) == []


@pytest.mark.parametrize(
    ("without", "extra", "expected"),
    [
        ("gcmedia/py.typed", None, "lacks gcmedia/py.typed"),
        ("gcmedia/_core/gate.pyi", None, "lacks gcmedia/_core/gate.pyi"),
        ("gcmedia/_core/gate.pxd", None, "lacks gcmedia/_core/gate.pxd"),
        ("gcmedia/simulator/speech/agent.wav", None, "lacks the speech of the simulator"),
        (None, "gcmedia/_core/gate.c", "holds gcmedia/_core/gate.c, which belongs to the sources"),
        (None, "gcmedia/_core/gate.pyx", "holds gcmedia/_core/gate.pyx, which belongs to the sources"),
        (None, "gcmedia/_core/fft.pyi", "lacks the compiled module of gcmedia/_core/fft.pyi"),
        (None, "tests/conftest.py", "installs gcmedia, tests, not gcmedia alone"),
    ],
)
def test_a_wheel_with_a_fault_is_refused(without: str | None, extra: str | None, expected: str) -> None:
    members = [member for member in SOUND if member != without] + ([extra] if extra else [])
    assert wheel_problems(WHEEL, members) == [expected]


def test_a_wheel_for_this_machine_alone_is_refused() -> None:
    assert wheel_problems("gcmedia-1.0-cp311-cp311-linux_x86_64.whl", SOUND) == ["has no manylinux tag"]


def test_an_sdist_holds_sources_and_nothing_made() -> None:
    files = ["pyproject.toml", "setup.py", "Makefile", "README.md", "LICENSE", "tests/conftest.py"]
    files += ["src/gcmedia/_core/gate.pyx", "src/gcmedia/_core/kernels/decode.c", "tests/capture/failing_writes.c"]
    members = [f"gcmedia-1.0/{name}" for name in files]
    assert sdist_problems(members) == []
    assert sdist_problems([*members, "gcmedia-1.0/build/cython/gate.c"]) == [
        "holds build/cython/gate.c, which Cython makes"
    ]
    assert sdist_problems(members[1:]) == ["lacks pyproject.toml"]
