"""Concealment: fill what never came."""

from libc.stdint cimport int16_t, int64_t, uint32_t
from libc.string cimport memcpy

from gcmedia._core.pcm cimport sum_of_squares

cdef enum Method:
    SILENCE = 0
    REPEAT = 1
    PITCH = 2

cdef enum:
    HISTORY_BLOCKS = 3                      # of 20 ms
    FLOOR_BLOCKS = 75                       # over which the quietest block is looked for, 1.5 s

cdef extern from *:
    """
    #define NONE_YET INT64_MAX
    """
    const int64_t NONE_YET              # where a least is to be found

cdef class Concealer:
    # What every packet touches comes first
    cdef Method _code
    cdef int _block                         # samples of 20 ms
    cdef int _capacity                      # HISTORY_BLOCKS of them
    cdef int _at                            # where the next good sample goes, less than _capacity
    cdef int16_t *_history                  # ring of _capacity samples; oldest first, _at 0, within a hole
    cdef int64_t _heard                     # good samples since the start, or since `clear`
    cdef int64_t _filled                    # samples filled in this hole
    cdef int64_t _block_squares             # of the block that is being heard
    cdef int _block_samples                 # its length so far
    cdef int _floor_blocks                  # whole ones since the floor was last moved on
    cdef int64_t _least, _least_before      # quietest block of these, and of the 75 before; sums of squares
    cdef readonly str method                # "pitch", "repeat" or "silence"
    cdef readonly int sample_rate           # Hz

    # Remember good audio; it is never altered.
    cdef void good(self, const int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    # The hole ends in n_left samples, then comes `following`, of which the first 20 ms are looked at.
    cdef void look_ahead(self, int64_t n_left, const int16_t *following, Py_ssize_t n_following) noexcept nogil
    # Fill the next n_samples that are missing.  True when the fill is plain silence or comfort noise.
    cdef bint fill(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    cdef void clear(self) noexcept nogil

    # Of the hole
    cdef int _period                        # samples that are repeated
    cdef float _step                        # between the last good sample and the repetition of its period's first
    cdef float _background                  # RMS of the comfort noise
    cdef float _fade                        # share of the gain that is taken a sample, after 10 ms
    cdef uint32_t _random
    # Of its end, when that is known
    cdef int64_t _total                     # samples of the hole, -1 while nobody knows
    cdef int _join                          # samples before its end over which the two sides are mixed
    cdef int _back_period                   # 0: nothing to repeat backwards
    cdef float _back_step
    cdef int _n_ahead
    cdef int16_t *_ahead                    # the first samples that follow, at most _block
    # Of the good audio behind it, when that was not known
    cdef int64_t _joining                   # samples of the fill that go on under it
    cdef int _joined, _to_join

    cdef void _begin(self) noexcept nogil
    cdef int _best_period(self, const int16_t *pcm, Py_ssize_t n_samples, int window, int longest,
                          int sign) noexcept nogil
    cdef float _forward(self, int64_t i) noexcept nogil
    cdef float _backward(self, int64_t distance) noexcept nogil
    cdef float _gain(self, int64_t i) noexcept nogil
    cdef float _noise(self) noexcept nogil
    cdef bint _fill_by_pitch(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    cdef bint _fill_by_repeat(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil
    cdef void _smooth(self, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil


cdef inline void remember(Concealer concealer, const int16_t *pcm, Py_ssize_t n_samples,
                          int64_t squares) noexcept nogil:
    """`Concealer.good`, where a frame is a block; ``squares`` is the sum of its squares, or -1 when nobody knows."""
    if concealer._code == SILENCE:
        return
    if (n_samples != concealer._block or concealer._block_samples or concealer._filled
            or concealer._at + n_samples > concealer._capacity):
        concealer.good(pcm, n_samples)
        return
    memcpy(concealer._history + concealer._at, pcm, n_samples * sizeof(int16_t))
    concealer._at += <int>n_samples
    if concealer._at == concealer._capacity:
        concealer._at = 0
    concealer._heard += n_samples
    note_block(concealer, squares if squares >= 0 else sum_of_squares(pcm, n_samples))


cdef inline void note_block(Concealer concealer, int64_t squares) noexcept nogil:
    if squares < concealer._least:
        concealer._least = squares
    concealer._floor_blocks += 1
    if concealer._floor_blocks == FLOOR_BLOCKS:
        concealer._floor_blocks = 0
        concealer._least_before = concealer._least
        concealer._least = NONE_YET
