/* The spectral gate: what happens to the samples of a stream, hop by hop.  The method is told in gate.pyx.

   Even and odd samples lie apart, as the transform wants them.  Included once for each instruction set. */

#ifdef ISA

TARGET INLINE Ints K(nearest)(Lanes x) { return (Ints)(x + EACH(ROUNDER)) - EACH_INT(0x4B400000); }

/* Logarithm to base 2 of a positive, normal x; error below 4e-6. */
TARGET INLINE Lanes K(log2_lanes)(Lanes x)
{
    const Ints exponent = ((Ints)x - EACH_INT(0x3F3504F3)) >> 23;
    const Lanes t = (Lanes)((Ints)x - (exponent << 23)) - EACH(1.0f);
    Lanes p = EACH(-0.20685813f);
    p = p * t + EACH(0.31840712f);
    p = p * t + EACH(-0.36641327f);
    p = p * t + EACH(0.47979388f);
    p = p * t + EACH(-0.72120845f);
    p = p * t + EACH(1.4427018f);
    return __builtin_convertvector(exponent, Lanes) + t * p;
}

/* 2**x for -120 <= x <= 120; relative error below 3e-7. */
TARGET INLINE Lanes K(exp2_lanes)(Lanes x)
{
    const Ints whole = K(nearest)(x);
    const Lanes t = x - __builtin_convertvector(whole, Lanes);
    Lanes p = EACH(0.0013390867f);
    p = p * t + EACH(0.009666374f);
    p = p * t + EACH(0.05550357f);
    p = p * t + EACH(0.24022348f);
    p = p * t + EACH(0.6931472f);
    return (Lanes)((whole + EACH_INT(127)) << 23) * (EACH(1.0f) + t * p);
}

/* Sums over the bins of each band, by pairs of pairs; the last of 24 are 0. */
#if LANES == 8
TARGET INLINE void K(sum_bands)(const float *x, float *sums)
{
#define AT(i) _mm256_loadu_ps(x + 8 * (i))
    const __m256i in_order = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
    const __m256i quarters = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256 twos = _mm256_permutevar8x32_ps(_mm256_hadd_ps(AT(0), AT(1)), in_order);
    const __m256 pairs = _mm256_hadd_ps(AT(2), AT(3));
    const __m256 fours = _mm256_permutevar8x32_ps(_mm256_hadd_ps(pairs, pairs), quarters);
    const __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(AT(4), AT(5)), _mm256_hadd_ps(AT(6), AT(7)));
    const __m256 high = _mm256_hadd_ps(
        _mm256_hadd_ps(_mm256_add_ps(AT(8), AT(9)), _mm256_add_ps(AT(10), AT(11))),
        _mm256_hadd_ps(_mm256_add_ps(AT(12), AT(13)), _mm256_add_ps(AT(14), AT(15))));
    const __m128 eights = _mm_add_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
    const __m128 sixteens = _mm_add_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps(high, 1));
    _mm256_storeu_ps(sums, twos);
    _mm256_storeu_ps(sums + 8, _mm256_insertf128_ps(fours, eights, 1));
    _mm256_storeu_ps(sums + 16, _mm256_insertf128_ps(_mm256_setzero_ps(), sixteens, 0));
#undef AT
}
#else
TARGET INLINE void K(sum_bands)(const float *x, float *sums)
{
    for (int b = 0; b < 8; b++)
        sums[b] = x[2 * b] + x[2 * b + 1];
    for (int b = 0; b < 4; b++) {
        float wide[8];
        sums[8 + b] = sum4(x + 16 + 4 * b);
        sums[12 + b] = sum8(x + 32 + 8 * b);
        for (int i = 0; i < 8; i++)
            wide[i] = x[64 + 16 * b + i] + x[72 + 16 * b + i];
        sums[16 + b] = sum8(wide);
        sums[20 + b] = 0.0f;
    }
}
#endif

/* Each bin gets what its band has. */
#if LANES == 8
TARGET INLINE void K(spread)(const float *bands, float *bins)
{
    const __m256 twos = _mm256_loadu_ps(bands), fours = _mm256_castps128_ps256(_mm_loadu_ps(bands + 8));
    _mm256_storeu_ps(bins, _mm256_permutevar8x32_ps(twos, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)));
    _mm256_storeu_ps(bins + 8, _mm256_permutevar8x32_ps(twos, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)));
    _mm256_storeu_ps(bins + 16, _mm256_permutevar8x32_ps(fours, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)));
    _mm256_storeu_ps(bins + 24, _mm256_permutevar8x32_ps(fours, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3)));
    for (int b = 0; b < 4; b++)
        _mm256_storeu_ps(bins + 32 + 8 * b, _mm256_broadcast_ss(bands + 12 + b));
    for (int b = 0; b < 8; b++)
        _mm256_storeu_ps(bins + 64 + 8 * b, _mm256_broadcast_ss(bands + 16 + b / 2));
}
#else
TARGET INLINE void K(spread)(const float *bands, float *bins)
{
    for (int k = 0; k < 16; k++)
        bins[k] = bands[k / 2];
    for (int k = 0; k < 16; k++)
        bins[16 + k] = bands[8 + k / 4];
    for (int k = 0; k < 32; k++)
        bins[32 + k] = bands[12 + k / 8];
    for (int k = 0; k < 64; k++)
        bins[64 + k] = bands[16 + k / 16];
}
#endif

/* Pairs multiplied and added, exactly: acc[o] += x[2 p] * w[p][o][0] + x[2 p + 1] * w[p][o][1]. */
#if LANES == 8
TARGET INLINE void K(dense)(const int16_t *x, int n_pairs, const int16_t *w, int32_t *acc, int n_out)
{
    __m256i total[N_OUT / 8];
    for (int g = 0; g < n_out / 8; g++)
        total[g] = _mm256_loadu_si256((const __m256i *)(acc + 8 * g));
    for (int p = 0; p < n_pairs; p++) {
        int32_t pair;
        memcpy(&pair, x + 2 * p, 4);
        const __m256i both = _mm256_set1_epi32(pair);
        for (int g = 0; g < n_out / 8; g++, w += 16)
            total[g] = _mm256_add_epi32(total[g], _mm256_madd_epi16(both, _mm256_loadu_si256((const __m256i *)w)));
    }
    for (int g = 0; g < n_out / 8; g++)
        _mm256_storeu_si256((__m256i *)(acc + 8 * g), total[g]);
}
#elif defined(GCMEDIA_X86)
TARGET INLINE void K(dense)(const int16_t *x, int n_pairs, const int16_t *w, int32_t *acc, int n_out)
{
    __m128i total[N_OUT / 4];
    for (int g = 0; g < n_out / 4; g++)
        total[g] = _mm_loadu_si128((const __m128i *)(acc + 4 * g));
    for (int p = 0; p < n_pairs; p++) {
        int32_t pair;
        memcpy(&pair, x + 2 * p, 4);
        const __m128i both = _mm_set1_epi32(pair);
        for (int g = 0; g < n_out / 4; g++, w += 8)
            total[g] = _mm_add_epi32(total[g], _mm_madd_epi16(both, _mm_loadu_si128((const __m128i *)w)));
    }
    for (int g = 0; g < n_out / 4; g++)
        _mm_storeu_si128((__m128i *)(acc + 4 * g), total[g]);
}
#else
TARGET INLINE void K(dense)(const int16_t *x, int n_pairs, const int16_t *w, int32_t *acc, int n_out)
{
    for (int p = 0; p < n_pairs; p++, w += 2 * n_out)
        for (int o = 0; o < n_out; o++)
            acc[o] += x[2 * p] * w[2 * o] + x[2 * p + 1] * w[2 * o + 1];
}
#endif

/* In units of 2**-14. */
TARGET INLINE void K(store_words)(int16_t *at, Lanes x)
{
    typedef int16_t Words __attribute__((vector_size(2 * LANES)));
    const Words words = __builtin_convertvector(K(nearest)(x * 16384.0f), Words);
    memcpy(at, &words, sizeof words);
}

/* Power of all bins but those of digital silence; the loudest is what is returned. */
TARGET INLINE float K(find_power)(const float *re, const float *im, float *power, int n_bins)
{
    Lanes loudest = EACH(0.0f);
    float most = 0.0f;
    for (int k = 0; k < n_bins; k += LANES) {
        const Lanes r = LOAD(re + k), i = LOAD(im + k), p = r * r + i * i;
        loudest = most_of(p, loudest);
        STORE(power + k, p);
    }
    for (int l = 0; l < LANES; l++)
        most = loudest[l] > most ? loudest[l] : most;
    return most;
}

/* Take the mean of the first whole frames for noise, as far as the floor allows.  `excess` is what is over the noise,
   as a multiple of it. */
TARGET INLINE void K(warm_up)(const GateLevels *levels, GateState *state, const float *power, float *excess, int n_bins)
{
    float share = 1.0f;
    if (state->n_warm >= PARTIAL_HOPS)
        share = 1.0f / (float)(state->n_warm - PARTIAL_HOPS + 1);
    for (int k = 0; k < n_bins; k += LANES) {
        const Lanes p = LOAD(power + k), quiet = least_of(p, EACH(levels->warm_power));
        const Lanes noise = LOAD(state->noise + k), smoothed = LOAD(state->smoothed + k);
        const Lanes now = most_of(noise + (quiet - noise) * share, EACH(TINY_POWER));
        const Lanes smooth = smoothed + (p - smoothed) * share, inverse = EACH(1.0f) / now;
        STORE(state->noise + k, now);
        STORE(state->inverse + k, inverse);
        STORE(excess + k, most_of(p * inverse - EACH(1.0f), EACH(0.0f)));
        STORE(state->smoothed + k, smooth);
        STORE(state->minimum + k, smooth);
    }
    state->n_warm++;
}

/* Move the noise towards what is near it, and no lower than the least power of the last second. */
TARGET INLINE void K(track_noise)(const GateLevels *levels, GateState *state, const float *power, float *excess,
                                  int n_bins)
{
    for (int k = 0; k < n_bins; k += LANES) {
        const Lanes p = LOAD(power + k), noise = LOAD(state->noise + k);
        const Lanes smoothed = LOAD(state->smoothed + k) * POWER_KEPT + p * (1.0f - POWER_KEPT);
        const Lanes minimum = least_of(smoothed, LOAD(state->minimum + k) * MINIMUM_RISE);
        const Lanes far = most_of(EACH(1.0f) - p * LOAD(state->inverse + k) * (1.0f / NOISE_REACH), EACH(0.0f));
        Lanes inverse, now = noise + (p - noise) * (far * far * NOISE_SHARE);
        now = most_of(now, minimum * MINIMUM_BIAS);
        now = least_of(now, EACH(levels->most_power));
        now = most_of(now, EACH(TINY_POWER));
        STORE(state->smoothed + k, smoothed);
        inverse = EACH(1.0f) / now;
        STORE(state->minimum + k, minimum);
        STORE(state->noise + k, now);
        STORE(state->inverse + k, inverse);
        STORE(excess + k, most_of(p * inverse - EACH(1.0f), EACH(0.0f)));
    }
}

/* What is left of the last frame, what is over the noise in this one, and what is in the bins on both sides, weighed
   as the network says, is the ratio of speech to noise; it is no less than noise as loud as can be would leave.  The
   gain is Wiener's.  `excess` has room on both sides. */
TARGET INLINE void K(find_gains)(const GateLevels *levels, GateState *state, const float *power, const float *excess,
                                 const float (*weights)[BAND_BINS], float *gain, int n_bins)
{
    for (int k = 0; k < n_bins; k += LANES) {
        const int at = k < BAND_BINS ? k : BAND_BINS - LANES;
        const Lanes before = least_of(LOAD(state->clean + k) * LOAD(state->inverse + k), EACH(1e4f));
        const Lanes beside = LOAD(excess + k - 1) + LOAD(excess + k + 1);
        const Lanes p = LOAD(power + k), passed = p * levels->passed - EACH(1.0f);
        const Lanes heard = LOAD(weights[0] + at) * before + LOAD(weights[1] + at) * LOAD(excess + k)
            + LOAD(weights[2] + at) * beside + EACH(1e-4f);
        const Lanes ratio = most_of(heard, passed), raw = ratio / (EACH(1.0f) + ratio);
        STORE(state->clean + k, raw * raw * p);
        STORE(gain + k, most_of(raw, EACH(levels->least_gain)));
    }
    gain[0] = levels->least_gain;       /* no telephone carries speech there */
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
    return K(nearest)(most_of(least_of(x * 32768.0f, EACH(32767.0f)), EACH(-32768.0f)));
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
            STORE(state->even + (from + at) / 2, __builtin_convertvector((pairs << 16) >> 16, Lanes) * UNIT);
            STORE(state->odd + (from + at) / 2, __builtin_convertvector(pairs >> 16, Lanes) * UNIT);
            out = (even & EACH_INT(0xFFFF)) | (odd << 16);
            memcpy(dst + i, &out, sizeof out);
        }
    for (; i < n; i++, at++) {
        float *in = at & 1 ? state->odd : state->even;
        const float *ready = at & 1 ? state->odd_ready : state->even_ready;
        in[(from + at) / 2] = (float)src[i] * UNIT;
        dst[i] = to_int16(ready[at / 2]);
    }
}

TARGET INLINE void K(pass_float32)(const GateFraming *framing, GateState *state, const float *src, float *dst, int n)
{
    const int from = framing->fourier.size - framing->hop;
    for (int i = 0, at = state->position; i < n; i++, at++) {
        float *in = at & 1 ? state->odd : state->even;
        const float *ready = at & 1 ? state->odd_ready : state->even_ready;
        in[(from + at) / 2] = held(src[i]);
        dst[i] = ready[at / 2];
    }
}


/* Steer: the network hears the ratio of sound to noise and the shape of the sound, band by band. */
TARGET INLINE void K(steer)(GateState *state, const float *power, float (*weights)[BAND_BINS])
{
    float loud[24], noise[24], feature[N_OUT], steered[N_OUT];
    int16_t x[N_INPUTS + 8];
    int32_t acc[2 * GATE_HIDDEN], out[N_OUT];
    float total[8], mean;
    K(sum_bands)(power, loud);
    K(sum_bands)(state->noise, noise);
    for (int b = 0; b < 24; b += LANES) {
        STORE(loud + b, K(log2_lanes)(LOAD(loud + b) + EACH(TINY_POWER)));
        STORE(noise + b, K(log2_lanes)(LOAD(noise + b) + EACH(TINY_POWER)));
    }
    for (int b = 0; b < 4; b++)
        loud[N_BANDS + b] = 0.0f;
    for (int l = 0; l < 8; l += LANES)
        STORE(total + l, LOAD(loud + l) + LOAD(loud + 8 + l) + LOAD(loud + 16 + l));
    mean = sum8(total) * (1.0f / N_BANDS);
    for (int b = 0; b < 24; b += LANES) {
        const Lanes ratio = (LOAD(loud + b) - LOAD(noise + b)) * 0.125f;
        const Lanes heard = least_of(most_of(ratio, EACH(-0.5f)), EACH(1.5f));
        STORE(feature + b, heard);
        K(store_words)(x + b, heard);
    }
    for (int b = 0; b < 24; b += LANES) {
        const Lanes shape = (LOAD(loud + b) - EACH(mean)) * 0.125f;
        K(store_words)(x + N_BANDS + b, least_of(most_of(shape, EACH(-1.5f)), EACH(1.5f)));
    }
    for (int b = 0; b < GATE_HIDDEN; b += LANES)
        K(store_words)(x + N_FEATURES + b, LOAD(state->hidden + b));
    memcpy(acc, NETWORK_BIAS, sizeof acc);
    K(dense)(x, N_INPUTS / 2, NETWORK_WEIGHTS, acc, 2 * GATE_HIDDEN);
    for (int h = 0; h < GATE_HIDDEN; h += LANES) {
        const Lanes a = __builtin_convertvector(LOAD_INTS(acc + h), Lanes) * 0x1p-26f;
        const Lanes b = __builtin_convertvector(LOAD_INTS(acc + GATE_HIDDEN + h), Lanes) * 0x1p-24f;
        const Lanes z = least_of(most_of(a + EACH(0.5f), EACH(0.0f)), EACH(1.0f));
        const Lanes c = least_of(most_of(b, EACH(-1.0f)), EACH(1.0f));
        const Lanes hidden = c + z * (LOAD(state->hidden + h) - c);
        STORE(state->hidden + h, hidden);
        K(store_words)(x + h, hidden);
    }
    memcpy(out, NETWORK_OUT_BIAS, sizeof out);
    K(dense)(x, GATE_HIDDEN / 2, NETWORK_OUT_WEIGHTS, out, N_OUT);
    for (int o = 0; o < N_OUT; o += LANES) {
        const Lanes a = __builtin_convertvector(LOAD_INTS(out + o), Lanes) * 0x1p-24f;
        const Lanes y = a + LOAD(feature + o % 24) * LOAD(NETWORK_SKIP + o);
        STORE(steered + o, K(exp2_lanes)(least_of(most_of(y, EACH(-8.0f)), LOAD(NETWORK_MOST + o))));
    }
    for (int i = 0; i < 3; i++)
        K(spread)(steered + 24 * i, weights[i]);
}

/* Work on the frame that is complete now: `ready` is the next hop of output. */
TARGET static void K(gate_hop)(const GateFraming *framing, const GateLevels *levels, GateState *state)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS];
    float re[MAX_POINTS], im[MAX_POINTS], power[MAX_POINTS], gain[MAX_POINTS];
    float weights[3][BAND_BINS], room[MAX_POINTS + 2 * LANES], *excess = room + LANES;
    const FourierPlan *plan = &framing->fourier;
    const int half = plan->half, hop = framing->hop / 2, n_bins = framing->n_bins;
    const int overlap = framing->overlap / 2, first = half - hop - overlap;
    int k;
    for (k = 0; k + LANES <= half; k += LANES) {
        STORE(ar + k, LOAD(state->even + k) * LOAD(framing->analysis + k));
        STORE(ai + k, LOAD(state->odd + k) * LOAD(framing->analysis + half + k));
    }
    for (; k < half; k++) {
        ar[k] = state->even[k] * framing->analysis[k];
        ai[k] = state->odd[k] * framing->analysis[half + k];
    }
    memmove(state->even, state->even + hop, (half - hop) * sizeof(float));
    memmove(state->odd, state->odd + hop, (half - hop) * sizeof(float));
    if (K(transform)(plan, ar, ai, br, bi))
        K(part)(plan, br, bi, re, im);
    else
        K(part)(plan, ar, ai, re, im);
    for (k = half + 1; k < n_bins; k++)
        re[k] = im[k] = 0.0f;
    /* Digital silence is no sample of the noise: a pause in the sending must not make the line's noise speech. */
    if (K(find_power)(re, im, power, n_bins) > TINY_POWER) {
        if (state->n_warm < WARM_HOPS)
            K(warm_up)(levels, state, power, excess, n_bins);
        else
            K(track_noise)(levels, state, power, excess, n_bins);
        excess[-1] = excess[n_bins] = 0.0f;
        K(steer)(state, power, weights);
        K(find_gains)(levels, state, power, excess, (const float (*)[BAND_BINS])weights, gain, n_bins);
    } else
        for (k = 0; k < n_bins; k++)
            gain[k] = 1.0f;
    /* Imaginary before real turns the transform round. */
    K(join)(plan, re, im, gain, ai, ar);
    float *even = ai, *odd = ar;
    if (K(transform)(plan, ar, ai, br, bi)) {
        even = bi;
        odd = br;
    }
    K(overlap_add)(even + first, framing->synthesis, state->even_tail, state->even_ready, hop, overlap);
    K(overlap_add)(odd + first, framing->synthesis + hop + overlap, state->odd_tail, state->odd_ready, hop, overlap);
}

TARGET static void K(gate_int16)(const GateFraming *framing, const GateLevels *levels, GateState *state,
                                    const int16_t *src, int16_t *dst, ptrdiff_t n_samples)
{
    while (n_samples > 0) {
        const int left = framing->hop - state->position;
        const int n = n_samples < left ? (int)n_samples : left;
        K(pass_int16)(framing, state, src, dst, n);
        state->position += n;
        if (state->position == framing->hop) {
            K(gate_hop)(framing, levels, state);
            state->position = 0;
        }
        src += n;
        dst += n;
        n_samples -= n;
    }
}

TARGET static void K(gate_float32)(const GateFraming *framing, const GateLevels *levels, GateState *state,
                                      const float *src, float *dst, ptrdiff_t n_samples)
{
    while (n_samples > 0) {
        const int left = framing->hop - state->position;
        const int n = n_samples < left ? (int)n_samples : left;
        K(pass_float32)(framing, state, src, dst, n);
        state->position += n;
        if (state->position == framing->hop) {
            K(gate_hop)(framing, levels, state);
            state->position = 0;
        }
        src += n;
        dst += n;
        n_samples -= n;
    }
}

TARGET static void K(fourier_forward)(const FourierPlan *plan, const float *x, float *re, float *im)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS];
    for (int k = 0; k < plan->half; k++) {
        ar[k] = x[2 * k] * 0.5f;
        ai[k] = x[2 * k + 1] * 0.5f;
    }
    if (K(transform)(plan, ar, ai, br, bi))
        K(part)(plan, br, bi, re, im);
    else
        K(part)(plan, ar, ai, re, im);
}

TARGET static void K(fourier_inverse)(const FourierPlan *plan, const float *re, const float *im, float *x)
{
    float ar[MAX_POINTS], ai[MAX_POINTS], br[MAX_POINTS], bi[MAX_POINTS], same[MAX_POINTS];
    const float *even = ai, *odd = ar;
    for (int k = 0; k <= plan->half; k++)
        same[k] = plan->scale;
    K(join)(plan, re, im, same, ai, ar);
    if (K(transform)(plan, ar, ai, br, bi)) {
        even = bi;
        odd = br;
    }
    for (int k = 0; k < plan->half; k++) {
        x[2 * k] = even[k];
        x[2 * k + 1] = odd[k];
    }
}

#endif
