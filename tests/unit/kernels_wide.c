/* The kernels as kernels_avx512.c has them, in whatever instructions this machine has: tails, tiles and packing of sixteen lanes are tested everywhere. */
#include "kernels_here.h"

#define LANES 16
#define TILE_ROWS 8
#define MULTIPLY_ROWS 8
#include "backend/cpu/kernels_body.h"

const udump_kernels *kernels_wide(void) {
    static const udump_kernels kernels = KERNELS("wide");
    return &kernels;
}
