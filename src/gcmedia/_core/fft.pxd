"""Real Fourier transforms of the sizes that windows of speech have."""

from libc.stdint cimport uintptr_t

from gcmedia._core.cpu cimport FourierPlan

cdef enum:
    MAX_SIZE = 4096                         # samples; scratch of this size is on the stack
    BIN_ROOM = 2064                         # floats that a spectrum of that size takes, with what vectors write beyond

cdef enum:
    LINE = 16                               # floats of a cache line: vectors that lie across two take twice as long

cdef inline float *at_line(float *memory) noexcept nogil:
    """Where the next line of the cache begins, at most LINE - 1 floats on."""
    return <float *>((<uintptr_t>memory + 63) // 64 * 64)

cdef class RealFFT:
    cdef FourierPlan plan                   # for kernels.fourier_forward and the like; constant once made
    cdef readonly int size                  # samples, even; size / 2 is 2**a * 3**b * 5**c
    # Spectra are size / 2 + 1 bins, real and imaginary parts apart, in memory of BIN_ROOM each.  x overlaps neither.
    cdef void forward_split(self, const float *x, float *re, float *im) noexcept nogil
    # Scaled by 1 / size, so that it undoes forward_split.  The imaginary parts of the first and last bin are 0.
    cdef void inverse_split(self, const float *re, const float *im, float *x) noexcept nogil

    cdef float *_memory                     # the tables, from the first line on

cdef RealFFT shared_fft(int size)
