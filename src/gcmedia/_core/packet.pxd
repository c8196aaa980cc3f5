"""The header of a media packet, both layouts of the platform media dialect."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

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

# Inline, as every packet passes through it.

cdef inline Py_ssize_t header_size(Layout layout) noexcept nogil:
    return 12 if layout == PACKED12 else 16


cdef inline uint32_t load_u32le(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef inline int64_t load_i64le(const uint8_t *at) noexcept nogil:
    return <int64_t>(<uint64_t>load_u32le(at) | <uint64_t>load_u32le(at + 4) << 32)


cdef inline PacketFault read_header(const uint8_t *octets, Py_ssize_t size, Layout layout,
                                    PacketHeader *header) noexcept nogil:
    cdef Py_ssize_t offset = header_size(layout)
    if size < offset:
        return FAULT_SHORT
    header.sequence_number = load_u32le(octets)
    header.timestamp = load_i64le(octets + offset - 8)
    header.payload_offset = offset
    return FAULT_NONE if size > offset else FAULT_EMPTY


cdef class LayoutDetector:
    cdef readonly int n_agreeing    #: steps that must agree before a layout is taken
    cdef readonly int n_patience    #: packets after which finding none is an error
    cdef readonly str layout        #: its name once it is known, else None
    cdef int _seen
    cdef int _agreeing[2]
    cdef PacketHeader _last[2]
    cdef Layout take(self, const uint8_t *octets, Py_ssize_t size) except *
