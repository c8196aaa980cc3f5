"""The header of a media packet, both layouts of the platform media dialect."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum Layout:
    PADDED16 = 0        # u32le sequence number at 0, i64le timestamp at 8, audio from 16
    PACKED12 = 1        # u32le sequence number at 0, i64le timestamp at 4, audio from 12
    UNKNOWN = 2         # to be found out from the packets themselves

cdef struct PacketHeader:
    uint32_t sequence_number
    int64_t timestamp               # ticks of the media clock
    Py_ssize_t payload_offset       # octets

cdef enum PacketFault:
    FAULT_NONE = 0
    FAULT_SHORT = 1                 # fewer octets than the header has
    FAULT_EMPTY = 2                 # a header and no audio

cdef int layout_code(str name) except -1
cdef PacketFault read_header(const uint8_t *octets, Py_ssize_t size, Layout layout,
                             PacketHeader *header) noexcept nogil

cdef class LayoutDetector:
    cdef readonly int n_agreeing    #: steps that must agree before a layout is taken
    cdef readonly int n_patience    #: packets after which finding none is an error
    cdef readonly str layout        #: its name once it is known, else None
    cdef int _seen
    cdef int _agreeing[2]
    cdef PacketHeader _last[2]
    cdef Layout take(self, const uint8_t *octets, Py_ssize_t size) except *
