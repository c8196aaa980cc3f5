/* Samples to PCMU and PCMA octets, by the decision values of ITU-T G.711 as G.191 has them.

   Segment and mantissa of a companding law are exponent and leading bits of a float: after conversion, bits 26..23
   and 22..19 are what the law sends. */

#ifndef GCMEDIA_ENCODE_H
#define GCMEDIA_ENCODE_H

#include "isa.h"

/* The bits of a float from bit 19 upwards. */
INLINE int32_t leading_bits(int32_t magnitude)
{
    float x = (float)magnitude;
    int32_t bits;
    memcpy(&bits, &x, 4);
    return bits >> 19;
}

INLINE void int16_to_ulaw_loop(const int16_t *pcm, uint8_t *octets, ptrdiff_t n_samples)
{
    for (ptrdiff_t i = 0; i < n_samples; i++) {
        int32_t sign = pcm[i] >> 15;                            /* 0 or -1 */
        int32_t biased = ((pcm[i] ^ sign) >> 2) + 33;           /* segment borders become powers of 2 */
        biased = biased < 8191 ? biased : 8191;
        int32_t code = leading_bits(biased) - ((127 + 5) << 4);
        octets[i] = (uint8_t)((0xFF + (sign & -0x80)) - code);  /* all bits are inverted on the wire */
    }
}

INLINE void int16_to_alaw_loop(const int16_t *pcm, uint8_t *octets, ptrdiff_t n_samples)
{
    for (ptrdiff_t i = 0; i < n_samples; i++) {
        int32_t sign = pcm[i] >> 15;
        int32_t magnitude = (pcm[i] ^ sign) >> 4;
        int32_t linear = (magnitude - 16) >> 31 & 16;           /* segment 0 is segment 1 less 16 */
        int32_t code = leading_bits(magnitude + linear) - linear - ((127 + 3) << 4);
        octets[i] = (uint8_t)((code | (~sign & 0x80)) ^ 0x55);
    }
}

KERNEL(void, int16_to_ulaw, (const int16_t *pcm, uint8_t *octets, ptrdiff_t n_samples), (pcm, octets, n_samples))
KERNEL(void, int16_to_alaw, (const int16_t *pcm, uint8_t *octets, ptrdiff_t n_samples), (pcm, octets, n_samples))

#endif
