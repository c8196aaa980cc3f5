/* The kernels as a processor has them that this library knows no vector unit of. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#undef __x86_64__
#undef __aarch64__
#include "table.h"

#if defined(GCMEDIA_X86) || defined(GCMEDIA_NEON)
#error "this is not the portable path"
#endif

const Kernels *portable_kernels(void)
{
    (void)has_kernel_set;
    return &KERNEL_SETS[0];
}
