/* AVX2 with fused multiply-add. */
#include "backend/cpu/kernels.h"

#ifdef __AVX2__
#define LANES 8
#define TILE_ROWS 4 /* 4 x 3 sums, 3 vectors of the right matrix and one factor: 16 registers */
#define MULTIPLY_ROWS 6 /* 6 x 2 sums, 2 and 1 */
#include "backend/cpu/kernels_body.h"

const udump_kernels *udump_kernels_avx2(void) {
    static const udump_kernels kernels = KERNELS("avx2");
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernels : NULL;
}
#else
const udump_kernels *udump_kernels_avx2(void) { return NULL; }
#endif
