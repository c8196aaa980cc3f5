"""The header of a media packet, both layouts of the platform media dialect.

::

    padded16    0       4       8               16
                +-------+-------+---------------+-----------
                |  seq  |unused |   timestamp   | audio ...
                +-------+-------+---------------+-----------
    packed12    0       4               12
                +-------+---------------+-----------
                |  seq  |   timestamp   | audio ...
                +-------+---------------+-----------

All integers are little-endian; the sequence number is unsigned, the timestamp signed.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from gcmedia._core.buffer cimport borrow_octets

from gcmedia.errors import FormatError, PacketError

cdef tuple LAYOUTS = ("padded16", "packed12", "auto")
cdef int64_t MAX_TICKS_PER_PACKET = 1000


cdef int layout_code(str name) except -1:
    if name not in LAYOUTS:
        raise ValueError(f"layout is {name!r}, not one of {', '.join(LAYOUTS)}")
    return LAYOUTS.index(name)


@cython.final
cdef class Header:
    """What stands before the audio of a packet.

    Attributes
    ----------
    sequence_number : int
        Counts packets modulo 2**32.
    timestamp : int
        Media time of the first sample, in ticks of the dialect (milliseconds by default).
    payload_offset : int
        Octets before the audio.
    """

    cdef readonly unsigned int sequence_number
    cdef readonly long long timestamp
    cdef readonly Py_ssize_t payload_offset

    def __repr__(self):
        return (
            f"Header(sequence_number={self.sequence_number}, timestamp={self.timestamp}, "
            f"payload_offset={self.payload_offset})"
        )

    def __eq__(self, other):
        if not isinstance(other, Header):
            return NotImplemented
        cdef Header that = other
        return (
            self.sequence_number == that.sequence_number
            and self.timestamp == that.timestamp
            and self.payload_offset == that.payload_offset
        )

    def __hash__(self):
        return hash((self.sequence_number, self.timestamp, self.payload_offset))


def parse_header(packet, str layout="padded16"):
    """Parse the header of one media packet.

    Parameters
    ----------
    packet : buffer of uint8, shape (n_octets,)
        The whole packet.  Borrowed for the call.
    layout : str
        ``"padded16"`` or ``"packed12"``; one packet is not enough to tell them apart.

    Returns
    -------
    Header

    Raises
    ------
    PacketError
        If the packet is shorter than the header.  A packet without audio is no error here.
    ValueError
        If ``layout`` is not one of the two.
    """
    cdef Py_buffer view
    cdef PacketHeader found
    cdef PacketFault fault
    cdef int code = layout_code(layout)
    if code == UNKNOWN:
        raise ValueError("layout 'auto' takes several packets; parse_header sees one")
    borrow_octets(packet, &view, "packet")
    fault = read_header(<const uint8_t *>view.buf, view.len, <Layout>code, &found)
    cdef Py_ssize_t size = view.len
    PyBuffer_Release(&view)
    if fault == FAULT_SHORT:
        raise PacketError(f"packet has {size} octets, the {layout} header alone takes {header_size(<Layout>code)}")
    cdef Header header = Header.__new__(Header)
    header.sequence_number = found.sequence_number
    header.timestamp = found.timestamp
    header.payload_offset = found.payload_offset
    return header


@cython.final
cdef class LayoutDetector:
    """Find out the header layout from the packets of one stream.

    Under the right layout timestamps advance with the sequence numbers; under the wrong one they mix octets of
    the timestamp with padding or audio.  A layout is taken once it has explained ``n_agreeing`` steps between
    neighbouring packets and the other has not.

    Parameters
    ----------
    n_agreeing : int
        Steps that must agree, at least 2.
    n_patience : int
        Packets after which finding no layout is an error.
    """

    def __cinit__(self, *, int n_agreeing=4, int n_patience=16):
        if n_agreeing < 2:
            raise ValueError(f"n_agreeing is {n_agreeing}, less than 2")
        if n_patience <= n_agreeing:
            raise ValueError(f"n_patience is {n_patience}, not above n_agreeing {n_agreeing}")
        self.n_agreeing = n_agreeing
        self.n_patience = n_patience
        self.layout = None

    cdef Layout take(self, const uint8_t *octets, Py_ssize_t size) except *:
        cdef PacketHeader header
        cdef int code
        cdef int32_t step
        cdef int64_t ticks
        for code in range(2):
            if read_header(octets, size, <Layout>code, &header) != FAULT_NONE:
                continue
            step = <int32_t>(header.sequence_number - self._last[code].sequence_number)
            # Unsigned, so that octets that are no timestamp cannot overflow.
            ticks = <int64_t>(<uint64_t>header.timestamp - <uint64_t>self._last[code].timestamp)
            if 0 < step <= 64 and step <= ticks <= step * MAX_TICKS_PER_PACKET:
                self._agreeing[code] += 1
            self._last[code] = header
        self._seen += 1
        for code in range(2):
            if self._agreeing[code] >= self.n_agreeing and self._agreeing[1 - code] == 0:
                self.layout = LAYOUTS[code]
                return <Layout>code
        if self._seen >= self.n_patience:
            raise FormatError(
                f"no header layout explains the first {self._seen} packets: padded16 agrees with "
                f"{self._agreeing[0]} steps, packed12 with {self._agreeing[1]}; name the layout"
            )
        return UNKNOWN

    def push(self, packet):
        """Look at the next packet; return the layout's name once it is known, else None.

        Raises
        ------
        FormatError
            If ``n_patience`` packets have not shown it.
        """
        cdef Py_buffer view
        if self.layout is None:
            borrow_octets(packet, &view, "packet")
            try:
                self.take(<const uint8_t *>view.buf, view.len)
            finally:
                PyBuffer_Release(&view)
        return self.layout
