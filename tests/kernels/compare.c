/* Compare every set of kernels that this processor has with the portable one, bit by bit.

   All octets are decoded, all samples encoded, all words turned round and scaled; then every kernel gets random and
   extreme samples of every length up to a few blocks, from any address and to any that its type allows, and must write
   nothing beside its output.  Prints how much it has compared, or the first difference, and then ends with 1. */

#include <stdio.h>
#include <stdlib.h>

#include "table.h"

const Kernels *portable_kernels(void);

enum { EVERY_WORD = 65536, LONGEST = 1100, ROOM = 4 * LONGEST + 256, MAX_CHANNELS = 8 };

static uint8_t input[2 * EVERY_WORD + 64];
static long n_compared;

static uint32_t random_word(void)
{
    static uint64_t state = 0x9E3779B97F4A7C15u;    /* xorshift, so that each run is the same */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static void fill_randomly(size_t n_octets)
{
    for (size_t i = 0; i < n_octets; i++)
        input[i] = (uint8_t)random_word();
}

/* The loudest samples and the quietest, which sums and signs go wrong with. */
static void fill_with_extremes(size_t n_octets)
{
    static const int16_t extremes[] = {-32768, 32767, -32767, 0, 1, -1, -32768, -32768};
    for (size_t i = 0; i + 2 <= n_octets; i += 2)
        memcpy(input + i, &extremes[random_word() % 8], 2);
}

static void fail(const Kernels *set, const char *kernel, ptrdiff_t n_samples, ptrdiff_t skip)
{
    printf("%s differs: %s of %td samples, %td octets into the buffer\n", set->name, kernel, n_samples, skip);
    exit(1);
}

/* Run one call with both sets, each on a room of its own, and compare the rooms whole. */
#define COMPARE_OUTPUT(kernel, type, n_octets_out, call)                                      \
    do {                                                                                      \
        static uint8_t ours[ROOM + 8 * EVERY_WORD] __attribute__((aligned(64)));              \
        static uint8_t theirs[ROOM + 8 * EVERY_WORD] __attribute__((aligned(64)));            \
        const size_t whole = (size_t)(n_octets_out) + 192;                                    \
        const size_t at = 64 + sizeof(type) * (size_t)(skip % 32);                            \
        const Kernels *k = set;                                                               \
        type *out = (type *)(void *)(ours + at);                                              \
        memset(ours, 0xA5, whole);                                                            \
        memset(theirs, 0xA5, whole);                                                          \
        k->kernel call;                                                                       \
        k = portable_kernels();                                                               \
        out = (type *)(void *)(theirs + at);                                                  \
        k->kernel call;                                                                       \
        for (size_t i = 0; i < whole; i++)                                                    \
            if (ours[i] != theirs[i] || ((i < at || i >= at + (size_t)(n_octets_out)) && ours[i] != 0xA5)) \
                fail(set, #kernel, n_samples, skip);                                          \
        n_compared++;                                                                         \
    } while (0)

#define COMPARE_SUM(kernel, call)                                                             \
    do {                                                                                      \
        if (set->kernel call != portable_kernels()->kernel call)                              \
            fail(set, #kernel, n_samples, skip);                                              \
        n_compared++;                                                                         \
    } while (0)

/* Kernels of one channel; samples begin at the even address at or below `skip`, octets at `skip`. */
static void compare_plain(const Kernels *set, ptrdiff_t n_samples, ptrdiff_t skip)
{
    const uint8_t *octets = input + skip;
    const int16_t *pcm = (const int16_t *)(const void *)(input + skip / 2 * 2);
    static int16_t scratch[EVERY_WORD];
    COMPARE_OUTPUT(ulaw_to_int16, int16_t, 2 * n_samples, (octets, out, n_samples));
    COMPARE_OUTPUT(alaw_to_int16, int16_t, 2 * n_samples, (octets, out, n_samples));
    COMPARE_OUTPUT(ulaw_measured, int16_t, 2 * n_samples, (octets, out, n_samples));
    COMPARE_OUTPUT(alaw_measured, int16_t, 2 * n_samples, (octets, out, n_samples));
    COMPARE_SUM(ulaw_measured, (octets, scratch, n_samples));
    COMPARE_SUM(alaw_measured, (octets, scratch, n_samples));
    COMPARE_OUTPUT(int16_to_ulaw, uint8_t, n_samples, (pcm, out, n_samples));
    COMPARE_OUTPUT(int16_to_alaw, uint8_t, n_samples, (pcm, out, n_samples));
    COMPARE_OUTPUT(swap_octets, uint8_t, 2 * n_samples, (octets, out, n_samples));
    COMPARE_OUTPUT(int16_to_float32, float, 4 * n_samples, (pcm, out, n_samples));
    COMPARE_SUM(sum_of_squares, (pcm, n_samples));
    COMPARE_SUM(sum_of_magnitudes, (pcm, n_samples));
    COMPARE_SUM(peak_magnitude, (pcm, n_samples));
}

static void compare_channels(const Kernels *set, ptrdiff_t n_samples, ptrdiff_t skip)
{
    for (int n_channels = 1; n_channels <= MAX_CHANNELS; n_channels++)
        for (int channel = 0; channel < n_channels; channel++) {
            COMPARE_OUTPUT(take_octets, uint8_t, n_samples, (input + skip, out, n_samples, channel, n_channels));
            COMPARE_OUTPUT(take_words, uint8_t, 2 * n_samples, (input + skip, out, n_samples, channel, n_channels));
        }
}

static void compare(const Kernels *set)
{
    for (int word = 0; word < EVERY_WORD; word++) {
        const uint16_t value = (uint16_t)word;
        memcpy(input + 2 * word, &value, 2);
    }
    compare_plain(set, EVERY_WORD, 0);      /* every sample, and every pair of octets */
    for (int fill = 0; fill < 2; fill++) {
        for (ptrdiff_t n_samples = 0; n_samples <= LONGEST; n_samples += n_samples < 300 ? 1 : 37) {
            (fill ? fill_with_extremes : fill_randomly)(sizeof input);
            for (ptrdiff_t skip = 0; skip < 64; skip += n_samples < 140 ? 1 : 13)
                compare_plain(set, n_samples, skip);
            if (n_samples < 140)
                compare_channels(set, n_samples, n_samples % 64);
        }
        compare_plain(set, EVERY_WORD, 0);
    }
    memset(input, 0x80, sizeof input);      /* the loudest sums: 0x8080, then -32768 alone */
    compare_plain(set, EVERY_WORD, 0);
    for (size_t i = 0; i < sizeof input; i += 2)
        input[i] = 0;
    compare_plain(set, EVERY_WORD, 0);
}

int main(void)
{
    for (int i = 0; i < N_KERNEL_SETS; i++)
        if (has_kernel_set(i)) {
            n_compared = 0;
            compare(&KERNEL_SETS[i]);
            printf("%s%s: %ld results equal to those of the portable kernels\n", KERNEL_SETS[i].name,
#if defined(GCMEDIA_NEON)
                   " (NEON)",
#elif defined(GCMEDIA_X86)
                   i == 0 ? " (SSE2)" : "",
#else
                   " (portable itself)",
#endif
                   n_compared);
        }
    return 0;
}
