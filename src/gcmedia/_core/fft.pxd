"""Real Fourier transforms of the sizes that windows of speech have."""

cdef enum:
    MAX_SIZE = 4096                         # samples; scratch of this size is on the stack

cdef class RealFFT:
    cdef readonly int size                  # samples, even; size / 2 is 2**a * 3**b * 5**c
    # Spectra are size / 2 + 1 bins, real and imaginary parts apart.  x overlaps neither.
    cdef void forward_split(self, const float *x, float *re, float *im) noexcept nogil
    # Scaled by 1 / size, so that it undoes forward_split.  The imaginary parts of the first and last bin are not read.
    cdef void inverse_split(self, const float *re, const float *im, float *x) noexcept nogil

    cdef int _n_stages
    cdef int[16] _radices
    cdef float *_twiddles                   # of all stages, then size / 2 pairs that part even from odd samples
    cdef float *_parting

cdef RealFFT shared_fft(int size)
