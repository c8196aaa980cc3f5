"""WAV files that survive: an append-only journal whose header is always true, and a reader.

A journal lives under ``NAME.wav.part`` until it is closed::

    RIFF size WAVE | JUNK 28 octets | fmt | (fact) | data size | samples ...

``JUNK`` keeps the place of the ``ds64`` chunk that turns the file into RF64 (EBU Tech 3306) once its sizes no
longer fit 32 bits.  Samples are written first, the header after them, so a process that dies at any moment leaves
a file that every reader opens, with all audio up to the last header.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from ..errors import ConfigError, FormatError, StateError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["WavData", "WavInfo", "WavJournal", "read_wav", "wav_info"]

BUFFER_OCTETS = 32 * 1024  # small appends are collected up to here
FILL_OCTETS = 64 * 1024  # silence is written in pieces of this size
MAX_SPANS = 1000  # spans not written that are kept one by one
MAX_CHUNKS = 1000  # chunks that the reader looks at before it gives up
UNKNOWN_SIZE = 0xFFFFFFFF  # in RIFF: written to a pipe; in RF64: see ds64


@dataclass(frozen=True, slots=True)
class _Coding:
    tag: int  # WAVE format tag
    width: int  # octets per sample
    silence: int  # the octet of which silence is made


CODINGS = {"L16": _Coding(1, 2, 0x00), "PCMU": _Coding(7, 1, 0xFF), "PCMA": _Coding(6, 1, 0xD5)}
ENCODINGS = {(1, 16): "L16", (1, 8): "U8", (7, 8): "PCMU", (6, 8): "PCMA"}  # (format tag, bits per sample)
EXTENSIBLE = 0xFFFE  # the real tag is in the sub-format


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

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    OSError
        If the file cannot be made.

    Notes
    -----
    After construction the disk can no longer raise into the capture.  What could not be written is recorded in
    `incomplete`, `error` and `unwritten`, and made up with silence as soon as writing works again, so that a
    sample's place in the file is its place on the timeline.
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
    ) -> None:
        if encoding not in CODINGS:
            raise ConfigError(f"encoding is {encoding!r}, not one of {', '.join(CODINGS)}")
        if not 1 <= sample_rate <= 768_000:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not in [1, 768000]")
        if not 1 <= n_channels <= 16:
            raise ConfigError(f"n_channels is {n_channels}, not in [1, 16]")
        if not 0.0 <= flush_s <= 1.0:
            raise ConfigError(f"flush_s is {flush_s} s, not in [0, 1]")
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
        self._failing = False
        self._error: str | None = None
        self._unwritten: list[tuple[int, int]] = []
        self._n_unwritten = 0
        if os.path.lexists(self.path):
            raise FileExistsError(f"{self.path} exists")
        self._fd = os.open(self.part_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._header_size = len(self._header())
        try:
            os.pwrite(self._fd, self._header(), 0)
        except OSError:
            os.close(self._fd)
            os.unlink(self.part_path)
            raise

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
        return self._fd < 0

    @property
    def failing(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._failing

    @property
    def incomplete(self) -> bool:
        """Whether anything ever went wrong; the file may then hold silence where there was audio."""
        return self._error is not None

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
        if self._fd < 0:
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
        # A clock that steps back flushes too: the promise is about what may be lost, not about the clock.
        if self._n_buffered >= BUFFER_OCTETS or not 0.0 <= now - self._flushed_at < self._flush_s:
            return self.flush(now)
        return not self._failing

    def pad(self, n_samples: int, now: float) -> bool:
        """Add silence; of int16 any length costs the same, as the file gets a hole instead of zeros."""
        if self._fd < 0:
            raise StateError(f"{self.path} is closed; nothing can be appended")
        n_octets = n_samples * self._block
        if n_octets <= BUFFER_OCTETS:
            return self.append(bytes((self._coding.silence,)) * n_octets, now)
        self.flush(now)
        self._owed += n_octets
        return self.flush(now)

    def flush(self, now: float) -> bool:
        """Write what is in memory, then make the header tell of it; False if that failed."""
        if self._fd < 0:
            return not self._failing
        self._flushed_at = now
        error = self._write_out()
        if error is None and self._sync_is_due(now):
            self._synced_at = now
            error = _failure(os.fdatasync, self._fd)
        self._note(error)
        return error is None

    def close(self) -> bool:
        """Finish the file and give it its name, once; False if anything ever went wrong.

        When the last step, the renaming, fails, the audio stays under ``.part``.
        """
        if self._fd < 0:
            return not self.incomplete
        self._note(self._write_out())
        if self._on_disk % 2:  # chunks are padded to an even length
            self._note(_failure(os.pwrite, self._fd, b"\0", self._header_size + self._on_disk))
        self._note(_failure(os.fsync, self._fd))
        self._note(_failure(os.close, self._fd))
        self._fd = -1
        self._note(_failure(os.rename, self.part_path, self.path))
        self._note(_failure(_sync_directory, os.path.dirname(self.path) or "."))
        return not self.incomplete

    def _sync_is_due(self, now: float) -> bool:
        if self._sync_s is None:
            return False
        return self._synced_at is None or not 0.0 <= now - self._synced_at < self._sync_s

    def _write_out(self) -> OSError | None:
        error = self._pay_silence() if self._owed else None
        written = 0
        if error is None and self._buffer:
            octets = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            written, error = _write_at(self._fd, memoryview(octets), self._header_size + self._on_disk)
            written -= written % self._block
            self._on_disk += written
        lost = self._n_buffered - written
        self._buffer.clear()
        self._n_buffered = 0
        if lost:
            self._lose(lost)
        if self._in_header != self._on_disk:
            failure = _failure(os.pwrite, self._fd, self._header(), 0)
            if failure is None:
                self._in_header = self._on_disk
            error = error or failure
        return error

    def _pay_silence(self) -> OSError | None:
        start = self._header_size + self._on_disk
        if self._coding.silence == 0:
            # Cut off what a failed write may have left, then let the file grow: the new part reads as zeros.
            error = _failure(os.ftruncate, self._fd, start) or _failure(os.ftruncate, self._fd, start + self._owed)
            if error is None:
                self._on_disk += self._owed
                self._owed = 0
            return error
        silence = bytes((self._coding.silence,)) * (FILL_OCTETS - FILL_OCTETS % self._block)
        while self._owed:
            piece = memoryview(silence)[: self._owed]
            written, error = _write_at(self._fd, piece, self._header_size + self._on_disk)
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
        self._failing = error is not None
        if error is not None and self._error is None:
            self._error = f"{error.strerror or error} at sample {self._on_disk // self._block}"

    def _header(self) -> bytes:
        coding, n_octets = self._coding, self._on_disk
        fmt = struct.pack(
            "<HHIIHH",
            coding.tag,
            self.n_channels,
            self.sample_rate,
            self.sample_rate * self._block,
            self._block,
            8 * coding.width,
        )
        n_samples = n_octets // self._block
        chunks = _chunk(b"fmt ", fmt)
        if coding.tag != 1:  # other than PCM: an empty extension, and the number of samples
            fact = struct.pack("<I", min(n_samples, UNKNOWN_SIZE))
            chunks = _chunk(b"fmt ", fmt + b"\0\0") + _chunk(b"fact", fact)
        riff_size = 4 + 36 + len(chunks) + 8 + n_octets + n_octets % 2
        if riff_size < UNKNOWN_SIZE:
            head = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE") + _chunk(b"JUNK", bytes(28))
            return head + chunks + struct.pack("<4sI", b"data", n_octets)
        sizes = struct.pack("<QQQI", riff_size, n_octets, n_samples, 0)
        head = struct.pack("<4sI4s", b"RF64", UNKNOWN_SIZE, b"WAVE") + _chunk(b"ds64", sizes)
        return head + chunks + struct.pack("<4sI", b"data", UNKNOWN_SIZE)


class WavInfo(NamedTuple):
    """What a WAV file holds, and where."""

    #: Hz.
    sample_rate: int
    #: Channels interleaved.
    n_channels: int
    #: ``"L16"`` (little-endian), ``"U8"``, ``"PCMU"`` or ``"PCMA"``.
    encoding: str
    #: First octet of audio in the file.
    data_offset: int
    #: Octets of audio, whole samples of every channel.
    n_octets: int

    @property
    def n_samples(self) -> int:
        """Samples per channel."""
        return self.n_octets // (self.n_channels * (2 if self.encoding == "L16" else 1))


class WavData(NamedTuple):
    """The audio of a WAV file."""

    #: Hz.
    sample_rate: int
    #: Channels interleaved.
    n_channels: int
    #: ``"L16"`` (little-endian), ``"U8"``, ``"PCMU"`` or ``"PCMA"``.
    encoding: str
    #: The octets as they stand in the file.
    data: bytes


def wav_info(path: str | os.PathLike[str]) -> WavInfo:
    """Find the audio in a WAV file, RF64 included, without reading it.

    Raises
    ------
    FormatError
        If the file is no WAV, ends before its audio does, or holds an encoding other than 16-bit or 8-bit PCM,
        PCMU and PCMA.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        return _find_audio(file, os.fspath(path))


def read_wav(path: str | os.PathLike[str], *, max_octets: int = 1 << 30) -> WavData:
    """Read a WAV file, RF64 included.

    Parameters
    ----------
    path : path
        The file.
    max_octets : int
        Audio beyond this is refused rather than read into memory.

    Raises
    ------
    FormatError
        As `wav_info`, or if there is more audio than ``max_octets``.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        info = _find_audio(file, os.fspath(path))
        if info.n_octets > max_octets:
            raise FormatError(f"{path}: {info.n_octets} octets of audio, more than {max_octets}")
        file.seek(info.data_offset)
        data = file.read(info.n_octets)
    return WavData(info.sample_rate, info.n_channels, info.encoding, data)


def _find_audio(file: BinaryIO, name: str) -> WavInfo:
    size = os.fstat(file.fileno()).st_size
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise FormatError(f"{name}: no WAV file, it begins with {head!r} ({size} octets in all)")
    found: tuple[int, int, str, int] | None = None
    long_data_size: int | None = None
    offset = 12
    for _ in range(MAX_CHUNKS):
        file.seek(offset)
        chunk = file.read(8)
        if len(chunk) < 8:
            missing = "data" if found else "fmt"
            raise FormatError(f"{name}: ends at octet {size} without a {missing} chunk")
        kind, n_octets = struct.unpack("<4sI", chunk)
        offset += 8
        if kind == b"data":
            if found is None:
                raise FormatError(f"{name}: the data chunk at octet {offset - 8} comes before the fmt chunk")
            if n_octets == UNKNOWN_SIZE:
                n_octets = size - offset if long_data_size is None else long_data_size
            if n_octets > size - offset:
                raise FormatError(f"{name}: {n_octets} octets of audio from octet {offset}, {size - offset} are there")
            sample_rate, n_channels, encoding, block = found
            return WavInfo(sample_rate, n_channels, encoding, offset, n_octets - n_octets % block)
        body = file.read(min(n_octets, 64))
        if kind == b"fmt ":
            found = _parse_fmt(body, name, offset)
        elif kind == b"ds64":
            if len(body) < 24:
                raise FormatError(f"{name}: the ds64 chunk at octet {offset - 8} has {len(body)} octets, not 28")
            long_data_size = struct.unpack_from("<Q", body, 8)[0]
        offset += n_octets + n_octets % 2
    raise FormatError(f"{name}: no data among the first {MAX_CHUNKS} chunks")


def _parse_fmt(body: bytes, name: str, offset: int) -> tuple[int, int, str, int]:
    """Sample rate, channels, encoding, and octets per sample of all channels."""
    if len(body) < 16:
        raise FormatError(f"{name}: the fmt chunk at octet {offset - 8} has {len(body)} octets, fewer than 16")
    tag, n_channels, sample_rate, _, block, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack_from("<H", body, 24)[0]
    encoding = ENCODINGS.get((tag, bits))
    if encoding is None:
        raise FormatError(f"{name}: format tag {tag} with {bits} bits a sample; PCM of 8 or 16, PCMU or PCMA is needed")
    if n_channels == 0 or sample_rate == 0 or block != n_channels * bits // 8:
        raise FormatError(f"{name}: {n_channels} channels at {sample_rate} Hz in blocks of {block} octets")
    return sample_rate, n_channels, encoding, block


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(body)) + body


def _write_at(fd: int, octets: memoryview, offset: int) -> tuple[int, OSError | None]:
    """Octets that were written, and what stopped the rest."""
    done = 0
    while done < len(octets):
        try:
            done += os.pwrite(fd, octets[done:], offset + done)
        except OSError as error:
            return done, error
    return done, None


def _failure(call: Callable[..., object], *arguments: object) -> OSError | None:
    """Call; hand back the OSError instead of raising it."""
    try:
        call(*arguments)
    except OSError as error:
        return error
    return None


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
