/* The lowest and highest value of each tile; whether all are finite. Where tiles are side by side in memory, a block takes as many as 16 bytes hold, and its
 * threads take turns at the pixels; else a block has one tile. Nothing but tiles too large for one block is cut into strips, whose ranges a second launch
 * joins: for the others it would take longer than what it saves. */
#include "ranges.cuh"
#include "vectors.cuh"

enum { THREADS_MOST = 1024, LOADS = 4 /* in flight at once */, STRIP_PIXELS = THREADS_MOST * LOADS, STRIPS_MOST = 64, JOIN_THREADS = 128 };

/* Where a tile's pieces are, each of V neighbours: piece i at i * step + i / row * skip. */
typedef struct walk {
    int64_t stride_tile, step, skip;
    int row, pieces, strip;
} walk;

static __device__ __forceinline__ int64_t offset_of(const walk &w, int i) {
    int64_t at = i * w.step;
    return w.skip ? at + (unsigned)i / (unsigned)w.row * w.skip : at;
}

/* The lanes of a warp have N numbers each, N a power of two: of each of them the lowest, number i in lane i * 32 / N. By recursion, since a loop over the steps
 * would not be unrolled. */
template <int N, int STEP = UDUMP_WARP / 2> static __device__ __forceinline__ float warp_lowest(float *v) {
    constexpr int LEFT = N > 1 ? N / 2 : 1; /* while there are several, a lane keeps one half of them */
    bool upper = threadIdx.x & STEP;
#pragma unroll
    for (int i = 0; i < LEFT; i++) {
        float kept = upper ? v[N - LEFT + i] : v[i], given = upper ? v[i] : v[N - LEFT + i];
        v[i] = fminf(kept, __shfl_xor_sync(0xFFFFFFFFu, given, STEP));
    }
    if constexpr (STEP > 1) return warp_lowest<LEFT, STEP / 2>(v);
    else return v[0];
}

/* grid: [tiles / TILES, strips]; ranges: [strips, tiles]. TILES: V, or 1, where a piece is of one tile. */
template <typename T, int V, int TILES>
static __global__ void __launch_bounds__(THREADS_MOST) tile_reduce(udump_kernel_range *ranges, const T *data, UDUMP_CONSTANT_PARAM walk w, int count) {
    __shared__ float lowest[THREADS_MOST / UDUMP_WARP][2 * TILES];
    __shared__ unsigned strange_of[THREADS_MOST / UDUMP_WARP]; /* a bit for each tile in which the warp found a value that is not finite */
    int first = (int)blockIdx.y * w.strip, last = first + w.strip < w.pieces ? first + w.strip : w.pieces;
    int me = (int)threadIdx.x, threads = (int)blockDim.x, per_number = UDUMP_WARP / (2 * TILES);
    const T *tile = data + (int64_t)blockIdx.x * TILES * w.stride_tile;
    float low[2 * TILES], zero[TILES]; /* the lowest, then the highest with the other sign; NaN after a value that is not finite */
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        low[i] = low[TILES + i] = INFINITY;
        zero[i] = 0;
    }
    for (int i = first + me; i < last; i += LOADS * threads) {
        udump_vector<T, V> loaded[LOADS];
#pragma unroll
        for (int k = 0; k < LOADS; k++) { /* beyond the end the last one again, which changes nothing */
            int at = i + k * threads < last ? i + k * threads : last - 1;
            loaded[k] = *(const udump_vector<T, V> *)(tile + offset_of(w, at));
        }
#pragma unroll
        for (int k = 0; k < LOADS; k++)
#pragma unroll
            for (int j = 0; j < V; j++) {
                float v = udump_f32(loaded[k].at[j]);
                low[j % TILES] = fminf(low[j % TILES], v);
                low[TILES + j % TILES] = fminf(low[TILES + j % TILES], -v);
                zero[j % TILES] += v * 0.0f;
            }
    }
    unsigned strange = 0;
#pragma unroll
    for (int i = 0; i < TILES; i++) strange |= (unsigned)!(zero[i] == 0) << i;
    strange = __reduce_or_sync(0xFFFFFFFFu, strange);
    float own = warp_lowest<2 * TILES>(low);
    if (me % UDUMP_WARP == 0) strange_of[me / UDUMP_WARP] = strange;
    if (me % UDUMP_WARP % per_number == 0) lowest[me / UDUMP_WARP][me % UDUMP_WARP / per_number] = own;
    __syncthreads();
    if (me >= TILES) return;
    float lo = INFINITY, hi = INFINITY;
#pragma unroll 8
    for (int i = 0; i < threads / UDUMP_WARP; i++) {
        lo = fminf(lo, lowest[i][me]);
        hi = fminf(hi, lowest[i][TILES + me]);
        strange |= strange_of[i];
    }
    ranges[(int64_t)blockIdx.y * count + (int64_t)blockIdx.x * TILES + me] = udump_kernel_range{ lo, -hi, !(strange >> me & 1) };
}

/* A warp a tile. */
static __global__ void join_strips(udump_kernel_range *ranges, const udump_kernel_range *partial, int count, int strips) {
    int tile = (int)(udump_thread_index() / UDUMP_WARP), lane = (int)threadIdx.x % UDUMP_WARP;
    if (tile >= count) return;
    udump_kernel_range r = UDUMP_NO_RANGE;
    for (int i = lane; i < strips; i += UDUMP_WARP) udump_range_join(&r, partial[(int64_t)i * count + tile]);
    float low[2] = { r.lo, -r.hi }, own = warp_lowest<2>(low);
    float high = -__shfl_sync(0xFFFFFFFFu, own, UDUMP_WARP / 2), strange = -udump_warp_max(r.finite ? 0.0f : 1.0f);
    if (lane == 0) ranges[tile] = udump_kernel_range{ own, high, strange == 0 };
}

/* At most: a piece is a pixel or more. */
static int strips_of(int64_t pieces) {
    int64_t wanted = (pieces + STRIP_PIXELS - 1) / STRIP_PIXELS;
    return (int)(wanted < (int64_t)STRIPS_MOST ? wanted : (int64_t)STRIPS_MOST);
}

size_t udump_kernel_tile_reduce_scratch_bytes(const udump_kernel_tiles *t) {
    int strips = strips_of((int64_t)t->h * t->w);
    return strips > 1 ? (size_t)t->count * (size_t)strips * sizeof(udump_kernel_range) : 0;
}

/* The order of the pixels does not matter: rows or columns that follow one another are one. */
static walk walk_of(const udump_kernel_tiles *t) {
    walk w = { t->stride_tile, t->stride_x, t->stride_y - t->w * t->stride_x, t->w, t->h * t->w, 0 };
    if (t->h == 1) w.skip = 0;
    if (w.skip && (t->w == 1 || t->stride_x == t->h * t->stride_y)) {
        w.step = t->stride_y;
        w.skip = 0;
    }
    return w;
}

template <typename T, int V, int TILES> static void reduce(udump_kernel_range *ranges, const T *data, walk w, int count, void *scratch, udump_stream stream) {
    int strips = strips_of(w.pieces);
    w.strip = (w.pieces + strips - 1) / strips;
    unsigned threads = udump_blocks(w.strip, UDUMP_WARP * LOADS) * UDUMP_WARP;
    udump_kernel_range *partial = strips > 1 ? (udump_kernel_range *)scratch : ranges;
    dim3 grid((unsigned)(count / TILES), (unsigned)strips);
    if (threads > (unsigned)THREADS_MOST) threads = (unsigned)THREADS_MOST;
    UDUMP_LAUNCH((tile_reduce<T, V, TILES>), grid, threads, 0, stream, partial, data, w, count);
    if (strips > 1)
        UDUMP_LAUNCH(join_strips, udump_blocks((int64_t)count * UDUMP_WARP, JOIN_THREADS), JOIN_THREADS, 0, stream, ranges,
            (const udump_kernel_range *)partial, count, strips);
}

template <typename T> static void reduce_tiles(udump_kernel_range *ranges, const udump_kernel_tiles *t, void *scratch, udump_stream stream) {
    constexpr int V = 16 / (int)sizeof(T);
    const T *data = (const T *)t->data;
    walk w = walk_of(t);
    if (t->stride_tile == 1 && t->count % V == 0 && w.step % V == 0 && udump_aligned(data, NULL, w.skip * (int64_t)sizeof(T))) {
        reduce<T, V, V>(ranges, data, w, t->count, scratch, stream);
        return;
    }
    if (w.step == 1 && w.skip == 0 && w.pieces % V == 0 && udump_aligned(data, NULL, t->stride_tile * (int64_t)sizeof(T))) {
        w.pieces /= V;
        w.step = V;
        reduce<T, V, 1>(ranges, data, w, t->count, scratch, stream);
        return;
    }
    reduce<T, 1, 1>(ranges, data, w, t->count, scratch, stream);
}

void udump_kernel_tile_reduce(udump_kernel_range *ranges, const udump_kernel_tiles *tiles, void *scratch, udump_stream stream) {
    UDUMP_FOR_DTYPE(tiles->dtype, T, reduce_tiles<T>(ranges, tiles, scratch, stream))
}
