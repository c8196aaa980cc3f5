/* Linear samples: byte order, float32, one channel out of several. */

#ifndef GCMEDIA_LINEAR_H
#define GCMEDIA_LINEAR_H

#include "isa.h"

/* Turn round the octets of each 16-bit word; either side may begin anywhere. */
INLINE void swap_octets_loop(const uint8_t *from, uint8_t *to, ptrdiff_t n_samples)
{
    for (ptrdiff_t i = 0; i < n_samples; i++) {
        uint16_t word;
        memcpy(&word, from + 2 * i, 2);
        word = (uint16_t)(word << 8 | word >> 8);
        memcpy(to + 2 * i, &word, 2);
    }
}

/* Full scale becomes 1.0; exact. */
INLINE void int16_to_float32_loop(const int16_t *pcm, float *samples, ptrdiff_t n_samples)
{
    for (ptrdiff_t i = 0; i < n_samples; i++)
        samples[i] = (float)pcm[i] * (1.0f / 32768.0f);
}

/* Two channels are the usual case, and a stride that the compiler knows is one that it vectorises.  The last sample
   is taken apart, so that no vector reads beyond it. */
INLINE void take_octets_loop(const uint8_t *interleaved, uint8_t *octets, ptrdiff_t n_samples,
                             int channel, int n_channels)
{
    const ptrdiff_t last = n_samples - 1;
    interleaved += channel;
    if (n_channels == 2)
        for (ptrdiff_t i = 0; i < last; i++)
            octets[i] = interleaved[2 * i];
    else
        for (ptrdiff_t i = 0; i < last; i++)
            octets[i] = interleaved[n_channels * i];
    if (last >= 0)
        octets[last] = interleaved[n_channels * last];
}

INLINE void take_words_loop(const uint8_t *interleaved, uint8_t *words, ptrdiff_t n_samples,
                            int channel, int n_channels)
{
    const ptrdiff_t last = n_samples - 1;
    interleaved += 2 * channel;
    if (n_channels == 2)
        for (ptrdiff_t i = 0; i < last; i++)
            memcpy(words + 2 * i, interleaved + 4 * i, 2);
    else
        for (ptrdiff_t i = 0; i < last; i++)
            memcpy(words + 2 * i, interleaved + 2 * n_channels * i, 2);
    if (last >= 0)
        memcpy(words + 2 * last, interleaved + 2 * n_channels * last, 2);
}

KERNEL(void, swap_octets, (const uint8_t *from, uint8_t *to, ptrdiff_t n_samples), (from, to, n_samples))
KERNEL(void, int16_to_float32, (const int16_t *pcm, float *samples, ptrdiff_t n_samples), (pcm, samples, n_samples))
KERNEL(void, take_octets,
       (const uint8_t *interleaved, uint8_t *octets, ptrdiff_t n_samples, int channel, int n_channels),
       (interleaved, octets, n_samples, channel, n_channels))
KERNEL(void, take_words,
       (const uint8_t *interleaved, uint8_t *words, ptrdiff_t n_samples, int channel, int n_channels),
       (interleaved, words, n_samples, channel, n_channels))

#endif
