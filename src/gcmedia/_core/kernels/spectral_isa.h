/* The spectral gate: what happens to the samples of a stream, hop by hop.  The method is told in gate.pyx.

   Even and odd samples lie apart, as the transform wants them.  Included once for each instruction set. */

#ifdef ISA

/* Power of all bins, and the most of it: whether that of a sound, and whether more than noise can have. */
TARGET INLINE void K(find_power)(const GateLevels *levels, GateFrame *frame, int n_bins)
{
    Lanes loudest = EACH(0.0f);
    for (int k = 0; k < n_bins; k += LANES) {
        const Lanes r = LOAD(frame->re + k), i = LOAD(frame->im + k), p = r * r + i * i;
        loudest = most_of(p, loudest);
        STORE(frame->power + k, p);
    }
    frame->sounds = any_over(loudest, EACH(TINY_POWER));
    frame->loud = any_over(loudest, EACH(levels->most_power));
}

/* Take the mean of the first whole frames for noise, as far as the floor allows. */
TARGET INLINE void K(warm_up)(const GateLevels *levels, GateFrame *frame, int n_bins)
{
    const GateState at = *frame->state;
    const float *const power = frame->power;
    float *const excess = frame->excess, warm_power = levels->warm_power;
    const float share = at.n_warm < PARTIAL_HOPS ? 1.0f : 1.0f / (float)(at.n_warm - PARTIAL_HOPS + 1);
    for (int k = 0; k < n_bins; k += LANES) {
        const Lanes p = LOAD(power + k), quiet = least_of(p, EACH(warm_power));
        const Lanes noise = LOAD(at.noise + k), smoothed = LOAD(at.smoothed + k);
        const Lanes now = most_of(noise + (quiet - noise) * share, EACH(TINY_POWER));
        const Lanes smooth = smoothed + (p * MINIMUM_BIAS - smoothed) * share;
        STORE(at.noise + k, now);
        STORE(excess + k, most_of(p - now, EACH(0.0f)));
        STORE(at.smoothed + k, smooth);
        STORE(at.minimum + k, smooth);
    }
    frame->state->n_warm++;
}

/* As many bins as there are, most of them by the widest vectors. */
TARGET INLINE void K(track_all)(float most_power, GateState at, const float *power, float *excess, int n)
{
    const int wide = n / WIDEST_LANES * WIDEST_LANES;
    WIDEST(track_noise)(most_power, at, power, excess, 0, wide);
    K(track_noise)(most_power, at, power, excess, wide, n);
}

/* Weigh the last frame's end by the window, add what the frame before has left, and keep what the next one adds to. */
TARGET INLINE void K(overlap_add)(const float *y, const float *window, float *tail, float *ready, int hop, int overlap)
{
    int k = 0;
    for (; k + LANES <= overlap; k += LANES)
        STORE(ready + k, LOAD(tail + k) + LOAD(y + k) * LOAD(window + k));
    for (; k < overlap; k++)
        ready[k] = tail[k] + y[k] * window[k];
    for (; k + LANES <= hop; k += LANES)
        STORE(ready + k, LOAD(y + k) * LOAD(window + k));
    for (; k < hop; k++)
        ready[k] = y[k] * window[k];
    for (k = 0; k + LANES <= overlap; k += LANES)
        STORE(tail + k, LOAD(y + hop + k) * LOAD(window + hop + k));
    for (; k < overlap; k++)
        tail[k] = y[hop + k] * window[hop + k];
}

TARGET INLINE Ints K(to_int16_lanes)(Lanes x)
{
    return K(nearest)(most_of(least_of(x, EACH(32767.0f)), EACH(-32768.0f)));
}


/* Up to the end of the hop: samples go in where the newest are, and come out of `ready`. */
TARGET INLINE void K(pass_int16)(const GateFraming *framing, GateState *state, const int16_t *src, int16_t *dst, int n)
{
    const int from = framing->fourier.size - framing->hop;
    int i = 0, at = state->position;
    if (at % 2 == 0)
        for (; i + 2 * LANES <= n; i += 2 * LANES, at += 2 * LANES) {
            Ints pairs, out;
            const Ints even = K(to_int16_lanes)(LOAD(state->even_ready + at / 2));
            const Ints odd = K(to_int16_lanes)(LOAD(state->odd_ready + at / 2));
            memcpy(&pairs, src + i, sizeof pairs);
            STORE(state->even + (from + at) / 2, __builtin_convertvector((pairs << 16) >> 16, Lanes));
            STORE(state->odd + (from + at) / 2, __builtin_convertvector(pairs >> 16, Lanes));
            out = (even & EACH_INT(0xFFFF)) | (odd << 16);
            memcpy(dst + i, &out, sizeof out);
        }
    for (; i < n; i++, at++) {
        float *in = at & 1 ? state->odd : state->even;
        const float *ready = at & 1 ? state->odd_ready : state->even_ready;
        in[(from + at) / 2] = (float)src[i];
        dst[i] = to_int16(ready[at / 2]);
    }
}

TARGET INLINE void K(pass_float32)(const GateFraming *framing, GateState *state, const float *src, float *dst, int n)
{
    const int from = framing->fourier.size - framing->hop;
    for (int i = 0, at = state->position; i < n; i++, at++) {
        float *in = at & 1 ? state->odd : state->even;
        const float *ready = at & 1 ? state->odd_ready : state->even_ready;
        in[(from + at) / 2] = held(src[i]) * 32768.0f;
        dst[i] = ready[at / 2] * UNIT;
    }
}

TARGET INLINE void K(weigh)(const float *x, const float *window, float *y, int n)
{
    const int whole = n / LANES * LANES;
    for (int k = 0; k < whole; k += LANES)
        STORE(y + k, LOAD(x + k) * LOAD(window + k));
    for (int k = whole; k < n; k++)
        y[k] = x[k] * window[k];
}

/* The last n - by floats go to the front. */
TARGET INLINE void K(move_down)(float *x, int by, int n)
{
    const int whole = (n - by) / LANES * LANES;
    for (int k = 0; k < whole; k += LANES)
        STORE(x + k, LOAD(x + by + k));
    for (int k = whole; k < n - by; k++)
        x[k] = x[k + by];
}

/* The first stage of the usual transform, of samples that are weighed by the window meanwhile. */
TARGET INLINE void K(weighed_stage)(const FourierPlan *plan, const float *even, const float *odd, const float *window,
                                    float *yr, float *yi)
{
#define WEIGHED(x, w, row) (LOAD((x) + 8 * (row) + q) * LOAD((w) + 8 * (row) + q))
#define BOTH(row) WEIGHED(even, window, row), WEIGHED(odd, window + 128, row)
    for (int p = 0; p < 4; p++)
        for (int q = 0; q < 8; q += LANES)
            K(cross4_lanes)(BOTH(p), BOTH(p + 4), BOTH(p + 8), BOTH(p + 12), yr + 32 * p + q, yi + 32 * p + q, 8,
                            p ? plan->stage_twiddles + 6 * p : NULL);
#undef BOTH
#undef WEIGHED
}

/* Take the newest frame's spectrum, and follow the noise; make room for the samples of the next. */
TARGET INLINE void K(analyse)(const GateFraming *framing, const GateLevels *levels, GateFrame *frame)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS];
    const FourierPlan *plan = &framing->fourier;
    const int half = plan->half, hop = framing->hop / 2, n_bins = framing->n_bins;
    GateState *state = frame->state;
    if (half == 128) {
        K(weighed_stage)(plan, state->even, state->odd, framing->analysis, br, bi);
        K(run_stage)(4, 1, 32, br, bi, ar, ai, NULL);
        K(transform_across)(plan, ar, ai, br, bi);
        K(part)(plan, br, bi, frame->re, frame->im);
    } else {
        K(weigh)(state->even, framing->analysis, ar, half);
        K(weigh)(state->odd, framing->analysis + half, ai, half);
        if (K(transform)(plan, ar, ai, br, bi))
            K(part)(plan, br, bi, frame->re, frame->im);
        else
            K(part)(plan, ar, ai, frame->re, frame->im);
    }
    K(move_down)(state->even, hop, half);
    K(move_down)(state->odd, hop, half);
    for (int k = half + LANES; k < n_bins; k++)
        frame->re[k] = frame->im[k] = 0.0f;
    /* Digital silence is no sample of the noise: a pause in the sending must not make the line's noise speech. */
    K(find_power)(levels, frame, n_bins);
    if (!frame->sounds)
        return;
    if (state->n_warm < WARM_HOPS)
        K(warm_up)(levels, frame, n_bins);
    else
        K(track_all)(levels->most_power, *state, frame->power, frame->excess, n_bins);
    frame->excess[-1] = frame->excess[n_bins] = 0.0f;
}

/* Weigh the frame, and make of it the next hop of output, `ready`. */
TARGET INLINE void K(synthesise)(const GateFraming *framing, const GateLevels *levels, GateFrame *frame)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS];
    const FourierPlan *plan = &framing->fourier;
    const int hop = framing->hop / 2, overlap = framing->overlap / 2, first = plan->half - hop - overlap;
    GateState *state = frame->state;
    float *even = ai, *odd = ar;
    if (frame->sounds) {
        const float least_gain = levels->least_gain, *weights = frame->weights + N_BANDS - 1;   /* the last band's */
        WIDEST(find_heard_gains)(least_gain, *state, frame->power, frame->excess, frame->weights);
        K(find_gains)(least_gain, *state, frame->power, frame->excess, EACH(weights[0]), EACH(weights[N_BANDS]),
                      EACH(weights[2 * N_BANDS]), BAND_BINS, framing->n_bins);
        if (frame->loud)
            K(let_pass)(least_gain, levels->most_power, frame->re, frame->im, state->clean, frame->power, framing->n_bins);
    } else
        for (int k = 0; k < framing->n_bins; k += LANES)
            STORE(frame->power + k, EACH(1.0f));
    /* Imaginary before real turns the transform round. */
    K(join)(plan, frame->re, frame->im, frame->power, ai, ar);
    if (K(transform)(plan, ar, ai, br, bi)) {
        even = bi;
        odd = br;
    }
    K(overlap_add)(even + first, framing->synthesis, state->even_tail, state->even_ready, hop, overlap);
    K(overlap_add)(odd + first, framing->synthesis + hop + overlap, state->odd_tail, state->odd_ready, hop, overlap);
}

TARGET INLINE void K(gate_frame)(const GateFraming *framing, const GateLevels *levels, GateState *state)
{
    float room[FRAME_ROOM] __attribute__((aligned(64)));
    GateFrame frame;
    lay_out_frame(&frame, state, room, framing->n_bins);
    K(analyse)(framing, levels, &frame);
    if (frame.sounds)
        K(steer)(&frame);
    K(synthesise)(framing, levels, &frame);
}

/* Work on the frame that is complete now.  For the usual one the compiler knows the length of every loop. */
TARGET static void K(gate_hop)(const GateFraming *framing, const GateLevels *levels, GateState *state)
{
    const GateFraming usual = usual_framing(framing);
    if (is_usual(framing))
        K(gate_frame)(&usual, levels, state);
    else
        K(gate_frame)(framing, levels, state);
}

TARGET INLINE void K(gate)(const GateFraming *framing, const GateLevels *levels, GateState *state,
                           const void *src, void *dst, ptrdiff_t n_samples, int is_float)
{
    for (ptrdiff_t at = 0; at < n_samples;) {
        const int left = framing->hop - state->position;
        const int n = n_samples - at < left ? (int)(n_samples - at) : left;
        if (is_float)
            K(pass_float32)(framing, state, (const float *)src + at, (float *)dst + at, n);
        else
            K(pass_int16)(framing, state, (const int16_t *)src + at, (int16_t *)dst + at, n);
        at += n;
        state->position += n;
        if (n == left) {
            K(gate_hop)(framing, levels, state);
            state->position = 0;
        }
    }
}

TARGET static void K(gate_int16)(const GateFraming *framing, const GateLevels *levels, GateState *state,
                                 const int16_t *src, int16_t *dst, ptrdiff_t n_samples)
{
    K(gate)(framing, levels, state, src, dst, n_samples, 0);
}

TARGET static void K(gate_float32)(const GateFraming *framing, const GateLevels *levels, GateState *state,
                                   const float *src, float *dst, ptrdiff_t n_samples)
{
    K(gate)(framing, levels, state, src, dst, n_samples, 1);
}

#endif
