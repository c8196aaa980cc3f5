/* The network that steers the gain: what it hears of a frame, its layers, and what it says.

   Included once for each instruction set. */

#ifdef ISA

/* Logarithm to base 2 of a positive, normal x; error below 9e-4, of no account beside what an octet counts. */
TARGET INLINE Lanes K(log2_lanes)(Lanes x)
{
    const Ints exponent = ((Ints)x - EACH_INT(0x3F3504F3)) >> 23;
    const Lanes t = (Lanes)((Ints)x - (exponent << 23)) - EACH(1.0f);
    const Lanes p = fused_add(fused_add(EACH(0.44507039f), t, EACH(-0.75408155f)), t, EACH(1.44515204f));
    return fused_add(t, p, __builtin_convertvector(exponent, Lanes));
}

/* 2**x for -120 <= x <= 120; relative error below 2e-3, or 0.02 dB. */
TARGET INLINE Lanes K(exp2_lanes)(Lanes x)
{
    const Lanes whole = x + EACH(ROUNDER), t = x - (whole - EACH(ROUNDER));
    const Lanes p = fused_add(EACH(0.23986401f), t, EACH(0.70294183f));
    return (Lanes)((Ints)fused_add(t, p, EACH(1.0f)) + ((Ints)whole << 23));   /* of ROUNDER nothing is left by that */
}

/* Sums over the bins of each band, by pairs of pairs; the last 4 of 24 are 0. */
#if LANES == 8
/* Sums of neighbours: a0 + a1, a2 + a3, b0 + b1, b2 + b3, and the same of the upper halves. */
TARGET INLINE __m256 K(pairs)(__m256 a, __m256 b)
{
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xDD));
}

TARGET INLINE void K(sum_bands)(const float *x, Lanes *sums)
{
#define AT(i) _mm256_loadu_ps(x + 8 * (i))
    const __m256i in_order = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
    const __m256i quarters = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256 twos = K(pairs)(AT(2), AT(3));
    const __m256 fours = _mm256_permutevar8x32_ps(K(pairs)(twos, twos), quarters);
    const __m256 low = K(pairs)(K(pairs)(AT(4), AT(5)), K(pairs)(AT(6), AT(7)));
    const __m256 high = K(pairs)(
        K(pairs)(_mm256_add_ps(AT(8), AT(9)), _mm256_add_ps(AT(10), AT(11))),
        K(pairs)(_mm256_add_ps(AT(12), AT(13)), _mm256_add_ps(AT(14), AT(15))));
    const __m128 eights = _mm_add_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
    const __m128 sixteens = _mm_add_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps(high, 1));
    sums[0] = (Lanes)_mm256_permutevar8x32_ps(K(pairs)(AT(0), AT(1)), in_order);
    sums[1] = (Lanes)_mm256_insertf128_ps(fours, eights, 1);
    sums[2] = (Lanes)_mm256_insertf128_ps(_mm256_setzero_ps(), sixteens, 0);
#undef AT
}
#else
TARGET INLINE void K(sum_bands)(const float *x, Lanes *sums)
{
    float bands[24];
    for (int b = 0; b < 8; b++)
        bands[b] = x[2 * b] + x[2 * b + 1];
    for (int b = 0; b < 4; b++) {
        float wide[8];
        bands[8 + b] = sum4(x + 16 + 4 * b);
        bands[12 + b] = sum8(x + 32 + 8 * b);
        for (int i = 0; i < 8; i++)
            wide[i] = x[64 + 16 * b + i] + x[72 + 16 * b + i];
        bands[16 + b] = sum8(wide);
        bands[20 + b] = 0.0f;
    }
    memcpy(sums, bands, sizeof bands);
}
#endif

/* Four octets in each lane, the same in all. */
TARGET INLINE Ints K(four_of)(const void *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return (Ints){0} + four;
}

/* In each lane four octets of 0 to 127 are multiplied by four weights, and the products added to the sum, exactly. */
TARGET INLINE Ints K(multiply_add)(Ints sums, Ints octets, Ints weights)
{
#if defined(HAS_VNNI)
    return (Ints)_mm256_dpbusd_epi32((__m256i)sums, (__m256i)octets, (__m256i)weights);
#elif LANES == 8
    const __m256i twos = _mm256_maddubs_epi16((__m256i)octets, (__m256i)weights);   /* 2 * 127 * 127 is no overflow */
    return sums + (Ints)_mm256_madd_epi16(twos, _mm256_set1_epi16(1));
#elif defined(GCMEDIA_X86)
    const __m128i even = _mm_srai_epi16(_mm_slli_epi16((__m128i)weights, 8), 8), odd = _mm_srai_epi16((__m128i)weights, 8);
    const __m128i low = _mm_and_si128((__m128i)octets, _mm_set1_epi16(255)), high = _mm_srli_epi16((__m128i)octets, 8);
    return sums + (Ints)_mm_madd_epi16(low, even) + (Ints)_mm_madd_epi16(high, odd);
#elif defined(GCMEDIA_NEON)
    const int8x16_t x = (int8x16_t)octets, w = (int8x16_t)weights;
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w)), high = vmull_high_s8(x, w);
    return sums + (Ints)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
#else
    Ints sum = sums;
    for (int at = 0; at < 32; at += 8)
        sum += ((octets << (24 - at)) >> 24) * ((weights << (24 - at)) >> 24);
    return sum;
#endif
}

/* Some vectors of a layer's sums: what all fours of octets are worth is added. */
TARGET INLINE void K(dense)(const uint8_t *octets, int n_fours, const int8_t *w, Ints *sums, int n)
{
    for (int f = 0; f < n_fours; f++, w += 4 * LANES * n) {
        const Ints x = K(four_of)(octets + 4 * f);
        _Pragma("GCC unroll 16")
        for (int g = 0; g < n; g++)
            sums[g] = K(multiply_add)(sums[g], x, LOAD_INTS(w + 4 * LANES * g));
    }
}

/* A ratio, a shape, and what is kept in mind, within their bounds, as numbers of 0 to 127 over ROUNDER. */
TARGET INLINE Ints K(told_ratio)(Lanes x) { return (Ints)fused_add(x, EACH(63.0f), EACH(ROUNDER + 32.0f)); }
TARGET INLINE Ints K(told_shape)(Lanes x) { return (Ints)fused_add(x, EACH(42.0f), EACH(ROUNDER + 64.0f)); }
TARGET INLINE Ints K(told_kept)(Lanes x) { return (Ints)fused_add(x, EACH(63.0f), EACH(ROUNDER + 64.0f)); }

/* As octets. */
TARGET INLINE void K(store_octets)(uint8_t *at, Ints told)
{
#if defined(HAS_VNNI)
    _mm_storel_epi64((__m128i *)at, _mm256_cvtepi32_epi8((__m256i)told));
#elif LANES == 8
    const __m256i first = _mm256_setr_epi32(0x0C080400, 0, 0, 0, 0x0C080400, 0, 0, 0);
    const __m256i fours = _mm256_shuffle_epi8((__m256i)told, first);
    _mm_storel_epi64((__m128i *)at, _mm_unpacklo_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1)));
#elif defined(GCMEDIA_X86)
    const __m128i words = _mm_packs_epi32((__m128i)(told & EACH_INT(127)), _mm_setzero_si128());
    const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(at, &four, sizeof four);
#else
    typedef uint8_t Octets __attribute__((vector_size(LANES)));
    const Octets octets = __builtin_convertvector(told & EACH_INT(127), Octets);
    memcpy(at, &octets, sizeof octets);
#endif
}

/* What the network hears: the ratio of sound to noise and the shape of the sound, band by band. */
TARGET INLINE void K(hear)(GateFrame *frame)
{
    Lanes loud[24 / LANES], noise[24 / LANES], total[8 / LANES], mean;
    K(sum_bands)(frame->power, loud);
    K(sum_bands)(frame->state->noise, noise);
    for (int b = 0; b < 24 / LANES; b++) {
        loud[b] = K(log2_lanes)(loud[b] + EACH(TINY_POWER));
        noise[b] = (loud[b] - K(log2_lanes)(noise[b] + EACH(TINY_POWER))) * 0.125f;
        noise[b] = least_of(most_of(noise[b], EACH(-0.5f)), EACH(1.5f));
        K(store_octets)(frame->heard + b * LANES, K(told_ratio)(noise[b]));
    }
    for (int kind = 0; kind < 3; kind++)                /* what is over is written over */
        for (int b = 0; b < 24 / LANES; b++)
            STORE(frame->over + kind * N_BANDS + b * LANES, noise[b]);
    for (int b = 16 / LANES; b < 24 / LANES; b++)
        loud[b] = (Lanes)((Ints)loud[b] & LOAD_INTS(IS_BAND + b * LANES));
    for (int l = 0; l < 8 / LANES; l++)
        total[l] = loud[l] + loud[8 / LANES + l] + loud[16 / LANES + l];
    mean = sum_of_8(total) * (1.0f / N_BANDS);
    for (int b = 0; b < 24 / LANES; b++) {
        const Lanes shape = least_of(most_of((loud[b] - mean) * 0.125f, EACH(-1.5f)), EACH(1.5f));
        K(store_octets)(frame->heard + N_BANDS + b * LANES, K(told_shape)(shape));
    }
}

/* What it keeps in mind of this frame and those before. */
TARGET INLINE void K(remember)(GateFrame *frame, const Ints *of_kept, const Ints *of_ratios, const Ints *of_shapes)
{
    enum { N = GATE_HIDDEN / LANES };
    for (int g = 0; g < N; g++) {
        float *hidden = frame->state->hidden + g * LANES;
        const Ints gate = of_kept[g] + of_ratios[g] + of_shapes[g];
        const Ints fresh = of_kept[N + g] + of_ratios[N + g] + of_shapes[N + g];
        const float *worth = NETWORK_WORTH + g * LANES, *bias = NETWORK_BIAS + g * LANES;
        const Lanes a = fused_add(__builtin_convertvector(gate, Lanes), LOAD(worth), LOAD(bias));
        const Lanes b = fused_add(__builtin_convertvector(fresh, Lanes), LOAD(worth + GATE_HIDDEN), LOAD(bias + GATE_HIDDEN));
        const Lanes z = least_of(most_of(a, EACH(0.0f)), EACH(1.0f));
        const Lanes c = least_of(most_of(b, EACH(-1.0f)), EACH(1.0f));
        const Lanes now = fused_add(z, LOAD(hidden) - c, c);
        STORE(hidden, now);
        K(store_octets)(frame->kept + g * LANES, K(told_kept)(now));
    }
}

/* Steer by the power of the frame and of the noise under it: weights of three kinds for each band. */
TARGET INLINE void K(steer)(GateFrame *frame)
{
    enum { N = 2 * GATE_HIDDEN / LANES, M = N_OUT / LANES, EACH_FOUR = 4 * 2 * GATE_HIDDEN };
    const int8_t *of_shapes = NETWORK_WEIGHTS + N_BANDS / 4 * EACH_FOUR, *of_kept = of_shapes + N_BANDS / 4 * EACH_FOUR;
    Ints kept[N] = {{0}}, ratios[N] = {{0}}, shapes[N] = {{0}}, said[M] = {{0}};
    for (int h = 0; h < GATE_HIDDEN; h += LANES)
        K(store_octets)(frame->kept + h, K(told_kept)(LOAD(frame->state->hidden + h)));
    /* Sums of their own, so that none waits for another. */
    K(dense)(frame->kept, GATE_HIDDEN / 4, of_kept, kept, N);
    K(hear)(frame);
    K(dense)(frame->heard, N_BANDS / 4, NETWORK_WEIGHTS, ratios, N);
    K(dense)(frame->heard + N_BANDS, N_BANDS / 4, of_shapes, shapes, N);
    K(remember)(frame, kept, ratios, shapes);
    K(dense)(frame->kept, GATE_HIDDEN / 4, NETWORK_OUT_WEIGHTS, said, M);
    for (int o = 0; o < N_OUT; o += LANES) {
        const Lanes a = fused_add(LOAD(frame->over + o), LOAD(NETWORK_SKIP + o), LOAD(NETWORK_OUT_BIAS + o));
        const Lanes y = fused_add(__builtin_convertvector(said[o / LANES], Lanes), LOAD(NETWORK_OUT_WORTH + o), a);
        STORE(frame->weights + o, K(exp2_lanes)(least_of(most_of(y, EACH(-8.0f)), LOAD(NETWORK_MOST + o))));
    }
}

#endif
