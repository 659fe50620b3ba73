/* Layer normalisation (Ba et al. 2016): a block a row. The row is read once and kept; two sums, so that a mean far from 0 does no harm. */
#include "kernel.cuh"

enum { THREADS = 128, KEPT = 24 }; /* channels a thread keeps: rows of up to 3072 (OpenCLIP: 1280) */

template <typename T> __global__ void layer_norm(T *out, const T *in, const float *w, int c, float eps) {
    __shared__ float partial[THREADS / UDUMP_WARP];
    const T *row = in + (int64_t)blockIdx.x * c;
    float kept[KEPT], sum = 0, squares = 0;
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        int i = k * THREADS + (int)threadIdx.x;
        kept[k] = i < c ? udump_f32(row[i]) : 0;
        sum += kept[k];
    }
    float mean = udump_block_sum(sum, partial) / (float)c;
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        if (k * THREADS + (int)threadIdx.x < c) squares += (kept[k] - mean) * (kept[k] - mean);
    float scale = 1.0f / sqrtf(udump_block_sum(squares, partial) / (float)c + eps);
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        int i = k * THREADS + (int)threadIdx.x;
        if (i < c) out[(int64_t)blockIdx.x * c + i] = udump_from<T>((kept[k] - mean) * scale * w[i] + w[c + i]);
    }
}

/* Wider rows are read three times. */
template <typename T> __global__ void layer_norm_wide(T *out, const T *in, const float *w, int c, float eps) {
    __shared__ float partial[THREADS / UDUMP_WARP];
    const T *row = in + (int64_t)blockIdx.x * c;
    float sum = 0, squares = 0;
    for (int i = (int)threadIdx.x; i < c; i += THREADS) sum += udump_f32(row[i]);
    float mean = udump_block_sum(sum, partial) / (float)c;
    for (int i = (int)threadIdx.x; i < c; i += THREADS) squares += (udump_f32(row[i]) - mean) * (udump_f32(row[i]) - mean);
    float scale = 1.0f / sqrtf(udump_block_sum(squares, partial) / (float)c + eps);
    for (int i = (int)threadIdx.x; i < c; i += THREADS)
        out[(int64_t)blockIdx.x * c + i] = udump_from<T>((udump_f32(row[i]) - mean) * scale * w[i] + w[c + i]);
}

void udump_kernel_layer_norm(void *out, const void *in, int dtype, const float *w, int64_t rows, int c, float eps, udump_stream stream) {
    if (c <= THREADS * KEPT)
        UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((layer_norm<T>), (unsigned)rows, THREADS, 0, stream, (T *)out, (const T *)in, w, c, eps))
    else
        UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((layer_norm_wide<T>), (unsigned)rows, THREADS, 0, stream, (T *)out, (const T *)in, w, c, eps))
}
