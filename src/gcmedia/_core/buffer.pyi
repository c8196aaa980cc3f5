from typing import Any, TypeAlias, TypeVar

import numpy.typing as npt
from typing_extensions import Buffer

# numpy's stubs show the buffer protocol from Python 3.12 on only.
_Readable: TypeAlias = Buffer | npt.NDArray[Any]
_Out = TypeVar("_Out", bound=_Readable)
