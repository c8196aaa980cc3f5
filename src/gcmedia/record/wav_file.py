"""The layout of WAV files, and a reader: RIFF, and RF64 (EBU Tech 3306) where sizes no longer fit 32 bits."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ..errors import FormatError

__all__ = ["CODINGS", "Coding", "Header", "WavData", "WavInfo", "find_audio", "pack_header", "read_wav", "wav_info"]

MAX_CHUNKS = 1000  # chunks that the reader looks at before it gives up
UNKNOWN_SIZE = 0xFFFFFFFF  # in RIFF: written to a pipe; in RF64: see ds64
OPEN, DONE = b"open", b"done"  # in the second JUNK chunk of our files: whether the writer has closed them


@dataclass(frozen=True, slots=True)
class Coding:
    """How samples of an encoding stand in a WAV file."""

    tag: int  # WAVE format tag
    width: int  # octets per sample
    silence: int  # the octet of which silence is made


CODINGS = {"L16": Coding(1, 2, 0x00), "PCMU": Coding(7, 1, 0xFF), "PCMA": Coding(6, 1, 0xD5)}
ENCODINGS = {(1, 16): "L16", (1, 8): "U8", (7, 8): "PCMU", (6, 8): "PCMA"}  # (format tag, bits per sample)
EXTENSIBLE = 0xFFFE  # the real tag is in the sub-format


def pack_header(
    encoding: str,
    sample_rate: int,
    n_channels: int,
    n_octets: int,
    *,
    mark: bytes = DONE,
    rf64_from: int = UNKNOWN_SIZE,
) -> bytes:
    """The header of one of our files, for so many octets of audio; of one length whatever it tells.

    ``mark`` says whether the file is still open; from a RIFF size of ``rf64_from`` on the file is RF64.
    """
    coding = CODINGS[encoding]
    block = coding.width * n_channels
    fmt = struct.pack("<HHIIHH", coding.tag, n_channels, sample_rate, sample_rate * block, block, 8 * coding.width)
    n_samples = n_octets // block
    chunks = _chunk(b"fmt ", fmt)
    if coding.tag != 1:  # other than PCM: an empty extension, and the number of samples
        fact = struct.pack("<I", min(n_samples, UNKNOWN_SIZE))
        chunks = _chunk(b"fmt ", fmt + b"\0\0") + _chunk(b"fact", fact)
    chunks += _chunk(b"JUNK", mark)
    riff_size = 4 + 36 + len(chunks) + 8 + n_octets + n_octets % 2
    if riff_size < min(rf64_from, UNKNOWN_SIZE):
        head = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE") + _chunk(b"JUNK", bytes(28))
        return head + chunks + struct.pack("<4sI", b"data", n_octets)
    sizes = struct.pack("<QQQI", riff_size, n_octets, n_samples, 0)
    head = struct.pack("<4sI4s", b"RF64", UNKNOWN_SIZE, b"WAVE") + _chunk(b"ds64", sizes)
    return head + chunks + struct.pack("<4sI", b"data", UNKNOWN_SIZE)


class Header(NamedTuple):
    """What the chunks before the audio say, true or not."""

    sample_rate: int
    n_channels: int
    encoding: str
    block: int  # octets per sample of all channels
    rf64: bool
    riff_size: int  # as stated, that of ds64 in RF64
    data_size: int  # as stated, that of ds64 in RF64
    data_offset: int
    file_size: int
    junk: int  # offset of a JUNK chunk of 28 octets or more right behind WAVE, 0 without one
    mark: bytes  # OPEN or DONE in our own files, else empty


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
        return _info(file, os.fspath(path))


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
        info = _info(file, os.fspath(path))
        if info.n_octets > max_octets:
            raise FormatError(f"{path}: {info.n_octets} octets of audio, more than {max_octets}")
        file.seek(info.data_offset)
        data = file.read(info.n_octets)
    return WavData(info.sample_rate, info.n_channels, info.encoding, data)


def find_audio(file: BinaryIO, name: str) -> Header:
    """Read the chunks up to the audio; sizes are told as they are stated.

    Raises
    ------
    FormatError
        If the file is no WAV, or holds an encoding that we do not read.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise FormatError(f"{name}: no WAV file, it begins with {head!r} ({size} octets in all)")
    rf64 = head[:4] == b"RF64"
    riff_size = struct.unpack_from("<I", head, 4)[0]
    found: tuple[int, int, str, int] | None = None
    long_data_size: int | None = None
    junk, mark = 0, b""
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
            if n_octets == UNKNOWN_SIZE and long_data_size is not None:
                n_octets = long_data_size
            sample_rate, n_channels, encoding, block = found
            return Header(sample_rate, n_channels, encoding, block, rf64, riff_size, n_octets, offset, size, junk, mark)
        body = file.read(min(n_octets, 64))
        if kind == b"fmt ":
            found = _parse_fmt(body, name, offset)
        elif kind == b"ds64":
            if len(body) < 24:
                raise FormatError(f"{name}: the ds64 chunk at octet {offset - 8} has {len(body)} octets, not 28")
            riff_size, long_data_size = struct.unpack_from("<QQ", body)
        elif kind == b"JUNK":
            if offset == 20 and n_octets >= 28:
                junk = 12
            if body in (OPEN, DONE):
                mark = body
        offset += n_octets + n_octets % 2
    raise FormatError(f"{name}: no data among the first {MAX_CHUNKS} chunks")


def _info(file: BinaryIO, name: str) -> WavInfo:
    header = find_audio(file, name)
    there = header.file_size - header.data_offset
    unknown = header.data_size == UNKNOWN_SIZE and (not header.rf64 or there < UNKNOWN_SIZE)
    n_octets = there if unknown else header.data_size
    if n_octets > there:
        raise FormatError(f"{name}: {n_octets} octets of audio from octet {header.data_offset}, {there} are there")
    return WavInfo(
        header.sample_rate, header.n_channels, header.encoding, header.data_offset, n_octets - n_octets % header.block
    )


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
