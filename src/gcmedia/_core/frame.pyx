"""A block of decoded samples on the timeline."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport INFINITY, log10
from libc.stdint cimport int16_t, int32_t, uint8_t

from gcmedia._core.g711 cimport alaw_to_int16, ulaw_to_int16
from gcmedia._core.pcm cimport peak_magnitude
from gcmedia._core.silence cimport level_from


cdef bytes _raw_of(Frame frame):
    """The raw samples as int16, decoded when they are asked for the first time."""
    cdef bytes octets
    if frame.coding != LINEAR:
        octets = PyBytes_FromStringAndSize(NULL, frame.n_samples * <Py_ssize_t>sizeof(int16_t))
        if frame.coding == ULAW:
            ulaw_to_int16(
                <const uint8_t *>PyBytes_AS_STRING(frame.raw_octets), <int16_t *>PyBytes_AS_STRING(octets),
                frame.n_samples,
            )
        else:
            alaw_to_int16(
                <const uint8_t *>PyBytes_AS_STRING(frame.raw_octets), <int16_t *>PyBytes_AS_STRING(octets),
                frame.n_samples,
            )
        frame.raw_octets = octets
        frame.coding = LINEAR
    return frame.raw_octets


@cython.final
@cython.freelist(64)
cdef class Frame:
    """20 ms of one channel; the last one of a call may be shorter.

    Attributes
    ----------
    channel : int
        Index into the channels of the stream.
    position : int
        First sample, counted from the start of the call; holes are counted, so it is exact.
    n_samples, sample_rate : int
        Length, and Hz.
    silent : bool
        Verdict of the silence detector on the raw samples.
    concealed_samples : int
        How many of the samples were made up, because nothing was received for them.
    level_dbov : float
        RMS of the raw samples, 20 log10(rms / 32768); minus infinity for digital silence.
    peak_dbov : float
        Largest magnitude of the raw samples, likewise; 0 for -32768.  Found when asked for.
    """

    @property
    def pcm(self):
        """Samples as a memoryview of int16, after gate and compressor where there are any; read-only, no copy."""
        return memoryview(self.pcm_octets).cast("h")

    @property
    def raw(self):
        """Samples as a memoryview of int16, as decoded; read-only."""
        return memoryview(_raw_of(self)).cast("h")

    @property
    def level_dbov(self):
        return level_from(self.squares, self.n_samples)

    @property
    def peak_dbov(self):
        cdef int peak = peak_magnitude(<const int16_t *>PyBytes_AS_STRING(_raw_of(self)), self.n_samples)
        return 20.0 * log10(peak / 32768.0) if peak else -INFINITY

    @property
    def concealed(self):
        """Whether any sample was made up."""
        return self.concealed_samples > 0

    @property
    def time_s(self):
        """Position in seconds since the start of the call."""
        return self.position / <double>self.sample_rate

    @property
    def duration_s(self):
        """Length in seconds."""
        return self.n_samples / <double>self.sample_rate

    def masked(self, const int16_t[::1] pcm not None):
        """The same frame with other samples, raw and cleaned alike; nothing of what was said is left in it.

        Parameters
        ----------
        pcm : buffer of int16, shape (n_samples,)
            Copied.

        Raises
        ------
        ValueError
            If there are not ``n_samples`` of them.
        """
        cdef Frame frame = Frame.__new__(Frame)
        cdef int i
        if pcm.shape[0] != self.n_samples:
            raise ValueError(f"pcm has {pcm.shape[0]} samples, the frame {self.n_samples}")
        frame.channel = self.channel
        frame.position = self.position
        frame.n_samples = self.n_samples
        frame.sample_rate = self.sample_rate
        for i in range(self.n_samples):
            frame.squares += <int32_t>pcm[i] * pcm[i]
        frame.silent = frame.squares == 0
        frame.raw_octets = frame.pcm_octets = bytes(pcm)
        return frame

    def __len__(self):
        return self.n_samples

    def __repr__(self):
        return (
            f"Frame(channel={self.channel}, position={self.position}, n_samples={self.n_samples}, "
            f"silent={self.silent}, concealed_samples={self.concealed_samples}, level_dbov={self.level_dbov:.1f})"
        )
