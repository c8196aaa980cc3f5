/* What is done bin by bin, many bins at a time: noise is followed and gains are found.  A group of streams side by side
   is as good as more bins.  Included once for each width of vectors. */

#ifdef ISA

/* Move the noise towards what is near it, and no lower than the least power of the last second.  `excess` is what is
   over the noise, as a multiple of it.  (Pointers are handed by value: vectors may be stored over anything.) */
TARGET INLINE void K(track_noise)(float most_power, GateState at, const float *power, float *excess, int from, int to)
{
    for (int k = from; k < to; k += LANES) {
        const Lanes p = LOAD(power + k), noise = LOAD(at.noise + k);
        const Lanes smoothed = LOAD(at.smoothed + k) * POWER_KEPT + p * (1.0f - POWER_KEPT);
        const Lanes minimum = lesser_of(smoothed, LOAD(at.minimum + k) * MINIMUM_RISE);
        const Lanes far = greater_of(EACH(1.0f) - p * LOAD(at.inverse + k) * (1.0f / NOISE_REACH), EACH(0.0f));
        Lanes inverse, now = noise + (p - noise) * (far * far * NOISE_SHARE);
        now = greater_of(now, minimum * MINIMUM_BIAS);
        now = lesser_of(now, EACH(most_power));
        now = greater_of(now, EACH(TINY_POWER));
        inverse = EACH(1.0f) / now;
        STORE(at.smoothed + k, smoothed);
        STORE(at.minimum + k, minimum);
        STORE(at.noise + k, now);
        STORE(at.inverse + k, inverse);
        STORE(excess + k, greater_of(p * inverse - EACH(1.0f), EACH(0.0f)));
    }
}

/* What is left of the last frame, what is over the noise in this one, and what is in the bins on both sides, `by` floats
   away, weighed as the network says, is the ratio of speech to noise; it is no less than noise as loud as can be would
   leave.  The gain is Wiener's; `left` is to take the place of `clean`. */
TARGET INLINE Lanes K(find_gain)(const GateLevels *levels, Lanes clean, const float *inverse, const float *excess, int by,
                                 Lanes p, Lanes last, Lanes own, Lanes both, Lanes *left)
{
    const Lanes before = lesser_of(clean * LOAD(inverse), EACH(1e4f));
    const Lanes beside = LOAD(excess - by) + LOAD(excess + by), passed = p * levels->passed - EACH(1.0f);
    const Lanes heard = last * before + own * LOAD(excess) + both * beside + EACH(1e-4f);
    const Lanes ratio = greater_of(heard, passed), raw = ratio / (EACH(1.0f) + ratio);
    *left = raw * raw * p;
    return greater_of(raw, EACH(levels->least_gain));
}

/* Of some bins of one stream; gains take the place of the power. */
TARGET INLINE void K(find_gains)(const GateLevels *levels, GateState at, float *power, const float *excess, Lanes last,
                                 Lanes own, Lanes both, int from, int to)
{
    for (int k = from; k < to; k += LANES) {
        const Lanes clean = LOAD(at.clean + k), p = LOAD(power + k);
        Lanes left, gain = K(find_gain)(levels, clean, at.inverse + k, excess + k, 1, p, last, own, both, &left);
        STORE(at.clean + k, left);
        STORE(power + k, gain);
    }
}

/* Weights of LANES bins from k on, of the bands that they are in; k is under NARROW_BINS. */
#if LANES == 16
#define NARROW_BINS 64
TARGET INLINE Lanes K(weights_of)(const float *bands, int k)
{
    const __m512 low = _mm512_castps256_ps512(_mm256_loadu_ps(bands));
    const __m512 all = _mm512_insertf32x8(low, _mm256_loadu_ps(bands + 8), 1);
    return (Lanes)_mm512_permutexvar_ps((__m512i)LOAD_INTS(BAND_OF + k), all);
}
#elif LANES == 8
#define NARROW_BINS 32
TARGET INLINE Lanes K(weights_of)(const float *bands, int k)
{
    return (Lanes)_mm256_permutevar8x32_ps(_mm256_loadu_ps(bands + k / 16 * 8), (__m256i)LOAD_INTS(BAND_OF + k));
}
#else
#define NARROW_BINS 32
TARGET INLINE Lanes K(weights_of)(const float *bands, int k)
{
    return (Lanes){bands[BAND_OF[k]], bands[BAND_OF[k + 1]], bands[BAND_OF[k + 2]], bands[BAND_OF[k + 3]]};
}
#endif

/* Of the bins that the network hears. */
TARGET INLINE void K(find_heard_gains)(const GateLevels *levels, GateState at, float *power, const float *excess,
                                       const float *weights)
{
    const float *const w[3] = {weights, weights + 24, weights + 48};
    int k = 0;
    for (; k < NARROW_BINS; k += LANES)
        K(find_gains)(levels, at, power, excess, K(weights_of)(w[0], k), K(weights_of)(w[1], k), K(weights_of)(w[2], k), k,
                      k + LANES);
    while (k < BAND_BINS) {
        const int b = BAND_OF[k], to = k + (b < 16 ? 8 : 16);
        K(find_gains)(levels, at, power, excess, EACH(w[0][b]), EACH(w[1][b]), EACH(w[2][b]), k, to);
        k = to;
    }
}
#undef NARROW_BINS

#endif
