/* The logarithm of each row's total, with which any entry of P is one exponential: p = exp(score - log). */
#ifndef UDUMP_KERNELS_ATTENTION_LOGS_CUH
#define UDUMP_KERNELS_ATTENTION_LOGS_CUH

#include "scores.cuh"

/* The queries' logs and, if wanted, entropies in nats: log - mean of the scores under P. */
static __global__ void udump_attention_logs(float *logs, float *entropy /* or NULL */, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, own);
    float *columns = own + a.d * UDUMP_SCORE_ROWS;
    int head = (int)blockIdx.y, first = (int)blockIdx.x * UDUMP_SCORE_ROWS, query = first + (int)threadIdx.x;
    float most = -INFINITY, total = 0, weighted = 0; /* sums of e and e * (score - most), e = exp(score - most) */
    udump_scores_load(own, UDUMP_SCORE_ROWS, a.q, a.dtype, a.q_stride, head, a.d, first, a.queries);
    for (int key = 0; key < a.keys; key += UDUMP_SCORE_COLUMNS) {
        float scores[UDUMP_SCORE_COLUMNS];
        __syncthreads();
        udump_scores_load(columns, UDUMP_SCORE_COLUMNS, a.k, a.dtype, a.k_stride, head, a.d, key, a.keys);
        __syncthreads();
        udump_scores(scores, own, columns, a.d);
#pragma unroll
        for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) {
            if (key + j >= a.keys) continue;
            if (scores[j] > most) {
                float drop = most - scores[j], shrink = expf(drop);
                weighted = total > 0 ? shrink * (weighted + drop * total) : 0;
                total *= shrink;
                most = scores[j];
            }
            float e = expf(scores[j] - most);
            total += e;
            weighted += e > 0 ? e * (scores[j] - most) : e; /* 0 * -infinity is 0 here; NaN stays */
        }
    }
    if (query >= a.queries) return;
    logs[(int64_t)head * a.queries + query] = most + logf(total);
    if (entropy) entropy[(int64_t)head * a.queries + query] = logf(total) - weighted / total;
}

static inline void udump_launch_attention_logs(float *logs, float *entropy, const udump_kernel_attended &a, udump_stream stream) {
    dim3 grid(udump_blocks(a.queries, UDUMP_SCORE_ROWS), (unsigned)a.heads);
    UDUMP_LAUNCH(udump_attention_logs, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, logs, entropy, a);
}

#endif
