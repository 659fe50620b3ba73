/* Every finite tile's range becomes that of all finite tiles: one block. */
#include "kernel.cuh"

enum { THREADS = 256 };

static __global__ void tile_join(udump_kernel_range *ranges, int count) {
    __shared__ float lows[THREADS], highs[THREADS];
    float lo = INFINITY, hi = -INFINITY;
    for (int i = (int)threadIdx.x; i < count; i += THREADS) {
        if (!ranges[i].finite) continue;
        lo = ranges[i].lo < lo ? ranges[i].lo : lo;
        hi = ranges[i].hi > hi ? ranges[i].hi : hi;
    }
    lows[threadIdx.x] = lo;
    highs[threadIdx.x] = hi;
    __syncthreads();
    for (int step = THREADS / 2; step; step /= 2) {
        if ((int)threadIdx.x < step) {
            if (lows[threadIdx.x + step] < lows[threadIdx.x]) lows[threadIdx.x] = lows[threadIdx.x + step];
            if (highs[threadIdx.x + step] > highs[threadIdx.x]) highs[threadIdx.x] = highs[threadIdx.x + step];
        }
        __syncthreads();
    }
    for (int i = (int)threadIdx.x; i < count; i += THREADS) {
        if (!ranges[i].finite) continue;
        ranges[i].lo = lows[0];
        ranges[i].hi = highs[0];
    }
}

void udump_kernel_tile_join(udump_kernel_range *ranges, int count, udump_stream stream) {
    UDUMP_LAUNCH(tile_join, 1, THREADS, 0, stream, ranges, count);
}
