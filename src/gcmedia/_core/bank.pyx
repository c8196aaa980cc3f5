"""Many streams stepped at once: one call, one buffer in, one array out, any number of threads.

Each thread takes the receivers whose index leaves its own number when divided by the number of threads, so no two
of them ever touch the same receiver or the same row, and what comes out does not depend on their number.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.ref cimport PyObject
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from gcmedia._core.buffer cimport (
    borrow_integers, borrow_integers_out, borrow_octets, borrow_samples_into, check_offsets, integer_at, view_nothing,
)
from gcmedia._core.receiver cimport Receiver
from gcmedia._core.steady cimport PREFETCH

from gcmedia._core.receiver import Receiver as _Receiver
from gcmedia.errors import ConfigError, StateError

cdef enum:
    FAR = 6                     # packets before its turn that a receiver is asked for,
    NEAR = 3                    # and what it points to


@cython.final
@cython.no_gc_clear
cdef class ReceiverBank:
    """A number of receivers with the same settings, worked on together.

    Parameters
    ----------
    n : int
        How many streams, 1 to 1,000,000.
    threads : int
        Threads that share the work of one call, 1 to 64.  One is the caller's own.
    **settings
        Of `Receiver`, the same for all.  ``layout="auto"`` is not among them.

    Raises
    ------
    ConfigError
        If ``n`` or ``threads`` is out of its range, or the layout is left open.

    Notes
    -----
    ``bank[i]`` is a `Receiver` like any other: for its statistics and holes, to pause, restart or flush it.  While
    a call of the bank runs, in another thread, the bank and its receivers refuse to be used.  The GIL is released
    meanwhile.
    """

    def __cinit__(self, Py_ssize_t n, *, int threads=1, **settings):
        if not 1 <= n <= 1_000_000:
            raise ConfigError(f"n is {n} receivers, not in [1, 1000000]")
        if not 1 <= threads <= 64:
            raise ConfigError(f"threads is {threads}, not in [1, 64]")
        if settings.get("layout") == "auto":
            raise ConfigError("layout is 'auto', which takes packets held back; name it for a bank")
        self.n = n
        self.n_threads = threads
        self.receivers = tuple([_Receiver(**settings) for _ in range(n)])
        self.receiver_at = <PyObject **>calloc(n, sizeof(PyObject *))
        if self.receiver_at == NULL:
            raise MemoryError()
        cdef Py_ssize_t i
        for i in range(n):
            self.receiver_at[i] = <PyObject *>self.receivers[i]
            (<Receiver>self.receivers[i]).at_work = &self.busy

    def __dealloc__(self):
        cdef Receiver receiver
        for receiver in self.receivers or ():       # they may live on
            receiver.at_work = &receiver.busy
        free(self.receiver_at)

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.receivers[index]

    cdef int _check_free(self) except -1:
        if self.busy:
            raise StateError("the bank is at work in another thread")
        return 0

    cdef inline int _read_row(self, Py_ssize_t index, const Batch *batch) noexcept nogil:
        """Append what the receiver has ready to its row; -1 when memory is out."""
        cdef int channels = (<Receiver>self.receiver_at[index]).processor.n_channels
        cdef Py_ssize_t there = integer_at(batch.counts, index) * channels
        cdef Py_ssize_t n = (<Receiver>self.receiver_at[index])._read_into(
            batch.rows + index * batch.room + there, batch.room - there
        )
        if n < 0:
            return -1
        if batch.counts.itemsize == 4:
            (<int32_t *>batch.counts.buf)[index] += <int32_t>n
        else:
            (<int64_t *>batch.counts.buf)[index] += n
        return 0

    cdef inline bint _is_mine(self, int64_t index, int share) noexcept nogil:
        """Whether there is such a receiver, and it falls to this thread."""
        return 0 <= index < self.n and (self.n_threads == 1 or index % self.n_threads == share)

    cdef int _step(self, const Batch *batch, int share) noexcept nogil:
        """Do what falls to one thread: -1 when memory is out, -2 when an index or offset has changed meanwhile."""
        cdef Py_ssize_t i, start, size
        cdef int64_t index, soon
        cdef int done = 0
        if batch.octets == NULL:
            i = share
            while i < self.n:
                (<Receiver>self.receiver_at[i])._release(batch.now)
                done |= self._read_row(i, batch)
                i += self.n_threads
            return -1 if done else 0
        for i in range(batch.n_packets):
            if i + FAR < batch.n_packets:
                soon = integer_at(batch.indices, i + FAR)
                if self._is_mine(soon, share):
                    PREFETCH(self.receiver_at[soon])
                soon = integer_at(batch.indices, i + NEAR)
                if soon != integer_at(batch.indices, i) and self._is_mine(soon, share):
                    (<Receiver>self.receiver_at[soon])._fetch_ahead()
            index = integer_at(batch.indices, i)
            if self.n_threads > 1 and index % self.n_threads != share:
                continue
            start = integer_at(batch.offsets, i)
            size = integer_at(batch.offsets, i + 1) - start
            if index < 0 or index >= self.n or start < 0 or size < 0 or start + size > batch.n_octets:
                return -2
            done |= (<Receiver>self.receiver_at[index])._push_octets(batch.octets + start, size, batch.now)
            if batch.rows != NULL:
                done |= self._read_row(index, batch)
        return -1 if done else 0

    def _share(self, int share):
        """Do one thread's share of the batch at hand."""
        cdef int done
        with nogil:
            done = self._step(self.batch, share)
        return done

    cdef object _run(self, const Batch *batch):
        cdef int done = 0
        cdef list others = []
        if self.n_threads > 1 and self.pool is None:
            from concurrent.futures import ThreadPoolExecutor       # most banks need none

            self.pool = ThreadPoolExecutor(self.n_threads - 1, "gcmedia-bank")
        self.batch = batch
        self.busy = True
        try:
            for share in range(1, self.n_threads):
                others.append(self.pool.submit(self._share, share))
            with nogil:
                done = self._step(batch, 0)
        finally:
            interrupted = None
            for other in others:            # whatever happens, nobody may be left at work on borrowed memory
                while not other.done():
                    try:
                        other.exception()
                    except BaseException as error:
                        interrupted = error
            self.busy = False
            self.batch = NULL
        if interrupted is not None:
            raise interrupted
        for other in others:
            done = min(done, <int>other.result())
        if done == -1:
            raise MemoryError()
        if done == -2:
            raise ValueError("indices or offsets changed during the call")

    cdef int _borrow_rows(self, out, counts, Py_buffer *rows, Py_buffer *totals, Batch *batch) except -1:
        """View the rows and their counts, which begin at 0; the caller releases both, also on an error."""
        cdef Receiver first = self.receivers[0]
        cdef Py_ssize_t least = first.processor.frame_samples * first.processor.n_channels
        borrow_samples_into(out, rows, "out")
        borrow_integers_out(counts, totals, "counts")
        batch.rows = <int16_t *>rows.buf
        batch.room = rows.len // 2 // self.n
        batch.counts = totals
        if batch.room < least:
            raise ValueError(f"out has room for {batch.room} samples of each receiver, one frame takes {least}")
        if totals.len // totals.itemsize != self.n:
            raise ValueError(f"counts has {totals.len // totals.itemsize} items, the bank {self.n} receivers")
        memset(totals.buf, 0, totals.len)
        return 0

    def push(self, indices, buffer, offsets, double now, out=None, counts=None):
        """Take packets of many streams, and hand out what they make ready.

        Parameters
        ----------
        indices : buffer of int32 or int64, shape (n_packets,)
            Which receiver each packet is for; any order, any number for each.
        buffer : buffer of uint8
            All packets, one behind the other; borrowed for the call.
        offsets : buffer of int32 or int64, shape (n_packets + 1,)
            Packet ``i`` is ``buffer[offsets[i]:offsets[i + 1]]``.
        now : float
            Their arrival, in seconds.
        out : writable buffer of int16, shape (n, room), optional
            Row ``i`` takes the frames of receiver ``i`` one behind the other, in order of time, then channel.  Whole
            frames only; what does not fit waits.  Rows beyond their counts are left as they are.
        counts : writable buffer of int32 or int64, shape (n,), optional
            Samples per channel written to each row; set by every call.  Needed with ``out``.

        Raises
        ------
        StateError
            If the bank is at work in another thread, or a stream has been flushed; no packet has been taken then.
        TypeError, ValueError
            If a buffer is of the wrong kind or size, an index or an offset out of its range; likewise.

        Notes
        -----
        Only receivers with packets in the batch are read; `read` looks at all of them.
        """
        cdef Py_buffer view, places, numbers, rows, totals
        cdef Batch batch
        cdef Py_ssize_t i
        cdef int64_t index
        self._check_free()
        if (out is None) != (counts is None):
            raise TypeError("out and counts go together")
        view_nothing(&view)
        view_nothing(&places)
        view_nothing(&numbers)
        view_nothing(&rows)
        view_nothing(&totals)
        try:
            borrow_octets(buffer, &view, "buffer")
            borrow_integers(offsets, &places, "offsets")
            borrow_integers(indices, &numbers, "indices")
            batch.indices = &numbers
            batch.offsets = &places
            batch.octets = <const uint8_t *>view.buf
            batch.n_octets = view.len
            batch.n_packets = numbers.len // numbers.itemsize
            batch.now = now
            batch.rows = NULL
            if batch.n_packets == 0 and places.len == 0:
                pass
            elif places.len // places.itemsize != batch.n_packets + 1:
                raise ValueError(
                    f"offsets has {places.len // places.itemsize} items, {batch.n_packets} packets take "
                    f"{batch.n_packets + 1}"
                )
            check_offsets(&places, view.len)
            for i in range(batch.n_packets):
                index = integer_at(&numbers, i)
                if not 0 <= index < self.n:
                    raise ValueError(f"indices[{i}] is {index}, not in [0, {self.n - 1}]")
                if (<Receiver>self.receiver_at[index]).ended:
                    raise StateError(f"receiver {index} was flushed; packets of a new stream need a new one")
            if out is not None:
                self._borrow_rows(out, counts, &rows, &totals, &batch)
            if batch.n_packets:
                self._run(&batch)
        finally:
            PyBuffer_Release(&view)
            PyBuffer_Release(&places)
            PyBuffer_Release(&numbers)
            PyBuffer_Release(&rows)
            PyBuffer_Release(&totals)

    def read(self, double now, out, counts):
        """Hand out what is due of every stream, with or without packets.

        Parameters
        ----------
        now : float
            Seconds, on the clock of `push`.
        out, counts
            As for `push`.

        Raises
        ------
        StateError
            If the bank is at work in another thread.
        TypeError, ValueError
            If a buffer is of the wrong kind or size.
        """
        cdef Py_buffer rows, totals
        cdef Batch batch
        self._check_free()
        view_nothing(&rows)
        view_nothing(&totals)
        try:
            self._borrow_rows(out, counts, &rows, &totals, &batch)
            batch.octets = NULL
            batch.now = now
            self._run(&batch)
        finally:
            PyBuffer_Release(&rows)
            PyBuffer_Release(&totals)
