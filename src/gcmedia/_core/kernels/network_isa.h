/* The network that steers the gain: what it hears of a frame, its layers, and what it says.

   Included once for each instruction set. */

#ifdef ISA

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

/* Two words in each lane, the same in all. */
TARGET INLINE Ints K(pair_of)(const int16_t *x)
{
    int32_t pair;
    memcpy(&pair, x, 4);
    return (Ints){0} + pair;
}

/* Words are multiplied by weights, and both products added to the sum, exactly. */
TARGET INLINE Ints K(multiply_add)(Ints sums, Ints words, Ints weights)
{
#if defined(HAS_VNNI)
    return (Ints)_mm256_dpwssd_epi32((__m256i)sums, (__m256i)words, (__m256i)weights);
#elif LANES == 8
    return sums + (Ints)_mm256_madd_epi16((__m256i)words, (__m256i)weights);
#elif defined(GCMEDIA_X86)
    return sums + (Ints)_mm_madd_epi16((__m128i)words, (__m128i)weights);
#else
    return sums + ((words << 16) >> 16) * ((weights << 16) >> 16) + (words >> 16) * (weights >> 16);
#endif
}

/* A layer: to the sums goes what all pairs of words are worth. */
TARGET INLINE void K(dense)(const int16_t *words, int n_pairs, const int16_t *w, int32_t *sums, int n_out)
{
    Ints total[N_OUT / LANES];
    _Pragma("GCC unroll 18")
    for (int g = 0; g < n_out / LANES; g++)
        total[g] = LOAD_INTS(sums + LANES * g);
    for (int p = 0; p < n_pairs; p++, w += 2 * n_out) {
        const Ints x = K(pair_of)(words + 2 * p);
        _Pragma("GCC unroll 18")
        for (int g = 0; g < n_out / LANES; g++)
            total[g] = K(multiply_add)(total[g], x, LOAD_INTS(w + 2 * LANES * g));
    }
    _Pragma("GCC unroll 18")
    for (int g = 0; g < n_out / LANES; g++)
        STORE_INTS(sums + LANES * g, total[g]);
}

/* In units of 2**-14. */
TARGET INLINE void K(store_words)(int16_t *at, Lanes x)
{
    typedef int16_t Words __attribute__((vector_size(2 * LANES)));
    const Words words = __builtin_convertvector(K(nearest)(x * 16384.0f), Words);
    memcpy(at, &words, sizeof words);
}

/* What the network hears: the ratio of sound to noise and the shape of the sound, band by band. */
TARGET INLINE void K(hear)(GateFrame *frame)
{
    Lanes loud[24 / LANES], noise[24 / LANES], total[8 / LANES], mean;
    K(sum_bands)(frame->power, loud);
    K(sum_bands)(frame->state->noise, noise);
    for (int b = 0; b < 24 / LANES; b++) {
        loud[b] = K(log2_lanes)(loud[b] + EACH(TINY_POWER));
        noise[b] = K(log2_lanes)(noise[b] + EACH(TINY_POWER));
    }
    for (int b = N_BANDS; b < 24; b++)
        loud[b / LANES][b % LANES] = 0.0f;
    for (int l = 0; l < 8 / LANES; l++)
        total[l] = loud[l] + loud[8 / LANES + l] + loud[16 / LANES + l];
    mean = sum_of_8(total) * (1.0f / N_BANDS);
    for (int b = 0; b < 24 / LANES; b++) {
        const Lanes ratio = (loud[b] - noise[b]) * 0.125f;
        const Lanes over = least_of(most_of(ratio, EACH(-0.5f)), EACH(1.5f));
        STORE(frame->over + b * LANES, over);
        K(store_words)(frame->heard + b * LANES, over);
    }
    for (int b = 0; b < 24 / LANES; b++) {
        const Lanes shape = (loud[b] - mean) * 0.125f;
        K(store_words)(frame->heard + N_BANDS + b * LANES, least_of(most_of(shape, EACH(-1.5f)), EACH(1.5f)));
    }
}

/* What it keeps in mind of this frame and those before. */
TARGET INLINE void K(remember)(GateFrame *frame)
{
    for (int h = 0; h < GATE_HIDDEN; h += LANES) {
        float *hidden = frame->state->hidden + h;
        const Lanes a = __builtin_convertvector(LOAD_INTS(frame->sums + h), Lanes) * 0x1p-26f;
        const Lanes b = __builtin_convertvector(LOAD_INTS(frame->sums + GATE_HIDDEN + h), Lanes) * 0x1p-24f;
        const Lanes z = least_of(most_of(a + EACH(0.5f), EACH(0.0f)), EACH(1.0f));
        const Lanes c = least_of(most_of(b, EACH(-1.0f)), EACH(1.0f));
        const Lanes now = c + z * (LOAD(hidden) - c);
        STORE(hidden, now);
        K(store_words)(frame->kept + h, now);
    }
}

/* What it says: weights of three kinds for each band. */
TARGET INLINE void K(say)(GateFrame *frame)
{
    for (int o = 0; o < N_OUT; o += LANES) {
        const Lanes a = __builtin_convertvector(LOAD_INTS(frame->sums + o), Lanes) * 0x1p-24f;
        const Lanes y = a + LOAD(frame->over + o % 24) * LOAD(NETWORK_SKIP + o);
        STORE(frame->weights + o, K(exp2_lanes)(least_of(most_of(y, EACH(-8.0f)), LOAD(NETWORK_MOST + o))));
    }
}

/* Steer by the power of the frame and of the noise under it. */
TARGET INLINE void K(steer)(GateFrame *frame)
{
    for (int h = 0; h < GATE_HIDDEN; h += LANES)
        K(store_words)(frame->kept + h, LOAD(frame->state->hidden + h));
    K(hear)(frame);
    memcpy(frame->sums, NETWORK_BIAS, sizeof NETWORK_BIAS);
    /* What was kept in mind comes first: it need not wait for what is heard. */
    K(dense)(frame->kept, GATE_HIDDEN / 2, NETWORK_KEPT, frame->sums, 2 * GATE_HIDDEN);
    K(dense)(frame->heard, N_FEATURES / 2, NETWORK_WEIGHTS, frame->sums, 2 * GATE_HIDDEN);
    K(remember)(frame);
    memcpy(frame->sums, NETWORK_OUT_BIAS, sizeof NETWORK_OUT_BIAS);
    K(dense)(frame->kept, GATE_HIDDEN / 2, NETWORK_OUT_WEIGHTS, frame->sums, N_OUT);
    K(say)(frame);
}

#endif
