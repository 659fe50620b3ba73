/* Scores of attention for looking: a thread owns one row (a query, or, the other way round, a key), and columns come by through shared memory. */
#ifndef UDUMP_KERNELS_SCORES_CUH
#define UDUMP_KERNELS_SCORES_CUH

#include "kernel.cuh"

enum { UDUMP_SCORE_ROWS = 64 /* a block's threads */, UDUMP_SCORE_COLUMNS = 8 /* at a time */ };

/* The block's shared memory: own rows [d, ROWS], then columns [d, COLUMNS]. */
static inline size_t udump_scores_bytes(int d) { return (size_t)d * (UDUMP_SCORE_ROWS + UDUMP_SCORE_COLUMNS) * sizeof(float); }

/* One head's channels of `count` tokens from `first` on, as fp32, transposed: tile [d, width]; zeros behind the last. */
__device__ __forceinline__ void udump_scores_load(
    float *tile, int width, const void *from, int dtype, int64_t stride, int head, int d, int first, int tokens) {
    int token = (int)threadIdx.x / d, channel = (int)threadIdx.x % d;
    for (int i = (int)threadIdx.x; i < width * d; i += UDUMP_SCORE_ROWS, channel += UDUMP_SCORE_ROWS) {
        for (; channel >= d; channel -= d) token++; /* without a division */
        tile[channel * width + token] = first + token < tokens ? udump_load(from, dtype, (first + token) * stride + head * d + channel) : 0;
    }
}

/* scores[j] = own row . column j / sqrt(d) */
__device__ __forceinline__ void udump_scores(float (&scores)[UDUMP_SCORE_COLUMNS], const float *own, const float *columns, int d) {
#pragma unroll
    for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) scores[j] = 0;
    for (int i = 0; i < d; i++) {
        float value = own[i * UDUMP_SCORE_ROWS + threadIdx.x];
#pragma unroll
        for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) scores[j] += value * columns[i * UDUMP_SCORE_COLUMNS + j];
    }
    float scale = 1 / sqrtf((float)d);
#pragma unroll
    for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) scores[j] *= scale;
}

/* A thread's own row is a query of the block's head, and the keys [first, end) come by; or, transposed, the other way round. What else comes with the columns from
 * row `begin` on, load(begin) loads into shared memory; look(row, j, score) has a row that came by, the j-th of its columns. tiles: of scores_bytes. */
template <typename Load, typename Look>
__device__ __forceinline__ void udump_scores_pass(float *tiles, const udump_kernel_attended &a, int transposed, int first, int end, Load load, Look look) {
    const void *own = transposed ? a.k : a.q, *passing = transposed ? a.q : a.k;
    int64_t own_stride = transposed ? a.k_stride : a.q_stride, passing_stride = transposed ? a.q_stride : a.k_stride;
    int head = (int)blockIdx.y;
    float *columns = tiles + a.d * UDUMP_SCORE_ROWS;
    udump_scores_load(tiles, UDUMP_SCORE_ROWS, own, a.dtype, own_stride, head, a.d, (int)blockIdx.x * UDUMP_SCORE_ROWS, transposed ? a.keys : a.queries);
    for (int begin = first; begin < end; begin += UDUMP_SCORE_COLUMNS) {
        float scores[UDUMP_SCORE_COLUMNS];
        __syncthreads(); /* the readers of the last columns are done */
        udump_scores_load(columns, UDUMP_SCORE_COLUMNS, passing, a.dtype, passing_stride, head, a.d, begin, end);
        load(begin);
        __syncthreads();
        udump_scores(scores, tiles, columns, a.d);
#pragma unroll
        for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++)
            if (begin + j < end) look(begin + j, j, scores[j]);
    }
}

#endif
