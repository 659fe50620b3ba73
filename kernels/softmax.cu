/* Softmax of rows, for attention that is made of products: a block a row, which is read three times, from the cache after the first. out may be in, if of
 * one type: by the last reading every value has been read. */
#include "vectors.cuh"

enum { THREADS = 256, V = 4 /* values that a thread reads at once */ };

template <typename T> __global__ void softmax(T *out, const float *in, int columns, int64_t row) {
    __shared__ float partial[THREADS / UDUMP_WARP];
    const float *from = in + blockIdx.x * row;
    float most = -INFINITY, sum = 0;
    for (int i = (int)threadIdx.x * V; i < columns; i += THREADS * V) {
        udump_vector<float, V> v = udump_load_vector<V>(from, i, columns);
#pragma unroll
        for (int j = 0; j < V; j++)
            if (i + j < columns && v.at[j] > most) most = v.at[j];
    }
    most = udump_block_max(most, partial);
    for (int i = (int)threadIdx.x * V; i < columns; i += THREADS * V) {
        udump_vector<float, V> v = udump_load_vector<V>(from, i, columns);
#pragma unroll
        for (int j = 0; j < V; j++)
            if (i + j < columns) sum += expf(v.at[j] - most);
    }
    float scale = 1.0f / udump_block_sum(sum, partial);
    for (int i = (int)threadIdx.x * V; i < columns; i += THREADS * V) {
        udump_vector<float, V> v = udump_load_vector<V>(from, i, columns);
        udump_vector<T, V> p;
#pragma unroll
        for (int j = 0; j < V; j++) p.at[j] = udump_from<T>(expf(v.at[j] - most) * scale);
        udump_store_vector<V>(out + blockIdx.x * row, i, columns, p);
    }
}

void udump_kernel_softmax(void *out, int dtype, const float *in, int64_t rows, int columns, int64_t row, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((softmax<T>), (unsigned)rows, THREADS, 0, stream, (T *)out, in, columns, row))
}
