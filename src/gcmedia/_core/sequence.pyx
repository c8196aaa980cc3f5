"""Sequence numbers: which packet is new, which is late, how many never came.

Numbers count modulo 2**32 and are compared by serial number arithmetic (RFC 1982).  Loss is what RFC 3550 A.3
makes it: numbers expected minus packets received, each counted once, so it is exact and never negative.

A number far from the highest may be a long gap, a sender that began anew, or nonsense.  As in RFC 3550 A.1 it is
suspect until the next packet follows it; unlike there, the caller may hold the packet meanwhile, so a
confirmed one is not lost.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from gcmedia.types import SequenceStats

cdef tuple KINDS = (
    "in-order", "gap", "late", "duplicate", "reset", "suspect", "reordered", "refused",
)
# How far from a suspect the next packet may be to confirm it: a loss or disorder right there must not undo it.
cdef int CONFIRM_WITHIN = 4


@cython.final
cdef class Verdict:
    """What a sequence number or packet turned out to be.

    Attributes
    ----------
    kind : str
        ``"in-order"``, ``"gap"``, ``"late"``, ``"duplicate"``, ``"reset"`` or ``"suspect"``; from a jitter
        buffer also ``"reordered"`` (late, yet in time) and ``"refused"`` (cannot be stored).
    gap : int
        Numbers that were skipped just before this one.
    """

    def __repr__(self):
        return f"Verdict({self.kind!r}, gap={self.gap})"

    def __eq__(self, other):
        if not isinstance(other, Verdict):
            return NotImplemented
        return self.kind == (<Verdict>other).kind and self.gap == (<Verdict>other).gap

    def __hash__(self):
        return hash((self.kind, self.gap))


cdef Verdict _make_verdict(str kind, int64_t gap):
    cdef Verdict verdict = Verdict.__new__(Verdict)
    verdict.kind = kind
    verdict.gap = gap
    return verdict


cdef list _COMMON = [_make_verdict(kind, 0) for kind in KINDS]


cdef Verdict verdict_of(int outcome, int64_t gap):
    return _make_verdict(KINDS[outcome], gap) if gap else _COMMON[outcome]


@cython.final
cdef class SequenceValidator:
    """Judge sequence numbers as they arrive.

    Parameters
    ----------
    window : int
        Numbers behind the highest for which late and duplicate are told apart, 64 to 1024.
    max_jump : int
        Longest gap that is believed at once; a longer one waits for the packet after it.
    max_gap : int
        Longest gap at all; a confirmed jump beyond it, or backwards beyond the window, is a reset.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    def __cinit__(self, *, int window=256, int max_jump=32, long long max_gap=90_000):
        if not 64 <= window <= WINDOW_BITS:
            raise ValueError(f"window is {window} numbers, not in [64, {WINDOW_BITS}]")
        if not 1 <= max_jump < window:
            raise ValueError(f"max_jump is {max_jump} numbers, not in [1, {window - 1}]")
        if not max_jump <= max_gap < 1 << 31:
            raise ValueError(f"max_gap is {max_gap} numbers, not in [{max_jump}, {(1 << 31) - 1}]")
        self.window = window
        self.max_jump = max_jump
        self.max_gap = max_gap

    cdef inline void _mark(self, int64_t extended) noexcept nogil:
        self._seen[(extended >> 6) & 15] |= <uint64_t>1 << (extended & 63)

    cdef inline bint _is_marked(self, int64_t extended) noexcept nogil:
        return (self._seen[(extended >> 6) & 15] >> (extended & 63)) & 1

    cdef void _advance(self, int64_t n) noexcept nogil:
        """Move the highest number on by n; the numbers skipped are unseen."""
        cdef int64_t i
        if n >= WINDOW_BITS:
            memset(self._seen, 0, sizeof(self._seen))
        else:
            for i in range(self.highest + 1, self.highest + n + 1):
                self._seen[(i >> 6) & 15] &= ~(<uint64_t>1 << (i & 63))
        self.highest += n
        self._mark(self.highest)

    cdef void _begin(self, uint32_t number) noexcept nogil:
        """Start a sequence at this number."""
        if self.started:
            self.expected_before += self.highest - self.base + 1
        self.started = True
        # Apart from the old numbers by more than the window, so that the two never mix.
        self.highest += 2 * WINDOW_BITS
        self.base = self.highest
        self.highest_number = number
        memset(self._seen, 0, sizeof(self._seen))
        self._mark(self.highest)

    cdef Outcome _accept(self, uint32_t number) noexcept nogil:
        """Accept a number that is far away: the end of a long gap, or the first of a new sequence."""
        cdef int32_t ahead = <int32_t>(number - self.highest_number)
        if 0 < ahead <= self.max_gap + 1:
            self.gap = ahead - 1
            self._advance(ahead)
            self.highest_number = number
            return GAP
        self._begin(number)
        self.resets += 1
        return RESET

    cdef Outcome _confirm(self, uint32_t number) noexcept nogil:
        """Accept the suspect and the number near it that confirms it."""
        cdef int32_t step = <int32_t>(number - self.suspect_number)
        cdef Outcome outcome
        self.has_suspect = False
        self.refused -= 1
        outcome = self._accept(self.suspect_number)
        self.suspect_accepted = True
        self.suspect_extended = self.highest
        self.extended = self.highest + step
        if step > 0:
            self._advance(step)
            self.highest_number = number
            self.gap += step - 1
        else:
            self._mark(self.extended)
            self.base = min(self.base, self.extended)
            self.late += 1
        self.gaps += self.gap > 0
        return outcome

    cdef Outcome push_number(self, uint32_t number, int evidence) noexcept nogil:
        """Judge one number, with what its timestamp tells."""
        cdef int32_t ahead = <int32_t>(number - self.highest_number)
        cdef int32_t from_suspect = <int32_t>(number - self.suspect_number)
        cdef bint near_suspect = self.has_suspect and from_suspect and -CONFIRM_WITHIN <= from_suspect <= CONFIRM_WITHIN
        cdef int64_t extended = self.highest + ahead
        self.received += 1
        self.gap = 0
        self.suspect_accepted = False
        if not self.started:
            self._begin(number)
            self.extended = self.highest
            return IN_ORDER

        if near_suspect and evidence & FOLLOWS_SUSPECT:         # the sender has begun anew close by
            return self._confirm(number)

        if 0 < ahead <= self.max_jump + 1 or (0 < ahead <= self.max_gap + 1 and evidence & IN_TIME):
            self.has_suspect = False
            self.gap = ahead - 1
            self._advance(ahead)
            self.highest_number = number
            self.extended = self.highest
            self.gaps += self.gap > 0
            return GAP if self.gap else IN_ORDER

        if -self.window < ahead <= 0:
            if not self._is_marked(extended):
                if extended >= self.base or not evidence & NEWER:
                    self._mark(extended)
                    self.base = min(self.base, extended)
                    self.late += 1
                    self.extended = extended
                    return LATE
            elif not evidence & NEWER:
                self.duplicates += 1
                return DUPLICATE
            # Seen before, or from before the beginning, yet newer: perhaps the sender has begun anew close by.

        elif near_suspect:
            return self._confirm(number)

        if self.has_suspect and from_suspect == 0:
            self.duplicates += 1
            return DUPLICATE
        self.has_suspect = True
        self.suspect_number = number
        self.refused += 1                   # until the next packet confirms it
        return SUSPECT

    cdef void forget_first(self) noexcept nogil:
        """The only number before the present sequence was nonsense: this is the first one."""
        self.refused += 1
        self.expected_before -= 1
        self.resets -= 1

    def push(self, unsigned int sequence_number):
        """Judge the next sequence number.

        Parameters
        ----------
        sequence_number : int
            As on the wire, 0 to 2**32 - 1.

        Returns
        -------
        Verdict
            A number judged ``suspect`` counts as refused until the next one confirms it, which then gets the
            verdict ``gap`` or ``reset`` for both.

        Raises
        ------
        OverflowError
            If the number is negative or has more than 32 bits.
        """
        cdef Outcome outcome = self.push_number(sequence_number, 0)
        return verdict_of(outcome, self.gap)

    def stats(self):
        """Counters since the start, as `gcmedia.types.SequenceStats`."""
        return SequenceStats(
            received=self.received,
            expected=expected_of(self),
            lost=lost_of(self),
            duplicate=self.duplicates,
            late=self.late,
            refused=self.refused,
            gaps=self.gaps,
            resets=self.resets,
        )
