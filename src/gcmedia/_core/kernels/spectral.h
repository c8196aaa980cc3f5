/* Fourier transform and spectral gate for each instruction set: the same code, vectors of another width. */

#ifndef GCMEDIA_SPECTRAL_H
#define GCMEDIA_SPECTRAL_H

#include "isa.h"
#include "kernels.h"
#include "network.h"

enum {
    PARTIAL_HOPS = 3,           /* frames that begin before the stream does */
    WARM_HOPS = 8,              /* all sound is taken for noise at first */
    GAP_HOPS = 3,               /* frames of digital silence that are a gap; fewer may be a lost packet */
    SPURT_HOPS = 56,            /* a second: sound that ends in a gap before that is none of the line's noise */
    N_BANDS = 20,               /* 8 of 2 bins, 4 each of 4, of 8 and of 16; what is beyond belongs to the last */
    BAND_BINS = 128,
    USUAL_HOP = 144,            /* samples between frames of 256, of 8 kHz, and by how much their outputs overlap: */
    USUAL_OVERLAP = 16,         /* whole rows of 8 of either half of the samples */
    HOP_ROWS = USUAL_HOP / 16,
    FIRST_ROW = 16 - (USUAL_HOP + USUAL_OVERLAP) / 16,          /* that is put out */
    N_OUT = 64                  /* 20 of each kind, and 4 that are not used */
};

/* How noise is followed, by hop; the network has learned with these. */
#define MINIMUM_RISE 1.0508f    /* what the least power may rise by: 12 dB a second */

#define TINY_POWER 1e-12f       /* power under which nothing is heard, or divided by */
#define UNIT (1.0f / 32768.0f)
#define ROUNDER 12582912.0f     /* 1.5 * 2**23: what is added to it becomes a whole number */
#define LOUDEST 256.0f          /* float32 input is held within, 48 dB over full scale */

enum { MAX_FOURIER = 4096, MAX_POINTS = MAX_FOURIER / 2 + 16 };

#define SIN_60 0.8660254037844386f
#define COS_72 0.30901699437494742f
#define COS_144 -0.80901699437494742f
#define SIN_72 0.95105651629515357f
#define SIN_144 0.58778525229247313f
#define SIN_45 0.70710678118654752f

#define GET_point(at) (*(at))
#define PUT_point(at, x) (*(at) = (x))
#define FUSED_point(x, factor, y) fused_one(x, factor, y)

/* a * b + c, rounded once: an instruction where there is one, and the library's function where not. */
INLINE float fused_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

#ifdef GCMEDIA_X86
/* The same without such an instruction, of floats in doubles, where a * b is exact; the sum is rounded to odd, which keeps
   what the second rounding, to float, must know (S. Boldo and G. Melquiond, Emulation of FMA and correctly rounded sums:
   proved algorithms using rounding to odd, IEEE Trans. Computers 57(4), 2008). */
INLINE __m128d fused_to_odd(__m128d product, __m128d c)
{
    const __m128d sum = _mm_add_pd(product, c), part = _mm_sub_pd(sum, product);
    const __m128d rest = _mm_add_pd(_mm_sub_pd(product, _mm_sub_pd(sum, part)), _mm_sub_pd(c, part));
    const __m128i inexact = _mm_castpd_si128(_mm_cmpneq_pd(rest, _mm_setzero_pd()));
    const __m128i signs = _mm_srai_epi32(_mm_castpd_si128(_mm_xor_pd(sum, rest)), 31);
    const __m128i too_far = _mm_and_si128(inexact, _mm_shuffle_epi32(signs, 0xF5));        /* -1 where it was rounded up */
    const __m128i towards_0 = _mm_add_epi64(_mm_castpd_si128(sum), too_far);
    return _mm_castsi128_pd(_mm_or_si128(towards_0, _mm_srli_epi64(inexact, 63)));
}

/* Rounding twice to nearest does as well, but where the first sum lies right between two floats, or they are denormal.
   A call, for it is long. */
static __attribute__((noinline, unused)) __m128 fused_four(__m128 a, __m128 b, __m128 c)
{
    const __m128d low = _mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), low_c = _mm_cvtps_pd(c);
    const __m128d high = _mm_mul_pd(_mm_cvtps_pd(_mm_movehl_ps(a, a)), _mm_cvtps_pd(_mm_movehl_ps(b, b)));
    const __m128d high_c = _mm_cvtps_pd(_mm_movehl_ps(c, c)), sum = _mm_add_pd(low, low_c), high_sum = _mm_add_pd(high, high_c);
    const __m128 rounded = _mm_movelh_ps(_mm_cvtpd_ps(sum), _mm_cvtpd_ps(high_sum));
    const __m128i ends = _mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(sum), _mm_castpd_ps(high_sum), 0x88));
    const __m128i between = _mm_cmpeq_epi32(_mm_and_si128(ends, _mm_set1_epi32(0x1FFFFFFF)), _mm_set1_epi32(0x10000000));
    const __m128i size = _mm_and_si128(_mm_castps_si128(rounded), _mm_set1_epi32(0x7FFFFFFF));
    const __m128i denormal = _mm_cmplt_epi32(size, _mm_set1_epi32(0x00800000));
    if (_mm_movemask_epi8(_mm_or_si128(between, denormal)) == 0)
        return rounded;
    return _mm_movelh_ps(_mm_cvtpd_ps(fused_to_odd(low, low_c)), _mm_cvtpd_ps(fused_to_odd(high, high_c)));
}
#endif

INLINE float sum4(const float *x) { return (x[0] + x[1]) + (x[2] + x[3]); }
INLINE float sum8(const float *x) { return sum4(x) + sum4(x + 4); }

/* Nearest int16, ties to even, saturated. */
INLINE int16_t to_int16(float x)
{
    x = x < 32767.0f ? x : 32767.0f;
    x = x > -32768.0f ? x : -32768.0f;
    return (int16_t)(int32_t)((x + ROUNDER) - ROUNDER);
}

/* x within the range in which powers are finite; 0 for what is no number. */
INLINE float held(float x)
{
    x = x == x ? x : 0.0f;
    x = x < LOUDEST ? x : LOUDEST;
    return x > -LOUDEST ? x : -LOUDEST;
}

/* A frame that is worked on. */
typedef struct {
    GateState *state;
    float *re, *im;                 /* n_bins each: the spectrum */
    float *power;                   /* of each bin; later its gain */
    float *excess;                  /* power over that of the noise; room for a vector on both sides */
    int sounds;                     /* it is not digital silence */
    int loud;                       /* some of it is louder than noise can be */
    float over[N_OUT + 8];          /* bands over the noise, as the network hears them, for each kind of weights */
    float weights[N_OUT];           /* what the network says */
    uint8_t heard[2 * N_BANDS + 8]; /* what goes into the network */
    uint8_t kept[GATE_HIDDEN];
} GateFrame;

/* That of 8 kHz: its tables, and sizes that are constants. */
INLINE GateFraming usual_framing(const GateFraming *framing)
{
    GateFraming usual = {.hop = USUAL_HOP, .overlap = USUAL_OVERLAP, .n_bins = 136};
    usual.fourier.size = 256;
    usual.fourier.half = 128;
    usual.fourier.n_columns = 8;
    usual.fourier.n_stages = 2;
    usual.fourier.stage_twiddles = framing->fourier.stage_twiddles;
    usual.fourier.lane_twiddles = framing->fourier.lane_twiddles;
    usual.fourier.parting = framing->fourier.parting;
    usual.analysis = framing->analysis;
    usual.synthesis = framing->synthesis;
    return usual;
}

INLINE int is_usual(const GateFraming *framing)
{
    return framing->fourier.half == 128 && framing->hop == USUAL_HOP && framing->overlap == USUAL_OVERLAP &&
           framing->n_bins == 136;
}

enum { FRAME_ROOM = 4 * (MAX_POINTS + 16) };

/* Arrays of a frame lie apart by what vectors may write beyond them. */
INLINE void lay_out_frame(GateFrame *frame, GateState *state, float *room, int n_bins)
{
    frame->state = state;
    frame->re = room;
    frame->im = room + n_bins + 8;
    frame->power = room + 2 * (n_bins + 8);
    frame->excess = room + 3 * (n_bins + 8) + 8;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"    /* such vectors are passed to inlined functions only */
#endif

#define JOINED(a, b) a##_##b
#define NAMED(a, b) JOINED(a, b)
#define K(name) NAMED(name, ISA)

/* The band of each bin. */
#define TWICE(b) b, b
#define FOUR(b) TWICE(b), TWICE(b)
#define EIGHT(b) FOUR(b), FOUR(b)
#define SIXTEEN(b) EIGHT(b), EIGHT(b)
static const int32_t BAND_OF[BAND_BINS] __attribute__((aligned(64))) = {
    TWICE(0), TWICE(1), TWICE(2), TWICE(3), TWICE(4), TWICE(5), TWICE(6), TWICE(7), FOUR(8), FOUR(9), FOUR(10), FOUR(11),
    EIGHT(12), EIGHT(13), EIGHT(14), EIGHT(15), SIXTEEN(16), SIXTEEN(17), SIXTEEN(18), SIXTEEN(19),
};

/* Whether there is such a band, as a mask. */
static const int32_t IS_BAND[24] __attribute__((aligned(64))) = {
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0,
};

/* Where the bank's transform of 128 points leaves bin k; the last one is no point. */
#define EVERY_8(i) (i), (i) + 8, (i) + 16, (i) + 24
#define COLUMN(i) EVERY_8(i), EVERY_8((i) + 32), EVERY_8((i) + 64), EVERY_8((i) + 96)
static const uint8_t PLACES[129] = {
    COLUMN(0), COLUMN(1), COLUMN(2), COLUMN(3), COLUMN(4), COLUMN(5), COLUMN(6), COLUMN(7), 128,
};

/* The widest vectors of a set, for what is done bin by bin: its own, but for AVX-512. */
#define WIDEST(name) K(name)
#define WIDEST_LANES LANES

#define ISA baseline
#define LANES 4
#define TARGET
#include "lanes_isa.h"
#include "fourier_isa.h"
#include "network_isa.h"
#include "bins_isa.h"
#include "spectral_isa.h"
#include "gate_bank_isa.h"
#include "lanes_end.h"

#ifdef GCMEDIA_X86
#define ISA avx2
#define LANES 8
#define TARGET AVX2
#include "lanes_isa.h"
#include "fourier_isa.h"
#include "network_isa.h"
#include "bins_isa.h"
#include "spectral_isa.h"
#include "gate_bank_isa.h"
#include "lanes_end.h"

#define ISA avx512_wide
#define LANES 16
#define TARGET AVX512
#include "lanes_isa.h"
#include "bins_isa.h"
#include "lanes_end.h"

#undef WIDEST
#undef WIDEST_LANES
#define WIDEST(name) name##_avx512_wide
#define WIDEST_LANES 16

#define ISA avx512
#define LANES 8
#define HAS_VNNI
#define TARGET AVX512
#include "lanes_isa.h"
#include "fourier_isa.h"
#include "network_isa.h"
#include "bins_isa.h"
#include "spectral_isa.h"
#include "gate_bank_isa.h"
#include "lanes_end.h"
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
