"""Counters of many streams at once, as plain numbers: for metrics and pages that show thousands of calls."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from gcmedia._core.jitter cimport JitterBuffer
from gcmedia._core.meter cimport Meter
from gcmedia._core.receiver cimport Receiver
from gcmedia._core.sequence cimport expected_of, lost_of

#: What stands in each column of `read_counters`; the names are those of `gcmedia.types.Stats`.
COUNTERS = (
    "packets_received", "packets_played", "packets_late", "packets_duplicate", "packets_discarded",
    "packets_refused", "packets_buffered", "packets_expected", "packets_lost", "packets_reordered",
    "gaps", "resets", "flushes", "underruns", "overruns", "timestamp_jumps", "bytes_received",
    "jitter", "loss_rate", "buffer_depth", "buffer_target", "playout_delay_ms",
    "total_samples", "concealed_samples", "silent_concealed_samples", "concealment_events",
    "jitter_buffer_delay", "jitter_buffer_target_delay", "jitter_buffer_emitted_count",
    "sample_rate", "position", "level_first", "level_second",
)

cdef enum:
    N_COUNTERS = 33
    LATELY = 50                     # frames over which the loudest is told, one second

assert len(COUNTERS) == N_COUNTERS


cdef void _packets(JitterBuffer jitter, double *row):
    row[0] = jitter.received
    row[1] = jitter.played
    row[2] = jitter.late
    row[3] = jitter.duplicates
    row[4] = jitter.discarded
    row[5] = jitter.oversized + jitter.malformed + jitter.validator.refused
    row[6] = jitter.buffered()
    row[7] = expected_of(jitter.validator)
    row[8] = lost_of(jitter.validator)
    row[9] = jitter.reordered
    row[10] = jitter.validator.gaps
    row[11] = jitter.validator.resets
    row[12] = jitter.flushes
    row[13] = jitter.underruns
    row[14] = jitter.overruns
    row[15] = 0
    row[16] = jitter.octets
    row[17] = jitter.jitter
    row[18] = jitter.loss_rate()
    row[19] = jitter.newest - jitter.next + 1
    row[20] = jitter.target
    row[21] = jitter.target_delay() * 1000.0
    row[22] = row[23] = row[24] = row[25] = 0
    row[26] = jitter.delay_sum
    row[27] = jitter.target_sum
    row[28] = jitter.emitted
    row[29] = row[30] = row[31] = row[32] = 0


cdef double _level(Receiver receiver, int channel):
    """The loudest frame of the last second, 0 to 255 as a `Meter` has it; 0 where there is none."""
    cdef Meter meter = receiver.noted
    if meter is None or channel >= meter.n_channels:
        return 0
    return meter.loudest(channel, LATELY)


def read_counters(streams):
    """Read the counters of many streams.

    Parameters
    ----------
    streams : sequence of Receiver or JitterBuffer
        Others may push packets meanwhile, also without the GIL: each counter is read as it stands.

    Returns
    -------
    bytes of float64, shape (n_streams, len(COUNTERS))
        The columns are named in `COUNTERS`.  ``level_first`` and ``level_second`` are the loudest frames of the last
        second in the first two channels, 255 for 0 dBov, a step 0.38 dB; 0 without a `Meter`.

    Raises
    ------
    TypeError
        If one is neither.
    """
    cdef list found = list(streams)
    cdef Py_ssize_t i
    cdef bytes rows = PyBytes_FromStringAndSize(NULL, len(found) * N_COUNTERS * sizeof(double))
    cdef double *row = <double *>PyBytes_AS_STRING(rows)
    cdef Receiver receiver
    for i in range(len(found)):
        if isinstance(found[i], Receiver):
            receiver = <Receiver>found[i]
            _packets(receiver.jitter, row)
            row[15] = receiver.line.timestamp_jumps
            row[22] = receiver.line.end
            row[23] = receiver.processor.concealed_samples
            row[24] = receiver.processor.silent_concealed_samples
            row[25] = receiver.processor.concealment_events
            row[29] = receiver.processor.sample_rate
            row[30] = receiver.processor.n_out
            row[31] = _level(receiver, 0)
            row[32] = _level(receiver, 1)
        elif isinstance(found[i], JitterBuffer):
            _packets(<JitterBuffer>found[i], row)
        else:
            raise TypeError(f"streams[{i}] is a {type(found[i]).__name__}, not a Receiver or JitterBuffer")
        row += N_COUNTERS
    return rows
