/* What each key receives of all queries, and how widely each query looks. */
#include "attention_logs.cuh"
#include "scores.cuh"
#include "scores_matrix.cuh"
#include "vectors.cuh"

/* A thread's own row is a key here, and queries come by. */
static __global__ void attention_received(float *received, const float *logs, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, tiles);
    int head = (int)blockIdx.y, key = (int)blockIdx.x * UDUMP_SCORE_ROWS + (int)threadIdx.x;
    const float *log = logs + (int64_t)head * a.queries;
    float sum = 0;
    udump_scores_pass(tiles, a, 1, 0, a.queries, [](int) {}, [&](int query, int, float score) { sum += expf(score - log[query]); });
    if (key < a.keys) received[(int64_t)head * a.keys + key] = sum / (float)a.queries;
}

/* The same on the matrix units: a warp's own rows are keys. */
template <typename T, int STEPS>
static __global__ void __launch_bounds__(UDUMP_PASSING_WARPS *UDUMP_WARP)
    attention_received_matrix(float *received, const float *logs, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(T, tiles);
    __shared__ udump_vector<float, 2> passing_logs[2][UDUMP_PASSING_TILE / 2];
    int lane = (int)threadIdx.x % UDUMP_WARP, head = (int)blockIdx.y;
    int first = (int)blockIdx.x * UDUMP_PASSING_OWN + (int)threadIdx.x / UDUMP_WARP * UDUMP_MATRIX_ROWS;
    udump_rows<T> queries = { (const T *)a.q + head * a.d, (int)a.q_stride, a.queries }, keys = { (const T *)a.k + head * a.d, (int)a.k_stride, a.keys };
    const float *log = logs + (int64_t)head * a.queries;
    float scale = UDUMP_LOG2_E / sqrtf((float)a.d), sums[2] = { 0, 0 };
    auto load = [&](int half, int begin) { udump_passing_load_logs(passing_logs[half][0].at, log, begin, a.queries); };
    auto look = [&](int half, const udump_passing_tile &scores) {
#pragma unroll
        for (int j = 0; j < UDUMP_PASSING_TILE / 8; j++) {
            udump_vector<float, 2> two = passing_logs[half][j * 4 + lane % 4];
#pragma unroll
            for (int i = 0; i < 4; i++) sums[i / 2] += udump_exp2(scores[j][i] * scale - two.at[i % 2] * UDUMP_LOG2_E);
        }
    };
    udump_rows_pass<STEPS>(tiles, keys, first, queries, 0, a.queries, a.d, load, look);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        for (int step = 1; step < 4; step *= 2) sums[i] += __shfl_xor_sync(0xFFFFFFFFu, sums[i], step);
        int key = first + lane / 4 + i * 8;
        if (lane % 4 == 0 && key < a.keys) received[(int64_t)head * a.keys + key] = sums[i] / (float)a.queries;
    }
}

void udump_kernel_attention_summary(float *received, float *entropy, float *logs, const udump_kernel_attended *attended, udump_stream stream) {
    udump_kernel_attended a = *attended;
    udump_launch_attention_logs(logs, entropy, a, stream);
    if (udump_matrix_fits(&a)) {
        dim3 grid(udump_blocks(a.keys, UDUMP_PASSING_OWN), (unsigned)a.heads);
        UDUMP_FOR_MATRIX(a.dtype, a.d, T, STEPS,
            UDUMP_LAUNCH((attention_received_matrix<T, STEPS>), grid, UDUMP_PASSING_WARPS * UDUMP_WARP, udump_passing_bytes(STEPS), stream, received, (const float *)logs, a));
        return;
    }
    dim3 grid(udump_blocks(a.keys, UDUMP_SCORE_ROWS), (unsigned)a.heads);
    UDUMP_LAUNCH(attention_received, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, received, (const float *)logs, a);
}
