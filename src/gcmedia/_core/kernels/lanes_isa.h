/* Some floats at a time: as many as the instruction set has in a register.  Included once for each set.

   Additions, multiplications and divisions are IEEE 754's, fused where it is written and nowhere else, and minimum and
   maximum are `a < b ? a : b`, so every set of kernels gives the same bits, however wide. */

#ifdef ISA

typedef float K(Lanes) __attribute__((vector_size(4 * LANES)));
typedef int32_t K(Ints) __attribute__((vector_size(4 * LANES)));
typedef float K(LanesAt) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t K(IntsAt) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define Lanes K(Lanes)
#define Ints K(Ints)

#define LOAD(at) ((Lanes)*(const K(LanesAt) *)(at))
#define LOAD_INTS(at) ((Ints)*(const K(IntsAt) *)(at))
#define STORE(at, x) (*(K(LanesAt) *)(at) = (K(LanesAt))(x))
#define STORE_INTS(at, x) (*(K(IntsAt) *)(at) = (K(IntsAt))(x))
#define EACH(x) K(each)(x)
#define EACH_INT(x) ((Ints){0} + (x))

#if LANES == 16
TARGET INLINE Lanes K(each)(float x) { return (Lanes)_mm512_set1_ps(x); }
#elif LANES == 8
TARGET INLINE Lanes K(each)(float x) { return (Lanes){x, x, x, x, x, x, x, x}; }
#else
TARGET INLINE Lanes K(each)(float x) { return (Lanes){x, x, x, x}; }
#endif

/* a * b + c, a * b - c and c - a * b, rounded once. */
#if LANES == 16
TARGET INLINE Lanes K(fused_add)(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
TARGET INLINE Lanes K(fused_sub)(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm512_fmsub_ps((__m512)a, (__m512)b, (__m512)c); }
TARGET INLINE Lanes K(fused_from)(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#elif LANES == 8
TARGET INLINE Lanes K(fused_add)(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
TARGET INLINE Lanes K(fused_sub)(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm256_fmsub_ps((__m256)a, (__m256)b, (__m256)c); }
TARGET INLINE Lanes K(fused_from)(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#else
#if defined(GCMEDIA_X86)
/* A call, for it is long. */
static __attribute__((noinline, unused)) Lanes K(fused_add)(Lanes a, Lanes b, Lanes c)
{
    const __m128 x = (__m128)a, y = (__m128)b, z = (__m128)c;
    const __m128d low = fused_halves(_mm_cvtps_pd(x), _mm_cvtps_pd(y), _mm_cvtps_pd(z));
    const __m128d high = fused_halves(_mm_cvtps_pd(_mm_movehl_ps(x, x)), _mm_cvtps_pd(_mm_movehl_ps(y, y)),
                                      _mm_cvtps_pd(_mm_movehl_ps(z, z)));
    return (Lanes)_mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
#elif defined(GCMEDIA_NEON)
TARGET INLINE Lanes K(fused_add)(Lanes a, Lanes b, Lanes c)
{
    return (Lanes)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#else
TARGET INLINE Lanes K(fused_add)(Lanes a, Lanes b, Lanes c)
{
    return (Lanes){fused_one(a[0], b[0], c[0]), fused_one(a[1], b[1], c[1]), fused_one(a[2], b[2], c[2]),
                   fused_one(a[3], b[3], c[3])};
}
#endif
TARGET INLINE Lanes K(fused_sub)(Lanes a, Lanes b, Lanes c) { return K(fused_add)(a, b, -c); }
TARGET INLINE Lanes K(fused_from)(Lanes a, Lanes b, Lanes c) { return K(fused_add)(-a, b, c); }
#endif
#define fused_add K(fused_add)
#define fused_sub K(fused_sub)
#define fused_from K(fused_from)

#if LANES != 16                     /* the widest are for plain loops only */
#if LANES == 8
TARGET INLINE Lanes K(least_of)(Lanes a, Lanes b) { return (Lanes)_mm256_min_ps((__m256)a, (__m256)b); }
TARGET INLINE Lanes K(most_of)(Lanes a, Lanes b) { return (Lanes)_mm256_max_ps((__m256)a, (__m256)b); }
TARGET INLINE Lanes K(mirrored)(Lanes x)
{
    return (Lanes)_mm256_permutevar8x32_ps((__m256)x, _mm256_setr_epi32(0, 7, 6, 5, 4, 3, 2, 1));
}
TARGET INLINE Lanes K(begun_with)(Lanes x, Lanes first) { return (Lanes)_mm256_blend_ps((__m256)x, (__m256)first, 1); }
TARGET INLINE Lanes K(sum_of_8)(const Lanes *x)
{
    const __m256 twos = _mm256_add_ps((__m256)*x, _mm256_permute_ps((__m256)*x, 0xB1));
    const __m256 fours = _mm256_add_ps(twos, _mm256_permute_ps(twos, 0x4E));
    return (Lanes)_mm256_add_ps(fours, _mm256_permute2f128_ps(fours, fours, 1));
}
#elif defined(GCMEDIA_X86)
TARGET INLINE Lanes K(least_of)(Lanes a, Lanes b) { return (Lanes)_mm_min_ps((__m128)a, (__m128)b); }
TARGET INLINE Lanes K(most_of)(Lanes a, Lanes b) { return (Lanes)_mm_max_ps((__m128)a, (__m128)b); }
TARGET INLINE Lanes K(mirrored)(Lanes x) { return (Lanes)_mm_shuffle_ps((__m128)x, (__m128)x, 0x6C); }
TARGET INLINE Lanes K(begun_with)(Lanes x, Lanes first) { return (Lanes)_mm_move_ss((__m128)x, (__m128)first); }
#else
TARGET INLINE Lanes K(select)(Ints mask, Lanes a, Lanes b) { return (Lanes)((mask & (Ints)a) | (~mask & (Ints)b)); }
TARGET INLINE Lanes K(least_of)(Lanes a, Lanes b) { return K(select)(a < b, a, b); }
TARGET INLINE Lanes K(most_of)(Lanes a, Lanes b) { return K(select)(a > b, a, b); }
TARGET INLINE Lanes K(mirrored)(Lanes x) { return (Lanes){x[0], x[3], x[2], x[1]}; }
TARGET INLINE Lanes K(begun_with)(Lanes x, Lanes first) { return (Lanes){first[0], x[1], x[2], x[3]}; }
#endif
#endif

#if LANES == 16
TARGET INLINE Lanes K(begun_with)(Lanes x, Lanes first) { return (Lanes)_mm512_mask_mov_ps((__m512)x, 1, (__m512)first); }
#endif
#define begun_with K(begun_with)    /* lane 0 of another */

/* The same where neither is less than 0, or one of them is 0: as whole numbers, which other parts of the processor do. */
#if LANES == 16
TARGET INLINE Lanes K(lesser_of)(Lanes a, Lanes b) { return (Lanes)_mm512_min_epi32((__m512i)a, (__m512i)b); }
TARGET INLINE Lanes K(greater_of)(Lanes a, Lanes b) { return (Lanes)_mm512_max_epi32((__m512i)a, (__m512i)b); }
#elif LANES == 8
TARGET INLINE Lanes K(lesser_of)(Lanes a, Lanes b) { return (Lanes)_mm256_min_epi32((__m256i)a, (__m256i)b); }
TARGET INLINE Lanes K(greater_of)(Lanes a, Lanes b) { return (Lanes)_mm256_max_epi32((__m256i)a, (__m256i)b); }
#else
TARGET INLINE Lanes K(lesser_of)(Lanes a, Lanes b) { return K(least_of)(a, b); }
TARGET INLINE Lanes K(greater_of)(Lanes a, Lanes b) { return K(most_of)(a, b); }
#endif
#define lesser_of K(lesser_of)
#define greater_of K(greater_of)

#if LANES != 16
#define least_of K(least_of)
#define most_of K(most_of)
#define mirrored K(mirrored)        /* lane 0 stays, the others are in reverse */
#if LANES == 4
TARGET INLINE Lanes K(sum_of_8)(const Lanes *x) { return EACH(sum8((const float *)x)); }
#endif
#ifdef GCMEDIA_X86
#if LANES == 8
TARGET INLINE int K(any_over)(Lanes a, Lanes b) { return _mm256_movemask_ps((__m256)(a > b)) != 0; }
#else
TARGET INLINE int K(any_over)(Lanes a, Lanes b) { return _mm_movemask_ps((__m128)(a > b)) != 0; }
#endif
#else
TARGET INLINE int K(any_over)(Lanes a, Lanes b) { return a[0] > b[0] || a[1] > b[1] || a[2] > b[2] || a[3] > b[3]; }
#endif
#define any_over K(any_over)        /* whether a > b in any lane */
#define sum_of_8 K(sum_of_8)        /* of 8 lanes, by pairs, in every lane */

TARGET INLINE Ints K(nearest)(Lanes x) { return (Ints)(x + EACH(ROUNDER)) - EACH_INT(0x4B400000); }

/* Rows of LANES x 8 numbers become 8 vectors, one for each column. */
#if LANES == 8
TARGET INLINE void K(transpose)(Lanes (*rows)[1], Lanes *columns)
{
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps((__m256)rows[i][0], (__m256)rows[i + 1][0]);
        a[i + 1] = _mm256_unpackhi_ps((__m256)rows[i][0], (__m256)rows[i + 1][0]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
            b[i + 2 * j + 1] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0xEE);
        }
    for (int j = 0; j < 4; j++) {
        columns[j] = (Lanes)_mm256_permute2f128_ps(b[j], b[j + 4], 0x20);
        columns[j + 4] = (Lanes)_mm256_permute2f128_ps(b[j], b[j + 4], 0x31);
    }
}
#else
TARGET INLINE void K(transpose)(Lanes (*rows)[2], Lanes *columns)
{
    for (int side = 0; side < 2; side++) {
#ifdef GCMEDIA_X86
        __m128 a = (__m128)rows[0][side], b = (__m128)rows[1][side];
        __m128 c = (__m128)rows[2][side], d = (__m128)rows[3][side];
        _MM_TRANSPOSE4_PS(a, b, c, d);
        columns[4 * side] = (Lanes)a;
        columns[4 * side + 1] = (Lanes)b;
        columns[4 * side + 2] = (Lanes)c;
        columns[4 * side + 3] = (Lanes)d;
#else
        for (int i = 0; i < 4; i++)
            columns[4 * side + i] = (Lanes){rows[0][side][i], rows[1][side][i], rows[2][side][i], rows[3][side][i]};
#endif
    }
}
#endif
#define transpose K(transpose)

/* Undo it. */
#if LANES == 8
#define transpose_back(columns, rows) transpose((Lanes (*)[1])(columns), (Lanes *)(rows))
#else
TARGET INLINE void K(transpose_back)(const Lanes *columns, Lanes (*rows)[2])
{
    for (int side = 0; side < 2; side++) {
        Lanes part[8];
        Lanes four[4][2];
        for (int i = 0; i < 4; i++)
            four[i][0] = four[i][1] = columns[4 * side + i];
        transpose(four, part);
        for (int i = 0; i < 4; i++)
            rows[i][side] = part[i];
    }
}
#define transpose_back K(transpose_back)
#endif
#endif

#endif
