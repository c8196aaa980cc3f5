/* Fourier transforms of real samples, several at a time.

   `size` real samples are taken as half as many complex points, even samples real and odd ones imaginary.  Where the
   points are a multiple of 64, point 8 * r + l goes to lane l: the lanes are transformed side by side over r by
   Stockham's self-sorting stages, turned by their twiddles, transposed in blocks of 8 by 8, and transformed across by
   one stage of radix 8.  Other sizes have stages only, their inner loops over neighbours.  Last, the spectra of even
   and odd samples are parted; the inverse does the same the other way round, with real and imaginary parts in each
   other's place.

   C. Van Loan, Computational Frameworks for the Fast Fourier Transform, sections 1.7, 2.4 and 4.3.

   Included once for each instruction set. */

#ifdef ISA

/* One butterfly of each radix over elements of a type, `by` elements of the array apart; w holds radix - 1 pairs, or is
   NULL where all of them are 1. */
#define DEFINE_STAGE(kind, Type) \
TARGET INLINE void K(turn_##kind)(Type re, Type im, const float *w, float *yr, float *yi) \
{ \
    if (w == NULL) { \
        PUT_##kind(yr, re); \
        PUT_##kind(yi, im); \
    } else { \
        PUT_##kind(yr, FUSED_##kind(re, w[0], -(im * w[1]))); \
        PUT_##kind(yi, FUSED_##kind(re, w[1], im * w[0])); \
    } \
} \
 \
TARGET INLINE void K(radix2_##kind)(const float *xr, const float *xi, int from, float *yr, float *yi, int to, const float *w) \
{ \
    const Type ar = GET_##kind(xr), ai = GET_##kind(xi); \
    const Type br = GET_##kind(xr + from), bi = GET_##kind(xi + from); \
    PUT_##kind(yr, ar + br); \
    PUT_##kind(yi, ai + bi); \
    K(turn_##kind)(ar - br, ai - bi, w, yr + to, yi + to); \
} \
 \
TARGET INLINE void K(radix3_##kind)(const float *xr, const float *xi, int from, float *yr, float *yi, int to, const float *w) \
{ \
    const Type ar = GET_##kind(xr), ai = GET_##kind(xi); \
    const Type br = GET_##kind(xr + from), bi = GET_##kind(xi + from); \
    const Type cr = GET_##kind(xr + 2 * from), ci = GET_##kind(xi + 2 * from); \
    const Type sr = br + cr, si = bi + ci; \
    const Type dr = (br - cr) * SIN_60, di = (bi - ci) * SIN_60; \
    const Type tr = FUSED_##kind(sr, -0.5f, ar), ti = FUSED_##kind(si, -0.5f, ai); \
    PUT_##kind(yr, ar + sr); \
    PUT_##kind(yi, ai + si); \
    K(turn_##kind)(tr + di, ti - dr, w, yr + to, yi + to); \
    K(turn_##kind)(tr - di, ti + dr, w ? w + 2 : w, yr + 2 * to, yi + 2 * to); \
} \
 \
TARGET INLINE void K(cross4_##kind)(Type ar, Type ai, Type br, Type bi, Type cr, Type ci, Type dr, Type di, \
                                    float *yr, float *yi, int to, const float *w) \
{ \
    const Type er = ar + cr, ei = ai + ci, fr = ar - cr, fi = ai - ci; \
    const Type gr = br + dr, gi = bi + di, hr = br - dr, hi = bi - di; \
    PUT_##kind(yr, er + gr); \
    PUT_##kind(yi, ei + gi); \
    K(turn_##kind)(fr + hi, fi - hr, w, yr + to, yi + to); \
    K(turn_##kind)(er - gr, ei - gi, w ? w + 2 : w, yr + 2 * to, yi + 2 * to); \
    K(turn_##kind)(fr - hi, fi + hr, w ? w + 4 : w, yr + 3 * to, yi + 3 * to); \
} \
 \
TARGET INLINE void K(radix4_##kind)(const float *xr, const float *xi, int from, float *yr, float *yi, int to, const float *w) \
{ \
    K(cross4_##kind)(GET_##kind(xr), GET_##kind(xi), GET_##kind(xr + from), GET_##kind(xi + from), GET_##kind(xr + 2 * from), \
                     GET_##kind(xi + 2 * from), GET_##kind(xr + 3 * from), GET_##kind(xi + 3 * from), yr, yi, to, w); \
} \
 \
TARGET INLINE void K(radix5_##kind)(const float *xr, const float *xi, int from, float *yr, float *yi, int to, const float *w) \
{ \
    const Type zr = GET_##kind(xr), zi = GET_##kind(xi); \
    const Type pr = GET_##kind(xr + from), pi = GET_##kind(xi + from); \
    const Type qr = GET_##kind(xr + 2 * from), qi = GET_##kind(xi + 2 * from); \
    const Type rr = GET_##kind(xr + 3 * from), ri = GET_##kind(xi + 3 * from); \
    const Type tr = GET_##kind(xr + 4 * from), ti = GET_##kind(xi + 4 * from); \
    const Type s1r = pr + tr, s1i = pi + ti, d1r = pr - tr, d1i = pi - ti; \
    const Type s2r = qr + rr, s2i = qi + ri, d2r = qr - rr, d2i = qi - ri; \
    const Type ar = FUSED_##kind(s2r, COS_144, FUSED_##kind(s1r, COS_72, zr)); \
    const Type ai = FUSED_##kind(s2i, COS_144, FUSED_##kind(s1i, COS_72, zi)); \
    const Type br = FUSED_##kind(s2r, COS_72, FUSED_##kind(s1r, COS_144, zr)); \
    const Type bi = FUSED_##kind(s2i, COS_72, FUSED_##kind(s1i, COS_144, zi)); \
    const Type cr = FUSED_##kind(d1r, SIN_72, d2r * SIN_144), ci = FUSED_##kind(d1i, SIN_72, d2i * SIN_144); \
    const Type dr = FUSED_##kind(d2r, -SIN_72, d1r * SIN_144), di = FUSED_##kind(d2i, -SIN_72, d1i * SIN_144); \
    PUT_##kind(yr, zr + s1r + s2r); \
    PUT_##kind(yi, zi + s1i + s2i); \
    K(turn_##kind)(ar + ci, ai - cr, w, yr + to, yi + to); \
    K(turn_##kind)(br + di, bi - dr, w ? w + 2 : w, yr + 2 * to, yi + 2 * to); \
    K(turn_##kind)(br - di, bi + dr, w ? w + 4 : w, yr + 3 * to, yi + 3 * to); \
    K(turn_##kind)(ar - ci, ai + cr, w ? w + 6 : w, yr + 4 * to, yi + 4 * to); \
}

#define GET_lanes(at) LOAD(at)
#define PUT_lanes(at, x) STORE(at, x)
#define FUSED_lanes(x, factor, y) fused_add(x, EACH(factor), y)
DEFINE_STAGE(point, float)
DEFINE_STAGE(lanes, Lanes)

/* One stage: n = radix * m points at stride s; element (q, p + m * k) goes to (q, radix * p + j). */
#define RUN_STAGE(n, kind, width) \
    for (int q = 0; q < s; q += (width)) \
        K(radix##n##_##kind)(xr + q, xi + q, s * m, yr + q, yi + q, s, NULL); \
    for (int p = 1; p < m; p++) \
        for (int q = 0; q < s; q += (width)) \
            K(radix##n##_##kind)(xr + s * p + q, xi + s * p + q, s * m, yr + (n) * s * p + q, \
                                  yi + (n) * s * p + q, s, w + 2 * ((n) - 1) * p)

TARGET INLINE void K(run_stage)(int radix, int m, int s, const float *xr, const float *xi, float *yr, float *yi, const float *w)
{
    if (s % LANES == 0) {
        if (radix == 4) {
            RUN_STAGE(4, lanes, LANES);
        } else if (radix == 2) {
            RUN_STAGE(2, lanes, LANES);
        } else if (radix == 3) {
            RUN_STAGE(3, lanes, LANES);
        } else {
            RUN_STAGE(5, lanes, LANES);
        }
    } else if (radix == 4) {
        RUN_STAGE(4, point, 1);
    } else if (radix == 2) {
        RUN_STAGE(2, point, 1);
    } else if (radix == 3) {
        RUN_STAGE(3, point, 1);
    } else {
        RUN_STAGE(5, point, 1);
    }
}

/* All stages of some transforms side by side, to and fro between x and y; the result is in x when their number is even,
   else in y. */
TARGET INLINE void K(run_stages)(const FourierPlan *plan, int side, float *xr, float *xi, float *yr, float *yi)
{
    const float *w = plan->stage_twiddles;
    int s = plan->n_columns * side, m = plan->half / plan->n_columns;
    for (int i = 0; i < plan->n_stages; i++) {
        const int radix = plan->radices[i];
        float *swap;
        m /= radix;
        K(run_stage)(radix, m, s, xr, xi, yr, yi, w);
        w += 2 * (radix - 1) * m;
        s *= radix;
        swap = xr, xr = yr, yr = swap;
        swap = xi, xi = yi, yi = swap;
    }
}

/* Transform 8 points, one in each vector. */
TARGET INLINE void K(radix8_across)(Lanes *re, Lanes *im)
{
    const Lanes t0r = re[0] + re[4], t0i = im[0] + im[4], t1r = re[0] - re[4], t1i = im[0] - im[4];
    const Lanes t2r = re[2] + re[6], t2i = im[2] + im[6], t3r = re[2] - re[6], t3i = im[2] - im[6];
    const Lanes t4r = re[1] + re[5], t4i = im[1] + im[5], t5r = re[1] - re[5], t5i = im[1] - im[5];
    const Lanes t6r = re[3] + re[7], t6i = im[3] + im[7], t7r = re[3] - re[7], t7i = im[3] - im[7];
    const Lanes u0r = t0r + t2r, u0i = t0i + t2i, u1r = t0r - t2r, u1i = t0i - t2i;
    const Lanes u2r = t4r + t6r, u2i = t4i + t6i, u3r = t4r - t6r, u3i = t4i - t6i;
    const Lanes v0r = t1r + t3i, v0i = t1i - t3r, v1r = t1r - t3i, v1i = t1i + t3r;     /* t1 -+ i t3 */
    const Lanes v2r = t5r + t7i, v2i = t5i - t7r, v3r = t5r - t7i, v3i = t5i + t7r;     /* t5 -+ i t7 */
    const Lanes wr = v2r + v2i, wi = v2i - v2r, xr = v3i - v3r, xi = v3r + v3i, turn = EACH(SIN_45);
    re[0] = u0r + u2r, im[0] = u0i + u2i;
    re[4] = u0r - u2r, im[4] = u0i - u2i;
    re[2] = u1r + u3i, im[2] = u1i - u3r;
    re[6] = u1r - u3i, im[6] = u1i + u3r;
    re[1] = fused_add(wr, turn, v0r), im[1] = fused_add(wi, turn, v0i);                 /* v2 times exp(-i pi / 4) */
    re[5] = fused_from(wr, turn, v0r), im[5] = fused_from(wi, turn, v0i);
    re[3] = fused_add(xr, turn, v1r), im[3] = fused_from(xi, turn, v1i);                /* v3 times exp(-3 i pi / 4) */
    re[7] = fused_from(xr, turn, v1r), im[7] = fused_add(xi, turn, v1i);
}

/* Transform the rows across, once they are. */
TARGET INLINE void K(transform_across)(const FourierPlan *plan, const float *xr, const float *xi, float *yr, float *yi)
{
    const int n_rows = plan->half / 8;
    const float *wr = plan->lane_twiddles, *wi = wr + plan->half;
    for (int row = 0; row < n_rows; row += LANES) {
        Lanes turned_re[LANES][8 / LANES], turned_im[LANES][8 / LANES], re[8], im[8];
        for (int i = 0; i < LANES; i++)
            for (int j = 0; j < 8 / LANES; j++) {
                const int at = 8 * (row + i) + LANES * j;
                const Lanes r = LOAD(xr + at), s = LOAD(xi + at), c = LOAD(wr + at), d = LOAD(wi + at);
                turned_re[i][j] = fused_sub(r, c, s * d);
                turned_im[i][j] = fused_add(r, d, s * c);
            }
        transpose(turned_re, re);
        transpose(turned_im, im);
        K(radix8_across)(re, im);
        for (int i = 0; i < 8; i++) {
            STORE(yr + row + n_rows * i, re[i]);
            STORE(yi + row + n_rows * i, im[i]);
        }
    }
}

#include "points128_isa.h"

/* The points of x, transformed; the result is in x or, if that is what is returned, in y. */
TARGET INLINE int K(transform)(const FourierPlan *plan, float *xr, float *xi, float *yr, float *yi)
{
    const int in_y = plan->n_stages & 1;
    K(run_stages)(plan, 1, xr, xi, yr, yi);
    if (plan->n_columns == 1)
        return in_y;
    if (in_y)
        K(transform_across)(plan, yr, yi, xr, xi);
    else
        K(transform_across)(plan, xr, xi, yr, yi);
    return !in_y;
}

/* Part the spectra of even and odd samples: bins 0 to half from points, all twice as large as they should be.  Floats up
   to a vector beyond bin half are 0 then.  So it is with their power, where it is wanted; the most of it is returned. */
TARGET INLINE Lanes K(put_power)(float *power, int at, Lanes r, Lanes i, Lanes most)
{
    const Lanes p = fused_add(r, r, i * i);
    if (power != NULL)
        STORE(power + at, p);
    return most_of(p, most);
}

TARGET INLINE Lanes K(put_one_power)(float *power, int at, float r, float i, Lanes most)
{
    const float p = fused_one(r, r, i * i);
    if (power != NULL)
        power[at] = p;
    return most_of(EACH(p), most);
}

TARGET INLINE Lanes K(part)(const FourierPlan *plan, const float *zr, const float *zi, float *re, float *im, float *power)
{
    Lanes most = EACH(0.0f);
    const int half = plan->half, middle = half / 2;
    const float *c = plan->parting, *s = c + half;
    /* Bins from the upper half come mirrored about its middle, one lane off: each vector waits for the next one. */
    Lanes above_r = EACH(zr[0]), above_i = EACH(zi[0]), held_r = EACH(0.0f), held_i = EACH(0.0f);
    int k = 0;
    for (; k + LANES <= middle; k += LANES) {
        const int far = half - k - LANES;
        const Lanes ar = LOAD(zr + k), ai = LOAD(zi + k), ck = LOAD(c + k), sk = LOAD(s + k);
        const Lanes below_r = LOAD(zr + far), below_i = LOAD(zi + far);
        const Lanes br = mirrored(begun_with(below_r, above_r)), bi = mirrored(begun_with(below_i, above_i));
        const Lanes er = ar + br, ei = ai - bi, dr = ai + bi, di = br - ar;
        const Lanes tr = fused_add(dr, ck, di * sk), ti = fused_sub(di, ck, dr * sk);
        const Lanes up_r = mirrored(er - tr), up_i = mirrored(ti - ei);
        above_r = below_r;
        above_i = below_i;
        const Lanes low_r = er + tr, low_i = ei + ti, high_r = begun_with(held_r, up_r), high_i = begun_with(held_i, up_i);
        STORE(re + k, low_r);
        STORE(im + k, low_i);
        STORE(re + far + LANES, high_r);
        STORE(im + far + LANES, high_i);
        most = K(put_power)(power, k, low_r, low_i, most);
        most = K(put_power)(power, far + LANES, high_r, high_i, most);
        held_r = up_r;
        held_i = up_i;
    }
    for (int last = half - k; k <= middle; k++) {
        const int far = k ? half - k : 0;
        const float er = zr[k] + zr[far], ei = zi[k] - zi[far];
        const float dr = zi[k] + zi[far], di = zr[far] - zr[k];
        const float tr = fused_one(dr, c[k], di * s[k]), ti = fused_one(di, c[k], -(dr * s[k]));
        if (2 * k < half) {
            re[k] = er + tr;
            im[k] = ei + ti;
            most = K(put_one_power)(power, k, er + tr, ei + ti, most);
        }
        if (half - k == last) {     /* whole, for those that read it whole */
            const Lanes high_r = begun_with(held_r, EACH(er - tr)), high_i = begun_with(held_i, EACH(ti - ei));
            STORE(re + last, high_r);
            STORE(im + last, high_i);
            most = K(put_power)(power, last, high_r, high_i, most);
        } else {
            re[half - k] = er - tr;
            im[half - k] = ti - ei;
            most = K(put_one_power)(power, half - k, er - tr, ti - ei, most);
        }
    }
    return most;
}

/* Undo it: points from bins that have been weighed, all twice as large as they should be. */
TARGET INLINE void K(join)(const FourierPlan *plan, const float *re, const float *im, const float *gain,
                              float *zr, float *zi)
{
    const int half = plan->half, middle = half / 2;
    const float *c = plan->parting, *s = c + half;
    Lanes above_r = EACH(re[half] * gain[half]), above_i = EACH(im[half] * gain[half]);
    Lanes held_r = EACH(0.0f), held_i = EACH(0.0f);
    int k = 0;
    for (; k + LANES <= middle; k += LANES) {
        const int far = half - k - LANES;
        const Lanes near = LOAD(gain + k), ck = LOAD(c + k), sk = LOAD(s + k), weight = LOAD(gain + far);
        const Lanes ar = LOAD(re + k) * near, ai = LOAD(im + k) * near;
        const Lanes below_r = LOAD(re + far) * weight, below_i = LOAD(im + far) * weight;
        const Lanes br = mirrored(begun_with(below_r, above_r)), bi = mirrored(begun_with(below_i, above_i));
        const Lanes er = ar + br, ei = ai - bi, tr = ar - br, ti = ai + bi;
        const Lanes dr = fused_sub(tr, ck, ti * sk), di = fused_add(tr, sk, ti * ck);
        const Lanes up_r = mirrored(er + di), up_i = mirrored(dr - ei);
        above_r = below_r;
        above_i = below_i;
        STORE(zr + k, er - di);
        STORE(zi + k, ei + dr);
        if (k) {
            STORE(zr + far + LANES, begun_with(held_r, up_r));
            STORE(zi + far + LANES, begun_with(held_i, up_i));
        }
        held_r = up_r;
        held_i = up_i;
    }
    for (int last = half - k; k <= middle; k++) {
        const float ar = re[k] * gain[k], ai = im[k] * gain[k];
        const float br = re[half - k] * gain[half - k], bi = im[half - k] * gain[half - k];
        const float er = ar + br, ei = ai - bi, tr = ar - br, ti = ai + bi;
        const float dr = fused_one(tr, c[k], -(ti * s[k])), di = fused_one(tr, s[k], ti * c[k]);
        const float up_r = 2 * k == half ? er - di : er + di, up_i = 2 * k == half ? ei + dr : dr - ei;
        if (half - k == last) {     /* whole, for those that read it whole */
            STORE(zr + last, begun_with(held_r, EACH(up_r)));
            STORE(zi + last, begun_with(held_i, EACH(up_i)));
        } else {
            zr[half - k] = up_r;
            zi[half - k] = up_i;
        }
        if (2 * k < half) {
            zr[k] = er - di;
            zi[k] = ei + dr;
        }
    }
}

TARGET static void K(fourier_forward)(const FourierPlan *plan, const float *x, float *re, float *im)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS];
    for (int k = 0; k < plan->half; k++) {
        ar[k] = x[2 * k] * 0.5f;
        ai[k] = x[2 * k + 1] * 0.5f;
    }
    if (plan->half == 128) {
        K(forward_128)(plan, ar, ai, 0, NULL, br, bi);
        K(part)(plan, br, bi, re, im, NULL);
    } else if (K(transform)(plan, ar, ai, br, bi))
        K(part)(plan, br, bi, re, im, NULL);
    else
        K(part)(plan, ar, ai, re, im, NULL);
}

TARGET static void K(fourier_inverse)(const FourierPlan *plan, const float *re, const float *im, float *x)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS], same[MAX_POINTS];
    const float *even = ai, *odd = ar;
    for (int k = 0; k <= plan->half; k++)
        same[k] = plan->scale;
    K(join)(plan, re, im, same, ai, ar);
    if (plan->half == 128) {
        K(backward_128)(plan, ar, ai, br, bi, NULL, NULL);
        even = bi;
        odd = br;
    } else if (K(transform)(plan, ar, ai, br, bi)) {
        even = bi;
        odd = br;
    }
    for (int k = 0; k < plan->half; k++) {
        x[2 * k] = even[k];
        x[2 * k + 1] = odd[k];
    }
}

#endif
