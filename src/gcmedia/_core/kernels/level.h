/* How loud samples are: sums of squares and of magnitudes, the peak.  All exact. */

#ifndef GCMEDIA_LEVEL_H
#define GCMEDIA_LEVEL_H

#include "isa.h"

INLINE uint64_t squares_of(const int16_t *pcm, ptrdiff_t n_samples)
{
    uint64_t total = 0;
    for (ptrdiff_t i = 0; i < n_samples; i++)
        total += (uint32_t)((int32_t)pcm[i] * pcm[i]);
    return total;
}

#if defined(GCMEDIA_X86)

/* Two squares fit 32 bits without a sign: 2 * (-32768)**2 = 2**31.  Such pairs come two to a lane of 64 bits, `a` above
   `b`; one sum takes lanes as they are, the other each `a` alone, which then is taken off the first. */
INLINE int64_t squares_from(uint64_t mixed, uint64_t upper)
{
    return (int64_t)(mixed - (upper << 32) + upper);
}

static int64_t sum_of_squares_baseline(const int16_t *pcm, ptrdiff_t n_samples)
{
    __m128i mixed = _mm_setzero_si128(), upper = mixed;
    uint64_t lanes[4];
    ptrdiff_t i;
    for (i = 0; i + 8 <= n_samples; i += 8) {
        __m128i x = _mm_loadu_si128((const __m128i *)(pcm + i));
        x = _mm_madd_epi16(x, x);
        mixed = _mm_add_epi64(mixed, x);
        upper = _mm_add_epi64(upper, _mm_srli_epi64(x, 32));
    }
    _mm_storeu_si128((__m128i *)lanes, mixed);
    _mm_storeu_si128((__m128i *)(lanes + 2), upper);
    return squares_from(lanes[0] + lanes[1], lanes[2] + lanes[3]) + (int64_t)squares_of(pcm + i, n_samples - i);
}

typedef struct {
    __m256i mixed, upper;
} Squares_avx2;

AVX2 INLINE void add_squares_avx2(Squares_avx2 *squares, __m256i x)
{
    x = _mm256_madd_epi16(x, x);
    squares->mixed = _mm256_add_epi64(squares->mixed, x);
    squares->upper = _mm256_add_epi64(squares->upper, _mm256_srli_epi64(x, 32));
}

AVX2 INLINE int64_t total_avx2(const Squares_avx2 *squares)
{
    /* mixed - (upper << 32) + upper, lane by lane, then over the lanes */
    const __m256i upper = squares->upper;
    const __m256i total = _mm256_add_epi64(_mm256_sub_epi64(squares->mixed, _mm256_slli_epi64(upper, 32)), upper);
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    half = _mm_add_epi64(half, _mm_unpackhi_epi64(half, half));
    return _mm_cvtsi128_si64(half);
}

AVX2 static int64_t sum_of_squares_avx2(const int16_t *pcm, ptrdiff_t n_samples)
{
    Squares_avx2 squares = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    ptrdiff_t i;
    for (i = 0; i + 16 <= n_samples; i += 16)
        add_squares_avx2(&squares, _mm256_loadu_si256((const __m256i *)(pcm + i)));
    const int64_t total = total_avx2(&squares);
    return i == n_samples ? total : total + (int64_t)squares_of(pcm + i, n_samples - i);
}

/* 512 bits are slower here by a fifth: samples in bytes objects lie across the cache's lines. */
#define sum_of_squares_avx512 sum_of_squares_avx2

#elif defined(GCMEDIA_NEON)

static int64_t sum_of_squares_baseline(const int16_t *pcm, ptrdiff_t n_samples)
{
    uint64x2_t total = vdupq_n_u64(0);
    ptrdiff_t i;
    for (i = 0; i + 8 <= n_samples; i += 8) {
        int16x8_t x = vld1q_s16(pcm + i);
        total = vpadalq_u32(total, vreinterpretq_u32_s32(vmull_s16(vget_low_s16(x), vget_low_s16(x))));
        total = vpadalq_u32(total, vreinterpretq_u32_s32(vmull_high_s16(x, x)));
    }
    return (int64_t)(vaddvq_u64(total) + squares_of(pcm + i, n_samples - i));
}

#else

static int64_t sum_of_squares_baseline(const int16_t *pcm, ptrdiff_t n_samples)
{
    return (int64_t)squares_of(pcm, n_samples);
}

#endif

/* Summed in 32 bits, which hold 2**16 magnitudes of 2**15 each less one, so in runs of half of that. */
INLINE int64_t sum_of_magnitudes_loop(const int16_t *pcm, ptrdiff_t n_samples)
{
    int64_t total = 0;
    while (n_samples > 0) {
        const ptrdiff_t n_run = n_samples < 32768 ? n_samples : 32768;
        uint32_t run = 0;
        for (ptrdiff_t i = 0; i < n_run; i++)
            run += (uint32_t)(pcm[i] < 0 ? -pcm[i] : pcm[i]);
        total += run;
        pcm += n_run;
        n_samples -= n_run;
    }
    return total;
}

/* 0 to 32768; the lowest sample has no positive twin in 16 bits. */
INLINE int peak_magnitude_loop(const int16_t *pcm, ptrdiff_t n_samples)
{
    int16_t low = 0, high = 0;
    for (ptrdiff_t i = 0; i < n_samples; i++) {
        low = pcm[i] < low ? pcm[i] : low;
        high = pcm[i] > high ? pcm[i] : high;
    }
    return high > -low ? high : -low;
}

KERNEL(int64_t, sum_of_magnitudes, (const int16_t *pcm, ptrdiff_t n_samples), (pcm, n_samples))
KERNEL(int, peak_magnitude, (const int16_t *pcm, ptrdiff_t n_samples), (pcm, n_samples))

#endif
