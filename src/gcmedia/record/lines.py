"""Files made of lines, and files replaced as a whole: the two ways in which everything but audio is written."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import msgspec

from ..errors import FormatError

__all__ = ["LineFile", "read_lines", "replace_file", "sha256_of", "to_json"]

BUFFER_OCTETS = 64 * 1024


class LineFile:
    """An append-only file of JSON lines; a line is there whole or not at all.

    Lines that cannot be written are counted in `lost` and dropped, at the latest when 64 KiB wait; nothing is raised
    once the file is open.

    Parameters
    ----------
    path : path
        The file; made if missing, else continued.
    keep_open : bool
        Whether the file stays open between lines; where thousands of calls are recorded, descriptors are scarce.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep_open: bool = True) -> None:
        self.path = os.fspath(path)
        self._keep_open = keep_open
        self._closed = False
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        self._end = os.fstat(self._fd).st_size
        self._let_go()
        self._buffer: list[bytes] = []
        self._n_buffered = 0
        self.n_lines = 0
        self.lost = 0
        self.error: str | None = None

    def add(self, value: dict[str, Any]) -> None:
        """Take one JSON object; `flush` writes it.  Floats that JSON cannot hold (infinity, NaN) become null."""
        line = to_json(value) + b"\n"
        self._buffer.append(line)
        self._n_buffered += len(line)
        if self._n_buffered >= BUFFER_OCTETS:
            self.flush()

    def flush(self) -> bool:
        """Write the lines taken so far."""
        if not self._buffer:
            return True
        lines, self._buffer, self._n_buffered = self._buffer, [], 0
        return self._write(b"".join(lines), len(lines))

    def write(self, line: bytes) -> bool:
        """Write one line, its end included, now; False if that failed."""
        self.flush()
        return self._write(line, 1)

    def close(self) -> None:
        """Write what is left; again does nothing."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        if self._fd < 0:
            return
        try:
            os.close(self._fd)
        except OSError as error:
            self.error = self.error or str(error.strerror)
        self._fd = -1

    def _let_go(self) -> None:
        if not self._keep_open and self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as error:
                self.error = self.error or str(error.strerror)

    def _write(self, octets: bytes, n_lines: int) -> bool:
        if self._closed:
            self.lost += n_lines
            return False
        if self._fd < 0:
            try:
                self._fd = os.open(self.path, os.O_WRONLY)  # who removed it meanwhile does not get half of one again
            except OSError as error:
                self.error = self.error or str(error.strerror)
                self.lost += n_lines
                return False
        written = self._write_here(octets, n_lines)
        self._let_go()
        return written

    def _write_here(self, octets: bytes, n_lines: int) -> bool:
        done = 0
        try:
            while done < len(octets):
                done += os.pwrite(self._fd, octets[done:], self._end + done)
        except OSError as error:
            self.error = self.error or str(error.strerror)
            # Keep the whole lines that made it, cut off the torn one.
            kept = octets.rfind(b"\n", 0, done) + 1
            n_kept = octets.count(b"\n", 0, kept)
            self._end += kept
            self.n_lines += n_kept
            self.lost += n_lines - n_kept
            try:
                os.ftruncate(self._fd, self._end)
            except OSError:
                pass  # the next line overwrites the torn one
            return False
        self._end += done
        self.n_lines += n_lines
        return True


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
