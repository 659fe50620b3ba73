/* The lowest and highest value of each tile; whether all are finite. */
#include "kernel.cuh"

enum { SIDE = 32, THREADS = 256 };

static __device__ __forceinline__ void take(udump_kernel_range *r, float v) {
    r->lo = v < r->lo ? v : r->lo;
    r->hi = v > r->hi ? v : r->hi;
    r->finite &= v - v == 0;
}
static __device__ __forceinline__ void join(udump_kernel_range *r, udump_kernel_range other) {
    r->lo = other.lo < r->lo ? other.lo : r->lo;
    r->hi = other.hi > r->hi ? other.hi : r->hi;
    r->finite &= other.finite;
}

/* Channels last: 32 tiles a block, side by side, each a column of 32 threads. */
static __global__ void reduce_channels(udump_kernel_range *ranges, UDUMP_CONSTANT_PARAM udump_kernel_tiles t) {
    __shared__ udump_kernel_range columns[SIDE][SIDE];
    int tile = (int)(blockIdx.x * SIDE + threadIdx.x), pixels = t.h * t.w;
    udump_kernel_range r = { INFINITY, -INFINITY, 1 };
    for (int i = (int)threadIdx.y; i < pixels && tile < t.count; i += SIDE)
        take(&r, udump_load(t.data, t.dtype, tile * t.stride_tile + i / t.w * t.stride_y + i % t.w * t.stride_x));
    columns[threadIdx.y][threadIdx.x] = r;
    __syncthreads();
    if (threadIdx.y != 0 || tile >= t.count) return;
    for (int i = 1; i < SIDE; i++) join(&r, columns[i][threadIdx.x]);
    ranges[tile] = r;
}

/* Else a block a tile. */
static __global__ void reduce_tile(udump_kernel_range *ranges, UDUMP_CONSTANT_PARAM udump_kernel_tiles t) {
    __shared__ udump_kernel_range all[THREADS];
    udump_kernel_range r = { INFINITY, -INFINITY, 1 };
    for (int i = (int)threadIdx.x; i < t.h * t.w; i += THREADS)
        take(&r, udump_load(t.data, t.dtype, blockIdx.x * t.stride_tile + i / t.w * t.stride_y + i % t.w * t.stride_x));
    all[threadIdx.x] = r;
    __syncthreads();
    for (int step = THREADS / 2; step; step /= 2) {
        if ((int)threadIdx.x < step) join(&all[threadIdx.x], all[threadIdx.x + step]);
        __syncthreads();
    }
    if (threadIdx.x == 0) ranges[blockIdx.x] = all[0];
}

void udump_kernel_tile_reduce(udump_kernel_range *ranges, const udump_kernel_tiles *tiles, udump_stream stream) {
    udump_kernel_tiles t = *tiles;
    if (t.stride_tile == 1) UDUMP_LAUNCH(reduce_channels, udump_blocks(t.count, SIDE), dim3(SIDE, SIDE), 0, stream, ranges, t);
    else UDUMP_LAUNCH(reduce_tile, (unsigned)t.count, THREADS, 0, stream, ranges, t);
}
