/* The mean over tiles of values, magnitudes, or, as a root, squares; sums in double. */
#include "kernel.cuh"

enum { SUM = 1, L1, L2, THREADS = 128 }; /* udump_average */

static __device__ __forceinline__ double term(float v, int kind) {
    return kind == SUM ? (double)v : kind == L1 ? fabs((double)v) : (double)v * (double)v;
}

/* lanes: threads that share a pixel; 32 where tiles are neighbours in memory, else 1. */
static __global__ void tile_average(float *average, UDUMP_CONSTANT_PARAM udump_kernel_tiles t, int kind, int lanes) {
    int64_t pixel = udump_thread_index() / lanes;
    int lane = (int)threadIdx.x % lanes;
    bool inside = pixel < (int64_t)t.h * t.w;
    double sum = 0;
    int64_t at = pixel / t.w * t.stride_y + pixel % t.w * t.stride_x;
    for (int tile = lane; tile < t.count && inside; tile += lanes) sum += term(udump_load(t.data, t.dtype, at + tile * t.stride_tile), kind);
    if (lanes == UDUMP_WARP) sum = udump_warp_sum(sum);
    if (inside && lane == 0) average[pixel] = (float)((kind == L2 ? sqrt(sum) : sum) / t.count);
}

void udump_kernel_tile_average(float *average, const udump_kernel_tiles *tiles, int kind, udump_stream stream) {
    udump_kernel_tiles t = *tiles;
    int lanes = t.stride_tile == 1 ? UDUMP_WARP : 1;
    UDUMP_LAUNCH(tile_average, udump_blocks((int64_t)t.h * t.w * lanes, THREADS), THREADS, 0, stream, average, t, kind, lanes);
}
