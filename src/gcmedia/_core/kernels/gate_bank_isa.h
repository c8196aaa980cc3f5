/* The spectral gate for GATE_LANES streams side by side: each lane does for its stream what spectral_isa.h does for
   one, with the same operations in the same order, so it gives the same bits.  Nothing is moved between lanes but
   samples.

   Arrays hold GATE_LANES floats for each element.  Where a register has fewer lanes, streams are done in parts, `lane`
   and those behind it.  Included once for each instruction set. */

#ifdef ISA

#define SIDE GATE_LANES

TARGET INLINE void K(across_side)(const FourierPlan *plan, const float *xr, const float *xi, float *yr, float *yi)
{
    const int half = plan->half, n_rows = half / 8;
    const float *c = plan->lane_twiddles, *d = c + half;
    for (int row = 0; row < n_rows; row++)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            Lanes re[8], im[8];
            for (int i = 0; i < 8; i++) {
                const int at = 8 * row + i;
                const Lanes r = LOAD(xr + SIDE * at + lane), s = LOAD(xi + SIDE * at + lane);
                re[i] = fused_sub(r, EACH(c[at]), s * d[at]);
                im[i] = fused_add(r, EACH(d[at]), s * c[at]);
            }
            K(radix8_across)(re, im);
            for (int i = 0; i < 8; i++) {
                STORE(yr + SIDE * (row + n_rows * i) + lane, re[i]);
                STORE(yi + SIDE * (row + n_rows * i) + lane, im[i]);
            }
        }
}

/* Points of x, transformed; the result is in x or, if that is what is returned, in y.  All lanes at once. */
TARGET INLINE int K(transform_side)(const FourierPlan *plan, float *xr, float *xi, float *yr, float *yi)
{
    const int in_y = plan->n_stages & 1;
    K(run_stages)(plan, SIDE, xr, xi, yr, yi);
    if (plan->n_columns == 1)
        return in_y;
    if (in_y)
        K(across_side)(plan, yr, yi, xr, xi);
    else
        K(across_side)(plan, xr, xi, yr, yi);
    return !in_y;
}

/* forward_128, in two passes: number k comes to lie at PLACES[k]. */
TARGET INLINE void K(forward_128_side)(const FourierPlan *plan, const float *xr, const float *xi, int start, const float *window,
                                       float *yr, float *yi)
{
    const float *wr = plan->lane_twiddles, *wi = wr + 128;
    for (int q = 0; q < 8; q++)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            Lanes re[16], im[16];
            _Pragma("GCC unroll 16")
            for (int r = 0; r < 16; r++) {
                const int at = SIDE * (8 * ((start + r) & 15) + q) + lane;
                re[r] = LOAD(xr + at) * window[8 * r + q];
                im[r] = LOAD(xi + at) * window[128 + 8 * r + q];
            }
            K(sixteen_points)(re, im);
            _Pragma("GCC unroll 16")
            for (int j = 0; j < 16; j++) {
                const int at = 8 * j + q;
                Lanes *r = re + SIXTEENTH(j), *i = im + SIXTEENTH(j);
                if (j)
                    K(turn)(r, i, EACH(wr[at]), EACH(wi[at]));
                STORE(yr + SIDE * at + lane, *r);
                STORE(yi + SIDE * at + lane, *i);
            }
        }
    for (int row = 0; row < SIDE * 128; row += SIDE * 8)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            Lanes re[8], im[8];
            _Pragma("GCC unroll 8")
            for (int i = 0; i < 8; i++) {
                re[i] = LOAD(yr + row + SIDE * i + lane);
                im[i] = LOAD(yi + row + SIDE * i + lane);
            }
            K(radix8_across)(re, im);
            _Pragma("GCC unroll 8")
            for (int i = 0; i < 8; i++) {
                STORE(yr + row + SIDE * i + lane, re[i]);
                STORE(yi + row + SIDE * i + lane, im[i]);
            }
        }
}

/* backward_128, of numbers that lie so; in place, or to the output of a state. */
TARGET INLINE void K(backward_128_side)(const FourierPlan *plan, float *xr, float *xi, const GateState *state,
                                        const float *window)
{
    const float *wr = plan->lane_twiddles, *wi = wr + 128;
    for (int j = 0; j < 16; j++)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            Lanes re[8], im[8];
            _Pragma("GCC unroll 8")
            for (int i = 0; i < 8; i++) {
                re[i] = LOAD(xr + SIDE * (8 * j + i) + lane);
                im[i] = LOAD(xi + SIDE * (8 * j + i) + lane);
            }
            K(radix8_across)(re, im);
            _Pragma("GCC unroll 8")
            for (int i = 0; i < 8; i++) {
                const int at = 8 * j + i;
                if (j)
                    K(turn)(re + i, im + i, EACH(wr[at]), EACH(wi[at]));
                STORE(xr + SIDE * at + lane, re[i]);
                STORE(xi + SIDE * at + lane, im[i]);
            }
        }
    for (int q = 0; q < 8; q++)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            Lanes re[16], im[16];
            _Pragma("GCC unroll 16")
            for (int j = 0; j < 16; j++) {
                re[j] = LOAD(xr + SIDE * (8 * j + q) + lane);
                im[j] = LOAD(xi + SIDE * (8 * j + q) + lane);
            }
            K(sixteen_points)(re, im);
            _Pragma("GCC unroll 16")
            for (int r = 0; r < 16; r++)
                if (state == NULL) {
                    STORE(xr + SIDE * (8 * r + q) + lane, re[SIXTEENTH(r)]);
                    STORE(xi + SIDE * (8 * r + q) + lane, im[SIXTEENTH(r)]);
                } else if (r >= FIRST_ROW) {
                    const int k = 8 * (r - FIRST_ROW) + q, at = SIDE * (r < 15 ? k : q) + lane;
                    const Lanes even = im[SIXTEENTH(r)], even_weight = EACH(window[k]);
                    const Lanes odd = re[SIXTEENTH(r)], odd_weight = EACH(window[8 * (HOP_ROWS + 1) + k]);
                    const int overlaps = r == FIRST_ROW;
                    STORE((r < 15 ? state->even_ready : state->even_tail) + at,
                          overlaps ? fused_add(even, even_weight, LOAD(state->even_tail + at)) : even * even_weight);
                    STORE((r < 15 ? state->odd_ready : state->odd_tail) + at,
                          overlaps ? fused_add(odd, odd_weight, LOAD(state->odd_tail + at)) : odd * odd_weight);
                }
        }
}

/* Two bins from two points, `low` and `far`, as `part` has them: bin k, which takes the place of its point, and bin
   half - k at `high`; and their power.  Returns the most of it, or of `most`. */
TARGET INLINE Lanes K(part_two)(const FourierPlan *plan, const float *zr, const float *zi, float *re, float *im, float *power,
                                Lanes most, int k, int low, int far, int high)
{
    const int half = plan->half;
    const Lanes c = EACH(plan->parting[k]), s = EACH(plan->parting[half + k]);
    const Lanes ar = LOAD(zr + SIDE * low), ai = LOAD(zi + SIDE * low), br = LOAD(zr + SIDE * far), bi = LOAD(zi + SIDE * far);
    const Lanes er = ar + br, ei = ai - bi, dr = ai + bi, di = br - ar;
    const Lanes tr = fused_add(dr, c, di * s), ti = fused_sub(di, c, dr * s);
    const Lanes low_r = er + tr, low_i = ei + ti, high_r = er - tr, high_i = ti - ei;
    const Lanes low_power = fused_add(low_r, low_r, low_i * low_i), high_power = fused_add(high_r, high_r, high_i * high_i);
    STORE(re + SIDE * low, low_r);
    STORE(im + SIDE * low, low_i);
    STORE(power + SIDE * k, low_power);
    STORE(re + SIDE * high, high_r);
    STORE(im + SIDE * high, high_i);
    STORE(power + SIDE * (half - k), high_power);
    return most_of(high_power, 2 * k < half ? most_of(low_power, most) : most);
}

/* All bins, in the places of points.  Those of 128 points lie by columns, see PLACES. */
TARGET INLINE Lanes K(part_side)(const FourierPlan *plan, const float *zr, const float *zi, float *re, float *im, float *power)
{
    const int half = plan->half;
    Lanes most = K(part_two)(plan, zr, zi, re, im, power, EACH(0.0f), 0, 0, 0, half);
    if (half != 128) {
        for (int k = 1; k <= half / 2; k++)
            most = K(part_two)(plan, zr, zi, re, im, power, most, k, k, half - k, half - k);
        return most;
    }
    for (int i = 1; i <= 4; i++)
        most = K(part_two)(plan, zr, zi, re, im, power, most, 16 * i, i, 8 - i, 8 - i);
    for (int j = 1; j < 16; j++)
        _Pragma("GCC unroll 4")
        for (int i = 0; i < 4; i++) {
            const int far = 8 * (16 - j) + 7 - i;
            most = K(part_two)(plan, zr, zi, re, im, power, most, 16 * i + j, 8 * j + i, far, far);
        }
    return most;
}

/* Two points from two bins, which they take the place of, or that of the gains where points have one of their own. */
TARGET INLINE void K(join_two)(const FourierPlan *plan, const float *re, const float *im, const float *gain, float *zr, float *zi,
                               int k, int low, int high)
{
    const int half = plan->half;
    const Lanes c = EACH(plan->parting[k]), s = EACH(plan->parting[half + k]);
    const Lanes near = LOAD(gain + SIDE * k), weight = LOAD(gain + SIDE * (half - k));
    const Lanes ar = LOAD(re + SIDE * low) * near, ai = LOAD(im + SIDE * low) * near;
    const Lanes br = LOAD(re + SIDE * high) * weight, bi = LOAD(im + SIDE * high) * weight;
    const Lanes er = ar + br, ei = ai - bi, tr = ar - br, ti = ai + bi;
    const Lanes dr = fused_sub(tr, c, ti * s), di = fused_add(tr, s, ti * c);
    if (k) {
        STORE(zr + SIDE * high, er + di);
        STORE(zi + SIDE * high, dr - ei);
    }
    STORE(zr + SIDE * low, er - di);
    STORE(zi + SIDE * low, ei + dr);
}

TARGET INLINE void K(join_side)(const FourierPlan *plan, const float *re, const float *im, const float *gain, float *zr,
                                float *zi)
{
    const int half = plan->half;
    K(join_two)(plan, re, im, gain, zr, zi, 0, 0, half);
    if (half != 128) {
        for (int k = 1; k <= half / 2; k++)
            K(join_two)(plan, re, im, gain, zr, zi, k, k, half - k);
        return;
    }
    for (int i = 1; i <= 4; i++)
        K(join_two)(plan, re, im, gain, zr, zi, 16 * i, i, 8 - i);
    for (int j = 1; j < 16; j++)
        _Pragma("GCC unroll 4")
        for (int i = 0; i < 4; i++)
            K(join_two)(plan, re, im, gain, zr, zi, 16 * i + j, 8 * j + i, 8 * (16 - j) + 7 - i);
}

/* The beginning of sound, and `rest`, of stream l alone, which is seldom. */
TARGET INLINE void K(begin_sound)(const GateState *state, int n_bins, int l)
{
    for (int k = 0; k < n_bins; k++)
        state->before[SIDE * k + l] = state->noise[SIDE * k + l];
}

TARGET INLINE void K(rest_side)(const GateLevels *levels, GateGroup *group, int n_bins, int l)
{
    const GateState at = group->state;
    if (group->n_silent[l] == GAP_HOPS || ++group->n_silent[l] < GAP_HOPS || !group->n_sounding[l])
        return;
    if (group->n_sounding[l] < SPURT_HOPS) {
        const float warm = levels->warm_power * 0.01f;
        for (int i = l; i < SIDE * n_bins; i += SIDE) {
            const float before = at.before[i], least = before > warm ? before : warm;
            const float most = before > TINY_POWER ? before : TINY_POWER;
            at.noise[i] = at.noise[i] < most ? at.noise[i] : most;
            at.minimum[i] = at.minimum[i] < least ? at.minimum[i] : least;
        }
        group->n_warm[l] = WARM_HOPS;
    }
    group->n_sounding[l] = 0;
}

/* Where a lane is chosen, a, else b. */
TARGET INLINE Lanes K(chosen)(Ints choice, Lanes a, Lanes b) { return (Lanes)((choice & (Ints)a) | (~choice & (Ints)b)); }

/* What lanes of a group are up to. */
typedef struct {
    Ints sounds;                    /* no digital silence */
    Ints warms;                     /* sounds, and takes the mean for the noise */
    Lanes share;                    /* of that mean, what this frame is */
    int alike;                      /* as all lanes of the group: they sound, and none is warming up */
} K(Doings);

/* Where a lane has no sound, what was before; where it warms up, that; else what is there now. */
TARGET INLINE void K(settle)(const K(Doings) *doings, float *at, Lanes before, Lanes warm)
{
    STORE(at, K(chosen)(doings->sounds, K(chosen)(doings->warms, warm, LOAD(at)), before));
}

/* warm_up and track_noise of one bin, each lane as it is up to. */
TARGET INLINE void K(follow_side)(const GateLevels *levels, const GateState *at, const K(Doings) *doings, const float *power,
                                  int i)
{
    const Lanes p = LOAD(power + i), noise = LOAD(at->noise + i), before = LOAD(at->smoothed + i);
    const Lanes least = LOAD(at->minimum + i), quiet = least_of(p, EACH(levels->warm_power));
    const Lanes mean = most_of(fused_add(quiet - noise, doings->share, noise), EACH(TINY_POWER));
    const Lanes smooth = fused_add(fused_sub(p, EACH(MINIMUM_BIAS), before), doings->share, before);
    K(track_noise)(levels->most_power, *at, power, NULL, i, i + LANES);
    K(settle)(doings, at->noise + i, noise, mean);
    K(settle)(doings, at->smoothed + i, before, smooth);
    K(settle)(doings, at->minimum + i, least, smooth);
}

TARGET INLINE Lanes K(sum4_side)(const float *x)
{
    return (LOAD(x) + LOAD(x + SIDE)) + (LOAD(x + 2 * SIDE) + LOAD(x + 3 * SIDE));
}

TARGET INLINE Lanes K(sum8_side)(const float *x) { return K(sum4_side)(x) + K(sum4_side)(x + 4 * SIDE); }

/* Logarithms of the sums over bands. */
TARGET INLINE void K(hear_bands)(const float *x, Lanes *bands)
{
    for (int b = 0; b < 8; b++)
        bands[b] = LOAD(x + SIDE * 2 * b) + LOAD(x + SIDE * (2 * b + 1));
    for (int b = 0; b < 4; b++) {
        const float *at = x + SIDE * (64 + 16 * b);
        Lanes wide[8];
        bands[8 + b] = K(sum4_side)(x + SIDE * (16 + 4 * b));
        bands[12 + b] = K(sum8_side)(x + SIDE * (32 + 8 * b));
        for (int i = 0; i < 8; i++)
            wide[i] = LOAD(at + SIDE * i) + LOAD(at + SIDE * (8 + i));
        bands[16 + b] = ((wide[0] + wide[1]) + (wide[2] + wide[3])) + ((wide[4] + wide[5]) + (wide[6] + wide[7]));
    }
    for (int b = 0; b < N_BANDS; b++)
        bands[b] = K(log2_lanes)(bands[b] + EACH(TINY_POWER));
}

/* Four numbers of 0 to 127 over ROUNDER become octets; what is over is carried out and taken away. */
TARGET INLINE Ints K(octets_of)(const Ints *told)
{
    typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
    const Words sum = (Words)told[0] + ((Words)told[1] << 8) + ((Words)told[2] << 16) + ((Words)told[3] << 24);
    return (Ints)(sum - 0x4B400000u * 0x01010101u);
}

/* multiply_add by four weights that are the same in all lanes. */
TARGET INLINE Ints K(multiply_add_four)(Ints sums, Ints octets, const int8_t *weights)
{
#if defined(HAS_VNNI)
    /* The processor can spread them on their way in; compilers do it apart. */
    __asm__("vpdpbusd %2%{1to8%}, %1, %0" : "+v"(sums) : "v"(octets), "m"(*(const int32_t *)weights));
    return sums;
#else
    return K(multiply_add)(sums, octets, K(four_of)(weights));
#endif
}

/* Twice n of the n_out sums of a layer: from two of them on, so that enough are under way at once. */
TARGET INLINE void K(dense_side)(const Ints *octets, int n_fours, const int8_t *w, int n_out, int first, int second, int n,
                                 Ints *sums)
{
    for (int o = 0; o < 2 * n; o++)
        sums[o] = (Ints){0};
    for (int f = 0; f < n_fours; f++) {
        const int8_t *at = w + 4 * n_out * f;
        const Ints x = octets[f];
        _Pragma("GCC unroll 6")
        for (int o = 0; o < n; o++) {
            sums[o] = K(multiply_add_four)(sums[o], x, at + 4 * (first + o));
            sums[n + o] = K(multiply_add_four)(sums[n + o], x, at + 4 * (second + o));
        }
    }
}

/* The network, for lanes from `lane` on: `steer`, and what it says by kind and band. */
TARGET INLINE void K(steer_side)(const float *power, GateState *state, Ints sounds, int lane, Lanes (*weights)[N_BANDS])
{
    enum { N_FOURS = (2 * N_BANDS + GATE_HIDDEN) / 4 };
    Lanes loud[N_BANDS], over[N_BANDS], total[8], mean;
    Ints told[4], octets[N_FOURS], kept[GATE_HIDDEN / 4], sums[12];
    float *hidden = state->hidden + lane;
    K(hear_bands)(power + lane, loud);
    K(hear_bands)(state->noise + lane, over);
    for (int l = 0; l < 8; l++)
        total[l] = l < 4 ? loud[l] + loud[8 + l] + loud[16 + l] : loud[l] + loud[8 + l] + EACH(0.0f);
    mean = ((total[0] + total[1]) + (total[2] + total[3])) + ((total[4] + total[5]) + (total[6] + total[7]));
    mean *= 1.0f / N_BANDS;
    for (int b = 0; b < N_BANDS; b += 4) {
        for (int i = 0; i < 4; i++) {
            over[b + i] = least_of(most_of((loud[b + i] - over[b + i]) * 0.125f, EACH(-0.5f)), EACH(1.5f));
            told[i] = K(told_ratio)(over[b + i]);
        }
        octets[b / 4] = K(octets_of)(told);
        for (int i = 0; i < 4; i++)
            told[i] = K(told_shape)(least_of(most_of((loud[b + i] - mean) * 0.125f, EACH(-1.5f)), EACH(1.5f)));
        octets[(N_BANDS + b) / 4] = K(octets_of)(told);
    }
    for (int h = 0; h < GATE_HIDDEN; h += 4) {
        for (int i = 0; i < 4; i++)
            told[i] = K(told_kept)(LOAD(hidden + SIDE * (h + i)));
        octets[(2 * N_BANDS + h) / 4] = K(octets_of)(told);
    }
    for (int h = 0; h < GATE_HIDDEN; h += 4) {
        K(dense_side)(octets, N_FOURS, NETWORK_WEIGHTS, 2 * GATE_HIDDEN, h, GATE_HIDDEN + h, 4, sums);
        for (int i = 0; i < 4; i++) {
            const float *worth = NETWORK_WORTH + h + i, *bias = NETWORK_BIAS + h + i;
            const Lanes a = fused_add(__builtin_convertvector(sums[i], Lanes), EACH(worth[0]), EACH(bias[0]));
            const Lanes b = fused_add(__builtin_convertvector(sums[4 + i], Lanes), EACH(worth[GATE_HIDDEN]),
                                      EACH(bias[GATE_HIDDEN]));
            const Lanes z = least_of(most_of(a, EACH(0.0f)), EACH(1.0f));
            const Lanes c = least_of(most_of(b, EACH(-1.0f)), EACH(1.0f));
            const Lanes last = LOAD(hidden + SIDE * (h + i)), now = fused_add(z, last - c, c);
            STORE(hidden + SIDE * (h + i), K(chosen)(sounds, now, last));
            told[i] = K(told_kept)(now);
        }
        kept[h / 4] = K(octets_of)(told);
    }
    for (int o = 0; o < 3 * N_BANDS; o += 12) {
        K(dense_side)(kept, GATE_HIDDEN / 4, NETWORK_OUT_WEIGHTS, N_OUT, o, o + 6, 6, sums);
        for (int i = 0; i < 12; i++) {
            const int at = o + i;
            const Lanes a = fused_add(over[at % N_BANDS], EACH(NETWORK_SKIP[at]), EACH(NETWORK_OUT_BIAS[at]));
            const Lanes y = fused_add(__builtin_convertvector(sums[i], Lanes), EACH(NETWORK_OUT_WORTH[at]), a);
            weights[at / N_BANDS][at % N_BANDS] = K(exp2_lanes)(least_of(most_of(y, EACH(-8.0f)), EACH(NETWORK_MOST[at])));
        }
    }
}

/* Gains of all bins; lanes of digital silence keep their state, and have a gain of 1. */
TARGET INLINE void K(find_gains_side)(const GateLevels *levels, const GateState *state, const K(Doings) *doings,
                                      const Lanes (*weights)[N_BANDS], float *power, int n_bins, int lane)
{
    const GateState at = *state;
    Lanes noise = LOAD(at.noise + lane), p = LOAD(power + lane);
    Lanes under = EACH(0.0f), excess = greater_of(p - noise, EACH(0.0f));       /* of the bin below, and of this one */
    int k = 0;
    for (int b = 0; b < N_BANDS; b++) {
        const int wide = b < 8 ? 2 : b < 12 ? 4 : b < 16 ? 8 : 16, end = b < N_BANDS - 1 ? k + wide : n_bins;
        const Lanes last = weights[0][b], own = weights[1][b], both = weights[2][b];
        for (; k < end; k++) {
            const int i = SIDE * k + lane;
            const Lanes next_noise = LOAD(at.noise + i + SIDE), next_p = LOAD(power + i + SIDE);
            const Lanes above = greater_of(next_p - next_noise, EACH(0.0f)), was = LOAD(at.clean + i);
            Lanes left, gain;
            gain = K(find_gain)(levels->least_gain, was, noise, excess, under + above, p, last, own, both, &left);
            if (!doings->alike) {
                left = K(chosen)(doings->sounds, left, was);
                gain = K(chosen)(doings->sounds, gain, EACH(1.0f));
            }
            STORE(at.clean + i, left);
            STORE(power + i, gain);
            under = excess, excess = above;
            noise = next_noise, p = next_p;
        }
    }
}

TARGET INLINE void K(overlap_add_side)(const float *y, const float *window, float *tail, float *ready, int hop,
                                       int overlap)
{
    for (int k = 0; k < overlap; k++)
        for (int i = SIDE * k; i < SIDE * (k + 1); i += LANES)
            STORE(ready + i, fused_add(LOAD(y + i), EACH(window[k]), LOAD(tail + i)));
    for (int k = overlap; k < hop; k++)
        for (int i = SIDE * k; i < SIDE * (k + 1); i += LANES)
            STORE(ready + i, LOAD(y + i) * window[k]);
    for (int k = 0; k < overlap; k++)
        for (int i = SIDE * k; i < SIDE * (k + 1); i += LANES)
            STORE(tail + i, LOAD(y + SIDE * hop + i) * window[hop + k]);
}

/* Work on the frames that are complete now. */
TARGET INLINE void K(gate_frames)(const GateFraming *framing, const GateLevels *shared, GateGroup *group)
{
    const FourierPlan *plan = &framing->fourier;
    const GateLevels levels = *shared;
    const GateState state = group->state;
    const int half = plan->half, hop = framing->hop / 2, overlap = framing->overlap / 2, first = half - hop - overlap;
    const int n_bins = half + 1 < BAND_BINS ? BAND_BINS : half + 1, room = SIDE * (framing->n_bins + 1);
    /* Spectra lie where their points were, and gains where points are to be next: the less memory, the faster it is. */
    float *ar = group->scratch, *ai = ar + room, *br = ai + room, *bi = br + room;
    float *re = ar, *im = ai, *power = br, *other = bi, *even, *odd;
    Lanes loudest[SIDE / LANES];
    K(Doings) doings[SIDE / LANES];
    int alike = 1;                  /* all lanes sound, and none is warming up */
    int loud = 0;                   /* something is louder than noise can be */
    if (half == 128) {
        K(forward_128_side)(plan, state.even, state.odd, state.start, framing->analysis, re, im);
    } else {
        for (int k = 0; k < half; k++)
            for (int i = SIDE * k; i < SIDE * (k + 1); i += LANES) {
                STORE(ar + i, LOAD(state.even + i) * framing->analysis[k]);
                STORE(ai + i, LOAD(state.odd + i) * framing->analysis[half + k]);
            }
        if (K(transform_side)(plan, ar, ai, br, bi))
            re = br, im = bi, power = ar, other = ai;
    }
    if (is_usual(framing))
        group->state.start = (state.start + HOP_ROWS) & 15;
    else {
        K(move_down)(state.even, SIDE * hop, SIDE * half);
        K(move_down)(state.odd, SIDE * hop, SIDE * half);
    }
    for (int lane = 0; lane < SIDE; lane += LANES)
        loudest[lane / LANES] = K(part_side)(plan, re + lane, im + lane, re + lane, im + lane, power + lane);
    for (int i = SIDE * (half + 1); i < SIDE * n_bins; i += LANES)
        STORE(power + i, EACH(0.0f));
    for (int lane = 0; lane < SIDE; lane += LANES) {
        K(Doings) *of = &doings[lane / LANES];
        int32_t sounds[LANES], warms[LANES];
        float share[LANES];
        of->sounds = loudest[lane / LANES] > EACH(TINY_POWER);
        loud |= any_over(loudest[lane / LANES], EACH(levels.most_power));
        STORE_INTS(sounds, of->sounds);
        for (int l = 0; l < LANES; l++) {
            int32_t *n_warm = &group->n_warm[lane + l], *n_sounding = &group->n_sounding[lane + l];
            if (!sounds[l])
                K(rest_side)(&levels, group, n_bins, lane + l);
            else {
                if (!*n_sounding)
                    K(begin_sound)(&state, n_bins, lane + l);
                *n_sounding += *n_sounding < SPURT_HOPS;
                group->n_silent[lane + l] = 0;
            }
            warms[l] = *n_warm < WARM_HOPS ? sounds[l] : 0;
            share[l] = *n_warm < PARTIAL_HOPS ? 1.0f : 1.0f / (float)(*n_warm - PARTIAL_HOPS + 1);
            alike &= sounds[l] && !warms[l];
            *n_warm -= warms[l];
        }
        of->warms = LOAD_INTS(warms);
        of->share = LOAD(share);
    }
    if (alike)
        K(track_all)(levels.most_power, state, power, NULL, SIDE * n_bins);
    for (int lane = 0; lane < SIDE; lane += LANES) {
        K(Doings) *of = &doings[lane / LANES];
        Lanes weights[3][N_BANDS];
        if (!alike)
            for (int k = 0; k < n_bins; k++)
                K(follow_side)(&levels, &state, of, power, SIDE * k + lane);
        of->alike = alike;
        STORE(power + SIDE * (half + 1) + lane, EACH(0.0f));    /* there is nothing over the last bin */
        K(steer_side)(power, &group->state, of->sounds, lane, weights);
        K(find_gains_side)(&levels, &state, of, (const Lanes (*)[N_BANDS])weights, power, half + 1, lane);
    }
    if (loud)
        for (int k = 0; k <= half; k++) {
            const int at = SIDE * (half == 128 ? PLACES[k] : k);
            K(let_pass)(levels.most_power, re + at, im + at, state.clean + SIDE * k, power + SIDE * k, SIDE);
        }
    for (int lane = 0; lane < SIDE; lane += LANES)          /* DC is no speech */
        STORE(power + lane, K(chosen)(doings[lane / LANES].sounds, EACH(levels.least_gain), EACH(1.0f)));
    /* Imaginary before real turns the transform round. */
    if (half == 128) {
        for (int lane = 0; lane < SIDE; lane += LANES)
            K(join_side)(plan, re + lane, im + lane, power + lane, re + lane, im + lane);
        K(backward_128_side)(plan, im, re, is_usual(framing) ? &state : NULL, framing->synthesis);
        if (is_usual(framing))
            return;
        even = re, odd = im;
    } else {
        for (int lane = 0; lane < SIDE; lane += LANES)
            K(join_side)(plan, re + lane, im + lane, power + lane, other + lane, power + lane);
        even = other, odd = power;
        if (K(transform_side)(plan, power, other, re, im))
            even = im, odd = re;
    }
    K(overlap_add_side)(even + SIDE * first, framing->synthesis, state.even_tail, state.even_ready, hop, overlap);
    K(overlap_add_side)(odd + SIDE * first, framing->synthesis + hop + overlap, state.odd_tail, state.odd_ready, hop,
                        overlap);
}

TARGET static void K(gate_hops)(const GateFraming *framing, const GateLevels *levels, GateGroup *group)
{
    const GateFraming usual = usual_framing(framing);
    if (is_usual(framing))
        K(gate_frames)(&usual, levels, group);
    else
        K(gate_frames)(framing, levels, group);
}

TARGET INLINE Lanes K(held_lanes)(Lanes x)
{
    const Lanes number = (Lanes)((Ints)x & (x == x));
    return most_of(least_of(number, EACH(LOUDEST)), EACH(-LOUDEST)) * 32768.0f;
}

#if LANES == 8
/* 4 rows of 4 pairs in each half of a register become 4 columns; that undoes itself. */
TARGET INLINE void K(transpose_pairs)(__m256i *x)
{
    const __m256i a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpackhi_epi32(x[0], x[1]);
    const __m256i c = _mm256_unpacklo_epi32(x[2], x[3]), d = _mm256_unpackhi_epi32(x[2], x[3]);
    x[0] = _mm256_unpacklo_epi64(a, c);
    x[1] = _mm256_unpackhi_epi64(a, c);
    x[2] = _mm256_unpacklo_epi64(b, d);
    x[3] = _mm256_unpackhi_epi64(b, d);
}

TARGET INLINE __m128i K(words_at)(const void *row, ptrdiff_t from)
{
    return row ? _mm_loadu_si128((const __m128i *)((const int16_t *)row + from)) : _mm_setzero_si128();
}

/* 8 samples of all streams, the first of them even: from int16 to where even and odd ones lie, and from such to int16. */
TARGET INLINE void K(pass_words)(float *even, float *odd, const float *even_ready, const float *odd_ready,
                                 const void *const *src, void *const *dst, ptrdiff_t from)
{
    __m256i x[4];
    for (int l = 0; l < 4; l++)
        x[l] = _mm256_inserti128_si256(_mm256_castsi128_si256(K(words_at)(src[l], from)), K(words_at)(src[l + 4], from), 1);
    K(transpose_pairs)(x);
    for (int i = 0; i < 4; i++) {
        STORE(even + SIDE * i, __builtin_convertvector(((Ints)x[i] << 16) >> 16, Lanes));
        STORE(odd + SIDE * i, __builtin_convertvector((Ints)x[i] >> 16, Lanes));
        x[i] = (__m256i)K(to_int16_pairs)(LOAD(even_ready + SIDE * i), LOAD(odd_ready + SIDE * i));
    }
    K(transpose_pairs)(x);
    for (int l = 0; l < 4; l++) {
        if (src[l])
            _mm_storeu_si128((__m128i *)((int16_t *)dst[l] + from), _mm256_castsi256_si128(x[l]));
        if (src[l + 4])
            _mm_storeu_si128((__m128i *)((int16_t *)dst[l + 4] + from), _mm256_extracti128_si256(x[l], 1));
    }
}
#endif

/* LANES samples of a stream. */
TARGET INLINE Lanes K(samples_from)(const void *src, ptrdiff_t at, int is_float)
{
    typedef int16_t Words __attribute__((vector_size(2 * LANES)));
    Words words;
    if (is_float)
        return K(held_lanes)(LOAD((const float *)src + at));
    memcpy(&words, (const int16_t *)src + at, sizeof words);
    return __builtin_convertvector(__builtin_convertvector(words, Ints), Lanes);
}

TARGET INLINE void K(samples_to)(void *dst, ptrdiff_t at, Lanes x, int is_float)
{
    typedef int16_t Words __attribute__((vector_size(2 * LANES)));
    if (is_float)
        STORE((float *)dst + at, x * UNIT);
    else {
        const Words words = __builtin_convertvector(K(to_int16_lanes)(x), Words);
        memcpy((int16_t *)dst + at, &words, sizeof words);
    }
}

/* One sample of each stream. */
TARGET INLINE void K(pass_one_side)(const GateFraming *framing, GateState *state, const void *const *src, void *const *dst,
                                    ptrdiff_t i, int at, int is_float)
{
    float *in = (at & 1 ? state->odd : state->even) + SIDE * K(kept_at)(framing, state, at);
    const float *ready = (at & 1 ? state->odd_ready : state->even_ready) + SIDE * (at / 2);
    for (int l = 0; l < SIDE; l++) {
        if (src[l] == NULL)
            in[l] = 0.0f;
        else if (is_float) {
            in[l] = held(((const float *)src[l])[i]) * 32768.0f;
            ((float *)dst[l])[i] = ready[l] * UNIT;
        } else {
            in[l] = (float)((const int16_t *)src[l])[i];
            ((int16_t *)dst[l])[i] = to_int16(ready[l]);
        }
    }
}

/* Up to the end of the hop: samples of all streams go in where the newest are, and come out of `ready`.  Streams that
   there are not have NULL for src; what is read for them is 0. */
TARGET INLINE void K(pass_side)(const GateFraming *framing, GateState *state, const void *const *src, void *const *dst,
                                ptrdiff_t from, int n, int is_float)
{
    int i = 0, at = state->position;
    for (; i < n && at % 16; i++, at++)
        K(pass_one_side)(framing, state, src, dst, from + i, at, is_float);
#if LANES == 8
    if (!is_float)
        for (; i + 8 <= n; i += 8, at += 8) {
            const int to = SIDE * K(kept_at)(framing, state, at), of = SIDE * (at / 2);
            K(pass_words)(state->even + to, state->odd + to, state->even_ready + of, state->odd_ready + of, src, dst, from + i);
        }
#endif
    for (; i + 8 <= n; i += 8, at += 8)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            Lanes rows[LANES][8 / LANES], columns[8], out[8];
            const int to = SIDE * K(kept_at)(framing, state, at) + lane, of = SIDE * (at / 2) + lane;
            float *in[2] = {state->even + to, state->odd + to};
            const float *ready[2] = {state->even_ready + of, state->odd_ready + of};
            for (int l = 0; l < LANES; l++)
                for (int j = 0; j < 8 / LANES; j++) {
                    const void *row = src[lane + l];
                    rows[l][j] = row ? K(samples_from)(row, from + i + LANES * j, is_float) : EACH(0.0f);
                }
            transpose(rows, columns);
            for (int j = 0; j < 8; j++)
                STORE(in[j % 2] + SIDE * (j / 2), columns[j]);
            for (int l = 0; l < LANES; l++)
                for (int j = 0; j < 8 / LANES; j++) {
                    const int sample = LANES * j + l;       /* transposing undoes itself, LANES by LANES */
                    rows[l][j] = LOAD(ready[sample % 2] + SIDE * (sample / 2));
                }
            transpose(rows, out);
            for (int l = 0; l < LANES; l++)
                for (int j = 0; j < 8 / LANES; j++)
                    if (src[lane + l])
                        K(samples_to)(dst[lane + l], from + i + LANES * j, out[LANES * j + l], is_float);
        }
    for (; i < n; i++, at++)
        K(pass_one_side)(framing, state, src, dst, from + i, at, is_float);
}

TARGET INLINE void K(gate_group)(const GateFraming *framing, const GateLevels *levels, GateGroup *group,
                                 const void *const *src, void *const *dst, ptrdiff_t n_samples, int is_float)
{
    GateState *state = &group->state;
    for (ptrdiff_t at = 0; at < n_samples;) {
        const int left = framing->hop - state->position;
        const int n = n_samples - at < left ? (int)(n_samples - at) : left;
        K(pass_side)(framing, state, src, dst, at, n, is_float);
        at += n;
        state->position += n;
        if (n == left) {
            K(gate_hops)(framing, levels, group);
            state->position = 0;
        }
    }
}

TARGET static void K(gate_group_int16)(const GateFraming *framing, const GateLevels *levels, GateGroup *group,
                                       const void *const *src, void *const *dst, ptrdiff_t n_samples)
{
    K(gate_group)(framing, levels, group, src, dst, n_samples, 0);
}

TARGET static void K(gate_group_float32)(const GateFraming *framing, const GateLevels *levels, GateGroup *group,
                                         const void *const *src, void *const *dst, ptrdiff_t n_samples)
{
    K(gate_group)(framing, levels, group, src, dst, n_samples, 1);
}

#undef SIDE

#endif
