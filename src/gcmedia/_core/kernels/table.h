/* The kernels of each instruction set, and which sets this processor has. */

#ifndef GCMEDIA_TABLE_H
#define GCMEDIA_TABLE_H

#include "decode.h"
#include "encode.h"
#include "kernels.h"
#include "level.h"
#include "linear.h"
#include "spectral.h"

#define KERNELS(isa)                                                                                               \
    {#isa, ulaw_to_int16_##isa, alaw_to_int16_##isa, ulaw_measured_##isa, alaw_measured_##isa,                      \
     int16_to_ulaw_##isa, int16_to_alaw_##isa, swap_octets_##isa,                                                  \
     int16_to_float32_##isa, take_octets_##isa, take_words_##isa, sum_of_squares_##isa, sum_of_magnitudes_##isa, \
     peak_magnitude_##isa, fourier_forward_##isa, fourier_inverse_##isa, gate_int16_##isa, gate_float32_##isa,  \
     gate_group_int16_##isa, gate_group_float32_##isa}

/* From the plainest to the widest; each processor has the first. */
static const Kernels KERNEL_SETS[] = {
    KERNELS(baseline),
#ifdef GCMEDIA_X86
    KERNELS(avx2),
    KERNELS(avx512),
#endif
};

enum { N_KERNEL_SETS = sizeof KERNEL_SETS / sizeof KERNEL_SETS[0] };

static int has_kernel_set(int index)
{
#ifdef GCMEDIA_X86
    if (index == 1)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (index == 2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
#endif
    return index == 0;
}

#endif
