"""Small float functions that compilers can vectorise, and that give the same bits on every machine.

Only additions, multiplications and integer steps, which IEEE 754 defines exactly; the C library's own functions
differ in the last bit from release to release.  Polynomials are Chebyshev fits; errors are absolute.
"""

from libc.stdint cimport int16_t, int32_t
from libc.string cimport memcpy


cdef inline int32_t bits_of(float x) noexcept nogil:
    cdef int32_t bits
    memcpy(&bits, &x, 4)
    return bits


cdef inline float float_of(int32_t bits) noexcept nogil:
    cdef float x
    memcpy(&x, &bits, 4)
    return x


cdef inline float log2_of(float x) noexcept nogil:
    """Logarithm to base 2 of a positive, normal x; error below 4e-6, exact at powers of 2."""
    cdef int32_t bits = bits_of(x)
    cdef int32_t exponent = (bits - 0x3F3504F3) >> 23       # mantissa in [sqrt(1/2), sqrt(2))
    cdef float t = float_of(bits - exponent * 0x800000) - <float>1.0
    cdef float p = <float>-0.20685813
    p = p * t + <float>0.31840712
    p = p * t + <float>-0.36641327
    p = p * t + <float>0.47979388
    p = p * t + <float>-0.72120845
    p = p * t + <float>1.4427018
    return <float>exponent + t * p


cdef inline float exp2_of(float x) noexcept nogil:
    """2**x for -120 <= x <= 120; relative error below 3e-7, exact at integers."""
    cdef float whole = (x + <float>12582912.0) - <float>12582912.0      # nearest integer: 1.5 * 2**23
    cdef float t = x - whole
    cdef float p = <float>0.0013390867
    p = p * t + <float>0.009666374
    p = p * t + <float>0.05550357
    p = p * t + <float>0.24022348
    p = p * t + <float>0.6931472
    return float_of((<int32_t>whole + 127) << 23) * (<float>1.0 + t * p)


cdef inline int16_t saturate(float x) noexcept nogil:
    """Nearest int16, ties to even, saturated; 0 for NaN."""
    x = x if x < <float>32767.0 else (<float>32767.0 if x >= <float>32767.0 else <float>0.0)
    x = x if x > <float>-32768.0 else <float>-32768.0
    return <int16_t>(<int32_t>((x + <float>12582912.0) - <float>12582912.0))
