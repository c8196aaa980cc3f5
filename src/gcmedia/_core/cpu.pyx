"""Which kernels run: those of the widest instruction set that this processor has.

All sets give the same bits.  ``GCMEDIA_CPU=baseline`` (or ``avx2``, ``avx512``) in the environment, read once when
gcmedia is imported, forces one.
"""

import os

from gcmedia.errors import ConfigError
from gcmedia.types import CpuFeatures

# table.h includes the others; they are named so that the build knows what to copy, and what to watch.
cdef extern from "kernels/isa.h":
    pass
cdef extern from "kernels/decode.h":
    pass
cdef extern from "kernels/encode.h":
    pass
cdef extern from "kernels/level.h":
    pass
cdef extern from "kernels/linear.h":
    pass
cdef extern from "kernels/network.h":
    pass
cdef extern from "kernels/lanes_isa.h":
    pass
cdef extern from "kernels/lanes_end.h":
    pass
cdef extern from "kernels/fourier_isa.h":
    pass
cdef extern from "kernels/points128_isa.h":
    pass
cdef extern from "kernels/bins_isa.h":
    pass
cdef extern from "kernels/gate_bank_isa.h":
    pass
cdef extern from "kernels/network_isa.h":
    pass
cdef extern from "kernels/spectral_isa.h":
    pass
cdef extern from "kernels/spectral.h":
    pass
cdef extern from "kernels/table.h":
    enum:
        N_KERNEL_SETS
    const Kernels[3] KERNEL_SETS
    bint has_kernel_set(int index)

cdef str VARIABLE = "GCMEDIA_CPU"
cdef tuple NAMES = ("baseline", "avx2", "avx512")       # of any processor; the first few are of this one


def _available():
    """The sets that this processor can run, the widest last."""
    cdef int i
    return [KERNEL_SETS[i].name.decode() for i in range(N_KERNEL_SETS) if has_kernel_set(i)]


def select(name, source="name"):
    """Run the kernels of one instruction set from now on, in all modules.

    For tests and benchmarks, which compare the sets within one process; users set ``GCMEDIA_CPU`` instead.  Calls
    that run in other threads end with the kernels that they began with, or change over between two blocks.

    Parameters
    ----------
    name : str
        ``"baseline"``, ``"avx2"`` or ``"avx512"``.
    source : str
        What an error says the name was.

    Raises
    ------
    gcmedia.ConfigError
        If the name is not known, or this processor cannot run the set.
    """
    global kernels
    cdef int i
    available = _available()
    if name not in NAMES:
        raise ConfigError(f"{source} is {name!r}, not one of {', '.join(NAMES)}")
    if name not in available:
        raise ConfigError(f"{source} is {name!r}, but this processor runs {', '.join(available)} only")
    for i in range(N_KERNEL_SETS):
        if KERNEL_SETS[i].name.decode() == name:
            kernels = &KERNEL_SETS[i]


def cpu_features():
    """Tell which kernels run, and which this processor could run.

    Returns
    -------
    gcmedia.CpuFeatures
    """
    return CpuFeatures(kernels.name.decode(), tuple(_available()))


# An empty variable is as good as none.
if os.environ.get(VARIABLE):
    select(os.environ[VARIABLE], VARIABLE)
else:
    select(_available().pop())
