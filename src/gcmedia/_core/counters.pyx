"""Counters of many streams at once, as plain numbers: for metrics and pages that show thousands of calls."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.string cimport memset

from gcmedia._core.jitter cimport CACHE_LINE, N_LOSS_BLOCKS, JitterBuffer
from gcmedia._core.meter cimport Meter
from gcmedia._core.receiver cimport PREFETCH, Receiver
from gcmedia._core.sequence cimport expected_of, lost_of
from gcmedia._core.steady cimport Steady
from gcmedia._core.stream cimport StreamReceiver

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
    MAX_BOUNDS = 64
    FAR = 8                         # streams ahead of which the object is asked for,
    NEAR = 4                        # and what it points to
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


cdef void _steady(const Steady *steady, JitterBuffer jitter, double *row):
    """Add what a steady stretch has not yet entered in the books; it ends before the window of the loss rate moves."""
    cdef int64_t expected = expected_of(jitter.validator)
    if jitter.n_blocks >= N_LOSS_BLOCKS:
        expected -= jitter.block_expected[jitter.n_blocks & (N_LOSS_BLOCKS - 1)]
    if expected > 0:
        row[18] *= expected / <double>(expected + steady.n_pushed)
    row[0] += steady.n_pushed
    row[1] += steady.n_taken
    row[6] += steady.n_pushed - steady.n_taken
    row[7] += steady.n_pushed
    row[16] += steady.n_pushed * steady.size
    row[17] = steady.jitter
    row[22] += steady.n_pushed * steady.n_octets
    row[26] = steady.delay_sum
    row[27] = steady.target_sum
    row[28] += steady.n_pushed
    row[30] += steady.n_taken * steady.n_octets


cdef inline void _fetch(list streams, Py_ssize_t i):
    """Ask memory for the streams to come: thousands are read once and are in no cache."""
    cdef const char *at
    cdef int line
    if i + FAR < len(streams):
        at = <const char *><void *>streams[i + FAR]
        for line in range(6):
            PREFETCH(at + line * CACHE_LINE)
    if i + NEAR < len(streams) and isinstance(streams[i + NEAR], Receiver):
        (<Receiver>streams[i + NEAR])._fetch_ahead()


cdef Py_ssize_t _bucket(double value, const double *bounds, Py_ssize_t n):
    cdef Py_ssize_t k = 0
    while k < n and value > bounds[k]:
        k += 1
    return k


cdef double _level(Meter meter, int channel):
    """The loudest frame of the last second, 0 to 255 as a `Meter` has it; 0 where there is none."""
    if meter is None or channel >= meter.n_channels:
        return 0
    return meter.loudest(channel, LATELY)


cdef void _payloads(StreamReceiver stream, double *row):
    """Of a stream without numbers: its packets are payloads, none is lost, late or twice."""
    cdef int64_t waiting = stream._n_waiting()
    memset(row, 0, N_COUNTERS * sizeof(double))
    row[0] = stream.received
    row[1] = stream.received - stream.refused - stream.discarded - waiting
    row[4] = stream.discarded
    row[5] = stream.refused
    row[6] = row[19] = waiting
    row[7] = stream.received - stream.refused
    row[14] = stream.overruns
    row[16] = stream.octets
    row[22] = stream.end
    row[29] = stream.processor.sample_rate
    row[30] = stream.processor.n_out


cdef Meter _meter_of(object stream):
    if isinstance(stream, Receiver):
        return (<Receiver>stream).noted
    if isinstance(stream, StreamReceiver):
        return (<StreamReceiver>stream).noted
    return None


cdef void _all(object stream, double *row) except *:
    cdef Receiver receiver
    if isinstance(stream, Receiver):
        receiver = <Receiver>stream
        _packets(receiver.jitter, row)
        row[15] = receiver.line.timestamp_jumps
        row[22] = receiver.line.end
        row[23] = receiver.processor.concealed_samples
        row[24] = receiver.processor.silent_concealed_samples
        row[25] = receiver.processor.concealment_events
        row[29] = receiver.processor.sample_rate
        row[30] = receiver.processor.n_out
        if receiver.steady.open:
            _steady(&receiver.steady, receiver.jitter, row)
    elif isinstance(stream, StreamReceiver):
        _payloads(<StreamReceiver>stream, row)
    elif isinstance(stream, JitterBuffer):
        _packets(<JitterBuffer>stream, row)
    else:
        raise TypeError(f"a stream is a {type(stream).__name__}, not a Receiver, StreamReceiver or JitterBuffer")


def read_counters(streams, bint levels=False):
    """Read the counters of many streams.

    Parameters
    ----------
    streams : sequence of Receiver, StreamReceiver or JitterBuffer
        Others may push packets meanwhile, also without the GIL: each counter is read as it stands.
    levels : bool
        Whether to look for the levels, which takes longer than all else.

    Returns
    -------
    bytes of float64, shape (n_streams, len(COUNTERS))
        The columns are named in `COUNTERS`.  ``level_first`` and ``level_second`` are the loudest frames of the last
        second in the first two channels, 255 for 0 dBov, a step 0.38 dB; 0 without a `Meter`, or unless asked for.

    Raises
    ------
    TypeError
        If one is none of them.
    """
    cdef list found = streams if type(streams) is list else list(streams)
    cdef Py_ssize_t i
    cdef Meter meter
    cdef bytes rows = PyBytes_FromStringAndSize(NULL, len(found) * N_COUNTERS * sizeof(double))
    cdef double *row = <double *>PyBytes_AS_STRING(rows)
    for i in range(len(found)):
        _fetch(found, i)
        _all(found[i], row)
        if levels:
            meter = _meter_of(found[i])
            row[31] = _level(meter, 0)
            row[32] = _level(meter, 1)
        row += N_COUNTERS
    return rows


def tally_counters(list streams, list groups, Py_ssize_t n_groups, tuple jitter_bounds, tuple loss_bounds):
    """Add the counters of many streams up, by group.

    Parameters
    ----------
    streams : list of Receiver, StreamReceiver or JitterBuffer
        As for `read_counters`.
    groups : list of int
        The group of each, less than ``n_groups``.
    n_groups : int
        How many there are.
    jitter_bounds, loss_bounds : tuple of float
        Upper bounds, ascending, by which streams are counted: jitter in seconds, and share of packets lost lately.

    Returns
    -------
    bytes of float64, shape (n_groups, len(COUNTERS) + len(jitter_bounds) + 1 + len(loss_bounds) + 1 + 2)
        Sums in the order of `COUNTERS`; streams up to each bound and over it, not cumulated; streams whose packets do
        not add up; streams.

    Raises
    ------
    TypeError, ValueError, IndexError
        If a stream is none of them, the lists are of different lengths, or there is no such group.
    """
    cdef Py_ssize_t n_jitter = len(jitter_bounds), n_loss = len(loss_bounds)
    cdef Py_ssize_t width = N_COUNTERS + n_jitter + n_loss + 4
    cdef Py_ssize_t i, k, group
    cdef double[N_COUNTERS] row
    cdef double[2 * MAX_BOUNDS] bounds
    cdef bytes sums
    cdef double *into
    if len(streams) != len(groups):
        raise ValueError(f"{len(streams)} streams and {len(groups)} groups")
    if not (1 <= n_jitter <= MAX_BOUNDS and 1 <= n_loss <= MAX_BOUNDS):
        raise ValueError(f"{n_jitter} and {n_loss} bounds, not 1 to {MAX_BOUNDS}")
    for k in range(n_jitter):
        bounds[k] = jitter_bounds[k]
    for k in range(n_loss):
        bounds[MAX_BOUNDS + k] = loss_bounds[k]
    sums = PyBytes_FromStringAndSize(NULL, max(<Py_ssize_t>0, n_groups) * width * sizeof(double))
    memset(PyBytes_AS_STRING(sums), 0, len(sums))
    for i in range(len(streams)):
        _fetch(streams, i)
        group = groups[i]
        if not 0 <= group < n_groups:
            raise IndexError(f"groups[{i}] is {group}, not in [0, {n_groups})")
        _all(streams[i], row)
        into = <double *>PyBytes_AS_STRING(sums) + group * width
        for k in range(N_COUNTERS):
            into[k] += row[k]
        into += N_COUNTERS
        into[_bucket(row[17], &bounds[0], n_jitter)] += 1
        into += n_jitter + 1
        into[_bucket(row[18], &bounds[MAX_BOUNDS], n_loss)] += 1
        into += n_loss + 1
        into[0] += row[0] != row[1] + row[2] + row[3] + row[4] + row[5] + row[6]
        into[1] += 1
    return sums
