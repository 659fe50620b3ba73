/* What every CPU runs: vectors of four floats, which x86-64 and AArch64 always have. */
#define LANES 4
#define TILE_ROWS 4
#define MULTIPLY_ROWS 6
#include "backend/cpu/kernels_body.h"

const udump_kernels *udump_kernels_generic(void) {
    static const udump_kernels kernels = KERNELS("generic");
    return &kernels;
}
