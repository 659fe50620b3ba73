/* Scores of attention for looking, on the matrix units. Sixteen rows of one side (queries, or, the other way round, keys) stay in a warp's registers; rows of the
 * other side pass. Products of 16-bit numbers are exact and are added up in fp32, so what comes of them is as exact as of scores.cuh. */
#ifndef UDUMP_KERNELS_SCORES_MATRIX_CUH
#define UDUMP_KERNELS_SCORES_MATRIX_CUH

#include "copies.cuh"
#include "matrix.cuh"

enum {
    UDUMP_MATRIX_ROWS = 16 /* of a warp */, UDUMP_MATRIX_STEP = 16 /* channels of one product */,
    UDUMP_PASSING_WARPS = 4, UDUMP_PASSING_OWN = UDUMP_PASSING_WARPS * UDUMP_MATRIX_ROWS, UDUMP_PASSING_TILE = UDUMP_PASSING_WARPS * UDUMP_WARP / 2, /* rows that pass at a time */
    UDUMP_PASSING_PAD = 8 /* elements behind a row of a tile: off the banks */
};

#define UDUMP_LN_2 0.693147181f

/* Whether the matrix units take these: 16 bits, rows that 16 bytes at a time are aligned in. */
static inline bool udump_matrix_fits(const udump_kernel_attended *a) {
    bool aligned = ((uintptr_t)a->q | (uintptr_t)a->k) % 16 == 0 && a->q_stride % 8 == 0 && a->k_stride % 8 == 0 && a->q_stride <= INT32_MAX && a->k_stride <= INT32_MAX;
    return a->dtype != UDUMP_KERNEL_F32 && aligned && a->d % 8 == 0;
}

/* Calls the statement with T, of 16 bits, and STEPS, that d channels take; a model's heads have 40, 64, 80 or 160. */
#define UDUMP_FOR_STEPS(d, STEPS, ...)                               \
    if ((d) <= 48) { constexpr int STEPS = 3; __VA_ARGS__; }         \
    else if ((d) <= 64) { constexpr int STEPS = 4; __VA_ARGS__; }    \
    else if ((d) <= 80) { constexpr int STEPS = 5; __VA_ARGS__; }    \
    else { constexpr int STEPS = 10; __VA_ARGS__; }
#define UDUMP_FOR_MATRIX(dtype, d, T, STEPS, ...)                                                                    \
    if ((dtype) == UDUMP_KERNEL_F16) { typedef udump_f16 T; UDUMP_FOR_STEPS(d, STEPS, __VA_ARGS__) }                 \
    else { typedef udump_bf16 T; UDUMP_FOR_STEPS(d, STEPS, __VA_ARGS__) }

/* ---- own rows, and passing rows in tiles: a block of PASSING_WARPS. shared: two tiles, [2, PASSING_TILE, channels + PAD] */

static inline size_t udump_passing_bytes(int steps) {
    return (size_t)2 * UDUMP_PASSING_TILE * (size_t)(steps * UDUMP_MATRIX_STEP + UDUMP_PASSING_PAD) * 2;
}

/* The left operands of the warp's rows, from `first` of `count` on; zeros behind. from: of the head. */
template <int STEPS, typename T>
__device__ __forceinline__ void udump_own_load(uint32_t (&own)[STEPS][4], const T *from, int64_t stride, int d, int first, int count) {
    int lane = (int)threadIdx.x % UDUMP_WARP;
#pragma unroll
    for (int i = 0; i < STEPS; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int row = first + lane / 4 + j % 2 * 8, channel = i * UDUMP_MATRIX_STEP + lane % 4 * 2 + j / 2 * 8;
            own[i][j] = row < count && channel < d ? *(const uint32_t *)(from + row * stride + channel) : 0;
        }
}

/* Begins to load the rows [first, end), as many as a tile has. Two threads a row: together they read whole sectors. */
template <int STEPS, typename T>
__device__ __forceinline__ void udump_passing_load(T *tile, const T *from, int stride, int d, int first, int end) {
    int row = (int)threadIdx.x / 2, half = (int)threadIdx.x % 2 * 8;
    const T *source = from + (int64_t)(first + row) * stride + half;
    T *to = tile + row * (STEPS * UDUMP_MATRIX_STEP + UDUMP_PASSING_PAD) + half;
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
        int channel = i * UDUMP_MATRIX_STEP;
        bool there = first + row < end && channel + half < d;
        udump_copy<16>(to + channel, there ? source + channel : from, there);
    }
}

/* ..., and the logs of passing queries; zeros behind the last. */
__device__ __forceinline__ void udump_passing_load_logs(float *to, const float *logs, int first, int end) {
    int i = (int)threadIdx.x;
    if (i < UDUMP_PASSING_TILE) udump_copy<4>(to + i, first + i < end ? logs + first + i : logs, first + i < end);
}

typedef float udump_passing_tile[UDUMP_PASSING_TILE / 8][4];

/* scores[j][i], not yet divided: own row lane / 4 + i / 2 * 8, passing row j * 8 + lane % 4 * 2 + i % 2. Of the last `count` on they are -infinity. */
template <int STEPS, typename T>
__device__ __forceinline__ void udump_passing_scores(udump_passing_tile &scores, const uint32_t (&own)[STEPS][4], const T *tile, int count) {
    int lane = (int)threadIdx.x % UDUMP_WARP;
#pragma unroll
    for (int j = 0; j < UDUMP_PASSING_TILE / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) scores[j][i] = 0;
#pragma unroll
    for (int i = 0; i < STEPS; i++)
#pragma unroll
        for (int j = 0; j < UDUMP_PASSING_TILE / 16; j++) { /* 16 rows: matrices of rows 0-7 and 8-15 by channels 0-7 and 8-15 */
            uint32_t four[4];
            udump_load_matrices(four, tile + (j * 16 + lane / 16 * 8 + lane % 8) * (STEPS * UDUMP_MATRIX_STEP + UDUMP_PASSING_PAD) + i * UDUMP_MATRIX_STEP + lane / 8 % 2 * 8);
            uint32_t low[2] = { four[0], four[1] }, high[2] = { four[2], four[3] };
            udump_mma<T>(scores[2 * j], own[i], low);
            udump_mma<T>(scores[2 * j + 1], own[i], high);
        }
    if (count >= UDUMP_PASSING_TILE) return;
#pragma unroll
    for (int j = 0; j < UDUMP_PASSING_TILE / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (j * 8 + lane % 4 * 2 + i % 2 >= count) scores[j][i] = -INFINITY;
}

/* One side's rows of a head. */
template <typename T> struct udump_rows {
    const T *data;
    int stride, count;
};

/* The rows [first, end) of passing go by the warp's own, from row `own_first` of own on; a tile is loaded while the one before it is looked at. What else comes
 * with a tile, from row `begin` on, load(half, begin) begins to load into one half of its memory, where look(half, scores) finds it; scores: of passing_scores. */
template <int STEPS, typename T, typename Load, typename Look>
__device__ __forceinline__ void udump_rows_pass(T *tiles, udump_rows<T> own, int own_first, udump_rows<T> passing, int first, int end, int d, Load load, Look look) {
    const int tile_elements = UDUMP_PASSING_TILE * (STEPS * UDUMP_MATRIX_STEP + UDUMP_PASSING_PAD);
    uint32_t kept[STEPS][4];
    udump_passing_load<STEPS>(tiles, passing.data, passing.stride, d, first, end);
    load(0, first);
    udump_own_load<STEPS>(kept, own.data, own.stride, d, own_first, own.count);
    for (int begin = first, half = 0; begin < end; begin += UDUMP_PASSING_TILE, half ^= 1) {
        udump_passing_tile scores;
        int next = begin + UDUMP_PASSING_TILE;
        udump_copies_wait();
        __syncthreads(); /* this tile is there, and the other's readers are done */
        if (next < end) {
            udump_passing_load<STEPS>(tiles + (half ^ 1) * tile_elements, passing.data, passing.stride, d, next, end);
            load(half ^ 1, next);
        }
        udump_passing_scores<STEPS>(scores, kept, tiles + half * tile_elements, end - begin);
        look(half, scores);
    }
}

#endif
