"""Check what is inside the archives that ``make wheel`` built, before anybody installs them.

Usage: ``python tools/check_wheel.py dist/*.whl dist/*.tar.gz``; exit status 1 when one of them is wrong.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

SOURCES = {".c", ".cpp", ".pyx", ".o"}


def wheel_problems(name: str, members: list[str]) -> list[str]:
    """Say what is wrong with the wheel ``name`` that holds ``members``."""
    problems = []
    if "manylinux" not in name and "musllinux" not in name:
        problems.append("has no manylinux tag")
    files = [PurePosixPath(member) for member in members]
    problems += [f"holds {path}, which belongs to the sources" for path in files if path.suffix in SOURCES]
    tops = {path.parts[0] for path in files if ".dist-info" not in path.parts[0]}
    if tops != {"gcmedia"}:
        problems.append(f"installs {', '.join(sorted(tops)) or 'nothing'}, not gcmedia alone")
    if "gcmedia/py.typed" not in members:
        problems.append("lacks gcmedia/py.typed")

    core = [path for path in files if path.parts[:2] == ("gcmedia", "_core")]
    compiled = {path.name.split(".")[0] for path in core if path.suffix == ".so"}
    contracts = {path.stem for path in core if path.suffix == ".pxd"}
    stubs = {path.stem for path in core if path.suffix == ".pyi"}
    problems += [f"lacks gcmedia/_core/{stem}.pxd" for stem in sorted(compiled - contracts)]
    problems += [f"lacks gcmedia/_core/{stem}.pyi" for stem in sorted(compiled - stubs)]
    problems += [f"lacks the compiled module of gcmedia/_core/{stem}.pyi" for stem in sorted(stubs - compiled)]
    if not compiled:
        problems.append("has no compiled core")

    if any(path.parts[:2] == ("gcmedia", "simulator") for path in files):
        speech = [path for path in files if path.parts[:3] == ("gcmedia", "simulator", "speech")]
        if not any(path.suffix == ".wav" for path in speech):
            problems.append("lacks the speech of the simulator")
    return problems


def sdist_problems(members: list[str]) -> list[str]:
    """Say what is wrong with the sdist that holds ``members``."""
    files = [PurePosixPath(*PurePosixPath(member).parts[1:]) for member in members]
    problems = [f"holds {path}, which a build makes" for path in files if path.suffix in {".so", ".o", ".pyc"}]
    problems += [
        f"holds {path}, which Cython makes"
        for path in files
        if path.suffix == ".c" and path.parts[0] != "tests" and "kernels" not in path.parts
    ]
    wanted = ["pyproject.toml", "setup.py", "Makefile", "README.md", "LICENSE", "tests/conftest.py"]
    problems += [f"lacks {name}" for name in wanted if PurePosixPath(name) not in files]
    if not any(path.suffix == ".pyx" for path in files):
        problems.append("has no Cython source")
    return problems


def problems_of(archive: Path) -> list[str]:
    """Say what is wrong with the wheel or sdist at ``archive``."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel_problems(archive.name, [name for name in wheel.namelist() if not name.endswith("/")])
    with tarfile.open(archive) as sdist:
        return sdist_problems([member.name for member in sdist.getmembers() if member.isfile()])


def main(arguments: list[str]) -> int:
    """Print one line for each archive; return the exit status."""
    status = 0 if arguments else 2
    for argument in arguments:
        archive = Path(argument)
        problems = problems_of(archive)
        for problem in problems:
            print(f"{archive.name} {problem}", file=sys.stderr)
            status = 1
        if not problems:
            print(f"{archive.name}: contents as they should be ({archive.stat().st_size} octets)")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
