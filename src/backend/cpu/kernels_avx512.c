/* AVX-512: F, BW, DQ and VL, as in every server since Skylake. */
#include "backend/cpu/kernels.h"

#ifdef __AVX512F__
#define LANES 16
#define TILE_ROWS 8 /* 8 x 3 sums of 32 registers */
#define MULTIPLY_ROWS 8 /* as many addresses as there are registers for */
#include "backend/cpu/kernels_body.h"

const udump_kernels *udump_kernels_avx512(void) {
    static const udump_kernels kernels = KERNELS("avx512");
    bool there = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl");
    return there && __builtin_cpu_supports("fma") ? &kernels : NULL;
}
#else
const udump_kernels *udump_kernels_avx512(void) { return NULL; }
#endif
