"""PCMU and PCMA: octets to samples and back (ITU-T G.711).

Samples are int16; the 14-bit (mu-law) and 13-bit (A-law) values of the standard stand in their upper bits, as in
ITU-T G.191.  Encoders follow the decision values of G.711 tables 1 and 2 as G.191's ``ulaw_compress`` and
``alaw_compress`` do: a negative sample's magnitude is its one's complement, so that -1 is as near to zero as 0.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, uint8_t

from gcmedia._core.approx cimport bits_of
from gcmedia._core.buffer cimport borrow_int16, borrow_int16_out, borrow_octets, borrow_octets_out

ctypedef void (*Decoder)(const uint8_t *, int16_t *, Py_ssize_t) noexcept nogil
ctypedef void (*Encoder)(const int16_t *, uint8_t *, Py_ssize_t) noexcept nogil

cdef enum:
    ULAW_BIAS = 33              # shifts the segment borders of table 2 to powers of 2
    ULAW_CLIP = 8191            # largest biased magnitude
    WORTH_RELEASING = 8192      # samples; below, releasing the GIL costs more than it frees

cdef int16_t[256] ULAW          # written once, when the module is imported
cdef int16_t[256] ALAW


cdef int16_t _expand_ulaw(int code) noexcept:
    """Table 2, columns 6 to 8: 33 is added, the mantissa shifted by the segment, 33 taken off again."""
    cdef int inverted = ~code & 0xFF
    cdef int magnitude = (((((inverted & 0x0F) << 1) + ULAW_BIAS) << ((inverted >> 4) & 7)) - ULAW_BIAS) << 2
    return -magnitude if inverted & 0x80 else magnitude


cdef int16_t _expand_alaw(int code) noexcept:
    """Table 1, columns 6 to 8: the middle of the interval; even bits are inverted on the wire."""
    cdef int plain = code ^ 0x55
    cdef int segment = (plain >> 4) & 7
    cdef int magnitude = ((plain & 0x0F) << 4) + 8
    if segment > 0:
        magnitude = (magnitude + 0x100) << (segment - 1)
    return magnitude if plain & 0x80 else -magnitude


def _fill_tables():
    cdef int code
    for code in range(256):
        ULAW[code] = _expand_ulaw(code)
        ALAW[code] = _expand_alaw(code)


_fill_tables()
del _fill_tables


cdef void ulaw_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n_samples):
        pcm[i] = ULAW[octets[i]]


cdef void alaw_to_int16(const uint8_t *octets, int16_t *pcm, Py_ssize_t n_samples) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n_samples):
        pcm[i] = ALAW[octets[i]]


# Segment and mantissa of a companding law are exponent and leading mantissa bits of a float: after conversion,
# bits 26..23 and 22..19 are what the law sends.

cdef void int16_to_ulaw(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil:
    cdef int32_t sign, biased, code
    cdef Py_ssize_t i
    for i in range(n_samples):
        sign = pcm[i] >> 15                                     # 0 or -1
        biased = ((pcm[i] ^ sign) >> 2) + ULAW_BIAS
        biased = biased if biased < ULAW_CLIP else ULAW_CLIP
        code = (bits_of(<float>biased) >> 19) - ((127 + 5) << 4)
        octets[i] = <uint8_t>((0xFF + (sign & -0x80)) - code)   # all bits are inverted on the wire


cdef void int16_to_alaw(const int16_t *pcm, uint8_t *octets, Py_ssize_t n_samples) noexcept nogil:
    cdef int32_t sign, magnitude, code
    cdef Py_ssize_t i
    for i in range(n_samples):
        sign = pcm[i] >> 15
        magnitude = (pcm[i] ^ sign) >> 4
        code = (bits_of(<float>magnitude) >> 19) - ((127 + 3) << 4)
        code = code if magnitude >= 16 else magnitude           # segment 0 is linear
        octets[i] = <uint8_t>((code | (~sign & 0x80)) ^ 0x55)


cdef object _decode(object data, object out, Decoder decoder):
    cdef Py_buffer source, target
    cdef int16_t *pcm
    cdef Py_ssize_t n_samples
    borrow_octets(data, &source, "data")
    try:
        n_samples = source.len
        if out is None:
            result = PyBytes_FromStringAndSize(NULL, 2 * n_samples)
            pcm = <int16_t *>PyBytes_AS_STRING(result)
        else:
            borrow_int16_out(out, &target, n_samples)
            result = out
            pcm = <int16_t *>target.buf
        if n_samples < WORTH_RELEASING:
            decoder(<const uint8_t *>source.buf, pcm, n_samples)
        else:
            with nogil:
                decoder(<const uint8_t *>source.buf, pcm, n_samples)
        if out is not None:
            PyBuffer_Release(&target)
        return result
    finally:
        PyBuffer_Release(&source)


cdef object _encode(object pcm, object out, Encoder encoder):
    cdef Py_buffer source, target
    cdef uint8_t *octets
    cdef Py_ssize_t n_samples
    borrow_int16(pcm, &source, "pcm")
    try:
        n_samples = source.len // 2
        if out is None:
            result = PyBytes_FromStringAndSize(NULL, n_samples)
            octets = <uint8_t *>PyBytes_AS_STRING(result)
        else:
            borrow_octets_out(out, &target, n_samples)
            result = out
            octets = <uint8_t *>target.buf
        if n_samples < WORTH_RELEASING:
            encoder(<const int16_t *>source.buf, octets, n_samples)
        else:
            with nogil:
                encoder(<const int16_t *>source.buf, octets, n_samples)
        if out is not None:
            PyBuffer_Release(&target)
        return result
    finally:
        PyBuffer_Release(&source)


def ulaw_decode(data, out=None):
    """Decode PCMU octets to linear samples.

    Parameters
    ----------
    data : buffer of uint8, shape (n_samples,)
        One octet a sample.  Borrowed for the call.
    out : writable buffer of int16, shape (n_samples,), optional
        Filled and returned when given; nothing is allocated then.  It must not overlap ``data``.

    Returns
    -------
    bytes or out
        int16 samples in native order.  Full scale is 32124; both 0x7F and 0xFF are 0.

    Raises
    ------
    TypeError
        If ``data`` or ``out`` is no buffer of the right kind.
    ValueError
        If ``out`` has another size.

    References
    ----------
    ITU-T G.711, tables 2a and 2b; RFC 3551 section 4.5.14.
    """
    return _decode(data, out, ulaw_to_int16)


def alaw_decode(data, out=None):
    """Decode PCMA octets to linear samples.

    Parameters
    ----------
    data : buffer of uint8, shape (n_samples,)
        One octet a sample.  Borrowed for the call.
    out : writable buffer of int16, shape (n_samples,), optional
        Filled and returned when given; nothing is allocated then.  It must not overlap ``data``.

    Returns
    -------
    bytes or out
        int16 samples in native order.  Full scale is 32256; the law has no zero, 0xD5 is 8 and 0x55 is -8.

    Raises
    ------
    TypeError
        If ``data`` or ``out`` is no buffer of the right kind.
    ValueError
        If ``out`` has another size.

    References
    ----------
    ITU-T G.711, tables 1a and 1b; RFC 3551 section 4.5.14.
    """
    return _decode(data, out, alaw_to_int16)


def ulaw_encode(pcm, out=None):
    """Encode linear samples as PCMU.

    Decoding and encoding again returns each octet except the negative zero, 0x7F, which becomes 0xFF.

    Parameters
    ----------
    pcm : buffer of int16, shape (n_samples,), or its octets
        Native order.  Borrowed for the call.
    out : writable buffer of uint8, shape (n_samples,), optional
        Filled and returned when given; nothing is allocated then.

    Returns
    -------
    bytes or out
        One octet a sample.

    Raises
    ------
    TypeError
        If ``pcm`` or ``out`` is no buffer of the right kind.
    ValueError
        If ``pcm`` ends within a sample, or ``out`` has another size.

    Notes
    -----
    CPython's ``audioop.lin2ulaw`` rounds negative samples away from zero by one step of 4 and differs there: its
    code for ``x < 0`` is ours for ``x - 4``.

    References
    ----------
    ITU-T G.711, tables 2a and 2b; ITU-T G.191, ``ulaw_compress``.
    """
    return _encode(pcm, out, int16_to_ulaw)


def alaw_encode(pcm, out=None):
    """Encode linear samples as PCMA.

    Decoding and encoding again returns every octet.

    Parameters
    ----------
    pcm : buffer of int16, shape (n_samples,), or its octets
        Native order.  Borrowed for the call.
    out : writable buffer of uint8, shape (n_samples,), optional
        Filled and returned when given; nothing is allocated then.

    Returns
    -------
    bytes or out
        One octet a sample.

    Raises
    ------
    TypeError
        If ``pcm`` or ``out`` is no buffer of the right kind.
    ValueError
        If ``pcm`` ends within a sample, or ``out`` has another size.

    References
    ----------
    ITU-T G.711, tables 1a and 1b; ITU-T G.191, ``alaw_compress``.
    """
    return _encode(pcm, out, int16_to_alaw)
