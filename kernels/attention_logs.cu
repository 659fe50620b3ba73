/* The logarithm of each row's total, and how widely each query looks. */
#include "attention_logs.cuh"

#include "scores.cuh"
#include "scores_matrix.cuh"

/* The queries' logs and, if wanted, entropies in nats: log - mean of the scores under P. */
static __global__ void attention_logs(float *logs, float *entropy /* or NULL */, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, tiles);
    int head = (int)blockIdx.y, query = (int)blockIdx.x * UDUMP_SCORE_ROWS + (int)threadIdx.x;
    float most = -INFINITY, total = 0, weighted = 0; /* sums of e and e * (score - most), e = exp(score - most) */
    auto look = [&](int, int, float score) {
        if (score > most) {
            float drop = most - score, shrink = expf(drop);
            weighted = total > 0 ? shrink * (weighted + drop * total) : 0;
            total *= shrink;
            most = score;
        }
        float e = expf(score - most);
        total += e;
        weighted += e > 0 ? e * (score - most) : e; /* 0 * -infinity is 0 here; NaN stays */
    };
    udump_scores_pass(tiles, a, 0, 0, a.keys, [](int) {}, look);
    if (query >= a.queries) return;
    logs[(int64_t)head * a.queries + query] = most + logf(total);
    if (entropy) entropy[(int64_t)head * a.queries + query] = logf(total) - weighted / total;
}

/* Sums of e and e * drop, when what drops are from becomes larger by -shift. */
static __device__ __forceinline__ void entropy_shift(float *total, float *weighted, float shift) {
    float shrink = udump_exp2(shift);
    *weighted = shrink * (*weighted + fmaxf(shift, -1000) * *total);
    *total *= shrink;
}

/* The same on the matrix units. A lane has a running maximum and sums of its own columns of two rows; lanes are joined once, at the end. Powers are of 2. */
template <typename T, int STEPS>
static __global__ void __launch_bounds__(UDUMP_PASSING_WARPS *UDUMP_WARP)
    attention_logs_matrix(float *logs, float *entropy /* or NULL */, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(T, tiles);
    int lane = (int)threadIdx.x % UDUMP_WARP, head = (int)blockIdx.y;
    int first = (int)blockIdx.x * UDUMP_PASSING_OWN + (int)threadIdx.x / UDUMP_WARP * UDUMP_MATRIX_ROWS;
    udump_rows<T> queries = { (const T *)a.q + head * a.d, (int)a.q_stride, a.queries }, keys = { (const T *)a.k + head * a.d, (int)a.k_stride, a.keys };
    float scale = UDUMP_LOG2_E / sqrtf((float)a.d), most[2] = { -INFINITY, -INFINITY }, total[2] = { 0, 0 }, weighted[2] = { 0, 0 };
    auto look = [&](int, udump_passing_tile &scores) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float here = -INFINITY;
#pragma unroll
            for (int j = 0; j < UDUMP_PASSING_TILE / 8; j++) here = fmaxf(here, fmaxf(scores[j][2 * i], scores[j][2 * i + 1])); /* NaN is passed over */
            float larger = fmaxf(most[i], here * scale), base = udump_base_of(larger);
            entropy_shift(&total[i], &weighted[i], most[i] - base);
            most[i] = larger;
#pragma unroll
            for (int j = 0; j < UDUMP_PASSING_TILE / 4; j++) {
                float drop = scores[j / 2][2 * i + j % 2] * scale - base, e = udump_exp2(drop);
                total[i] += e;
                weighted[i] += e * fmaxf(drop, -1000); /* 0 * -infinity is 0 here; NaN is in e */
            }
        }
    };
    udump_rows_pass<STEPS>(tiles, queries, first, keys, 0, a.keys, a.d, [](int, int) {}, look);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float larger = most[i];
        for (int step = 1; step < 4; step *= 2) larger = fmaxf(larger, __shfl_xor_sync(0xFFFFFFFFu, larger, step));
        entropy_shift(&total[i], &weighted[i], most[i] - udump_base_of(larger));
        for (int step = 1; step < 4; step *= 2) {
            total[i] += __shfl_xor_sync(0xFFFFFFFFu, total[i], step);
            weighted[i] += __shfl_xor_sync(0xFFFFFFFFu, weighted[i], step);
        }
        int query = first + lane / 4 + i * 8;
        if (lane % 4 || query >= a.queries) continue;
        logs[(int64_t)head * a.queries + query] = (larger + log2f(total[i])) * UDUMP_LN_2;
        if (entropy) entropy[(int64_t)head * a.queries + query] = (log2f(total[i]) - weighted[i] / total[i]) * UDUMP_LN_2;
    }
}

void udump_launch_attention_logs(float *logs, float *entropy, const udump_kernel_attended &a, udump_stream stream) {
    if (udump_matrix_fits(&a)) {
        dim3 grid(udump_blocks(a.queries, UDUMP_PASSING_OWN), (unsigned)a.heads);
        UDUMP_FOR_MATRIX(a.dtype, a.d, T, STEPS,
            UDUMP_LAUNCH((attention_logs_matrix<T, STEPS>), grid, UDUMP_PASSING_WARPS * UDUMP_WARP, udump_passing_bytes(STEPS), stream, logs, entropy, a));
        return;
    }
    dim3 grid(udump_blocks(a.queries, UDUMP_SCORE_ROWS), (unsigned)a.heads);
    UDUMP_LAUNCH(attention_logs, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, logs, entropy, a);
}
