/* The spectral gate for GATE_LANES streams side by side: each lane does for its stream what spectral_isa.h does for
   one, with the same operations in the same order, so it gives the same bits.  Nothing is moved between lanes but
   samples.

   Arrays hold GATE_LANES floats for each element.  Where a register has fewer lanes, streams are done in parts, `lane`
   and those behind it.  Included once for each instruction set. */

#ifdef ISA

#define SIDE GATE_LANES

/* Points of x, transformed; the result is in x or, if that is what is returned, in y.  All lanes at once. */
TARGET INLINE int K(transform_side)(const FourierPlan *plan, float *xr, float *xi, float *yr, float *yi)
{
    const int half = plan->half, n_rows = half / 8, in_y = plan->n_stages & 1;
    const float *w = plan->stage_twiddles, *c = plan->lane_twiddles, *d = c + half;
    const float *ar = in_y ? yr : xr, *ai = in_y ? yi : xi;
    float *zr = in_y ? xr : yr, *zi = in_y ? xi : yi;
    if (half == 128) {
        K(run_stage)(4, 4, 8 * SIDE, xr, xi, yr, yi, w);
        K(run_stage)(4, 1, 32 * SIDE, yr, yi, xr, xi, NULL);
    } else {
        int s = plan->n_columns * SIDE, m = half / plan->n_columns;
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
    if (plan->n_columns == 1)
        return in_y;
    for (int row = 0; row < n_rows; row++)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            Lanes re[8], im[8];
            for (int i = 0; i < 8; i++) {
                const int at = 8 * row + i;
                const Lanes r = LOAD(ar + SIDE * at + lane), s = LOAD(ai + SIDE * at + lane);
                re[i] = r * c[at] - s * d[at];
                im[i] = r * d[at] + s * c[at];
            }
            K(radix8_across)(re, im);
            for (int i = 0; i < 8; i++) {
                STORE(zr + SIDE * (row + n_rows * i) + lane, re[i]);
                STORE(zi + SIDE * (row + n_rows * i) + lane, im[i]);
            }
        }
    return !in_y;
}

/* Bins from points, as `part` has them, and their power; each lane of `loudest` is the most of its stream. */
TARGET INLINE void K(part_side)(const FourierPlan *plan, const float *zr, const float *zi, float *re, float *im,
                                float *power, Lanes *loudest)
{
    const int half = plan->half;
    for (int lane = 0; lane < SIDE; lane += LANES) {
        Lanes most = EACH(0.0f);
        for (int k = 0; k <= half / 2; k++) {
            const int low = SIDE * k + lane, high = SIDE * (half - k) + lane, far = k ? high : lane;
            const float c = plan->parting[k], s = plan->parting[half + k];
            const Lanes ar = LOAD(zr + low), ai = LOAD(zi + low), br = LOAD(zr + far), bi = LOAD(zi + far);
            const Lanes er = ar + br, ei = ai - bi, dr = ai + bi, di = br - ar;
            const Lanes tr = dr * c + di * s, ti = di * c - dr * s;
            const Lanes low_r = er + tr, low_i = ei + ti, high_r = er - tr, high_i = ti - ei;
            const Lanes low_power = low_r * low_r + low_i * low_i, high_power = high_r * high_r + high_i * high_i;
            STORE(re + low, low_r);
            STORE(im + low, low_i);
            STORE(power + low, low_power);
            STORE(re + high, high_r);
            STORE(im + high, high_i);
            STORE(power + high, high_power);
            most = most_of(high_power, 2 * k < half ? most_of(low_power, most) : most);
        }
        loudest[lane / LANES] = most;
    }
}

TARGET INLINE void K(join_side)(const FourierPlan *plan, const float *re, const float *im, const float *gain,
                                float *zr, float *zi)
{
    const int half = plan->half;
    for (int k = 0; k <= half / 2; k++)
        for (int lane = 0; lane < SIDE; lane += LANES) {
            const int low = SIDE * k + lane, high = SIDE * (half - k) + lane;
            const float c = plan->parting[k], s = plan->parting[half + k];
            const Lanes near = LOAD(gain + low), weight = LOAD(gain + high);
            const Lanes ar = LOAD(re + low) * near, ai = LOAD(im + low) * near;
            const Lanes br = LOAD(re + high) * weight, bi = LOAD(im + high) * weight;
            const Lanes er = ar + br, ei = ai - bi, tr = ar - br, ti = ai + bi;
            const Lanes dr = tr * c - ti * s, di = tr * s + ti * c;
            if (k) {
                STORE(zr + high, er + di);
                STORE(zi + high, dr - ei);
            }
            STORE(zr + low, er - di);
            STORE(zi + low, ei + dr);
        }
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
                                  float *excess, int i)
{
    const Lanes p = LOAD(power + i), noise = LOAD(at->noise + i), before = LOAD(at->smoothed + i);
    const Lanes least = LOAD(at->minimum + i), under = LOAD(at->inverse + i);
    const Lanes quiet = least_of(p, EACH(levels->warm_power));
    const Lanes mean = most_of(noise + (quiet - noise) * doings->share, EACH(TINY_POWER));
    const Lanes smooth = before + (p - before) * doings->share, inverse = EACH(1.0f) / mean;
    Lanes over;
    K(track_noise)(levels->most_power, *at, power, excess, i, i + LANES);
    over = most_of(p * inverse - EACH(1.0f), EACH(0.0f));
    STORE(excess + i, K(chosen)(doings->warms, over, LOAD(excess + i)));
    K(settle)(doings, at->noise + i, noise, mean);
    K(settle)(doings, at->inverse + i, under, inverse);
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

TARGET INLINE Ints K(words_of)(Lanes low, Lanes high)
{
    return (K(nearest)(low * 16384.0f) & EACH_INT(0xFFFF)) | (K(nearest)(high * 16384.0f) << 16);
}

/* Some outputs of a layer of n_out. */
TARGET INLINE void K(dense_side)(const Ints *words, int n_pairs, const int16_t *w, int n_out, int first, int n,
                                 Ints *sums)
{
    Ints total[10];
    _Pragma("GCC unroll 10")
    for (int o = 0; o < n; o++)
        total[o] = sums[first + o];
    for (int p = 0; p < n_pairs; p++) {
        const Ints x = words[p];
        _Pragma("GCC unroll 10")
        for (int o = 0; o < n; o++)
            total[o] = K(multiply_add)(total[o], x, K(pair_of)(w + 2 * (n_out * p + first + o)));
    }
    _Pragma("GCC unroll 10")
    for (int o = 0; o < n; o++)
        sums[first + o] = total[o];
}

/* The network, for lanes from `lane` on: `steer`, and what it says by kind and band. */
TARGET INLINE void K(steer_side)(const float *power, GateState *state, Ints sounds, int lane, Lanes (*weights)[N_BANDS])
{
    Lanes loud[N_BANDS], noise[N_BANDS], total[8], mean;
    Ints heard[N_FEATURES / 2], kept[GATE_HIDDEN / 2], sums[N_OUT];
    float *hidden = state->hidden + lane;
    for (int h = 0; h < GATE_HIDDEN; h += 2)
        kept[h / 2] = K(words_of)(LOAD(hidden + SIDE * h), LOAD(hidden + SIDE * (h + 1)));
    K(hear_bands)(power + lane, loud);
    K(hear_bands)(state->noise + lane, noise);
    for (int l = 0; l < 8; l++)
        total[l] = l < 4 ? loud[l] + loud[8 + l] + loud[16 + l] : loud[l] + loud[8 + l] + EACH(0.0f);
    mean = ((total[0] + total[1]) + (total[2] + total[3])) + ((total[4] + total[5]) + (total[6] + total[7]));
    mean *= 1.0f / N_BANDS;
    for (int b = 0; b < N_BANDS; b++) {
        noise[b] = least_of(most_of((loud[b] - noise[b]) * 0.125f, EACH(-0.5f)), EACH(1.5f));
        loud[b] = least_of(most_of((loud[b] - mean) * 0.125f, EACH(-1.5f)), EACH(1.5f));
    }
    for (int b = 0; b < N_BANDS; b += 2) {
        heard[b / 2] = K(words_of)(noise[b], noise[b + 1]);
        heard[(N_BANDS + b) / 2] = K(words_of)(loud[b], loud[b + 1]);
    }
    for (int o = 0; o < 2 * GATE_HIDDEN; o++)
        sums[o] = EACH_INT(NETWORK_BIAS[o]);
    for (int o = 0; o < 2 * GATE_HIDDEN; o += 8) {
        K(dense_side)(kept, GATE_HIDDEN / 2, NETWORK_KEPT, 2 * GATE_HIDDEN, o, 8, sums);
        K(dense_side)(heard, N_FEATURES / 2, NETWORK_WEIGHTS, 2 * GATE_HIDDEN, o, 8, sums);
    }
    for (int h = 0; h < GATE_HIDDEN; h++) {
        const Lanes a = __builtin_convertvector(sums[h], Lanes) * 0x1p-26f, last = LOAD(hidden + SIDE * h);
        const Lanes b = __builtin_convertvector(sums[GATE_HIDDEN + h], Lanes) * 0x1p-24f;
        const Lanes z = least_of(most_of(a + EACH(0.5f), EACH(0.0f)), EACH(1.0f));
        const Lanes c = least_of(most_of(b, EACH(-1.0f)), EACH(1.0f));
        total[h % 2] = c + z * (last - c);
        STORE(hidden + SIDE * h, K(chosen)(sounds, total[h % 2], last));
        if (h % 2)
            kept[h / 2] = K(words_of)(total[0], total[1]);
    }
    for (int o = 0; o < N_OUT; o++)
        sums[o] = EACH_INT(NETWORK_OUT_BIAS[o]);
    for (int kind = 0; kind < 3; kind++) {
        for (int b = 0; b < N_BANDS; b += 10)
            K(dense_side)(kept, GATE_HIDDEN / 2, NETWORK_OUT_WEIGHTS, N_OUT, 24 * kind + b, 10, sums);
        for (int b = 0; b < N_BANDS; b++) {
            const int o = 24 * kind + b;
            const Lanes y = __builtin_convertvector(sums[o], Lanes) * 0x1p-24f + noise[b] * NETWORK_SKIP[o];
            weights[kind][b] = K(exp2_lanes)(least_of(most_of(y, EACH(-8.0f)), EACH(NETWORK_MOST[o])));
        }
    }
}

/* Gains of all bins; lanes of digital silence keep their state, and have a gain of 1. */
TARGET INLINE void K(find_gains_side)(const GateLevels *levels, const GateState *state, const K(Doings) *doings,
                                      const Lanes (*weights)[N_BANDS], float *power, const float *excess, int n_bins, int lane)
{
    const GateState at = *state;
    int k = 0;
    for (int b = 0; b < N_BANDS; b++) {
        const int wide = b < 8 ? 2 : b < 12 ? 4 : b < 16 ? 8 : 16, end = b < N_BANDS - 1 ? k + wide : n_bins;
        const Lanes last = weights[0][b], own = weights[1][b], both = weights[2][b];
        for (; k < end; k++) {
            const int i = SIDE * k + lane;
            const Lanes was = LOAD(at.clean + i);
            const Lanes p = LOAD(power + i);
            Lanes left, gain = K(find_gain)(levels, was, at.inverse + i, excess + i, SIDE, p, last, own, both, &left);
            if (!doings->alike) {
                left = K(chosen)(doings->sounds, left, was);
                gain = K(chosen)(doings->sounds, gain, EACH(1.0f));
            }
            STORE(at.clean + i, left);
            STORE(power + i, gain);
        }
    }
    STORE(power + lane, K(chosen)(doings->sounds, EACH(levels->least_gain), EACH(1.0f)));
}

TARGET INLINE void K(overlap_add_side)(const float *y, const float *window, float *tail, float *ready, int hop,
                                       int overlap)
{
    for (int k = 0; k < overlap; k++)
        for (int i = SIDE * k; i < SIDE * (k + 1); i += LANES)
            STORE(ready + i, LOAD(tail + i) + LOAD(y + i) * window[k]);
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
    const int n_bins = half + 1 < BAND_BINS ? BAND_BINS : half + 1, room = SIDE * framing->n_bins;
    float *ar = group->scratch, *ai = ar + room, *br = ai + room, *bi = br + room;
    float *re = bi + room, *im = re + room, *power = im + room, *excess = power + room + SIDE;
    float *even = ai, *odd = ar;
    Lanes loudest[SIDE / LANES];
    K(Doings) doings[SIDE / LANES];
    int alike = 1;                  /* all lanes sound, and none is warming up */
    for (int k = 0; k < half; k++)
        for (int i = SIDE * k; i < SIDE * (k + 1); i += LANES) {
            STORE(ar + i, LOAD(state.even + i) * framing->analysis[k]);
            STORE(ai + i, LOAD(state.odd + i) * framing->analysis[half + k]);
        }
    K(move_down)(state.even, SIDE * hop, SIDE * half);
    K(move_down)(state.odd, SIDE * hop, SIDE * half);
    if (K(transform_side)(plan, ar, ai, br, bi))
        K(part_side)(plan, br, bi, re, im, power, loudest);
    else
        K(part_side)(plan, ar, ai, re, im, power, loudest);
    for (int i = SIDE * (half + 1); i < SIDE * n_bins; i += LANES)
        STORE(power + i, EACH(0.0f));
    for (int lane = 0; lane < SIDE; lane += LANES) {
        K(Doings) *of = &doings[lane / LANES];
        int32_t sounds[LANES], warms[LANES];
        float share[LANES];
        of->sounds = loudest[lane / LANES] > EACH(TINY_POWER);
        STORE_INTS(sounds, of->sounds);
        for (int l = 0; l < LANES; l++) {
            int32_t *n_warm = &group->n_warm[lane + l];
            warms[l] = *n_warm < WARM_HOPS ? sounds[l] : 0;
            share[l] = *n_warm < PARTIAL_HOPS ? 1.0f : 1.0f / (float)(*n_warm - PARTIAL_HOPS + 1);
            alike &= sounds[l] && !warms[l];
            *n_warm -= warms[l];
        }
        of->warms = LOAD_INTS(warms);
        of->share = LOAD(share);
    }
    if (alike)
        K(track_all)(levels.most_power, state, power, excess, SIDE * n_bins);
    for (int lane = 0; lane < SIDE; lane += LANES) {
        K(Doings) *of = &doings[lane / LANES];
        Lanes weights[3][N_BANDS];
        if (!alike)
            for (int k = 0; k < n_bins; k++)
                K(follow_side)(&levels, &state, of, power, excess, SIDE * k + lane);
        of->alike = alike;
        STORE(excess + lane - SIDE, EACH(0.0f));
        STORE(excess + SIDE * n_bins + lane, EACH(0.0f));
        K(steer_side)(power, &group->state, of->sounds, lane, weights);
        K(find_gains_side)(&levels, &state, of, (const Lanes (*)[N_BANDS])weights, power, excess, half + 1, lane);
    }
    /* Imaginary before real turns the transform round. */
    K(join_side)(plan, re, im, power, ai, ar);
    if (K(transform_side)(plan, ar, ai, br, bi)) {
        even = bi;
        odd = br;
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
    return most_of(least_of(number, EACH(LOUDEST)), EACH(-LOUDEST));
}

/* LANES samples of a stream. */
TARGET INLINE Lanes K(samples_from)(const void *src, ptrdiff_t at, int is_float)
{
    typedef int16_t Words __attribute__((vector_size(2 * LANES)));
    Words words;
    if (is_float)
        return K(held_lanes)(LOAD((const float *)src + at));
    memcpy(&words, (const int16_t *)src + at, sizeof words);
    return __builtin_convertvector(__builtin_convertvector(words, Ints), Lanes) * UNIT;
}

TARGET INLINE void K(samples_to)(void *dst, ptrdiff_t at, Lanes x, int is_float)
{
    typedef int16_t Words __attribute__((vector_size(2 * LANES)));
    if (is_float)
        STORE((float *)dst + at, x);
    else {
        const Words words = __builtin_convertvector(K(to_int16_lanes)(x), Words);
        memcpy((int16_t *)dst + at, &words, sizeof words);
    }
}

/* Up to the end of the hop: samples of all streams go in where the newest are, and come out of `ready`.  Streams that
   there are not have NULL for src; what is read for them is 0. */
TARGET INLINE void K(pass_side)(const GateFraming *framing, GateState *state, const void *const *src, void *const *dst,
                                ptrdiff_t from, int n, int is_float)
{
    const int newest = framing->fourier.size - framing->hop;
    int i = 0, at = state->position;
    if (at % 2 == 0)
        for (; i + 8 <= n; i += 8, at += 8)
            for (int lane = 0; lane < SIDE; lane += LANES) {
                Lanes rows[LANES][8 / LANES], columns[8], out[8];
                const int to = SIDE * ((newest + at) / 2) + lane, of = SIDE * (at / 2) + lane;
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
    for (; i < n; i++, at++) {
        float *in = (at & 1 ? state->odd : state->even) + SIDE * ((newest + at) / 2);
        const float *ready = (at & 1 ? state->odd_ready : state->even_ready) + SIDE * (at / 2);
        for (int l = 0; l < SIDE; l++) {
            if (src[l] == NULL)
                in[l] = 0.0f;
            else if (is_float) {
                in[l] = held(((const float *)src[l])[from + i]);
                ((float *)dst[l])[from + i] = ready[l];
            } else {
                in[l] = (float)((const int16_t *)src[l])[from + i] * UNIT;
                ((int16_t *)dst[l])[from + i] = to_int16(ready[l]);
            }
        }
    }
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
