"""Sequence numbers: which packet is new, which is late, how many never came."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum Outcome:
    IN_ORDER = 0        # the next number
    GAP = 1             # a higher one; SequenceValidator.gap numbers were skipped
    LATE = 2            # lower than the highest, first time seen
    DUPLICATE = 3       # seen before
    RESET = 4           # the sender has begun a new sequence
    SUSPECT = 5         # fits nowhere; held against the next one
    REORDERED = 6       # (jitter buffer) late, yet in time for its place
    REFUSED = 7         # (jitter buffer) cannot be stored

cdef enum Evidence:     # what the timestamp of a packet tells about its number
    NEWER = 1               # it is beyond all others, so the packet is no old one
    IN_TIME = 2             # it is as far ahead as the number is
    FOLLOWS_SUSPECT = 4     # it goes on from that of the suspect

cdef enum:
    WINDOW_BITS = 1024

cdef class Verdict:
    cdef readonly str kind
    cdef readonly long long gap

cdef Verdict verdict_of(int outcome, int64_t gap)

cdef class SequenceValidator:
    # What every packet touches comes first
    cdef uint32_t highest_number        # as on the wire
    cdef bint started
    cdef bint has_suspect
    cdef bint suspect_accepted          # by the last push: the packet held before, just before this one
    cdef int64_t highest                # extended; grows for ever
    cdef int64_t base                   # extended number of the first packet of this sequence
    cdef int64_t expected_before        # by sequences that have ended
    cdef int64_t extended               # extended number of the last push
    cdef int64_t gap                    # numbers that it skipped
    cdef int64_t received, duplicates, refused
    cdef uint64_t[16] _seen             # WINDOW_BITS, bit extended % WINDOW_BITS
    # What the others touch
    cdef readonly int window            # numbers behind the highest that are remembered
    cdef readonly int max_jump          # a longer jump has to be confirmed by the next packet
    cdef readonly long long max_gap     # a confirmed jump ahead beyond this is a restart
    cdef uint32_t suspect_number
    cdef int64_t suspect_extended
    cdef int64_t late, gaps, resets

    cdef Outcome push_number(self, uint32_t number, int evidence) noexcept nogil
    cdef void forget_first(self) noexcept nogil
    cdef void _mark(self, int64_t extended) noexcept nogil
    cdef bint _is_marked(self, int64_t extended) noexcept nogil
    cdef void _advance(self, int64_t n) noexcept nogil
    cdef void _begin(self, uint32_t number) noexcept nogil
    cdef Outcome _accept(self, uint32_t number) noexcept nogil
    cdef Outcome _confirm(self, uint32_t number) noexcept nogil


# Inline, as they are asked for with every packet.

cdef inline bint goes_on(SequenceValidator validator, uint32_t number) noexcept nogil:
    """Whether this is the next number, and nothing is in doubt; then `push_next` is all there is to do."""
    return number == <uint32_t>(validator.highest_number + 1) and validator.started and not validator.has_suspect


cdef inline void push_next(SequenceValidator validator) noexcept nogil:
    """`push_number` of the number behind the highest."""
    validator.received += 1
    validator.gap = 0
    validator.suspect_accepted = False
    validator.highest_number += 1
    validator.highest += 1
    validator.extended = validator.highest
    validator._seen[(validator.highest >> 6) & 15] |= <uint64_t>1 << (validator.highest & 63)


cdef inline void push_run(SequenceValidator validator, int64_t n) noexcept nogil:
    """`push_next`, so many times, which are less than WINDOW_BITS."""
    cdef int64_t extended
    for extended in range(validator.highest + 1, validator.highest + n + 1):
        validator._seen[(extended >> 6) & 15] |= <uint64_t>1 << (extended & 63)
    validator.received += n
    validator.gap = 0
    validator.suspect_accepted = False
    validator.highest_number += <uint32_t>n
    validator.highest += n
    validator.extended = validator.highest


cdef inline int64_t expected_of(SequenceValidator validator) noexcept nogil:
    return validator.expected_before + (validator.highest - validator.base + 1 if validator.started else 0)


cdef inline int64_t lost_of(SequenceValidator validator) noexcept nogil:
    return expected_of(validator) - (validator.received - validator.duplicates - validator.refused)
