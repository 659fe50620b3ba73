/* Products of the mean of P over the heads, or of its transpose, with a few vectors. P is made anew each time; it is never in memory. */
#ifndef UDUMP_KERNELS_ATTENTION_TIMES_CUH
#define UDUMP_KERNELS_ATTENTION_TIMES_CUH

#include "attention_logs.cuh"

/* out[own, c] = sum over heads and passing rows of p * vectors[passing, c] / heads. A thread's own row is a query, passing rows are keys; or,
 * transposed, the other way round. done: if not NULL and not 0, there is nothing to do. */
static __global__ void udump_attention_times(
    float *out, const float *vectors, int count, const float *logs, int transposed, const int *done, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, own);
    float *columns = own + a.d * UDUMP_SCORE_ROWS;
    __shared__ float passing[UDUMP_SCORE_COLUMNS][UDUMP_KERNEL_LOOK_COLUMNS_MOST];
    const void *own_data = transposed ? a.k : a.q, *other_data = transposed ? a.q : a.k;
    int64_t own_stride = transposed ? a.k_stride : a.q_stride, other_stride = transposed ? a.q_stride : a.k_stride;
    int own_count = transposed ? a.keys : a.queries, other_count = transposed ? a.queries : a.keys;
    int first = (int)blockIdx.x * UDUMP_SCORE_ROWS, at = first + (int)threadIdx.x;
    float sums[UDUMP_KERNEL_LOOK_COLUMNS_MOST];
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] = 0;
    if (done && *done) return;
    for (int head = 0; head < a.heads; head++) {
        const float *log = logs + (int64_t)head * a.queries;
        __syncthreads();
        udump_scores_load(own, UDUMP_SCORE_ROWS, own_data, a.dtype, own_stride, head, a.d, first, own_count);
        for (int other = 0; other < other_count; other += UDUMP_SCORE_COLUMNS) {
            float scores[UDUMP_SCORE_COLUMNS];
            __syncthreads();
            udump_scores_load(columns, UDUMP_SCORE_COLUMNS, other_data, a.dtype, other_stride, head, a.d, other, other_count);
            for (int i = (int)threadIdx.x; i < UDUMP_SCORE_COLUMNS * UDUMP_KERNEL_LOOK_COLUMNS_MOST; i += UDUMP_SCORE_ROWS) {
                int j = i / UDUMP_KERNEL_LOOK_COLUMNS_MOST, c = i % UDUMP_KERNEL_LOOK_COLUMNS_MOST;
                passing[j][c] = other + j < other_count && c < count ? vectors[(int64_t)(other + j) * count + c] : 0;
            }
            __syncthreads();
            udump_scores(scores, own, columns, a.d);
#pragma unroll
            for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) {
                int query = transposed ? other + j : at;
                if (other + j >= other_count || query >= a.queries) continue;
                float p = expf(scores[j] - log[query]);
#pragma unroll
                for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] += p * passing[j][c];
            }
        }
    }
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++)
        if (at < own_count && c < count) out[(int64_t)at * count + c] = sums[c] / (float)a.heads;
}

static inline void udump_launch_attention_times(float *out, const float *vectors, int count, const float *logs, int transposed, const int *done,
    const udump_kernel_attended &a, udump_stream stream) {
    unsigned blocks = udump_blocks(transposed ? a.keys : a.queries, UDUMP_SCORE_ROWS);
    UDUMP_LAUNCH(udump_attention_times, blocks, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, out, vectors, count, logs, transposed, done, a);
}

#endif
