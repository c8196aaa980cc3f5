/* Compare every set of kernels that this processor has with the portable one, bit by bit.

   All octets are decoded, all samples encoded, all words turned round and scaled; then every kernel gets random and
   extreme samples of every length up to a few blocks, from any address and to any that its type allows, and must write
   nothing beside its output.  Fused sums, transforms of many sizes and gates of several framings follow, alone and side
   by side, fed in pieces of odd lengths.  Prints how much it has compared, or the first difference, and then ends with
   1. */

#include <stdio.h>
#include <stdlib.h>

#include "framings.h"
#include "table.h"

const Kernels *portable_kernels(void);

enum { EVERY_WORD = 65536, LONGEST = 1100, ROOM = 4 * LONGEST + 256, MAX_CHANNELS = 8, UNTOUCHED = 0xA5 };

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
    for (size_t i = 0; i + 4 <= n_octets; i += 4) {
        const uint32_t word = random_word();
        memcpy(input + i, &word, 4);
    }
}

/* The loudest samples and the quietest, which sums and signs go wrong with. */
static void fill_with_extremes(size_t n_octets)
{
    static const int16_t extremes[] = {-32768, 32767, -32767, 0, 1, -1, -32768, -32768};
    for (size_t i = 0; i + 2 <= n_octets; i += 2)
        memcpy(input + i, &extremes[random_word() % 8], 2);
}

static int is_untouched(const uint8_t *octets, size_t n_octets)
{
    for (size_t i = 0; i < n_octets; i++)
        if (octets[i] != UNTOUCHED)
            return 0;
    return 1;
}

static void fail(const Kernels *set, const char *kernel, ptrdiff_t n_samples, ptrdiff_t skip)
{
    printf("%s differs: %s of %td samples, %td octets into the buffer\n", set->name, kernel, n_samples, skip);
    exit(1);
}

/* Run one call with both sets, each on a room of its own, and compare the rooms whole, what lies beside the output too. */
#define COMPARE_OUTPUT(kernel, type, n_octets_out, call)                                      \
    do {                                                                                      \
        static uint8_t ours[ROOM + 8 * EVERY_WORD] __attribute__((aligned(64)));              \
        static uint8_t theirs[ROOM + 8 * EVERY_WORD] __attribute__((aligned(64)));            \
        const size_t n_out = (size_t)(n_octets_out), whole = n_out + 192;                     \
        const size_t at = 64 + sizeof(type) * (size_t)(skip % 32);                            \
        const Kernels *k = set;                                                               \
        type *out = (type *)(void *)(ours + at);                                              \
        memset(ours, UNTOUCHED, whole);                                                       \
        memset(theirs, UNTOUCHED, whole);                                                     \
        k->kernel call;                                                                       \
        k = portable_kernels();                                                               \
        out = (type *)(void *)(theirs + at);                                                  \
        k->kernel call;                                                                       \
        if (memcmp(ours, theirs, whole) || !is_untouched(ours, at)                            \
                || !is_untouched(ours + at + n_out, whole - at - n_out))                      \
            fail(set, #kernel, n_samples, skip);                                              \
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

/* Transforms there and back: of noise, of the loudest samples, and of one impulse. */
static void compare_transforms(const Kernels *set)
{
    static const int sizes[] = {2,   4,   6,   8,   10,  20,  32,  60,  64,  128,  160,  162,
                                240, 250, 256, 320, 360, 480, 512, 768, 1024, 3072, 4096};
    static float x[4096], re[2][2064], im[2][2064], y[2][4096];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        FourierPlan plan;
        const int n_samples = sizes[i], skip = 0;
        const size_t bins = (size_t)(n_samples / 2 + 1) * sizeof(float);
        plan_fourier(&plan, n_samples);
        for (int kind = 0; kind < 3; kind++) {
            for (int n = 0; n < n_samples; n++) {
                const float noise = (float)(int32_t)random_word() * 0x1p-31f;
                x[n] = kind == 0 ? noise : kind == 1 ? (noise < 0.0f ? -1.0f : 1.0f) : n == 1;
            }
            for (int ours = 0; ours < 2; ours++) {
                const Kernels *k = ours ? set : portable_kernels();
                k->fourier_forward(&plan, x, re[ours], im[ours]);
                k->fourier_inverse(&plan, re[ours], im[ours], y[ours]);
            }
            if (memcmp(re[0], re[1], bins) || memcmp(im[0], im[1], bins))
                fail(set, "fourier_forward", n_samples, skip);
            if (memcmp(y[0], y[1], (size_t)n_samples * sizeof(float)))
                fail(set, "fourier_inverse", n_samples, skip);
            n_compared += 2;
        }
        forget_plan(&plan);
    }
}

/* A float of some bits, the last of which is 1, and an exponent. */
static float float_of(int n_bits, int exponent)
{
    const uint32_t bits = random_word() >> (32 - n_bits) | 1u | 1u << (n_bits - 1);
    return ldexpf((random_word() & 1 ? -1.0f : 1.0f) * (float)bits, exponent);
}

/* Products and sums that are rounded once, where that is not one instruction: any; those that cancel out; those that a
   little more or less moves off the middle between two floats; and denormal ones. */
static void compare_fused(const Kernels *set)
{
    for (int i = 0; i < 400000; i++) {
        const int kind = i % 4, first = 1 + (int)(random_word() % 24);
        float x[3][4], wanted[4];
        Lanes_baseline lanes[3], got;
        for (int l = 0; l < 4; l++) {
            const int n = kind == 2 ? first : 24, m = kind == 2 ? 25 - first + (int)(random_word() % 2) : 24;
            x[0][l] = float_of(n, (int)(random_word() % 20) - 10);
            x[1][l] = float_of(m > 24 ? 24 : m, (int)(random_word() % 20) - 10);
            x[2][l] = kind == 1 ? -(x[0][l] * x[1][l]) : float_of(24, (int)(random_word() % 40) - 20);
            if (kind == 2)
                x[2][l] = float_of(1, -70 - (int)(random_word() % 40));
            else if (kind == 3) {
                x[0][l] = (1.0f + 0x1p-23f) * 0x1p-75f;
                x[1][l] = (1.0f - 0x1p-23f) * (l % 2 ? 0x1p-75f : -0x1p-75f);
                x[2][l] = float_of(first < 22 ? first : 22, -149);
            }
            wanted[l] = fmaf(x[0][l], x[1][l], x[2][l]);
        }
        memcpy(lanes, x, sizeof lanes);
        got = fused_add_baseline(lanes[0], lanes[1], lanes[2]);
        if (memcmp(&got, wanted, sizeof got))
            fail(set, "fused_add", kind, 0);
        n_compared++;
    }
}

enum { N_STREAMS = GATE_LANES, STREAM = 6000 };

/* Streams of all sorts: noise that comes and goes at many levels, silence, full scale, direct current. */
static void make_streams(int16_t (*streams)[STREAM])
{
    for (int l = 0; l < N_STREAMS; l++)
        for (int n = 0; n < STREAM; n++) {
            const int64_t noise = (int16_t)random_word(), level = 4 << (l < 5 ? l * 2 : 8);
            const int loud = n / (300 + 60 * l) % 3 == 0;
            streams[l][n] = (int16_t)(noise * level * (loud ? 4 : 1) / (1 << 18));
            if (l == 5)
                streams[l][n] = n < 2500 || n > 4000 ? 0 : (int16_t)noise;
            else if (l == 6)
                streams[l][n] = random_word() & 1 ? 32767 : -32768;
            else if (l == 7)
                streams[l][n] = 12345;
        }
}

/* One gate of the portable kernels for each stream says what all must give: single gates of the set, and its group. */
static void compare_gates(const Kernels *set)
{
    static const int framings[][3] = {{256, 144, 16}, {256, 72, 8}, {128, 64, 16},    {360, 176, 44},
                                      {512, 256, 64}, {162, 60, 20}, {2048, 768, 192}};
    static const GateLevels levels = {.warm_power = 0.5f, .most_power = 50.0f, .least_gain = 0.1f};
    static int16_t in[N_STREAMS][STREAM], expected[N_STREAMS][STREAM], out[N_STREAMS][STREAM], side[N_STREAMS][STREAM];
    static float floats[N_STREAMS][STREAM], wanted[N_STREAMS][STREAM], got[N_STREAMS][STREAM], beside[N_STREAMS][STREAM];
    for (size_t i = 0; i < sizeof framings / sizeof *framings; i++) {
        const ptrdiff_t n_samples = framings[i][0], skip = 0;
        GateFraming framing;
        GateGroup groups[2] = {{.scratch = NULL}, {.scratch = NULL}};
        GateState states[4];
        frame_gate(&framing, framings[i][0], framings[i][1], framings[i][2]);
        for (int g = 0; g < 2; g++) {
            begin_gate(&groups[g].state, &framing, GATE_LANES);
            groups[g].scratch = zeros((size_t)GATE_LANES * 4 * ((size_t)framing.n_bins + 1));
        }
        make_streams(in);
        for (int l = 0; l < N_STREAMS; l++) {
            for (int n = 0; n < STREAM; n++)
                floats[l][n] = (float)in[l][n] * 3.1e-5f;
            floats[l][3333] = l % 2 ? 1e30f : NAN;
            for (int k = 0; k < 4; k++)
                begin_gate(&states[k], &framing, 1);
            for (ptrdiff_t at = 0, n; at < STREAM; at += n) {
                n = random_word() % 400;
                n = n < STREAM - at ? n : STREAM - at;
                set->gate_int16(&framing, &levels, &states[1], in[l] + at, out[l] + at, n);
                set->gate_float32(&framing, &levels, &states[3], floats[l] + at, got[l] + at, n);
            }
            portable_kernels()->gate_int16(&framing, &levels, &states[0], in[l], expected[l], STREAM);
            portable_kernels()->gate_float32(&framing, &levels, &states[2], floats[l], wanted[l], STREAM);
            for (int k = 0; k < 4; k++)
                free(states[k].noise);
        }
        if (memcmp(out, expected, sizeof out))
            fail(set, "gate_int16", n_samples, skip);
        if (memcmp(got, wanted, sizeof got))
            fail(set, "gate_float32", n_samples, skip);
        for (ptrdiff_t at = 0, n; at < STREAM; at += n) {
            const void *src[GATE_LANES];
            void *dst[GATE_LANES];
            n = random_word() % 400;
            n = n < STREAM - at ? n : STREAM - at;
            for (int l = 0; l < GATE_LANES; l++) {
                src[l] = in[l] + at;
                dst[l] = side[l] + at;
            }
            set->gate_group_int16(&framing, &levels, &groups[0], src, dst, n);
            for (int l = 0; l < GATE_LANES; l++) {
                src[l] = floats[l] + at;
                dst[l] = beside[l] + at;
            }
            set->gate_group_float32(&framing, &levels, &groups[1], src, dst, n);
        }
        if (memcmp(side, expected, sizeof side))
            fail(set, "gate_group_int16", n_samples, skip);
        if (memcmp(beside, wanted, sizeof beside))
            fail(set, "gate_group_float32", n_samples, skip);
        for (int g = 0; g < 2; g++) {
            free(groups[g].state.noise);
            free(groups[g].scratch);
        }
        forget_framing(&framing);
        n_compared += 4 * N_STREAMS;
    }
}

int main(void)
{
    for (int i = 0; i < N_KERNEL_SETS; i++)
        if (has_kernel_set(i)) {
            n_compared = 0;
            compare(&KERNEL_SETS[i]);
            if (i == 0)
                compare_fused(&KERNEL_SETS[i]);
            compare_transforms(&KERNEL_SETS[i]);
            compare_gates(&KERNEL_SETS[i]);
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
