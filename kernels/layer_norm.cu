/* Layer normalisation (Ba et al. 2016): a few lanes a row, as many as there are pieces of it. The row is read once and kept; two sums, so that a mean far from
 * 0 does no harm. */
#include "vectors.cuh"

enum { THREADS = 128, KEPT = 40 /* values of a lane: then rows of 320, 640 and 1280, the U-Nets', leave none idle */ };

template <int LANES> static __device__ __forceinline__ float lanes_sum(float v) {
#pragma unroll
    for (int lane = LANES / 2; lane; lane /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, lane);
    return v;
}

/* w: [2, c]: factors, then what is added. c is a multiple of V, and at most LANES * KEPT. */
template <typename T, int V, int LANES>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 4 ? 3 : 4) layer_norm(T *out, const T *in, const float *w, int64_t rows, int c, float eps) {
    int64_t row = (int64_t)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    int first = row < rows ? (int)threadIdx.x % LANES * V : c;
    udump_vector<T, V> kept[KEPT / V];
    udump_vector<float, V> factors[KEPT / V]; /* on their way while the sums are made */
    float sum = 0, squares = 0;
    in += row * c;
    out += row * c;
#pragma unroll
    for (int k = 0; k < KEPT / V; k++)
        if (first + k * LANES * V < c) kept[k] = *(const udump_vector<T, V> *)(in + first + k * LANES * V);
#pragma unroll
    for (int k = 0; k < KEPT / V; k++)
        if (first + k * LANES * V < c) factors[k] = *(const udump_vector<float, V> *)(w + first + k * LANES * V);
#pragma unroll
    for (int k = 0; k < KEPT / V; k++) {
        udump_vector<T, V> v = udump_again<V>(kept[k]);
#pragma unroll
        for (int j = 0; j < V; j++) sum += first + k * LANES * V < c ? udump_f32(v.at[j]) : 0;
    }
    float mean = __fdividef(lanes_sum<LANES>(sum), (float)c);
#pragma unroll
    for (int k = 0; k < KEPT / V; k++) {
        udump_vector<T, V> v = udump_again<V>(kept[k]);
#pragma unroll
        for (int j = 0; j < V; j++) {
            float off = first + k * LANES * V < c ? udump_f32(v.at[j]) - mean : 0;
            squares += off * off;
        }
    }
    float scale = rsqrtf(__fdividef(lanes_sum<LANES>(squares), (float)c) + eps);
#pragma unroll
    for (int k = 0; k < KEPT / V; k++) {
        if (first + k * LANES * V >= c) continue;
        udump_vector<T, V> v = udump_again<V>(kept[k]);
        udump_vector<float, V> added = *(const udump_vector<float, V> *)(w + c + first + k * LANES * V);
#pragma unroll
        for (int j = 0; j < V; j++) v.at[j] = udump_from<T>((udump_f32(v.at[j]) - mean) * scale * factors[k].at[j] + added.at[j]);
        *(udump_vector<T, V> *)(out + first + k * LANES * V) = v;
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

template <typename T, int LANES> static void launch(T *out, const T *in, const float *w, int64_t rows, int c, float eps, udump_stream stream) {
    constexpr int V = 16 / (int)sizeof(T);
    UDUMP_LAUNCH((layer_norm<T, V, LANES>), udump_blocks(rows, THREADS / LANES), THREADS, 0, stream, out, in, w, rows, c, eps);
}

template <typename T> static void layer_norm_typed(T *out, const T *in, const float *w, int64_t rows, int c, float eps, udump_stream stream) {
    bool vectors = udump_aligned(out, in, c * (int64_t)sizeof(T));
    if (vectors && c <= 8 * KEPT) launch<T, 8>(out, in, w, rows, c, eps, stream);
    else if (vectors && c <= 16 * KEPT) launch<T, 16>(out, in, w, rows, c, eps, stream);
    else if (vectors && c <= 32 * KEPT) launch<T, 32>(out, in, w, rows, c, eps, stream);
    else UDUMP_LAUNCH((layer_norm_wide<T>), (unsigned)rows, WIDE_THREADS, 0, stream, out, in, w, c, eps);
}

void udump_kernel_layer_norm(void *out, const void *in, int dtype, const float *w, int64_t rows, int c, float eps, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, layer_norm_typed((T *)out, (const T *)in, w, rows, c, eps, stream))
}
