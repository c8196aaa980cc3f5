/* What is done bin by bin, many bins at a time: noise is followed and gains are found.  A group of streams side by side
   is as good as more bins.  Included once for each width of vectors. */

#ifdef ISA

/* Roughly 1 / x of a positive, normal x, within an eighth: the exponent turned round, and the mantissa with it. */
TARGET INLINE Lanes K(rough_inverse)(Lanes x) { return (Lanes)(EACH_INT(0x7EF127EA) - (Ints)x); }

/* Move the noise towards what is near it, and no lower than the least power of the last second; `excess`, where it
   is wanted, is what is over it.  (Pointers are handed by value: vectors may be stored over anything.) */
TARGET INLINE void K(track_noise)(float most_power, GateState at, const float *power, float *excess, int from, int to)
{
    for (int k = from; k < to; k += LANES) {
        const Lanes p = LOAD(power + k), noise = LOAD(at.noise + k);
        const Lanes fresh = p * ((1.0f - POWER_KEPT) * MINIMUM_BIAS);
        const Lanes smoothed = fused_add(LOAD(at.smoothed + k), EACH(POWER_KEPT), fresh);
        const Lanes minimum = lesser_of(smoothed, LOAD(at.minimum + k) * MINIMUM_RISE);
        const Lanes near = fused_from(p * K(rough_inverse)(noise), EACH(NOISE_SPEED / NOISE_REACH), EACH(NOISE_SPEED));
        const Lanes speed = greater_of(near, EACH(0.0f));
        Lanes now = fused_add(p - noise, speed * speed, noise);
        now = greater_of(now, minimum);
        now = lesser_of(now, EACH(most_power));
        now = greater_of(now, EACH(TINY_POWER));
        STORE(at.smoothed + k, smoothed);
        STORE(at.minimum + k, minimum);
        STORE(at.noise + k, now);
        if (excess != NULL)
            STORE(excess + k, greater_of(p - now, EACH(0.0f)));
    }
}

/* What is left of the last frame, what is over the noise in this one, and what is in the bins on both sides, weighed as
   the network says, is the speech.  The gain is Wiener's; `left` is to take the place of `clean`. */
TARGET INLINE Lanes K(find_gain)(float least_gain, Lanes clean, Lanes noise, Lanes excess, Lanes beside, Lanes p, Lanes last,
                                 Lanes own, Lanes both, Lanes *left)
{
    const Lanes speech = fused_add(both, beside, fused_add(own, excess, last * clean)), raw = speech / (noise + speech);
    *left = raw * raw * p;
    return greater_of(raw, EACH(least_gain));
}

/* Of some bins of one stream; gains take the place of the power.  DC is no speech. */
TARGET INLINE void K(find_gains)(float least_gain, GateState at, float *power, const float *excess, Lanes last,
                                 Lanes own, Lanes both, int from, int to)
{
    for (int k = from; k < to; k += LANES) {
        const Lanes clean = LOAD(at.clean + k), noise = LOAD(at.noise + k), p = LOAD(power + k);
        const Lanes beside = LOAD(excess + k - 1) + LOAD(excess + k + 1);
        Lanes left, gain = K(find_gain)(least_gain, clean, noise, LOAD(excess + k), beside, p, last, own, both, &left);
        STORE(at.clean + k, left);
        STORE(power + k, k ? gain : begun_with(gain, EACH(least_gain)));
    }
}

#if LANES != 16
/* What is louder than noise can be passes as far as it is so.  The gains are of bins with this spectrum. */
TARGET INLINE void K(let_pass)(float most_power, const float *re, const float *im, float *clean, float *gain,
                               int n)
{
    for (int k = 0; k < n; k += LANES) {
        const Lanes r = LOAD(re + k), i = LOAD(im + k), p = fused_add(r, r, fused_add(i, i, EACH(TINY_POWER)));
        if (!any_over(p, EACH(most_power)))
            continue;
        const Lanes sure = greater_of(EACH(1.0f) - EACH(most_power) / p, EACH(0.0f));
        STORE(clean + k, greater_of(LOAD(clean + k), sure * sure * p));
        STORE(gain + k, greater_of(LOAD(gain + k), sure));
    }
}
#endif

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
TARGET INLINE void K(find_heard_gains)(float least_gain, GateState at, float *power, const float *excess,
                                       const float *weights)
{
    const float *const w[3] = {weights, weights + N_BANDS, weights + 2 * N_BANDS};
    int k = 0;
    for (; k < NARROW_BINS; k += LANES)
        K(find_gains)(least_gain, at, power, excess, K(weights_of)(w[0], k), K(weights_of)(w[1], k), K(weights_of)(w[2], k), k,
                      k + LANES);
    for (; k < BAND_BINS; k += LANES) {
        const int b = BAND_OF[k];
        K(find_gains)(least_gain, at, power, excess, EACH(w[0][b]), EACH(w[1][b]), EACH(w[2][b]), k, k + LANES);
    }
}
#undef NARROW_BINS

#endif
