/* What each key receives of all queries, and how widely each query looks. */
#include "attention_logs.cuh"

/* A thread's own row is a key here, and queries come by. */
static __global__ void attention_received(float *received, const float *logs, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, own);
    float *columns = own + a.d * UDUMP_SCORE_ROWS;
    int head = (int)blockIdx.y, first = (int)blockIdx.x * UDUMP_SCORE_ROWS, key = first + (int)threadIdx.x;
    const float *log = logs + (int64_t)head * a.queries;
    float sum = 0;
    udump_scores_load(own, UDUMP_SCORE_ROWS, a.k, a.dtype, a.k_stride, head, a.d, first, a.keys);
    for (int query = 0; query < a.queries; query += UDUMP_SCORE_COLUMNS) {
        float scores[UDUMP_SCORE_COLUMNS];
        __syncthreads();
        udump_scores_load(columns, UDUMP_SCORE_COLUMNS, a.q, a.dtype, a.q_stride, head, a.d, query, a.queries);
        __syncthreads();
        udump_scores(scores, own, columns, a.d);
#pragma unroll
        for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++)
            if (query + j < a.queries) sum += expf(scores[j] - log[query + j]);
    }
    if (key < a.keys) received[(int64_t)head * a.keys + key] = sum / (float)a.queries;
}

void udump_kernel_attention_summary(float *received, float *entropy, float *logs, const udump_kernel_attended *attended, udump_stream stream) {
    udump_kernel_attended a = *attended;
    dim3 grid(udump_blocks(a.keys, UDUMP_SCORE_ROWS), (unsigned)a.heads);
    udump_launch_attention_logs(logs, entropy, a, stream);
    UDUMP_LAUNCH(attention_received, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, received, (const float *)logs, a);
}
