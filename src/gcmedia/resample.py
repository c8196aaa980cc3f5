"""Other sample rates, through soxr (extra ``dsp``), with the state carried from call to call.

A further tap: what is resampled is a copy, and the frame it comes from stays as it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import ConfigError

if TYPE_CHECKING:
    from ._core.buffer import _Readable
    from ._core.frame import Frame

__all__ = ["FrameResampler", "ResampledFrame", "Resampler"]

RATES = (8000, 16_000, 24_000, 48_000)
QUALITIES = ("QQ", "LQ", "MQ", "HQ", "VHQ")


def _library() -> Any:
    try:
        import soxr
    except ModuleNotFoundError as error:
        raise ConfigError(f"resampling needs {error.name}: pip install 'gcmedia[dsp]'") from None
    return soxr


class Resampler:
    """Resample one channel of a stream, in chunks of any length.

    Parameters
    ----------
    in_rate, out_rate : int
        Hz, any of 8000, 16000, 24000 and 48000.
    quality : str
        soxr's ``"VHQ"``, ``"HQ"``, ``"MQ"``, ``"LQ"`` or ``"QQ"``.  The last is quick to answer, and no more than that:
        a cubic through the samples, which leaves images of speech above 4 kHz only 6 to 25 dB down.

    Attributes
    ----------
    in_rate, out_rate, quality : int, int, str
    n_in, n_out : int
        Samples taken and given since the start, or since `flush`.
    delay_samples : int
        0: output sample k is of the moment k / out_rate.
    held_samples : int
        Output samples that are still to come for what was taken.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is not known, or soxr is not installed.

    Notes
    -----
    Samples come out later than they went in, though at their exact place, as the filter works in blocks: up to 111 ms
    later from 8 to 16 kHz with ``"VHQ"``, 118 with ``"HQ"`` and ``"MQ"``, 61 with ``"LQ"``, 0.2 with ``"QQ"`` (soxr
    1.1).  After `flush` there are exactly ``n_in * out_rate / in_rate`` of them, rounded up.  Any chunking gives the
    same samples, to the bit.  Nothing is dithered.
    """

    def __init__(self, in_rate: int = 8000, out_rate: int = 16_000, quality: str = "VHQ") -> None:
        for name, rate in (("in_rate", in_rate), ("out_rate", out_rate)):
            if rate not in RATES:
                raise ConfigError(f"{name} is {rate} Hz, not one of {', '.join(map(str, RATES))}")
        if quality not in QUALITIES:
            raise ConfigError(f"quality is {quality!r}, not one of {', '.join(QUALITIES)}")
        self.in_rate = in_rate
        self.out_rate = out_rate
        self.quality = quality
        self.delay_samples = 0
        self._soxr = _library()
        self._kind: type[np.int16] | type[np.float32] = np.int16
        self.reset()

    @property
    def held_samples(self) -> int:
        """Output samples that are still to come for what was taken."""
        return self._length() - self.n_out

    def _length(self) -> int:
        return -(-self.n_in * self.out_rate // self.in_rate)

    def _taken(self, pcm: _Readable) -> npt.NDArray[np.float32]:
        """Samples as float32, and note their kind."""
        view: memoryview = memoryview(pcm)  # type: ignore[arg-type]  # numpy's stubs hide it before Python 3.12
        if not view.c_contiguous or view.format not in ("h", "<h", "=h", "@h", "f", "<f", "=f", "@f", "B", "b", "c"):
            raise TypeError(f"pcm must hold int16 or float32 samples in one piece, not items of format {view.format!r}")
        if view.format[-1] == "f":
            self._kind = np.float32
            return np.frombuffer(view, np.float32)
        if view.nbytes % 2:
            raise ValueError(f"pcm has {view.nbytes} octets, which is no whole number of samples of 2 octets")
        self._kind = np.int16
        samples = np.frombuffer(view.cast("B"), np.int16) if view.nbytes else np.empty(0, np.int16)
        return samples.astype(np.float32)  # as they are: the filter is linear, and rounding comes last

    def _given(self, samples: npt.NDArray[Any]) -> bytes:
        self.n_out += len(samples)
        if self._kind is np.int16:
            np.rint(samples, out=samples)
            np.minimum(samples, 32767, out=samples)
            np.maximum(samples, -32768, out=samples)
            samples = samples.astype(np.int16)
        return bytes(samples.tobytes())

    def process(self, pcm: _Readable) -> bytes:
        """Take the next samples and give those that are ready.

        Parameters
        ----------
        pcm : buffer of int16 or float32, shape (n_samples,)
            Any length; plain octets are int16.

        Returns
        -------
        bytes
            Samples of the same type.

        Raises
        ------
        TypeError, ValueError
            If ``pcm`` is no buffer of samples, or ends within one.
        """
        samples = self._taken(pcm)
        self.n_in += len(samples)
        if self._stream is None:
            return self._given(samples)
        return self._given(self._stream.resample_chunk(samples)) if len(samples) else b""

    def flush(self) -> bytes:
        """End the stream: the samples that are still to come, and a fresh start."""
        rest = np.empty(0, np.float32)
        if self._stream is not None and self.n_in:
            rest = self._stream.resample_chunk(rest, last=True)
            wanted = self.held_samples  # soxr rounds the length its own way
            rest = np.pad(rest[:wanted], (0, max(wanted - len(rest), 0)))
        given = self._given(rest)
        self.reset()
        return given

    def reset(self) -> None:
        """Forget the stream; what has not come out yet is dropped."""
        self.n_in = self.n_out = 0
        self._stream: Any = None
        if self.in_rate != self.out_rate:
            self._stream = self._soxr.ResampleStream(
                self.in_rate, self.out_rate, 1, dtype="float32", quality=self.quality
            )


@dataclass(frozen=True, slots=True, eq=False)
class ResampledFrame:
    """A frame at another sample rate.

    Attributes
    ----------
    frame : Frame
        The one that it was made from, which tells channel, level, silence and concealment.
    pcm : memoryview of int16
        As many samples as ``frame`` lasts.
    position : int
        First sample, counted from the start of the call at this rate.
    sample_rate : int
        Hz.
    """

    frame: Frame
    pcm: memoryview
    position: int
    sample_rate: int

    @property
    def n_samples(self) -> int:
        """Length in samples."""
        return len(self.pcm)


class FrameResampler:
    """Resample the frames of a call, each channel by itself.

    Parameters
    ----------
    sample_rate : int
        Hz, of what comes out.
    quality : str
        As for `Resampler`.

    Notes
    -----
    A frame comes out once all of its samples have, which is up to six frames later with ``"VHQ"``; order and count stay
    the same.  Frames that do not follow each other (some were not taken, or a fan-out dropped some) begin a new stream,
    so nothing is smeared over the hole: what was held comes out first.
    """

    def __init__(self, sample_rate: int = 16_000, quality: str = "VHQ") -> None:
        if sample_rate not in RATES:
            raise ConfigError(f"sample_rate is {sample_rate} Hz, not one of {', '.join(map(str, RATES))}")
        if quality not in QUALITIES:
            raise ConfigError(f"quality is {quality!r}, not one of {', '.join(QUALITIES)}")
        _library()
        self.sample_rate = sample_rate
        self.quality = quality
        self._channels: dict[int, _Channel] = {}

    def push(self, frame: Frame) -> list[ResampledFrame]:
        """Take the next frame of any channel, and give those that are complete, oldest first."""
        channel = self._channels.get(frame.channel)
        given: list[ResampledFrame] = []
        if channel is not None and not channel.goes_on_with(frame):
            given = channel.end()
            channel = None
        if channel is None:
            channel = self._channels[frame.channel] = _Channel(frame, self.sample_rate, self.quality)
        return given + channel.push(frame)

    def flush(self) -> list[ResampledFrame]:
        """End the call: the frames that are still to come, in order of time, then channel."""
        rest = [frame for channel in self._channels.values() for frame in channel.end()]
        self._channels.clear()
        return sorted(rest, key=lambda made: (made.position, made.frame.channel))


class _Channel:
    """Frames of one channel that follow each other, and their samples that have come out."""

    def __init__(self, first: Frame, sample_rate: int, quality: str) -> None:
        self._resampler = Resampler(first.sample_rate, sample_rate, quality)
        self._ratio = (sample_rate, first.sample_rate)
        self._begin = self._next = first.position
        self._waiting: deque[Frame] = deque()
        self._ready = bytearray()

    def goes_on_with(self, frame: Frame) -> bool:
        return frame.position == self._next and frame.sample_rate == self._resampler.in_rate

    def push(self, frame: Frame) -> list[ResampledFrame]:
        self._waiting.append(frame)
        self._next = frame.position + frame.n_samples
        self._ready += self._resampler.process(frame.pcm)
        return self._complete()

    def end(self) -> list[ResampledFrame]:
        self._ready += self._resampler.flush()
        return self._complete()

    def _place(self, position: int) -> int:
        """The same moment in output samples, rounded up."""
        out_rate, in_rate = self._ratio
        return -(-position * out_rate // in_rate)

    def _complete(self) -> list[ResampledFrame]:
        given = []
        while self._waiting:
            frame = self._waiting[0]
            begin = self._place(frame.position)
            n_octets = 2 * (
                self._place(frame.position - self._begin + frame.n_samples) - self._place(frame.position - self._begin)
            )
            if len(self._ready) < n_octets:
                break
            pcm = memoryview(bytes(self._ready[:n_octets])).cast("h")
            del self._ready[:n_octets]
            given.append(ResampledFrame(self._waiting.popleft(), pcm, begin, self._resampler.out_rate))
        return given
