/* P transposed: every key's map. A thread's query is one pixel of all maps, so neighbours write side by side; scores wait in the maps themselves
 * until their row's total is known. */
#include "scores.cuh"

static __global__ void attention_maps(float *maps, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, own);
    float *columns = own + a.d * UDUMP_SCORE_ROWS;
    int head = (int)blockIdx.y, first = (int)blockIdx.x * UDUMP_SCORE_ROWS, query = first + (int)threadIdx.x;
    float *map = maps + (int64_t)head * a.keys * a.queries + query;
    udump_running row = { -INFINITY, 0 };
    udump_scores_load(own, UDUMP_SCORE_ROWS, a.q, a.dtype, a.q_stride, head, a.d, first, a.queries);
    for (int key = 0; key < a.keys; key += UDUMP_SCORE_COLUMNS) {
        float scores[UDUMP_SCORE_COLUMNS];
        __syncthreads();
        udump_scores_load(columns, UDUMP_SCORE_COLUMNS, a.k, a.dtype, a.k_stride, head, a.d, key, a.keys);
        __syncthreads();
        udump_scores(scores, own, columns, a.d);
#pragma unroll
        for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) {
            if (key + j >= a.keys || query >= a.queries) continue;
            map[(int64_t)(key + j) * a.queries] = scores[j];
            udump_running_add(&row, scores[j]);
        }
    }
    for (int key = 0; key < a.keys && query < a.queries; key++) {
        float *p = &map[(int64_t)key * a.queries];
        *p = expf(*p - row.most) / row.total;
    }
}

void udump_kernel_attention_maps(float *maps, const udump_kernel_attended *attended, udump_stream stream) {
    udump_kernel_attended a = *attended;
    dim3 grid(udump_blocks(a.queries, UDUMP_SCORE_ROWS), (unsigned)a.heads);
    UDUMP_LAUNCH(attention_maps, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, maps, a);
}
