/* The lowest and highest of values, and whether all are finite. */
#ifndef UDUMP_RANGES_CUH
#define UDUMP_RANGES_CUH

#include "kernel.cuh"

#define UDUMP_NO_RANGE { INFINITY, -INFINITY, 1 }

static __device__ __forceinline__ void udump_range_join(udump_kernel_range *r, udump_kernel_range other) {
    r->lo = other.lo < r->lo ? other.lo : r->lo;
    r->hi = other.hi > r->hi ? other.hi : r->hi;
    r->finite &= other.finite;
}

/* All threads of a block, whose ranges stand in shared memory, a power of two of them; all[0] becomes that of all. */
static __device__ __forceinline__ void udump_range_join_block(udump_kernel_range *all, udump_kernel_range own, int threads) {
    all[threadIdx.x] = own;
    __syncthreads();
    for (int step = threads / 2; step; step /= 2) {
        if ((int)threadIdx.x < step) udump_range_join(&all[threadIdx.x], all[threadIdx.x + step]);
        __syncthreads();
    }
}

#endif
