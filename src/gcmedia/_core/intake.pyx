"""The short way of payloads into a receiver, while there is nothing to decide about them.

There are thousands of payloads a second; one call into the core for each costs a fifth of the way through a protocol
machine.  That one is told of what was taken before it has to know.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from gcmedia._core.buffer cimport borrow_octets


@cython.final
cdef class Intake:
    """Push payloads of whole samples into a receiver; leave all others to somebody who knows what they mean.

    Call it with a payload: bytes are kept as they are, what else has octets is copied.

    Parameters
    ----------
    receiver : StreamReceiver
        Where they go.

    Attributes
    ----------
    on_ready : callable
        Called without arguments when ``enough`` frames are ready.
    otherwise : callable
        Called with each payload that is not simply taken.
    on_error : callable
        Called with an exception of taking a payload, or of ``on_ready``.
    block_octets : int
        Octets of a sample of all channels; 0, as at first, while nothing is simply taken.
    max_octets : int
        The longest payload that is.
    enough : int
        Frames, over all channels.
    n_payloads, n_octets : int
        What was taken since `settle`.
    """

    def __cinit__(self, StreamReceiver receiver not None):
        self.receiver = receiver
        self.max_octets = 65_536

    def __call__(self, payload):
        cdef Py_buffer view
        if PyBytes_CheckExact(payload):
            self.take(payload)
            return
        borrow_octets(payload, &view, "payload")
        try:
            self.take(PyBytes_FromStringAndSize(<const char *>view.buf, view.len))
        finally:
            PyBuffer_Release(&view)

    cdef int take(self, bytes payload) except -1:
        cdef Py_ssize_t n = PyBytes_GET_SIZE(payload)
        if self.block_octets <= 0 or not 0 < n <= self.max_octets or n % self.block_octets:
            self.otherwise(payload)
            return 0
        self.n_payloads += 1
        self.n_octets += n
        try:
            if self.receiver.take(payload) >= self.enough:
                self.on_ready()
        except Exception as error:
            self.on_error(error)
        return 0

    def settle(self):
        """What was taken since the last time: (payloads, octets)."""
        taken = self.n_payloads, self.n_octets
        self.n_payloads = self.n_octets = 0
        return taken
