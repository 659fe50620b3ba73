/* Layer normalisation (Ba et al. 2016): a warp a row. The row is read once and kept; two sums, so that a mean far from 0 does no harm. */
#include "vectors.cuh"

enum { WARPS = 4 };

/* KEPT: channels a lane keeps. */
template <typename T, int V, int KEPT> __global__ void layer_norm(T *out, const T *in, const float *w, int64_t rows, int c, float eps) {
    int lane = (int)threadIdx.x % UDUMP_WARP;
    int64_t at = (int64_t)blockIdx.x * WARPS + threadIdx.x / UDUMP_WARP;
    if (at >= rows) return;
    const T *row = in + at * c;
    float kept[KEPT], sum = 0, squares = 0;
#pragma unroll
    for (int k = 0; k < KEPT; k += V) {
        int i = k * UDUMP_WARP + lane * V;
        udump_vector<T, V> v = udump_load_vector<V>(row, i, c);
#pragma unroll
        for (int j = 0; j < V; j++) sum += kept[k + j] = udump_f32(v.at[j]);
    }
    float mean = udump_warp_sum(sum) / (float)c;
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        if (k / V * V * UDUMP_WARP + lane * V < c) squares += (kept[k] - mean) * (kept[k] - mean); /* c is a multiple of V */
    float scale = 1.0f / sqrtf(udump_warp_sum(squares) / (float)c + eps);
#pragma unroll
    for (int k = 0; k < KEPT; k += V) {
        int i = k * UDUMP_WARP + lane * V;
        udump_vector<T, V> v;
        if (i >= c) continue;
        udump_vector<float, V> factor = *(const udump_vector<float, V> *)(w + i), last = *(const udump_vector<float, V> *)(w + c + i);
#pragma unroll
        for (int j = 0; j < V; j++) v.at[j] = udump_from<T>((kept[k + j] - mean) * scale * factor.at[j] + last.at[j]);
        udump_store_vector<V>(out, at * c + i, rows * c, v);
    }
}

enum { WIDE_THREADS = 128 };

/* Wider rows, and such as are not of whole vectors: a block each, read three times. */
template <typename T> __global__ void layer_norm_wide(T *out, const T *in, const float *w, int c, float eps) {
    __shared__ float partial[WIDE_THREADS / UDUMP_WARP];
    const T *row = in + (int64_t)blockIdx.x * c;
    float sum = 0, squares = 0;
    for (int i = (int)threadIdx.x; i < c; i += WIDE_THREADS) sum += udump_f32(row[i]);
    float mean = udump_block_sum(sum, partial) / (float)c;
    for (int i = (int)threadIdx.x; i < c; i += WIDE_THREADS) squares += (udump_f32(row[i]) - mean) * (udump_f32(row[i]) - mean);
    float scale = 1.0f / sqrtf(udump_block_sum(squares, partial) / (float)c + eps);
    for (int i = (int)threadIdx.x; i < c; i += WIDE_THREADS)
        out[(int64_t)blockIdx.x * c + i] = udump_from<T>((udump_f32(row[i]) - mean) * scale * w[i] + w[c + i]);
}

template <typename T> static void layer_norm_typed(T *out, const T *in, const float *w, int64_t rows, int c, float eps, udump_stream stream) {
    constexpr int V = 16 / (int)sizeof(T);
    bool vectors = udump_aligned(out, in, c * (int64_t)sizeof(T));
    unsigned blocks = udump_blocks(rows, WARPS), threads = WARPS * UDUMP_WARP;
    if (vectors && c <= 16 * UDUMP_WARP) UDUMP_LAUNCH((layer_norm<T, V, 16>), blocks, threads, 0, stream, out, in, w, rows, c, eps);
    else if (vectors && c <= 40 * UDUMP_WARP) UDUMP_LAUNCH((layer_norm<T, V, 40>), blocks, threads, 0, stream, out, in, w, rows, c, eps);
    else UDUMP_LAUNCH((layer_norm_wide<T>), (unsigned)rows, WIDE_THREADS, 0, stream, out, in, w, c, eps);
}

void udump_kernel_layer_norm(void *out, const void *in, int dtype, const float *w, int64_t rows, int c, float eps, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, layer_norm_typed((T *)out, (const T *)in, w, rows, c, eps, stream))
}
