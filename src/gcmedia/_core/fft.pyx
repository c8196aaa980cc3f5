"""Real Fourier transforms of the sizes that windows of speech have.

``size`` real samples are taken as ``size / 2`` complex ones, transformed by Stockham's self-sorting scheme in
stages of radix 4, 2, 3 and 5, and parted into the spectra of the even and the odd samples.  Real and imaginary
parts stand in arrays of their own, so that the inner loops run over neighbours.  A plan is constant once made: any
number of threads may use it, each with its own stack as scratch.

C. Van Loan, Computational Frameworks for the Fast Fourier Transform, sections 1.7 and 4.3.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport M_PI, cos, sin
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from gcmedia._core.buffer cimport borrow_octets

from gcmedia.errors import ConfigError

cdef float SIN_60 = <float>0.8660254037844386
cdef float COS_72 = <float>0.30901699437494742
cdef float COS_144 = <float>-0.80901699437494742
cdef float SIN_72 = <float>0.95105651629515357
cdef float SIN_144 = <float>0.58778525229247313


# One stage: n = radix * m points at stride s; element (q, p + m * k) goes to (q, radix * p + j).
# w holds radix - 1 twiddles (re, im) for each p.

cdef void _stage2(int m, int s, const float *xr, const float *xi, float *yr, float *yi, const float *w) noexcept nogil:
    cdef int p, q, a, b, c, d
    cdef float wr, wi, ur, ui
    for p in range(m):
        wr = w[2 * p]
        wi = w[2 * p + 1]
        a = s * p
        b = a + s * m
        c = 2 * s * p
        d = c + s
        for q in range(s):
            ur = xr[a + q] - xr[b + q]
            ui = xi[a + q] - xi[b + q]
            yr[c + q] = xr[a + q] + xr[b + q]
            yi[c + q] = xi[a + q] + xi[b + q]
            yr[d + q] = ur * wr - ui * wi
            yi[d + q] = ur * wi + ui * wr


cdef void _stage3(int m, int s, const float *xr, const float *xi, float *yr, float *yi, const float *w) noexcept nogil:
    cdef int p, q, a, c, step = s * m
    cdef float sr, si, dr, di, tr, ti, ur, ui
    cdef const float *v
    for p in range(m):
        v = w + 4 * p
        a = s * p
        c = 3 * s * p
        for q in range(s):
            sr = xr[a + q + step] + xr[a + q + 2 * step]
            si = xi[a + q + step] + xi[a + q + 2 * step]
            dr = (xr[a + q + step] - xr[a + q + 2 * step]) * SIN_60
            di = (xi[a + q + step] - xi[a + q + 2 * step]) * SIN_60
            tr = xr[a + q] - <float>0.5 * sr
            ti = xi[a + q] - <float>0.5 * si
            yr[c + q] = xr[a + q] + sr
            yi[c + q] = xi[a + q] + si
            ur = tr + di
            ui = ti - dr
            yr[c + q + s] = ur * v[0] - ui * v[1]
            yi[c + q + s] = ur * v[1] + ui * v[0]
            ur = tr - di
            ui = ti + dr
            yr[c + q + 2 * s] = ur * v[2] - ui * v[3]
            yi[c + q + 2 * s] = ur * v[3] + ui * v[2]


cdef void _stage4(int m, int s, const float *xr, const float *xi, float *yr, float *yi, const float *w) noexcept nogil:
    cdef int p, q, a, c, step = s * m
    cdef float er, ei, fr, fi, gr, gi, hr, hi, ur, ui
    cdef const float *v
    for p in range(m):
        v = w + 6 * p
        a = s * p
        c = 4 * s * p
        for q in range(s):
            er = xr[a + q] + xr[a + q + 2 * step]
            ei = xi[a + q] + xi[a + q + 2 * step]
            fr = xr[a + q] - xr[a + q + 2 * step]
            fi = xi[a + q] - xi[a + q + 2 * step]
            gr = xr[a + q + step] + xr[a + q + 3 * step]
            gi = xi[a + q + step] + xi[a + q + 3 * step]
            hr = xr[a + q + step] - xr[a + q + 3 * step]
            hi = xi[a + q + step] - xi[a + q + 3 * step]
            yr[c + q] = er + gr
            yi[c + q] = ei + gi
            ur = fr + hi
            ui = fi - hr
            yr[c + q + s] = ur * v[0] - ui * v[1]
            yi[c + q + s] = ur * v[1] + ui * v[0]
            ur = er - gr
            ui = ei - gi
            yr[c + q + 2 * s] = ur * v[2] - ui * v[3]
            yi[c + q + 2 * s] = ur * v[3] + ui * v[2]
            ur = fr - hi
            ui = fi + hr
            yr[c + q + 3 * s] = ur * v[4] - ui * v[5]
            yi[c + q + 3 * s] = ur * v[5] + ui * v[4]


cdef void _stage5(int m, int s, const float *xr, const float *xi, float *yr, float *yi, const float *w) noexcept nogil:
    cdef int p, q, a, c, step = s * m
    cdef float s1r, s1i, s2r, s2i, d1r, d1i, d2r, d2i, ar, ai, br, bi, cr, ci, dr, di, ur, ui
    cdef const float *v
    for p in range(m):
        v = w + 8 * p
        a = s * p
        c = 5 * s * p
        for q in range(s):
            s1r = xr[a + q + step] + xr[a + q + 4 * step]
            s1i = xi[a + q + step] + xi[a + q + 4 * step]
            d1r = xr[a + q + step] - xr[a + q + 4 * step]
            d1i = xi[a + q + step] - xi[a + q + 4 * step]
            s2r = xr[a + q + 2 * step] + xr[a + q + 3 * step]
            s2i = xi[a + q + 2 * step] + xi[a + q + 3 * step]
            d2r = xr[a + q + 2 * step] - xr[a + q + 3 * step]
            d2i = xi[a + q + 2 * step] - xi[a + q + 3 * step]
            ar = xr[a + q] + COS_72 * s1r + COS_144 * s2r
            ai = xi[a + q] + COS_72 * s1i + COS_144 * s2i
            br = xr[a + q] + COS_144 * s1r + COS_72 * s2r
            bi = xi[a + q] + COS_144 * s1i + COS_72 * s2i
            cr = SIN_72 * d1r + SIN_144 * d2r
            ci = SIN_72 * d1i + SIN_144 * d2i
            dr = SIN_144 * d1r - SIN_72 * d2r
            di = SIN_144 * d1i - SIN_72 * d2i
            yr[c + q] = xr[a + q] + s1r + s2r
            yi[c + q] = xi[a + q] + s1i + s2i
            ur = ar + ci
            ui = ai - cr
            yr[c + q + s] = ur * v[0] - ui * v[1]
            yi[c + q + s] = ur * v[1] + ui * v[0]
            ur = br + di
            ui = bi - dr
            yr[c + q + 2 * s] = ur * v[2] - ui * v[3]
            yi[c + q + 2 * s] = ur * v[3] + ui * v[2]
            ur = br - di
            ui = bi + dr
            yr[c + q + 3 * s] = ur * v[4] - ui * v[5]
            yi[c + q + 3 * s] = ur * v[5] + ui * v[4]
            ur = ar - ci
            ui = ai + cr
            yr[c + q + 4 * s] = ur * v[6] - ui * v[7]
            yi[c + q + 4 * s] = ur * v[7] + ui * v[6]


cdef int _run_stages(const int *radices, int n_stages, int n, const float *w,
                     float *ar, float *ai, float *br, float *bi) noexcept nogil:
    """Transform ``n`` complex points that begin in a; 0 is returned when the result is in a, 1 when it is in b."""
    cdef int stage, radix, m = n, s = 1
    cdef float *t
    for stage in range(n_stages):
        radix = radices[stage]
        m //= radix
        if radix == 4:
            _stage4(m, s, ar, ai, br, bi, w)
        elif radix == 2:
            _stage2(m, s, ar, ai, br, bi, w)
        elif radix == 3:
            _stage3(m, s, ar, ai, br, bi, w)
        else:
            _stage5(m, s, ar, ai, br, bi, w)
        w += 2 * (radix - 1) * m
        s *= radix
        t = ar
        ar = br
        br = t
        t = ai
        ai = bi
        bi = t
    return n_stages & 1


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
    Relative error (RMS) is below 3e-7 for all sizes.  Nothing is allocated after construction but the results of
    the Python methods; a plan can serve many threads.
    """

    def __cinit__(self, int size):
        cdef int half = size // 2, rest = half, m = half, radix, stage, p, k, n_twiddles = 0
        cdef double angle
        if size < 2 or size > MAX_SIZE or size & 1:
            raise ConfigError(f"size is {size}, not an even number in [2, {MAX_SIZE}]")
        self.size = size
        # Large odd radices first: the stride that inner loops run over grows fastest.
        for radix in (5, 3, 4, 2):
            while rest % radix == 0:
                self._radices[self._n_stages] = radix
                self._n_stages += 1
                rest //= radix
                m //= radix
                n_twiddles += 2 * (radix - 1) * m
        if rest != 1:
            raise ConfigError(f"size is {size}, and {half} is no product of 2, 3 and 5")
        self._twiddles = <float *>malloc((n_twiddles + 2 * half) * sizeof(float))
        if self._twiddles == NULL:
            raise MemoryError
        self._parting = self._twiddles + n_twiddles

        cdef float *w = self._twiddles
        m = half
        for stage in range(self._n_stages):
            radix = self._radices[stage]
            angle = -2.0 * M_PI / m
            m //= radix
            for p in range(m):
                for k in range(1, radix):
                    w[0] = <float>cos(angle * p * k)
                    w[1] = <float>sin(angle * p * k)
                    w += 2
        for k in range(half):
            self._parting[k] = <float>cos(2.0 * M_PI * k / size)
            self._parting[half + k] = <float>sin(2.0 * M_PI * k / size)

    def __dealloc__(self):
        free(self._twiddles)

    cdef void forward_split(self, const float *x, float *re, float *im) noexcept nogil:
        cdef float[2048] ar, ai, br, bi
        cdef float *zr = ar
        cdef float *zi = ai
        cdef const float *c = self._parting
        cdef const float *s = c + self.size // 2
        cdef int half = self.size // 2, k
        cdef float er, ei, dr, di
        for k in range(half):
            ar[k] = x[2 * k]
            ai[k] = x[2 * k + 1]
        if _run_stages(self._radices, self._n_stages, half, self._twiddles, ar, ai, br, bi):
            zr = br
            zi = bi
        re[0] = zr[0] + zi[0]
        im[0] = 0.0
        re[half] = zr[0] - zi[0]
        im[half] = 0.0
        for k in range(1, half):
            er = <float>0.5 * (zr[k] + zr[half - k])            # even samples' spectrum
            ei = <float>0.5 * (zi[k] - zi[half - k])
            dr = <float>0.5 * (zi[k] + zi[half - k])            # odd samples' spectrum
            di = <float>0.5 * (zr[half - k] - zr[k])
            re[k] = er + (dr * c[k] + di * s[k])
            im[k] = ei + (di * c[k] - dr * s[k])

    cdef void inverse_split(self, const float *re, const float *im, float *x) noexcept nogil:
        # Real and imaginary parts change places on the way in and out, which turns the transform's direction.
        cdef float[2048] ar, ai, br, bi
        cdef float *zr = ar
        cdef float *zi = ai
        cdef const float *c = self._parting
        cdef const float *s = c + self.size // 2
        cdef int half = self.size // 2, k
        cdef float scale = <float>1.0 / <float>self.size
        cdef float er, ei, tr, ti, dr, di
        ai[0] = (re[0] + re[half]) * scale
        ar[0] = (re[0] - re[half]) * scale
        for k in range(1, half):
            er = re[k] + re[half - k]
            ei = im[k] - im[half - k]
            tr = re[k] - re[half - k]
            ti = im[k] + im[half - k]
            dr = tr * c[k] - ti * s[k]
            di = tr * s[k] + ti * c[k]
            ai[k] = (er - di) * scale
            ar[k] = (ei + dr) * scale
        if _run_stages(self._radices, self._n_stages, half, self._twiddles, ar, ai, br, bi):
            zr = br
            zi = bi
        for k in range(half):
            x[2 * k] = zi[k]
            x[2 * k + 1] = zr[k]

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
        cdef float[2049] re, im
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
        cdef float[2049] re, im
        cdef int k
        borrow_octets(spectrum, &view, "spectrum")
        try:
            _copy(&view, "spectrum", <char *>bins, 8 * (self.size // 2 + 1))
        finally:
            PyBuffer_Release(&view)
        for k in range(self.size // 2 + 1):
            re[k] = bins[2 * k]
            im[k] = bins[2 * k + 1]
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
