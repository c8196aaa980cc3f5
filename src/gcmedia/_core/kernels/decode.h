/* PCMU and PCMA octets to samples (ITU-T G.711).

   An octet is a sign, a segment of 3 bits and a mantissa of 4, inverted in whole (PCMU) or in every other bit (PCMA).
   With t = 2 * mantissa + 33 both laws are one shift and one subtraction, in steps of 4 (PCMU) or 8 (PCMA):

       PCMU   (t << segment) - 33
       PCMA   t << (segment - 1), in segment 0 t - 32

   Segment and sign depend on the upper four bits of an octet alone, the mantissa on the lower four, so tables of 16
   entries, which fit one register, also undo the inversion.

   What `measured` is in the name of also returns the sum of the squares, while the samples are still in registers. */

#ifndef GCMEDIA_DECODE_H
#define GCMEDIA_DECODE_H

#include "level.h"

/* Constant expressions of an octet c, or of its upper half h and its lower half m. */
#define ULAW_SEGMENT(h) (~(h) & 7)
#define ULAW_POWER(h) (1 << ULAW_SEGMENT(h))
#define ULAW_OFFSET(h) ((h) < 8 ? 33 : -33)
#define ULAW_T(m) (2 * (~(m) & 15) + 33)
#define ULAW_VALUE(c) \
    (4 * (ULAW_OFFSET((c) >> 4) + ((c) < 128 ? -1 : 1) * ULAW_POWER((c) >> 4) * ULAW_T((c) & 15)))

#define ALAW_SEGMENT(h) (((h) ^ 5) & 7)
#define ALAW_POWER(h) (ALAW_SEGMENT(h) ? 1 << (ALAW_SEGMENT(h) ? ALAW_SEGMENT(h) - 1 : 0) : 1)
#define ALAW_OFFSET(h) (ALAW_SEGMENT(h) ? 0 : (h) < 8 ? 32 : -32)
#define ALAW_T(m) (2 * ((m) ^ 5) + 33)
#define ALAW_VALUE(c) \
    (8 * (ALAW_OFFSET((c) >> 4) + ((c) < 128 ? -1 : 1) * ALAW_POWER((c) >> 4) * ALAW_T((c) & 15)))

#define TIMES_4(f, i) f(i), f((i) + 1), f((i) + 2), f((i) + 3)
#define TIMES_16(f, i) TIMES_4(f, i), TIMES_4(f, (i) + 4), TIMES_4(f, (i) + 8), TIMES_4(f, (i) + 12)
#define TIMES_64(f, i) TIMES_16(f, i), TIMES_16(f, (i) + 16), TIMES_16(f, (i) + 32), TIMES_16(f, (i) + 48)
#define TIMES_256(f) TIMES_64(f, 0), TIMES_64(f, 64), TIMES_64(f, 128), TIMES_64(f, 192)

typedef struct {
    uint8_t power[16];      /* by upper half: 2 to the shift */
    int8_t offset[16];      /* by upper half, signed as the sample is */
    int8_t t[16];           /* by lower half, negative, as samples are whose octet has no bit 7 */
    int shift;              /* log2 of the step */
} Nibbles;

static const Nibbles ULAW_NIBBLES __attribute__((unused)) = {
    {TIMES_16(ULAW_POWER, 0)}, {TIMES_16(ULAW_OFFSET, 0)}, {TIMES_16(-ULAW_T, 0)}, 2};
static const Nibbles ALAW_NIBBLES __attribute__((unused)) = {
    {TIMES_16(ALAW_POWER, 0)}, {TIMES_16(ALAW_OFFSET, 0)}, {TIMES_16(-ALAW_T, 0)}, 3};

/* Decode whole blocks in place, the rest by way of one more block on the stack. */
#define DECODE_BLOCKS(size, block, last)                  \
    uint8_t last_octets[size] = {0};                      \
    int16_t last_pcm[size];                               \
    ptrdiff_t i;                                          \
    for (i = 0; i + (size) <= n_samples; i += (size))     \
        block(octets + i, pcm + i);                       \
    if (i < n_samples) {                                  \
        memcpy(last_octets, octets + i, n_samples - i);   \
        last(last_octets, last_pcm);                      \
        memcpy(pcm + i, last_pcm, 2 * (n_samples - i));   \
    }

#if defined(GCMEDIA_X86)

/* SSE2 has no table and no shift by lane, but it has floats: segment and mantissa, put where a float has its exponent
   and its leading bits, followed by one bit more, are t << segment. */
INLINE void decode_sse2(const uint8_t *octets, int16_t *pcm, const __m128i zero, int alaw)
{
    __m128i code = _mm_loadu_si128((const __m128i *)octets);
    __m128i negative = _mm_cmpgt_epi8(code, _mm_set1_epi8(-1));
    __m128i offset = _mm_set1_epi8(33);
    const __m128i head = _mm_set1_epi16(((127 + 5 - alaw) << 7) + 4);
    const int shift = alaw ? 3 : 2;
    code = _mm_and_si128(_mm_xor_si128(code, _mm_set1_epi8(alaw ? 0x55 : 0x7F)), _mm_set1_epi8(0x7F));
    if (alaw) {     /* segment 0 is segment 1 less 32 */
        __m128i linear = _mm_cmpgt_epi8(_mm_set1_epi8(16), code);
        offset = _mm_and_si128(linear, _mm_set1_epi8(32));
        code = _mm_add_epi8(code, _mm_and_si128(linear, _mm_set1_epi8(16)));
    }
#define HALF(unpack, where)                                                                              \
    do {                                                                                                 \
        __m128i bits = _mm_add_epi16(_mm_srli_epi16(unpack(zero, code), 5), head);                       \
        __m128i low = _mm_cvttps_epi32(_mm_castsi128_ps(_mm_unpacklo_epi16(zero, bits)));                \
        __m128i high = _mm_cvttps_epi32(_mm_castsi128_ps(_mm_unpackhi_epi16(zero, bits)));               \
        __m128i value = _mm_sub_epi16(_mm_packs_epi32(low, high), unpack(offset, zero));                 \
        __m128i sign = unpack(negative, negative);                                                       \
        value = _mm_sub_epi16(_mm_xor_si128(_mm_slli_epi16(value, shift), sign), sign);                  \
        _mm_storeu_si128((__m128i *)(where), value);                                                     \
    } while (0)
    HALF(_mm_unpacklo_epi8, pcm);
    HALF(_mm_unpackhi_epi8, pcm + 8);
#undef HALF
}

static void ulaw_to_int16_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    const __m128i zero = _mm_setzero_si128();
#define BLOCK(from, to) decode_sse2(from, to, zero, 0)
    DECODE_BLOCKS(16, BLOCK, BLOCK)
#undef BLOCK
}

static void alaw_to_int16_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    const __m128i zero = _mm_setzero_si128();
#define BLOCK(from, to) decode_sse2(from, to, zero, 1)
    DECODE_BLOCKS(16, BLOCK, BLOCK)
#undef BLOCK
}

/* One multiplication of octets adds power * t and 1 * offset to a sample. */
AVX2 INLINE void decode_avx2(const uint8_t *octets, int16_t *pcm, const Nibbles *law, Squares_avx2 *squares)
{
#define TABLE(name) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)law->name))
    const __m256i low_half = _mm256_set1_epi8(15), one = _mm256_set1_epi8(1);
    /* Octets 8..15 and 16..23 change places, so that unpacking within halves leaves samples in order. */
    __m256i code = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)octets), 0xD8);
    __m256i upper = _mm256_and_si256(_mm256_srli_epi16(code, 4), low_half);
    __m256i power = _mm256_shuffle_epi8(TABLE(power), upper);
    __m256i offset = _mm256_shuffle_epi8(TABLE(offset), upper);
    __m256i t = _mm256_shuffle_epi8(TABLE(t), _mm256_and_si256(code, low_half));
    t = _mm256_sign_epi8(t, _mm256_or_si256(code, one));
    __m256i first = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(power, one), _mm256_unpacklo_epi8(t, offset));
    __m256i second = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(power, one), _mm256_unpackhi_epi8(t, offset));
    first = _mm256_slli_epi16(first, law->shift);
    second = _mm256_slli_epi16(second, law->shift);
    _mm256_storeu_si256((__m256i *)pcm, first);
    _mm256_storeu_si256((__m256i *)(pcm + 16), second);
    if (squares) {
        add_squares_avx2(squares, first);
        add_squares_avx2(squares, second);
    }
#undef TABLE
}

AVX2 INLINE int64_t measured_avx2(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples, const Nibbles *law)
{
    Squares_avx2 squares = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#define BLOCK(from, to) decode_avx2(from, to, law, &squares)
#define LAST(from, to) decode_avx2(from, to, law, NULL)
    DECODE_BLOCKS(32, BLOCK, LAST)
#undef BLOCK
#undef LAST
    const int64_t total = total_avx2(&squares);
    return i < n_samples ? total + (int64_t)squares_of(last_pcm, n_samples - i) : total;
}

AVX2 static int64_t ulaw_measured_avx2(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    return measured_avx2(octets, pcm, n_samples, &ULAW_NIBBLES);
}

AVX2 static int64_t alaw_measured_avx2(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    return measured_avx2(octets, pcm, n_samples, &ALAW_NIBBLES);
}

AVX2 static void ulaw_to_int16_avx2(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
#define BLOCK(from, to) decode_avx2(from, to, &ULAW_NIBBLES, NULL)
    DECODE_BLOCKS(32, BLOCK, BLOCK)
#undef BLOCK
}

AVX2 static void alaw_to_int16_avx2(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
#define BLOCK(from, to) decode_avx2(from, to, &ALAW_NIBBLES, NULL)
    DECODE_BLOCKS(32, BLOCK, BLOCK)
#undef BLOCK
}

/* Two registers hold 128 octets of a table, the lower or the upper ones of the samples of all codes without bit 7;
   with bit 7 a sample has the other sign. */
typedef struct {
    uint8_t lower[128], upper[128];
} Halves;

#define LOWER_ULAW(c) (ULAW_VALUE(c) & 0xFF)
#define UPPER_ULAW(c) ((ULAW_VALUE(c) >> 8) & 0xFF)
#define LOWER_ALAW(c) (ALAW_VALUE(c) & 0xFF)
#define UPPER_ALAW(c) ((ALAW_VALUE(c) >> 8) & 0xFF)
static const Halves ULAW_HALVES __attribute__((aligned(64))) = {
    {TIMES_64(LOWER_ULAW, 0), TIMES_64(LOWER_ULAW, 64)}, {TIMES_64(UPPER_ULAW, 0), TIMES_64(UPPER_ULAW, 64)}};
static const Halves ALAW_HALVES __attribute__((aligned(64))) = {
    {TIMES_64(LOWER_ALAW, 0), TIMES_64(LOWER_ALAW, 64)}, {TIMES_64(UPPER_ALAW, 0), TIMES_64(UPPER_ALAW, 64)}};

AVX512 INLINE int64_t decode_avx512(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples, const Halves *law,
                                    int measured)
{
    const __m512i lower_0 = _mm512_load_si512(law->lower), lower_1 = _mm512_load_si512(law->lower + 64);
    const __m512i upper_0 = _mm512_load_si512(law->upper), upper_1 = _mm512_load_si512(law->upper + 64);
    const __m512i zero = _mm512_setzero_si512();
    /* Eighths of the register, so placed that unpacking within quarters leaves samples in order. */
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512i mixed = zero, upper_squares = zero;         /* as in level.h */
    for (ptrdiff_t i = 0; i < n_samples; i += 64) {
        const ptrdiff_t left = n_samples - i;
        const __mmask64 here = left >= 64 ? ~0ULL : _bzhi_u64(~0ULL, (unsigned)left);
        __m512i code = _mm512_maskz_loadu_epi8(here, octets + i);
        const __mmask64 positive = _mm512_movepi8_mask(code);
        code = _mm512_permutexvar_epi64(order, code);
        const __m512i lower = _mm512_permutex2var_epi8(lower_0, code, lower_1);
        const __m512i upper = _mm512_permutex2var_epi8(upper_0, code, upper_1);
        __m512i first = _mm512_unpacklo_epi8(lower, upper), second = _mm512_unpackhi_epi8(lower, upper);
        first = _mm512_mask_sub_epi16(first, (__mmask32)positive, zero, first);
        second = _mm512_mask_sub_epi16(second, (__mmask32)(positive >> 32), zero, second);
        if (left >= 64) {
            _mm512_storeu_si512(pcm + i, first);
            _mm512_storeu_si512(pcm + i + 32, second);
        } else {
            /* A store under a mask takes its time, most of all one that stores nothing. */
            if (left >= 32)
                _mm512_storeu_si512(pcm + i, first);
            else
                _mm512_mask_storeu_epi16(pcm + i, (__mmask32)here, first);
            if (left > 32)
                _mm512_mask_storeu_epi16(pcm + i + 32, (__mmask32)(here >> 32), second);
            if (measured) {
                first = _mm512_maskz_mov_epi16((__mmask32)here, first);
                second = _mm512_maskz_mov_epi16((__mmask32)(here >> 32), second);
            }
        }
        if (measured) {
            first = _mm512_madd_epi16(first, first);
            second = _mm512_madd_epi16(second, second);
            mixed = _mm512_add_epi64(mixed, _mm512_add_epi64(first, second));
            upper_squares = _mm512_add_epi64(
                upper_squares, _mm512_add_epi64(_mm512_srli_epi64(first, 32), _mm512_srli_epi64(second, 32)));
        }
    }
    if (!measured)
        return 0;
    mixed = _mm512_add_epi64(_mm512_sub_epi64(mixed, _mm512_slli_epi64(upper_squares, 32)), upper_squares);
    return _mm512_reduce_add_epi64(mixed);
}

AVX512 static int64_t ulaw_measured_avx512(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    return decode_avx512(octets, pcm, n_samples, &ULAW_HALVES, 1);
}

AVX512 static int64_t alaw_measured_avx512(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    return decode_avx512(octets, pcm, n_samples, &ALAW_HALVES, 1);
}

AVX512 static void ulaw_to_int16_avx512(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    decode_avx512(octets, pcm, n_samples, &ULAW_HALVES, 0);
}

AVX512 static void alaw_to_int16_avx512(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    decode_avx512(octets, pcm, n_samples, &ALAW_HALVES, 0);
}

#elif defined(GCMEDIA_NEON)

INLINE void decode_neon(const uint8_t *octets, int16_t *pcm, const Nibbles *law)
{
    const int16x8_t shift = vdupq_n_s16((int16_t)law->shift);
    const uint8x16_t code = vld1q_u8(octets), upper = vshrq_n_u8(code, 4);
    const uint8x16_t power = vqtbl1q_u8(vld1q_u8(law->power), upper);
    const int8x16_t offset = vqtbl1q_s8(vld1q_s8(law->offset), upper);
    const int8x16_t minus_t = vqtbl1q_s8(vld1q_s8(law->t), vandq_u8(code, vdupq_n_u8(15)));
    const int8x16_t t = vbslq_s8(vcltzq_s8(vreinterpretq_s8_u8(code)), vnegq_s8(minus_t), minus_t);
    const int16x8_t first = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(power))), vmovl_s8(vget_low_s8(t)));
    const int16x8_t second = vmulq_s16(vreinterpretq_s16_u16(vmovl_high_u8(power)), vmovl_high_s8(t));
    vst1q_s16(pcm, vshlq_s16(vaddw_s8(first, vget_low_s8(offset)), shift));
    vst1q_s16(pcm + 8, vshlq_s16(vaddw_high_s8(second, offset), shift));
}

static void ulaw_to_int16_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
#define BLOCK(from, to) decode_neon(from, to, &ULAW_NIBBLES)
    DECODE_BLOCKS(16, BLOCK, BLOCK)
#undef BLOCK
}

static void alaw_to_int16_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
#define BLOCK(from, to) decode_neon(from, to, &ALAW_NIBBLES)
    DECODE_BLOCKS(16, BLOCK, BLOCK)
#undef BLOCK
}

#else

static const int16_t ULAW_VALUES[256] = {TIMES_256(ULAW_VALUE)};
static const int16_t ALAW_VALUES[256] = {TIMES_256(ALAW_VALUE)};

static void ulaw_to_int16_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    for (ptrdiff_t i = 0; i < n_samples; i++)
        pcm[i] = ULAW_VALUES[octets[i]];
}

static void alaw_to_int16_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    for (ptrdiff_t i = 0; i < n_samples; i++)
        pcm[i] = ALAW_VALUES[octets[i]];
}

#endif

static int64_t ulaw_measured_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    ulaw_to_int16_baseline(octets, pcm, n_samples);
    return sum_of_squares_baseline(pcm, n_samples);
}

static int64_t alaw_measured_baseline(const uint8_t *octets, int16_t *pcm, ptrdiff_t n_samples)
{
    alaw_to_int16_baseline(octets, pcm, n_samples);
    return sum_of_squares_baseline(pcm, n_samples);
}

#endif
