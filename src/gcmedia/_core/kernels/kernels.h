/* One instruction set's kernels.  Counts are of samples, per channel where there are several; no kernel allocates. */

#ifndef GCMEDIA_KERNELS_H
#define GCMEDIA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

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
} Kernels;

#endif
