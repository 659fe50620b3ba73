/* Products of the mean of P over the heads, or of its transpose, with a few vectors. P is made anew each time; it is never in memory. A block makes one part: of
 * one head, and of a slice of the rows that pass; a second launch adds the parts up, in an order that is always the same. */
#ifndef UDUMP_KERNELS_ATTENTION_TIMES_CUH
#define UDUMP_KERNELS_ATTENTION_TIMES_CUH

#include "attention_logs.cuh"

enum { UDUMP_TIMES_THREADS = 256, UDUMP_TIMES_BLOCKS = 2048 /* that fill a card */, UDUMP_TIMES_PASSING = 256 /* at least, for a block that reads as many own rows once */ };

/* parts[slice, head, own, c] = sum over the slice's passing rows of p * vectors[passing, c]. A thread's own row is a query, passing rows are keys; or,
 * transposed, the other way round. done: if not NULL and not 0, there is nothing to do. grid: [own / ROWS, heads, slices] */
static __global__ void udump_attention_times(
    float *parts, const float *vectors, int count, const float *logs, int transposed, int slice, const int *done, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, own);
    float *columns = own + a.d * UDUMP_SCORE_ROWS;
    __shared__ float passing[UDUMP_SCORE_COLUMNS][UDUMP_KERNEL_LOOK_COLUMNS_MOST];
    const void *own_data = transposed ? a.k : a.q, *other_data = transposed ? a.q : a.k;
    int64_t own_stride = transposed ? a.k_stride : a.q_stride, other_stride = transposed ? a.q_stride : a.k_stride;
    int own_count = transposed ? a.keys : a.queries, other_count = transposed ? a.queries : a.keys;
    int head = (int)blockIdx.y, first = (int)blockIdx.x * UDUMP_SCORE_ROWS, at = first + (int)threadIdx.x;
    int begin = (int)blockIdx.z * slice, end = begin + slice < other_count ? begin + slice : other_count;
    const float *log = logs + (int64_t)head * a.queries;
    float sums[UDUMP_KERNEL_LOOK_COLUMNS_MOST];
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] = 0;
    if (done && *done) return;
    udump_scores_load(own, UDUMP_SCORE_ROWS, own_data, a.dtype, own_stride, head, a.d, first, own_count);
    for (int other = begin; other < end; other += UDUMP_SCORE_COLUMNS) {
        float scores[UDUMP_SCORE_COLUMNS];
        __syncthreads();
        udump_scores_load(columns, UDUMP_SCORE_COLUMNS, other_data, a.dtype, other_stride, head, a.d, other, end);
        for (int i = (int)threadIdx.x; i < UDUMP_SCORE_COLUMNS * UDUMP_KERNEL_LOOK_COLUMNS_MOST; i += UDUMP_SCORE_ROWS) {
            int j = i / UDUMP_KERNEL_LOOK_COLUMNS_MOST, c = i % UDUMP_KERNEL_LOOK_COLUMNS_MOST;
            passing[j][c] = other + j < end && c < count ? vectors[(int64_t)(other + j) * count + c] : 0;
        }
        __syncthreads();
        udump_scores(scores, own, columns, a.d);
#pragma unroll
        for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) {
            int query = transposed ? other + j : at;
            if (other + j >= end || query >= a.queries) continue;
            float p = expf(scores[j] - log[query]);
#pragma unroll
            for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] += p * passing[j][c];
        }
    }
    float *out = parts + (((int64_t)blockIdx.z * a.heads + head) * own_count + at) * count;
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++)
        if (at < own_count && c < count) out[c] = sums[c];
}

/* out[i] = sum of parts[part, i] / heads */
static __global__ void udump_attention_times_add(float *out, const float *parts, int part_count, int heads, int64_t count, const int *done) {
    int64_t i = udump_thread_index();
    if (i >= count || (done && *done)) return;
    float sum = 0;
    for (int part = 0; part < part_count; part++) sum += parts[part * count + i];
    out[i] = sum / (float)heads;
}

/* Into how many the passing rows are cut. */
static inline int udump_attention_times_slices(const udump_kernel_attended *a, int transposed) {
    int own = transposed ? a->keys : a->queries, passing = transposed ? a->queries : a->keys;
    int wanted = UDUMP_TIMES_BLOCKS / ((int)udump_blocks(own, UDUMP_SCORE_ROWS) * a->heads), most = passing / UDUMP_TIMES_PASSING;
    return wanted < 1 || most < 1 ? 1 : wanted < most ? wanted : most;
}

/* Of the parts, both ways round. */
static inline size_t udump_attention_times_floats(const udump_kernel_attended *a, int count) {
    size_t straight = (size_t)udump_attention_times_slices(a, 0) * (size_t)a->queries, turned = (size_t)udump_attention_times_slices(a, 1) * (size_t)a->keys;
    return (straight > turned ? straight : turned) * (size_t)a->heads * (size_t)count;
}

static inline void udump_launch_attention_times(float *out, float *parts, const float *vectors, int count, const float *logs, int transposed, const int *done,
    const udump_kernel_attended &a, udump_stream stream) {
    int own = transposed ? a.keys : a.queries, passing = transposed ? a.queries : a.keys, slices = udump_attention_times_slices(&a, transposed);
    int slice = (passing + slices - 1) / slices;
    dim3 grid(udump_blocks(own, UDUMP_SCORE_ROWS), (unsigned)a.heads, (unsigned)slices);
    UDUMP_LAUNCH(udump_attention_times, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, parts, vectors, count, logs, transposed, slice, done, a);
    int64_t values = (int64_t)own * count;
    UDUMP_LAUNCH(udump_attention_times_add, udump_blocks(values, UDUMP_TIMES_THREADS), UDUMP_TIMES_THREADS, 0, stream, out, (const float *)parts, slices * a.heads, a.heads, values, done);
}

#endif
