"""Files on a disk that may fail, fill up or go away: writing that reports instead of raising."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable

__all__ = [
    "LASTING",
    "PASSING",
    "failure",
    "identity",
    "is_held",
    "make",
    "moved",
    "still_there",
    "sync_directory",
    "whole",
    "write_at",
]

#: What is wrong with the path itself; no waiting mends it.
LASTING = frozenset((errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.EEXIST))
PASSING = ".new"  # ends the name of a file that is being made, and begins with a dot
PIECE_OCTETS = 1 << 20
MOST_MOVED = 256 << 20  # octets that are copied when a file has to be made anew, about a second's work


def write_at(fd: int, octets: memoryview | bytes, offset: int) -> tuple[int, OSError | None]:
    """Octets that were written, and what stopped the rest."""
    done = 0
    while done < len(octets):
        try:
            done += os.pwrite(fd, octets[done:], offset + done)
        except OSError as error:
            return done, error
    return done, None


def failure(call: Callable[..., object], *arguments: object) -> OSError | None:
    """Call; hand back the OSError instead of raising it."""
    try:
        call(*arguments)
    except OSError as error:
        return error
    return None


def make(path: str, flags: int) -> int:
    """Open a file for writing, its folders made if they are missing, and hold it: `is_held` says so to others."""
    try:
        fd = os.open(path, flags, 0o666)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        os.makedirs(os.path.dirname(path) or ".", 0o700, exist_ok=True)
        fd = os.open(path, flags, 0o666)
    for _ in range(100):  # `is_held` of another process takes the lock for a moment
        if failure(fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB) is None:
            break  # not every filesystem can
    return fd


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether a living process writes the file; the kernel lets go of it when the process dies."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def identity(fd: int) -> tuple[int, int]:
    """What tells an open file from every other."""
    found = os.fstat(fd)
    return found.st_ino, found.st_dev


def still_there(known: tuple[int, int], path: str) -> bool:
    """Whether the path still leads to the file of that identity."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # who knows; writing will tell
    return (found.st_ino, found.st_dev) == known


def whole(path: str, octets: bytes) -> int:
    """Make a new file that has its first octets from the moment on at which it has its name, and hold it.

    Raises
    ------
    OSError
        If that cannot be done now, or something of that name is there; then nothing has changed.
    """
    return _placed(path, lambda fd: _raised(write_at(fd, octets, 0)[1]))


def moved(fd: int, path: str, n_octets: int) -> int:
    """Make a file anew that has vanished from its path, with its first octets; the old descriptor is closed.

    Raises
    ------
    OSError
        If that cannot be done now; then nothing has changed.
    """
    if n_octets > MOST_MOVED:
        raise OSError(errno.EFBIG, f"vanished, with {n_octets} octets, more than {MOST_MOVED} to write again")

    def copy(new: int) -> None:
        done = 0
        while done < n_octets:
            piece = os.pread(fd, min(PIECE_OCTETS, n_octets - done), done)
            if not piece:
                raise OSError(errno.EIO, "vanished, and ends early")
            written, error = write_at(new, piece, done)
            done += written
            _raised(error)

    new = _placed(path, copy)
    failure(os.close, fd)
    return new


def _placed(path: str, fill: Callable[[int], None]) -> int:
    """Fill a file under a passing name, and give it its own."""
    folder, name = os.path.split(path)
    passing = os.path.join(folder, f".{name}{PASSING}")
    new = make(passing, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        fill(new)
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "exists", path)
        os.rename(passing, path)
    except OSError:
        os.close(new)
        failure(os.unlink, passing)
        raise
    return new


def _raised(error: OSError | None) -> None:
    if error is not None:
        raise error


def sync_directory(path: str) -> None:
    """Make the names in a folder last."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
