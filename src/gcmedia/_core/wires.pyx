"""Messages of many WebSockets, read and handed on in one call.

A server of thousands of calls gets ten thousand messages a second.  For an event loop each is a callback, for a parser
several; here a message costs its read from the kernel and little more.  Whole messages of one frame are handed to the
session at once; everything else, which is rare, goes to whoever speaks RFC 6455 for the link, frame by frame.

This is the one module of the core that touches sockets: it is given open ones, and waits for none.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from gcmedia._core.intake cimport Intake

cdef extern from "kernels/sockets.h" nogil:
    enum: SOCKETS_AT_ONCE
    int sockets_open()
    void sockets_close(int set)
    int sockets_add(int set, int fd, void *owner)
    void sockets_remove(int set, int fd)
    void sockets_again(int set, int fd, void *owner)
    int sockets_ready(int set, void **owners, uint8_t *ending)
    Py_ssize_t socket_read(int fd, void *buffer, size_t room)
    void unmask(uint8_t *out, const uint8_t *octets, size_t n, const uint8_t *mask)


cdef inline int head_length(const uint8_t *head) noexcept nogil:
    """Octets before the payload, by the first two."""
    cdef int length = head[1] & 127
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if head[1] & 128 else 0)


cdef inline uint64_t payload_length(const uint8_t *head) noexcept nogil:
    """Octets of the payload, by a head that is whole; bounded, so that it can be counted down."""
    cdef uint64_t length = head[1] & 127
    cdef int i, n = 0
    if length >= 126:
        n = 2 if length == 126 else 8
        length = 0
        for i in range(n):
            length = length << 8 | head[2 + i]
    return min(length, <uint64_t>1 << 62)


@cython.final
cdef class WireReader:
    """Reads the sockets of many WebSockets, each that has something once.

    Attributes
    ----------
    read : method
        Call it when ``fileno()`` is readable; it does not wait, and may be called at any time.

    Raises
    ------
    OSError
        If this system has nothing to wait for many sockets with, or no file descriptor is free.
    """

    def __cinit__(self):
        self.epoll = -1
        self.wires = set()
        self.removed = []
        self.buffer = <uint8_t *>PyMem_Malloc(BUFFER)
        if self.buffer == NULL:
            raise MemoryError()
        self.epoll = sockets_open()
        if self.epoll < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.epoll >= 0:
            sockets_close(self.epoll)
        PyMem_Free(self.buffer)

    def __len__(self):
        return len(self.wires)

    def fileno(self):
        """A file descriptor that is readable while one of the sockets is."""
        return self.epoll

    def add(self, int fd, link, session, Py_ssize_t longest):
        """Read a socket from now on, at the beginning of a frame.

        Parameters
        ----------
        fd : int
            Of the socket.
        link : Link
            Is told of everything but whole messages: ``rest_came(octets)`` of frames for the parser, which may come
            in parts; ``read_ended()`` once, at the end of the stream or when the socket has failed;
            ``read_failed(error)`` when handing on has raised.
        session : Session
            Gets whole messages; see `Wire.session`.
        longest : int
            Octets of a message; one that is longer goes to the link.

        Returns
        -------
        Wire

        Raises
        ------
        OSError
            If the socket cannot be read so.
        """
        cdef Wire wire = Wire.__new__(Wire)
        wire.fd, wire.link, wire.session, wire.longest = fd, link, session, longest
        if sockets_add(self.epoll, fd, <void *>wire) < 0:
            PyErr_SetFromErrno(OSError)
        wire.reader = self
        self.wires.add(wire)
        return wire

    def read(self):
        """Read each socket that has something once, and hand on what has come; no more than 128 sockets at a time."""
        cdef void *owners[SOCKETS_AT_ONCE]
        cdef uint8_t ending[SOCKETS_AT_ONCE]
        cdef int i, n
        if self.reading:
            return
        n = sockets_ready(self.epoll, owners, ending)
        stopped = None
        self.reading = True
        for i in range(n):
            try:
                self._read_one(<Wire>owners[i], ending[i])
            except BaseException as error:  # somebody wants to stop; what has come is not lost for it
                stopped = error
        self.reading = False
        self.removed.clear()
        if stopped is not None:
            raise stopped

    cdef int _read_one(self, Wire wire, bint ending) except -1:
        cdef Py_ssize_t n
        if wire.reader is None:     # removed by one that was read before
            return 0
        n = socket_read(wire.fd, self.buffer, BUFFER)
        if n == -1:
            return 0
        link = wire.link
        try:
            if n <= 0:
                wire.remove()
                link.read_ended()
                return 0
            if n == BUFFER or ending:
                sockets_again(self.epoll, wire.fd, <void *>wire)
            wire._take(self.buffer, n)
        except Exception as error:
            link.read_failed(error)
        return 0


@cython.final
cdef class Wire:
    """One WebSocket whose socket a `WireReader` reads; made by its ``add``.

    Attributes
    ----------
    session : Session or None
        Gets each whole message of one frame: text by its ``text``, binary by its ``intake``, or ``binary`` where that
        is None, as `gcmedia.transport.accept.types.Session` has it.  While it is None the link gets them.
    """

    def remove(self):
        """Read the socket no more; to be called before it is closed.  Again, it does nothing."""
        cdef WireReader reader = self.reader
        if reader is None:
            return
        sockets_remove(reader.epoll, self.fd)
        if reader.reading:
            reader.removed.append(self)
        reader.wires.discard(self)
        self.reader = self.link = self.session = None

    cdef int _take(self, const uint8_t *at, Py_ssize_t n) except -1:
        """Hand on what has come."""
        cdef Py_ssize_t size
        cdef int head
        while n > 0 and self.reader is not None:
            if self.left:
                size = min(n, self.left)
                self.left -= size
            elif self.n_head:
                size = 0
                while size < n and self.n_head and not self.left:
                    self.head[self.n_head] = at[size]
                    self.n_head += 1
                    size += 1
                    if self.n_head >= 2 and self.n_head == head_length(self.head):
                        self.left = <Py_ssize_t>payload_length(self.head)
                        self.n_head = self._begin_frame(self.head)
            else:
                head = head_length(at) if n >= 2 else 2
                if n < head or n == 1:
                    memcpy(self.head, at, n)
                    self.n_head = <int>n
                    size = n
                else:
                    size = head + <Py_ssize_t>payload_length(at)
                    if size > n:
                        self.left = size - n
                        size = n
                    elif (
                        (at[0] == 0x82 or at[0] == 0x81) and at[1] & 128 and not self.fragmented
                        and self.session is not None and size - head <= self.longest
                    ):
                        self._message(at + head, size - head, at + head - 4, at[0] == 0x81)
                        at += size
                        n -= size
                        continue
                    self._begin_frame(at)
            self._leave(at, size)
            at += size
            n -= size
        return 0

    cdef int _begin_frame(self, const uint8_t *head) noexcept:
        """Take note of a frame that is the parser's; returns 0."""
        if not head[0] & 8:         # control frames may come amid a message
            self.fragmented = not head[0] & 128
        return 0

    cdef int _message(self, const uint8_t *payload, Py_ssize_t n, const uint8_t *mask, bint text) except -1:
        """Hand a message to the session."""
        cdef bytes octets = PyBytes_FromStringAndSize(NULL, n)
        unmask(<uint8_t *>PyBytes_AS_STRING(octets), payload, n, mask)
        session = self.session
        if text:
            session.text(octets)
            return 0
        intake = session.intake
        if type(intake) is Intake:
            (<Intake>intake).take(octets)
        elif intake is None:
            session.binary(octets)
        else:
            intake(octets)
        return 0

    cdef int _leave(self, const uint8_t *at, Py_ssize_t n) except -1:
        """Leave octets to the parser."""
        self.link.rest_came(PyBytes_FromStringAndSize(<const char *>at, n))
        return 0
