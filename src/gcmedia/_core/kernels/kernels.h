/* One instruction set's kernels.  Counts are of samples, per channel where there are several; no kernel allocates. */

#ifndef GCMEDIA_KERNELS_H
#define GCMEDIA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    GATE_HIDDEN = 24,               /* units of the gate's network */
    GATE_LANES = 8                  /* streams of a group */
};

/* Tables of a transform of real samples, constant once made: see fourier.h. */
typedef struct {
    int size;                       /* samples */
    int half;                       /* complex points */
    int n_columns;                  /* 8, or 1 where the points are no multiple of 64 */
    int n_stages;
    int radices[16];
    float scale;                    /* 1 / size */
    const float *stage_twiddles;    /* pairs, of all stages */
    const float *lane_twiddles;     /* half real parts, then half imaginary ones */
    const float *parting;           /* half cosines, then half sines */
} FourierPlan;

/* What is the same for all gates of a sample rate, constant once made: see spectral.h. */
typedef struct {
    FourierPlan fourier;            /* its size is that of a frame */
    int hop;                        /* samples between frames, even */
    int overlap;                    /* samples by which the outputs of frames overlap, even */
    int n_bins;                     /* size / 2 + 1, and so many more that whole vectors come of it */
    const float *analysis;          /* window, half as high, by 2**-15: even samples, then odd ones */
    const float *synthesis;         /* over the last hop + overlap samples, likewise, by 2**15 / size */
} GateFraming;

typedef struct {
    float warm_power;               /* of a bin: what is louder is no noise at first */
    float most_power;               /* what is louder never is */
    float least_gain;               /* factor */
} GateLevels;

/* One stream; what a hop touches, and nothing else. */
typedef struct {
    int position;                   /* samples taken since the last hop */
    int start;                      /* row of 8 where the newest frame begins, in the usual framing; 0 in others */
    int n_warm;                     /* frames with sound in them so far, until there are enough */
    int n_sounding;                 /* frames with sound in them since the last gap, until there are SPURT_HOPS */
    int n_silent;                   /* frames without any since the last one with some, until there are GAP_HOPS */
    float *even, *odd;              /* half each: the newest frame's samples, as int16 has them */
    float *even_tail, *odd_tail;    /* overlap / 2 each: what the last frame adds to the next output */
    float *even_ready, *odd_ready;  /* hop / 2 each: what goes out next */
    float *noise;                   /* per bin: power taken for noise */
    float *smoothed, *minimum;      /* power, averaged over some hops, and the least of it lately; MINIMUM_BIAS times both */
    float *clean;                   /* power of the last frame's output */
    float *before;                  /* the noise when the sound began */
    float *hidden;                  /* the network's memory */
} GateState;

/* GATE_LANES streams side by side: element i of stream l is at GATE_LANES * i + l of each array. */
typedef struct {
    GateState state;                /* position and start are those of all, the other numbers of none */
    int32_t n_warm[GATE_LANES];
    int32_t n_sounding[GATE_LANES];
    int32_t n_silent[GATE_LANES];
    float *scratch;                 /* GATE_LANES * 4 * (n_bins + 1) floats, of no meaning between calls */
} GateGroup;

typedef struct {
    const char *name;
    void (*ulaw_to_int16)(const uint8_t *, int16_t *, ptrdiff_t);
    void (*alaw_to_int16)(const uint8_t *, int16_t *, ptrdiff_t);
    int64_t (*ulaw_measured)(const uint8_t *, int16_t *, ptrdiff_t);
    int64_t (*alaw_measured)(const uint8_t *, int16_t *, ptrdiff_t);
    void (*int16_to_ulaw)(const int16_t *, uint8_t *, ptrdiff_t);
    void (*int16_to_alaw)(const int16_t *, uint8_t *, ptrdiff_t);
    void (*swap_octets)(const uint8_t *, uint8_t *, ptrdiff_t);
    void (*int16_to_float32)(const int16_t *, float *, ptrdiff_t);
    void (*take_octets)(const uint8_t *, uint8_t *, ptrdiff_t, int, int);
    void (*take_words)(const uint8_t *, uint8_t *, ptrdiff_t, int, int);
    int64_t (*sum_of_squares)(const int16_t *, ptrdiff_t);
    int64_t (*sum_of_magnitudes)(const int16_t *, ptrdiff_t);
    int (*peak_magnitude)(const int16_t *, ptrdiff_t);
    void (*fourier_forward)(const FourierPlan *, const float *, float *, float *);
    void (*fourier_inverse)(const FourierPlan *, const float *, const float *, float *);
    void (*gate_int16)(const GateFraming *, const GateLevels *, GateState *, const int16_t *, int16_t *, ptrdiff_t);
    void (*gate_float32)(const GateFraming *, const GateLevels *, GateState *, const float *, float *, ptrdiff_t);
    void (*gate_group_int16)(const GateFraming *, const GateLevels *, GateGroup *, const void *const *, void *const *,
                             ptrdiff_t);
    void (*gate_group_float32)(const GateFraming *, const GateLevels *, GateGroup *, const void *const *, void *const *,
                               ptrdiff_t);
} Kernels;

#endif
