"""Compile the core: every .pyx under src/gcmedia/_core becomes one extension module.

GCMEDIA_DEBUG=1 turns the checks of bounds and of uninitialised views back on; GCMEDIA_SANITIZE=1 builds with
AddressSanitizer and UndefinedBehaviorSanitizer.  GCMEDIA_CORE=0 leaves the core out, for an environment whose core is
compiled in place later.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

debug = os.environ.get("GCMEDIA_DEBUG") == "1"
sanitize = os.environ.get("GCMEDIA_SANITIZE") == "1"

# -ffp-contract=off: no fused multiply-add behind our back, so that every machine gives the same bits.
# -fno-trapping-math: nobody reads the processor's exception flags; results stay the same, and loops with a choice
# between two values become vector code.
compile_args = ["-O1" if debug or sanitize else "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
compile_args += ["-Wno-unreachable-code"]
# Python's own -fwrapv keeps the compiler from telling where an index goes, which costs the kernels an eighth.  They let
# no signed number overflow: tests/kernels compares and sanitizes them without it.
kernel_args = ["-fno-wrapv"]
link_args = []
if sanitize:
    compile_args += [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
        "-g1",
    ]
    link_args += ["-fsanitize=address,undefined"]

directives = {
    "language_level": 3,
    "boundscheck": debug,
    "initializedcheck": debug,
    "overflowcheck": False,
    "wraparound": False,
    "cdivision": True,
    "auto_pickle": False,
    "autotestdict": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
    "binding": False,
}

modules = sorted(Path("src/gcmedia/_core").glob("*.pyx")) if os.environ.get("GCMEDIA_CORE") != "0" else []
kernels = sorted(path.as_posix() for path in Path("src/gcmedia/_core/kernels").glob("*"))
setup(
    ext_modules=cythonize(
        [
            Extension(
                f"gcmedia._core.{path.stem}",
                [path.as_posix()],
                depends=kernels,
                extra_compile_args=compile_args + (kernel_args if path.stem == "cpu" else []),
                extra_link_args=link_args,
                libraries=["m"],
            )
            for path in modules
        ],
        # One folder for each interpreter and mode: no build takes the C of another, and they may run side by side.
        build_dir=f"build/cython/{sys.implementation.cache_tag}{'-debug' * debug}{'-sanitize' * sanitize}",
        compiler_directives=directives,
        nthreads=os.cpu_count() or 1,
        quiet=True,
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
