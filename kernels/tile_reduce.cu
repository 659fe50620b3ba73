/* The lowest and highest value of each tile; whether all are finite. */
#include "ranges.cuh"

enum { SIDE = 32, THREADS = 256, STRIP_PIXELS = 128, STRIPS_MOST = 16 };

static __device__ __forceinline__ void take(udump_kernel_range *r, float v) {
    r->lo = v < r->lo ? v : r->lo;
    r->hi = v > r->hi ? v : r->hi;
    r->finite &= v - v == 0;
}

/* Channels last: 32 tiles a block, side by side, each a column of 32 threads. grid: [tiles / 32, strips of pixels]; partial: [strips, tiles]. */
static __global__ void reduce_channels(udump_kernel_range *partial, UDUMP_CONSTANT_PARAM udump_kernel_tiles t, int strip_pixels) {
    __shared__ udump_kernel_range columns[SIDE][SIDE];
    int tile = (int)(blockIdx.x * SIDE + threadIdx.x), first = (int)blockIdx.y * strip_pixels, pixels = t.h * t.w;
    int last = first + strip_pixels < pixels ? first + strip_pixels : pixels;
    udump_kernel_range r = UDUMP_NO_RANGE;
    for (int i = first + (int)threadIdx.y; i < last && tile < t.count; i += SIDE)
        take(&r, udump_load(t.data, t.dtype, tile * t.stride_tile + i / t.w * t.stride_y + i % t.w * t.stride_x));
    columns[threadIdx.y][threadIdx.x] = r;
    __syncthreads();
    if (threadIdx.y != 0 || tile >= t.count) return;
    for (int i = 1; i < SIDE; i++) udump_range_join(&r, columns[i][threadIdx.x]);
    partial[(int64_t)blockIdx.y * t.count + tile] = r;
}

static __global__ void join_strips(udump_kernel_range *ranges, const udump_kernel_range *partial, int count, int strips) {
    int tile = (int)udump_thread_index();
    if (tile >= count) return;
    udump_kernel_range r = partial[tile];
    for (int i = 1; i < strips; i++) udump_range_join(&r, partial[(int64_t)i * count + tile]);
    ranges[tile] = r;
}

/* Else a block a tile. */
static __global__ void reduce_tile(udump_kernel_range *ranges, UDUMP_CONSTANT_PARAM udump_kernel_tiles t) {
    __shared__ udump_kernel_range all[THREADS];
    udump_kernel_range r = UDUMP_NO_RANGE;
    for (int i = (int)threadIdx.x; i < t.h * t.w; i += THREADS)
        take(&r, udump_load(t.data, t.dtype, blockIdx.x * t.stride_tile + i / t.w * t.stride_y + i % t.w * t.stride_x));
    udump_range_join_block(all, r, THREADS);
    if (threadIdx.x == 0) ranges[blockIdx.x] = all[0];
}

static int strips_of(const udump_kernel_tiles *t) {
    int wanted = (t->h * t->w + STRIP_PIXELS - 1) / STRIP_PIXELS;
    return wanted < STRIPS_MOST ? wanted : STRIPS_MOST;
}

size_t udump_kernel_tile_reduce_scratch_bytes(const udump_kernel_tiles *t) {
    return t->stride_tile == 1 && strips_of(t) > 1 ? (size_t)t->count * (size_t)strips_of(t) * sizeof(udump_kernel_range) : 0;
}

void udump_kernel_tile_reduce(udump_kernel_range *ranges, const udump_kernel_tiles *tiles, void *scratch, udump_stream stream) {
    udump_kernel_tiles t = *tiles;
    if (t.stride_tile != 1) {
        UDUMP_LAUNCH(reduce_tile, (unsigned)t.count, THREADS, 0, stream, ranges, t);
        return;
    }
    int pixels = t.h * t.w, strips = strips_of(&t);
    int strip_pixels = (pixels + strips - 1) / strips;
    udump_kernel_range *partial = strips > 1 ? (udump_kernel_range *)scratch : ranges;
    UDUMP_LAUNCH(reduce_channels, dim3(udump_blocks(t.count, SIDE), (unsigned)strips), dim3(SIDE, SIDE), 0, stream, partial, t, strip_pixels);
    if (strips > 1)
        UDUMP_LAUNCH(join_strips, udump_blocks(t.count, UDUMP_WARP), UDUMP_WARP, 0, stream, ranges, (const udump_kernel_range *)partial, t.count, strips);
}
