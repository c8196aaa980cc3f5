"""What the frames of a stream looked like lately, in rings of fixed size.

Each frame leaves two octets, its level and its flags, and only while somebody watches the lowest and highest sample.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t

cdef enum MarkFlag:
    MARK_SILENT = 1
    MARK_CONCEALED = 2
    MARK_PEAKS = 4          # lowest and highest are known
    MARK_CLIPPED = 8        # a sample is at full scale

cdef struct Mark:           # of one frame
    uint8_t level
    uint8_t flags

cdef struct Peak:
    int16_t low, high

cdef struct Ring:           # of one channel
    Mark *marks
    Peak *peaks             # NULL until somebody watches for the first time
    int64_t n               # frames so far
    int64_t mask            # frames that it holds, less 1
    int base                # of the level code
    bint watched

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Exponent and three bits of the mantissa: eight steps an octave of power, 0.38 dB each. */
    static inline int power_code(int64_t squares) {
        float value = (float)squares;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        return (int)(bits >> 20);
    }
    """
    int power_code(int64_t squares) noexcept nogil

cdef void note_peak(Ring *ring, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil


cdef inline void note(Ring *ring, const int16_t *pcm, Py_ssize_t n_samples, int64_t squares,
                      bint silent) noexcept nogil:
    """Take the next frame."""
    cdef int code = power_code(squares) - ring.base
    cdef Mark *mark = &ring.marks[ring.n & ring.mask]
    mark.level = <uint8_t>(code if code > 0 else 0)     # full scale in all of a frame is 255, and there is no more
    mark.flags = silent
    if ring.watched:
        note_peak(ring, pcm, n_samples)
    ring.n += 1


cdef inline void note_concealed(Ring *ring) noexcept nogil:
    """Some of the last frame was made up."""
    ring.marks[(ring.n - 1) & ring.mask].flags |= MARK_CONCEALED


cdef class Meter:
    cdef Ring *rings                        # of n_channels
    cdef readonly int n_channels
    cdef readonly int n_frames              # that a ring holds
    cdef readonly int frame_samples
    cdef readonly int sample_rate           # Hz
    cdef readonly int64_t start             # position of the first sample noted
    cdef int watchers
    cdef int64_t n_columns(self) noexcept nogil
    cdef int loudest(self, int channel, int64_t n_frames) noexcept nogil
    cdef void skip_to(self, int64_t position) noexcept nogil
