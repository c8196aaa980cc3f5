"""One stream whose audio comes without headers: in order, with its holes told in words."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from gcmedia._core.block cimport Block
from gcmedia._core.frame cimport Frame
from gcmedia._core.meter cimport Meter
from gcmedia._core.processor cimport Processor

cdef enum:
    MAX_TOLD = 64               # holes that wait for `holes`
    LONG_FRAMES = 50            # of a payload, for which the GIL is let go: less would not pay for the change of thread

cdef class StreamReceiver:
    cdef Processor processor
    cdef readonly int64_t end           # first sample behind what was pushed
    cdef int64_t max_ready              # samples that may wait for `frames`
    cdef bint ended
    # What waits: payloads as bytes, holes as int; and what is left of the one that is being taken
    cdef object pieces
    cdef bytes payload
    cdef Py_ssize_t offset              # octets of it that are taken
    cdef int64_t hole_left
    # Told, and not yet asked for
    cdef list told                      # of Hole
    # Counters
    cdef int64_t received, refused, discarded, octets, ragged, empty, unreadable, overruns
    cdef str refusal
    cdef Meter noted                        # or None: nobody has asked for one

    cdef int64_t take(self, bytes octets) except? -1
    # -1: memory is out
    cdef int _feed(self) except -2
    cdef int _fill_up(self) except -2
    cdef bint _decode_frames(self, Block block, int64_t n_frames) except? False
    cdef int _run_through(self, Block block, int64_t n_frames) except -1
    cdef const uint8_t *_whole_frame(self) except? NULL
    cdef void _advance(self)
    cdef Frame _next_frame(self)
    cdef Py_ssize_t _read_into(self, int16_t *out, Py_ssize_t room) except -1
    cdef int64_t _ready(self)
    cdef int _lay_hole(self, int64_t n_samples, str cause) except -1
    cdef bint _ends_here(self, hole) except -1
    cdef int _carry_on(self, StreamReceiver after) except -1
    cdef int64_t _n_waiting(self)
