"""Many streams stepped at once."""

from cpython.ref cimport PyObject
from libc.stdint cimport int16_t, int64_t, uint8_t

cdef struct Batch:                  # what one `push` or `read` works on; borrowed for its length
    const Py_buffer *indices        # of each packet's receiver
    const Py_buffer *offsets
    const uint8_t *octets           # NULL to read alone
    Py_ssize_t n_octets
    Py_ssize_t n_packets
    double now
    int16_t *rows                   # NULL when nothing is read
    Py_ssize_t room                 # samples of a row
    const Py_buffer *counts         # samples per channel in each row; int32 or int64

cdef class ReceiverBank:
    cdef readonly int n_threads     #: that a batch is worked on by
    cdef tuple receivers            # of Receiver
    cdef PyObject **receiver_at     # the same, borrowed, for use without the GIL
    cdef Py_ssize_t n
    cdef object pool                # the threads, once there was something for them to do
    cdef bint busy                  # also watched by the receivers
    cdef const Batch *batch         # at hand while busy

    cdef bint _is_mine(self, int64_t index, int share) noexcept nogil
    cdef int _step(self, const Batch *batch, int share) noexcept nogil
    cdef int _read_row(self, Py_ssize_t index, const Batch *batch) noexcept nogil
    cdef object _run(self, const Batch *batch)
    cdef int _borrow_rows(self, out, counts, Py_buffer *rows, Py_buffer *totals, Batch *batch) except -1
    cdef int _check_free(self) except -1
