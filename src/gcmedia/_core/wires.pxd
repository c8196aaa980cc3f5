"""Messages of many WebSockets, read and handed on in one call."""

from libc.stdint cimport uint8_t

cdef enum:
    BUFFER = 128 * 1024         # octets that one read takes at most
    LONGEST_HEAD = 14           # octets before the payload of a frame: RFC 6455, 5.2

cdef class WireReader:
    cdef int epoll                      # the kernel's, of sockets
    cdef uint8_t *buffer
    cdef set wires                      # those that are read
    cdef list removed                   # while `read` may still have their addresses
    cdef bint reading

    cdef int _read_one(self, Wire wire, bint ending) except -1

cdef class Wire:
    cdef WireReader reader              # None: not read any more
    cdef int fd
    cdef object link
    cdef public object session
    cdef Py_ssize_t longest             # octets of a message
    # Of a frame that has come in part, and is somebody else's
    cdef uint8_t head[LONGEST_HEAD]
    cdef int n_head                     # of a head that is not all there
    cdef Py_ssize_t left                # octets still to come
    cdef bint fragmented                # amid a message of several frames

    cdef int _take(self, const uint8_t *at, Py_ssize_t n) except -1
    cdef int _message(self, const uint8_t *payload, Py_ssize_t n, const uint8_t *mask, bint text) except -1
    cdef int _begin_frame(self, const uint8_t *head) noexcept
    cdef int _leave(self, const uint8_t *at, Py_ssize_t n) except -1
