"""Files made of lines, and files replaced as a whole: the two ways in which everything but audio is written."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import Any

import msgspec

from ..errors import FormatError
from .disk import LASTING, failure, identity, make, moved, still_there, whole, write_at

__all__ = ["LineFile", "read_lines", "replace_file", "sha256_of", "to_json"]

BUFFER_OCTETS = 64 * 1024


class LineFile:
    """An append-only file of JSON lines; a line is there whole or not at all.

    Lines that cannot be written wait, up to 64 KiB of them; beyond, the oldest are dropped and counted in `lost`.
    Nothing is raised once the file is open.  A file that somebody moved or removed is made anew under its name, with
    all it held.

    Parameters
    ----------
    path : path
        The file; made if missing, else continued.
    patient : bool
        Whether a file that cannot be opened now is opened later.
    keep_open : bool
        Whether the file stays open between lines; where thousands of calls are recorded, descriptors are scarce.  One
        that vanishes between lines is not made anew.
    first : dict, optional
        Line that a new file has from the moment on at which it has its name.

    Raises
    ------
    OSError
        If it cannot be opened; of a patient file only where no waiting would help.

    Attributes
    ----------
    troubles : int
        How often writing began to fail, or the file had to be made anew.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        patient: bool = False,
        keep_open: bool = True,
        first: dict[str, Any] | None = None,
    ) -> None:
        self._keep_open = keep_open
        self.path = os.fspath(path)
        self._first = b"" if first is None else to_json(first) + b"\n"
        self._fd = -1
        self._identity = (0, 0)
        self._end = 0
        self._closed = False
        self._buffer: list[bytes] = []
        self._n_buffered = 0
        self.n_lines = 0
        self.lost = 0
        self.error: str | None = None
        self.failing = False
        self.troubles = 0
        error = self._open()
        if error is not None and (not patient or error.errno in LASTING):
            raise error
        self._note(error)
        self._let_go()

    def add(self, value: dict[str, Any]) -> None:
        """Take one JSON object; `flush` writes it.  Floats that JSON cannot hold (infinity, NaN) become null."""
        line = to_json(value) + b"\n"
        self._buffer.append(line)
        self._n_buffered += len(line)
        if self._n_buffered >= BUFFER_OCTETS:
            self.flush()

    def flush(self) -> bool:
        """Write the lines taken so far."""
        if self._closed or not (self._buffer or self._keep_open or self.failing):
            return not self.failing
        lines, self._buffer, self._n_buffered = self._buffer, [], 0
        octets = b"".join(lines)
        kept, n_kept = self._write(octets, len(lines))
        if n_kept == len(lines):
            return not self.failing
        waiting, size = lines[n_kept:], len(octets) - kept
        while size > BUFFER_OCTETS:
            size -= len(waiting.pop(0))
            self.lost += 1
        self._buffer, self._n_buffered = waiting, size
        return False

    def write(self, line: bytes) -> bool:
        """Write one line, its end included, now; False if that failed, and the line is not written later either."""
        self.flush()
        if not self._buffer and self._write(line, 1)[1]:
            return True
        self.lost += 1
        return False

    def close(self) -> None:
        """Write what is left; again does nothing."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        self.lost += len(self._buffer)
        self._buffer = []
        if self._fd >= 0:
            self._note(failure(os.close, self._fd))
        self._fd = -1

    def _let_go(self) -> None:
        if not self._keep_open and self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._note(failure(os.close, fd))

    def _open(self) -> OSError | None:
        try:
            if self._fd < 0:
                if self._identity != (0, 0):  # let go since; who removed it does not get half of one again
                    self._fd = make(self.path, os.O_RDWR)
                elif self._first and not os.path.lexists(self.path):
                    self._fd = whole(self.path, self._first)
                    self.n_lines = 1
                else:
                    self._fd = make(self.path, os.O_RDWR | os.O_CREAT)
                self._end = os.fstat(self._fd).st_size
            elif still_there(self._identity, self.path):
                return None
            else:
                if not self.failing:
                    self._trouble(FileNotFoundError(errno.ENOENT, "vanished, and was made anew"))
                    self.failing = True
                self._fd = moved(self._fd, self.path, self._end)
            self._identity = identity(self._fd)
        except OSError as error:
            return error
        return None

    def _write(self, octets: bytes, n_lines: int) -> tuple[int, int]:
        """Octets and lines that were written, whole lines only."""
        written = self._write_here(octets, n_lines)
        self._let_go()
        return written

    def _write_here(self, octets: bytes, n_lines: int) -> tuple[int, int]:
        if self._closed:
            return 0, 0
        trouble = self._open()
        done, error = (0, trouble) if self._fd < 0 else write_at(self._fd, octets, self._end)
        self._note(error or trouble)  # what has vanished is written on, and will be made anew
        if error is None:
            self._end += done
            self.n_lines += n_lines
            return done, n_lines
        # Keep the whole lines that made it, cut off the torn one; if that fails the next line overwrites it.
        kept = octets.rfind(b"\n", 0, done) + 1
        n_kept = octets.count(b"\n", 0, kept)
        self._end += kept
        self.n_lines += n_kept
        if self._fd >= 0:
            failure(os.ftruncate, self._fd, self._end)
        return kept, n_kept

    def _note(self, error: OSError | None) -> None:
        if error is None:
            self.failing = False
        elif not self.failing:
            self._trouble(error)
            self.failing = True

    def _trouble(self, error: OSError) -> None:
        self.troubles += 1
        self.error = self.error or str(error.strerror or error)


def to_json(value: Any) -> bytes:
    """Plain values as JSON.

    What servers and array libraries hand in must not stop a recording: infinity and NaN become null, halves of
    surrogate pairs question marks, numbers of other types numbers, and anything else its text.
    """
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(msgspec.to_builtins(value, enc_hook=_plain)))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _whole(value: Any) -> Any:
    """The value with text that UTF-8 can say."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return value


def read_lines(path: str | os.PathLike[str], *, max_lines: int = 1_000_000) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one a line; a torn last line is left out.

    Raises
    ------
    FormatError
        If another line is no JSON object, or there are more than ``max_lines``.
    """
    found: list[dict[str, Any]] = []
    decoder = msgspec.json.Decoder(dict[str, Any])
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number > max_lines:
                raise FormatError(f"{path}: more than {max_lines} lines")
            if not line.endswith(b"\n"):
                break
            try:
                found.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise FormatError(f"{path}: line {number} is no JSON object: {error}") from error
    return found


def replace_file(path: str | os.PathLike[str], octets: bytes) -> None:
    """Put a file in place as a whole: readers see the old one or the new one, also after a crash."""
    temporary = f"{os.fspath(path)}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


def sha256_of(path: str | os.PathLike[str]) -> tuple[str, int]:
    """Hash of a file, in hexadecimal, and its octets."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()
