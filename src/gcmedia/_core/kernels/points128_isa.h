/* The transform of the usual frame: 128 points, as 16 rows of 8.

   Forward, 16 points are transformed down each column, turned by their twiddles, and 8 across each row; backward, first
   across and then down.  So all of it is in two passes, each within the registers as far as there are enough, and what
   goes out last, and what comes in first, lies by rows.  Included once for each instruction set. */

#ifdef ISA

#define COS_22 0.92387953251128674f
#define SIN_22 0.38268343236508977f

/* Transform 4 of some points in place; `turned` has the third of them turned by a quarter before. */
TARGET INLINE void K(four_points)(Lanes *re, Lanes *im, int step, int turned)
{
    const Lanes cr = turned ? im[2 * step] : re[2 * step], ci = turned ? re[2 * step] : im[2 * step];
    const Lanes er = re[0] + cr, fr = re[0] - cr;
    const Lanes ei = turned ? im[0] - ci : im[0] + ci, fi = turned ? im[0] + ci : im[0] - ci;
    const Lanes gr = re[step] + re[3 * step], gi = im[step] + im[3 * step];
    const Lanes hr = re[step] - re[3 * step], hi = im[step] - im[3 * step];
    re[0] = er + gr, im[0] = ei + gi;
    re[step] = fr + hi, im[step] = fi - hr;
    re[2 * step] = er - gr, im[2 * step] = ei - gi;
    re[3 * step] = fr - hi, im[3 * step] = fi + hr;
}

TARGET INLINE void K(turn)(Lanes *re, Lanes *im, Lanes c, Lanes s)
{
    const Lanes r = *re, i = *im;
    *re = fused_sub(r, c, i * s);
    *im = fused_add(r, s, i * c);
}

/* By an eighth of a circle, and by three. */
TARGET INLINE void K(turn_eighth)(Lanes *re, Lanes *im)
{
    const Lanes r = *re, i = *im;
    *re = (r + i) * SIN_45;
    *im = (i - r) * SIN_45;
}

TARGET INLINE void K(turn_three_eighths)(Lanes *re, Lanes *im)
{
    const Lanes r = *re, i = *im;
    *re = (i - r) * SIN_45;
    *im = (r + i) * -SIN_45;
}

/* Transform 16 points, one in each vector; number j comes to lie at SIXTEENTH(j). */
#define SIXTEENTH(j) (4 * ((j) % 4) + (j) / 4)
TARGET INLINE void K(sixteen_points)(Lanes *re, Lanes *im)
{
    const Lanes c = EACH(COS_22), s = EACH(SIN_22);
    for (int p = 0; p < 4; p++)
        K(four_points)(re + p, im + p, 4, 0);
    K(turn)(re + 5, im + 5, c, -s);
    K(turn)(re + 6, im + 6, EACH(SIN_45), EACH(-SIN_45));
    K(turn)(re + 7, im + 7, s, -c);
    K(turn_eighth)(re + 9, im + 9);
    K(turn_three_eighths)(re + 11, im + 11);
    K(turn)(re + 13, im + 13, s, -c);
    K(turn_three_eighths)(re + 14, im + 14);
    K(turn)(re + 15, im + 15, -c, s);
    for (int k = 0; k < 4; k++)
        K(four_points)(re + 4 * k, im + 4 * k, 1, k == 2);
}

/* Points become spectrum, weighed by a window on their way where there is one: its 128 for xr, then those for xi.  The
   first of the points lie in row `start`, and those after the last row in the first. */
TARGET INLINE void K(forward_128)(const FourierPlan *plan, const float *xr, const float *xi, int start, const float *window,
                                  float *yr, float *yi)
{
    const float *wr = plan->lane_twiddles, *wi = wr + 128;
    Lanes rows_re[16][8 / LANES], rows_im[16][8 / LANES];
    for (int l = 0; l < 8 / LANES; l++) {
        Lanes re[16], im[16];
        _Pragma("GCC unroll 16")
        for (int r = 0; r < 16; r++) {
            const int at = 8 * ((start + r) & 15) + LANES * l, w = 8 * r + LANES * l;
            re[r] = window ? LOAD(xr + at) * LOAD(window + w) : LOAD(xr + at);
            im[r] = window ? LOAD(xi + at) * LOAD(window + 128 + w) : LOAD(xi + at);
        }
        K(sixteen_points)(re, im);
        _Pragma("GCC unroll 16")
        for (int j = 0; j < 16; j++) {
            Lanes *r = re + SIXTEENTH(j), *i = im + SIXTEENTH(j);
            if (j)
                K(turn)(r, i, LOAD(wr + 8 * j + LANES * l), LOAD(wi + 8 * j + LANES * l));
            rows_re[j][l] = *r;
            rows_im[j][l] = *i;
        }
    }
    _Pragma("GCC unroll 4")
    for (int row = 0; row < 16; row += LANES) {
        Lanes re[8], im[8];
        transpose(rows_re + row, re);
        transpose(rows_im + row, im);
        K(radix8_across)(re, im);
        _Pragma("GCC unroll 8")
        for (int i = 0; i < 8; i++) {
            STORE(yr + row + 16 * i, re[i]);
            STORE(yi + row + 16 * i, im[i]);
        }
    }
}

/* Undo it, times 128, with real and imaginary parts exchanged: to y or, where that is NULL, to the output of a state,
   weighed by the window of the usual framing. */
TARGET INLINE void K(backward_128)(const FourierPlan *plan, const float *xr, const float *xi, float *yr, float *yi,
                                   const GateState *state, const float *window)
{
    const float *wr = plan->lane_twiddles, *wi = wr + 128;
    Lanes rows_re[16][8 / LANES], rows_im[16][8 / LANES];
    _Pragma("GCC unroll 4")
    for (int row = 0; row < 16; row += LANES) {
        Lanes re[8], im[8];
        _Pragma("GCC unroll 8")
        for (int i = 0; i < 8; i++) {
            re[i] = LOAD(xr + row + 16 * i);
            im[i] = LOAD(xi + row + 16 * i);
        }
        K(radix8_across)(re, im);
        transpose_back(re, rows_re + row);
        transpose_back(im, rows_im + row);
    }
    for (int l = 0; l < 8 / LANES; l++) {
        Lanes re[16], im[16];
        _Pragma("GCC unroll 16")
        for (int j = 0; j < 16; j++) {
            re[j] = rows_re[j][l];
            im[j] = rows_im[j][l];
            if (j)
                K(turn)(re + j, im + j, LOAD(wr + 8 * j + LANES * l), LOAD(wi + 8 * j + LANES * l));
        }
        K(sixteen_points)(re, im);
        _Pragma("GCC unroll 16")
        for (int r = 0; r < 16; r++) {
            const int at = 8 * r + LANES * l;
            if (yr != NULL) {
                STORE(yr + at, re[SIXTEENTH(r)]);
                STORE(yi + at, im[SIXTEENTH(r)]);
            } else if (r >= FIRST_ROW) {
                const int k = at - 8 * FIRST_ROW, to = r < 15 ? k : k - 8 * HOP_ROWS;
                const Lanes even = im[SIXTEENTH(r)], even_weight = LOAD(window + k);
                const Lanes odd = re[SIXTEENTH(r)], odd_weight = LOAD(window + 8 * (HOP_ROWS + 1) + k);
                const int overlaps = r == FIRST_ROW;
                STORE((r < 15 ? state->even_ready : state->even_tail) + to,
                      overlaps ? fused_add(even, even_weight, LOAD(state->even_tail + k)) : even * even_weight);
                STORE((r < 15 ? state->odd_ready : state->odd_tail) + to,
                      overlaps ? fused_add(odd, odd_weight, LOAD(state->odd_tail + k)) : odd * odd_weight);
            }
        }
    }
}

#endif
