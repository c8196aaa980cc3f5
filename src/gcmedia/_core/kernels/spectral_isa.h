/* The spectral gate: what happens to the samples of a stream, hop by hop.  The method is told in gate.pyx.

   Even and odd samples lie apart, as the transform wants them.  Included once for each instruction set. */

#ifdef ISA

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
        const Lanes now = most_of(fused_add(quiet - noise, EACH(share), noise), EACH(TINY_POWER));
        const Lanes smooth = fused_add(fused_sub(p, EACH(MINIMUM_BIAS), smoothed), EACH(share), smoothed);
        STORE(at.noise + k, now);
        STORE(excess + k, most_of(p - now, EACH(0.0f)));
        STORE(at.smoothed + k, smooth);
        STORE(at.minimum + k, smooth);
    }
    frame->state->n_warm++;
}

/* Digital silence.  A line that has it has little noise of its own: what sounded for a moment before, a digit or a word,
   has told nothing of it, though it was all that there was. */
TARGET INLINE void K(rest)(const GateLevels *levels, GateState *state, int n_bins)
{
    if (state->n_silent == GAP_HOPS || ++state->n_silent < GAP_HOPS || !state->n_sounding)
        return;
    if (state->n_sounding < SPURT_HOPS) {
        const GateState at = *state;
        for (int k = 0; k < n_bins; k += LANES) {
            const Lanes before = LOAD(at.before + k), least = greater_of(before, EACH(levels->warm_power * 0.01f));
            STORE(at.noise + k, lesser_of(LOAD(at.noise + k), greater_of(before, EACH(TINY_POWER))));
            STORE(at.minimum + k, lesser_of(LOAD(at.minimum + k), least));
        }
        state->n_warm = WARM_HOPS;
    }
    state->n_sounding = 0;
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
        STORE(ready + k, fused_add(LOAD(y + k), LOAD(window + k), LOAD(tail + k)));
    for (; k < overlap; k++)
        ready[k] = fused_one(y[k], window[k], tail[k]);
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


/* Nearest int16 of both, saturated: a pair in each lane. */
TARGET INLINE Ints K(to_int16_pairs)(Lanes even, Lanes odd)
{
#if LANES == 8
    const __m256i apart = _mm256_packs_epi32(_mm256_cvtps_epi32((__m256)even), _mm256_cvtps_epi32((__m256)odd));
    const __m128i order = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    return (Ints)_mm256_shuffle_epi8(apart, _mm256_broadcastsi128_si256(order));
#else
    return (K(to_int16_lanes)(even) & EACH_INT(0xFFFF)) | (K(to_int16_lanes)(odd) << 16);
#endif
}

/* Where a sample of the hop is kept: half its place in the frame, and the ring goes round. */
INLINE int K(kept_at)(const GateFraming *framing, const GateState *state, int at)
{
    const int place = 8 * state->start + (framing->fourier.size - framing->hop + at) / 2;
    return place < framing->fourier.half ? place : place - framing->fourier.half;
}

TARGET INLINE void K(pass_sample)(const GateFraming *framing, GateState *state, const void *src, void *dst, int i, int at,
                                  int is_float)
{
    float *in = (at & 1 ? state->odd : state->even) + K(kept_at)(framing, state, at);
    const float ready = (at & 1 ? state->odd_ready : state->even_ready)[at / 2];
    if (is_float) {
        *in = held(((const float *)src)[i]) * 32768.0f;
        ((float *)dst)[i] = ready * UNIT;
    } else {
        *in = (float)((const int16_t *)src)[i];
        ((int16_t *)dst)[i] = to_int16(ready);
    }
}

/* Up to the end of the hop: samples go in where the newest are, and come out of `ready`. */
TARGET INLINE void K(pass)(const GateFraming *framing, GateState *state, const void *src, void *dst, int n, int is_float)
{
    int i = 0, at = state->position;
    for (; i < n && at % 16 && !is_float; i++, at++)
        K(pass_sample)(framing, state, src, dst, i, at, 0);
    for (; i + 2 * LANES <= n && !is_float; i += 2 * LANES, at += 2 * LANES) {
        Ints pairs, out;
        const int to = K(kept_at)(framing, state, at);
        const Lanes even = LOAD(state->even_ready + at / 2), odd = LOAD(state->odd_ready + at / 2);
        memcpy(&pairs, (const int16_t *)src + i, sizeof pairs);
        STORE(state->even + to, __builtin_convertvector((pairs << 16) >> 16, Lanes));
        STORE(state->odd + to, __builtin_convertvector(pairs >> 16, Lanes));
        out = K(to_int16_pairs)(even, odd);
        memcpy((int16_t *)dst + i, &out, sizeof out);
    }
    for (; i < n; i++, at++)
        K(pass_sample)(framing, state, src, dst, i, at, is_float);
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

/* Take the newest frame's spectrum, and follow the noise; make room for the samples of the next. */
TARGET INLINE void K(analyse)(const GateFraming *framing, const GateLevels *levels, GateFrame *frame)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS];
    const FourierPlan *plan = &framing->fourier;
    const int half = plan->half, hop = framing->hop / 2, n_bins = framing->n_bins;
    GateState *state = frame->state;
    Lanes most;
    if (half == 128) {
        K(forward_128)(plan, state->even, state->odd, state->start, framing->analysis, br, bi);
        most = K(part)(plan, br, bi, frame->re, frame->im, frame->power);
    } else {
        K(weigh)(state->even, framing->analysis, ar, half);
        K(weigh)(state->odd, framing->analysis + half, ai, half);
        if (K(transform)(plan, ar, ai, br, bi))
            most = K(part)(plan, br, bi, frame->re, frame->im, frame->power);
        else
            most = K(part)(plan, ar, ai, frame->re, frame->im, frame->power);
    }
    if (is_usual(framing))
        state->start = (state->start + HOP_ROWS) & 15;
    else {
        K(move_down)(state->even, hop, half);
        K(move_down)(state->odd, hop, half);
    }
    for (int k = half + LANES; k < n_bins; k++)
        frame->re[k] = frame->im[k] = frame->power[k] = 0.0f;
    /* Digital silence is no sample of the noise: a pause in the sending must not make the line's noise speech. */
    frame->sounds = any_over(most, EACH(TINY_POWER));
    frame->loud = any_over(most, EACH(levels->most_power));
    if (!frame->sounds) {
        K(rest)(levels, state, n_bins);
        return;
    }
    if (state->n_sounding == 0)
        memcpy(state->before, state->noise, (size_t)n_bins * sizeof(float));
    state->n_sounding += state->n_sounding < SPURT_HOPS;
    state->n_silent = 0;
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
        if (frame->loud) {
            K(let_pass)(levels->most_power, frame->re, frame->im, state->clean, frame->power, framing->n_bins);
            frame->power[0] = least_gain;       /* DC never does */
        }
    } else
        for (int k = 0; k < framing->n_bins; k += LANES)
            STORE(frame->power + k, EACH(1.0f));
    /* Imaginary before real turns the transform round. */
    K(join)(plan, frame->re, frame->im, frame->power, ai, ar);
    if (is_usual(framing)) {
        K(backward_128)(plan, ar, ai, NULL, NULL, state, framing->synthesis);
        return;
    }
    if (plan->half == 128) {
        K(backward_128)(plan, ar, ai, br, bi, NULL, NULL);
        even = bi;
        odd = br;
    } else if (K(transform)(plan, ar, ai, br, bi)) {
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
    const int size = is_float ? sizeof(float) : sizeof(int16_t);
    for (ptrdiff_t at = 0; at < n_samples;) {
        const int left = framing->hop - state->position;
        const int n = n_samples - at < left ? (int)(n_samples - at) : left;
        K(pass)(framing, state, (const char *)src + at * size, (char *)dst + at * size, n, is_float);
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
