/* The activations, in fp32. */
#ifndef UDUMP_KERNELS_ACTIVATIONS_CUH
#define UDUMP_KERNELS_ACTIVATIONS_CUH

#include "kernel.cuh"

/* The division that is off by 2 units in the last place, and needs no call for what is subnormal: where it differs, the result is next to 0. */
__device__ __forceinline__ float udump_silu(float v) { return __fdividef(v, 1.0f + expf(-v)); }
__device__ __forceinline__ float udump_gelu(float v) { return 0.5f * v * (1.0f + erff(v * 0.70710678118654752f)); }

__device__ __forceinline__ float udump_activate(float v, int activation) {
    if (activation == UDUMP_KERNEL_SILU) return udump_silu(v);
    if (activation == UDUMP_KERNEL_GELU) return udump_gelu(v);
    if (activation == UDUMP_KERNEL_QUICK_GELU) return __fdividef(v, 1.0f + expf(-1.702f * v));
    return v;
}

#endif
