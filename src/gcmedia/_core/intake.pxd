"""The short way of payloads into a receiver, while there is nothing to decide about them."""

from gcmedia._core.stream cimport StreamReceiver

cdef class Intake:
    cdef public StreamReceiver receiver         # where payloads go
    cdef public object on_ready                 # called when enough frames are ready
    cdef public object otherwise                # called with a payload that is not simply taken
    cdef public object on_error                 # called with what taking one has raised
    cdef public Py_ssize_t block_octets         # of a sample of all channels; 0 while nothing is simply taken
    cdef public Py_ssize_t max_octets           # of a payload that is simply taken
    cdef public Py_ssize_t enough               # frames
    cdef readonly long long n_payloads, n_octets

    cdef int take(self, bytes payload) except -1
