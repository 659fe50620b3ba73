/* P's rows of chosen queries: a block a row. */
#include "kernel.cuh"

enum { THREADS = 128 };

static __global__ void attention_rows(float *rows, const int32_t *chosen, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, query); /* [d] */
    __shared__ float partial[THREADS / UDUMP_WARP];
    int head = (int)blockIdx.y;
    float *row = rows + ((int64_t)head * gridDim.x + blockIdx.x) * a.keys, most = -INFINITY, total = 0;
    for (int i = (int)threadIdx.x; i < a.d; i += THREADS) query[i] = udump_load(a.q, a.dtype, chosen[blockIdx.x] * a.q_stride + head * a.d + i);
    __syncthreads();
    for (int key = (int)threadIdx.x; key < a.keys; key += THREADS) {
        float score = 0;
        for (int i = 0; i < a.d; i++) score += query[i] * udump_load(a.k, a.dtype, key * a.k_stride + head * a.d + i);
        row[key] = score / sqrtf((float)a.d);
        most = row[key] > most ? row[key] : most;
    }
    most = udump_block_max(most, partial);
    for (int key = (int)threadIdx.x; key < a.keys; key += THREADS) total += row[key] = expf(row[key] - most);
    total = udump_block_sum(total, partial);
    for (int key = (int)threadIdx.x; key < a.keys; key += THREADS) row[key] /= total;
}

void udump_kernel_attention_rows(float *rows, const int32_t *chosen, int count, const udump_kernel_attended *attended, udump_stream stream) {
    udump_kernel_attended a = *attended;
    dim3 grid((unsigned)count, (unsigned)a.heads);
    UDUMP_LAUNCH(attention_rows, grid, THREADS, (size_t)a.d * sizeof(float), stream, rows, chosen, a);
}
