"""WAV files that survive: an append-only journal whose header is always true.

A journal lives under ``NAME.wav.part`` until it is closed::

    RIFF size WAVE | JUNK 28 octets | fmt | (fact) | JUNK "open" | data size | samples ...

The first ``JUNK`` keeps the place of the ``ds64`` chunk that turns the file into RF64 (EBU Tech 3306) once its sizes
no longer fit 32 bits.  The second says that nobody has closed the file yet: `repair_wav` mends only such files.
Samples are written first, the header after them, so a process that dies at any moment leaves a file that every reader
opens, with all audio up to the last header.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import ConfigError, FormatError, StateError
from .disk import LASTING, failure, identity, moved, still_there, sync_directory, whole, write_at
from .wav_file import CODINGS, DONE, OPEN, UNKNOWN_SIZE, pack_header

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["WavJournal"]

BUFFER_OCTETS = 32 * 1024  # small appends are collected up to here
FILL_OCTETS = 64 * 1024  # silence is written in pieces of this size
MAX_SPANS = 1000  # spans not written that are kept one by one


class WavJournal:
    """Write one WAV file so that it can be read at any moment, whatever happens to the writer.

    Parameters
    ----------
    path : path
        The final name.  Until `close` the file is ``path`` with ``.part`` added; neither may exist.
    sample_rate : int
        Hz.
    n_channels : int
        Channels interleaved, 1 to 16.
    encoding : str
        ``"L16"`` (int16, little-endian, as WAV has it), ``"PCMU"`` or ``"PCMA"`` (octets as received).
    flush_s : float
        Seconds of the caller's time between header updates, at most 1.
    sync_s : float, optional
        Seconds between ``fdatasync``; left out, only `close` syncs.
    patient : bool
        Whether a file that cannot be made now, for want of space, descriptors or a disk that works, is made later.
    rf64_from : int
        RIFF size in octets from which on the file is RF64; the default is where 32 bits end.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    OSError
        If the file cannot be made; of a patient journal only where no waiting would help.

    Notes
    -----
    After construction the disk can no longer raise into the capture.  What could not be written is recorded in
    `incomplete`, `error` and `unwritten`, and made up with silence as soon as writing works again, so that a
    sample's place in the file is its place on the timeline.  A file that somebody moved or removed is made anew under
    its name, with all it held, up to 256 MiB.

    Attributes
    ----------
    troubles : int
        How often writing began to fail, or the file had to be made anew.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int = 8000,
        n_channels: int = 1,
        encoding: str = "L16",
        *,
        flush_s: float = 0.95,
        sync_s: float | None = None,
        patient: bool = False,
        rf64_from: int = UNKNOWN_SIZE,
    ) -> None:
        if encoding not in CODINGS:
            raise ConfigError(f"encoding is {encoding!r}, not one of {', '.join(CODINGS)}")
        if not 1 <= sample_rate <= 768_000:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not in [1, 768000]")
        if not 1 <= n_channels <= 16:
            raise ConfigError(f"n_channels is {n_channels}, not in [1, 16]")
        if not 0.0 <= flush_s <= 1.0:
            raise ConfigError(f"flush_s is {flush_s} s, not in [0, 1]")
        if sync_s is not None and not 0.0 <= sync_s <= 86_400.0:
            raise ConfigError(f"sync_s is {sync_s} s, not in [0, 86400]")
        if not 0 <= rf64_from <= UNKNOWN_SIZE:
            raise ConfigError(f"rf64_from is {rf64_from} octets, not in [0, {UNKNOWN_SIZE}]")
        self.path = os.fspath(path)
        self.part_path = self.path + ".part"
        self.sample_rate = sample_rate
        self.n_channels = n_channels
        self.encoding = encoding
        self._coding = CODINGS[encoding]
        self._block = self._coding.width * n_channels
        self._flush_s = flush_s
        self._sync_s = sync_s
        self._flushed_at: float | None = None
        self._synced_at: float | None = None
        self._buffer: list[bytes] = []
        self._n_buffered = 0  # octets of it
        self._owed = 0  # octets of silence due between what is on disk and the buffer
        self._on_disk = 0  # octets of audio
        self._in_header = 0  # octets of audio that the header tells of
        self._rf64_from = rf64_from
        self._closed = False
        self._failing = False
        self._unsure = False  # whether what was written has reached the disk, under its name
        self._error: str | None = None
        self._unwritten: list[tuple[int, int]] = []
        self._n_unwritten = 0
        self.troubles = 0
        if os.path.lexists(self.path):
            raise FileExistsError(f"{self.path} exists")
        self._fd = -1
        self._identity = (0, 0)
        self._header_size = len(self._header())
        error = self._open()
        if error is not None and (not patient or error.errno in LASTING):
            raise error
        self._note(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def n_samples(self) -> int:
        """Length of the timeline so far, per channel, with what is still in memory and what could not be written."""
        return (self._on_disk + self._owed + self._n_buffered) // self._block

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def failing(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._failing

    @property
    def incomplete(self) -> bool:
        """Whether audio was lost, or may be: silence is in its place, or the last steps of closing failed."""
        return self._n_unwritten > 0 or self._unsure

    @property
    def error(self) -> str | None:
        """The first thing that went wrong."""
        return self._error

    @property
    def unwritten(self) -> tuple[tuple[int, int], ...]:
        """Spans (position, n_samples) whose audio was not written; the first 1000, neighbours merged."""
        return tuple(self._unwritten)

    @property
    def n_unwritten(self) -> int:
        """Samples per channel that were not written, in all."""
        return self._n_unwritten

    def append(self, octets: Buffer, now: float) -> bool:
        """Add samples.

        Parameters
        ----------
        octets : buffer
            Whole samples of every channel in the file's encoding; int16 in native order is right on every
            machine that the package is built for.  Borrowed for the call.
        now : float
            Seconds of any steady clock.

        Returns
        -------
        bool
            False while the file cannot be written.

        Raises
        ------
        FormatError
            If the octets do not end with a sample.
        StateError
            If the journal is closed.
        """
        if self._closed:
            raise StateError(f"{self.path} is closed; nothing can be appended")
        if type(octets) is not bytes:
            octets = bytes(memoryview(octets).cast("B"))
        size = len(octets)
        if size % self._block:
            raise FormatError(f"{size} octets for {self.path}, not a multiple of {self._block}")
        self._buffer.append(octets)
        self._n_buffered += size
        if self._flushed_at is None:
            self._flushed_at = now
        # As long before the end of the period as what came now is long: no more than the period may be lost.  A clock
        # that steps back flushes too: the promise is about what may be lost, not about the clock.
        patience = self._flush_s - size / (self._block * self.sample_rate)
        if self._n_buffered >= BUFFER_OCTETS or not 0.0 <= now - self._flushed_at < patience:
            return self.flush(now)
        return not self._failing

    def pad(self, n_samples: int, now: float) -> bool:
        """Add silence; of int16 any length costs the same, as the file gets a hole instead of zeros."""
        if self._closed:
            raise StateError(f"{self.path} is closed; nothing can be appended")
        n_octets = n_samples * self._block
        if n_octets <= BUFFER_OCTETS:
            return self.append(bytes((self._coding.silence,)) * n_octets, now)
        self.flush(now)
        self._owed += n_octets
        return self.flush(now)

    def flush(self, now: float) -> bool:
        """Write what is in memory, then make the header tell of it; False if that failed."""
        if self._closed or (now == self._flushed_at and self._settled):
            return not self._failing
        self._flushed_at = now
        error = self._write_out()
        if error is None and self._sync_is_due(now):
            self._synced_at = now
            error = failure(os.fdatasync, self._fd)
            self._unsure |= error is not None  # what the disk refused may be gone from memory too
        self._note(error)
        return error is None

    def close(self) -> bool:
        """Finish the file and give it its name, once; False if anything was lost.

        When the last step, the renaming, fails, the audio stays under ``.part``.
        """
        if self._closed:
            return not self.incomplete
        error = self._write_out()
        self._closed = True
        if self._fd < 0:
            self._note(error)
            self._unsure = True  # there is no file
            return False
        if self._on_disk % 2:  # chunks are padded to an even length
            error = error or write_at(self._fd, b"\0", self._header_size + self._on_disk)[1]
        # The mark goes only with the last step, so that whatever happens before can still be mended.
        ends = [failure(os.fsync, self._fd)]
        ends.append(write_at(self._fd, self._header(OPEN if error or ends[0] else DONE), 0)[1])
        ends.append(failure(os.fsync, self._fd))
        ends.append(failure(os.rename, self.part_path, self.path))
        ends.append(failure(os.close, self._fd))  # behind the renaming: till then the file is held
        self._fd = -1
        ends.append(failure(sync_directory, os.path.dirname(self.path) or "."))
        problem = next((end for end in ends if end is not None), None)
        self._unsure |= problem is not None
        self._note(error or problem)
        return not self.incomplete

    @property
    def _settled(self) -> bool:
        """Whether there is nothing to be written, and nothing to be mended."""
        return not (self._failing or self._n_buffered or self._owed or self._in_header != self._on_disk)

    def _sync_is_due(self, now: float) -> bool:
        if self._sync_s is None:
            return False
        return self._synced_at is None or not 0.0 <= now - self._synced_at < self._sync_s

    def _open(self) -> OSError | None:
        """Make the file, or make it anew when it has vanished from under its name."""
        try:
            if self._fd < 0:
                self._fd = whole(self.part_path, self._header())
                self._in_header = self._on_disk
            elif still_there(self._identity, self.part_path):
                return None
            else:
                if not self._failing:  # else it has been told
                    self._trouble(FileNotFoundError(errno.ENOENT, "vanished, and was made anew"))
                    self._failing = True
                self._fd = moved(self._fd, self.part_path, self._header_size + self._on_disk)
            self._identity = identity(self._fd)
        except OSError as error:
            return error
        return None

    def _tell(self) -> OSError | None:
        """Make the header tell of all audio that is on disk."""
        error = write_at(self._fd, self._header(), 0)[1]
        if error is None:
            self._in_header = self._on_disk
        return error

    def _write_out(self) -> OSError | None:
        trouble = self._open()
        error = trouble if self._fd < 0 else None  # what has vanished is written on, and will be made anew
        if error is None and self._owed:
            error = self._pay_silence()
        written = 0
        if error is None and self._buffer:
            octets = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            written, error = write_at(self._fd, octets, self._header_size + self._on_disk)
            written -= written % self._block
            self._on_disk += written
        lost = self._n_buffered - written
        self._buffer.clear()
        self._n_buffered = 0
        if lost:
            self._lose(lost)
        if self._fd >= 0 and self._in_header != self._on_disk:
            error = error or self._tell()
        return error or trouble

    def _pay_silence(self) -> OSError | None:
        start = self._header_size + self._on_disk
        if self._coding.silence == 0:
            # Cut off what a failed write may have left, then let the file grow: the new part reads as zeros.
            error = failure(os.ftruncate, self._fd, start) or failure(os.ftruncate, self._fd, start + self._owed)
            if error is None:
                self._on_disk += self._owed
                self._owed = 0
            return error
        silence = bytes((self._coding.silence,)) * (FILL_OCTETS - FILL_OCTETS % self._block)
        while self._owed:
            piece = memoryview(silence)[: self._owed]
            written, error = write_at(self._fd, piece, self._header_size + self._on_disk)
            written -= written % self._block
            self._on_disk += written
            self._owed -= written
            if error is not None:
                return error
        return None

    def _lose(self, n_octets: int) -> None:
        position = (self._on_disk + self._owed) // self._block
        n_samples = n_octets // self._block
        self._owed += n_octets
        self._n_unwritten += n_samples
        if self._unwritten and sum(self._unwritten[-1]) == position:
            self._unwritten[-1] = (self._unwritten[-1][0], self._unwritten[-1][1] + n_samples)
        elif len(self._unwritten) < MAX_SPANS:
            self._unwritten.append((position, n_samples))

    def _note(self, error: OSError | None) -> None:
        if error is None:
            self._failing = False
        elif not self._failing:
            self._trouble(error)
            self._failing = True

    def _trouble(self, error: OSError) -> None:
        self.troubles += 1
        if self._error is None:
            self._error = f"{error.strerror or error} at sample {self._on_disk // self._block}"

    def _header(self, mark: bytes = OPEN) -> bytes:
        return pack_header(
            self.encoding, self.sample_rate, self.n_channels, self._on_disk, mark=mark, rf64_from=self._rf64_from
        )
