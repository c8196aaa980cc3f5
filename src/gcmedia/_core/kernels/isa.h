/* Instruction sets: what a kernel is compiled for.

   A kernel is a plain loop, or intrinsics where a loop falls short.  KERNEL turns the inline function `name_loop`
   into one function for each set; the compiler vectorises each for itself.  All of them give the same bits. */

#ifndef GCMEDIA_ISA_H
#define GCMEDIA_ISA_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))

#if defined(__x86_64__)
#define GCMEDIA_X86 1
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
/* VBMI and VNNI stand for Ice Lake, Zen 4 and later: processors on which wide registers do not lower the clock. */
#if defined(__clang__)
#define AVX512 __attribute__((target("avx2,fma,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")))
#else
#define AVX512 \
    __attribute__((target("avx2,fma,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni,prefer-vector-width=512")))
#endif
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN)
#define GCMEDIA_NEON 1
#include <arm_neon.h>
#endif

#ifdef GCMEDIA_X86
#define KERNEL(type, name, parameters, arguments)                          \
    static type name##_baseline parameters { return name##_loop arguments; } \
    AVX2 static type name##_avx2 parameters { return name##_loop arguments; } \
    AVX512 static type name##_avx512 parameters { return name##_loop arguments; }
#else
#define KERNEL(type, name, parameters, arguments) \
    static type name##_baseline parameters { return name##_loop arguments; }
#endif

#endif
