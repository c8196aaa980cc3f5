"""Real Fourier transforms of the sizes that windows of speech have.

Plans and their tables; the transforms themselves are in kernels/fourier_isa.h, which tells how.  A plan is constant
once made: any number of threads may use it, each with its own stack as scratch.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport M_PI, cos, sin
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from gcmedia._core.buffer cimport borrow_octets
from gcmedia._core.cpu cimport kernels

from gcmedia.errors import ConfigError


@cython.final
cdef class RealFFT:
    """A plan for Fourier transforms of ``size`` real float32 samples.

    Parameters
    ----------
    size : int
        Samples: even, 2 to 4096, and ``size / 2`` a product of 2, 3 and 5.

    Raises
    ------
    gcmedia.ConfigError
        If there is no plan for that size.

    Notes
    -----
    Relative error (RMS) is below 3e-7 for all sizes, and the bits are the same on every processor.  Nothing is
    allocated after construction but the results of the Python methods; a plan can serve many threads.
    """

    def __cinit__(self, int size):
        cdef FourierPlan *plan = &self.plan
        cdef int half = size // 2, rest, m, radix, stage, p, k, n_twiddles = 0
        cdef double angle
        if size < 2 or size > MAX_SIZE or size & 1:
            raise ConfigError(f"size is {size}, not an even number in [2, {MAX_SIZE}]")
        self.size = size
        plan.size = size
        plan.half = half
        plan.n_columns = 1 if half % 64 else 8
        plan.scale = <float>(1.0 / size)
        rest = m = half // plan.n_columns
        # Large odd radices first: the stride that inner loops run over grows fastest.
        for radix in (5, 3, 4, 2):
            while rest % radix == 0:
                plan.radices[plan.n_stages] = radix
                plan.n_stages += 1
                rest //= radix
                m //= radix
                n_twiddles += 2 * (radix - 1) * m
        if rest != 1:
            raise ConfigError(f"size is {size}, and {half} is no product of 2, 3 and 5")
        n_twiddles = (n_twiddles + LINE - 1) // LINE * LINE
        self._memory = <float *>malloc((n_twiddles + 4 * half + LINE) * sizeof(float))
        if self._memory == NULL:
            raise MemoryError
        cdef float *w = at_line(self._memory)

        plan.stage_twiddles = w
        m = half // plan.n_columns
        for stage in range(plan.n_stages):
            radix = plan.radices[stage]
            angle = -2.0 * M_PI / m
            m //= radix
            for p in range(m):
                for k in range(1, radix):
                    w[0] = <float>cos(angle * p * k)
                    w[1] = <float>sin(angle * p * k)
                    w += 2
        plan.parting = w = <float *>plan.stage_twiddles + n_twiddles
        for k in range(half):
            w[k] = <float>cos(2.0 * M_PI * k / size)
            w[half + k] = <float>sin(2.0 * M_PI * k / size)
        w += 2 * half
        plan.lane_twiddles = w
        for k in range(half):
            angle = -2.0 * M_PI * (k // 8 * (k % 8)) / half
            w[k] = <float>cos(angle)
            w[half + k] = <float>sin(angle)

    def __dealloc__(self):
        free(self._memory)

    cdef void forward_split(self, const float *x, float *re, float *im) noexcept nogil:
        kernels.fourier_forward(&self.plan, x, re, im)

    cdef void inverse_split(self, const float *re, const float *im, float *x) noexcept nogil:
        kernels.fourier_inverse(&self.plan, re, im, x)

    def forward(self, x):
        """Transform real samples.

        Parameters
        ----------
        x : buffer of float32, shape (size,), or its octets

        Returns
        -------
        bytes
            complex64 of shape (size / 2 + 1,), bins from 0 Hz up; not scaled.

        Raises
        ------
        ValueError
            If ``x`` has another size.
        """
        cdef Py_buffer view
        cdef float[4096] samples
        cdef float[BIN_ROOM] re, im
        cdef float *bins
        cdef int k
        borrow_octets(x, &view, "x")
        try:
            _copy(&view, "x", <char *>samples, 4 * self.size)
        finally:
            PyBuffer_Release(&view)
        self.forward_split(samples, re, im)
        spectrum = PyBytes_FromStringAndSize(NULL, 8 * (self.size // 2 + 1))
        bins = <float *>PyBytes_AS_STRING(spectrum)
        for k in range(self.size // 2 + 1):
            bins[2 * k] = re[k]
            bins[2 * k + 1] = im[k]
        return spectrum

    def inverse(self, spectrum):
        """Transform a spectrum back; undoes `forward`.

        Parameters
        ----------
        spectrum : buffer of complex64, shape (size / 2 + 1,), or its octets
            The imaginary parts of the first and the last bin are not read.

        Returns
        -------
        bytes
            float32 of shape (size,).

        Raises
        ------
        ValueError
            If ``spectrum`` has another size.
        """
        cdef Py_buffer view
        cdef float[4098] bins
        cdef float[BIN_ROOM] re, im
        cdef int k
        borrow_octets(spectrum, &view, "spectrum")
        try:
            _copy(&view, "spectrum", <char *>bins, 8 * (self.size // 2 + 1))
        finally:
            PyBuffer_Release(&view)
        for k in range(self.size // 2 + 1):
            re[k] = bins[2 * k]
            im[k] = bins[2 * k + 1]
        im[0] = im[self.size // 2] = 0.0
        samples = PyBytes_FromStringAndSize(NULL, 4 * self.size)
        self.inverse_split(re, im, <float *>PyBytes_AS_STRING(samples))
        return samples


cdef int _copy(Py_buffer *view, str name, char *target, Py_ssize_t n_octets) except -1:
    if view.len != n_octets:
        raise ValueError(f"{name} has {view.len} octets, {n_octets} are needed")
    memcpy(target, view.buf, n_octets)
    return 0


cdef dict _plans = {}
cdef enum:
    MAX_PLANS = 16


cdef RealFFT shared_fft(int size):
    """A plan for ``size``, the same one for everybody, so that many streams share its tables in the cache.

    Beyond MAX_PLANS sizes, plans are no longer shared.
    """
    plan = _plans.get(size)
    if plan is None:
        plan = RealFFT(size)
        if len(_plans) < MAX_PLANS:
            _plans[size] = plan
    return plan
