"""The concealment of libspandsp (plc.c), by ctypes: in the manner of G.711 Appendix I, without its delay."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt


def find() -> str | None:
    """The library's name, where it is installed."""
    return ctypes.util.find_library("spandsp")


@cache
def library() -> Any:
    """The library, its functions typed."""
    loaded = ctypes.CDLL(find())
    loaded.plc_init.restype = ctypes.c_void_p
    loaded.plc_init.argtypes = loaded.plc_free.argtypes = [ctypes.c_void_p]
    loaded.plc_rx.argtypes = loaded.plc_fillin.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    return loaded


class Concealer:
    """8 kHz; the same calls as gcmedia's, one-sided."""

    def __init__(self) -> None:
        self._library = library()
        self._state = self._library.plc_init(None)

    def push(self, pcm: npt.NDArray[np.int16]) -> bytes:
        """Good samples; what follows a hole is altered."""
        out = np.array(pcm, np.int16)
        self._library.plc_rx(self._state, out.ctypes.data, len(out))
        return out.tobytes()

    def conceal(self, n_samples: int) -> bytes:
        """Fill a hole, or its next part."""
        out = np.zeros(n_samples, np.int16)
        self._library.plc_fillin(self._state, out.ctypes.data, n_samples)
        return out.tobytes()

    def __del__(self) -> None:
        self._library.plc_free(self._state)
